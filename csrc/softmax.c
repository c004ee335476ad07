/* softmax.c - softmax over rows. Threads share out whole rows, so that every row is summed in one order. */
#include "kernels/kernels.h"
#include "parallel.h"

/* An item is as many rows as make about this many elements. */
enum { CHUNK = 4096 };

typedef struct softmax_task {
    bool log;
    const fc_kernels *kernels;
    int64_t rows, columns, rows_per_item;
    const float *dy, *x; /* x: the result y, in the backward pass */
    float *y;
} softmax_task;

static void run_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const softmax_task *t = arg;
    const int64_t first = begin * t->rows_per_item, last = fc_min(end * t->rows_per_item, t->rows);
    const int64_t at = first * t->columns;
    (void)thread;
    t->kernels->softmax_rows(t->log, last - first, t->columns, t->x + at, t->y + at);
}

static void run_backward(void *arg, int64_t begin, int64_t end, int thread) {
    const softmax_task *t = arg;
    const int64_t first = begin * t->rows_per_item, last = fc_min(end * t->rows_per_item, t->rows);
    const int64_t at = first * t->columns;
    (void)thread;
    t->kernels->softmax_backward_rows(t->log, last - first, t->columns, t->dy + at, t->x + at, t->y + at);
}

static void run(softmax_task *t, fc_range_task task, const fc_context *ctx) {
    if (t->rows == 0 || t->columns == 0) return;
    t->kernels = ctx->kernels;
    t->rows_per_item = fc_max(1, CHUNK / t->columns);
    /* An exponential takes as long as about 32 bytes of memory traffic. */
    const int threads = fc_threads_for_memory(t->rows * t->columns * 32, ctx);
    fc_parallel(fc_ceil_div(t->rows, t->rows_per_item), threads, task, t);
}

void fc_softmax_forward(bool log, int64_t rows, int64_t columns, const float *x, float *y, const fc_context *ctx) {
    softmax_task t = {.log = log, .rows = rows, .columns = columns, .x = x, .y = y};
    run(&t, run_forward, ctx);
}

void fc_softmax_backward(bool log, int64_t rows, int64_t columns, const float *dy, const float *y, float *dx,
                         const fc_context *ctx) {
    softmax_task t = {.log = log, .rows = rows, .columns = columns, .dy = dy, .x = y, .y = dx};
    run(&t, run_backward, ctx);
}
