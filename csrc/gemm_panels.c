/* gemm_panels.c - products on packed panels, after Goto & van de Geijn 2008.
 *
 * The depth k is cut into blocks. A panel of b, as wide as a tile and one block deep, is used by all rows of a strip; a
 * strip of a (96 rows by one block) stays in L2 over the panels. a is read where it lies; transposed, a strip of it is
 * first copied to consecutive lines (every k of a transposed a is another page).
 * Few strips: each thread packs a panel and uses it at once, so b passes through the caches a single time (private panels).
 * Many: a block of b is packed once for all strips and threads (shared panels).
 */
#include "gemm.h"

enum { BLOCK_WIDTH = 2048, STRIP_ROWS = 96, PRIVATE_ROWS = 192 };

typedef struct panels_task {
    const fc_gemm *gemm;
    const fc_context *ctx;
    const gemm_operands *o;
    float *panels;          /* shared: [panel][depth][tile_columns]; private: one panel a thread */
    float *strips;          /* a thread: [depth][rows] of a transposed a */
    int64_t k_begin, depth; /* the current block of k */
    int64_t n_begin, width; /* and of n, in shared mode */
    int64_t strip_count, group_count;
} panels_task;

static bool uses_private_panels(const fc_gemm *g) { return g->m <= PRIVATE_ROWS; }

static int64_t panel_floats(const fc_gemm *g, const fc_context *ctx) {
    return gemm_most_block_depth(g, ctx) * ctx->kernels->tile_columns;
}

static int64_t strip_floats(const fc_gemm *g, const fc_context *ctx) {
    const int64_t rows = fc_min(g->m, uses_private_panels(g) ? PRIVATE_ROWS : STRIP_ROWS);
    return g->transpose_a ? fc_round_up(gemm_most_block_depth(g, ctx) * rows, FC_ALIGNMENT) : 0;
}

static int64_t packed_bytes(const fc_gemm *g, int threads, const fc_context *ctx) {
    const int64_t panels =
        uses_private_panels(g) ? threads : fc_ceil_div(fc_min(g->n, BLOCK_WIDTH), ctx->kernels->tile_columns);
    return panels * panel_floats(g, ctx) * (int64_t)sizeof(float);
}

int64_t gemm_panels_bytes(const fc_gemm *g, int threads, const fc_context *ctx) {
    return fc_round_up(packed_bytes(g, threads, ctx), FC_ALIGNMENT) +
           threads * strip_floats(g, ctx) * (int64_t)sizeof(float);
}

static void pack_panel(const panels_task *t, int64_t k, int64_t depth, int64_t n, int64_t columns, float *panel) {
    const fc_gemm *g = t->gemm;
    const int64_t k_stride = g->transpose_b ? 1 : g->b_stride, n_stride = g->transpose_b ? g->b_stride : 1;
    t->ctx->kernels->pack_panel(t->o->b + k * k_stride + n * n_stride, k_stride, n_stride, depth, (int)columns, panel);
}

/* ---------------------------------------------------------------------------------------------------------- rows */

/* Rows [m, m + count) at depth k, with a pointer each where they are few and need one, else by their distance. */
typedef struct panel_rows {
    const float *x[PRIVATE_ROWS];
    float *y[PRIVATE_ROWS];
    int64_t count, x_step;
} panel_rows;

static void point_at_rows(const panels_task *t, int64_t k, int64_t depth, int64_t m, int64_t count, float *copy,
                          panel_rows *rows) {
    const fc_gemm *g = t->gemm;
    const float *x = t->o->a + m * g->a_stride + k;
    rows->count = count;
    rows->x_step = g->transpose_a ? count : 1;
    if (g->transpose_a)
        for (int64_t d = 0; d < depth; d++)
            memcpy(copy + d * count, t->o->a + (k + d) * g->a_stride + m, (size_t)count * sizeof(float));
    const int64_t pointers = g->transpose_a ? count : fc_min(count, t->ctx->kernels->tile_rows + 1);
    for (int64_t i = 0; i < pointers; i++) {
        rows->x[i] = g->transpose_a ? copy + i : x + i * g->a_stride;
        rows->y[i] = t->o->c + (m + i) * g->c_stride;
    }
}

/* The rows from `first` on as a strip. Without depth rows are 0 apart, which a strip takes for rows in a table. */
static fc_strip strip_of(const panels_task *t, const panel_rows *rows, int64_t first) {
    const fc_gemm *g = t->gemm;
    return (fc_strip){.x = rows->x + first, .y = rows->y + first, .rows = rows->count - first, .taps = 1,
                      .x_row = g->transpose_a ? 0 : fc_max(g->a_stride, 1), .y_row = g->transpose_a ? 0 : g->c_stride};
}

/* All rows times the panel of columns [n, n + columns). */
static void multiply_panel(const panels_task *t, const panel_rows *rows, int64_t first, fc_tile tile, const float *panel,
                           int64_t columns) {
    const fc_strip strip = strip_of(t, rows, first);
    tile.x_step = rows->x_step;
    tile.w = panel;
    tile.w_step = t->ctx->kernels->tile_columns;
    if (strip.rows > 0) fc_multiply_strip(&strip, tile, (int)columns, t->ctx);
}

/* ------------------------------------------------------------------------------------------------ private panels */

/* The first tile packs the panel for those after it, where a pass that packs would wait for b. Returns its rows. */
static int64_t pack_in_tile(const panels_task *t, const panel_rows *rows, fc_tile tile, int64_t k, int64_t n,
                            int64_t columns, float *panel) {
    const fc_gemm *g = t->gemm;
    const int64_t width = t->ctx->kernels->tile_columns;
    const int64_t first = fc_ceil_div(rows->count, fc_ceil_div(rows->count, t->ctx->kernels->tile_rows));
    tile.x = rows->x;
    tile.y = rows->y;
    tile.w = t->o->b + k * g->b_stride + n;
    tile.w_step = g->b_stride;
    tile.ahead = n + columns + width <= g->n ? columns - tile.depth * g->b_stride : 0; /* the next panel */
    t->ctx->kernels->pack_tile(&tile, (int)first, (int)columns, first < rows->count ? panel : NULL);
    return first;
}

/* By how much a first panel that ends where a cache line of b does is narrower than the others. Arrays of NumPy begin
 * 16 bytes past a line: vectors across two lines cost a tile of few rows 10 %, and a short panel more half a tile. */
static int64_t missing_columns(const fc_gemm *g, const float *b, int64_t width) {
    enum { ROWS = 24, COLUMNS = 256 };
    const int64_t head = g->m > ROWS || g->n < COLUMNS ? 0 : gemm_head_columns(g, b) % width;
    return head ? width - head : 0;
}

/* All rows times the panels [begin, end), block of k by block of k. */
static void run_private(void *arg, int64_t begin, int64_t end, int thread) {
    const panels_task *t = arg;
    const fc_gemm *g = t->gemm;
    const int64_t width = t->ctx->kernels->tile_columns, block = gemm_block_depth(g, t->ctx);
    float *panel = t->panels + thread * panel_floats(g, t->ctx), *copy = t->strips + thread * strip_floats(g, t->ctx);
    panel_rows rows;
    const int64_t missing = missing_columns(g, t->o->b, width);
    for (int64_t k = 0; k == 0 || k < g->k; k += block) {
        const int64_t depth = fc_min(block, g->k - k);
        point_at_rows(t, k, depth, 0, g->m, copy, &rows);
        for (int64_t i = begin; i < end; i++) {
            const int64_t n = fc_max(0, i * width - missing), columns = fc_min((i + 1) * width - missing, g->n) - n;
            const fc_tile tile = gemm_epilogue(g, t->o->bias, k, depth, n);
            int64_t first = 0;
            if (!g->transpose_a && !g->transpose_b)
                first = pack_in_tile(t, &rows, tile, k, n, columns, panel);
            else
                pack_panel(t, k, depth, n, columns, panel);
            multiply_panel(t, &rows, first, tile, panel, columns);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- shared panels */

static void pack_shared(void *arg, int64_t begin, int64_t end, int thread) {
    const panels_task *t = arg;
    const int64_t width = t->ctx->kernels->tile_columns;
    (void)thread;
    for (int64_t panel = begin; panel < end; panel++)
        pack_panel(t, t->k_begin, t->depth, t->n_begin + panel * width, fc_min(width, t->width - panel * width),
                   t->panels + panel * t->depth * width);
}

/* Item: (strip, group of panels). */
static void run_shared(void *arg, int64_t begin, int64_t end, int thread) {
    const panels_task *t = arg;
    const fc_gemm *g = t->gemm;
    const int64_t width = t->ctx->kernels->tile_columns;
    float *copy = t->strips + thread * strip_floats(g, t->ctx);
    panel_rows rows;
    for (int64_t item = begin; item < end; item++) {
        int64_t m, m_end, panel, panel_end;
        fc_split(g->m, t->strip_count, item / t->group_count, &m, &m_end);
        fc_split(fc_ceil_div(t->width, width), t->group_count, item % t->group_count, &panel, &panel_end);
        point_at_rows(t, t->k_begin, t->depth, m, m_end - m, copy, &rows);
        for (; panel < panel_end; panel++) {
            const int64_t n = t->n_begin + panel * width;
            multiply_panel(t, &rows, 0, gemm_epilogue(g, t->o->bias, t->k_begin, t->depth, n),
                           t->panels + panel * t->depth * width, fc_min(width, t->width - panel * width));
        }
    }
}

static void run_blocks(panels_task *t, int threads) {
    const fc_gemm *g = t->gemm;
    const int64_t block = gemm_block_depth(g, t->ctx);
    /* As many strips as threads divide evenly. */
    t->strip_count = fc_min(g->m, fc_round_up(fc_ceil_div(g->m, STRIP_ROWS), threads));
    for (t->n_begin = 0; t->n_begin < g->n; t->n_begin += BLOCK_WIDTH) {
        t->width = fc_min(BLOCK_WIDTH, g->n - t->n_begin);
        const int64_t panels = fc_ceil_div(t->width, t->ctx->kernels->tile_columns);
        t->group_count = fc_min(panels, fc_ceil_div(threads, t->strip_count));
        for (t->k_begin = 0; t->k_begin == 0 || t->k_begin < g->k; t->k_begin += block) {
            t->depth = fc_min(block, g->k - t->k_begin);
            fc_parallel(panels, threads, pack_shared, t);
            fc_parallel(t->strip_count * t->group_count, threads, run_shared, t);
        }
    }
}

void gemm_panels(const fc_gemm *g, const gemm_operands *o, void *workspace, int threads, const fc_context *ctx) {
    fc_arena arena = {workspace};
    panels_task t = {.gemm = g, .ctx = ctx, .o = o};
    t.panels = fc_take(&arena, packed_bytes(g, threads, ctx));
    t.strips = (float *)arena.next;
    const int64_t width = ctx->kernels->tile_columns;
    if (uses_private_panels(g))
        fc_parallel(fc_ceil_div(g->n + missing_columns(g, o->b, width), width), threads, run_private, &t);
    else
        run_blocks(&t, threads);
}
