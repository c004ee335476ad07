/* glu.c - gated linear units: halves of an axis, the second of which gates the first. */
#include "kernels/kernels.h"
#include "parallel.h"

/* An item is at most so many elements of a half. */
enum { CHUNK = 2048 };

typedef struct glu_task {
    const fc_kernels *kernels;
    int64_t inner, pieces;
    const float *dy, *x;
    float *y; /* dx, in the backward pass */
} glu_task;

/* Item: a piece of the halves of one outer index. */
static void run_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const glu_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t outer = item / t->pieces, at = item % t->pieces * CHUNK;
        const float *a = t->x + 2 * outer * t->inner + at;
        t->kernels->glu_row(fc_min(CHUNK, t->inner - at), a, a + t->inner, t->y + outer * t->inner + at);
    }
}

static void run_backward(void *arg, int64_t begin, int64_t end, int thread) {
    const glu_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t outer = item / t->pieces, at = item % t->pieces * CHUNK, from = 2 * outer * t->inner + at;
        const float *a = t->x + from;
        t->kernels->glu_backward_row(fc_min(CHUNK, t->inner - at), t->dy + outer * t->inner + at, a, a + t->inner,
                                     t->y + from, t->y + from + t->inner);
    }
}

static void run(glu_task *t, int64_t outer, fc_range_task task, const fc_context *ctx) {
    t->kernels = ctx->kernels;
    t->pieces = fc_ceil_div(t->inner, CHUNK);
    /* An exponential takes as long as about 32 bytes of memory traffic. */
    fc_parallel(outer * t->pieces, fc_threads_for_memory(outer * t->inner * 32, ctx), task, t);
}

void fc_glu_forward(int64_t outer, int64_t inner, const float *x, float *y, const fc_context *ctx) {
    glu_task t = {.inner = inner, .x = x, .y = y};
    run(&t, outer, run_forward, ctx);
}

void fc_glu_backward(int64_t outer, int64_t inner, const float *dy, const float *x, float *dx, const fc_context *ctx) {
    glu_task t = {.inner = inner, .dy = dy, .x = x, .y = dx};
    run(&t, outer, run_backward, ctx);
}
