/* activation.c - elementwise functions over an array, in chunks that fit L1 beside their results. */
#include "kernels/kernels.h"
#include "parallel.h"

enum { CHUNK = 4096 };
/* From this size on results are stored past the caches: see elementwise.c. */
enum { STREAM_BYTES = 16 * 1024 * 1024 };

typedef struct activation_task {
    fc_activation f;
    const fc_kernels *kernels;
    int64_t size;
    bool stream;
    const float *dy, *x; /* x: `saved` of the backward pass */
    float *y;
} activation_task;

static void run_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const activation_task *t = arg;
    const int64_t first = begin * CHUNK, last = fc_min(end * CHUNK, t->size);
    (void)thread;
    if (t->stream)
        t->kernels->activation_stream_row(t->f, last - first, t->x + first, t->y + first);
    else
        t->kernels->activation_row(t->f, last - first, t->x + first, t->y + first);
}

static void run_backward(void *arg, int64_t begin, int64_t end, int thread) {
    const activation_task *t = arg;
    const int64_t first = begin * CHUNK, last = fc_min(end * CHUNK, t->size);
    (void)thread;
    if (t->stream)
        t->kernels->activation_backward_stream_row(t->f, last - first, t->dy + first, t->x + first, t->y + first);
    else
        t->kernels->activation_backward_row(t->f, last - first, t->dy + first, t->x + first, t->y + first);
}

/* What an element costs, in bytes of memory traffic. */
static int64_t element_bytes(fc_activation f) {
    switch (f.kind) {
    case FC_IDENTITY: case FC_RELU: case FC_RELU6: case FC_LEAKY_RELU: case FC_HARDSWISH: case FC_HARDSIGMOID:
    case FC_SOFTSIGN: case FC_HARDTANH: case FC_THRESHOLD: return 8;
    default: return 32;
    }
}

void fc_activation_forward(fc_activation f, int64_t size, const float *x, float *y, const fc_context *ctx) {
    activation_task t = {.f = f, .kernels = ctx->kernels, .size = size, .x = x, .y = y};
    t.stream = y != x && size * (int64_t)sizeof(float) >= STREAM_BYTES;
    fc_parallel(fc_ceil_div(size, CHUNK), fc_threads_for_memory(size * element_bytes(f), ctx), run_forward, &t);
}

void fc_activation_backward(fc_activation f, int64_t size, const float *dy, const float *saved, float *dx,
                            const fc_context *ctx) {
    activation_task t = {.f = f, .kernels = ctx->kernels, .size = size, .dy = dy, .x = saved, .y = dx};
    t.stream = dx != dy && dx != saved && size * (int64_t)sizeof(float) >= STREAM_BYTES;
    fc_parallel(fc_ceil_div(size, CHUNK), fc_threads_for_memory(size * element_bytes(f), ctx), run_backward, &t);
}
