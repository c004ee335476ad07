/* conv2d_winograd.c - Winograd convolution F(m x m, 3 x 3) (Lavin & Gray 2015, arXiv 1509.09308) on NHWC: the maps of
 * the forward pass and of the input gradient, the transformed weights, and the table entries of m = 2, 4, 6.
 *
 * Weights are transformed in float: sums first, then one product with a factor that was rounded once. In double the
 * relative error of the result is at most 6 % smaller from 32 channels on, and 1 % from 256.
 */
#include "conv2d_winograd.h"

/* ---------------------------------------------------------------------------------------------------------- map */

/* A group of a single channel has no product to save on, and its errors would have nothing to average over. */
static bool supports(const fc_conv2d *c) {
    return !conv2d_depthwise.supports(c) && c->kernel_height == 3 && c->kernel_width == 3 &&
           c->stride_height == 1 && c->stride_width == 1 && c->dilation_height == 1 && c->dilation_width == 1;
}

/* m of F(m x m, 3 x 3). The weight gradient has no kernels for 6 x 6, whose 64 planes of sums take 1.8 times the memory
 * of those of 4 x 4. */
static int outputs_of(const fc_conv2d *c, fc_pass pass) {
    if (c->chosen[pass] == FC_CONV2D_WINOGRAD_2X2) return 2;
    return c->chosen[pass] == FC_CONV2D_WINOGRAD_6X6 && pass != FC_BACKWARD_WEIGHT ? 6 : 4;
}

static winograd_map with_tiles(winograd_map map) {
    map.tile_rows = fc_ceil_div(map.out_height, map.outputs);
    map.tile_columns = fc_ceil_div(map.out_width, map.outputs);
    return map;
}

winograd_map winograd_forward_map(const fc_conv2d *c, int outputs) {
    return with_tiles((winograd_map){outputs, c->batch, c->groups, c->pad_top, c->pad_left, c->in_height, c->in_width,
                                     conv2d_in_depth(c), c->out_height, c->out_width, conv2d_out_depth(c), 0, 0});
}

static winograd_map forward_map(const fc_conv2d *c) { return winograd_forward_map(c, outputs_of(c, FC_FORWARD)); }

/* dx[h] = sum over r of dy[h + top - r] w[r] = sum over r of dy[h + r - (2 - top)] w[2 - r] */
static winograd_map backward_map(const fc_conv2d *c) {
    const int outputs = outputs_of(c, FC_BACKWARD_INPUT);
    return with_tiles((winograd_map){outputs, c->batch, c->groups, 2 - c->pad_top, 2 - c->pad_left, c->out_height,
                                     c->out_width, conv2d_out_depth(c), c->in_height, c->in_width, conv2d_in_depth(c),
                                     0, 0});
}

void winograd_point_at_pixels(const winograd_map *map, int64_t tile, const float *x, const float *zeros,
                              const float **pixel) {
    const winograd_place place = winograd_tile(map, tile);
    const int extent = map->outputs + 2;
    const int64_t channels = map->groups * map->in_depth;
    for (int i = 0; i < extent; i++) {
        const int64_t h = place.row + i - map->top;
        const float *line = x + (place.image * map->in_height + h) * map->in_width * channels;
        for (int j = 0; j < extent; j++) {
            const int64_t w = place.column + j - map->left;
            const bool inside = h >= 0 && h < map->in_height && w >= 0 && w < map->in_width;
            *pixel++ = inside ? line + w * channels : zeros;
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- weights */

int64_t winograd_panels(const winograd_map *map, const fc_context *ctx) {
    return conv2d_panel_count(map->out_depth, ctx);
}

/* An odd number of cache lines, so that the elements of one depth fall into sets of their own in L1. */
int64_t winograd_weight_floats(int64_t depth, const fc_context *ctx) {
    return fc_round_up(depth * ctx->kernels->tile_columns, 32) + 16;
}

int64_t winograd_panel_floats(const winograd_map *map, const fc_context *ctx) {
    return winograd_elements(map) * winograd_weight_floats(map->in_depth, ctx);
}

static int64_t packed_floats(const winograd_map *map, const fc_context *ctx) {
    return map->groups * winograd_panels(map, ctx) * winograd_panel_floats(map, ctx);
}

static int64_t raw_floats(const winograd_map *map) { return map->groups * map->in_depth * map->out_depth * 9; }

void winograd_transform_panel(const winograd_map *map, const winograd_weights *weights, int64_t index, int64_t begin,
                              int64_t end, float *u, const fc_context *ctx) {
    const int64_t panels = winograd_panels(map, ctx), width = ctx->kernels->tile_columns;
    const int64_t column = index % panels * width;
    const fc_winograd_weight panel = {
        .outputs = map->outputs, .rotated = weights->rotated, .unscaled = weights->unscaled,
        .w = weights->w + index / panels * weights->group_stride + begin * weights->depth_stride +
             column * weights->column_stride,
        .depth = end - begin, .depth_stride = weights->depth_stride, .columns = fc_min(width, map->out_depth - column),
        .column_stride = weights->column_stride, .u = u, .u_step = winograd_weight_floats(end - begin, ctx),
    };
    ctx->kernels->winograd_weight(&panel);
}

typedef struct pack_task {
    const winograd_map *map;
    const fc_context *ctx;
    winograd_weights weights;
    float *packed;
} pack_task;

static void transform_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        winograd_transform_panel(t->map, &t->weights, i, 0, t->map->in_depth,
                                 t->packed + i * winograd_panel_floats(t->map, t->ctx), t->ctx);
}

static void transform_weights(const winograd_map *map, const winograd_weights *weights, float *packed,
                              const fc_context *ctx) {
    pack_task t = {map, ctx, *weights, packed};
    fc_parallel(map->groups * winograd_panels(map, ctx),
                fc_threads_for_memory(packed_floats(map, ctx) * (int64_t)sizeof(float), ctx), transform_panels, &t);
}

static winograd_weights forward_weights(const winograd_map *map, const float *w) {
    return (winograd_weights){w, map->out_depth * map->in_depth * 9, 9, map->in_depth * 9, false, false};
}

/* Depths are the output channels of the layer, columns its input channels. */
static winograd_weights backward_weights(const winograd_map *map, const float *w, bool unscaled) {
    return (winograd_weights){w, map->out_depth * map->in_depth * 9, map->out_depth * 9, 9, true, unscaled};
}

/* ---------------------------------------------------------------------------------------------------------- passes */

static int64_t packed_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const winograd_map map = forward_map(c);
    return (packed_floats(&map, ctx) + raw_floats(&map)) * (int64_t)sizeof(float);
}

static void pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    const winograd_map map = forward_map(c);
    const winograd_weights weights = forward_weights(&map, weight);
    transform_weights(&map, &weights, packed, ctx);
    memcpy(packed + packed_floats(&map, ctx), weight, (size_t)raw_floats(&map) * sizeof(float));
}

static void forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue, float *y,
                    void *workspace, const fc_context *ctx) {
    const winograd_map map = forward_map(c);
    const winograd_weights weights = forward_weights(&map, packed + packed_floats(&map, ctx));
    const winograd_product product = {&map, x, packed, weights, epilogue, y};
    winograd_run(&product, workspace, ctx);
}

/* Weights that are used once are transformed as they are used: written to memory and read again (256 channels: 9 MB)
 * they took half of the time at 14 x 14. */
static void run_plain(winograd_product product, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    if (!winograd_has_few_tiles(product.map)) {
        float *packed = fc_take(&arena, packed_floats(product.map, ctx) * (int64_t)sizeof(float));
        transform_weights(product.map, &product.weights, packed, ctx);
        product.packed = packed;
    }
    winograd_run(&product, arena.next, ctx);
}

static int64_t run_plain_bytes(const winograd_map *map, const fc_context *ctx) {
    if (winograd_has_few_tiles(map)) return winograd_run_bytes(map, false, ctx);
    return winograd_run_bytes(map, true, ctx) +
           fc_round_up(packed_floats(map, ctx) * (int64_t)sizeof(float), FC_ALIGNMENT);
}

static void forward_plain(const fc_conv2d *c, const float *x, const float *weight, const conv2d_epilogue *epilogue,
                          float *y, void *workspace, const fc_context *ctx) {
    const winograd_map map = forward_map(c);
    run_plain((winograd_product){&map, x, NULL, forward_weights(&map, weight), epilogue, y}, workspace, ctx);
}

static int64_t plain_workspace_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const winograd_map map = forward_map(c);
    return run_plain_bytes(&map, ctx);
}

static void backward_input(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx) {
    const winograd_map map = backward_map(c);
    const winograd_weights weights = backward_weights(&map, weight, winograd_has_few_tiles(&map));
    run_plain((winograd_product){&map, dy, NULL, weights, epilogue, dx}, workspace, ctx);
}

static void backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx) {
    conv2d_winograd_backward_weight(c, outputs_of(c, FC_BACKWARD_WEIGHT), dy, x, dweight, dbias, workspace, ctx);
}

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    const winograd_map map = pass == FC_FORWARD ? forward_map(c) : backward_map(c);
    if (pass == FC_BACKWARD_WEIGHT)
        return conv2d_winograd_weight_bytes(c, outputs_of(c, FC_BACKWARD_WEIGHT), ctx);
    return pass == FC_FORWARD ? winograd_run_bytes(&map, true, ctx) : run_plain_bytes(&map, ctx);
}

/* ------------------------------------------------------------------------------------------------- three algorithms */

/* One code for all three: m is that of the algorithm chosen for the pass. */
const conv2d_algorithm conv2d_winograd_2x2 = {
    "winograd_2x2", supports, workspace_bytes, packed_bytes, pack, forward, backward_input, backward_weight,
    plain_workspace_bytes, forward_plain,
};
const conv2d_algorithm conv2d_winograd = {
    "winograd", supports, workspace_bytes, packed_bytes, pack, forward, backward_input, backward_weight,
    plain_workspace_bytes, forward_plain,
};
const conv2d_algorithm conv2d_winograd_6x6 = {
    "winograd_6x6", supports, workspace_bytes, packed_bytes, pack, forward, backward_input, backward_weight,
    plain_workspace_bytes, forward_plain,
};
