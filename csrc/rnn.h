/* rnn.h - what the forward and the backward driver of the recurrent layers share. */
#ifndef FASTCONV_RNN_H
#define FASTCONV_RNN_H

#include "kernels/kernels.h"
#include "parallel.h"

/* Batch rows that walk a step together: each panel of weights is used by all of them while it is in L1. */
enum { FC_RNN_STRIP_ROWS = 64 };

/* Rows (steps times batch) whose gates are held at a time: enough to make the products outside the time loop efficient,
 * few enough (4 MB of gates at hidden = 256) to find them in the cache again. */
enum { FC_RNN_CHUNK_ROWS = 1024 };

static inline int64_t fc_rnn_chunk_steps(const fc_rnn *rnn) {
    return fc_min(rnn->steps, fc_ceil_div(FC_RNN_CHUNK_ROWS, fc_max(rnn->batch, 1)));
}

/* The steps of a sequence of the batch, in the order of the recurrence: [first, last]. */
static inline int64_t fc_rnn_first_step(const fc_rnn *rnn, int64_t row) {
    return rnn->lengths && rnn->reverse ? rnn->steps - rnn->lengths[row] : 0;
}
static inline int64_t fc_rnn_last_step(const fc_rnn *rnn, int64_t row) {
    return rnn->lengths && !rnn->reverse ? rnn->lengths[row] - 1 : rnn->steps - 1;
}
static inline bool fc_rnn_has_step(const fc_rnn *rnn, int64_t row, int64_t step) {
    return !rnn->lengths || (fc_rnn_first_step(rnn, row) <= step && step <= fc_rnn_last_step(rnn, row));
}

/* Those of the rows [row, row_end) whose sequences have this step; returns how many. */
static inline int64_t fc_rnn_rows_with_step(const fc_rnn *rnn, int64_t step, int64_t row, int64_t row_end, int64_t *rows) {
    int64_t count = 0;
    for (; row < row_end; row++)
        if (fc_rnn_has_step(rnn, row, step)) rows[count++] = row;
    return count;
}

/* Steps are counted in the order of the recurrence, times as the arrays lie in memory. */
static inline int64_t fc_rnn_time(const fc_rnn *rnn, int64_t step) {
    return rnn->reverse ? rnn->steps - 1 - step : step;
}
/* The first time in memory of the steps [begin, end). */
static inline int64_t fc_rnn_first_time(const fc_rnn *rnn, int64_t begin, int64_t end) {
    return rnn->reverse ? rnn->steps - end : begin;
}

static inline bool fc_rnn_is_plain(const fc_rnn *rnn) {
    return rnn->kind == FC_RNN_TANH || rnn->kind == FC_RNN_RELU;
}

/* Hidden units come in blocks as wide as a tile: the tiles of all gates of a block, then its pointwise half. */
static inline int64_t fc_rnn_blocks(const fc_rnn *rnn, const fc_context *ctx) {
    return fc_ceil_div(rnn->hidden, ctx->kernels->tile_columns);
}

/* Rows whose first one stands at `first`; absent states are one row of zeros with stride 0. */
typedef struct fc_rnn_rows {
    const float *first;
    int64_t stride;
} fc_rnn_rows;

static inline fc_rnn_rows fc_rnn_rows_or(const float *first, int64_t stride, const float *zeros) {
    return first ? (fc_rnn_rows){first, stride} : (fc_rnn_rows){zeros, 0};
}

/* A dense product outside the time loop; its workspace is that of fc_gemm_workspace_bytes. In order, so that a step has the
 * same bits in sequences of any length (but for the shortest, see rnn_forward.c). */
static inline fc_gemm fc_rnn_gemm(int64_t m, int64_t n, int64_t k) {
    return (fc_gemm){.m = m, .n = n, .k = k, .a_stride = k, .b_stride = n, .c_stride = n, .alpha = 1.0f,
                     .in_order = true};
}

/* weight_hh packed once a call: forward [block][gate][hidden][tile_columns], the columns being units, so that all gates
 * of a unit are ready together; backward [block][gates * hidden][tile_columns]. */
int64_t fc_rnn_panels_bytes(const fc_rnn *rnn, const fc_context *ctx);
void fc_rnn_pack(const fc_rnn *rnn, bool backward, const float *weight_hh, float *panels, const fc_context *ctx);

/* y[i][y_offset + j] = beta * y + sum over d < depth of x[i][d] * panel[d][j] + bias[j] */
void fc_rnn_multiply(int64_t rows, int64_t columns, int64_t depth, const float *const *x, const float *panel,
                     const float *bias, float beta, float *const *y, int64_t y_offset, const fc_context *ctx);

/* The same for one or two rows and some panels at once, whose depth is whole: sums in the same order, so the same bits. */
void fc_rnn_multiply_few(fc_rnn_products products, const fc_context *ctx);

/* One step for the batch rows [row, row_end), at most FC_RNN_STRIP_ROWS, and the blocks of units [block, block_end). */
typedef void (*fc_rnn_step)(void *arg, int64_t step, int64_t row, int64_t row_end, int64_t block, int64_t block_end);

/* for (i = 0; i < count; i++) step(arg, i, all rows, all blocks), shared among the threads. */
void fc_rnn_run_steps(const fc_rnn *rnn, int64_t count, fc_rnn_step step, void *arg, const fc_context *ctx);

/* The two halves of fc_rnn_workspace_bytes. */
int64_t fc_rnn_forward_bytes(const fc_rnn *rnn, const fc_context *ctx);
int64_t fc_rnn_backward_bytes(const fc_rnn *rnn, const fc_context *ctx);

#endif
