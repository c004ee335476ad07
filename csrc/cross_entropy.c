/* cross_entropy.c - softmax cross-entropy over one axis of logits (outer, classes, inner) and its gradient. Items have fixed
 * sizes and their losses are added in order: the sum does not depend on the number of threads. */
#include "kernels/kernels.h"
#include "parallel.h"
#include "softmax.h"

typedef struct entropy_task {
    fc_cross_entropy kernel;
    const fc_kernels *kernels;
    int64_t outer, inner, rows_per_item;
    const float *x;
    const int64_t *labels;
    float *y;
    double *losses; /* one an item */
    float *scratch; /* one a thread */
    int64_t scratch_size;
} entropy_task;

static int64_t scratch_size(int64_t classes, int64_t inner) {
    if (inner > 1) return classes * softmax_width(classes, inner, 1);
    return classes > FC_SOFTMAX_SHORT && classes <= SOFTMAX_SCRATCH ? fc_round_up(classes, SOFTMAX_VECTOR) : 0;
}

static int64_t item_count(int64_t outer, int64_t classes, int64_t inner) {
    if (inner > 1) return outer * fc_ceil_div(inner, softmax_width(classes, inner, 1));
    return fc_ceil_div(outer, softmax_rows_per_item(classes, FC_SOFTMAX_SHORT));
}

int64_t fc_cross_entropy_workspace_bytes(int64_t outer, int64_t classes, int64_t inner, const fc_context *ctx) {
    if (outer == 0 || classes == 0 || inner == 0) return 0;
    const int64_t losses = fc_round_up(item_count(outer, classes, inner) * (int64_t)sizeof(double), FC_ALIGNMENT);
    return losses + ctx->num_threads * scratch_size(classes, inner) * (int64_t)sizeof(float);
}

int64_t fc_cross_entropy_divisor(int64_t count, int64_t classes, const int64_t *labels, const float *weight,
                                 int64_t ignore_index, double *divisor) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t label = labels[i];
        if (label == ignore_index) continue;
        if (label < 0 || label >= classes) return i;
        sum += weight ? (double)weight[label] : 1.0;
    }
    *divisor = sum;
    return -1;
}

static void run_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const entropy_task *t = arg;
    fc_cross_entropy s = t->kernel;
    s.scratch = t->scratch + thread * t->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item * t->rows_per_item, rows = fc_min(t->rows_per_item, t->outer - first);
        const int64_t at = first * s.classes;
        t->kernels->cross_entropy_rows(&s, rows, t->x + at, t->labels + first, t->y + at, t->losses + item);
    }
}

static void run_strided(void *arg, int64_t begin, int64_t end, int thread) {
    const entropy_task *t = arg;
    fc_cross_entropy s = t->kernel;
    const int64_t blocks = fc_ceil_div(t->inner, s.width);
    s.scratch = t->scratch + thread * t->scratch_size;
    for (int64_t item = begin; item < end; item++) {
        const int64_t i = item % blocks * s.width, outer = item / blocks, at = outer * s.classes * t->inner + i;
        const int64_t *labels = t->labels + outer * t->inner + i;
        const int64_t positions = fc_min(s.width, t->inner - i);
        t->kernels->cross_entropy_strided(&s, positions, t->x + at, labels, t->y + at, t->losses + item);
    }
}

double fc_cross_entropy_run(int64_t outer, int64_t classes, int64_t inner, const float *x, const int64_t *labels,
                            const float *weight, float smoothing, float scale, int64_t ignore_index, float *gradient,
                            void *workspace, const fc_context *ctx) {
    const int64_t size = outer * classes * inner;
    if (size == 0) return 0.0;
    const int64_t items = item_count(outer, classes, inner);
    fc_arena arena = {workspace};
    entropy_task t = {.outer = outer, .inner = inner, .x = x, .labels = labels, .y = gradient, .kernels = ctx->kernels};
    t.kernel = (fc_cross_entropy){.classes = classes, .step = inner, .weight = weight, .smoothing = smoothing,
                                  .scale = scale, .ignore_index = ignore_index};
    t.losses = fc_take(&arena, items * (int64_t)sizeof(double));
    t.scratch = (float *)arena.next;
    t.scratch_size = scratch_size(classes, inner);
    t.kernel.stream = t.scratch_size > 0 && x != gradient && 2 * size * (int64_t)sizeof(float) >= SOFTMAX_STREAM_BYTES;
    if (inner > 1) t.kernel.width = softmax_width(classes, inner, 1);
    else t.rows_per_item = softmax_rows_per_item(classes, FC_SOFTMAX_SHORT);
    double weights = 0.0, loss = 0.0;
    for (int64_t c = 0; c < classes; c++) weights += weight ? (double)weight[c] : 1.0;
    t.kernel.weight_sum = (float)weights;
    fc_parallel(items, fc_threads_for_memory(size * 16, ctx), inner > 1 ? run_strided : run_rows, &t);
    for (int64_t i = 0; i < items; i++) loss += t.losses[i];
    return loss;
}
