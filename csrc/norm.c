/* norm.c - batch norm of (rows, channels): statistics, forward and backward.
 *
 * Sums run over chunks of rows whose size depends on the shape alone; chunks are float32 in the micro-kernel (sums of 16
 * rows, about a shift), and are combined in index order in double. So the bits do not depend on the threads, and the error
 * is that of a chunk: the one-pass float32 sum of squares loses (mean / std)^2 * 2^-24 of the variance.
 */
#include "kernels/kernels.h"
#include "parallel.h"

/* Sums: 64 KB of x a chunk where channels are many, from L2 while the kernel walks it once a group of channels; 64 to 256
 * rows, for the float32 sums' sake, but no more chunks than 4096, whose partial sums are the workspace. */
enum { CHUNK_FLOATS = 16384, MIN_CHUNK_ROWS = 64, MAX_CHUNK_ROWS = 256, MAX_CHUNKS = 4096 };
/* Elementwise passes: rows that the hardware's prefetchers follow side by side. */
enum { PASS_FLOATS = 16384, MIN_PASS_ROWS = 16 };

typedef struct norm_task {
    const fc_context *ctx;
    int64_t rows, channels, chunk_rows, chunks, pass_rows;
    const float *x, *dy, *mean, *inv_std, *weight, *bias;
    float *y, *dx, *mean_out, *var_out, *dweight, *dbias;
    float *partial;                /* [chunk][3][channels]: shift, sum, square or product sum */
    float *scale, *offset, *slope; /* [channels] of the backward pass */
} norm_task;

static int64_t chunk_rows(int64_t rows, int64_t channels) {
    int64_t size = fc_max(MIN_CHUNK_ROWS, fc_min(CHUNK_FLOATS / fc_max(channels, 1), MAX_CHUNK_ROWS));
    return fc_max(size, fc_ceil_div(rows, MAX_CHUNKS));
}

static int64_t partial_bytes(int64_t rows, int64_t channels) {
    return fc_ceil_div(rows, chunk_rows(rows, channels)) * 3 * channels * (int64_t)sizeof(float);
}

int64_t fc_batch_norm_workspace_bytes(int64_t rows, int64_t channels, const fc_context *ctx) {
    (void)ctx;
    return fc_round_up(partial_bytes(rows, channels), FC_ALIGNMENT) +
           3 * fc_round_up(channels * (int64_t)sizeof(float), FC_ALIGNMENT);
}

static norm_task make_task(int64_t rows, int64_t channels, void *workspace, const fc_context *ctx) {
    norm_task t = {.ctx = ctx, .rows = rows, .channels = channels};
    fc_arena arena = {workspace};
    t.chunk_rows = chunk_rows(rows, channels);
    t.chunks = fc_ceil_div(rows, t.chunk_rows);
    t.pass_rows = fc_max(MIN_PASS_ROWS, PASS_FLOATS / fc_max(channels, 1));
    if (workspace) {
        const int64_t bytes = channels * (int64_t)sizeof(float);
        t.partial = fc_take(&arena, partial_bytes(rows, channels));
        t.scale = fc_take(&arena, bytes);
        t.offset = fc_take(&arena, bytes);
        t.slope = fc_take(&arena, bytes);
    }
    return t;
}

static int threads_of(const norm_task *t) {
    return fc_threads_for_memory(t->rows * t->channels * (int64_t)sizeof(float), t->ctx);
}

/* ---------------------------------------------------------------------------------------------------- statistics */

static void sum_moments(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    const int64_t channels = t->channels;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i * t->chunk_rows;
        float *partial = t->partial + i * 3 * channels;
        t->ctx->kernels->norm_moments(fc_min(t->chunk_rows, t->rows - row), channels, t->x + row * channels, partial,
                                      partial + channels, partial + 2 * channels);
    }
}

/* Chan's update: the mean and sum of squared deviations of the chunks so far and the next. */
static void combine_moments(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        double mean = 0.0, squares = 0.0, count = 0.0;
        for (int64_t i = 0; i < t->chunks; i++) {
            const float *partial = t->partial + i * 3 * t->channels + c;
            const double n = (double)fc_min(t->chunk_rows, t->rows - i * t->chunk_rows), sum = partial[t->channels];
            const double chunk_squares = partial[2 * t->channels] - sum * sum / n;
            const double delta = partial[0] + sum / n - mean;
            squares += chunk_squares + delta * delta * (count * n / (count + n));
            count += n;
            mean += delta * (n / count);
        }
        t->mean_out[c] = (float)mean;
        /* Rounding may leave a constant chunk a hair below zero; NaN stays. */
        t->var_out[c] = squares < 0.0 ? 0.0f : (float)(squares / count);
    }
}

void fc_batch_norm_statistics(int64_t rows, int64_t channels, const float *x, float *mean, float *var, void *workspace,
                              const fc_context *ctx) {
    norm_task t = make_task(rows, channels, workspace, ctx);
    t.x = x;
    t.mean_out = mean;
    t.var_out = var;
    fc_parallel(t.chunks, threads_of(&t), sum_moments, &t);
    fc_parallel(channels, fc_threads_for_memory(partial_bytes(rows, channels), ctx), combine_moments, &t);
}

/* ------------------------------------------------------------------------------------------------------- forward */

static void normalise(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i * t->pass_rows, at = row * t->channels;
        t->ctx->kernels->norm_rows(fc_min(t->pass_rows, t->rows - row), t->channels, t->x + at, t->mean, t->inv_std,
                                   t->weight, t->bias, t->y + at);
    }
}

void fc_batch_norm_forward(int64_t rows, int64_t channels, const float *x, const float *mean, const float *inv_std,
                           const float *weight, const float *bias, float *y, const fc_context *ctx) {
    norm_task t = make_task(rows, channels, NULL, ctx);
    t.x = x;
    t.mean = mean;
    t.inv_std = inv_std;
    t.weight = weight;
    t.bias = bias;
    t.y = y;
    fc_parallel(fc_ceil_div(rows, t.pass_rows), threads_of(&t), normalise, &t);
}

/* ------------------------------------------------------------------------------------------------------ backward */

static void sum_gradients(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    const int64_t channels = t->channels;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i * t->chunk_rows, at = row * channels;
        float *partial = t->partial + i * 3 * channels;
        t->ctx->kernels->norm_gradient_sums(fc_min(t->chunk_rows, t->rows - row), channels, t->dy + at, t->x + at,
                                            t->mean, partial + channels, partial + 2 * channels);
    }
}

/* With xhat = (x - mean) * inv_std and means over the rows:
 * dx = weight * inv_std * (dy - mean(dy) - xhat * mean(dy * xhat)) = scale * (dy - offset - (x - mean) * slope). */
static void combine_gradients(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    (void)thread;
    for (int64_t c = begin; c < end; c++) {
        double sum = 0.0, product_sum = 0.0;
        for (int64_t i = 0; i < t->chunks; i++) {
            const float *partial = t->partial + i * 3 * t->channels + c;
            sum += partial[t->channels];
            product_sum += partial[2 * t->channels];
        }
        const double inv_std = t->inv_std[c], rows = (double)fc_max(t->rows, 1);
        t->dbias[c] = (float)sum;
        t->dweight[c] = (float)(product_sum * inv_std);
        t->scale[c] = (float)(inv_std * (t->weight ? t->weight[c] : 1.0));
        t->offset[c] = (float)(sum / rows);
        t->slope[c] = (float)(product_sum * inv_std * inv_std / rows);
    }
}

static void spread_gradients(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i * t->pass_rows, at = row * t->channels;
        t->ctx->kernels->norm_gradient_rows(fc_min(t->pass_rows, t->rows - row), t->channels, t->dy + at, t->x + at,
                                            t->mean, t->scale, t->offset, t->slope, t->dx + at);
    }
}

void fc_batch_norm_backward(int64_t rows, int64_t channels, const float *dy, const float *x, const float *mean,
                            const float *inv_std, const float *weight, float *dx, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx) {
    norm_task t = make_task(rows, channels, workspace, ctx);
    t.dy = dy;
    t.x = x;
    t.mean = mean;
    t.inv_std = inv_std;
    t.weight = weight;
    t.dx = dx;
    t.dweight = dweight;
    t.dbias = dbias;
    fc_parallel(t.chunks, threads_of(&t), sum_gradients, &t);
    fc_parallel(channels, fc_threads_for_memory(partial_bytes(rows, channels), ctx), combine_gradients, &t);
    fc_parallel(fc_ceil_div(rows, t.pass_rows), threads_of(&t), spread_gradients, &t);
}
