/* layer_norm.c - norms of rows: layer norm and RMS norm. Threads share out blocks of rows; every row is summed in one
 * order.
 *
 * The gradients of weight and bias are summed in float32 over chunks of at most 64 rows, four rows at a time, and the
 * chunks by sum_rows; chunks depend on the shape alone. */
#include "kernels/kernels.h"
#include "parallel.h"

/* Rows of an item make about this many floats, a multiple of the four rows that the kernels take. */
enum { ITEM_FLOATS = 8192, LEAST_CHUNK = 8, MOST_CHUNK = 64, CHUNKS = 16 };
/* The partial sums of dweight and dbias take no more, unless there are no chunks of fewer rows. */
enum { PARTIAL_BYTES = 4 * 1024 * 1024 };

typedef struct rows_task {
    fc_layer_norm_block block; /* of all rows */
    const fc_context *ctx;
    int64_t item_rows, items;
    float *partial; /* [item][2][columns]: dweight, dbias */
} rows_task;

static int threads_of(const rows_task *t) {
    return fc_threads_for_memory(t->block.rows * t->block.columns * (int64_t)sizeof(float), t->ctx);
}

static bool streams(const fc_layer_norm_block *b) {
    const int64_t arrays = b->dy ? 3 : 2;
    const int64_t row_bytes = b->columns * (int64_t)sizeof(float);
    return arrays * b->rows * row_bytes >= FC_STREAM_TRAFFIC && (uintptr_t)b->y % FC_ALIGNMENT == 0 &&
           row_bytes % FC_ALIGNMENT == 0;
}

static fc_layer_norm_block item_of(const rows_task *t, int64_t i) {
    fc_layer_norm_block b = t->block;
    const int64_t row = i * t->item_rows, at = row * b.columns;
    b.rows = fc_min(t->item_rows, b.rows - row);
    b.x += at;
    b.y += at;
    if (b.dy) b.dy += at;
    if (b.mean) b.mean += row;
    if (b.var) b.var += row;
    return b;
}

/* ------------------------------------------------------------------------------------------------------- forward */

static void run_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const rows_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const fc_layer_norm_block block = item_of(t, i);
        t->ctx->kernels->layer_norm_rows(&block);
    }
}

void fc_layer_norm_forward(const fc_layer_norm *norm, const float *x, const float *weight, const float *bias, float eps,
                           float *y, float *mean, float *var, const fc_context *ctx) {
    rows_task t = {.ctx = ctx, .block = {.rms = norm->rms, .rows = norm->rows, .columns = norm->columns, .x = x, .y = y,
                                         .weight = weight, .bias = bias, .eps = eps, .mean = mean, .var = var}};
    if (norm->rows == 0 || norm->columns == 0) return;
    t.block.stream = streams(&t.block);
    t.item_rows = fc_max(4, ITEM_FLOATS / norm->columns / 4 * 4);
    if (norm->columns > ITEM_FLOATS) t.item_rows = 1; /* rows go alone */
    t.items = fc_ceil_div(norm->rows, t.item_rows);
    fc_parallel(t.items, threads_of(&t), run_forward, &t);
}

/* ------------------------------------------------------------------------------------------------------ backward */

static int64_t chunk_rows(const fc_layer_norm *norm) {
    const int64_t most = fc_max(1, PARTIAL_BYTES / (2 * (int64_t)sizeof(float) * fc_max(norm->columns, 1)));
    const int64_t wanted = fc_min(MOST_CHUNK, fc_max(LEAST_CHUNK, norm->rows / CHUNKS));
    return fc_round_up(fc_max(wanted, fc_ceil_div(norm->rows, most)), 4);
}

int64_t fc_layer_norm_workspace_bytes(const fc_layer_norm *norm, const fc_context *ctx) {
    (void)ctx;
    return fc_ceil_div(norm->rows, chunk_rows(norm)) * 2 * norm->columns * (int64_t)sizeof(float);
}

static void run_backward(void *arg, int64_t begin, int64_t end, int thread) {
    const rows_task *t = arg;
    const int64_t columns = t->block.columns;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        fc_layer_norm_block block = item_of(t, i);
        if (t->partial) {
            block.dweight = t->partial + i * 2 * columns;
            if (t->block.dbias) block.dbias = block.dweight + columns;
        }
        t->ctx->kernels->layer_norm_gradient_rows(&block);
    }
}

/* Columns of an item. */
enum { SUM_COLUMNS = 256 };

static void sum_partials(void *arg, int64_t begin, int64_t end, int thread) {
    const rows_task *t = arg;
    const int64_t columns = t->block.columns;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t c = i * SUM_COLUMNS, count = fc_min(SUM_COLUMNS, columns - c);
        t->ctx->kernels->sum_rows(t->items, count, t->partial + c, 2 * columns, t->block.dweight + c);
        if (t->block.dbias)
            t->ctx->kernels->sum_rows(t->items, count, t->partial + columns + c, 2 * columns, t->block.dbias + c);
    }
}

void fc_layer_norm_backward(const fc_layer_norm *norm, const float *dy, const float *x, const float *mean,
                            const float *var, const float *weight, float eps, float *dx, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx) {
    rows_task t = {.ctx = ctx, .block = {.rms = norm->rms, .rows = norm->rows, .columns = norm->columns, .x = x,
                                         .dy = dy, .y = dx, .weight = weight, .eps = eps, .dweight = dweight,
                                         .dbias = dbias}};
    t.block.mean = (float *)mean; /* read alone */
    t.block.var = (float *)var;
    t.block.stream = streams(&t.block);
    t.item_rows = chunk_rows(norm);
    t.items = fc_ceil_div(norm->rows, t.item_rows);
    t.partial = dweight ? workspace : NULL;
    if (norm->rows == 0) {
        if (dweight) memset(dweight, 0, (size_t)norm->columns * sizeof(float));
        if (dbias) memset(dbias, 0, (size_t)norm->columns * sizeof(float));
    }
    if (norm->rows == 0 || norm->columns == 0) return;
    fc_parallel(t.items, threads_of(&t), run_backward, &t);
    if (dweight)
        fc_parallel(fc_ceil_div(norm->columns, SUM_COLUMNS), t.items > 16 ? threads_of(&t) : 1, sum_partials, &t);
}
