/* rnn_forward.c - the forward pass of the recurrent layers. See rnn.c for the scheme. */
#include "rnn.h"

/* A row of gates holds what the kernels of rnn_gates.inc say. In training rows lie in the reserve for all steps and
 * take the cell state too; otherwise in the workspace for one chunk of steps, the cell state running in c_last. The
 * plain kinds make their outputs in place. */
typedef struct forward_task {
    const fc_rnn *rnn;
    const fc_context *ctx;
    const float *panels;       /* of weight_hh, or NULL: it is read where it lies */
    const float *weight_hh;
    const float *product_bias; /* GRU: bias_hh of n, inside the product with r */
    fc_rnn_rows h, c;          /* initial states */
    float *y;
    int64_t y_stride;
    float *gates;
    int64_t gates_stride, gates_time; /* gates_time: that of the first row */
    float *c_last;
    bool keeps;                /* gates is the reserve */
    int64_t begin;             /* the chunk's first step */
} forward_task;

static float *gates_row(const forward_task *t, int64_t time, int64_t row) {
    return t->gates + ((time - t->gates_time) * t->rnn->batch + row) * t->gates_stride;
}

static float *y_row(const forward_task *t, int64_t time, int64_t row) {
    return t->y + (time * t->rnn->batch + row) * t->y_stride;
}

static void lstm_row(const forward_task *t, int64_t step, int64_t row, int64_t unit, int64_t units, float *gates,
                     float *h) {
    const int64_t hidden = t->rnn->hidden;
    const float *c_prev = t->c_last + row * hidden;
    float *c = t->c_last + row * hidden;
    if (t->keeps) {
        c = gates + 4 * hidden;
        c_prev = step == fc_rnn_first_step(t->rnn, row)
                     ? t->c.first + row * t->c.stride
                     : gates_row(t, fc_rnn_time(t->rnn, step - 1), row) + 4 * hidden;
    }
    t->ctx->kernels->lstm_forward_row(units, hidden, gates + unit, c_prev + unit, c + unit, h + unit);
}

/* The outputs of sequences that have ended (or not begun) at this step. */
static void clear_others(const forward_task *t, int64_t step, int64_t row, int64_t row_end, int64_t unit, int64_t unit_end) {
    for (; row < row_end; row++)
        if (!fc_rnn_has_step(t->rnn, row, step))
            memset(y_row(t, fc_rnn_time(t->rnn, step), row) + unit, 0, (size_t)(unit_end - unit) * sizeof(float));
}

/* Packing weight_hh costs as much as two or three steps of a sequence. For fewer it is read in place: a step of 128 units takes
 * 9 us instead of 21, and has the values of a longer sequence's but for rounding, as sums run over lanes first. */
enum { STEPS_IN_PLACE = 4 };
static bool reads_in_place(const fc_rnn *rnn) { return rnn->steps * rnn->batch <= STEPS_IN_PLACE; }

/* One of products's panels for one row, from the rows of weight_hh. */
static void multiply_in_place(const fc_rnn_products *products, int k, const float *weight, const float *h, float *gates,
                              const fc_context *ctx) {
    enum { COLUMNS = 64 };
    float sums[COLUMNS], *y = gates + products->y_offset[k];
    ctx->kernels->dot_products(1, products->depth, h, 0, weight, products->depth, products->width[k], sums, COLUMNS);
    for (int64_t j = 0; j < products->width[k]; j++) {
        if (products->beta[k] != 0.0f) sums[j] += y[j];
        y[j] = sums[j] + (products->bias[k] ? products->bias[k][j] : 0.0f);
    }
}

/* The products of all gates for the blocks of units from `block` on: many rows take one block, few rows the gates at once or,
 * of a plain layer, some blocks. Returns how many blocks it took. */
static int64_t multiply_gates(const forward_task *t, int64_t rows, const float *const *h, float *const *gates,
                              int64_t block, int64_t block_end) {
    const fc_rnn *rnn = t->rnn;
    const int64_t hidden = rnn->hidden, columns = t->ctx->kernels->tile_columns, count = fc_rnn_gates(rnn->kind);
    const bool few = rows <= FC_RNN_FEW_ROWS && t->panels;
    const int64_t blocks = few && count == 1 ? fc_min(FC_RNN_PANELS, block_end - block) : 1;
    fc_rnn_products products = {.rows = (int)rows, .panels = (int)fc_max(count, blocks), .depth = hidden,
                                .panel_step = hidden * columns};
    if (t->panels) products.panel = t->panels + block * count * hidden * columns;
    for (int k = 0; k < products.panels; k++) {
        const int64_t gate = count == 1 ? 0 : k, unit = (block + (count == 1 ? k : 0)) * columns;
        const bool apart = rnn->kind == FC_GRU && gate == 2; /* r scales the hidden half of n alone */
        products.y_offset[k] = (gate + apart) * hidden + unit;
        products.width[k] = fc_min(columns, hidden - unit);
        products.beta[k] = apart ? 0.0f : 1.0f;
        products.bias[k] = apart && t->product_bias ? t->product_bias + unit : NULL;
        for (int64_t i = 0; !t->panels && i < rows; i++)
            multiply_in_place(&products, k, t->weight_hh + (gate * hidden + unit) * hidden, h[i], gates[i], t->ctx);
        if (!few && t->panels)
            fc_rnn_multiply(rows, products.width[k], hidden, h, products.panel + k * products.panel_step,
                            products.bias[k], products.beta[k], gates, products.y_offset[k], t->ctx);
    }
    for (int64_t i = 0; few && i < rows; i++) products.x[i] = h[i], products.y[i] = gates[i];
    if (few) fc_rnn_multiply_few(products, t->ctx);
    return blocks;
}

static void forward_step(void *arg, int64_t index, int64_t row, int64_t row_end, int64_t block, int64_t block_end) {
    const forward_task *t = arg;
    const fc_rnn *rnn = t->rnn;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t hidden = rnn->hidden, columns = kernels->tile_columns, step = t->begin + index;
    const int64_t time = fc_rnn_time(rnn, step), before = fc_rnn_time(rnn, step - 1);
    const float *h[FC_RNN_STRIP_ROWS];
    float *gates[FC_RNN_STRIP_ROWS];
    int64_t at[FC_RNN_STRIP_ROWS];
    const int64_t rows = fc_rnn_rows_with_step(rnn, step, row, row_end, at);
    if (rows < row_end - row) clear_others(t, step, row, row_end, block * columns, fc_min(block_end * columns, hidden));
    if (rows == 0) return;
    for (int64_t i = 0; i < rows; i++) {
        const bool first = step == fc_rnn_first_step(rnn, at[i]);
        h[i] = first ? t->h.first + at[i] * t->h.stride : y_row(t, before, at[i]);
        gates[i] = gates_row(t, time, at[i]);
    }
    for (int64_t blocks; block < block_end; block += blocks) {
        blocks = multiply_gates(t, rows, h, gates, block, block_end);
        const int64_t unit = block * columns, units = fc_min(blocks * columns, hidden - unit);
        for (int64_t i = 0; i < rows; i++) {
            float *y = y_row(t, time, at[i]);
            if (rnn->kind == FC_LSTM) lstm_row(t, step, at[i], unit, units, gates[i], y);
            else if (rnn->kind == FC_GRU)
                kernels->gru_forward_row(units, hidden, gates[i] + unit, h[i] + unit, y + unit);
            else kernels->rnn_forward_row(rnn->kind == FC_RNN_RELU, units, y + unit);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ around the loop */

static int64_t gates_stride(const fc_rnn *rnn) {
    return (rnn->kind == FC_GRU ? 4 : fc_rnn_gates(rnn->kind)) * rnn->hidden;
}

static fc_gemm input_gemm(const fc_rnn *rnn, int64_t steps) {
    fc_gemm gemm = fc_rnn_gemm(steps * rnn->batch, fc_rnn_gates(rnn->kind) * rnn->hidden, rnn->input);
    gemm.transpose_b = true;
    gemm.b_stride = rnn->input;
    gemm.in_order = !reads_in_place(rnn);
    return gemm;
}

int64_t fc_rnn_forward_bytes(const fc_rnn *rnn, const fc_context *ctx) {
    const int64_t steps = fc_rnn_chunk_steps(rnn), hidden = rnn->hidden, size = (int64_t)sizeof(float);
    const fc_gemm whole = input_gemm(rnn, steps), rest = input_gemm(rnn, rnn->steps % fc_max(steps, 1));
    const int64_t chunk = fc_rnn_is_plain(rnn) ? 0 : steps * rnn->batch * gates_stride(rnn) * size;
    /* Not monotone in the rows: GEMM packs otherwise where they are few. */
    const int64_t gemm = fc_max(fc_gemm_workspace_bytes(&whole, ctx), fc_gemm_workspace_bytes(&rest, ctx));
    const int64_t panels = reads_in_place(rnn) ? 0 : fc_rnn_panels_bytes(rnn, ctx);
    return fc_round_up(panels, FC_ALIGNMENT) + fc_round_up(chunk, FC_ALIGNMENT) +
           fc_round_up(fc_rnn_gates(rnn->kind) * hidden * size, FC_ALIGNMENT) +
           fc_round_up(hidden * size, FC_ALIGNMENT) + gemm;
}

/* The bias of the input half takes bias_hh too, but for what GRU's reset gate scales. NULL if there is none. */
static const float *input_bias(const fc_rnn *rnn, const float *bias_ih, const float *bias_hh, float *sum) {
    const int64_t all = fc_rnn_gates(rnn->kind) * rnn->hidden, joint = rnn->kind == FC_GRU ? 2 * rnn->hidden : all;
    if (!bias_ih && !bias_hh) return NULL;
    for (int64_t j = 0; j < all; j++)
        sum[j] = (bias_ih ? bias_ih[j] : 0.0f) + (bias_hh && j < joint ? bias_hh[j] : 0.0f);
    return sum;
}

static void copy_rows(int64_t rows, int64_t columns, fc_rnn_rows from, float *to) {
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * columns, from.first + r * from.stride, (size_t)columns * sizeof(float));
}

/* A state that runs in c_last is there already. */
static void copy_last_states(const forward_task *t, float *h_last, float *c_last) {
    const fc_rnn *rnn = t->rnn;
    const int64_t hidden = rnn->hidden;
    const size_t bytes = (size_t)hidden * sizeof(float);
    for (int64_t row = 0; row < rnn->batch; row++) {
        const int64_t step = fc_rnn_last_step(rnn, row), time = fc_rnn_time(rnn, step);
        const bool none = step < fc_rnn_first_step(rnn, row);
        memcpy(h_last + row * hidden, none ? t->h.first + row * t->h.stride : y_row(t, time, row), bytes);
        if (rnn->kind == FC_LSTM && t->keeps)
            memcpy(c_last + row * hidden,
                   none ? t->c.first + row * t->c.stride : gates_row(t, time, row) + 4 * hidden, bytes);
    }
}

void fc_rnn_forward(const fc_rnn *rnn, const float *x, const float *h, const float *c, const float *weight_ih,
                    const float *weight_hh, const float *bias_ih, const float *bias_hh, float *y, int64_t y_stride,
                    float *h_last, float *c_last, float *reserve, void *workspace, const fc_context *ctx) {
    const int64_t batch = rnn->batch, hidden = rnn->hidden, chunk = fc_rnn_chunk_steps(rnn);
    const int64_t size = (int64_t)sizeof(float);
    fc_arena arena = {workspace};
    float *panels = reads_in_place(rnn) ? NULL : fc_take(&arena, fc_rnn_panels_bytes(rnn, ctx));
    float *sum = fc_take(&arena, fc_rnn_gates(rnn->kind) * hidden * size);
    float *zeros = memset(fc_take(&arena, hidden * size), 0, (size_t)(hidden * size));
    forward_task t = {.rnn = rnn, .ctx = ctx, .weight_hh = weight_hh, .y = y, .y_stride = y_stride, .c_last = c_last};
    t.panels = panels;
    t.h = fc_rnn_rows_or(h, hidden, zeros);
    t.c = fc_rnn_rows_or(c, hidden, zeros);
    t.product_bias = rnn->kind == FC_GRU && bias_hh ? bias_hh + 2 * hidden : NULL;
    t.keeps = reserve && !fc_rnn_is_plain(rnn);
    t.gates = fc_rnn_is_plain(rnn) ? y : t.keeps ? reserve : fc_take(&arena, chunk * batch * gates_stride(rnn) * size);
    t.gates_stride = fc_rnn_is_plain(rnn) ? y_stride : t.keeps ? fc_rnn_reserve_size(rnn) : gates_stride(rnn);
    if (rnn->kind == FC_LSTM && !t.keeps) copy_rows(batch, hidden, t.c, c_last);
    if (batch > 0 && rnn->steps > 0) {
        const float *bias = input_bias(rnn, bias_ih, bias_hh, sum);
        if (panels) fc_rnn_pack(rnn, false, weight_hh, panels, ctx);
        for (t.begin = 0; t.begin < rnn->steps; t.begin += chunk) {
            const int64_t steps = fc_min(chunk, rnn->steps - t.begin);
            const int64_t time = fc_rnn_first_time(rnn, t.begin, t.begin + steps);
            fc_gemm gemm = input_gemm(rnn, steps);
            gemm.c_stride = t.gates_stride;
            if (!t.keeps && !fc_rnn_is_plain(rnn)) t.gates_time = time;
            fc_gemm_run(&gemm, x + time * batch * rnn->input, weight_ih, bias, gates_row(&t, time, 0), arena.next, ctx);
            fc_rnn_run_steps(rnn, steps, forward_step, &t, ctx);
        }
    }
    copy_last_states(&t, h_last, c_last);
}
