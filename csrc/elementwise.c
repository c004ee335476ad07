/* elementwise.c - y = a op b with broadcasting, and the sums of its backward pass.
 *
 * Sizes are those of the result in memory order, of which each operand has some axes and repeats along the others; adjacent
 * axes that are alike have been made one. The last axis is a row, the one before it the rows of a micro-kernel's call.
 */
#include "kernels/kernels.h"
#include "parallel.h"

/* An item is about so many elements: what stays in an L1 of 32 KB until the activation, or any number. */
enum { ACTIVATED_CHUNK = 2048, CHUNK = 16384 };
/* From this size on results are stored past the caches, which then need not be filled with what is overwritten: a sum of two
 * arrays of 16 MB comes at 86 GB/s instead of 64, of 64 MB at 67 instead of 47 (L3 of 32 MB). With the next op on the result,
 * which it then has to fetch from memory, both together take 1.04 ms instead of 1.20 at 16 MB, but 0.74 instead of 0.71 at
 * 12 MB and 0.44 instead of 0.32 at 8 MB. */
enum { STREAM_BYTES = 16 * 1024 * 1024 };

typedef struct elementwise_task {
    const fc_elementwise *e;
    const fc_kernels *kernels;
    int64_t a_step[FC_ELEMENTWISE_AXES], b_step[FC_ELEMENTWISE_AXES];
    int64_t chunk, rows_per_item, row_blocks, pieces;
    bool stream;
    const float *a, *b, *gate;
    float *y;
} elementwise_task;

/* Elements from one index of each axis to the next, 0 where the operand repeats. */
static void find_steps(const fc_elementwise *e, const bool *has, int64_t *step) {
    int64_t next = 1;
    for (int axis = FC_ELEMENTWISE_AXES - 1; axis >= 0; axis--) {
        step[axis] = has[axis] ? next : 0;
        if (has[axis]) next *= e->size[axis];
    }
}

static int64_t element_count(const fc_elementwise *e) {
    int64_t count = 1;
    for (int axis = 0; axis < FC_ELEMENTWISE_AXES; axis++) count *= e->size[axis];
    return count;
}

/* Item: rows of one index of the first two axes, or a piece of a row. */
static void run_items(void *arg, int64_t begin, int64_t end, int thread) {
    const elementwise_task *t = arg;
    const fc_elementwise *e = t->e;
    const int64_t columns = e->size[3];
    fc_elementwise_rows r = {.op = e->op, .stream = t->stream, .a_row = t->a_step[2], .b_row = t->b_step[2],
                             .single = t->b_step[3] == 0};
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t piece = item % t->pieces, block = item / t->pieces % t->row_blocks;
        const int64_t outer = item / t->pieces / t->row_blocks, i = outer / e->size[1], j = outer % e->size[1];
        const int64_t row = block * t->rows_per_item, column = piece * t->chunk;
        r.rows = fc_min(t->rows_per_item, e->size[2] - row);
        r.size = t->pieces > 1 ? fc_min(t->chunk, columns - column) : columns;
        const int64_t a_at = i * t->a_step[0] + j * t->a_step[1] + row * t->a_step[2] + column;
        r.a = t->a + a_at;
        r.gate = t->gate + a_at;
        r.b = t->b + i * t->b_step[0] + j * t->b_step[1] + row * t->b_step[2] + column * t->b_step[3];
        r.y = t->y + (outer * e->size[2] + row) * columns + column;
        t->kernels->elementwise_rows(&r);
        if (e->activation.kind != FC_IDENTITY) t->kernels->activation_row(e->activation, r.rows * r.size, r.y, r.y);
    }
}

void fc_elementwise_forward(const fc_elementwise *e, const float *a, const float *b, const float *gate, float *y,
                            const fc_context *ctx) {
    const int64_t count = element_count(e), bytes = 12 * count;
    elementwise_task t = {.e = e, .kernels = ctx->kernels, .a = a, .b = b, .gate = gate ? gate : a, .y = y};
    if (count == 0) return;
    find_steps(e, e->a_has, t.a_step);
    find_steps(e, e->b_has, t.b_step);
    if (t.a_step[3] == 0 && e->size[3] > 1) { /* a sum or product: its operands may change places */
        find_steps(e, e->b_has, t.a_step);
        find_steps(e, e->a_has, t.b_step);
        t.a = b, t.b = a;
    }
    const bool plain = e->activation.kind == FC_IDENTITY;
    t.chunk = plain ? CHUNK : ACTIVATED_CHUNK;
    t.pieces = fc_ceil_div(e->size[3], t.chunk);
    t.rows_per_item = t.pieces > 1 ? 1 : fc_max(1, t.chunk / e->size[3]);
    t.row_blocks = fc_ceil_div(e->size[2], t.rows_per_item);
    t.stream = plain && y != a && y != b && count * (int64_t)sizeof(float) >= STREAM_BYTES;
    fc_parallel(e->size[0] * e->size[1] * t.row_blocks * t.pieces, fc_threads_for_memory(bytes, ctx), run_items, &t);
}

/* ---------------------------------------------------------------------------------------------------------- sums */

/* Rows of a chunk: a float32 sum of so many is off by 2 units or so in the last place. No more chunks than MAX_CHUNKS, whose
 * sums are the workspace. */
enum { CHUNK_ROWS = 128, MAX_CHUNKS = 4096 };
/* Elements of a chunk of a row. */
enum { CHUNK_COLUMNS = 8192 };

typedef struct sums_task {
    fc_sum_kind kind;
    const fc_kernels *kernels;
    int64_t outer, rows, columns, chunk, chunks; /* chunk: rows, or columns of the sums of rows */
    const float *dy, *x;
    float *partial, *sums;
} sums_task;

static int64_t chunk_rows(int64_t rows) { return fc_max(CHUNK_ROWS, fc_ceil_div(rows, MAX_CHUNKS)); }

int64_t fc_column_sums_workspace_bytes(int64_t outer, int64_t rows, int64_t columns, const fc_context *ctx) {
    (void)ctx;
    return outer * fc_ceil_div(rows, chunk_rows(rows)) * columns * (int64_t)sizeof(float);
}

/* Item: a chunk of rows of one outer index. */
static void sum_row_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const sums_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item % t->chunks * t->chunk, at = (item / t->chunks * t->rows + row) * t->columns;
        t->kernels->column_sums(t->kind, fc_min(t->chunk, t->rows - row), t->columns, t->dy + at, t->x + at,
                                t->partial + item * t->columns);
    }
}

/* Item: a column of one outer index; its chunks in order. */
static void combine_row_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const sums_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const float *partial = t->partial + item / t->columns * t->chunks * t->columns + item % t->columns;
        double sum = 0.0;
        for (int64_t i = 0; i < t->chunks; i++) sum += partial[i * t->columns];
        t->sums[item] = (float)sum;
    }
}

void fc_column_sums(fc_sum_kind kind, int64_t outer, int64_t rows, int64_t columns, const float *dy, const float *x,
                    float *sums, void *workspace, const fc_context *ctx) {
    const int threads = fc_threads_for_memory(2 * outer * rows * columns * (int64_t)sizeof(float), ctx);
    sums_task t = {.kind = kind, .kernels = ctx->kernels, .outer = outer, .rows = rows, .columns = columns,
                   .chunk = chunk_rows(rows), .dy = dy, .x = x ? x : dy, .partial = workspace, .sums = sums};
    t.chunks = fc_ceil_div(rows, t.chunk);
    fc_parallel(outer * t.chunks, threads, sum_row_chunks, &t);
    fc_parallel(outer * columns, threads, combine_row_chunks, &t);
}

int64_t fc_row_sums_workspace_bytes(int64_t rows, int64_t columns, const fc_context *ctx) {
    (void)ctx;
    return rows * fc_ceil_div(columns, CHUNK_COLUMNS) * (int64_t)sizeof(float);
}

/* Item: a chunk of a row. */
static void sum_column_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const sums_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t column = item % t->chunks * CHUNK_COLUMNS, at = item / t->chunks * t->columns + column;
        t->kernels->row_sum(t->kind, fc_min(CHUNK_COLUMNS, t->columns - column), t->dy + at, t->x + at, t->partial + item);
    }
}

void fc_row_sums(fc_sum_kind kind, int64_t rows, int64_t columns, const float *dy, const float *x, float *sums,
                 void *workspace, const fc_context *ctx) {
    const int threads = fc_threads_for_memory(2 * rows * columns * (int64_t)sizeof(float), ctx);
    sums_task t = {.kind = kind, .kernels = ctx->kernels, .outer = rows, .columns = 1, .dy = dy, .x = x ? x : dy,
                   .partial = workspace, .sums = sums, .chunks = fc_ceil_div(columns, CHUNK_COLUMNS)};
    sums_task pieces = t;
    pieces.columns = columns;
    fc_parallel(rows * t.chunks, threads, sum_column_chunks, &pieces);
    fc_parallel(rows, threads, combine_row_chunks, &t);
}
