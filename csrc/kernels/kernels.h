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
    const float *zeros;    /* taps with all rows pointing here add nothing and are skipped; NULL for none */
    int64_t x_offset;      /* elements added to every row pointer */
    int64_t x_step;        /* elements between consecutive depths of a row */
    const float *w;        /* whole vectors are read: columns are padded to a multiple of the lanes */
    int64_t w_step;        /* elements between consecutive depths */
    float *const *y;       /* [rows] */
    int64_t y_offset;      /* elements added to every output pointer */
    int64_t x_row, y_row;  /* gemm_run alone: elements between rows; x is [taps], y a single pointer, both of row 0 */
    int64_t ahead, fetched; /* gemm_run alone: x[0] + ahead is fetched, `fetched` elements with each row; 0 for none */
    float alpha, beta;     /* y = alpha * product + beta * y; beta == 0 never reads y */
    bool resume;           /* gemm_tile alone: sums start from y, as if no depth had been cut; whole vectors of columns */
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

/* A reduction over runs of pixels as fc_outer's, whose rows are values of up to FC_WINDOW_LINES lines:
 * y[l * y_line + i * y_stride + j] += sum over runs t and steps d of
 * x[t][l * x_line + i + d * x_step] * w[t][j + d * w_step], and sums[j] += those of w alone.
 * Whole vectors of w are read, and of y and sums read and written. */
enum { FC_WINDOW_LINES = 3 };
typedef struct fc_window {
    int64_t runs;
    const struct fc_run *run;
    int64_t x_offset, w_offset; /* elements added to every run's pointers */
    int64_t x_step, w_step, x_line;
    float *y, *sums; /* sums: NULL, or lines * values is less than window_values */
    int64_t y_stride, y_line;
    const float *ahead; /* fetched into L2 meanwhile: so many cache lines a run */
    int64_t ahead_lines;
} fc_window;

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

/* Winograd's gradient in the weights: the sums over tiles, for one panel of input channels (panel_rows of them) and some of output channels (tile_columns each):
 * m[plane][i][j] (+)= sum over tiles t of v[plane][t][i] * d[plane][t][j]. Lanes past the last channel hold anything:
 * vectors are read and written whole. */
typedef struct fc_winograd_sums {
    int64_t planes, tiles;
    const float *v, *d; /* [planes][tiles][panel_rows], [planes][tiles][tile_columns] */
    float *m;           /* [planes][panel_rows][tile_columns] */
    int64_t v_plane, d_plane, m_plane, d_panel, m_panel; /* elements from one plane, one panel to the next */
    bool accumulate;    /* add to m, else write it */
    const float *fetch; /* fetched for writing meanwhile, if not NULL: a run of fetch_run floats an output channel */
    int64_t fetch_run, fetch_stride;
} fc_winograd_sums;

/* Channels whose weights lie together in what depthwise convolution packs: [block][tap][FC_DEPTHWISE_BLOCK]. */
enum { FC_DEPTHWISE_BLOCK = 16 };

/* A row of pixels of a depthwise convolution: y[i * y_step + c] = bias[c] + sum over taps t of x[t][i * x_step + c] * w[t][c],
 * the weights of the next block of channels at w[t] + w_block. */
typedef struct fc_depthwise {
    int64_t taps;
    const float *const *x, *const *w; /* [taps] */
    float *y;
    int64_t x_step, y_step, w_block, count, channels;
    const float *bias; /* [channels] or NULL */
} fc_depthwise;

/* A depthwise convolution of one image, the channels [c_begin, c_end) and output columns [q_begin, q_end) of it. */
typedef struct fc_slide {
    int64_t in_height, in_width, out_height, out_width, pad_top, pad_left;
    int64_t x_row, x_step, y_row, y_step; /* elements between rows and between columns */
    const float *x, *w, *bias, *residual; /* w is packed; residual is laid out as y; bias and residual may be NULL */
    float *y;
    int64_t q_begin, q_end, c_begin, c_end;
    bool clamp; /* to [low, high] */
    float low, high;
} fc_slide;

/* Its weight gradient, from rows of dy: sums[tap * sums_step + c] (+)= sum of x * dy, bias_sums[c] (+)= sum of dy. */
typedef struct fc_slide_weight {
    int64_t in_height, in_width, out_width, pad_top, pad_left;
    int64_t x_row, x_step, y_row, y_step;
    const float *x, *dy;
    float *sums, *bias_sums; /* bias_sums may be NULL */
    int64_t sums_step, c_begin, c_end;
    bool accumulate; /* add to the sums, else write them */
} fc_slide_weight;

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
    bool stream;      /* y and indices bypass the caches: whole vectors, aligned to them */
    const float *ahead; /* fetched into L2 meanwhile, so many floats a column; or NULL */
    int64_t ahead_floats;
} fc_pool_run;

/* Output rows of a pooling with windows of kernel x kernel, stride apart: 3 or 5 with stride 1, 3 with stride 2. Row i
 * takes the lines x[i * stride] to x[i * stride + kernel - 1], of pixels x_step apart. */
enum { FC_POOL_WALK_ROWS = 4 };
typedef struct fc_pool_walk {
    bool average;
    int kernel, stride, rows; /* rows: at most FC_POOL_WALK_ROWS */
    const float *x[2 * FC_POOL_WALK_ROWS + 3];
    int64_t x_step, in_width, out_width, pad_left, channels;
    float *y;
    int64_t y_line, y_step;
    float divisor, inverse; /* of the average */
    const float *ahead;     /* what is fetched into L2 meanwhile, as much as is read anew; or NULL */
    bool stream;            /* as fc_pool_run's */
} fc_pool_walk;

/* Windows one apart along one axis: y[i * y_line + j * y_step + k] = the maximum or sum over l in [i, i + taps) of
 * x[l][j * x_step + k], for i < outputs, j < columns, k < count. FC_LINES_MAX sets *nan where an element of x is NaN,
 * and y is then not right; FC_LINES_NUMBERS relies on there being none. */
enum { FC_POOL_LINE_TAPS = 32, FC_POOL_LINE_OUTPUTS = 4 };
typedef enum fc_lines_kind { FC_LINES_MAX, FC_LINES_NUMBERS, FC_LINES_SUM, FC_LINES_MEAN } fc_lines_kind;
typedef struct fc_pool_lines {
    fc_lines_kind kind;
    int64_t taps;
    int outputs; /* 1 or 4; 4 with 3 taps or more */
    const float *x[FC_POOL_LINE_TAPS + FC_POOL_LINE_OUTPUTS - 1];
    int64_t x_step;
    float *y;
    int64_t y_line, y_step, columns, count;
    float divisor; /* of FC_LINES_MEAN */
    bool stream;   /* as fc_pool_run's */
    const float *ahead; /* fetched into L2 meanwhile: lines laid out as x, ahead_line apart; or NULL */
    int64_t ahead_line, ahead_lines;
} fc_pool_lines;

/* Winograd's F(m x m, 3 x 3), m = 2, 4 or 6. A tile has m x m outputs and m + 2 rows and columns of inputs; transformed,
 * it is (m + 2)^2 elements of every channel, numbered by row and column. */

/* A tile's transform, one value a channel and element: planes[(i * (m + 2) + j) * planes_step + c] = (B' x B)[i][j] or, for
 * the gradient in the weights, (A dy A')[i][j]; whole vectors are written. */
typedef struct fc_winograd_planes {
    int outputs;                /* m */
    bool scaled;                /* of x: times the factors that winograd_weight left out */
    const float *const *pixel;  /* [(m + 2)^2] of x, [m^2] of dy: where channel 0 lies */
    const float *const *ahead;  /* as pixel, of a tile that follows and is fetched into the cache, or NULL */
    int64_t offset, ahead_offset, channels; /* the first channel, of the tile ahead; how many */
    float *planes;
    int64_t planes_step;
} fc_winograd_planes;

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
    bool rotated, unscaled; /* unscaled: without the factors, which winograd_input has then */
    const float *w;
    int64_t depth, depth_stride, columns, column_stride;
    float *u;
    int64_t u_step;
} fc_winograd_weight;

struct fc_kernels {
    const char *isa;
    int lanes;
    int gemm_rows;    /* the tallest gemm_tile */
    int tile_rows;    /* the tallest outer_tile and pack_tile, and rows of winograd_sums */
    int tile_columns; /* the widest: two vectors */
    int plane_vectors[FC_PLANE_OUTPUTS]; /* vectors of pixels in a plane_tile of 1, 2, ... outputs */
    int panel_rows;   /* the least that is whole tiles and whole vectors */
    int window_values[2];              /* the most rows, of all lines, in a window_tile of one and of two vectors */
    const struct fc_kernels *narrow;   /* for columns that fill half a vector; or these kernels themselves */
#define FC_KERNEL(name, signature) void(*name) signature;
#include "kernels.def"
#undef FC_KERNEL
};

#endif
