/* gemm.h - what the drivers of matrix products share: gemm.c chooses among them. */
#ifndef FASTCONV_GEMM_H
#define FASTCONV_GEMM_H

#include "parallel.h"
#include "strip.h"

typedef struct gemm_operands {
    const float *a, *b, *bias;
    float *c;
} gemm_operands;

/* A block of k is at most so deep and a quarter more: 512 instead of 256 is 2 to 8 % faster from 512 x 512 x 512 on (AVX-512;
 * AVX2 0 to 2 %), as sums go through memory less often. Deeper ones leave L2 too little room for a strip of a. */
enum { GEMM_DEPTH = 512 };

static inline int64_t gemm_longest_block(const fc_context *ctx) {
    return fc_max(fc_longest_block(ctx), GEMM_DEPTH + GEMM_DEPTH / 4);
}

/* k in nearly equal blocks. All drivers cut it alike, so that a row of the result does not depend on how many others there
 * are (unless b is transposed and read in place, where a vector of k is summed at a time: see in_order). */
static inline int64_t gemm_block_depth(const fc_gemm *g, const fc_context *ctx) {
    return fc_max(1, fc_ceil_div(g->k, fc_max(1, fc_ceil_div(g->k, gemm_longest_block(ctx)))));
}

/* A bound on it that does not fall where k grows, see fc_most_block_depth. */
static inline int64_t gemm_most_block_depth(const fc_gemm *g, const fc_context *ctx) {
    return fc_max(1, fc_min(g->k, gemm_longest_block(ctx)));
}

/* The epilogue of the block [k, k + depth) of columns from n on. */
static inline fc_tile gemm_epilogue(const fc_gemm *g, const float *bias, int64_t k, int64_t depth, int64_t n) {
    const bool last = k + depth >= g->k;
    return (fc_tile){
        .taps = 1, .depth = depth, .x_step = 1, .y_offset = n, .alpha = g->alpha, .beta = k == 0 ? g->beta : 1.0f,
        .bias = last && bias ? bias + n : NULL, .activation = last ? &g->activation : NULL,
    };
}

/* Columns up to the next cache line, where it is the same for all rows of b, which are read where they lie: 0 if they begin
 * with one or are no such. Taken apart they spare the others vectors across two lines, which cost twice. */
static inline int64_t gemm_head_columns(const fc_gemm *g, const float *b) {
    const int64_t line = FC_ALIGNMENT / (int64_t)sizeof(float);
    return g->transpose_b || g->b_stride % line ? 0 : fc_floats_to_line(b);
}

int64_t gemm_few_rows_bytes(const fc_gemm *g, int threads, const fc_context *ctx);
void gemm_few_rows(const fc_gemm *g, const gemm_operands *o, void *workspace, int threads, const fc_context *ctx);

int64_t gemm_panels_bytes(const fc_gemm *g, int threads, const fc_context *ctx);
void gemm_panels(const fc_gemm *g, const gemm_operands *o, void *workspace, int threads, const fc_context *ctx);

#endif
