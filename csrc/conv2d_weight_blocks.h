/* conv2d_weight_blocks.h - private: how the weight gradient of direct convolution is cut, see conv2d_direct_weight.c. */
#ifndef FASTCONV_CONV2D_WEIGHT_BLOCKS_H
#define FASTCONV_CONV2D_WEIGHT_BLOCKS_H

#include "conv2d_gather.h"

/* A tile is rows times columns. Its columns are output channels and its rows input channels; `swapped`, the other way round.
 * Blocks of dweight are (a part of a group's input channels) x (a part of its output channels), chunks are (images) x
 * (output rows) x (output columns). Sizes are those of the largest. */
typedef struct weight_blocks {
    bool merged;      /* a tap is a kernel row, and its depth S * C contiguous values of zero-padded lines */
    bool swapped;
    bool direct;      /* one tap, swapped: the sums are a block of dweight as it lies */
    bool pack_x, pack_dy;
    int64_t tap_columns;                       /* of a kernel row; 1 if merged */
    int64_t depth;                             /* values of x a tap and pixel in a group */
    int64_t in_parts, out_parts, in, out;      /* in: of the depth */
    int64_t image_parts, row_parts, column_parts, images, rows, columns;
    int64_t line_step, column_step;            /* of the lines and columns of x that are used */
    int64_t lines, line_columns;               /* of x, that a chunk needs of an image */
} weight_blocks;

weight_blocks conv2d_weight_blocks(const fc_conv2d *conv, const fc_context *ctx);

static inline int64_t weight_taps(const fc_conv2d *c, const weight_blocks *b) { return c->kernel_height * b->tap_columns; }
static inline int64_t weight_chunk_count(const weight_blocks *b) { return b->image_parts * b->row_parts * b->column_parts; }
static inline int64_t weight_rows(const weight_blocks *b) { return b->swapped ? b->out : b->in; }
static inline int64_t weight_columns(const weight_blocks *b) { return b->swapped ? b->in : b->out; }

#endif
