/* rearrange.c - permutations of NHWC images: between channels and pixels, and of channels among groups. */
#include "kernels/kernels.h"
#include "parallel.h"

typedef struct shuffle_task {
    const fc_pixel_shuffle *d;
    const fc_context *ctx;
    const float *from;
    float *to;
} shuffle_task;

/* Items: rows of x, each of which is `factor` rows of y side by side. */
static void shuffle_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const shuffle_task *t = arg;
    const fc_pixel_shuffle *d = t->d;
    const int64_t y_row = d->width * d->factor * d->channels, row = y_row * d->factor;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        t->ctx->kernels->shuffle_pixels(d->width, d->channels, d->factor, t->from + i * row, t->to + i * row, y_row);
}

static void unshuffle_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const shuffle_task *t = arg;
    const fc_pixel_shuffle *d = t->d;
    const int64_t y_row = d->width * d->factor * d->channels, row = y_row * d->factor;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        t->ctx->kernels->unshuffle_pixels(d->width, d->channels, d->factor, t->from + i * row, y_row, t->to + i * row);
}

static void run_shuffle(const fc_pixel_shuffle *d, fc_range_task rows, const float *from, float *to,
                        const fc_context *ctx) {
    shuffle_task t = {d, ctx, from, to};
    const int64_t size = d->batch * d->height * d->width * d->channels * d->factor * d->factor;
    if (size > 0)
        fc_parallel(d->batch * d->height, fc_threads_for_memory(2 * size * (int64_t)sizeof(float), ctx), rows, &t);
}

void fc_pixel_shuffle_forward(const fc_pixel_shuffle *d, const float *x, float *y, const fc_context *ctx) {
    run_shuffle(d, shuffle_rows, x, y, ctx);
}

void fc_pixel_shuffle_backward(const fc_pixel_shuffle *d, const float *dy, float *dx, const fc_context *ctx) {
    run_shuffle(d, unshuffle_rows, dy, dx, ctx);
}

/* ---------------------------------------------------------------------------------------------- channels of groups */

typedef struct channel_task {
    const fc_context *ctx;
    int64_t groups, count;
    const float *x;
    float *y;
} channel_task;

static void shuffle_channels(void *arg, int64_t begin, int64_t end, int thread) {
    const channel_task *t = arg;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t groups = t->groups, count = t->count, channels = groups * count;
    const float *x = t->x + begin * channels;
    float *y = t->y + begin * channels;
    (void)thread;
    if (groups == 1 || count == 1)
        memcpy(y, x, (size_t)((end - begin) * channels) * sizeof(float));
    else if (groups == 2)
        kernels->interleave_pairs(end - begin, count, x, y);
    else if (count == 2)
        kernels->separate_pairs(end - begin, groups, x, y);
    else
        for (; begin < end; begin++, x += channels, y += channels)
            kernels->transpose_block(groups, count, x, count, y, groups);
}

void fc_channel_shuffle(int64_t pixels, int64_t groups, int64_t count, const float *x, float *y,
                        const fc_context *ctx) {
    channel_task t = {ctx, groups, count, x, y};
    const int64_t bytes = 2 * pixels * groups * count * (int64_t)sizeof(float);
    if (bytes > 0) fc_parallel(pixels, fc_threads_for_memory(bytes, ctx), shuffle_channels, &t);
}
