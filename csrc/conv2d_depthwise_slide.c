/* conv2d_depthwise_slide.c - depthwise convolution and its input gradient by sliding windows (kernels/depthwise_slide.inc).
 *
 * The input gradient of stride 1 is a convolution with the kernel backwards; that of stride 2 is the transposed form of
 * the same window, which writes whole rows of dx. A dilated convolution is one without on each phase of the image.
 */
#include "conv2d_depthwise.h"

/* y = slide(x), both images in NHWC. */
typedef struct slide_task {
    const fc_context *ctx;
    int64_t batch, channels, in_height, in_width, out_height, out_width;
    int64_t kernel, stride, dilation_height, dilation_width, pad_top, pad_left;
    bool transposed, mixed;
    const float *x, *packed;
    const conv2d_epilogue *epilogue;
    float *y;
    int64_t row_chunks, column_chunks, channel_chunks; /* of a phase */
} slide_task;

static bool square(const fc_conv2d *c) {
    return c->kernel_height == c->kernel_width && c->stride_height == c->stride_width &&
           (c->kernel_height == 3 || c->kernel_height == 5 || c->kernel_height == 7);
}

static bool undilated(const fc_conv2d *c) { return c->dilation_height == 1 && c->dilation_width == 1; }

/* No pad reaches past the kernel, so that no output row or column lies in the padding alone. */
static bool pads_inside(const fc_conv2d *c) {
    const int64_t vertical = (c->kernel_height - 1) * c->dilation_height;
    const int64_t horizontal = (c->kernel_width - 1) * c->dilation_width;
    return c->pad_top <= vertical && c->pad_bottom <= vertical && c->pad_left <= horizontal && c->pad_right <= horizontal;
}

bool depthwise_slides(const fc_conv2d *c) {
    if (!square(c) || !pads_inside(c)) return false;
    return c->stride_height == 1 || (c->stride_height == 2 && c->kernel_height < 7 && undilated(c));
}

/* --------------------------------------------------------------------------------------------------------- items */

/* Rows of an item: a few groups of two, which share input rows in L1. */
enum { ITEM_ROWS = 4, LEAST_ITEMS = 32, CHUNK_CHANNELS = 64, LINE = 64, ROWS_BYTES = 20 * 1024 };

static bool in_registers(const conv2d_epilogue *e) {
    return !e->activation || e->activation->kind == FC_IDENTITY || e->activation->kind == FC_RELU ||
           e->activation->kind == FC_RELU6;
}

/* The activations the kernel lacks, on what it has just written. */
static void activate(const slide_task *t, const fc_slide *s, int64_t p, int64_t p_end) {
    const bool whole = s->c_end - s->c_begin == s->y_step;
    const int64_t pixels = whole ? 1 : s->q_end - s->q_begin;
    const int64_t size = whole ? (s->q_end - s->q_begin) * s->y_step : s->c_end - s->c_begin;
    for (int64_t row = fc_max(p, 0); row < fc_min(p_end, s->out_height); row++) {
        float *y = s->y + row * s->y_row + s->q_begin * s->y_step + s->c_begin;
        for (int64_t i = 0; i < pixels; i++, y += s->y_step)
            t->ctx->kernels->activation_row(*t->epilogue->activation, size, y, y);
    }
}

/* Rows [p, p_end). Mixed rows go in twos; those of an item that came out with something not finite once more, directly. */
static void slide(const slide_task *t, const fc_slide *s, int64_t p, int64_t p_end) {
    const fc_kernels *kernels = t->ctx->kernels;
    if (t->mixed && p_end - p >= 2) {
        const int64_t paired = p + (p_end - p) / 2 * 2;
        bool finite;
        kernels->depthwise_winograd(s, p, paired, &finite);
        if (finite) p = paired;
    }
    if (p < p_end) kernels->depthwise_slide(s, (int)t->kernel, (int)t->stride, t->transposed, p, p_end);
}

static void run_chunk(const slide_task *t, fc_slide *s, int64_t row_chunk, int64_t column_chunk) {
    /* Transposed, groups of rows start where a kernel's first row does: shifted by an odd pad. */
    const int64_t shift = t->transposed ? t->pad_top % t->stride : 0, p = row_chunk * ITEM_ROWS - shift;
    const int64_t p_end = fc_min(p + ITEM_ROWS, s->out_height);
    fc_split(s->out_width, t->column_chunks, column_chunk, &s->q_begin, &s->q_end);
    if (p >= p_end || s->q_begin == s->q_end) return;
    slide(t, s, p, p_end);
    if (!in_registers(t->epilogue)) activate(t, s, p, p_end);
}

/* Item: (image, phase row, phase column, row chunk, column chunk, channel chunk). */
static void run_items(void *arg, int64_t begin, int64_t end, int thread) {
    const slide_task *t = arg;
    const conv2d_epilogue *e = t->epilogue;
    const fc_activation_kind kind = e->activation ? e->activation->kind : FC_IDENTITY;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t channel_chunk = item % t->channel_chunks, i = item / t->channel_chunks;
        const int64_t column_chunk = i % t->column_chunks, j = i / t->column_chunks;
        const int64_t row_chunk = j % t->row_chunks, k = j / t->row_chunks;
        const int64_t b = k % t->dilation_width, a = k / t->dilation_width % t->dilation_height;
        const int64_t n = k / t->dilation_width / t->dilation_height;
        const depthwise_phase rows = depthwise_phase_of(a, t->dilation_height, t->pad_top, t->in_height, t->out_height);
        const depthwise_phase columns = depthwise_phase_of(b, t->dilation_width, t->pad_left, t->in_width, t->out_width);
        const int64_t x_pixel = (n * t->in_height + rows.first) * t->in_width + columns.first;
        const int64_t y_at = ((n * t->out_height + a) * t->out_width + b) * t->channels;
        fc_slide s = {.in_height = rows.in, .in_width = columns.in, .out_height = rows.out, .out_width = columns.out,
                      .pad_top = rows.pad, .pad_left = columns.pad,
                      .x_row = t->dilation_height * t->in_width * t->channels, .x_step = t->dilation_width * t->channels,
                      .y_row = t->dilation_height * t->out_width * t->channels, .y_step = t->dilation_width * t->channels,
                      .x = t->x + x_pixel * t->channels, .w = t->packed, .bias = e->bias,
                      .residual = e->residual ? e->residual + y_at : NULL, .y = t->y + y_at,
                      .clamp = kind == FC_RELU || kind == FC_RELU6, .low = 0.0f,
                      .high = kind == FC_RELU6 ? 6.0f : __builtin_inff()};
        int64_t blocks_begin, blocks_end;
        fc_split(fc_ceil_div(t->channels, CHUNK_CHANNELS), t->channel_chunks, channel_chunk, &blocks_begin, &blocks_end);
        s.c_begin = blocks_begin * CHUNK_CHANNELS;
        s.c_end = fc_min(t->channels, blocks_end * CHUNK_CHANNELS);
        run_chunk(t, &s, row_chunk, column_chunk);
    }
}

/* Where a vector is half a cache line, columns are cut so that the input rows of two output rows stay in L1 for the other
 * half. Channels are cut where there are too few items for the threads. */
static void run(slide_task *t) {
    const int64_t in_rows = t->transposed ? 3 : t->kernel + t->stride;
    const int64_t width = fc_ceil_div(t->in_width, t->dilation_width);
    t->row_chunks = fc_ceil_div(fc_ceil_div(t->out_height, t->dilation_height) + t->stride - 1, ITEM_ROWS);
    t->column_chunks = 1;
    if (t->ctx->kernels->lanes * (int64_t)sizeof(float) < LINE)
        t->column_chunks = fc_ceil_div(in_rows * width * LINE, ROWS_BYTES);
    t->channel_chunks = 1;
    const int64_t phases = t->dilation_height * t->dilation_width;
    const int64_t items = t->batch * phases * t->row_chunks * t->column_chunks;
    if (items < LEAST_ITEMS)
        t->channel_chunks = fc_min(fc_ceil_div(t->channels, CHUNK_CHANNELS), fc_ceil_div(LEAST_ITEMS, items));
    const int64_t outputs = t->batch * t->out_height * t->out_width * t->channels;
    fc_parallel(items * t->channel_chunks,
                fc_threads_for_arithmetic(outputs * t->kernel * t->kernel / (t->transposed ? 4 : 1), t->ctx), run_items, t);
}

/* -------------------------------------------------------------------------------------------------------- passes */

/* F(2, 3) holds 12 sums and 12 weights. In 32 registers it runs at 1.25 to 1.35 of the FMA peak in L1, where the window
 * alone reaches 0.96; in 16 it spills and is the slower one, 0.73 beside 0.82. */
static bool enough_registers(const fc_context *ctx) { return ctx->kernels->lanes == 16; }

void depthwise_slide_forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                             float *y, bool mixed, const fc_context *ctx) {
    slide_task t = {.ctx = ctx, .batch = c->batch, .channels = c->in_channels,
                    .in_height = c->in_height, .in_width = c->in_width,
                    .out_height = c->out_height, .out_width = c->out_width,
                    .kernel = c->kernel_height, .stride = c->stride_height,
                    .dilation_height = c->dilation_height, .dilation_width = c->dilation_width,
                    .pad_top = c->pad_top, .pad_left = c->pad_left, .mixed = mixed && enough_registers(ctx),
                    .x = x, .packed = packed, .epilogue = epilogue, .y = y};
    run(&t);
}

void depthwise_slide_backward(const fc_conv2d *c, const float *dy, const float *packed, const conv2d_epilogue *epilogue,
                              float *dx, bool mixed, const fc_context *ctx) {
    const bool transposed = c->stride_height == 2;
    slide_task t = {.ctx = ctx, .batch = c->batch, .channels = c->in_channels,
                    .in_height = c->out_height, .in_width = c->out_width,
                    .out_height = c->in_height, .out_width = c->in_width,
                    .kernel = c->kernel_height, .stride = c->stride_height, .transposed = transposed,
                    .mixed = mixed && enough_registers(ctx),
                    .dilation_height = c->dilation_height, .dilation_width = c->dilation_width,
                    .pad_top = transposed ? c->pad_top : (c->kernel_height - 1) * c->dilation_height - c->pad_top,
                    .pad_left = transposed ? c->pad_left : (c->kernel_width - 1) * c->dilation_width - c->pad_left,
                    .x = dy, .packed = packed, .epilogue = epilogue, .y = dx};
    run(&t);
}
