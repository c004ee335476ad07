/* softmax.c - softmax along one axis of a C-ordered array, as (outer, columns, inner). Threads share out whole
 * rows, so that every row is summed in one order. */
#include "kernels/kernels.h"
#include "parallel.h"
#include "softmax.h"

typedef struct softmax_task {
    fc_softmax softmax;
    const fc_kernels *kernels;
    int64_t rows, rows_per_item; /* of contiguous elements */
    int64_t outer, inner;
    const float *dy, *x; /* x: the result y, in the backward pass */
    float *y;
    float *scratch; /* one a thread */
    int64_t scratch_size;
} softmax_task;

static bool beyond_caches(int64_t size, int arrays) {
    return size * (arrays + 1) * (int64_t)sizeof(float) >= SOFTMAX_STREAM_BYTES;
}

/* Floats of scratch a thread: neighbours' columns side by side, or a row's exponentials where results go past the
 * caches. */
static int64_t scratch_size(int64_t outer, int64_t columns, int64_t inner, int arrays) {
    const int64_t size = outer * columns * inner;
    if (size == 0) return 0;
    if (inner > 1) {
        /* Gradients read little more than twice what they write: where columns are near, copies would cost half as
         * much. */
        if (arrays > 1 && inner < SOFTMAX_PAGE) return 0;
        const int64_t floats = columns * softmax_width(columns, inner, arrays) * arrays;
        return floats <= SOFTMAX_SCRATCH ? floats : 0;
    }
    if (arrays > 1 || columns <= FC_SOFTMAX_SHORT || columns > SOFTMAX_SCRATCH) return 0;
    if (!beyond_caches(size, arrays)) return 0;
    return fc_round_up(columns, SOFTMAX_VECTOR);
}

int64_t fc_softmax_workspace_bytes(bool backward, int64_t outer, int64_t columns, int64_t inner,
                                   const fc_context *ctx) {
    return ctx->num_threads * scratch_size(outer, columns, inner, backward ? 2 : 1) * (int64_t)sizeof(float);
}

static void run_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const softmax_task *t = arg;
    const int64_t first = begin * t->rows_per_item, rows = fc_min(end * t->rows_per_item, t->rows) - first;
    const int64_t at = first * t->softmax.columns;
    fc_softmax s = t->softmax;
    s.scratch = t->scratch + thread * t->scratch_size;
    if (t->dy) t->kernels->softmax_backward_rows(&s, rows, t->dy + at, t->x + at, t->y + at);
    else t->kernels->softmax_rows(&s, rows, t->x + at, t->y + at);
}

static void run_strided(void *arg, int64_t begin, int64_t end, int thread) {
    const softmax_task *t = arg;
    fc_softmax s = t->softmax;
    const int64_t blocks = fc_ceil_div(t->inner, s.width);
    s.scratch = t->scratch_size ? t->scratch + thread * t->scratch_size : NULL;
    for (int64_t item = begin; item < end; item++) {
        const int64_t i = item % blocks * s.width, at = item / blocks * s.columns * t->inner + i;
        const int64_t positions = fc_min(s.width, t->inner - i);
        if (t->dy) t->kernels->softmax_backward_strided(&s, positions, t->dy + at, t->x + at, t->y + at);
        else t->kernels->softmax_strided(&s, positions, t->x + at, t->y + at);
    }
}

static void run(softmax_task *t, void *workspace, const fc_context *ctx) {
    const int64_t columns = t->softmax.columns, size = t->outer * columns * t->inner;
    const int64_t short_columns = t->dy ? FC_GRADIENT_SHORT : FC_SOFTMAX_SHORT;
    const int arrays = t->dy ? 2 : 1;
    if (size == 0) return;
    t->kernels = ctx->kernels;
    t->softmax.step = t->inner;
    t->scratch = workspace;
    t->scratch_size = scratch_size(t->outer, columns, t->inner, arrays);
    t->softmax.stream = beyond_caches(size, arrays) && t->y != t->x && t->y != t->dy;
    /* An exponential takes as long as about 16 bytes of memory traffic. */
    const int threads = fc_threads_for_memory(size * 16, ctx);
    if (t->inner > 1) {
        t->softmax.width = t->scratch_size ? softmax_width(columns, t->inner, arrays) : FC_SOFTMAX_WIDEST;
        t->softmax.stream = t->softmax.stream && t->scratch_size > 0;
        fc_parallel(t->outer * fc_ceil_div(t->inner, t->softmax.width), threads, run_strided, t);
        return;
    }
    t->rows = t->outer;
    t->rows_per_item = softmax_rows_per_item(columns, short_columns);
    t->softmax.stream = t->softmax.stream && (t->dy || t->scratch_size > 0);
    fc_parallel(fc_ceil_div(t->rows, t->rows_per_item), threads, run_rows, t);
}

void fc_softmax_forward(bool log, int64_t outer, int64_t columns, int64_t inner, const float *x, float *y,
                        void *workspace, const fc_context *ctx) {
    softmax_task t = {.softmax = {.log = log, .columns = columns}, .outer = outer, .inner = inner, .x = x, .y = y};
    run(&t, workspace, ctx);
}

void fc_softmax_backward(bool log, int64_t outer, int64_t columns, int64_t inner, const float *dy, const float *y,
                         float *dx, void *workspace, const fc_context *ctx) {
    softmax_task t = {
        .softmax = {.log = log, .columns = columns}, .outer = outer, .inner = inner, .dy = dy, .x = y, .y = dx};
    run(&t, workspace, ctx);
}
