/* gemm.c - c = activation(alpha * op(a) * op(b) + beta * c + bias), after Goto & van de Geijn 2008.
 *
 * For each block of `depth` k and `width` n: pack b into panels as wide as a tile, then let the threads take strips of
 * rows times groups of panels. A panel (32 floats * 256 = 32 KB at most) stays in L1 over a strip, a strip of a
 * (96 * 256 floats = 96 KB) in L2 over the panels. a is read where it lies, through row pointers; transposed, a strip of it
 * is first copied to consecutive lines (every k of a transposed a is another page).
 * Each output is summed over k in the same order whatever the strips and threads: results do not depend on them.
 */
#include "kernels/kernels.h"
#include "parallel.h"

enum { BLOCK_DEPTH = 256, BLOCK_WIDTH = 2048, STRIP_ROWS = 96 };

typedef struct gemm_task {
    const fc_gemm *gemm;
    const fc_context *ctx;
    const float *a, *b, *bias;
    float *c;
    float *panels;          /* [panel][depth][tile_columns] */
    float *strips;          /* a thread: [BLOCK_DEPTH][STRIP_ROWS] of a transposed a */
    int64_t k_begin, depth; /* the current block */
    int64_t n_begin, width;
    int64_t strips_count, group_count;
    bool first, last;       /* of the blocks of k */
    bool b_in_place;        /* whole panels of b are read where they lie */
} gemm_task;

static int64_t block_depth(int64_t k) {
    int64_t blocks = fc_max(1, fc_ceil_div(k, BLOCK_DEPTH + BLOCK_DEPTH / 4));
    return fc_max(1, fc_ceil_div(k, blocks));
}

/* Where few rows reuse it, packing b costs more than it brings. */
static bool reads_b_in_place(const fc_gemm *g, const fc_context *ctx) {
    return !g->transpose_b && g->m <= 2 * ctx->kernels->tile_rows;
}

static int64_t panels_bytes(const fc_gemm *g, const fc_context *ctx) {
    int64_t columns = fc_round_up(fc_min(g->n, BLOCK_WIDTH), ctx->kernels->tile_columns);
    return columns * block_depth(g->k) * (int64_t)sizeof(float);
}

static int64_t strip_bytes(const fc_gemm *g) {
    return g->transpose_a ? block_depth(g->k) * STRIP_ROWS * (int64_t)sizeof(float) : 0;
}

int64_t fc_gemm_workspace_bytes(const fc_gemm *g, const fc_context *ctx) {
    return fc_round_up(panels_bytes(g, ctx), FC_ALIGNMENT) +
           ctx->num_threads * fc_round_up(strip_bytes(g), FC_ALIGNMENT);
}

static void pack_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const gemm_task *t = arg;
    const fc_gemm *g = t->gemm;
    const int64_t columns = t->ctx->kernels->tile_columns;
    const int64_t k_stride = g->transpose_b ? 1 : g->b_stride, n_stride = g->transpose_b ? g->b_stride : 1;
    (void)thread;
    for (int64_t panel = begin; panel < end; panel++) {
        int64_t n = t->n_begin + panel * columns, left = t->n_begin + t->width - n;
        if (t->b_in_place && left >= columns) continue;
        t->ctx->kernels->pack_panel(t->b + t->k_begin * k_stride + n * n_stride, k_stride, n_stride, t->depth,
                                    (int)fc_min(left, columns), t->panels + panel * columns * t->depth);
    }
}

static void copy_strip(const gemm_task *t, int64_t m, int64_t rows, float *strip) {
    for (int64_t k = 0; k < t->depth; k++)
        memcpy(strip + k * rows, t->a + (t->k_begin + k) * t->gemm->a_stride + m, (size_t)rows * sizeof(float));
}

/* Rows [m, m + rows) times one panel, in tiles of nearly equal height. */
static void multiply_panel(const gemm_task *t, int64_t m, int64_t rows, const float *strip, int64_t panel) {
    const fc_gemm *g = t->gemm;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t n = t->n_begin + panel * kernels->tile_columns;
    const int64_t columns = fc_min(kernels->tile_columns, t->n_begin + t->width - n);
    const bool in_place = t->b_in_place && columns == kernels->tile_columns;
    const float *x[FC_MAX_TILE_ROWS];
    float *y[FC_MAX_TILE_ROWS];
    fc_tile tile = {
        .taps = 1, .depth = t->depth, .x = x, .x_step = strip ? rows : 1,
        .w = in_place ? t->b + t->k_begin * g->b_stride + n : t->panels + panel * kernels->tile_columns * t->depth,
        .w_step = in_place ? g->b_stride : kernels->tile_columns,
        .y = y, .alpha = g->alpha, .beta = t->first ? g->beta : 1.0f,
        .bias = t->last && t->bias ? t->bias + n : NULL,
        .activation = t->last ? &g->activation : NULL,
    };
    int64_t tiles = fc_ceil_div(rows, kernels->tile_rows);
    for (int64_t i = 0; i < tiles; i++) {
        int64_t begin, end;
        fc_split(rows, tiles, i, &begin, &end);
        for (int64_t r = begin; r < end; r++) {
            x[r - begin] = strip ? strip + r : t->a + (m + r) * g->a_stride + t->k_begin;
            y[r - begin] = t->c + (m + r) * g->c_stride + n;
        }
        kernels->gemm_tile(&tile, (int)(end - begin), (int)columns);
    }
}

static void multiply_strips(void *arg, int64_t begin, int64_t end, int thread) {
    const gemm_task *t = arg;
    const int64_t panels = fc_ceil_div(t->width, t->ctx->kernels->tile_columns);
    float *strip = t->gemm->transpose_a ? t->strips + thread * (fc_round_up(strip_bytes(t->gemm), FC_ALIGNMENT) / 4) : NULL;
    for (int64_t item = begin; item < end; item++) {
        int64_t m, m_end, panel, panel_end;
        fc_split(t->gemm->m, t->strips_count, item / t->group_count, &m, &m_end);
        fc_split(panels, t->group_count, item % t->group_count, &panel, &panel_end);
        if (strip) copy_strip(t, m, m_end - m, strip);
        for (; panel < panel_end; panel++) multiply_panel(t, m, m_end - m, strip, panel);
    }
}

void fc_gemm_run(const fc_gemm *g, const float *a, const float *b, const float *bias, float *c, void *workspace,
                 const fc_context *ctx) {
    if (g->m == 0 || g->n == 0) return;
    const int threads = fc_threads_for_arithmetic(g->m * g->n * fc_max(g->k, 1), ctx);
    const int64_t depth = block_depth(g->k), columns = ctx->kernels->tile_columns;
    fc_arena arena = {workspace};
    gemm_task t = {.gemm = g, .ctx = ctx, .a = a, .b = b, .bias = bias, .c = c};
    t.panels = fc_take(&arena, panels_bytes(g, ctx));
    t.strips = (float *)arena.next;
    t.b_in_place = reads_b_in_place(g, ctx);
    t.strips_count = fc_ceil_div(g->m, STRIP_ROWS);
    for (t.n_begin = 0; t.n_begin < g->n; t.n_begin += BLOCK_WIDTH) {
        t.width = fc_min(BLOCK_WIDTH, g->n - t.n_begin);
        int64_t panels = fc_ceil_div(t.width, columns);
        /* Enough items for every thread, also when there are few rows. */
        t.group_count = fc_min(panels, fc_ceil_div(threads, t.strips_count));
        for (t.k_begin = 0; t.k_begin == 0 || t.k_begin < g->k; t.k_begin += depth) {
            t.depth = fc_min(depth, g->k - t.k_begin);
            t.first = t.k_begin == 0;
            t.last = t.k_begin + depth >= g->k;
            fc_parallel(panels, threads, pack_panels, &t);
            fc_parallel(t.strips_count * t.group_count, threads, multiply_strips, &t);
        }
    }
}
