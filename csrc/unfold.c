/* unfold.c - the windows of images as columns (im2col, as torch.nn.functional.unfold lays them out), and their sums back.
 *
 * A row of columns holds one channel at one tap: pieces of that channel's plane. So blocks of channels and rows are turned
 * into planes in scratch first (256 KB, within L2), where a piece is contiguous with stride 1. Fold gathers: each row of a
 * plane is the sum of the pieces that were copied from it, in the order of the taps, and blocks of planes are turned back.
 */
#include "kernels/kernels.h"
#include "parallel.h"
#include "plan.h"

/* Channels of a block fill a cache line of NHWC memory; floats of its planes. */
enum { BLOCK_CHANNELS = 16, BLOCK_FLOATS = 65536 };

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
    if (!between(kernel, 2, 1)) return refuse(error, "kernel_size", "every kernel_size must be >= 1 and < 2**31", 2, kernel);
    if (!between(stride, 2, 1)) return refuse(error, "stride", "every stride must be >= 1 and < 2**31", 2, stride);
    if (!between(dilation, 2, 1)) return refuse(error, "dilation", "every dilation must be >= 1 and < 2**31", 2, dilation);
    if (!between(pad, 2, 0)) return refuse(error, "padding", "every pad must be >= 0 and < 2**31", 2, pad);
    d->out_height = fc_floor_div(shape[2] + 2 * pad[0] - dilation[0] * (kernel[0] - 1) - 1, stride[0]) + 1;
    d->out_width = fc_floor_div(shape[3] + 2 * pad[1] - dilation[1] * (kernel[1] - 1) - 1, stride[1]) + 1;
    if (fc_min(d->out_height, d->out_width) < 1)
        return refuse(error, "kernel_size", "the dilated kernel must fit in the padded input", 2, kernel);
    const int64_t columns[] = {d->batch, d->channels, kernel[0], kernel[1], d->out_height, d->out_width};
    return fc_extent_ok(columns, 6) ? FC_OK : refuse(error, "kernel_size", "the columns must fit in memory", 2, kernel);
}

/* ---------------------------------------------------------------------------------------------------------- task */

typedef struct unfold_task {
    const fc_unfold *d;
    const fc_context *ctx;
    const float *from;
    float *to;
    int64_t channel_block, channel_blocks, row_block, row_blocks; /* rows of the output of unfold, or of fold */
    int64_t plane_rows;                                           /* of a block in scratch */
    char *scratch;                                                /* of each thread: planes; fold: offsets and ones too */
    int64_t scratch_bytes, planes_bytes, taps;
} unfold_task;

static unfold_task make_task(const fc_unfold *d, bool fold, const fc_context *ctx) {
    unfold_task t = {.d = d, .ctx = ctx, .taps = d->kernel_height * d->kernel_width};
    const int64_t reach = d->dilation_height * (d->kernel_height - 1) + 1;
    t.channel_block = fc_min(d->channels, BLOCK_CHANNELS);
    t.channel_blocks = fc_ceil_div(d->channels, t.channel_block);
    const int64_t rows = fc_max(1, BLOCK_FLOATS / (t.channel_block * d->width));
    if (fold) {
        t.row_block = t.plane_rows = fc_min(rows, d->height);
        t.row_blocks = fc_ceil_div(d->height, t.row_block);
    } else {
        t.row_block = fc_min(d->out_height, fc_max(0, rows - reach) / d->stride_height + 1);
        t.row_blocks = fc_ceil_div(d->out_height, t.row_block);
        t.plane_rows = fc_min(d->height, (t.row_block - 1) * d->stride_height + reach);
    }
    t.planes_bytes = fold || !d->planes ? t.channel_block * t.plane_rows * d->width * (int64_t)sizeof(float) : 0;
    t.planes_bytes = fc_round_up(t.planes_bytes, FC_ALIGNMENT);
    t.scratch_bytes = t.planes_bytes + (fold ? t.taps * (int64_t)(sizeof(int64_t) + sizeof(float)) : 0);
    t.scratch_bytes = fc_round_up(t.scratch_bytes, FC_ALIGNMENT);
    return t;
}

int64_t fc_unfold_workspace_bytes(const fc_unfold *d, const fc_context *ctx) {
    return ctx->num_threads * fc_max(make_task(d, false, ctx).scratch_bytes, make_task(d, true, ctx).scratch_bytes);
}

static void run(unfold_task *t, fc_range_task blocks) {
    const fc_unfold *d = t->d;
    const int64_t size = d->batch * d->channels * t->taps * d->out_height * d->out_width;
    const int threads = fc_threads_for_memory(2 * size * (int64_t)sizeof(float), t->ctx);
    fc_parallel(d->batch * t->channel_blocks * t->row_blocks, threads, blocks, t);
}

/* The steps [*begin, *end) of `count` whose tap lies in the image: 0 <= step * stride + offset < size. */
static void steps_inside(int64_t offset, int64_t stride, int64_t size, int64_t count, int64_t *begin, int64_t *end) {
    *begin = offset < 0 ? fc_min(count, fc_ceil_div(-offset, stride)) : 0;
    *end = offset >= size ? *begin : fc_max(*begin, fc_min(count, (size - 1 - offset) / stride + 1));
}

/* -------------------------------------------------------------------------------------------------------- unfold */

/* The output rows [p, p_end) of one channel and tap; `plane` holds the input rows from `first` on. */
static void unfold_tap(const fc_unfold *d, int64_t r, int64_t s, int64_t p, int64_t p_end, const float *plane,
                       int64_t first, float *to) {
    const int64_t offset = s * d->dilation_width - d->pad_width, stride = d->stride_width, width = d->out_width;
    int64_t q_begin, q_end;
    steps_inside(offset, stride, d->width, width, &q_begin, &q_end);
    for (; p < p_end; p++, to += width) {
        const int64_t h = p * d->stride_height - d->pad_height + r * d->dilation_height;
        if (h < 0 || h >= d->height || q_begin == q_end) {
            memset(to, 0, (size_t)width * sizeof(float));
            continue;
        }
        const float *line = plane + (h - first) * d->width;
        for (int64_t q = 0; q < q_begin; q++) to[q] = 0;
        if (stride == 1)
            memcpy(to + q_begin, line + q_begin + offset, (size_t)(q_end - q_begin) * sizeof(float));
        else
            for (int64_t q = q_begin; q < q_end; q++) to[q] = line[q * stride + offset];
        for (int64_t q = q_end; q < width; q++) to[q] = 0;
    }
}

/* Items: rows of the output, of a block of channels of an image. */
static void unfold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t reach = d->dilation_height * (d->kernel_height - 1), pixels = d->out_height * d->out_width;
    float *planes = (float *)(t->scratch + thread * t->scratch_bytes);
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks, c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t p = item % t->row_blocks * t->row_block, p_end = fc_min(p + t->row_block, d->out_height);
        const int64_t count = fc_min(t->channel_block, d->channels - c);
        int64_t first = fc_max(0, fc_min(d->height - 1, p * d->stride_height - d->pad_height));
        const int64_t last = fc_max(first, fc_min(d->height - 1, (p_end - 1) * d->stride_height - d->pad_height + reach));
        const float *plane = planes;
        int64_t plane_size = (last - first + 1) * d->width;
        if (d->planes) {
            plane = t->from + (n * d->channels + c) * d->height * d->width;
            plane_size = d->height * d->width, first = 0;
        } else {
            t->ctx->kernels->transpose_block(plane_size, count,
                                             t->from + (n * d->height + first) * d->width * d->channels + c,
                                             d->channels, planes, plane_size);
        }
        for (int64_t i = 0; i < count; i++, plane += plane_size)
            for (int64_t tap = 0; tap < t->taps; tap++)
                unfold_tap(d, tap / d->kernel_width, tap % d->kernel_width, p, p_end, plane, first,
                           t->to + ((n * d->channels + c + i) * t->taps + tap) * pixels + p * d->out_width);
    }
}

void fc_unfold_forward(const fc_unfold *d, const float *x, float *columns, void *workspace, const fc_context *ctx) {
    unfold_task t = make_task(d, false, ctx);
    t.from = x, t.to = columns, t.scratch = workspace;
    run(&t, unfold_blocks);
}

/* ---------------------------------------------------------------------------------------------------------- fold */

/* The row of the output whose tap r is row h of the input; -1: none. */
static int64_t row_of_tap(const fc_unfold *d, int64_t h, int64_t r) {
    const int64_t at = h + d->pad_height - r * d->dilation_height;
    return at < 0 || at % d->stride_height || at / d->stride_height >= d->out_height ? -1 : at / d->stride_height;
}

/* Row h of a plane with a stride: every tap adds its steps. */
static void fold_strided(const unfold_task *t, const float *columns, int64_t h, float *to) {
    const fc_unfold *d = t->d;
    memset(to, 0, (size_t)d->width * sizeof(float));
    for (int64_t r = 0; r < d->kernel_height; r++) {
        const int64_t p = row_of_tap(d, h, r);
        if (p < 0) continue;
        for (int64_t s = 0; s < d->kernel_width; s++) {
            const int64_t offset = s * d->dilation_width - d->pad_width, stride = d->stride_width;
            const float *from = columns + ((r * d->kernel_width + s) * d->out_height + p) * d->out_width;
            int64_t q_begin, q_end;
            steps_inside(offset, stride, d->width, d->out_width, &q_begin, &q_end);
            for (int64_t q = q_begin; q < q_end; q++) to[q * stride + offset] += from[q];
        }
    }
}

/* The pixels [w, w_end) of a row, near its ends: those of the terms (starting at[k] before pixel 0) that have them. */
static void fold_border(const unfold_task *t, const float *columns, const int64_t *at, int64_t rows, int64_t w, int64_t w_end,
                        float *to) {
    const fc_unfold *d = t->d;
    for (; w < w_end; w++) {
        float sum = 0;
        for (int64_t k = 0; k < rows * d->kernel_width; k++) {
            const int64_t q = w + d->pad_width - k % d->kernel_width * d->dilation_width;
            if (q >= 0 && q < d->out_width) sum += columns[at[k] + w];
        }
        to[w] = sum;
    }
}

/* Row h of a plane with stride 1 along it: all taps' rows at once, each from where its pixel 0 would be. */
static void fold_line(const unfold_task *t, const float *columns, int64_t h, int64_t *at, const float *ones, float *to) {
    const fc_unfold *d = t->d;
    int64_t rows = 0, begin, end;
    for (int64_t r = 0; r < d->kernel_height; r++) {
        const int64_t p = row_of_tap(d, h, r);
        if (p < 0) continue;
        for (int64_t s = 0; s < d->kernel_width; s++)
            at[rows * d->kernel_width + s] = ((r * d->kernel_width + s) * d->out_height + p) * d->out_width +
                                             d->pad_width - s * d->dilation_width;
        rows++;
    }
    /* Pixels that every tap reaches; `at` is not that of an element elsewhere. */
    begin = fc_min(d->width, fc_max(0, (d->kernel_width - 1) * d->dilation_width - d->pad_width));
    end = fc_max(begin, fc_min(d->width, d->out_width - d->pad_width));
    if (rows == 0) begin = end = d->width;
    fold_border(t, columns, at, rows, 0, begin, to);
    if (begin < end) {
        for (int64_t k = 0; k < rows * d->kernel_width; k++) at[k] += begin;
        t->ctx->kernels->weighted_rows(rows * d->kernel_width, columns, at, ones, end - begin, to + begin);
        for (int64_t k = 0; k < rows * d->kernel_width; k++) at[k] -= begin;
    }
    fold_border(t, columns, at, rows, end, d->width, to);
}

/* Items: rows of the result, of a block of channels of an image. */
static void fold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t pixels = d->out_height * d->out_width;
    float *planes = (float *)(t->scratch + thread * t->scratch_bytes);
    int64_t *at = (int64_t *)(t->scratch + thread * t->scratch_bytes + t->planes_bytes);
    float *ones = (float *)(at + t->taps);
    for (int64_t k = 0; k < t->taps; k++) ones[k] = 1.0f;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks, c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t h = item % t->row_blocks * t->row_block, h_end = fc_min(h + t->row_block, d->height);
        const int64_t count = fc_min(t->channel_block, d->channels - c), size = (h_end - h) * d->width;
        for (int64_t i = 0; i < count; i++) {
            const float *columns = t->from + (n * d->channels + c + i) * t->taps * pixels;
            for (int64_t row = h; row < h_end; row++) {
                float *to = planes + i * size + (row - h) * d->width;
                if (d->stride_width == 1)
                    fold_line(t, columns, row, at, ones, to);
                else
                    fold_strided(t, columns, row, to);
            }
        }
        t->ctx->kernels->transpose_block(count, size, planes, size,
                                         t->to + (n * d->height + h) * d->width * d->channels + c, d->channels);
    }
}

void fc_fold_forward(const fc_unfold *d, const float *columns, float *y, void *workspace, const fc_context *ctx) {
    unfold_task t = make_task(d, true, ctx);
    t.from = columns, t.to = y, t.scratch = workspace;
    run(&t, fold_blocks);
}
