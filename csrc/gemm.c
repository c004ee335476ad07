/* gemm.c - c = activation(alpha * op(a) * op(b) + beta * c + bias): chooses the driver, alone or for a batch of products.
 *
 * Each output is summed over k in the same order whatever the strips and threads: results do not depend on them.
 */
#include "gemm.h"

/* Up to so many rows it is faster to read b in place, with sums in L1, than to make panels of it. MOST: where b takes 192 KB
 * and more, or its sums run along long rows; with 32 registers a panel's first tile keeps the sums of eight rows there and
 * needs no copy of b, which is faster from 5 rows on (6 x 1024 x 1024 on Zen 4: 0.71 of the peak in place, 0.89 so). A
 * transposed b would have to be turned: FEW whatever its size, more where its rows are long. */
enum { FEW = 8, MOST = 10, MOST_OF_32_REGISTERS = 4, MOST_TURNED = 24, LARGE = 48 * 1024, SHORT = 32, LONG = 256 };

static bool reads_in_place(const fc_gemm *g, const fc_context *ctx) {
    const bool many = ctx->kernels->lanes == 16;
    if (g->transpose_b) return !g->in_order && g->k >= SHORT && g->m <= (g->k < LONG ? FEW : many ? MOST_TURNED : MOST);
    return g->m <= (g->n * g->k < LARGE ? g->n >= LONG : many ? MOST_OF_32_REGISTERS : MOST);
}

/* b and what is read of a beside it stay in L1; one block of depth, so that sums are those of the other drivers. A
 * transposed b is one panel, turned in the workspace. */
enum { SMALL = 6 * 1024, SMALL_DEPTH = 512 };

/* Up to 8 columns go to kernels of 8 lanes. */
static const fc_kernels *small_kernels(const fc_gemm *g, const fc_context *ctx) {
    return g->n <= ctx->kernels->narrow->lanes ? ctx->kernels->narrow : ctx->kernels;
}

static bool is_small(const fc_gemm *g, const float *bias, const fc_context *ctx) {
    return g->n * g->k <= SMALL && g->k <= SMALL_DEPTH && g->m <= SMALL_DEPTH && g->alpha == 1.0f && g->beta == 0.0f &&
           !bias && g->activation.kind == FC_IDENTITY &&
           (!g->transpose_b || (g->n <= small_kernels(g, ctx)->tile_columns && !reads_in_place(g, ctx)));
}

static int64_t turned_bytes(const fc_gemm *g, const fc_context *ctx) {
    return g->transpose_b ? fc_min(g->k, SMALL_DEPTH) * ctx->kernels->tile_columns * (int64_t)sizeof(float) : 0;
}

/* Products [begin, end) of a batch of small ones. */
static void run_small(const fc_gemm *g, const fc_gemm_batch *batch, const gemm_operands *o, int64_t begin, int64_t end,
                      void *workspace, const fc_context *ctx) {
    const fc_kernels *kernels = small_kernels(g, ctx);
    fc_products products = {
        .count = end - begin, .m = g->m, .n = g->n, .k = g->k,
        .a = o->a + begin * batch->a_step, .b = o->b + begin * batch->b_step, .c = o->c + begin * batch->c_step,
        .a_next = batch->a_step, .b_next = batch->b_step, .c_next = batch->c_step,
        .a_row = g->transpose_a ? 1 : g->a_stride, .a_step = g->transpose_a ? g->a_stride : 1,
        .b_row = g->b_stride, .c_row = g->c_stride,
    };
    if (!g->transpose_b) {
        kernels->small_products(&products);
        return;
    }
    const float *b = products.b;
    products.count = 1;
    products.b = workspace;
    products.b_row = kernels->tile_columns;
    for (; begin < end; begin++, b += batch->b_step) {
        kernels->pack_panel(b, 1, g->b_stride, g->k, (int)g->n, workspace);
        kernels->small_products(&products);
        products.a += batch->a_step;
        products.c += batch->c_step;
    }
}

static void run(const fc_gemm *g, const gemm_operands *o, void *workspace, int threads, const fc_context *ctx) {
    if (threads == 1 && is_small(g, o->bias, ctx))
        run_small(g, &(fc_gemm_batch){1, 0, 0, 0}, o, 0, 1, workspace, ctx);
    else if (reads_in_place(g, ctx))
        gemm_few_rows(g, o, workspace, threads, ctx);
    else
        gemm_panels(g, o, workspace, threads, ctx);
}

/* For any driver: with fewer rows, as in the last chunk of an unfolded convolution, it may be another. */
static int64_t workspace_bytes(const fc_gemm *g, int threads, const fc_context *ctx) {
    const int64_t drivers = fc_max(gemm_few_rows_bytes(g, threads, ctx), gemm_panels_bytes(g, threads, ctx));
    return fc_round_up(fc_max(drivers, turned_bytes(g, ctx)), FC_ALIGNMENT);
}

int64_t fc_gemm_workspace_bytes(const fc_gemm *g, const fc_context *ctx) {
    return workspace_bytes(g, ctx->num_threads, ctx);
}

void fc_gemm_run(const fc_gemm *g, const float *a, const float *b, const float *bias, float *c, void *workspace,
                 const fc_context *ctx) {
    if (g->m == 0 || g->n == 0) return;
    const gemm_operands o = {a, b, bias, c};
    run(g, &o, workspace, fc_threads_for_arithmetic(g->m * g->n * fc_max(g->k, 1), ctx), ctx);
}

/* --------------------------------------------------------------------------------------------------------- batch */

typedef struct batch_task {
    const fc_gemm *gemm;
    const fc_gemm_batch *batch;
    const fc_context *ctx;
    gemm_operands first;
    char *workspace; /* a thread: bytes */
    int64_t bytes;
} batch_task;

/* Whole products, each by one thread. */
static void run_products(void *arg, int64_t begin, int64_t end, int thread) {
    const batch_task *t = arg;
    const fc_gemm_batch *s = t->batch;
    char *workspace = t->workspace + thread * t->bytes;
    if (is_small(t->gemm, NULL, t->ctx)) {
        run_small(t->gemm, s, &t->first, begin, end, workspace, t->ctx);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        const gemm_operands o = {t->first.a + i * s->a_step, t->first.b + i * s->b_step, NULL, t->first.c + i * s->c_step};
        run(t->gemm, &o, workspace, 1, t->ctx);
    }
}

/* Fewer products than threads, or large ones: threads share each of them. */
static bool shares_products(const fc_gemm *g, int64_t count, const fc_context *ctx) {
    return count < 2 * ctx->num_threads && g->m * g->n * fc_max(g->k, 1) >= 4 * FC_SERIAL_MULTIPLY_ADDS;
}

int64_t fc_gemm_batch_workspace_bytes(const fc_gemm *g, const fc_gemm_batch *batch, const fc_context *ctx) {
    if (shares_products(g, batch->count, ctx)) return fc_gemm_workspace_bytes(g, ctx);
    return ctx->num_threads * workspace_bytes(g, 1, ctx);
}

void fc_gemm_batch_run(const fc_gemm *g, const fc_gemm_batch *batch, const float *a, const float *b, float *c,
                       void *workspace, const fc_context *ctx) {
    if (g->m == 0 || g->n == 0) return;
    batch_task t = {g, batch, ctx, {a, b, NULL, c}, workspace, workspace_bytes(g, 1, ctx)};
    if (shares_products(g, batch->count, ctx)) {
        for (int64_t i = 0; i < batch->count; i++)
            fc_gemm_run(g, a + i * batch->a_step, b + i * batch->b_step, NULL, c + i * batch->c_step, workspace, ctx);
        return;
    }
    const int64_t multiply_adds = batch->count * g->m * g->n * fc_max(g->k, 1);
    fc_parallel(batch->count, fc_threads_for_arithmetic(multiply_adds, ctx), run_products, &t);
}
