/* conv2d_winograd.h - private: the tiles that the passes of Winograd's convolution share. */
#ifndef FASTCONV_CONV2D_WINOGRAD_H
#define FASTCONV_CONV2D_WINOGRAD_H

#include "conv2d.h"

/* y[n][p][q][k] = sum over r, s, c of x[n][p + r - top][q + s - left][c] * w[r][s][c][k] with r, s < 3, cut into tiles of
 * outputs x outputs pixels. Forward: x, y. Backward input: x is dy, y is dx, the weights are rotated and transposed. */
typedef struct winograd_map {
    int outputs;                               /* m of F(m x m, 3 x 3) */
    int64_t batch, groups, top, left;          /* top and left may be negative */
    int64_t in_height, in_width, in_depth;     /* in_depth channels a group */
    int64_t out_height, out_width, out_depth;  /* out_depth channels a group */
    int64_t tile_rows, tile_columns;           /* of an image */
} winograd_map;

/* Where tile number `index` of the batch starts. */
typedef struct winograd_place { int64_t image, row, column; } winograd_place;

static inline int64_t winograd_elements(const winograd_map *map) { return (map->outputs + 2) * (map->outputs + 2); }
static inline int64_t winograd_tiles(const winograd_map *map) {
    return map->batch * map->tile_rows * map->tile_columns;
}
static inline winograd_place winograd_tile(const winograd_map *map, int64_t index) {
    const int64_t row = index / map->tile_columns;
    return (winograd_place){row / map->tile_rows, row % map->tile_rows * map->outputs,
                            index % map->tile_columns * map->outputs};
}

bool conv2d_winograd_supports(const fc_conv2d *conv);
winograd_map winograd_forward_map(const fc_conv2d *conv, int outputs);
/* pixel[(m + 2)^2]: the input pixels of a tile, `zeros` outside the image. */
void winograd_point_at_pixels(const winograd_map *map, int64_t tile, const float *x, const float *zeros,
                              const float **pixel);

/* ---- conv2d_winograd_weight.c: the gradient in the weights, from tiles of outputs x outputs, 2 or 4. */

int64_t conv2d_winograd_weight_bytes(const fc_conv2d *conv, int outputs, const fc_context *ctx);
void conv2d_winograd_backward_weight(const fc_conv2d *conv, int outputs, const float *dy, const float *x, float *dweight,
                                     float *dbias, void *workspace, const fc_context *ctx);

#endif
