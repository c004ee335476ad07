/* conv2d_winograd.h - private: the tiles that the passes of Winograd's convolution share. */
#ifndef FASTCONV_CONV2D_WINOGRAD_H
#define FASTCONV_CONV2D_WINOGRAD_H

#include "conv2d.h"

/* y[n][p][q][k] = sum over r, s, c of x[n][p + r - top][q + s - left][c] * w[r][s][c][k] with r, s < 3, cut into tiles
 * of outputs x outputs pixels. Backward input: x is dy, y is dx, the weights are rotated and transposed. */
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

enum { WINOGRAD_MOST_ELEMENTS = 64 };

winograd_map winograd_forward_map(const fc_conv2d *conv, int outputs);
/* pixel[(m + 2)^2]: the input pixels of a tile, `zeros` outside the image. */
void winograd_point_at_pixels(const winograd_map *map, int64_t tile, const float *x, const float *zeros,
                              const float **pixel);

/* ---- conv2d_winograd_weight.c: the gradient in the weights, from tiles of outputs x outputs, 2 or 4. */

int64_t conv2d_winograd_weight_bytes(const fc_conv2d *conv, int outputs, const fc_context *ctx);
void conv2d_winograd_backward_weight(const fc_conv2d *conv, int outputs, const float *dy, const float *x, float *dweight,
                                     float *dbias, void *workspace, const fc_context *ctx);

/* ---- weights */

/* The weights as the user holds them: element (group, depth, column, tap) of the product is
 * w[group * group_stride + depth * depth_stride + column * column_stride + (rotated ? 8 - tap : tap)]. */
typedef struct winograd_weights {
    const float *w;
    int64_t group_stride, depth_stride, column_stride;
    bool rotated, unscaled; /* unscaled: the transformed inputs take their factors */
} winograd_weights;

/* Transformed, a panel of tile_columns output channels of a group lies as [element][depth][tile_columns], with
 * winograd_weight_floats(depth) from one element to the next. A group's last panel may be narrower. */
int64_t winograd_panels(const winograd_map *map, const fc_context *ctx); /* of a group */
int64_t winograd_weight_floats(int64_t depth, const fc_context *ctx);
int64_t winograd_panel_floats(const winograd_map *map, const fc_context *ctx);
/* The depths [begin, end) of panel number `index` of all groups. */
void winograd_transform_panel(const winograd_map *map, const winograd_weights *weights, int64_t index, int64_t begin,
                              int64_t end, float *u, const fc_context *ctx);

/* ---- conv2d_winograd_run.c */

typedef struct winograd_product {
    const winograd_map *map;
    const float *x;
    const float *packed; /* every panel, transformed; or NULL: they are transformed as they are used */
    winograd_weights weights;
    const conv2d_epilogue *epilogue;
    float *y;
} winograd_product;

/* So few that they are one block, and each transformed weight is used once. */
bool winograd_has_few_tiles(const winograd_map *map);
int64_t winograd_run_bytes(const winograd_map *map, bool packed, const fc_context *ctx);
void winograd_run(const winograd_product *product, void *workspace, const fc_context *ctx);

#endif
