/* conv2d_depthwise_weight.c - the weight gradient of depthwise convolution. */
#include "conv2d_depthwise.h"

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x;
    float *sums; /* [tap][c] */
} weight_task;

/* Channels an item takes: whole vectors of every instruction set, and a few cache lines of each pixel. */
enum { ITEM_CHANNELS = 64 };

/* sums[tap][c] for one kernel row and a range of channels. Item: (kernel row, channel range). */
static void reduce_weights(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
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
    weight_task t = {c, ctx, dy, x, workspace};
    fc_parallel(c->kernel_height * fc_ceil_div(c->in_channels, ITEM_CHANNELS),
                fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), reduce_weights, &t);
    fc_transpose(1, conv2d_taps(c), c->in_channels, t.sums, dweight, ctx);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}

int64_t depthwise_weight_bytes(const fc_conv2d *c) { return depthwise_packed_bytes(c); }
