/* conv2d_epilogue.c - bias, residual and activation of sums that lie in y already. */
#include "conv2d.h"

void conv2d_finish_run(const conv2d_epilogue *epilogue, float *y, int64_t at, int64_t size, const fc_context *ctx) {
    const fc_activation *f = epilogue->activation;
    for (int64_t i = 0; epilogue->residual && i < size; i++) y[at + i] += epilogue->residual[at + i];
    if (f && f->kind != FC_IDENTITY) ctx->kernels->activation_row(*f, size, y + at, y + at);
}

typedef struct finish_task {
    const fc_context *ctx;
    const conv2d_epilogue *epilogue;
    float *y;
    int64_t channels;
} finish_task;

/* Item: pixel. */
static void finish_pixels(void *arg, int64_t begin, int64_t end, int thread) {
    const finish_task *t = arg;
    const float *bias = t->epilogue->bias;
    (void)thread;
    for (int64_t pixel = begin; pixel < end; pixel++) {
        const int64_t at = pixel * t->channels;
        for (int64_t k = 0; bias && k < t->channels; k++) t->y[at + k] += bias[k];
        conv2d_finish_run(t->epilogue, t->y, at, t->channels, t->ctx);
    }
}

void conv2d_finish_pixels(const conv2d_epilogue *epilogue, int64_t pixels, int64_t channels, float *y,
                          const fc_context *ctx) {
    const bool identity = !epilogue->activation || epilogue->activation->kind == FC_IDENTITY;
    finish_task t = {ctx, epilogue, y, channels};
    if (!epilogue->bias && !epilogue->residual && identity) return;
    fc_parallel(pixels, fc_threads_for_memory(2 * pixels * channels * (int64_t)sizeof(float), ctx), finish_pixels, &t);
}
