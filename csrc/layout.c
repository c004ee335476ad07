/* layout.c - (batch, rows, columns) -> (batch, columns, rows): between NCHW and NHWC.
 *
 * Blocks of 64 x 64 (16 KB read, 16 KB written) stay in L1 with their 128 pages in the TLB. The shorter side is the inner
 * loop of the blocks, so that the operand whose lines it makes up is walked in order.
 */
#include "kernels/kernels.h"
#include "parallel.h"

/* A side of up to 8 is not worth blocks of 64 of the other. */
enum { BLOCK = 64, NARROW = 8, LONG_BLOCK = 1024 };

typedef struct transpose_task {
    const fc_context *ctx;
    int64_t rows, columns, row_block, column_block, row_blocks, column_blocks;
    const float *x;
    float *y;
} transpose_task;

static void transpose_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const transpose_task *t = arg;
    const int64_t blocks = t->row_blocks * t->column_blocks, plane = t->rows * t->columns;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = item / blocks, block = item % blocks;
        const bool rows_inside = t->row_blocks <= t->column_blocks;
        const int64_t i = t->row_block * (rows_inside ? block % t->row_blocks : block / t->column_blocks);
        const int64_t j = t->column_block * (rows_inside ? block / t->row_blocks : block % t->column_blocks);
        t->ctx->kernels->transpose_block(fc_min(t->row_block, t->rows - i), fc_min(t->column_block, t->columns - j),
                                         t->x + b * plane + i * t->columns + j, t->columns,
                                         t->y + b * plane + j * t->rows + i, t->rows);
    }
}

/* One row or one column: the same memory. */
typedef struct copy_task { const float *x; float *y; int64_t size; } copy_task;
enum { COPY_FLOATS = 16384 };

static void copy_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const copy_task *t = arg;
    const int64_t from = begin * COPY_FLOATS, to = fc_min(end * COPY_FLOATS, t->size);
    (void)thread;
    memcpy(t->y + from, t->x + from, (size_t)(to - from) * sizeof(float));
}

void fc_transpose(int64_t batch, int64_t rows, int64_t columns, const float *x, float *y, const fc_context *ctx) {
    const int64_t size = batch * rows * columns;
    const int threads = fc_threads_for_memory(2 * size * (int64_t)sizeof(float), ctx);
    if (size == 0) return;
    if (rows == 1 || columns == 1) {
        copy_task copy = {x, y, size};
        fc_parallel(fc_ceil_div(size, COPY_FLOATS), threads, copy_blocks, &copy);
        return;
    }
    transpose_task t = {.ctx = ctx, .rows = rows, .columns = columns, .x = x, .y = y};
    t.row_block = columns <= NARROW ? LONG_BLOCK : BLOCK;
    t.column_block = rows <= NARROW ? LONG_BLOCK : BLOCK;
    t.row_blocks = fc_ceil_div(rows, t.row_block);
    t.column_blocks = fc_ceil_div(columns, t.column_block);
    fc_parallel(batch * t.row_blocks * t.column_blocks, threads, transpose_blocks, &t);
}
