/* pool2d.c - max and average pooling of NHWC images.
 *
 * Forward: one output row is an item. Its tap rows are clipped once; its columns fall into a left border, an interior whose
 * windows lie whole in the image, and a right border, so that the micro-kernel checks no bounds.
 * Backward: one input row is an item, and each element gathers from the windows that cover it: no scatter, so rows are
 * independent and the sum's order is fixed.
 */
#include "pool2d.h"

#include "kernels/kernels.h"
#include "parallel.h"
#include "plan.h"

/* ---------------------------------------------------------------------------------------------------------- plan */

/* Geometry below 2**31 keeps every position within int64. */
static bool all_between(const int64_t *values, int count, int64_t low) {
    for (int i = 0; i < count; i++)
        if (values[i] < low || values[i] > INT32_MAX) return false;
    return true;
}

/* The number of windows by PyTorch's rule: with ceil_mode a last window may hang over the end, but not start in the padding
 * after the input. */
static int64_t count_windows(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                             int64_t pad_end, bool ceil_mode) {
    const int64_t room = in + pad_begin + pad_end - (kernel - 1) * dilation - 1;
    const int64_t out = fc_floor_div(room + (ceil_mode ? stride - 1 : 0), stride) + 1;
    return ceil_mode && (out - 1) * stride >= in + pad_begin ? out - 1 : out;
}

/* Every window must hold an element of the input: the maximum has no other value to give, and padding is never selected. */
static bool pads_leave_a_tap(int64_t kernel, int64_t dilation, int64_t pad_begin, int64_t pad_end) {
    return pad_begin <= (kernel - 1) * dilation && pad_end <= (kernel - 1) * dilation;
}

/* A refusal that shows both of the pair, or all four pads. */
static fc_status refuse(fc_error *error, const char *argument, const char *rule, int count, const int64_t *values) {
    return fc_refuse(error, FC_BAD_GEOMETRY, argument, rule, count, values);
}

fc_status fc_pool2d_plan(fc_pool2d *d, fc_error *error) {
    const int64_t shape[] = {d->batch, d->channels, d->in_height, d->in_width};
    const int64_t kernel[] = {d->kernel_height, d->kernel_width}, stride[] = {d->stride_height, d->stride_width};
    const int64_t dilation[] = {d->dilation_height, d->dilation_width};
    const int64_t pads[] = {d->pad_top, d->pad_bottom, d->pad_left, d->pad_right};
    /* Indices are int32. */
    int64_t plane;
    if (fc_min(d->batch, d->channels) < 0 || fc_min(d->in_height, d->in_width) < 1 || !fc_extent_ok(shape, 4) ||
        !fc_mul_ok(d->in_height, d->in_width, &plane) || plane > INT32_MAX)
        return refuse(error, "x_shape", "height and width must be >= 1, and height * width < 2**31", 4, shape);
    if (!all_between(kernel, 2, 1))
        return refuse(error, "kernel_size", "every kernel_size must be >= 1 and < 2**31", 2, kernel);
    if (!all_between(stride, 2, 1)) return refuse(error, "stride", "every stride must be >= 1 and < 2**31", 2, stride);
    if (!all_between(dilation, 2, 1))
        return refuse(error, "dilation", "every dilation must be >= 1 and < 2**31", 2, dilation);
    if (!all_between(pads, 4, 0)) return refuse(error, "padding", "every pad must be >= 0 and < 2**31", 4, pads);
    if (!pads_leave_a_tap(kernel[0], dilation[0], pads[0], pads[1]) ||
        !pads_leave_a_tap(kernel[1], dilation[1], pads[2], pads[3]))
        return refuse(error, "padding", "every pad must be smaller than the dilated kernel", 4, pads);
    d->out_height = count_windows(d->in_height, kernel[0], stride[0], dilation[0], pads[0], pads[1], d->ceil_mode);
    d->out_width = count_windows(d->in_width, kernel[1], stride[1], dilation[1], pads[2], pads[3], d->ceil_mode);
    if (fc_min(d->out_height, d->out_width) < 1)
        return refuse(error, "kernel_size", "the dilated kernel must fit in the padded input", 2, kernel);
    /* Taps further apart than the input is long may straddle it: in = 2, pad = 1, dilation = 3 has taps -1 and 2. */
    if ((pads[0] > 0 && dilation[0] > d->in_height) || (pads[2] > 0 && dilation[1] > d->in_width))
        return refuse(error, "dilation", "must be at most the input's size where there is padding before it", 2, dilation);
    const int64_t y_shape[] = {d->batch, d->channels, d->out_height, d->out_width};
    return fc_extent_ok(y_shape, 4) ? FC_OK : refuse(error, "padding", "the output must fit in memory", 4, pads);
}

/* ------------------------------------------------------------------------------------------------------- forward */

typedef struct pool_task {
    const fc_pool2d *pool;
    const fc_context *ctx;
    const float *x, *dy;
    float *y, *dx;
    int32_t *indices;
    const int32_t *chosen; /* the indices, of the backward pass */
    bool average;
    int64_t channel_blocks;
} pool_task;

/* The output columns [begin, end), whose windows hold the same taps. `run` is set up for the row: see pool_row. */
static void pool_columns(const pool_task *t, fc_pool_run run, int64_t begin, int64_t end, int64_t row_size) {
    const fc_pool2d *d = t->pool;
    const int64_t start = begin * d->stride_width - d->pad_left;
    int64_t first, last;
    fc_window_taps(start, d->kernel_width, d->dilation_width, d->in_width, &first, &last);
    const int64_t column = start + first * d->dilation_width;
    run.columns = end - begin;
    run.tap_columns = last - first;
    run.x += column * d->channels;
    run.y += begin * d->channels;
    run.index += (int32_t)column;
    if (run.indices) run.indices += begin * d->channels;
    run.divisor = (float)(row_size * fc_window_size(start, d->kernel_width, d->in_width, d->pad_right,
                                                    d->count_include_pad));
    if (d->stride_width == 1 && run.channels == d->channels && !run.indices) {
        /* Windows one apart: the columns lie side by side like channels, and fill the vectors whatever their number. */
        run.channels *= run.columns;
        run.columns = 1;
    }
    if (t->average)
        t->ctx->kernels->avg_pool_run(&run);
    else
        t->ctx->kernels->max_pool_run(&run);
}

/* The output columns [*begin, *end) whose windows lie whole in the row. */
static void interior(const fc_pool2d *d, int64_t *begin, int64_t *end) {
    const int64_t room = d->in_width - 1 - (d->kernel_width - 1) * d->dilation_width + d->pad_left;
    *begin = fc_min(fc_ceil_div(d->pad_left, d->stride_width), d->out_width);
    *end = room < 0 ? *begin : fc_max(*begin, fc_min(room / d->stride_width + 1, d->out_width));
}

/* One output row of one image, channels [c, c + channels). */
static void pool_row(const pool_task *t, int64_t n, int64_t p, int64_t c, int64_t channels) {
    const fc_pool2d *d = t->pool;
    const int64_t start = p * d->stride_height - d->pad_top, pixel = d->channels;
    int64_t first, last, inner, inner_end;
    fc_window_taps(start, d->kernel_height, d->dilation_height, d->in_height, &first, &last);
    const int64_t row = start + first * d->dilation_height;
    const int64_t row_size =
        fc_window_size(start, d->kernel_height, d->in_height, d->pad_bottom, d->count_include_pad);
    const int64_t out = (n * d->out_height + p) * d->out_width * pixel + c;
    fc_pool_run run = {
        .channels = channels,
        .tap_rows = last - first,
        .x = t->x + (n * d->in_height + row) * d->in_width * pixel + c,
        /* The clamped ones are not used: there is one tap or window alone. */
        .x_step = fc_min(d->stride_width, d->in_width) * pixel,
        .x_row = fc_min(d->dilation_height, d->in_height) * d->in_width * pixel,
        .x_column = fc_min(d->dilation_width, d->in_width) * pixel,
        .y = t->y + out,
        .y_step = pixel,
        .indices = t->indices ? t->indices + out : NULL,
        .index = (int32_t)(row * d->in_width),
        .index_step = (int32_t)d->stride_width,
        .index_row = (int32_t)(fc_min(d->dilation_height, d->in_height) * d->in_width),
        .index_column = (int32_t)d->dilation_width,
    };
    interior(d, &inner, &inner_end);
    for (int64_t q = 0; q < inner; q++) pool_columns(t, run, q, q + 1, row_size);
    if (inner < inner_end) pool_columns(t, run, inner, inner_end, row_size);
    for (int64_t q = inner_end; q < d->out_width; q++) pool_columns(t, run, q, q + 1, row_size);
}

static void pool_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / t->channel_blocks, c, c_end;
        fc_split(d->channels, t->channel_blocks, item % t->channel_blocks, &c, &c_end);
        pool_row(t, row / d->out_height, row % d->out_height, c, c_end - c);
    }
}

static void run_forward(pool_task *t) {
    const fc_pool2d *d = t->pool;
    const int64_t rows = d->batch * d->out_height;
    if (d->channels == 0) return;
    const int64_t bytes = d->batch * d->in_height * d->in_width * d->channels * (int64_t)sizeof(float);
    const int threads = fc_threads_for_memory(bytes, t->ctx);
    /* Channels are shared out only where there are few rows, as in a global pooling; no sum crosses channels. */
    t->channel_blocks = threads == 1 || rows >= 4 * threads ? 1 : fc_ceil_div(d->channels, 64);
    fc_parallel(rows * t->channel_blocks, threads, pool_rows, t);
}

void fc_max_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, int32_t *indices, const fc_context *ctx) {
    pool_task t = {.pool = pool, .ctx = ctx, .x = x, .y = y, .indices = indices};
    run_forward(&t);
}

void fc_avg_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, const fc_context *ctx) {
    pool_task t = {.pool = pool, .ctx = ctx, .x = x, .y = y, .average = true};
    run_forward(&t);
}

/* ------------------------------------------------------------------------------------------------------ backward */

static void unpool_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / d->in_height, h = item % d->in_height;
        const int64_t image = n * d->out_height * d->out_width * d->channels;
        float *dx = t->dx + item * d->in_width * d->channels;
        if (t->average)
            t->ctx->kernels->avg_unpool_row(d, h, t->dy + image, dx);
        else
            t->ctx->kernels->max_unpool_row(d, h, t->dy + image, t->chosen + image, dx);
    }
}

static void run_backward(pool_task *t) {
    const fc_pool2d *d = t->pool;
    const int64_t rows = d->batch * d->in_height, row_bytes = d->in_width * d->channels * (int64_t)sizeof(float);
    if (d->channels == 0) return;
    fc_parallel(rows, fc_threads_for_memory(rows * row_bytes, t->ctx), unpool_rows, t);
}

void fc_max_pool2d_backward(const fc_pool2d *pool, const float *dy, const int32_t *indices, float *dx,
                            const fc_context *ctx) {
    pool_task t = {.pool = pool, .ctx = ctx, .dy = dy, .chosen = indices, .dx = dx};
    run_backward(&t);
}

void fc_avg_pool2d_backward(const fc_pool2d *pool, const float *dy, float *dx, const fc_context *ctx) {
    pool_task t = {.pool = pool, .ctx = ctx, .dy = dy, .dx = dx, .average = true};
    run_backward(&t);
}

/* ------------------------------------------------------------------------------------------------------- indices */

/* Set to false by any thread that finds an index outside its window. */
typedef struct indices_task {
    const fc_pool2d *pool;
    const fc_context *ctx;
    const int32_t *indices;
    bool ok;
} indices_task;

static void check_rows(void *arg, int64_t begin, int64_t end, int thread) {
    indices_task *t = arg;
    const fc_pool2d *d = t->pool;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        bool ok = true;
        t->ctx->kernels->max_indices_row(d, row % d->out_height, t->indices + row * d->out_width * d->channels, &ok);
        if (!ok) {
            __atomic_store_n(&t->ok, false, __ATOMIC_RELAXED);
            return;
        }
    }
}

bool fc_max_pool2d_indices_ok(const fc_pool2d *d, const int32_t *indices, const fc_context *ctx) {
    const int64_t rows = d->batch * d->out_height, row_bytes = d->out_width * d->channels * (int64_t)sizeof(int32_t);
    indices_task t = {d, ctx, indices, true};
    fc_parallel(rows, fc_threads_for_memory(rows * row_bytes, ctx), check_rows, &t);
    return t.ok;
}
