/* strip.h - a strip of rows times one panel of columns: what GEMM and convolution have in common below their loops. */
#ifndef FASTCONV_STRIP_H
#define FASTCONV_STRIP_H

#include "kernels/kernels.h"

/* A panel block, (depth, tile_columns) floats, takes three quarters of a 32 KiB L1, where it stays while the tiles of a
 * strip pass: 16, 20 and 32 KiB measured 1 to 3 % slower on ResNet-50's layers. With the 32 columns of AVX-512 it is 256
 * deep all the same: that tile reads its panel slower, and passing the sums through memory more often cost 2 %. */
enum { FC_PANEL_BYTES = 24 * 1024, FC_PANEL_DEPTH = 256 };

/* The rows of a product: input pointers, `taps` times `rows` of them, and output pointers; or, where rows lie at constant
 * distances in runs of as many, those of the first of each run. */
typedef struct fc_strip {
    const float *const *x; /* [taps][rows], or [runs][taps] */
    float *const *y;       /* [rows], or [runs] */
    int64_t rows;
    int64_t run;          /* no tile crosses a multiple of this many rows; 0 where they may */
    const float *zeros;   /* what x points to where a tap lies on padding, or NULL */
    int64_t x_row, y_row; /* elements between the rows of a run; 0 where there is a pointer a row */
    int64_t taps;         /* in x, where x_row > 0 */
    bool far;             /* x lies in memory, not in cache, and the next strip's follows: it is fetched during this one */
} fc_strip;

/* From one tap's pointers to the next. */
static inline int64_t fc_tap_stride(const fc_strip *strip) { return strip->x_row ? 1 : strip->rows; }

static inline int64_t fc_longest_block(const fc_context *ctx) {
    const int64_t fitting = FC_PANEL_BYTES / (ctx->kernels->tile_columns * (int64_t)sizeof(float));
    const int64_t most = fc_max(fitting, FC_PANEL_DEPTH);
    return most + most / 4;
}

/* The depth of a block, when `depth` is cut into nearly equal blocks of at most a quarter more than that. */
static inline int64_t fc_block_depth(int64_t depth, const fc_context *ctx) {
    return fc_max(1, fc_ceil_div(depth, fc_max(1, fc_ceil_div(depth, fc_longest_block(ctx)))));
}

/* A bound on it that does not fall where the depth grows, as fc_block_depth does (cut in two, 321 gives 161): a workspace
 * sized for a depth serves any smaller one too, such as that of im2col's last chunk of pixels. */
static inline int64_t fc_most_block_depth(int64_t depth, const fc_context *ctx) {
    return fc_max(1, fc_min(depth, fc_longest_block(ctx)));
}

/* Every tile of the strip, with the panel, offsets and epilogue that `tile` names; x, x_tap_stride and y are filled in here.
 * The tiles have nearly equal heights: 49 rows are 5 * 9 + 4, not 6 * 8 + 1. */
void fc_multiply_strip(const fc_strip *strip, fc_tile tile, int columns, const fc_context *ctx);

#endif
