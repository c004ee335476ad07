/* conv_transpose2d.c - the transposed convolution: a convolution's input gradient as a forward pass.
 *
 * Its input gradient is that convolution's forward pass, its weight gradient that convolution's, with input and output
 * gradient exchanged; only its bias gradient is its own.
 */
#include "conv2d.h"

typedef struct finish_task {
    const fc_context *ctx;
    const conv2d_epilogue *epilogue;
    float *y;
    int64_t channels;
} finish_task;

/* Item: pixel. */
static void finish_pixels(void *arg, int64_t begin, int64_t end, int thread) {
    const finish_task *t = arg;
    const fc_activation *f = t->epilogue->activation;
    const float *bias = t->epilogue->bias;
    (void)thread;
    for (int64_t pixel = begin; pixel < end; pixel++) {
        float *y = t->y + pixel * t->channels;
        const float *residual = t->epilogue->residual ? t->epilogue->residual + pixel * t->channels : NULL;
        for (int64_t k = 0; bias && k < t->channels; k++) y[k] += bias[k];
        for (int64_t k = 0; residual && k < t->channels; k++) y[k] += residual[k];
        if (f->kind != FC_IDENTITY) t->ctx->kernels->activation_row(*f, t->channels, y, y);
    }
}

void fc_conv_transpose2d_forward(const fc_conv2d *c, const float *x, const float *weight, const float *bias,
                                 const float *residual, float *y, void *workspace, const fc_context *ctx) {
    const conv2d_epilogue epilogue = {bias, residual, &c->activation};
    const int64_t pixels = c->batch * c->in_height * c->in_width;
    if (c->batch == 0) return;
    if (c->chosen[FC_BACKWARD_INPUT] == FC_CONV2D_DIRECT) {
        conv2d_direct_transposed(c, x, weight, &epilogue, y, workspace, ctx);
        return;
    }
    /* The others have no epilogue in this pass: it follows in one of its own. */
    fc_conv2d_backward_input(c, x, weight, y, workspace, ctx);
    if (!bias && !residual && c->activation.kind == FC_IDENTITY) return;
    finish_task t = {ctx, &epilogue, y, c->in_channels};
    fc_parallel(pixels, fc_threads_for_memory(2 * pixels * c->in_channels * (int64_t)sizeof(float), ctx), finish_pixels,
                &t);
}

void fc_conv_transpose2d_backward_bias(int64_t pixels, int64_t channels, const float *dy, float *dbias,
                                       const fc_context *ctx) {
    const fc_conv2d image = {.batch = 1, .out_height = 1, .out_width = pixels, .out_channels = channels};
    memset(dbias, 0, (size_t)channels * sizeof(float)); /* all there is where there are no pixels */
    conv2d_reduce_bias(&image, dy, dbias, ctx);
}
