/* conv2d_weight_blocks.h - private: how the direct weight gradient is cut, see conv2d_direct_weight.c. */
#ifndef FASTCONV_CONV2D_WEIGHT_BLOCKS_H
#define FASTCONV_CONV2D_WEIGHT_BLOCKS_H

#include "conv2d_gather.h"

/* A tile is rows times columns. Its columns are output channels and its rows input channels; `swapped`, the other way
 * round. Blocks of dweight are (a part of a group's input channels) x (a part of its output channels), chunks are
 * (images) x (output rows) x (output columns). Sizes are those of the largest. */
typedef struct weight_blocks {
    bool swapped;
    bool direct;      /* one tap, swapped: the sums are a block of dweight as it lies */
    bool pack_x, pack_dy;
    int64_t in_parts, out_parts, in, out;      /* channels of a group */
    int64_t image_parts, row_parts, column_parts, images, rows, columns;
    int64_t line_step, column_step;            /* of the lines and columns of x that are used */
    int64_t lines, line_columns;               /* of x, that a chunk needs of an image */
} weight_blocks;

weight_blocks conv2d_weight_blocks(const fc_conv2d *conv, const fc_context *ctx);

static inline int64_t weight_chunk_count(const weight_blocks *b) {
    return b->image_parts * b->row_parts * b->column_parts;
}

/* The pixels of a chunk, and the part of x they need. */
typedef struct weight_chunk {
    int64_t image, images, row, rows, column, columns;
    int64_t line, lines, line_column, line_columns;
    bool first, last;
} weight_chunk;

weight_chunk conv2d_weight_chunk(const fc_conv2d *conv, const weight_blocks *blocks, int64_t index);

/* A block of dweight: channels of one group. */
typedef struct weight_block {
    int64_t group, in_begin, in_end, out_begin, out_end;
    float *y;            /* its sums */
    int64_t row_stride, tap_stride;
} weight_block;

/* ---- conv2d_weight_operands.c */

/* One operand of a chunk, where the tiles read it. */
typedef struct weight_operand {
    const float *base;
    int64_t pitch;       /* floats from a pixel to the next */
    int64_t tile_stride; /* floats from a tile's values to the next tile's; 0: they lie side by side */
    int64_t offset;      /* of the block's first value from a pixel */
} weight_operand;

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    weight_blocks blocks;
    const float *dy, *x;
    float *dweight;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes;
} weight_task;

/* What a thread fills for each chunk. */
typedef struct weight_scratch {
    float *sums, *x_panels, *dy_panels;
    struct fc_run *runs; /* of all taps, one after the other */
    int64_t *tap_begin;  /* [taps + 1], in runs */
} weight_scratch;

/* With an arena of address 0 it measures. */
weight_scratch conv2d_weight_take_scratch(const weight_task *task, fc_arena *arena);

weight_operand conv2d_weight_pack_x(const weight_task *task, const weight_chunk *chunk, const weight_block *block,
                                    float *panels);
weight_operand conv2d_weight_pack_dy(const weight_task *task, const weight_chunk *chunk, const weight_block *block,
                                     float *panels);
/* Floats of x from one step of a run to the next. */
int64_t conv2d_weight_x_step(const weight_task *task, const weight_operand *x);
/* The runs of one tap over the chunk; neighbours in both operands are joined. Returns how many. */
int64_t conv2d_weight_runs(const weight_task *task, const weight_chunk *chunk, const weight_operand *x,
                           const weight_operand *dy, int64_t tap, struct fc_run *runs);

/* What the next chunk reads, and what a tile's weights will be written to, is fetched into L2 a few pieces a product:
 * copies that wait for L3 or beyond cost a tenth of the time of 1x1 layers. */
typedef struct weight_stream {
    const char *line;                               /* the first piece of the line */
    int64_t bytes, columns, column_bytes;           /* of a piece; pieces of a line, and from one to the next */
    int64_t lines, line_bytes, images, image_bytes;
    int64_t at_column, at_line, at_image;
} weight_stream;

weight_stream conv2d_weight_stream_x(const weight_task *task, const weight_chunk *chunk, const weight_block *block);
weight_stream conv2d_weight_stream_dy(const weight_task *task, const weight_chunk *chunk, const weight_block *block);
void conv2d_weight_prefetch(weight_stream *stream, int64_t pieces);

/* ---- conv2d_weight_windows.c: few input channels, whole kernel rows at a time. */
bool conv2d_uses_windows(const fc_conv2d *conv);
int64_t conv2d_weight_windows_bytes(const fc_conv2d *conv, const fc_context *ctx);
void conv2d_weight_windows(const fc_conv2d *conv, const float *dy, const float *x, float *dweight, float *dbias,
                           void *workspace, const fc_context *ctx);

static inline int64_t weight_stream_pieces(const weight_stream *s) { return s->images * s->lines * s->columns; }

#endif
