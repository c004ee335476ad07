/* unfold.c - the windows of images as columns (im2col, as torch.nn.functional.unfold lays them out).
 *
 * Blocks of channels and rows are turned into planes first (unfold.h), each of which stays in L1 for all its taps. Large
 * columns are put together in L1, a few rows at a time, and go past the caches in whole lines.
 */
#include "unfold.h"

#include "plan.h"

/* Channels of a block, half a cache line of NHWC memory; floats of one of its planes (24 KB), and of the stage. */
enum { BLOCK_CHANNELS = 8, PLANE_FLOATS = 6144, STAGE_FLOATS = 2048 };
/* Columns that do not fit in the caches. */
enum { STREAM_BYTES = 24 * 1024 * 1024 };

/* ---------------------------------------------------------------------------------------------------------- plan */

static bool between(const int64_t *values, int count, int64_t low) {
    for (int i = 0; i < count; i++)
        if (values[i] < low || values[i] > INT32_MAX) return false;
    return true;
}

static fc_status refuse(fc_error *error, const char *argument, const char *rule, int count, const int64_t *values) {
    return fc_refuse(error, FC_BAD_GEOMETRY, argument, rule, count, values);
}

fc_status fc_unfold_plan(fc_unfold *d, fc_error *error) {
    const int64_t shape[] = {d->batch, d->channels, d->height, d->width};
    const int64_t kernel[] = {d->kernel_height, d->kernel_width}, stride[] = {d->stride_height, d->stride_width};
    const int64_t dilation[] = {d->dilation_height, d->dilation_width}, pad[] = {d->pad_height, d->pad_width};
    if (d->batch < 0 || d->channels < 1 || !between(shape + 2, 2, 1) || !fc_extent_ok(shape, 4))
        return refuse(error, "x_shape", "channels, height and width must be >= 1", 4, shape);
    if (!between(kernel, 2, 1))
        return refuse(error, "kernel_size", "every kernel_size must be >= 1 and < 2**31", 2, kernel);
    if (!between(stride, 2, 1)) return refuse(error, "stride", "every stride must be >= 1 and < 2**31", 2, stride);
    if (!between(dilation, 2, 1))
        return refuse(error, "dilation", "every dilation must be >= 1 and < 2**31", 2, dilation);
    if (!between(pad, 2, 0)) return refuse(error, "padding", "every pad must be >= 0 and < 2**31", 2, pad);
    d->out_height = fc_floor_div(shape[2] + 2 * pad[0] - dilation[0] * (kernel[0] - 1) - 1, stride[0]) + 1;
    d->out_width = fc_floor_div(shape[3] + 2 * pad[1] - dilation[1] * (kernel[1] - 1) - 1, stride[1]) + 1;
    if (fc_min(d->out_height, d->out_width) < 1)
        return refuse(error, "kernel_size", "the dilated kernel must fit in the padded input", 2, kernel);
    const int64_t columns[] = {d->batch, d->channels, kernel[0], kernel[1], d->out_height, d->out_width};
    return fc_extent_ok(columns, 6) ? FC_OK : refuse(error, "kernel_size", "the columns must fit in memory", 2, kernel);
}

/* ---------------------------------------------------------------------------------------------------------- task */

static int64_t columns_bytes(const unfold_task *t) {
    const fc_unfold *d = t->d;
    return d->batch * d->channels * t->taps * d->out_height * d->out_width * (int64_t)sizeof(float);
}

unfold_task fc_unfold_task(const fc_unfold *d, bool fold, const fc_context *ctx) {
    unfold_task t = {.d = d, .ctx = ctx, .taps = d->kernel_height * d->kernel_width};
    const int64_t reach_height = d->dilation_height * (d->kernel_height - 1) + 1;
    const int64_t reach_width = d->dilation_width * (d->kernel_width - 1);
    t.line = d->width + 2 * d->pad_width;
    if (d->stride_width <= 2) t.line = fc_max(t.line, reach_width + d->stride_width * fc_round_up(d->out_width, 16));
    const int64_t rows = fc_max(1, PLANE_FLOATS / t.line);
    if (fold) {
        t.row_block = t.plane_rows = fc_min(rows, d->height);
        t.row_blocks = fc_ceil_div(d->height, t.row_block);
    } else {
        t.row_block = fc_min(d->out_height, fc_max(0, rows - reach_height) / d->stride_height + 1);
        t.row_blocks = fc_ceil_div(d->out_height, t.row_block);
        t.plane_rows = fc_min(d->height, (t.row_block - 1) * d->stride_height + reach_height);
        t.stream = columns_bytes(&t) >= STREAM_BYTES;
        t.stage_rows = t.stream ? fc_min(t.row_block, fc_max(1, STAGE_FLOATS / d->out_width)) : 0;
    }
    t.channel_block = fc_min(d->channels, BLOCK_CHANNELS);
    t.channel_blocks = fc_ceil_div(d->channels, t.channel_block);
    const int64_t floats = t.channel_block * unfold_plane(&t) + t.stage_rows * d->out_width;
    t.scratch_bytes = fc_round_up(floats * (int64_t)sizeof(float), FC_ALIGNMENT);
    return t;
}

int64_t fc_unfold_workspace_bytes(const fc_unfold *d, const fc_context *ctx) {
    const unfold_task unfold = fc_unfold_task(d, false, ctx), fold = fc_unfold_task(d, true, ctx);
    return ctx->num_threads * fc_max(unfold.scratch_bytes, fold.scratch_bytes);
}

void fc_unfold_run(unfold_task *t, fc_range_task blocks) {
    const int threads = fc_threads_for_memory(2 * columns_bytes(t), t->ctx);
    fc_parallel(t->d->batch * t->channel_blocks * t->row_blocks, threads, blocks, t);
}

/* -------------------------------------------------------------------------------------------------------- planes */

/* `count` channels from c on of the input rows [h, h_end) of image n. The padding is there already. */
static void make_planes(const unfold_task *t, int64_t n, int64_t c, int64_t count, int64_t h, int64_t h_end,
                        float *planes) {
    const fc_unfold *d = t->d;
    planes += d->pad_width;
    for (int64_t row = h; row < h_end; row++, planes += t->line) {
        if (!d->planes) {
            const float *x = t->from + ((n * d->height + row) * d->width) * d->channels + c;
            t->ctx->kernels->transpose_block(d->width, count, x, d->channels, planes, unfold_plane(t));
            continue;
        }
        const float *x = t->from + ((n * d->channels + c) * d->height + row) * d->width;
        for (int64_t i = 0; i < count; i++)
            memcpy(planes + i * unfold_plane(t), x + i * d->height * d->width, (size_t)d->width * sizeof(float));
    }
}

/* ------------------------------------------------------------------------------------------------------- columns */

/* The rows [p, p_end) of the output of one channel and tap; `plane` holds the input rows from `first` on. */
static void take_tap(const unfold_task *t, int64_t r, int64_t s, int64_t p, int64_t p_end, const float *plane,
                     int64_t first, float *to) {
    const fc_unfold *d = t->d;
    const int64_t width = d->out_width, offset = r * d->dilation_height - d->pad_height;
    int64_t begin, end;
    unfold_inside(offset, d->stride_height, d->height, d->out_height, &begin, &end);
    begin = fc_max(p, fc_min(begin, p_end)), end = fc_max(begin, fc_min(end, p_end));
    memset(to, 0, (size_t)((begin - p) * width) * sizeof(float));
    if (begin < end)
        t->ctx->kernels->unfold_rows(end - begin, width, d->stride_width,
                                     plane + (begin * d->stride_height + offset - first) * t->line +
                                         s * d->dilation_width,
                                     d->stride_height * t->line, to + (begin - p) * width);
    memset(to + (end - p) * width, 0, (size_t)((p_end - end) * width) * sizeof(float));
}

static void stream_tap(const unfold_task *t, int64_t r, int64_t s, int64_t p, int64_t p_end, const float *plane,
                       int64_t first, float *stage, float *to) {
    const int64_t width = t->d->out_width;
    for (; p < p_end; p += t->stage_rows, to += t->stage_rows * width) {
        const int64_t rows = fc_min(t->stage_rows, p_end - p);
        take_tap(t, r, s, p, p + rows, plane, first, stage);
        t->ctx->kernels->stream_copy(rows * width, stage, to);
    }
}

/* The same of all taps, of patches. */
static void take_patches(const unfold_task *t, int64_t p, int64_t p_end, const float *plane, int64_t first, float *to) {
    const fc_unfold *d = t->d;
    const int64_t pixels = d->out_height * d->out_width;
    for (; p < p_end; p++, to += d->out_width)
        for (int64_t r = 0; r < d->kernel_height; r++) {
            const int64_t h = p * d->stride_height - d->pad_height + r;
            float *rows = to + r * d->kernel_width * pixels;
            if (h >= 0 && h < d->height)
                t->ctx->kernels->transpose_block(d->out_width, d->kernel_width, plane + (h - first) * t->line,
                                                 d->kernel_width, rows, pixels);
            else
                for (int64_t s = 0; s < d->kernel_width; s++)
                    memset(rows + s * pixels, 0, (size_t)d->out_width * sizeof(float));
        }
}

/* Items: rows of the output, of a block of channels of an image. */
static void unfold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t reach = d->dilation_height * (d->kernel_height - 1), pixels = d->out_height * d->out_width;
    float *planes = unfold_planes(t, thread), *stage = planes + t->channel_block * unfold_plane(t);
    memset(planes, 0, (size_t)(t->channel_block * unfold_plane(t)) * sizeof(float));
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks;
        const int64_t c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t p = item % t->row_blocks * t->row_block, p_end = fc_min(p + t->row_block, d->out_height);
        const int64_t count = fc_min(t->channel_block, d->channels - c);
        const int64_t first = fc_max(0, fc_min(d->height - 1, p * d->stride_height - d->pad_height));
        const int64_t lowest = (p_end - 1) * d->stride_height - d->pad_height + reach;
        make_planes(t, n, c, count, first, fc_max(first, fc_min(d->height - 1, lowest)) + 1, planes);
        for (int64_t i = 0; i < count; i++) {
            const float *plane = planes + i * unfold_plane(t);
            float *to = t->to + (n * d->channels + c + i) * t->taps * pixels + p * d->out_width;
            if (unfold_patches(d)) {
                take_patches(t, p, p_end, plane, first, to);
                continue;
            }
            for (int64_t tap = 0; tap < t->taps; tap++, to += pixels) {
                const int64_t r = tap / d->kernel_width, s = tap % d->kernel_width;
                if (t->stream)
                    stream_tap(t, r, s, p, p_end, plane, first, stage, to);
                else
                    take_tap(t, r, s, p, p_end, plane, first, to);
            }
        }
    }
    if (t->stream) fc_stream_end();
}

void fc_unfold_forward(const fc_unfold *d, const float *x, float *columns, void *workspace, const fc_context *ctx) {
    unfold_task t = fc_unfold_task(d, false, ctx);
    t.from = x, t.to = columns, t.scratch = workspace;
    fc_unfold_run(&t, unfold_blocks);
}
