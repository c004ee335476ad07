/* rnn.c - recurrent layers: sizes, packed weights, and how the time loop is shared among threads.
 *
 * The products with the inputs of all steps are made outside the time loop, as plain GEMMs. Inside, weight_hh is packed
 * once and each step is gemm_tile on the panels, then the pointwise half on the tile's own units while they are in L1.
 * Each output is summed in one order, whatever the rows and blocks beside it: results do not depend on the threads.
 */
#include "rnn.h"

#include "strip.h"

int64_t fc_rnn_gates(fc_rnn_kind kind) { return kind == FC_LSTM ? 4 : kind == FC_GRU ? 3 : 1; }

/* LSTM: i f g o c. GRU: r z n and the hidden half of n. Plain: the output says all. */
int64_t fc_rnn_reserve_size(const fc_rnn *rnn) {
    return rnn->hidden * (rnn->kind == FC_LSTM ? 5 : rnn->kind == FC_GRU ? 4 : 0);
}

int64_t fc_rnn_workspace_bytes(const fc_rnn *rnn, bool backward, const fc_context *ctx) {
    return backward ? fc_rnn_backward_bytes(rnn, ctx) : fc_rnn_forward_bytes(rnn, ctx);
}

/* --------------------------------------------------------------------------------------------------- the product */

int64_t fc_rnn_panels_bytes(const fc_rnn *rnn, const fc_context *ctx) {
    const int64_t columns = fc_rnn_blocks(rnn, ctx) * ctx->kernels->tile_columns;
    return columns * fc_rnn_gates(rnn->kind) * rnn->hidden * (int64_t)sizeof(float);
}

typedef struct pack_task {
    const fc_rnn *rnn;
    const fc_context *ctx;
    const float *weight;
    float *panels;
    bool backward;
} pack_task;

static void pack_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    const int64_t hidden = t->rnn->hidden, gates = fc_rnn_gates(t->rnn->kind), columns = t->ctx->kernels->tile_columns;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        const int64_t unit = block * columns;
        const int units = (int)fc_min(columns, hidden - unit);
        float *panel = t->panels + block * gates * hidden * columns;
        if (t->backward) {
            t->ctx->kernels->pack_panel(t->weight + unit, hidden, 1, gates * hidden, units, panel);
            continue;
        }
        for (int64_t gate = 0; gate < gates; gate++)
            t->ctx->kernels->pack_panel(t->weight + (gate * hidden + unit) * hidden, 1, hidden, hidden, units,
                                        panel + gate * hidden * columns);
    }
}

void fc_rnn_pack(const fc_rnn *rnn, bool backward, const float *weight_hh, float *panels, const fc_context *ctx) {
    pack_task t = {rnn, ctx, weight_hh, panels, backward};
    const int threads = fc_threads_for_memory(fc_rnn_panels_bytes(rnn, ctx), ctx);
    fc_parallel(fc_rnn_blocks(rnn, ctx), threads, pack_blocks, &t);
}

/* Deeper blocks than fc_block_depth's: strips are short here, so that passing the sums through memory at every block
 * costs more than a panel that overflows L1 (32 columns: 40 KB). Half of it measured 3 to 4 % slower at 32 x 256. */
enum { MAX_DEPTH = 320 };

void fc_rnn_multiply(int64_t rows, int64_t columns, int64_t depth, const float *const *x, const float *panel,
                     const float *bias, float beta, float *const *y, int64_t y_offset, const fc_context *ctx) {
    const int64_t parts = fc_ceil_div(depth, MAX_DEPTH), width = ctx->kernels->tile_columns;
    const fc_strip strip = {.x = x, .y = y, .rows = rows};
    fc_tile tile = {.taps = 1, .x_step = 1, .w_step = width, .y_offset = y_offset, .alpha = 1.0f};
    for (int64_t part = 0; part < parts; part++) {
        int64_t d, d_end;
        fc_split(depth, parts, part, &d, &d_end);
        tile.depth = d_end - d;
        tile.x_offset = d;
        tile.w = panel + d * width;
        tile.beta = part == 0 ? beta : 1.0f;
        tile.bias = part == parts - 1 ? bias : NULL;
        fc_multiply_strip(&strip, tile, (int)columns, ctx);
    }
}

void fc_rnn_multiply_few(fc_rnn_products products, const fc_context *ctx) {
    const int64_t depth = products.depth, parts = fc_ceil_div(depth, MAX_DEPTH), width = ctx->kernels->tile_columns;
    const fc_rnn_products whole = products;
    for (int64_t part = 0; part < parts; part++) {
        int64_t d, d_end;
        fc_split(depth, parts, part, &d, &d_end);
        products.depth = d_end - d;
        products.panel = whole.panel + d * width;
        for (int i = 0; i < whole.rows; i++) products.x[i] = whole.x[i] + d;
        for (int k = 0; k < whole.panels; k++) {
            products.beta[k] = part == 0 ? whole.beta[k] : 1.0f;
            products.bias[k] = part == parts - 1 ? whole.bias[k] : NULL;
        }
        ctx->kernels->rnn_products(&products);
    }
}

/* ------------------------------------------------------------------------------------------------- the time loop */

typedef struct steps_task {
    const fc_rnn *rnn;
    fc_rnn_step step;
    void *arg;
    int64_t count, strips, blocks; /* count: steps in all */
    fc_barrier barrier;            /* members: parts of the blocks */
} steps_task;

/* A strip of rows through all steps: rows do not meet, so no thread waits for another. */
static void run_strips(void *arg, int64_t begin, int64_t end, int thread) {
    const steps_task *t = arg;
    (void)thread;
    for (int64_t strip = begin; strip < end; strip++) {
        int64_t row, row_end;
        fc_split(t->rnn->batch, t->strips, strip, &row, &row_end);
        for (int64_t i = 0; i < t->count; i++) t->step(t->arg, i, row, row_end, 0, t->blocks);
    }
}

/* All rows of each step, some parts of the blocks of units; a step waits for the whole of the one before. */
static void run_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    steps_task *t = arg;
    int64_t block, block_end, unused;
    (void)thread;
    fc_split(t->blocks, t->barrier.members, begin, &block, &unused);
    fc_split(t->blocks, t->barrier.members, end - 1, &unused, &block_end);
    for (int64_t i = 0; i < t->count; i++) {
        for (int64_t strip = 0; strip < t->strips; strip++) {
            int64_t row, row_end;
            fc_split(t->rnn->batch, t->strips, strip, &row, &row_end);
            t->step(t->arg, i, row, row_end, block, block_end);
        }
        if (i + 1 < t->count) fc_barrier_wait(&t->barrier, end - begin, i);
    }
}

/* The multiply-adds of a step from which on threads share it: at a barrier each waits some 0.2 us, that is 10 k of them. */
enum { SHARED_STEP = 64 * 1024 };

void fc_rnn_run_steps(const fc_rnn *rnn, int64_t count, fc_rnn_step step, void *arg, const fc_context *ctx) {
    const int64_t work = rnn->batch * fc_rnn_gates(rnn->kind) * rnn->hidden * rnn->hidden;
    const int64_t strips = fc_ceil_div(rnn->batch, FC_RNN_STRIP_ROWS);
    const int threads = fc_threads_for_arithmetic(count * work, ctx);
    steps_task t = {.rnn = rnn, .step = step, .arg = arg, .count = count, .strips = strips};
    t.blocks = fc_rnn_blocks(rnn, ctx);
    /* Four rows a thread use a panel well; with fewer the threads share the columns of each step, if that pays. */
    if (rnn->batch >= 4 * threads || work < SHARED_STEP) {
        t.strips = fc_min(rnn->batch, fc_round_up(strips, threads));
        fc_parallel(t.strips, threads, run_strips, &t);
        return;
    }
    t.barrier.members = fc_min(threads, t.blocks);
    fc_parallel(t.barrier.members, threads, run_blocks, &t);
}
