/* elementwise.c - y = a op b with broadcasting, and the sums of its backward pass.
 *
 * Sizes are those of the result in memory order, of which each operand has some axes and repeats along the others; adjacent
 * axes that are alike have been made one. The last axis is a row, the one before it the rows of a micro-kernel's call.
 */
#include "kernels/kernels.h"
#include "parallel.h"

/* An item is about so many elements: what stays in an L1 of 32 KB until the activation, or any number. */
enum { ACTIVATED_CHUNK = 2048, CHUNK = 16384 };

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

/* Rows that are this short and share those of b are taken several at a time, b as often in a row of up to PATTERN floats:
 * 64 k elements in rows of 3 take 2 us instead of 43, in rows of 16 2 instead of 7, in rows of 64 2.1 instead of 2.8. */
enum { SHORT_ROW = 256, PATTERN = 1024 };

static void run_short_rows(const fc_kernels *kernels, const fc_elementwise_rows *r) {
    float pattern[PATTERN];
    int64_t copies = fc_min(PATTERN / r->size, r->rows / 4);
    if (copies > 16) copies = copies / 16 * 16; /* whole cache lines */
    if (copies < 2) {
        kernels->elementwise_rows(r);
        return;
    }
    memcpy(pattern, r->b, (size_t)r->size * sizeof(float));
    for (int64_t have = 1; have < copies; have *= 2)
        memcpy(pattern + have * r->size, pattern, (size_t)(fc_min(have, copies - have) * r->size) * sizeof(float));
    fc_elementwise_rows whole = *r, rest = *r;
    const int64_t done = r->rows / copies * copies * r->size;
    whole.rows = r->rows / copies, whole.size = copies * r->size, whole.a_row = whole.size, whole.b = pattern;
    kernels->elementwise_rows(&whole);
    rest.rows = 1, rest.size = r->rows % copies * r->size, rest.b = pattern;
    rest.a = r->a + done, rest.gate = r->gate + done, rest.y = r->y + done;
    if (rest.size) kernels->elementwise_rows(&rest);
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
        if (r.size < SHORT_ROW && r.b_row == 0 && r.a_row == r.size && !r.single)
            run_short_rows(t->kernels, &r);
        else
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
    t.stream = plain && y != a && y != b && count * (int64_t)sizeof(float) >= FC_STREAM_BYTES;
    fc_parallel(e->size[0] * e->size[1] * t.row_blocks * t.pieces, fc_threads_for_memory(bytes, ctx), run_items, &t);
}

/* ---------------------------------------------------------------------------------------------------------- sums */

/* Rows of a chunk: a float32 sum of so many is off by 2 units or so in the last place. No more chunks than MAX_CHUNKS, whose
 * sums are the workspace. */
enum { CHUNK_ROWS = 128, MAX_CHUNKS = 4096 };
/* Where rows are this short, FOLD of them count as one, whose sums are added up. */
enum { NARROW = 32, FOLD = 16 };
/* Elements of a chunk of a row. */
enum { CHUNK_COLUMNS = 8192 };

typedef struct sums_task {
    fc_sum_kind kind;
    const fc_kernels *kernels;
    int64_t outer, rows, columns, chunk, chunks; /* chunk: rows, or columns of the sums of rows */
    const float *dy, *x;
    float *partial, *sums;
} sums_task;

static int64_t chunk_rows(int64_t rows, int64_t columns) {
    return fc_max(columns <= NARROW ? CHUNK_ROWS * FOLD : CHUNK_ROWS, fc_ceil_div(rows, MAX_CHUNKS));
}

int64_t fc_column_sums_workspace_bytes(int64_t outer, int64_t rows, int64_t columns, const fc_context *ctx) {
    (void)ctx;
    return outer * fc_ceil_div(rows, chunk_rows(rows, columns)) * columns * (int64_t)sizeof(float);
}

static void sum_rows(const sums_task *t, int64_t rows, const float *dy, const float *x, float *sums) {
    const int64_t columns = t->columns, whole = rows / FOLD, done = whole * FOLD * columns;
    float wide[FOLD * NARROW];
    if (columns > NARROW || whole < 2) {
        t->kernels->column_sums(t->kind, rows, columns, dy, x, sums);
        return;
    }
    t->kernels->column_sums(t->kind, whole, FOLD * columns, dy, x, wide);
    t->kernels->column_sums(t->kind, rows % FOLD, columns, dy + done, x + done, sums);
    for (int64_t i = 0; i < FOLD; i++)
        for (int64_t j = 0; j < columns; j++) sums[j] += wide[i * columns + j];
}

/* Item: a chunk of rows of one outer index. */
static void sum_row_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const sums_task *t = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item % t->chunks * t->chunk, at = (item / t->chunks * t->rows + row) * t->columns;
        sum_rows(t, fc_min(t->chunk, t->rows - row), t->dy + at, t->x + at, t->partial + item * t->columns);
    }
}

/* Columns whose chunks are added up side by side: one at a time waits for every addition. */
enum { COLUMN_BLOCK = 64 };

/* Item: a block of columns of one outer index; chunks in order. */
static void combine_row_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const sums_task *t = arg;
    const int64_t blocks = fc_ceil_div(t->columns, COLUMN_BLOCK);
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t outer = item / blocks, first = item % blocks * COLUMN_BLOCK;
        const int64_t count = fc_min(COLUMN_BLOCK, t->columns - first);
        const float *partial = t->partial + outer * t->chunks * t->columns + first;
        float *sums = t->sums + outer * t->columns + first;
        double sum[COLUMN_BLOCK] = {0.0};
        for (int64_t i = 0; i < t->chunks; i++)
            for (int64_t j = 0; j < count; j++) sum[j] += partial[i * t->columns + j];
        for (int64_t j = 0; j < count; j++) sums[j] = (float)sum[j];
    }
}

void fc_column_sums(fc_sum_kind kind, int64_t outer, int64_t rows, int64_t columns, const float *dy, const float *x,
                    float *sums, void *workspace, const fc_context *ctx) {
    const int threads = fc_threads_for_memory(2 * outer * rows * columns * (int64_t)sizeof(float), ctx);
    sums_task t = {.kind = kind, .kernels = ctx->kernels, .outer = outer, .rows = rows, .columns = columns,
                   .chunk = chunk_rows(rows, columns), .dy = dy, .x = x ? x : dy, .partial = workspace, .sums = sums};
    t.chunks = fc_ceil_div(rows, t.chunk);
    fc_parallel(outer * t.chunks, threads, sum_row_chunks, &t);
    fc_parallel(outer * fc_ceil_div(columns, COLUMN_BLOCK), threads, combine_row_chunks, &t);
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
