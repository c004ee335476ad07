/* norm.c - norms whose statistics run over pixels: batch, group and instance norm of (images, rows, channels).
 *
 * Batch norm is one image of all rows and as many groups as channels. Every image and group has its own mean and
 * variance.
 *
 * Sums run over chunks of rows whose size depends on the shape alone; a chunk is summed in float32 in the micro-kernel
 * (the moments about a shift), and the chunks are combined in index order in double. So the bits do not depend on the
 * threads, and the error is that of a chunk: the one-pass float32 sum of squares loses (mean / std)^2 * 2^-24 of the
 * variance.
 *
 * Few channels are folded: `fold` neighbouring rows make one row of whole groups of vectors, whose columns are summed
 * apart and combined at last (3 channels: 64 x 3 = 12 vectors, where each row would take one, nearly empty). What an
 * image leaves over is a chunk of its own, of one row. */
#include "kernels/kernels.h"
#include "parallel.h"

/* Rows of a chunk: float32 sums of 16 tiles of 16. But at most 4096 chunks, whose partial sums are the workspace. */
enum { CHUNK_ROWS = 256, MAX_CHUNKS = 4096 };
/* Elements of an item of the elementwise passes, which go through an item forwards and from the last item to the first:
 * the least, and where there are PASS_ITEMS of them the most. (25 MB and 512 KB an item instead of 64 KB: gradients in
 * 2.9 instead of 3.3 ms on Zen 4, as prefetchers start anew less often; all rows backwards 4.2.) */
enum { PASS_FLOATS = 16384, PASS_MOST = 131072, PASS_ITEMS = 32 };
enum { COMBINE_COLUMNS = 64 }; /* combined side by side */

typedef struct norm_task {
    const fc_context *ctx;
    fc_norm norm;
    int64_t fold, chunk_rows, chunks, pass_rows, passes;
    int64_t scratch_bytes; /* of a part */
    int threads, outer_threads;
    bool training, stream;
    double eps;
    const float *x, *dy, *weight, *bias;
    float *mean, *var, *y, *dweight, *dbias;
    double *sums; /* [image][2][channels]: sum of dy, of dy * (x - mean) */
    char *scratch;
} norm_task;

/* An image. Its columns are the channels `fold` times. */
typedef struct norm_part {
    const norm_task *t;
    int64_t image, channels, columns;
    const float *x, *dy;
    float *y;
    double *mean, *squares; /* [columns]; backward: the sums of dy and of dy * (x - mean) */
    float *partial;         /* [chunk][3][columns]: shift, sum, square or product sum */
    float *about, *scale, *offset, *slope; /* [columns] */
} norm_part;

/* ----------------------------------------------------------------------------------------------------- geometry */

static int64_t fold_of(const fc_norm *norm, int lanes) {
    int64_t fold = 1;
    if (norm->channels >= 4 * lanes || norm->channels == 0) return 1;
    while (norm->channels * fold % (4 * lanes)) fold *= 2;
    return norm->rows >= 4 * fold ? fold : 1;
}

static norm_task make_task(const fc_norm *norm, bool backward, void *workspace, const fc_context *ctx) {
    norm_task t = {.ctx = ctx, .norm = *norm};
    fc_arena arena = {workspace};
    const int64_t bytes = norm->images * norm->rows * norm->channels * (int64_t)sizeof(float);
    t.fold = fold_of(norm, ctx->kernels->lanes);
    const int64_t rows = norm->rows / t.fold, columns = t.fold * norm->channels;
    t.chunk_rows = fc_max(CHUNK_ROWS, fc_ceil_div(rows, MAX_CHUNKS));
    t.chunks = fc_ceil_div(rows, t.chunk_rows) + (norm->rows % t.fold > 0);
    const int64_t pass_floats = fc_max(PASS_FLOATS, fc_min(PASS_MOST, rows * columns / PASS_ITEMS));
    t.pass_rows = fc_max(1, pass_floats / fc_max(columns, 1));
    t.passes = fc_max(1, fc_ceil_div(rows, t.pass_rows));
    t.threads = fc_threads_for_memory(bytes, ctx);
    t.outer_threads = norm->images % t.threads == 0 || norm->images >= 4 * t.threads ? t.threads : 1;
    t.scratch_bytes = 2 * fc_round_up(columns * (int64_t)sizeof(double), FC_ALIGNMENT) +
                      (t.chunks * 3 + 4) * fc_round_up(columns * (int64_t)sizeof(float), FC_ALIGNMENT);
    if (workspace) {
        if (backward) t.sums = fc_take(&arena, norm->images * 2 * norm->channels * (int64_t)sizeof(double));
        t.scratch = arena.next;
    }
    return t;
}

int64_t fc_norm_workspace_bytes(const fc_norm *norm, bool backward, const fc_context *ctx) {
    const norm_task t = make_task(norm, backward, NULL, ctx);
    const int64_t sums = norm->images * 2 * norm->channels * (int64_t)sizeof(double);
    return (backward ? fc_round_up(sums, FC_ALIGNMENT) : 0) + t.outer_threads * t.scratch_bytes;
}

static norm_part part_of(const norm_task *t, int64_t image, int thread) {
    norm_part p = {.t = t, .image = image, .channels = t->norm.channels, .columns = t->norm.channels * t->fold};
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const int64_t at = image * t->norm.rows * t->norm.channels;
    p.x = t->x + at;
    p.dy = t->dy ? t->dy + at : NULL;
    p.y = t->y + at;
    p.mean = fc_take(&arena, p.columns * (int64_t)sizeof(double));
    p.squares = fc_take(&arena, p.columns * (int64_t)sizeof(double));
    const int64_t bytes = p.columns * (int64_t)sizeof(float);
    p.about = fc_take(&arena, bytes);
    p.scale = fc_take(&arena, bytes);
    p.offset = fc_take(&arena, bytes);
    p.slope = fc_take(&arena, bytes);
    p.partial = fc_take(&arena, t->chunks * 3 * bytes);
    return p;
}

/* Values of an image that are left over when its rows are folded. */
static int64_t left_over(const norm_task *t) { return t->norm.rows % t->fold * t->norm.channels; }

/* The rows of a chunk, each `fold` of the image's; the last chunk may be a single row of what is left over: its
 * columns. */
typedef struct norm_chunk { int64_t at, rows, columns; } norm_chunk;

static norm_chunk chunk_of(const norm_part *p, int64_t i) {
    const norm_task *t = p->t;
    const int64_t rows = t->norm.rows / t->fold, stride = t->fold * t->norm.channels, first = i * t->chunk_rows;
    if (first >= rows) return (norm_chunk){rows * stride, 1, left_over(t)};
    return (norm_chunk){first * stride, fc_min(t->chunk_rows, rows - first), p->columns};
}

/* ---------------------------------------------------------------------------------------------------- statistics */

static void sum_moments(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_part *p = arg;
    const int64_t stride = p->t->fold * p->t->norm.channels;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const norm_chunk chunk = chunk_of(p, i);
        float *partial = p->partial + i * 3 * p->columns;
        p->t->ctx->kernels->norm_moments(chunk.rows, chunk.columns, stride, p->x + chunk.at, partial,
                                         partial + p->columns, partial + 2 * p->columns);
    }
}

/* Chan's update: the mean and sum of squared deviations of the pieces so far and the next, which has n rows. */
static void add_moments(int64_t channels, double count, double n, const float *restrict shift,
                        const float *restrict sum, const float *restrict square_sum, double *restrict mean,
                        double *restrict squares) {
    const double per_row = 1.0 / n, between = count * n / (count + n), part = n / (count + n);
    for (int64_t c = 0; c < channels; c++) {
        const double s = sum[c], delta = shift[c] + s * per_row - mean[c];
        squares[c] += (square_sum[c] - s * s * per_row) + delta * delta * between;
        mean[c] += delta * part;
    }
}

/* Of whole columns: all chunks but the one that is left over. */
static void combine_moments(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_part *p = arg;
    const int64_t rows = p->t->norm.rows / p->t->fold;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        const int64_t c = block * COMBINE_COLUMNS, columns = fc_min(COMBINE_COLUMNS, p->columns - c);
        double mean[COMBINE_COLUMNS] = {0.0}, squares[COMBINE_COLUMNS] = {0.0};
        for (int64_t i = 0; i * p->t->chunk_rows < rows; i++) {
            const int64_t count = i * p->t->chunk_rows, n = fc_min(p->t->chunk_rows, rows - count);
            const float *partial = p->partial + i * 3 * p->columns + c;
            add_moments(columns, (double)count, (double)n, partial, partial + p->columns, partial + 2 * p->columns,
                        mean, squares);
        }
        memcpy(p->mean + c, mean, (size_t)columns * sizeof(double));
        memcpy(p->squares + c, squares, (size_t)columns * sizeof(double));
    }
}

/* The moments of the channels, from those of the folded rows and from the single values that are left over. */
static void fold_moments(const norm_part *p) {
    const norm_task *t = p->t;
    const double n = (double)(t->norm.rows / t->fold);
    const float *left = p->partial + (t->chunks - 1) * 3 * p->columns;
    for (int64_t at = p->channels; at < p->columns; at += p->channels) {
        const double count = n * (double)(at / p->channels);
        for (int64_t c = 0; c < p->channels; c++) {
            const double delta = p->mean[at + c] - p->mean[c];
            p->squares[c] += p->squares[at + c] + delta * delta * (count * n / (count + n));
            p->mean[c] += delta * (n / (count + n));
        }
    }
    for (int64_t at = 0; at < left_over(t); at += p->channels)
        add_moments(p->channels, n * (double)t->fold + (double)(at / p->channels), 1.0, left + at,
                    left + p->columns + at, left + 2 * p->columns + at, p->mean, p->squares);
}

/* The moments of a group from those of its channels, which have as many rows each. */
static void group_moments(const norm_part *p) {
    const fc_norm *norm = &p->t->norm;
    const int64_t width = norm->channels / norm->groups, at = p->image * norm->groups;
    const double rows = (double)norm->rows, channels = (double)width;
    for (int64_t g = 0; g < p->channels / width; g++) {
        const double *means = p->mean + g * width, *channel_squares = p->squares + g * width;
        double mean = 0.0, squares = 0.0;
        for (int64_t c = 0; c < width; c++) mean += means[c];
        mean /= channels;
        for (int64_t c = 0; c < width; c++)
            squares += channel_squares[c] + rows * (means[c] - mean) * (means[c] - mean);
        p->t->mean[at + g] = (float)mean;
        /* Rounding may leave a constant chunk a hair below zero; NaN stays. */
        p->t->var[at + g] = squares < 0.0 ? 0.0f : (float)(squares / (rows * channels));
    }
}

/* --------------------------------------------------------------------------------------------------------- factors */

/* 1 / sqrt(var + eps) in double, rounded once. A negative variance gives NaN. */
static void invert(int64_t count, const float *restrict var, double eps, float *restrict inv_std) {
    for (int64_t i = 0; i < count; i++) inv_std[i] = (float)(1.0 / __builtin_sqrt((double)var[i] + eps));
}

/* values[channel] = the value of its group, from values[group] of the part's groups. */
static void spread_groups(const norm_part *p, float *values) {
    const int64_t width = p->t->norm.channels / p->t->norm.groups;
    if (width == 1) return;
    for (int64_t c = p->channels - 1; c >= 0; c--) values[c] = values[c / width];
}

/* about = the means and scale = the 1 / standard deviations of the channels. */
static void set_statistics(const norm_part *p) {
    const fc_norm *norm = &p->t->norm;
    const int64_t width = norm->channels / norm->groups, at = p->image * norm->groups;
    memcpy(p->about, p->t->mean + at, (size_t)(p->channels / width) * sizeof(float));
    invert(p->channels / width, p->t->var + at, p->t->eps, p->scale);
    spread_groups(p, p->about);
    spread_groups(p, p->scale);
}

/* The factors of the channels for each of the rows that are folded. */
static void repeat(const norm_part *p, float *values) {
    for (int64_t at = p->channels; at < p->columns; at += p->channels)
        memcpy(values + at, values, (size_t)p->channels * sizeof(float));
}

static void set_factors(const norm_part *p) {
    const float *weight = p->t->weight;
    set_statistics(p);
    for (int64_t c = 0; weight && c < p->channels; c++) p->scale[c] *= weight[c];
    if (p->t->bias) memcpy(p->offset, p->t->bias, (size_t)p->channels * sizeof(float));
    else memset(p->offset, 0, (size_t)p->channels * sizeof(float));
    repeat(p, p->about);
    repeat(p, p->scale);
    repeat(p, p->offset);
}

/* ------------------------------------------------------------------------------------------------------- passes */

/* From the last rows to the first: those are what the sums have left in the caches. */
static void apply(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_part *p = arg;
    const norm_task *t = p->t;
    void (*kernel)(const fc_norm_block *) = t->dy ? t->ctx->kernels->norm_gradient_apply : t->ctx->kernels->norm_apply;
    const int64_t rows = t->norm.rows / t->fold, stride = t->fold * t->norm.channels;
    (void)thread;
    for (int64_t i = end - 1; i >= begin; i--) {
        const int64_t row = i * t->pass_rows, last = fc_min(rows, row + t->pass_rows);
        fc_norm_block block = {last - row, p->columns, stride, p->x + row * stride,
                               p->dy ? p->dy + row * stride : NULL, p->about, p->scale, p->offset, p->slope,
                               p->y + row * stride, t->stream};
        kernel(&block);
        if (last < rows || left_over(t) == 0) continue;
        block.x += (last - row) * stride;
        if (block.dy) block.dy += (last - row) * stride;
        block.y += (last - row) * stride;
        block.rows = 1;
        block.channels = left_over(t);
        kernel(&block);
    }
}

/* Results that will not stay in the caches, where every row starts at a whole vector. */
static bool streams(const norm_task *t) {
    const fc_norm *norm = &t->norm;
    const int64_t floats = norm->rows * norm->channels, vector = FC_ALIGNMENT / (int64_t)sizeof(float);
    const int64_t bytes = norm->images * floats * (int64_t)sizeof(float) * (t->dy ? 3 : 2);
    if (bytes < FC_STREAM_TRAFFIC || (uintptr_t)t->y % FC_ALIGNMENT) return false;
    return t->fold * norm->channels % vector == 0 && (norm->images == 1 || floats % vector == 0);
}

static void combine(norm_part *p, fc_range_task task) {
    fc_parallel(fc_ceil_div(p->columns, COMBINE_COLUMNS), p->t->chunks > 16 ? p->t->threads : 1, task, p);
}

static void run_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    for (int64_t i = begin; i < end; i++) {
        norm_part part = part_of(t, i, thread);
        if (t->training) {
            fc_parallel(t->chunks, t->threads, sum_moments, &part);
            combine(&part, combine_moments);
            fold_moments(&part);
            group_moments(&part);
        }
        set_factors(&part);
        fc_parallel(t->passes, t->threads, apply, &part);
    }
}

static void forward(norm_task *t, const float *x, float *mean, float *var, const float *weight, const float *bias,
                    double eps, float *y) {
    t->x = x;
    t->mean = mean;
    t->var = var;
    t->weight = weight;
    t->bias = bias;
    t->eps = eps;
    t->y = y;
    t->stream = streams(t);
    if (t->norm.channels) fc_parallel(t->norm.images, t->outer_threads, run_forward, t);
}

void fc_norm_training(const fc_norm *norm, const float *x, const float *weight, const float *bias, double eps, float *y,
                      float *mean, float *var, void *workspace, const fc_context *ctx) {
    norm_task t = make_task(norm, false, workspace, ctx);
    t.training = true;
    forward(&t, x, mean, var, weight, bias, eps, y);
}

void fc_norm_inference(const fc_norm *norm, const float *x, const float *mean, const float *var, const float *weight,
                       const float *bias, double eps, float *y, void *workspace, const fc_context *ctx) {
    norm_task t = make_task(norm, false, workspace, ctx);
    forward(&t, x, (float *)mean, (float *)var, weight, bias, eps, y); /* read alone */
}

/* ------------------------------------------------------------------------------------------------------ backward */

static void sum_gradients(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_part *p = arg;
    const int64_t stride = p->t->fold * p->t->norm.channels;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const norm_chunk chunk = chunk_of(p, i);
        float *partial = p->partial + i * 3 * p->columns;
        p->t->ctx->kernels->norm_gradient_sums(chunk.rows, chunk.columns, stride, p->dy + chunk.at, p->x + chunk.at,
                                               p->about, partial + p->columns, partial + 2 * p->columns);
    }
}

static void add_floats(int64_t count, const float *restrict from, double *restrict to) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

static void combine_gradients(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_part *p = arg;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        const int64_t c = block * COMBINE_COLUMNS;
        double sum[COMBINE_COLUMNS] = {0.0}, product_sum[COMBINE_COLUMNS] = {0.0};
        for (int64_t i = 0; i < p->t->chunks; i++) {
            const int64_t columns = fc_min(COMBINE_COLUMNS, chunk_of(p, i).columns - c);
            const float *partial = p->partial + i * 3 * p->columns + c;
            add_floats(columns, partial + p->columns, sum);
            add_floats(columns, partial + 2 * p->columns, product_sum);
        }
        const size_t bytes = (size_t)fc_min(COMBINE_COLUMNS, p->columns - c) * sizeof(double);
        memcpy(p->mean + c, sum, bytes);
        memcpy(p->squares + c, product_sum, bytes);
    }
}

/* The sums of the channels, from those of the folded rows. */
static void fold_gradients(const norm_part *p) {
    double *sums = p->t->sums + p->image * 2 * p->t->norm.channels, *along = sums + p->t->norm.channels;
    memcpy(sums, p->mean, (size_t)p->channels * sizeof(double));
    memcpy(along, p->squares, (size_t)p->channels * sizeof(double));
    for (int64_t at = p->channels; at < p->columns; at += p->channels)
        for (int64_t c = 0; c < p->channels; c++) {
            sums[c] += p->mean[at + c];
            along[c] += p->squares[at + c];
        }
}

/* With xhat = (x - mean) * inv_std and means over the rows and channels of a group:
 * dx = inv_std * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
 *    = dy * scale - ((x - mean) * slope + offset). */
static void set_gradient_factors(const norm_part *p) {
    const fc_norm *norm = &p->t->norm;
    const int64_t width = norm->channels / norm->groups;
    double *sums = p->t->sums + p->image * 2 * norm->channels, *along = sums + norm->channels;
    const float *weight = p->t->weight;
    const double per_value = 1.0 / ((double)fc_max(norm->rows, 1) * (double)width);
    for (int64_t first = 0; first < p->channels; first += width) {
        const double inv_std = p->scale[first];
        double sum = 0.0, product_sum = 0.0;
        for (int64_t c = first; c < first + width; c++) {
            along[c] *= inv_std; /* sum of dy * xhat */
            sum += sums[c] * (weight ? weight[c] : 1.0);
            product_sum += along[c] * (weight ? weight[c] : 1.0);
        }
        for (int64_t c = first; c < first + width; c++) {
            p->scale[c] = (float)(inv_std * (weight ? weight[c] : 1.0));
            p->offset[c] = (float)(inv_std * sum * per_value);
            p->slope[c] = (float)(inv_std * inv_std * product_sum * per_value);
        }
    }
    repeat(p, p->scale);
    repeat(p, p->offset);
    repeat(p, p->slope);
}

static void run_backward(void *arg, int64_t begin, int64_t end, int thread) {
    const norm_task *t = arg;
    for (int64_t i = begin; i < end; i++) {
        norm_part part = part_of(t, i, thread);
        set_statistics(&part);
        repeat(&part, part.about);
        fc_parallel(t->chunks, t->threads, sum_gradients, &part);
        combine(&part, combine_gradients);
        fold_gradients(&part);
        set_gradient_factors(&part);
        fc_parallel(t->passes, t->threads, apply, &part);
    }
}

/* The sums over the images, in index order. */
static void sum_images(const norm_task *t) {
    const fc_norm *norm = &t->norm;
    for (int64_t c = 0; c < norm->channels; c++) {
        double dweight = 0.0, dbias = 0.0;
        for (int64_t image = 0; image < norm->images; image++) {
            const double *sums = t->sums + image * 2 * norm->channels + c;
            dbias += sums[0];
            dweight += sums[norm->channels];
        }
        t->dweight[c] = (float)dweight;
        t->dbias[c] = (float)dbias;
    }
}

void fc_norm_backward(const fc_norm *norm, const float *dy, const float *x, const float *mean, const float *var,
                      const float *weight, double eps, float *dx, float *dweight, float *dbias, void *workspace,
                      const fc_context *ctx) {
    norm_task t = make_task(norm, true, workspace, ctx);
    if (norm->channels == 0) return;
    t.x = x;
    t.dy = dy;
    t.mean = (float *)mean; /* read alone */
    t.var = (float *)var;
    t.weight = weight;
    t.eps = eps;
    t.y = dx;
    t.dweight = dweight;
    t.dbias = dbias;
    t.stream = streams(&t);
    fc_parallel(norm->images, t.outer_threads, run_backward, &t);
    sum_images(&t);
}
