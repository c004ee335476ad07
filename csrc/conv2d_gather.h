/* conv2d_gather.h - private: the product both the forward and the input-gradient pass of direct convolution are. */
#ifndef FASTCONV_CONV2D_GATHER_H
#define FASTCONV_CONV2D_GATHER_H

#include "conv2d.h"

/* y[n][i*out_step_h + out_h][j*out_step_w + out_w][k] = sum over tap rows a, tap columns b, channels c of
 *     x[n][i*step_h + row_at[a]][j*step_w + column_at[b]][c] * w[a][b][c][k],  x being 0 outside the image.
 * Forward: i, j are output pixels. Backward input: one phase of the input pixels, x is dy. */
typedef struct conv2d_gather {
    int64_t batch, groups;
    int64_t in_height, in_width, in_depth;             /* in_depth channels a group */
    int64_t rows, columns;                             /* the grid of i and j */
    int64_t step_h, step_w;
    int64_t tap_rows, tap_columns;
    const int64_t *row_at, *column_at;                 /* [tap_rows], [tap_columns], ascending */
    int64_t row_reach, column_reach;                   /* last minus first of these, or a bound on it */
    int64_t out_height, out_width, out_depth;          /* out_depth channels a group */
    int64_t out_step_h, out_step_w, out_h, out_w;
    int64_t taps_before;                               /* in packed weights, those of earlier phases */
} conv2d_gather;

/* Enough for every gather with at most these rows, columns, taps and reaches. */
int64_t conv2d_gather_workspace_bytes(const conv2d_gather *g, const fc_context *ctx);
void conv2d_gather_run(const conv2d_gather *g, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                       float *y, void *workspace, const fc_context *ctx);

/* ---- conv2d_planes.c: the same for few output channels. */

bool conv2d_uses_planes(const conv2d_gather *g, const fc_context *ctx);
int64_t conv2d_planes_bytes(const conv2d_gather *g, const fc_context *ctx);
void conv2d_planes_run(const conv2d_gather *g, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                       float *y, void *workspace, const fc_context *ctx);

/* ---- conv2d_phases.c: which gathers the passes of a convolution are. Tables are taken from the arena. */

conv2d_gather conv2d_forward_size(const fc_conv2d *conv); /* without the tables */
conv2d_gather conv2d_forward_gather(const fc_conv2d *conv, fc_arena *arena);

/* Input gradient with strides sh, sw: the input pixels fall into sh * sw phases (a + sh * i, b + sw * j), and the taps that
 * reach a phase are the same for all its pixels. Each phase is a gather from dy: no scatter, every dx written once. */
typedef struct conv2d_phase_tap { int64_t before, count, index; } conv2d_phase_tap;

typedef struct conv2d_phase_tables {
    int64_t *rows, *row_at;       /* kernel rows that reach the phase at hand, descending, and where in dy they start */
    int64_t *columns, *column_at; /* the same for kernel columns */
    conv2d_phase_tap *row_of, *column_of; /* of each kernel row and column: how many belong to phases before its own, how
                                           * many to its own, and its place among these */
} conv2d_phase_tables;

int64_t conv2d_phase_tables_bytes(const fc_conv2d *conv);
conv2d_phase_tables conv2d_take_phase_tables(const fc_conv2d *conv, fc_arena *arena);
void conv2d_fill_phase_tables(const fc_conv2d *conv, const conv2d_phase_tables *tables);
int64_t conv2d_phase_rows(const fc_conv2d *conv);
int64_t conv2d_phase_columns(const fc_conv2d *conv);
conv2d_gather conv2d_phase_gather(const fc_conv2d *conv, int64_t a, int64_t b, const conv2d_phase_tables *tables);
/* A gather that no phase exceeds in pixels, taps or reach, for sizing workspaces. */
conv2d_gather conv2d_largest_phase(const fc_conv2d *conv);

/* ---- conv2d_direct_columns.c: the input gradient from the weights as they lie. */

bool conv2d_direct_takes_columns(const fc_conv2d *conv, const fc_context *ctx);
int64_t conv2d_direct_columns_bytes(const fc_conv2d *conv, const fc_context *ctx);
void conv2d_direct_columns(const fc_conv2d *conv, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx);

/* ---- conv2d_pack.c: weights in the order the tile reads them. */

void conv2d_pack_forward(const fc_conv2d *conv, const float *weight, float *packed, const fc_context *ctx);
/* All phases at once: that of a gather starts at taps_before * groups * panels * depth * tile columns. */
void conv2d_pack_backward_input(const fc_conv2d *conv, const float *weight, const conv2d_phase_tables *tables,
                                float *packed, const fc_context *ctx);

/* Output columns [*begin, *end) whose input column for kernel column s lies inside the image. */
void conv2d_inside_columns(const fc_conv2d *conv, int64_t s, int64_t *begin, int64_t *end);

#endif
