/* gemm.c - c = activation(alpha * op(a) * op(b) + beta * c + bias), after Goto & van de Geijn 2008.
 *
 * The depth k is cut into blocks. A panel of b, as wide as a tile and one block deep, stays in L1 over the rows of a strip;
 * a strip of a (96 rows by one block) stays in L2 over the panels. a is read where it lies, through row pointers;
 * transposed, a strip of it is first copied to consecutive lines (every k of a transposed a is another page).
 * Few rows: each thread packs a panel and uses it at once, so b passes through the caches a single time (private panels).
 * Many rows: a block of b is packed once for all strips and threads (shared panels).
 * Each output is summed over k in the same order whatever the strips and threads: results do not depend on them.
 */
#include "parallel.h"
#include "strip.h"

enum { BLOCK_WIDTH = 2048, STRIP_ROWS = 96, PRIVATE_ROWS = 192 };

typedef struct gemm_task {
    const fc_gemm *gemm;
    const fc_context *ctx;
    const float *a, *b, *bias;
    float *c;
    float *panels;          /* shared: [panel][depth][tile_columns]; private: one panel a thread */
    float *strips;          /* a thread: [depth][STRIP_ROWS] of a transposed a */
    int64_t k_begin, depth; /* the current block of k */
    int64_t n_begin, width; /* and of n, in shared mode */
    int64_t strip_count, group_count;
} gemm_task;

static bool uses_private_panels(const fc_gemm *g) { return g->m <= PRIVATE_ROWS; }

/* Where one tile's rows are all that use it, packing b costs more than it brings. */
static bool reads_b_in_place(const fc_gemm *g, int64_t columns, const fc_context *ctx) {
    return !g->transpose_b && g->m <= ctx->kernels->gemm_rows && columns == ctx->kernels->tile_columns;
}

static int64_t panel_floats(const fc_gemm *g, const fc_context *ctx) {
    return fc_most_block_depth(g->k, ctx) * ctx->kernels->tile_columns;
}

static int64_t strip_floats(const fc_gemm *g, const fc_context *ctx) {
    const int64_t rows = fc_min(g->m, uses_private_panels(g) ? PRIVATE_ROWS : STRIP_ROWS);
    return g->transpose_a ? fc_round_up(fc_most_block_depth(g->k, ctx) * rows, FC_ALIGNMENT) : 0;
}

static int64_t panels_bytes(const fc_gemm *g, const fc_context *ctx) {
    const int64_t panels = uses_private_panels(g) ? ctx->num_threads
                                                  : fc_ceil_div(fc_min(g->n, BLOCK_WIDTH), ctx->kernels->tile_columns);
    return panels * panel_floats(g, ctx) * (int64_t)sizeof(float);
}

int64_t fc_gemm_workspace_bytes(const fc_gemm *g, const fc_context *ctx) {
    return fc_round_up(panels_bytes(g, ctx), FC_ALIGNMENT) +
           ctx->num_threads * strip_floats(g, ctx) * (int64_t)sizeof(float);
}

static void pack_panel(const gemm_task *t, int64_t k, int64_t depth, int64_t n, int64_t columns, float *panel) {
    const fc_gemm *g = t->gemm;
    const int64_t k_stride = g->transpose_b ? 1 : g->b_stride, n_stride = g->transpose_b ? g->b_stride : 1;
    t->ctx->kernels->pack_panel(t->b + k * k_stride + n * n_stride, k_stride, n_stride, depth, (int)columns, panel);
}

/* The pointers of rows [m, m + rows) at depth k; a transposed a is copied into `copy`. Returns the x_step. */
static int64_t point_at_rows(const gemm_task *t, int64_t k, int64_t depth, int64_t m, int64_t rows, float *copy,
                             const float **x, float **y) {
    const fc_gemm *g = t->gemm;
    if (g->transpose_a)
        for (int64_t d = 0; d < depth; d++)
            memcpy(copy + d * rows, t->a + (k + d) * g->a_stride + m, (size_t)rows * sizeof(float));
    for (int64_t i = 0; i < rows; i++) {
        x[i] = g->transpose_a ? copy + i : t->a + (m + i) * g->a_stride + k;
        y[i] = t->c + (m + i) * g->c_stride;
    }
    return g->transpose_a ? rows : 1;
}

/* The tile of columns [n, ...), over depth [k, k + depth), reading b's panel at w. */
static fc_tile make_tile(const gemm_task *t, int64_t k, int64_t depth, int64_t n, int64_t x_step, const float *w,
                         int64_t w_step) {
    const fc_gemm *g = t->gemm;
    const bool last = k + depth >= g->k;
    return (fc_tile){
        .taps = 1, .depth = depth, .x_step = x_step, .w = w, .w_step = w_step, .y_offset = n,
        .alpha = g->alpha, .beta = k == 0 ? g->beta : 1.0f,
        .bias = last && t->bias ? t->bias + n : NULL, .activation = last ? &g->activation : NULL,
    };
}

/* ------------------------------------------------------------------------------------------------ private panels */

/* All rows times the panels [begin, end), block of k by block of k. */
static void run_private(void *arg, int64_t begin, int64_t end, int thread) {
    const gemm_task *t = arg;
    const fc_gemm *g = t->gemm;
    const int64_t width = t->ctx->kernels->tile_columns, block = fc_block_depth(g->k, t->ctx);
    float *packed = t->panels + thread * panel_floats(g, t->ctx), *copy = t->strips + thread * strip_floats(g, t->ctx);
    const float *x[PRIVATE_ROWS];
    float *y[PRIVATE_ROWS];
    for (int64_t k = 0; k == 0 || k < g->k; k += block) {
        const int64_t depth = fc_min(block, g->k - k);
        const int64_t x_step = point_at_rows(t, k, depth, 0, g->m, copy, x, y);
        const fc_strip rows = {.x = x, .y = y, .rows = g->m};
        for (int64_t panel = begin; panel < end; panel++) {
            const int64_t n = panel * width, columns = fc_min(width, g->n - n);
            const bool in_place = reads_b_in_place(g, columns, t->ctx);
            if (!in_place) pack_panel(t, k, depth, n, columns, packed);
            const fc_tile tile = in_place ? make_tile(t, k, depth, n, x_step, t->b + k * g->b_stride + n, g->b_stride)
                                          : make_tile(t, k, depth, n, x_step, packed, width);
            fc_multiply_strip(&rows, tile, (int)columns, t->ctx);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- shared panels */

static void pack_shared(void *arg, int64_t begin, int64_t end, int thread) {
    const gemm_task *t = arg;
    const int64_t width = t->ctx->kernels->tile_columns;
    (void)thread;
    for (int64_t panel = begin; panel < end; panel++)
        pack_panel(t, t->k_begin, t->depth, t->n_begin + panel * width, fc_min(width, t->width - panel * width),
                   t->panels + panel * t->depth * width);
}

/* Item: (strip, group of panels). */
static void run_shared(void *arg, int64_t begin, int64_t end, int thread) {
    const gemm_task *t = arg;
    const int64_t width = t->ctx->kernels->tile_columns;
    float *copy = t->strips + thread * strip_floats(t->gemm, t->ctx);
    const float *x[STRIP_ROWS];
    float *y[STRIP_ROWS];
    for (int64_t item = begin; item < end; item++) {
        int64_t m, m_end, panel, panel_end;
        fc_split(t->gemm->m, t->strip_count, item / t->group_count, &m, &m_end);
        fc_split(fc_ceil_div(t->width, width), t->group_count, item % t->group_count, &panel, &panel_end);
        const int64_t x_step = point_at_rows(t, t->k_begin, t->depth, m, m_end - m, copy, x, y);
        const fc_strip rows = {.x = x, .y = y, .rows = m_end - m};
        for (; panel < panel_end; panel++) {
            const fc_tile tile = make_tile(t, t->k_begin, t->depth, t->n_begin + panel * width, x_step,
                                           t->panels + panel * t->depth * width, width);
            fc_multiply_strip(&rows, tile, (int)fc_min(width, t->width - panel * width), t->ctx);
        }
    }
}

static void run_blocks(gemm_task *t, int threads) {
    const fc_gemm *g = t->gemm;
    const int64_t block = fc_block_depth(g->k, t->ctx);
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

void fc_gemm_run(const fc_gemm *g, const float *a, const float *b, const float *bias, float *c, void *workspace,
                 const fc_context *ctx) {
    if (g->m == 0 || g->n == 0) return;
    const int threads = fc_threads_for_arithmetic(g->m * g->n * fc_max(g->k, 1), ctx);
    fc_arena arena = {workspace};
    gemm_task t = {.gemm = g, .ctx = ctx, .a = a, .b = b, .bias = bias, .c = c};
    t.panels = fc_take(&arena, panels_bytes(g, ctx));
    t.strips = (float *)arena.next;
    if (uses_private_panels(g))
        fc_parallel(fc_ceil_div(g->n, ctx->kernels->tile_columns), threads, run_private, &t);
    else
        run_blocks(&t, threads);
}
