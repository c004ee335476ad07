/* conv2d_depthwise_weight.c - the weight gradient of depthwise convolution.
 *
 * Kernels that slide (kernels/depthwise_weight.inc) pass over x and dy once, in units of a few rows. Units are joined into
 * chunks, whose number depends on the shape alone; sums are kept a chunk and added in the order of the chunks, so the
 * result does not depend on the threads. Other kernels take one tap after the other.
 */
#include "conv2d_depthwise.h"

/* Channels of an item: whole vectors of every instruction set, and a few cache lines of each pixel. Rows of a unit: they
 * stay in L2 from one vector of channels to the next. */
enum { ITEM_CHANNELS = 64, UNIT_ROWS = 8, LEAST_ITEMS = 32 };

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x;
    float *sums; /* [chunk][tap][c], the last tap for the bias */
    float *dweight, *dbias;
    int64_t ranges, row_units, units, chunks;
} weight_task;

static int64_t row_units(const fc_conv2d *c) {
    return fc_ceil_div(fc_ceil_div(c->out_height, c->dilation_height), UNIT_ROWS);
}
static int64_t unit_count(const fc_conv2d *c) {
    return c->batch * c->dilation_height * c->dilation_width * row_units(c);
}
static int64_t chunk_count(const fc_conv2d *c) {
    const int64_t ranges = fc_ceil_div(c->in_channels, ITEM_CHANNELS);
    return fc_max(1, fc_min(unit_count(c), fc_ceil_div(LEAST_ITEMS, ranges)));
}

/* Unit: (image, phase row, phase column, rows). */
static void reduce_unit(const weight_task *t, int64_t unit, fc_slide_weight s) {
    const fc_conv2d *c = t->conv;
    const int64_t p = unit % t->row_units * UNIT_ROWS, i = unit / t->row_units;
    const int64_t b = i % c->dilation_width, a = i / c->dilation_width % c->dilation_height;
    const int64_t n = i / c->dilation_width / c->dilation_height;
    const depthwise_phase rows = depthwise_phase_of(a, c->dilation_height, c->pad_top, c->in_height, c->out_height);
    const depthwise_phase columns = depthwise_phase_of(b, c->dilation_width, c->pad_left, c->in_width, c->out_width);
    s.in_height = rows.in, s.in_width = columns.in, s.out_width = columns.out;
    s.pad_top = rows.pad, s.pad_left = columns.pad;
    s.x = t->x + ((n * c->in_height + rows.first) * c->in_width + columns.first) * c->in_channels;
    s.dy = t->dy + ((n * c->out_height + a) * c->out_width + b) * c->in_channels;
    t->ctx->kernels->depthwise_slide_weight(&s, (int)c->kernel_height, (int)c->stride_height, fc_min(p, rows.out),
                                            fc_min(p + UNIT_ROWS, rows.out));
}

/* Item: (chunk, channel range). */
static void reduce_weights(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t channels = c->in_channels, taps = conv2d_taps(c);
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t chunk = item / t->ranges, first = item % t->ranges * ITEM_CHANNELS;
        float *sums = t->sums + chunk * (taps + 1) * channels;
        fc_slide_weight s = {.x_row = c->dilation_height * c->in_width * channels, .x_step = c->dilation_width * channels,
                             .y_row = c->dilation_height * c->out_width * channels, .y_step = c->dilation_width * channels,
                             .sums = sums, .bias_sums = t->dbias ? sums + taps * channels : NULL, .sums_step = channels,
                             .c_begin = first, .c_end = fc_min(channels, first + ITEM_CHANNELS)};
        int64_t unit, unit_end;
        fc_split(t->units, t->chunks, chunk, &unit, &unit_end);
        for (; unit < unit_end; unit++, s.accumulate = true) reduce_unit(t, unit, s);
    }
}

/* dweight[c][tap] and dbias[c] from the sums of the chunks, in their order. Item: channel range. */
static void add_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t channels = t->conv->in_channels, taps = conv2d_taps(t->conv);
    const int64_t first = begin * ITEM_CHANNELS, last = fc_min(channels, end * ITEM_CHANNELS);
    (void)thread;
    for (int64_t chunk = 1; chunk < t->chunks; chunk++)
        for (int64_t tap = 0; tap < taps + (t->dbias ? 1 : 0); tap++) {
            float *sum = t->sums + tap * channels;
            const float *part = sum + chunk * (taps + 1) * channels;
            for (int64_t i = first; i < last; i++) sum[i] += part[i];
        }
    for (int64_t i = first; i < last; i++)
        for (int64_t tap = 0; tap < taps; tap++) t->dweight[i * taps + tap] = t->sums[tap * channels + i];
    if (t->dbias) memcpy(t->dbias + first, t->sums + taps * channels + first, (size_t)(last - first) * sizeof(float));
}

static void reduce_by_sliding(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                              float *sums, const fc_context *ctx) {
    const int threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx);
    weight_task t = {.conv = c, .ctx = ctx, .dy = dy, .x = x, .sums = sums, .dweight = dweight, .dbias = dbias,
                     .ranges = fc_ceil_div(c->in_channels, ITEM_CHANNELS), .row_units = row_units(c),
                     .units = unit_count(c), .chunks = chunk_count(c)};
    fc_parallel(t.chunks * t.ranges, threads, reduce_weights, &t);
    fc_parallel(t.ranges, fc_threads_for_memory(depthwise_weight_bytes(c), ctx), add_chunks, &t);
}

/* ------------------------------------------------------------------------------------------------- other kernels */

typedef struct gather_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x;
    float *sums; /* [tap][c] */
} gather_task;

/* sums[tap][c] for one kernel row and a range of channels. Item: (kernel row, channel range). */
static void reduce_by_taps(void *arg, int64_t begin, int64_t end, int thread) {
    const gather_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t ranges = fc_ceil_div(c->in_channels, ITEM_CHANNELS), rows = c->batch * c->out_height;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t r = item / ranges, first = item % ranges * ITEM_CHANNELS;
        const int64_t channels = fc_min(ITEM_CHANNELS, c->in_channels - first);
        float *sums = t->sums + r * c->kernel_width * c->in_channels + first;
        for (int64_t s = 0; s < c->kernel_width; s++)
            memset(sums + s * c->in_channels, 0, (size_t)channels * sizeof(float));
        for (int64_t row = 0; row < rows; row++) {
            const int64_t h = row % c->out_height * c->stride_height + r * c->dilation_height - c->pad_top;
            if (h < 0 || h >= c->in_height) continue;
            const float *line = t->x + (row / c->out_height * c->in_height + h) * c->in_width * c->in_channels + first;
            const float *dy = t->dy + row * c->out_width * c->in_channels + first;
            for (int64_t s = 0; s < c->kernel_width; s++) {
                int64_t q, q_end;
                conv2d_inside_columns(c, s, &q, &q_end);
                const int64_t w = q * c->stride_width + s * c->dilation_width - c->pad_left;
                if (q < q_end)
                    t->ctx->kernels->depthwise_dot(line + w * c->in_channels, c->stride_width * c->in_channels,
                                                   dy + q * c->in_channels, c->in_channels, q_end - q, channels,
                                                   sums + s * c->in_channels);
            }
        }
    }
}

void depthwise_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                               void *workspace, const fc_context *ctx) {
    if (depthwise_slides(c)) {
        reduce_by_sliding(c, dy, x, dweight, dbias, workspace, ctx);
        return;
    }
    gather_task t = {c, ctx, dy, x, workspace};
    fc_parallel(c->kernel_height * fc_ceil_div(c->in_channels, ITEM_CHANNELS),
                fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), reduce_by_taps, &t);
    fc_transpose(1, conv2d_taps(c), c->in_channels, workspace, dweight, ctx);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}

int64_t depthwise_weight_bytes(const fc_conv2d *c) {
    return (depthwise_slides(c) ? chunk_count(c) : 1) * (conv2d_taps(c) + 1) * c->in_channels * (int64_t)sizeof(float);
}
