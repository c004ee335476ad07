/* kernels.h - the table of micro-kernels of one instruction set, and the operands they take.
 *
 * A micro-kernel works on one tile or row with one thread, allocates nothing, and reads and writes nothing outside its
 * operands. The list itself is kernels.def; tile sizes stand beside the pointers.
 */
#ifndef FASTCONV_KERNELS_H
#define FASTCONV_KERNELS_H

#include "../common.h"
#include "../fastconv.h"

enum { FC_MAX_TILE_ROWS = 16, FC_MAX_TILE_COLUMNS = 32, FC_PLANE_OUTPUTS = 6 };

/* One tile of a product, y[i][j] = sum over taps t and depth d of x[t][i][d * x_step] * w[(t * depth + d) * w_step + j],
 * the vocabulary of GEMM, of convolution (x: one pointer a tap and output pixel) and of both backward passes. */
typedef struct fc_tile {
    int64_t taps, depth;
    const float *const *x; /* [taps][x_tap_stride]: the first `rows` pointers of a tap are the rows */
    int64_t x_tap_stride;  /* pointers from one tap to the next */
    int64_t x_offset;      /* elements added to every row pointer */
    int64_t x_step;        /* elements between consecutive depths of a row */
    const float *w;        /* whole vectors are read: columns are padded to a multiple of the lanes */
    int64_t w_step;        /* elements between consecutive depths */
    float *const *y;       /* [rows] */
    int64_t y_offset;      /* elements added to every output pointer */
    float alpha, beta;     /* y = alpha * product + beta * y; beta == 0 never reads y */
    /* What follows is applied after the last block of the depth. */
    const float *bias;     /* [columns] or NULL */
    const float *residual, *origin;  /* residual[at - origin] is added to the output at `at`; NULL for none */
    const fc_activation *activation; /* NULL for none */
} fc_tile;

/* A reduction over runs of pixels: y[i][j] (+)= sum over runs t and steps d of x[t][i + d * x_step] * w[t][j + d * w_step].
 * Both operands lie in memory as they are (NHWC): rows and columns are contiguous channels. */
typedef struct fc_outer {
    int64_t runs;
    const struct fc_run { const float *x, *w; int64_t length; } *run;
    int64_t x_offset, w_offset; /* elements added to every run's pointers */
    int64_t x_step, w_step;
    float *y;                   /* row i at y + i * y_stride */
    int64_t y_stride;
    bool accumulate;            /* add to y, else write it */
} fc_outer;

/* Vectors of pixels times single weights: y[o][x[v] - origin + lane] = bias[o] + sum over depth d of
 * x[v][at[d] + lane] * w[d * w_step + o]. */
typedef struct fc_plane_tile {
    int64_t depth;
    const int64_t *at; /* [depth] */
    const float *w;
    int64_t w_step;
    const float *const *x; /* [plane_vectors of the outputs] */
    const float *origin;
    float *y;
    int64_t y_stride;  /* from one output's plane to the next */
    const float *bias; /* [outputs] or NULL */
} fc_plane_tile;

/* A row of pixels of a depthwise convolution: y[i * y_step + c] = bias[c] + sum over taps t of x[t][i * x_step + c] * w[t][c]. */
typedef struct fc_depthwise {
    int64_t taps;
    const float *const *x, *const *w; /* [taps] */
    float *y;
    int64_t x_step, y_step, count, channels;
    const float *bias; /* [channels] or NULL */
} fc_depthwise;

/* A run of output columns of a pooling whose windows hold the same taps. Window i starts at x + i * x_step; its tap (r, s)
 * lies r * x_row + s * x_column further, and at r * index_row + s * index_column further in the plane. */
typedef struct fc_pool_run {
    int64_t columns, channels, tap_rows, tap_columns;
    const float *x;
    int64_t x_step, x_row, x_column;
    float *y;
    int64_t y_step;
    float divisor;    /* of the average */
    int32_t *indices; /* of the maximum, laid out as y; NULL where not wanted */
    int32_t index, index_step, index_row, index_column;
} fc_pool_run;

struct fc_kernels {
    const char *isa;
    int lanes;
    int tile_rows;    /* the tallest gemm_tile */
    int tile_columns; /* the widest: two vectors */
    int plane_vectors[FC_PLANE_OUTPUTS]; /* vectors of pixels in a plane_tile of 1, 2, ... outputs */
#define FC_KERNEL(name, signature) void(*name) signature;
#include "kernels.def"
#undef FC_KERNEL
};

#endif
