/* pool2d.c - max and average pooling of NHWC images.
 *
 * Forward: one output row is an item. Its tap rows are clipped once; its columns fall into a left border, an interior
 * whose windows lie whole in the image, and a right border, so that the micro-kernel checks no bounds. Windows one
 * apart go through pool2d_lines.c. Backward: two input rows are an item, and each element gathers from the windows that
 * cover it, so that rows are independent and the sum's order is fixed; where that costs more, pool2d_scatter.c does it.
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

/* The number of windows by PyTorch's rule: with ceil_mode a last window may hang over the end, but not start in the
 * padding after the input. */
static int64_t count_windows(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                             int64_t pad_end, bool ceil_mode) {
    const int64_t room = in + pad_begin + pad_end - (kernel - 1) * dilation - 1;
    const int64_t out = fc_floor_div(room + (ceil_mode ? stride - 1 : 0), stride) + 1;
    return ceil_mode && (out - 1) * stride >= in + pad_begin ? out - 1 : out;
}

/* Every window must hold an element of the input: the maximum has no other value to give, and padding is never
 * selected. */
static bool pads_leave_a_tap(int64_t kernel, int64_t dilation, int64_t pad_begin, int64_t pad_end) {
    return pad_begin <= (kernel - 1) * dilation && pad_end <= (kernel - 1) * dilation;
}

/* A refusal that shows both of the pair, or all four pads. */
static fc_status refuse(fc_error *error, const char *argument, const char *rule, int count, const int64_t *values) {
    return fc_refuse(error, FC_BAD_GEOMETRY, argument, rule, count, values);
}

/* The windows of an adaptive pooling; where sizes divide they are those of a plain one. */
static fc_status plan_adaptive(fc_pool2d *d, fc_error *error) {
    const int64_t out[] = {d->out_height, d->out_width};
    const int64_t y_shape[] = {d->batch, d->channels, d->out_height, d->out_width};
    int64_t plane;
    if (!all_between(out, 2, 1)) return refuse(error, "output_size", "every size must be >= 1 and < 2**31", 2, out);
    if (!fc_mul_ok(out[0], out[1], &plane) || !fc_extent_ok(y_shape, 4))
        return refuse(error, "output_size", "the output must fit in memory", 2, out);
    d->dilation_height = d->dilation_width = 1;
    d->pad_top = d->pad_bottom = d->pad_left = d->pad_right = 0;
    d->adaptive = d->in_height % out[0] != 0 || d->in_width % out[1] != 0;
    /* Of windows that differ, the largest: it is not used, but for sizes. */
    d->kernel_height = d->stride_height = fc_ceil_div(d->in_height, out[0]);
    d->kernel_width = d->stride_width = fc_ceil_div(d->in_width, out[1]);
    return FC_OK;
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
    if (d->divisor < 0) return refuse(error, "divisor_override", "must be >= 1", 1, &d->divisor);
    if (d->adaptive) return plan_adaptive(d, error);
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
        return refuse(error, "dilation", "must be at most the input's size where there is padding before it", 2,
                      dilation);
    const int64_t y_shape[] = {d->batch, d->channels, d->out_height, d->out_width};
    return fc_extent_ok(y_shape, 4) ? FC_OK : refuse(error, "padding", "the output must fit in memory", 4, pads);
}

/* ------------------------------------------------------------------------------------------------------- forward */

static bool can_stream(const float *y, int64_t piece) {
    return piece % 16 == 0 && (uintptr_t)y % FC_ALIGNMENT == 0;
}

bool fc_pool_streams(const float *y, int64_t size, int64_t piece) {
    return size * (int64_t)sizeof(float) >= FC_STREAM_BYTES && can_stream(y, piece);
}

/* Where x and y are more than a third-level cache, most of y would not stay in it: 2 x 2 over 51 MB, and reading its 13 MB
 * after it, take 2.5 ms instead of 2.9 (Zen 4). */
static bool streams_past(const fc_pool_task *t, const float *y, int64_t size) {
    enum { TRAFFIC = 32 * 1024 * 1024 };
    const fc_pool2d *d = t->pool;
    const int64_t read = d->batch * d->in_height * d->in_width * d->channels;
    const bool much = (read + size) * (int64_t)sizeof(float) >= TRAFFIC;
    return much ? can_stream(y, d->channels) : fc_pool_streams(y, size, d->channels);
}

/* One window over all of an image, with more channels than a window has in registers; indices are not made so. */
static bool sweeps(const fc_pool_task *t, const fc_pool_run *run) {
    const fc_pool2d *d = t->pool;
    return !run->indices && run->columns == 1 && run->channels == d->channels && run->channels % 64 == 0 &&
           run->channels > 64 && run->tap_columns > 1 && d->in_width == run->tap_columns &&
           run->x_column == run->channels && run->x_row == d->in_width * run->channels;
}

/* What output row `row` of the batch reads: the rows [*begin, *end) of the batch. */
static void rows_read(const fc_pool2d *d, int64_t row, int64_t *begin, int64_t *end) {
    const fc_pool_axis rows = fc_pool_rows(d);
    const fc_pool_window window = fc_pool_taps(&rows, row % d->out_height);
    *begin = row / d->out_height * d->in_height + window.first;
    *end = *begin + (window.taps - 1) * d->dilation_height + 1;
}

/* While output row `row` of the batch is made, what the next one reads anew is fetched: a contiguous run, of the next image
 * too, in equal shares. What a fair part of L2 does not hold would be lost before it is read. */
static void fetch_next_row(const fc_pool_task *t, int64_t row, fc_pool_run *run) {
    enum { FETCHED_BYTES = 512 * 1024 };
    const fc_pool2d *d = t->pool;
    int64_t begin, end, next_begin, next_end;
    if (!t->far || row + 1 == d->batch * d->out_height) return;
    rows_read(d, row, &begin, &end);
    rows_read(d, row + 1, &next_begin, &next_end);
    next_begin = fc_max(end, next_begin);
    const int64_t size = (next_end - next_begin) * d->in_width * d->channels;
    if (size <= 0 || size * (int64_t)sizeof(float) > FETCHED_BYTES) return;
    run->ahead = t->x + next_begin * d->in_width * d->channels;
    run->ahead_floats = fc_round_up(fc_ceil_div(size, d->out_width), 16);
}

/* The output columns [begin, end), whose windows hold the same taps. `run` is set up for the row: see fc_pool_row. */
static void pool_columns(const fc_pool_task *t, fc_pool_run run, int64_t begin, int64_t end, int64_t row_size) {
    const fc_pool2d *d = t->pool;
    const fc_pool_axis columns = fc_pool_columns(d);
    const fc_pool_window window = fc_pool_taps(&columns, begin);
    bool nan = false;
    run.columns = end - begin;
    run.tap_columns = window.taps;
    run.x += window.first * d->channels;
    run.y += begin * d->channels;
    if (run.ahead) run.ahead += begin * run.ahead_floats;
    run.index += (int32_t)window.first;
    if (run.indices) run.indices += begin * d->channels;
    run.divisor = fc_pool_divisor(d, row_size, fc_window_size(&columns, begin));
    if (d->stride_width == 1 && run.channels == d->channels && !run.indices) {
        /* Windows one apart: the columns lie side by side like channels, and fill the vectors whatever their number. */
        run.channels *= run.columns;
        run.ahead_floats *= run.columns;
        run.columns = 1;
    }
    const bool swept = sweeps(t, &run);
    if (swept) run.ahead = t->far && d->batch > 1 ? run.x : NULL;
    if (t->average)
        (swept ? t->ctx->kernels->avg_pool_sweep : t->ctx->kernels->avg_pool_run)(&run);
    else
        (swept ? t->ctx->kernels->max_pool_sweep : t->ctx->kernels->max_pool_run)(&run, &nan);
    if (nan) t->ctx->kernels->max_pool_nan_run(&run);
}

/* The output columns [*begin, *end) whose windows lie whole in the row. */
static void interior(const fc_pool2d *d, int64_t *begin, int64_t *end) {
    const int64_t room = d->in_width - 1 - (d->kernel_width - 1) * d->dilation_width + d->pad_left;
    if (d->adaptive) {
        *begin = *end = 0;
        return;
    }
    *begin = fc_min(fc_ceil_div(d->pad_left, d->stride_width), d->out_width);
    *end = room < 0 ? *begin : fc_max(*begin, fc_min(room / d->stride_width + 1, d->out_width));
}

void fc_pool_row(const fc_pool_task *t, int64_t n, int64_t p, int64_t c, int64_t channels) {
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const fc_pool_window window = fc_pool_taps(&rows, p);
    const int64_t size = fc_window_size(&rows, p), pixel = d->channels;
    const int64_t out = (n * d->out_height + p) * d->out_width * pixel + c;
    int64_t inner, inner_end;
    fc_pool_run run = {
        .channels = channels,
        .tap_rows = window.taps,
        .x = t->x + (n * d->in_height + window.first) * d->in_width * pixel + c,
        /* The clamped ones are not used: there is one tap or window alone. */
        .x_step = fc_min(d->stride_width, d->in_width) * pixel,
        .x_row = fc_min(d->dilation_height, d->in_height) * d->in_width * pixel,
        .x_column = fc_min(d->dilation_width, d->in_width) * pixel,
        .y = t->y + out,
        .y_step = pixel,
        .indices = t->indices ? t->indices + out : NULL,
        .index = (int32_t)(window.first * d->in_width),
        .index_step = (int32_t)d->stride_width,
        .index_row = (int32_t)(fc_min(d->dilation_height, d->in_height) * d->in_width),
        .index_column = (int32_t)d->dilation_width,
        .stream = t->stream,
    };
    if (channels == pixel) fetch_next_row(t, n * d->out_height + p, &run);
    interior(d, &inner, &inner_end);
    for (int64_t q = 0; q < inner; q++) pool_columns(t, run, q, q + 1, size);
    if (inner < inner_end) pool_columns(t, run, inner, inner_end, size);
    for (int64_t q = inner_end; q < d->out_width; q++) pool_columns(t, run, q, q + 1, size);
}

static void pool_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / t->channel_blocks, c, c_end;
        /* Blocks of whole cache lines. */
        fc_split(fc_ceil_div(d->channels, 16), t->channel_blocks, item % t->channel_blocks, &c, &c_end);
        c *= 16;
        fc_pool_row(t, row / d->out_height, row % d->out_height, c, fc_min(16 * c_end, d->channels) - c);
    }
    fc_stream_end();
}

/* Up to 8 channels leave half of 16 lanes empty: 3 x 3 at stride 2 of 3 channels took 1.9 times as long as with 8. */
static fc_context narrow_context(const fc_pool2d *d, const fc_context *ctx) {
    const bool narrow = d->channels <= 8 && (d->stride_width > 1 || d->adaptive);
    return (fc_context){narrow ? ctx->kernels->narrow : ctx->kernels, ctx->num_threads};
}

static void run_forward(fc_pool_task *t, void *workspace) {
    const fc_pool2d *d = t->pool;
    const fc_context ctx = narrow_context(d, t->ctx);
    t->ctx = &ctx;
    const int64_t rows = d->batch * d->out_height, results = rows * d->out_width * d->channels;
    if (d->channels == 0 || rows == 0) return;
    t->stream = streams_past(t, t->y, results) && (!t->indices || streams_past(t, (const float *)t->indices, results));
    if (!t->indices && fc_pool_walk_supports(d, t->average, t->ctx)) {
        fc_pool_walk_run(t, workspace);
        return;
    }
    if (!t->indices && fc_pool_lines_supports(d, t->average)) {
        fc_pool_lines_run(t, workspace);
        return;
    }
    const int64_t bytes = d->batch * d->in_height * d->in_width * d->channels * (int64_t)sizeof(float);
    const int threads = fc_threads_for_memory(bytes, t->ctx);
    t->far = bytes > FC_POOL_FAR_BYTES;
    /* Channels are shared out only where there are few rows, as in a global pooling; no sum crosses channels. */
    t->channel_blocks = threads == 1 || rows >= 4 * threads ? 1 : fc_ceil_div(d->channels, 64);
    fc_parallel(rows * t->channel_blocks, threads, pool_rows, t);
}

/* The pooling of dy that is the gradient of an average whose windows are one apart and of one size: each element of dx
 * is the sum of the windows that cover it, over that size. */
static bool transposed_average(const fc_pool2d *d, fc_pool2d *transposed) {
    const bool even = d->divisor > 0 || d->count_include_pad ||
                      (d->pad_top | d->pad_bottom | d->pad_left | d->pad_right) == 0;
    if (!even || d->adaptive || d->stride_height != 1 || d->stride_width != 1) return false;
    *transposed = *d;
    transposed->count_include_pad = true;
    transposed->divisor = d->divisor > 0 ? d->divisor : d->kernel_height * d->kernel_width;
    transposed->in_height = d->out_height, transposed->in_width = d->out_width;
    transposed->out_height = d->in_height, transposed->out_width = d->in_width;
    transposed->pad_top = d->kernel_height - 1 - d->pad_top;
    transposed->pad_bottom = d->kernel_height - 1 - d->pad_bottom;
    transposed->pad_left = d->kernel_width - 1 - d->pad_left;
    transposed->pad_right = d->kernel_width - 1 - d->pad_right;
    return fc_pool_lines_supports(transposed, true); /* what walks can be done by lines too */
}

static int64_t forward_bytes(const fc_pool2d *d, const fc_context *ctx) {
    int64_t bytes = 0;
    if (fc_pool_walk_supports(d, false, ctx)) bytes = fc_pool_walk_workspace_bytes(d);
    if (fc_pool_lines_supports(d, false)) bytes = fc_max(bytes, fc_pool_lines_workspace_bytes(d, ctx));
    return bytes;
}

int64_t fc_pool2d_workspace_bytes(const fc_pool2d *d, const fc_context *ctx) {
    fc_pool2d transposed;
    const int64_t bytes = fc_max(forward_bytes(d, ctx), fc_pool_strips_workspace_bytes(d, ctx));
    return transposed_average(d, &transposed) ? fc_max(bytes, forward_bytes(&transposed, ctx)) : bytes;
}

void fc_max_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, int32_t *indices, void *workspace,
                           const fc_context *ctx) {
    fc_pool_task t = {.pool = pool, .ctx = ctx, .x = x, .y = y, .indices = indices};
    run_forward(&t, workspace);
}

void fc_avg_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, void *workspace, const fc_context *ctx) {
    fc_pool_task t = {.pool = pool, .ctx = ctx, .x = x, .y = y, .average = true};
    run_forward(&t, workspace);
}

/* ------------------------------------------------------------------------------------------------------- indices */

/* A row of up to 8 channels, which would leave vectors empty; taps side by side. */
static bool few_indices_ok(const fc_pool2d *d, int64_t p, const int32_t *indices) {
    const fc_pool_axis rows = fc_pool_rows(d);
    const fc_pool_window high = fc_pool_taps(&rows, p);
    const int64_t row = fc_min(d->dilation_height, d->in_height) * d->in_width;
    int64_t outside = 0;
    for (int64_t q = 0; q < d->out_width; q++) {
        const int64_t start = q * d->stride_width - d->pad_left, left = fc_max(start, 0);
        const uint64_t taps = (uint64_t)(fc_min(start + d->kernel_width, d->in_width) - left);
        for (int64_t c = 0; c < d->channels; c++, indices++) {
            int64_t found = 0, base = high.first * d->in_width + left;
            for (int64_t r = 0; r < high.taps; r++, base += row) found += (uint64_t)(*indices - base) < taps;
            outside |= found == 0;
        }
    }
    return outside == 0;
}

void fc_pool_check_rows(fc_pool_task *t, int64_t n, int64_t p, int64_t p_end) {
    const fc_pool2d *d = t->pool;
    const bool few = d->channels <= 8 && !d->adaptive && d->dilation_width == 1;
    const int32_t *indices = t->chosen + (n * d->out_height + p) * d->out_width * d->channels;
    bool ok = true;
    if (!t->check) return;
    for (; p < p_end && ok; p++, indices += d->out_width * d->channels) {
        if (few)
            ok = few_indices_ok(d, p, indices);
        else
            t->ctx->kernels->max_indices_row(d, p, indices, &ok);
    }
    if (!ok) __atomic_store_n(&t->refused, true, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------------------------------------------ backward */

static bool same_cover(const fc_pool_axis *axis, int64_t first, int64_t second) {
    int64_t begin[2], end[2];
    fc_covering_windows(axis, first, &begin[0], &end[0]);
    fc_covering_windows(axis, second, &begin[1], &end[1]);
    return begin[0] == begin[1] && end[0] == end[1];
}

/* The end of the windows that cover positions up to this one. */
static int64_t windows_end(const fc_pool_axis *axis, int64_t position) {
    int64_t begin, end;
    fc_covering_windows(axis, position, &begin, &end);
    return end;
}

/* Rows [h, h_end) of image n. Each row of indices is checked before its first use, when it was fetched by the rows
 * before: on its own, the check would read them from memory once more. */
static void max_unpool_block(fc_pool_task *t, int64_t n, int64_t h, int64_t h_end, float *dx) {
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const int64_t image = n * d->out_height * d->out_width * d->channels, last = d->in_height - 1;
    const int64_t p = h > 0 ? windows_end(&rows, h - 1) : 0, p_end = windows_end(&rows, h_end - 1);
    int64_t fetched_end = p_end;
    if (t->far && h_end <= last)
        fetched_end = windows_end(&rows, fc_min(h_end + 1, last));
    else if (t->far && n + 1 < d->batch) /* the next image lies behind this one */
        fetched_end = p_end + windows_end(&rows, fc_min(1, last));
    fc_pool_check_rows(t, n, p, p_end);
    t->ctx->kernels->max_unpool_rows(d, h, h_end, t->dy + image, t->chosen + image, dx, t->stream, p_end, fetched_end);
}

/* Blocks of two input rows. */
static void unpool_rows(void *arg, int64_t begin, int64_t end, int thread) {
    fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const int64_t blocks = fc_ceil_div(d->in_height, 2), row = d->in_width * d->channels;
    (void)thread;
    for (int64_t item = begin; item < end && !__atomic_load_n(&t->refused, __ATOMIC_RELAXED); item++) {
        const int64_t n = item / blocks, h = item % blocks * 2, h_end = fc_min(h + 2, d->in_height);
        const int64_t image = n * d->out_height * d->out_width * d->channels;
        float *dx = t->dx + (n * d->in_height + h) * row;
        if (!t->average) {
            max_unpool_block(t, n, h, h_end, dx);
        } else if (h_end - h == 2 && !same_cover(&rows, h, h + 1)) {
            t->ctx->kernels->avg_unpool_rows(d, h, h + 1, t->dy + image, dx, t->stream);
            t->ctx->kernels->avg_unpool_rows(d, h + 1, h_end, t->dy + image, dx + row, t->stream);
        } else {
            t->ctx->kernels->avg_unpool_rows(d, h, h_end, t->dy + image, dx, t->stream);
        }
    }
    fc_stream_end();
}

static void run_backward(fc_pool_task *t, void *workspace) {
    const fc_pool2d *d = t->pool;
    const int64_t size = d->batch * d->in_height * d->in_width * d->channels;
    if (size == 0) return;
    if (!t->average && fc_pool_strips_supports(d)) {
        fc_pool_strips_run(t, workspace);
        return;
    }
    if (!t->average && fc_pool_scatter_supports(d)) {
        fc_pool_scatter_run(t);
        return;
    }
    if (t->average && fc_pool_spread_supports(d)) {
        fc_pool_spread_run(t);
        return;
    }
    t->stream = fc_pool_streams(t->dx, size, d->channels);
    t->far = d->batch * d->out_height * d->out_width * d->channels * (int64_t)sizeof(float) > FC_POOL_FAR_BYTES;
    fc_parallel(d->batch * fc_ceil_div(d->in_height, 2), fc_threads_for_memory(size * (int64_t)sizeof(float), t->ctx),
                unpool_rows, t);
}

bool fc_max_pool2d_backward(const fc_pool2d *pool, const float *dy, const int32_t *indices, bool check, float *dx,
                            void *workspace, const fc_context *ctx) {
    fc_pool_task t = {.pool = pool, .ctx = ctx, .dy = dy, .chosen = indices, .check = check, .dx = dx};
    run_backward(&t, workspace);
    return !t.refused;
}

void fc_avg_pool2d_backward(const fc_pool2d *pool, const float *dy, float *dx, void *workspace, const fc_context *ctx) {
    fc_pool2d transposed;
    if (transposed_average(pool, &transposed)) {
        fc_avg_pool2d_forward(&transposed, dy, dx, workspace, ctx);
        return;
    }
    fc_pool_task t = {.pool = pool, .ctx = ctx, .dy = dy, .dx = dx, .average = true};
    run_backward(&t, NULL);
}
