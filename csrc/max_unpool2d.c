/* max_unpool2d.c - values back to the positions they were the maxima of, and the gradient of that.
 *
 * Images are the items: within one, values are written in order, so that of equal indices the last counts whatever the
 * number of threads. A scatter of single floats: there is nothing for vectors to do.
 */
#include "fastconv.h"
#include "parallel.h"

bool fc_max_unpool2d_indices_ok(int64_t batch, int64_t pixels, int64_t channels, int64_t plane,
                                const int32_t *indices) {
    uint32_t outside = 0;
    for (int64_t i = 0; i < batch * pixels * channels; i++) outside |= (uint32_t)indices[i] >= (uint32_t)plane;
    return outside == 0;
}

typedef struct unpool_task {
    int64_t pixels, channels, plane;
    const float *from;
    const int32_t *indices;
    float *to;
} unpool_task;

static void scatter_images(void *arg, int64_t begin, int64_t end, int thread) {
    const unpool_task *t = arg;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const float *x = t->from + n * t->pixels * t->channels;
        const int32_t *indices = t->indices + n * t->pixels * t->channels;
        float *y = t->to + n * t->plane * t->channels;
        memset(y, 0, (size_t)(t->plane * t->channels) * sizeof(float));
        for (int64_t i = 0; i < t->pixels; i++, x += t->channels, indices += t->channels)
            for (int64_t c = 0; c < t->channels; c++) y[indices[c] * t->channels + c] = x[c];
    }
}

static void gather_images(void *arg, int64_t begin, int64_t end, int thread) {
    const unpool_task *t = arg;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const float *dy = t->from + n * t->plane * t->channels;
        const int32_t *indices = t->indices + n * t->pixels * t->channels;
        float *dx = t->to + n * t->pixels * t->channels;
        for (int64_t i = 0; i < t->pixels; i++, dx += t->channels, indices += t->channels)
            for (int64_t c = 0; c < t->channels; c++) dx[c] = dy[indices[c] * t->channels + c];
    }
}

void fc_max_unpool2d_forward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *x,
                             const int32_t *indices, float *y, const fc_context *ctx) {
    unpool_task t = {pixels, channels, plane, x, indices, y};
    const int64_t bytes = batch * plane * channels * (int64_t)sizeof(float);
    fc_parallel(batch, fc_threads_for_memory(bytes, ctx), scatter_images, &t);
}

void fc_max_unpool2d_backward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *dy,
                              const int32_t *indices, float *dx, const fc_context *ctx) {
    unpool_task t = {pixels, channels, plane, dy, indices, dx};
    const int64_t bytes = batch * pixels * channels * (int64_t)sizeof(float);
    fc_parallel(batch, fc_threads_for_memory(bytes, ctx), gather_images, &t);
}
