/* embedding.c - the gradient in a table of rows: those of dy, added up by id in the order in which they come. Threads
 * own columns, a cache line at a time: sums do not depend on their number, and no id is more work than another. */
#include "kernels/kernels.h"
#include "parallel.h"

enum { LINE = FC_ALIGNMENT / sizeof(float) };

typedef struct embedding_task {
    const fc_kernels *kernels;
    int64_t count, columns, rows;
    const int64_t *ids;
    const float *dy;
    float *dweight;
} embedding_task;

static void run_columns(void *arg, int64_t begin, int64_t end, int thread) {
    const embedding_task *t = arg;
    const int64_t first = begin * LINE, columns = fc_min(end * LINE, t->columns) - first;
    (void)thread;
    if (columns == t->columns) memset(t->dweight, 0, (size_t)(t->rows * columns) * sizeof(float));
    else
        for (int64_t row = 0; row < t->rows; row++)
            memset(t->dweight + row * t->columns + first, 0, (size_t)columns * sizeof(float));
    t->kernels->add_rows_at(t->count, columns, t->ids, t->dy + first, t->dweight + first, t->columns);
}

void fc_embedding_backward(int64_t count, int64_t columns, int64_t rows, const int64_t *ids, const float *dy,
                           float *dweight, const fc_context *ctx) {
    embedding_task t = {ctx->kernels, count, columns, rows, ids, dy, dweight};
    const int64_t bytes = (rows + 3 * count) * columns * (int64_t)sizeof(float);
    fc_parallel(fc_ceil_div(columns, LINE), fc_threads_for_memory(bytes, ctx), run_columns, &t);
}
