/* kernels.h - the table of micro-kernels of one instruction set, and the operands they take.
 *
 * A micro-kernel works on one tile or row with one thread, allocates nothing, and reads and writes nothing outside its
 * operands. The list itself is kernels.def; tile sizes stand beside the pointers.
 */
#ifndef FASTCONV_KERNELS_H
#define FASTCONV_KERNELS_H

#include "../common.h"
#include "../fastconv.h"

enum { FC_MAX_TILE_ROWS = 16, FC_MAX_TILE_COLUMNS = 32 };

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

/* Winograd's F(m x m, 3 x 3), m = 2, 4 or 6. A tile has m x m outputs and m + 2 rows and columns of inputs; transformed,
 * it is (m + 2)^2 elements of every channel, numbered by row and column. */

/* v[element * v_step + c] = (B' x B)[element] for every channel; whole vectors are written. */
typedef struct fc_winograd_input {
    int outputs;                /* m */
    const float *const *pixel;  /* [(m + 2)^2] */
    int64_t channels;
    float *v;
    int64_t v_step;
} fc_winograd_input;

/* y[i * row_step + j * column_step + k] = activation((A' products A)[i][j] + bias[k] + residual[where y is]) for the
 * first `rows` and `columns` of the m x m outputs; whole vectors of products are read. *finite: every sum is finite. */
typedef struct fc_winograd_output {
    int outputs;
    const float *products;  /* element e of channel k at e * products_step + k */
    int64_t products_step, channels;
    float *y;
    int64_t rows, columns, row_step, column_step;
    const float *bias, *residual; /* [channels]; laid out as y; or NULL */
    const fc_activation *activation; /* or NULL */
} fc_winograd_output;

/* u[element * u_step + d * tile_columns + j] = (G w G')[element] of depth d and column j, 0 from `columns` to a whole
 * vector. w[d * depth_stride + j * column_stride + 3 * r + s] are the weights, turned by 180 degrees if `rotated`. */
typedef struct fc_winograd_weight {
    int outputs;
    bool rotated;
    const float *w;
    int64_t depth, depth_stride, columns, column_stride;
    float *u;
    int64_t u_step;
} fc_winograd_weight;

struct fc_kernels {
    const char *isa;
    int lanes;
    int tile_rows;    /* the tallest gemm_tile */
    int tile_columns; /* the widest: two vectors */
#define FC_KERNEL(name, signature) void(*name) signature;
#include "kernels.def"
#undef FC_KERNEL
};

#endif
