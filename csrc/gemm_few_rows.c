/* gemm_few_rows.c - products of a few rows (small batches of a fully connected layer) with a matrix read once, in place.
 *
 * Threads share the columns out. The sums of as many columns as L1 holds are made in the workspace, a block of k after the
 * other, and go to c through the epilogue. More rows than the kernels take read a block of b again, from L2.
 */
#include "gemm.h"

/* Sums of one thread; columns are shared out in whole cache lines; what of b is read again stays in L2. */
enum { SUMS = 4096, COLUMNS = 64, AGAIN_BYTES = 512 * 1024, LINE = FC_ALIGNMENT / (int)sizeof(float) };
/* Sums lie in their cache lines as the columns of b do in theirs: a line more for each row. */
enum { ROOM = SUMS + FC_FEW_ROWS * LINE };

typedef struct few_rows_task {
    const fc_gemm *gemm;
    const gemm_operands *o;
    const fc_context *ctx;
    char *workspace;
} few_rows_task;

/* Rows go in nearly equal groups. */
static int64_t group_count(const fc_gemm *g, const fc_context *ctx) {
    return fc_max(1, fc_ceil_div(g->m, ctx->kernels->few_rows));
}

/* Sums of vectors are as many as lanes: so much longer ones are as accurate, and each row of a transposed b is read in one
 * piece (1 x 2048 times 1000 rows: 84 GB/s in four pieces, 103 to 120 in one). */
static int64_t few_rows_depth(const fc_gemm *g, const fc_context *ctx) {
    const int64_t depth = gemm_block_depth(g, ctx);
    return g->transpose_b && !g->transpose_a ? fc_max(depth, fc_min(g->k, GEMM_DEPTH * ctx->kernels->lanes)) : depth;
}

/* Columns at a time. */
static int64_t chunk_columns(const fc_gemm *g, const fc_context *ctx) {
    const int64_t room = SUMS / fc_max(fc_ceil_div(g->m, group_count(g, ctx)), 1);
    const int64_t again = AGAIN_BYTES / (few_rows_depth(g, ctx) * (int64_t)sizeof(float));
    return fc_max(1, (g->m > ctx->kernels->few_rows ? fc_min(room, again) : room) / COLUMNS) * COLUMNS;
}

/* Rows of a transposed a, turned for kernels that want them contiguous. */
static int64_t copy_floats(const fc_gemm *g, const fc_context *ctx) {
    return g->transpose_a && g->transpose_b ? FC_FEW_ROWS * gemm_most_block_depth(g, ctx) : 0;
}

static int64_t thread_bytes(const fc_gemm *g, const fc_context *ctx) {
    return fc_round_up((ROOM + copy_floats(g, ctx)) * (int64_t)sizeof(float), FC_ALIGNMENT);
}

int64_t gemm_few_rows_bytes(const fc_gemm *g, int threads, const fc_context *ctx) {
    return threads * thread_bytes(g, ctx);
}

/* The block of columns [n, n + columns) and depths [k, k + depth). */
typedef struct few_rows_block {
    int64_t n, columns, k, depth, head, step; /* step: from a row of sums to the next; head: columns to a cache line of b */
} few_rows_block;

/* The sums of rows [m, m + rows). */
static void sum_block(const few_rows_task *t, const few_rows_block *s, int64_t m, int64_t rows, float *sums, float *copy) {
    const fc_gemm *g = t->gemm;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t x_row = g->transpose_a ? 1 : g->a_stride, x_step = g->transpose_a ? g->a_stride : 1;
    const float *x = t->o->a + m * x_row + s->k * x_step;
    if (!g->transpose_b) {
        memset(sums, 0, (size_t)(rows * s->step) * sizeof(float));
        kernels->add_products((int)rows, s->depth, x, x_row, x_step, t->o->b + s->k * g->b_stride + s->n, g->b_stride,
                              s->columns, s->head, sums, s->step);
        return;
    }
    if (g->transpose_a) {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t d = 0; d < s->depth; d++) copy[i * s->depth + d] = x[i + d * x_step];
        x = copy;
    }
    kernels->dot_products((int)rows, s->depth, x, g->transpose_a ? s->depth : x_row, t->o->b + s->n * g->b_stride + s->k,
                          g->b_stride, s->columns, sums, s->step);
}

static void run_block(const few_rows_task *t, const few_rows_block *s, float *sums) {
    const fc_gemm *g = t->gemm;
    const fc_tile tile = gemm_epilogue(g, t->o->bias, s->k, s->depth, s->n);
    const int64_t groups = group_count(g, t->ctx);
    float *first = sums + (LINE - s->head) % LINE;
    for (int64_t group = 0; group < groups; group++) {
        int64_t m, end;
        fc_split(g->m, groups, group, &m, &end);
        sum_block(t, s, m, end - m, first, sums + ROOM);
        for (int64_t i = 0; i < end - m; i++)
            t->ctx->kernels->finish_row(&tile, s->columns, first + i * s->step, t->o->c + (m + i) * g->c_stride + s->n);
    }
}

static void run_columns(void *arg, int64_t begin, int64_t end, int thread) {
    const few_rows_task *t = arg;
    const fc_gemm *g = t->gemm;
    const int64_t block = few_rows_depth(g, t->ctx), last = fc_min(end * COLUMNS, g->n), most = chunk_columns(g, t->ctx);
    few_rows_block s = {.head = gemm_head_columns(g, t->o->b), .step = most + LINE};
    for (s.n = begin * COLUMNS; s.n < last; s.n += s.columns) {
        s.columns = fc_min(most, last - s.n);
        for (s.k = 0; s.k == 0 || s.k < g->k; s.k += block) {
            s.depth = fc_min(block, g->k - s.k);
            run_block(t, &s, (float *)(t->workspace + thread * thread_bytes(g, t->ctx)));
        }
    }
}

void gemm_few_rows(const fc_gemm *g, const gemm_operands *o, void *workspace, int threads, const fc_context *ctx) {
    few_rows_task t = {g, o, ctx, workspace};
    fc_parallel(fc_ceil_div(g->n, COLUMNS), threads, run_columns, &t);
}
