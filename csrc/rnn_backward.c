/* rnn_backward.c - the backward pass of the recurrent layers. See rnn.c for the scheme.
 *
 * The time loop goes backwards and makes the gradients of the gates before activation and, by the product with
 * weight_hh, of the state before. Everything else is a GEMM over the rows of a chunk of steps; gradients of weights and
 * biases add up chunk by chunk (the chunks do not depend on the threads).
 */
#include "rnn.h"

/* A row of dgates holds [gate][hidden]; GRU's n has two: its hidden half third, its input half fourth. */
typedef struct backward_task {
    const fc_rnn *rnn;
    const fc_context *ctx;
    const float *panels, *reserve;
    fc_rnn_rows dy, y, h, c; /* dy, y: (steps * batch) rows; h, c: initial states */
    float *dgates;
    int64_t dgates_stride, dgates_time; /* dgates_time: that of the first row */
    float *dh, *dc;                     /* running; the results in the end */
    float *first;                       /* rows of dgates at first steps other than 0, else of zeros; or NULL */
    int64_t begin, end;                 /* the chunk of steps */
} backward_task;

static float *dgates_row(const backward_task *t, int64_t time, int64_t row) {
    return t->dgates + ((time - t->dgates_time) * t->rnn->batch + row) * t->dgates_stride;
}

static const float *time_row(const backward_task *t, fc_rnn_rows rows, int64_t time, int64_t row) {
    return rows.first + (time * t->rnn->batch + row) * rows.stride;
}

/* The gates' gradients of one row and some units, and what reaches the state before without a product. */
static void backward_row(const backward_task *t, int64_t step, int64_t row, int64_t unit, int64_t units) {
    const fc_rnn *rnn = t->rnn;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t hidden = rnn->hidden, time = fc_rnn_time(rnn, step);
    const fc_rnn_rows reserve = {t->reserve, fc_rnn_reserve_size(rnn)};
    const bool first = step == fc_rnn_first_step(rnn, row);
    const float *dy = time_row(t, t->dy, time, row) + unit, *y = time_row(t, t->y, time, row) + unit;
    float *dh = t->dh + row * hidden + unit, *dgates = dgates_row(t, time, row) + unit;
    if (fc_rnn_is_plain(rnn)) {
        kernels->rnn_backward_row(rnn->kind == FC_RNN_RELU, units, y, dy, dh, dgates);
        return;
    }
    const float *gates = time_row(t, reserve, time, row) + unit;
    if (rnn->kind == FC_LSTM) {
        const float *c = first ? t->c.first + row * t->c.stride
                               : time_row(t, reserve, fc_rnn_time(rnn, step - 1), row) + 4 * hidden;
        kernels->lstm_backward_row(units, hidden, gates, c + unit, dy, dh, t->dc + row * hidden + unit, dgates);
    } else {
        const float *h = first ? t->h.first + row * t->h.stride
                               : time_row(t, t->y, fc_rnn_time(rnn, step - 1), row);
        kernels->gru_backward_row(units, hidden, gates, h + unit, dy, dh, dgates);
    }
}

/* Past a sequence's end. */
static void clear_row(const backward_task *t, int64_t step, int64_t row, int64_t unit, int64_t units) {
    const int64_t hidden = t->rnn->hidden;
    float *dgates = dgates_row(t, fc_rnn_time(t->rnn, step), row) + unit;
    for (int64_t at = 0; at < t->dgates_stride; at += hidden) memset(dgates + at, 0, (size_t)units * sizeof(float));
}

/* One or two rows times the panels of some blocks, of which the first has the unit `unit`. */
static void multiply_few(int64_t rows, int blocks, int64_t depth, const float *const *dgates, const float *panel,
                         float beta, float *const *dh, int64_t unit, int64_t hidden, const fc_context *ctx) {
    const int64_t columns = ctx->kernels->tile_columns;
    fc_rnn_products products = {.rows = (int)rows, .panels = blocks, .depth = depth, .panel_step = depth * columns,
                                .panel = panel};
    for (int64_t i = 0; i < rows; i++) products.x[i] = dgates[i], products.y[i] = dh[i];
    for (int k = 0; k < blocks; k++, unit += columns) {
        products.y_offset[k] = unit;
        products.width[k] = fc_min(columns, hidden - unit);
        products.beta[k] = beta;
    }
    fc_rnn_multiply_few(products, ctx);
}

/* Index 0 is the chunk's last step. The product of a step's gates is made at the head of the next call, where the state
 * that it makes is used: index `end - begin` makes the last product alone. */
static void backward_step(void *arg, int64_t index, int64_t row, int64_t row_end, int64_t block, int64_t block_end) {
    const backward_task *t = arg;
    const fc_rnn *rnn = t->rnn;
    const int64_t hidden = rnn->hidden, columns = t->ctx->kernels->tile_columns;
    const int64_t step = t->end - 1 - index, depth = fc_rnn_gates(rnn->kind) * hidden;
    const float *dgates[FC_RNN_STRIP_ROWS];
    float *dh[FC_RNN_STRIP_ROWS];
    int64_t at[FC_RNN_STRIP_ROWS];
    const int64_t rows = index == 0 ? 0 : fc_rnn_rows_with_step(rnn, step + 1, row, row_end, at);
    for (int64_t i = 0; i < rows; i++) {
        dh[i] = t->dh + at[i] * hidden;
        dgates[i] = dgates_row(t, fc_rnn_time(rnn, step + 1), at[i]);
    }
    const bool few = rows <= FC_RNN_FEW_ROWS;
    for (int64_t blocks; block < block_end; block += blocks) {
        blocks = few ? fc_min(FC_RNN_PANELS, block_end - block) : 1;
        const int64_t unit = block * columns, units = fc_min(blocks * columns, hidden - unit);
        const float *panel = t->panels + block * depth * columns;
        const float beta = rnn->kind == FC_GRU ? 1.0f : 0.0f;
        if (rows > 0 && few) multiply_few(rows, (int)blocks, depth, dgates, panel, beta, dh, unit, hidden, t->ctx);
        else if (rows > 0) fc_rnn_multiply(rows, units, depth, dgates, panel, NULL, beta, dh, unit, t->ctx);
        if (step < t->begin) continue;
        for (int64_t i = row; i < row_end; i++) {
            if (fc_rnn_has_step(rnn, i, step)) backward_row(t, step, i, unit, units);
            else clear_row(t, step, i, unit, units);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- products of a chunk */

/* The columns of dgates that belong to rows of weight_ih: all as they stand, but for GRU's n. */
typedef struct input_part { int64_t column, width, weight_row; } input_part;

static int input_parts(const fc_rnn *rnn, input_part parts[2]) {
    const int64_t hidden = rnn->hidden;
    parts[0] = (input_part){0, fc_rnn_gates(rnn->kind) * hidden, 0};
    if (rnn->kind != FC_GRU) return 1;
    parts[0].width = 2 * hidden;
    parts[1] = (input_part){3 * hidden, hidden, 2 * hidden};
    return 2;
}

static int64_t dgates_stride(const fc_rnn *rnn) {
    return (rnn->kind == FC_GRU ? 4 : fc_rnn_gates(rnn->kind)) * rnn->hidden;
}

typedef struct gradients { float *dx, *dweight_ih, *dweight_hh, *dbias_ih, *dbias_hh; } gradients;

/* dweight (width, n) += dgates.T @ right, over `rows` rows */
static void add_weight_gradient(const backward_task *t, int64_t rows, int64_t width, int64_t n, const float *dgates,
                                fc_rnn_rows right, float *dweight, void *workspace) {
    fc_gemm gemm = fc_rnn_gemm(width, n, rows);
    gemm.transpose_a = true;
    gemm.a_stride = t->dgates_stride;
    gemm.b_stride = right.stride;
    gemm.beta = 1.0f;
    fc_gemm_run(&gemm, dgates, right.first, NULL, dweight, workspace, t->ctx);
}

/* dbias (width) += column sums */
static void add_bias_gradient(const backward_task *t, int64_t rows, int64_t width, const float *dgates,
                              const float *ones, float *dbias, void *workspace) {
    fc_gemm gemm = fc_rnn_gemm(1, width, rows);
    gemm.b_stride = t->dgates_stride;
    gemm.beta = 1.0f;
    fc_gemm_run(&gemm, ones, dgates, NULL, dbias, workspace, t->ctx);
}

static void add_input_gradients(const backward_task *t, const float *x, const float *weight_ih, const float *ones,
                                const gradients *to, void *workspace) {
    const fc_rnn *rnn = t->rnn;
    const int64_t rows = (t->end - t->begin) * rnn->batch, input = rnn->input;
    const int64_t first = fc_rnn_first_time(rnn, t->begin, t->end) * rnn->batch * input;
    input_part parts[2];
    const int count = input_parts(rnn, parts);
    for (int i = 0; i < count; i++) {
        const float *dgates = t->dgates + parts[i].column;
        fc_gemm gemm = fc_rnn_gemm(rows, input, parts[i].width);
        gemm.a_stride = t->dgates_stride;
        gemm.beta = i == 0 ? 0.0f : 1.0f;
        fc_gemm_run(&gemm, dgates, weight_ih + parts[i].weight_row * input, NULL, to->dx + first, workspace, t->ctx);
        add_weight_gradient(t, rows, parts[i].width, input, dgates, (fc_rnn_rows){x + first, input},
                            to->dweight_ih + parts[i].weight_row * input, workspace);
        if (to->dbias_ih)
            add_bias_gradient(t, rows, parts[i].width, dgates, ones, to->dbias_ih + parts[i].weight_row, workspace);
    }
}

/* The state before step 0 is h, before the others y one step back: two products rather than a copy. */
static void add_hidden_gradients(const backward_task *t, const float *ones, const gradients *to, void *workspace) {
    const fc_rnn *rnn = t->rnn;
    const int64_t batch = rnn->batch, hidden = rnn->hidden, width = fc_rnn_gates(rnn->kind) * hidden;
    const int64_t begin = fc_max(t->begin, 1), steps = t->end - begin;
    if (t->begin == 0 && t->h.stride != 0) { /* a stride of 0 stands for states of zeros */
        const float *dgates = dgates_row(t, fc_rnn_time(rnn, 0), 0);
        add_weight_gradient(t, batch, width, hidden, dgates, t->h, to->dweight_hh, workspace);
    }
    if (steps > 0) {
        const int64_t time = fc_rnn_first_time(rnn, begin, t->end), before = time + (rnn->reverse ? 1 : -1);
        const fc_rnn_rows right = {time_row(t, t->y, before, 0), t->y.stride};
        add_weight_gradient(t, steps * batch, width, hidden, dgates_row(t, time, 0), right, to->dweight_hh, workspace);
    }
    for (int64_t row = 0; t->first && row < batch; row++) { /* the y before them are past the end, and 0 */
        const int64_t step = fc_rnn_first_step(rnn, row);
        if (step > 0 && t->begin <= step && step < t->end)
            memcpy(t->first + row * t->dgates_stride, dgates_row(t, fc_rnn_time(rnn, step), row),
                   (size_t)t->dgates_stride * sizeof(float));
    }
    if (to->dbias_hh)
        add_bias_gradient(t, (t->end - t->begin) * batch, width, t->dgates, ones, to->dbias_hh, workspace);
}

/* ------------------------------------------------------------------------------------------------ around the loop */

/* The greatest workspace of the chunk's GEMMs: it is not monotone in the depth, so every depth that occurs counts. */
static int64_t gemms_bytes(const fc_rnn *rnn, const fc_context *ctx) {
    const int64_t batch = rnn->batch, chunk = fc_max(fc_rnn_chunk_steps(rnn), 1), tail = rnn->steps % chunk;
    const int64_t steps[] = {1, chunk, fc_max(chunk - 1, 1), tail, fc_max(tail - 1, 1)};
    const int64_t all = fc_rnn_gates(rnn->kind) * rnn->hidden;
    input_part parts[2];
    const int count = input_parts(rnn, parts);
    int64_t bytes = 0;
    for (int s = 0; s < (int)(sizeof steps / sizeof *steps); s++) {
        const int64_t rows = steps[s] * batch;
        fc_gemm products[9] = {fc_rnn_gemm(all, rnn->hidden, rows), fc_rnn_gemm(1, all, rows)};
        int used = 2;
        products[0].transpose_a = true;
        for (int i = 0; i < count; i++) {
            products[used++] = fc_rnn_gemm(rows, rnn->input, parts[i].width);
            products[used++] = fc_rnn_gemm(1, parts[i].width, rows);
            products[used] = fc_rnn_gemm(parts[i].width, rnn->input, rows);
            products[used++].transpose_a = true;
        }
        for (int i = 0; i < used; i++) bytes = fc_max(bytes, fc_gemm_workspace_bytes(&products[i], ctx));
    }
    return bytes;
}

/* Sequences that begin at their ends have first steps of their own. */
static int64_t first_bytes(const fc_rnn *rnn) {
    return rnn->lengths && rnn->reverse ? rnn->batch * dgates_stride(rnn) * (int64_t)sizeof(float) : 0;
}

int64_t fc_rnn_backward_bytes(const fc_rnn *rnn, const fc_context *ctx) {
    const int64_t rows = fc_rnn_chunk_steps(rnn) * rnn->batch, size = (int64_t)sizeof(float);
    return fc_round_up(fc_rnn_panels_bytes(rnn, ctx), FC_ALIGNMENT) +
           fc_round_up(rows * dgates_stride(rnn) * size, FC_ALIGNMENT) + fc_round_up(rows * size, FC_ALIGNMENT) +
           fc_round_up(rnn->hidden * size, FC_ALIGNMENT) + fc_round_up(first_bytes(rnn), FC_ALIGNMENT) +
           gemms_bytes(rnn, ctx);
}

static void copy_or_clear(int64_t count, const float *from, float *to) {
    if (from) memcpy(to, from, (size_t)count * sizeof(float));
    else memset(to, 0, (size_t)count * sizeof(float));
}

static void clear_sums(const fc_rnn *rnn, const gradients *to) {
    const int64_t all = fc_rnn_gates(rnn->kind) * rnn->hidden;
    copy_or_clear(all * rnn->input, NULL, to->dweight_ih);
    copy_or_clear(all * rnn->hidden, NULL, to->dweight_hh);
    if (to->dbias_ih) copy_or_clear(all, NULL, to->dbias_ih);
    if (to->dbias_hh) copy_or_clear(all, NULL, to->dbias_hh);
}

void fc_rnn_backward(const fc_rnn *rnn, const float *dy, int64_t dy_stride, const float *dh_last, const float *dc_last,
                     const float *x, const float *h, const float *c, const float *y, int64_t y_stride,
                     const float *weight_ih, const float *weight_hh, const float *reserve, float *dx, float *dh,
                     float *dc, float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh,
                     void *workspace, const fc_context *ctx) {
    const int64_t chunk = fc_rnn_chunk_steps(rnn), rows = chunk * rnn->batch, hidden = rnn->hidden;
    const int64_t size = (int64_t)sizeof(float);
    const gradients to = {dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh};
    fc_arena arena = {workspace};
    float *panels = fc_take(&arena, fc_rnn_panels_bytes(rnn, ctx));
    float *zeros = memset(fc_take(&arena, hidden * size), 0, (size_t)(hidden * size));
    float *ones = fc_take(&arena, rows * size);
    backward_task t = {.rnn = rnn, .ctx = ctx, .panels = panels, .reserve = reserve, .dh = dh, .dc = dc};
    t.dgates = fc_take(&arena, rows * dgates_stride(rnn) * size);
    t.dgates_stride = dgates_stride(rnn);
    if (h && first_bytes(rnn)) t.first = memset(fc_take(&arena, first_bytes(rnn)), 0, (size_t)first_bytes(rnn));
    t.dy = fc_rnn_rows_or(dy, dy_stride, zeros);
    t.y = (fc_rnn_rows){y, y_stride};
    t.h = fc_rnn_rows_or(h, hidden, zeros);
    t.c = fc_rnn_rows_or(c, hidden, zeros);
    copy_or_clear(rnn->batch * hidden, dh_last, dh);
    if (rnn->kind == FC_LSTM) copy_or_clear(rnn->batch * hidden, dc_last, dc);
    clear_sums(rnn, &to);
    if (rnn->batch == 0 || rnn->steps == 0) return;
    for (int64_t i = 0; i < rows; i++) ones[i] = 1.0f;
    fc_rnn_pack(rnn, true, weight_hh, panels, ctx);
    for (t.end = rnn->steps; t.end > 0; t.end = t.begin) {
        t.begin = fc_max(t.end - chunk, 0);
        t.dgates_time = fc_rnn_first_time(rnn, t.begin, t.end);
        fc_rnn_run_steps(rnn, t.end - t.begin + 1, backward_step, &t, ctx);
        add_input_gradients(&t, x, weight_ih, ones, &to, arena.next);
        add_hidden_gradients(&t, ones, &to, arena.next);
    }
    if (t.first)
        add_weight_gradient(&t, rnn->batch, fc_rnn_gates(rnn->kind) * hidden, hidden, t.first, t.h, dweight_hh,
                            arena.next);
}
