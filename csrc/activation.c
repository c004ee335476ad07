/* activation.c - elementwise functions over an array, in chunks that fit L1 beside their results. */
#include "kernels/kernels.h"
#include "parallel.h"

enum { CHUNK = 4096 };

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

/* About how many cycles a vector takes in the caches, of 16 lanes or 8 (Zen 5). */
static int64_t forward_cycles(fc_activation_kind kind) {
    switch (kind) {
    case FC_EXP: return 5;
    case FC_ELU: case FC_SIGMOID: case FC_TANH: case FC_SILU: case FC_MISH: case FC_SELU: case FC_CELU: return 7;
    case FC_GELU: case FC_GELU_TANH: return 10;
    case FC_SOFTPLUS: case FC_LOGSIGMOID: return 14;
    default: return 2;
    }
}

static int64_t backward_cycles(fc_activation_kind kind) {
    switch (kind) {
    case FC_ELU: case FC_SELU: case FC_CELU: case FC_SOFTPLUS: case FC_LOGSIGMOID: return 7;
    case FC_GELU: case FC_GELU_TANH: case FC_SILU: case FC_MISH: return 12;
    default: return 3;
    }
}

/* A second thread pays from 4 us on, a region taking 2. One and two threads on AVX-512, us: relu of 64 k floats 2.5 and
 * 3.5, of 256 k 18.3 and 10.0; exp of 32 k 2.5 and 3.1, of 64 k 4.7 and 4.2; gelu of 16 k 2.8 and 3.2, of 32 k 5.2 and
 * 4.5. */
enum { SERIAL_CYCLES = 16384 };

static int choose_threads(int64_t size, int64_t cycles, const fc_context *ctx) {
    return size / ctx->kernels->lanes < SERIAL_CYCLES / cycles ? 1 : ctx->num_threads;
}

void fc_activation_forward(fc_activation f, int64_t size, const float *x, float *y, const fc_context *ctx) {
    activation_task t = {.f = f, .kernels = ctx->kernels, .size = size, .x = x, .y = y};
    t.stream = y != x && size * (int64_t)sizeof(float) >= FC_STREAM_BYTES;
    fc_parallel(fc_ceil_div(size, CHUNK), choose_threads(size, forward_cycles(f.kind), ctx), run_forward, &t);
}

void fc_activation_backward(fc_activation f, int64_t size, const float *dy, const float *saved, float *dx,
                            const fc_context *ctx) {
    activation_task t = {.f = f, .kernels = ctx->kernels, .size = size, .dy = dy, .x = saved, .y = dx};
    t.stream = dx != dy && dx != saved && size * (int64_t)sizeof(float) >= FC_STREAM_BYTES;
    fc_parallel(fc_ceil_div(size, CHUNK), choose_threads(size, backward_cycles(f.kind), ctx), run_backward, &t);
}
