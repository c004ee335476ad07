/* kernels.h - the table of micro-kernels of one instruction set, and the operands they take.
 *
 * A micro-kernel works on one tile or row with one thread, allocates nothing, and reads and writes nothing outside its
 * operands. The list itself is kernels.def; tile sizes stand beside the pointers.
 */
#ifndef FASTCONV_KERNELS_H
#define FASTCONV_KERNELS_H

#include "../common.h"
#include "../fastconv.h"

enum { FC_MAX_TILE_ROWS = 16, FC_MAX_TILE_COLUMNS = 32, FC_PLANE_OUTPUTS = 6, FC_FEW_ROWS = 6 };

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
    int64_t ahead, fetched; /* gemm_run: x[0] + ahead is fetched, `fetched` elements with each row; 0 for none.
                             * pack_tile: the rows of w that follow this tile's lie `ahead` elements further than w_step says */
    float alpha, beta;     /* y = alpha * product + beta * y; beta == 0 never reads y */
    bool resume;           /* gemm_tile alone: sums start from y, as if no depth had been cut; whole vectors of columns */
    /* What follows is applied after the last block of the depth. */
    const float *bias;     /* [columns] or NULL */
    const float *residual, *origin;  /* residual[at - origin] is added to the output at `at`; NULL for none */
    const fc_activation *activation; /* NULL for none */
} fc_tile;

/* One or two rows times panels of weights, each as wide as a tile and panel_step elements after the one before:
 * y[i][y_offset[k] + j] = beta[k] * y + sum over d < depth of x[i][d] * panel[k][d][j] + bias[k][j], j < width[k]. */
enum { FC_RNN_FEW_ROWS = 2, FC_RNN_PANELS = 4 };
typedef struct fc_rnn_products {
    int rows, panels;
    int64_t depth, panel_step;
    const float *x[FC_RNN_FEW_ROWS], *panel;
    float *y[FC_RNN_FEW_ROWS];
    int64_t y_offset[FC_RNN_PANELS], width[FC_RNN_PANELS];
    float beta[FC_RNN_PANELS];
    const float *bias[FC_RNN_PANELS]; /* NULL for none */
} fc_rnn_products;

/* Small products, `count` of them, elements from one to the next; m x k times k x n, each. */
typedef struct fc_products {
    int64_t count, m, n, k;
    const float *a, *b;
    float *c;
    int64_t a_next, b_next, c_next;
    int64_t a_row, a_step, b_row, c_row; /* a_step: from one depth to the next; a_row, b_row, c_row: from a row to the next */
} fc_products;

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
    const float *ahead; /* fetched into L2 meanwhile, so many floats a window (a sweep: what follows a tap); or NULL */
    int64_t ahead_floats;
} fc_pool_run;

/* Rows of y = a op b, those of y one after the other. */
typedef struct fc_elementwise_rows {
    fc_elementwise_op op;
    bool single, stream; /* single: b is one number a row; stream: y is stored past the caches */
    int64_t rows, size;
    const float *a, *b, *gate; /* gate, of FC_PRELU_BACKWARD, is laid out as a; else it is a */
    int64_t a_row, b_row;      /* elements from one row to the next; 0 for the same row again */
    float *y;
} fc_elementwise_rows;
/* Sums of pixels of a row, a column after the other: y[q * channels + c] = sum over t of weights[t] * x[at[t] + c].
 * Column q has the terms [q * taps, (q + 1) * taps), or with taps 0 those from start[q] to start[q + 1]. A single tap is
 * copied. */
typedef struct fc_weighted_columns {
    int taps;
    int64_t columns, channels;
    const int64_t *start, *at; /* start: [columns + 1], with taps 0 */
    const float *weights;
} fc_weighted_columns;

/* Rows of the output of an interpolation, up to FC_PIXEL_ROWS of them, from the same two rows of the input (one tap:
 * the same row): y[i * y_row + q * channels + c] = sum over j < 2, k < 2 of row_weights[i][j] * weights[2 * q + k] *
 * x[j][at[2 * q + k] + c]. */
enum { FC_PIXEL_ROWS = 4 };
typedef struct fc_pixel_rows {
    int rows;
    int64_t columns, channels;
    const int64_t *at;
    const float *weights, *x[2];
    float row_weights[FC_PIXEL_ROWS][2];
    float *y;
    int64_t y_row;
} fc_pixel_rows;

/* Generators of random numbers that dropout_row runs side by side, on every instruction set. */
enum { FC_RANDOM_LANES = 16 };
/* A block of rows, `stride` floats apart, of a norm whose factors belong to channels: y = (x - mean) * scale + offset or,
 * of the gradient, y = dy * scale - ((x - mean) * slope + offset). */
typedef struct fc_norm_block {
    int64_t rows, channels, stride;
    const float *x, *dy;
    const float *mean, *scale, *offset, *slope; /* [channels] */
    float *y;    /* may be x or dy */
    bool stream; /* write y past the caches: y, and with it the stride, is a multiple of 64 bytes */
} fc_norm_block;

/* Rows of a norm over rows. Forward: mean and var are written. Backward: they are read, and dweight and dbias [columns]
 * are written. weight, bias, dweight and dbias may be NULL, and so may mean and var, forward; rms: no mean. */
typedef struct fc_layer_norm_block {
    bool rms;
    int64_t rows, columns;
    const float *x, *dy, *weight, *bias;
    float eps;
    float *mean, *var; /* [rows] */
    float *y;          /* y or dx; may be x or dy */
    float *dweight, *dbias;
    bool stream; /* as fc_norm_block's */
} fc_layer_norm_block;

/* Pixels of a local response norm: y = x * d^-beta, d = k + alpha / size * the sum of x^2 over channels
 * [c - before, c + after]. */
typedef struct fc_response_norm_block {
    int64_t pixels, channels, before, after;
    float alpha, beta, k; /* alpha is divided by the size */
    const float *x, *dy;
    float *y;       /* y or dx; may be x or dy */
    float *scratch; /* FC_RESPONSE_PIXELS * fc_response_row() floats; three times as many backward */
} fc_response_norm_block;

/* Pixels that go together; floats of one's scratch: the channels between zeros, read by whole vectors. */
enum { FC_RESPONSE_PIXELS = 4 };
static inline int64_t fc_response_row(int64_t channels, int64_t size) { return fc_round_up(channels + size + 16, 16); }
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

/* Some channels of a row of outputs, and the rows of dx that their windows cover, FC_POOL_STRIP_CHANNELS a pixel. */
enum { FC_POOL_STRIP_CHANNELS = 64 };
typedef struct fc_pool_strip {
    const float *dy;
    const int32_t *indices;
    float *sums; /* of the first row that the windows cover; no padding beside it */
    int64_t channels;
    int64_t ahead; /* dy + ahead and indices + ahead, one such row, are fetched into L2; 0 for none */
} fc_pool_strip;

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

/* Softmax over `columns` elements that lie `step` apart. */
/* Rows of at most so many contiguous columns are taken a vector of rows at a time, forward and backward. Neighbours of an
 * axis that is not the last are taken together, a quarter of a page at most. */
enum { FC_SOFTMAX_SHORT = 128, FC_GRADIENT_SHORT = 64, FC_SOFTMAX_WIDEST = 256 };
typedef struct fc_softmax {
    bool log, stream;        /* stream: y goes past the caches; forward not of short rows */
    int64_t columns, step;
    int64_t width;           /* the most neighbours in one call of a strided kernel, whole vectors */
    float *scratch;          /* [columns] to stream; strided: [columns][width], two of them backward, or NULL */
} fc_softmax;

/* Softmax cross-entropy of logits whose `classes` lie `step` apart; see cross_entropy_row.inc. */
typedef struct fc_cross_entropy {
    int64_t classes, step, width; /* as in fc_softmax */
    bool stream;
    float *scratch; /* [classes] to stream; strided: [classes][width] */
    const float *weight; /* [classes], or NULL for ones where smoothing is 0 */
    float weight_sum, smoothing, scale;
    int64_t ignore_index; /* the label of rows that count for nothing */
} fc_cross_entropy;

/* One sequence of a CTC loss, states and all that is kept of its steps; see ctc_rows.inc. */
typedef struct fc_ctc_sequence {
    int64_t classes, step, blank; /* step: elements from one step's logits to the next */
    int64_t steps, labels, width; /* width: labels + 1 in whole vectors of any instruction set */
    const int64_t *label;         /* [labels] */
    const float *x;
    float *y;          /* the gradient; may be x */
    float scale;       /* of the gradient */
    float exponent;    /* e of all alignments together, for the way back */
    float *now;        /* [4][width], the state on the way back: m and e of the labels, m and e of the blanks */
    float *skip;       /* [width and a vector]: 0 where label j may follow label j - 1 without a blank, else nothing */
    float *logits;     /* [width], -inf but for label j at j and the blank at 0 */
    float *sums;       /* [steps] */
    float *blanks;     /* [steps][2]: m and e of the blank's emissions */
    float *emissions;  /* [steps][2][width]: of the labels */
    float *alphas;     /* [steps + 1][4][width]: as now, before the first step and after each */
} fc_ctc_sequence;

struct fc_kernels {
    const char *isa;
    int lanes;
    int gemm_rows;    /* the tallest gemm_tile */
    int tile_rows;    /* the tallest outer_tile and pack_tile, and rows of winograd_sums */
    int tile_columns; /* the widest: two vectors */
    int plane_vectors[FC_PLANE_OUTPUTS]; /* vectors of pixels in a plane_tile of 1, 2, ... outputs */
    int few_rows;     /* the most of add_products and dot_products */
    int panel_rows;   /* the least that is whole tiles and whole vectors */
    int window_values[2];              /* the most rows, of all lines, in a window_tile of one and of two vectors */
    const struct fc_kernels *narrow;   /* for columns that fill half a vector; or these kernels themselves */
#define FC_KERNEL(name, signature) void(*name) signature;
#include "kernels.def"
#undef FC_KERNEL
};

#endif
