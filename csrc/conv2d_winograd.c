/* conv2d_winograd.c - Winograd convolution F(m x m, 3 x 3) (Lavin & Gray 2015, arXiv 1509.09308) on NHWC: forward and input
 * gradient.
 *
 * A block of tiles is transformed into v[element][tile][channel]. Then, one panel of output channels at a time, every
 * element's product v[element] . u[element] is a GEMM into products[tile][element][column], and these are transformed into y.
 * So a block's v stays in L2, its products are one panel wide, and the transformed weights pass by in the order they lie.
 *
 * A tile with a result that is not finite is computed again, directly, from the weights as they are: NaN and Inf, and sums
 * that overflow only after the transforms, then behave as in the direct algorithm.
 */
#include "conv2d_winograd.h"

/* v of a block, and the transformed weights of a part of the depth where they are made as they are used. */
enum { BLOCK_BYTES = 512 * 1024, MOST_TILES = 24, MOST_ELEMENTS = 64, WEIGHT_BYTES = 256 * 1024 };

/* The weights as the user holds them; element (group, depth, column, tap) of the product is
 * w[group * group_stride + depth * depth_stride + column * column_stride + (rotated ? 8 - tap : tap)]. */
typedef struct winograd_weights {
    const float *w;
    int64_t group_stride, depth_stride, column_stride;
    bool rotated;
} winograd_weights;

typedef struct winograd_task {
    const winograd_map *map;
    const fc_context *ctx;
    const float *x, *zeros;
    const float *packed; /* [group][panel][element][depth][tile_columns]; or NULL: transform them as they are used */
    winograd_weights weights;
    const conv2d_epilogue *epilogue;
    float *y;
    int64_t blocks, parts; /* of the tiles; of the panels */
    float *v;              /* of the only block, shared by the threads; or NULL */
    char *scratch;         /* a thread: scratch_bytes */
    int64_t scratch_bytes;
} winograd_task;

/* What a thread works in. */
typedef struct winograd_scratch {
    float *v, *products, *u;
    const float **v_rows; /* [tile] */
    float **product_rows; /* [tile] */
} winograd_scratch;

/* ------------------------------------------------------------------------------------------------------ geometry */

bool conv2d_winograd_supports(const fc_conv2d *c) {
    return c->kernel_height == 3 && c->kernel_width == 3 && c->stride_height == 1 && c->stride_width == 1 &&
           c->dilation_height == 1 && c->dilation_width == 1;
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

/* dx[h] = sum over r of dy[h + top - r] w[r] = sum over r of dy[h + r - (2 - top)] w[2 - r] */
static winograd_map backward_map(const fc_conv2d *c, int outputs) {
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

/* Panels of tile_columns output channels; a group's last may be narrower. */
static int64_t group_panels(const winograd_map *map, const fc_context *ctx) {
    return conv2d_panel_count(map->out_depth, ctx);
}

/* From one element of a panel's transformed weights to the next: an odd number of cache lines, as in v. */
static int64_t weight_floats(int64_t depth, const fc_context *ctx) {
    return fc_round_up(depth * ctx->kernels->tile_columns, 32) + 16;
}

static int64_t panel_floats(const winograd_map *map, const fc_context *ctx) {
    return winograd_elements(map) * weight_floats(map->in_depth, ctx);
}

static int64_t packed_floats(const winograd_map *map, const fc_context *ctx) {
    return map->groups * group_panels(map, ctx) * panel_floats(map, ctx);
}

static int64_t raw_floats(const winograd_map *map) { return map->groups * map->in_depth * map->out_depth * 9; }

/* Floats of a tile's row of v: whole vectors. */
static int64_t row_floats(const winograd_map *map) { return fc_round_up(map->groups * map->in_depth, 16); }

/* Blocks of nearly equal numbers of tiles, a multiple of the threads: one more on one thread is time lost on the others. */
static int64_t count_blocks(const winograd_map *map, int threads) {
    const int64_t tiles = winograd_tiles(map), tile_bytes = winograd_elements(map) * row_floats(map) * 4;
    const int64_t most = fc_min(MOST_TILES, fc_max(16, BLOCK_BYTES / tile_bytes));
    const int64_t blocks = fc_ceil_div(tiles, most);
    return blocks == 1 ? 1 : fc_min(tiles, fc_round_up(blocks, threads));
}

static int64_t block_tiles(const winograd_map *map, int threads) {
    return fc_ceil_div(winograd_tiles(map), count_blocks(map, threads));
}

/* From one element of v to the next: an odd number of cache lines, so that an element each of a vector of channels falls
 * into sets of its own in L1. */
static int64_t element_floats(const winograd_map *map, int threads) {
    return fc_round_up(block_tiles(map, threads) * row_floats(map), 32) + 16;
}

static int64_t v_bytes(const winograd_map *map, int threads) {
    return winograd_elements(map) * element_floats(map, threads) * (int64_t)sizeof(float);
}

static int64_t products_bytes(const winograd_map *map, int threads, const fc_context *ctx) {
    return fc_round_up(block_tiles(map, threads) * winograd_elements(map) * ctx->kernels->tile_columns *
                       (int64_t)sizeof(float), FC_ALIGNMENT);
}

static int64_t table_bytes(const winograd_map *map, int threads) {
    return fc_round_up(block_tiles(map, threads) * (int64_t)sizeof(float *), FC_ALIGNMENT);
}

/* The depth of the part of a panel that is transformed at a time where it is used at once. */
static int64_t unpacked_depth(const winograd_map *map, const fc_context *ctx) {
    const int64_t depth_bytes = winograd_elements(map) * ctx->kernels->tile_columns * (int64_t)sizeof(float);
    const int64_t parts = fc_ceil_div(map->in_depth * depth_bytes, WEIGHT_BYTES);
    return fc_ceil_div(map->in_depth, parts);
}

static int64_t unpacked_bytes(const winograd_map *map, const fc_context *ctx) {
    return winograd_elements(map) * weight_floats(unpacked_depth(map, ctx), ctx) * (int64_t)sizeof(float);
}

static int threads_for(const winograd_map *map, const fc_context *ctx) {
    return fc_threads_for_arithmetic(raw_floats(map) * winograd_tiles(map) * map->outputs * map->outputs, ctx);
}

static int64_t thread_bytes(const winograd_map *map, bool packed, int threads, const fc_context *ctx) {
    const bool shared = count_blocks(map, threads) == 1;
    return products_bytes(map, threads, ctx) + 2 * table_bytes(map, threads) + (shared ? 0 : v_bytes(map, threads)) +
           (packed ? 0 : unpacked_bytes(map, ctx));
}

static int64_t zeros_bytes(const winograd_map *map) { return row_floats(map) * (int64_t)sizeof(float); }

static int64_t run_bytes(const winograd_map *map, bool packed, const fc_context *ctx) {
    const int threads = threads_for(map, ctx);
    if (winograd_tiles(map) == 0) return 0;
    return zeros_bytes(map) + (count_blocks(map, threads) == 1 ? v_bytes(map, threads) : 0) +
           threads * thread_bytes(map, packed, threads, ctx);
}

/* ------------------------------------------------------------------------------------------------------- weights */

typedef struct pack_task {
    const winograd_map *map;
    const fc_context *ctx;
    winograd_weights weights;
    float *packed;
} pack_task;

/* The depths [begin, end) of panel number `index`. */
static void transform_panel(const winograd_map *map, const winograd_weights *weights, int64_t index, int64_t begin,
                            int64_t end, float *u, const fc_context *ctx) {
    const int64_t panels = group_panels(map, ctx), width = ctx->kernels->tile_columns;
    const int64_t column = index % panels * width;
    const fc_winograd_weight panel = {
        .outputs = map->outputs, .rotated = weights->rotated,
        .w = weights->w + index / panels * weights->group_stride + begin * weights->depth_stride +
             column * weights->column_stride,
        .depth = end - begin, .depth_stride = weights->depth_stride, .columns = fc_min(width, map->out_depth - column),
        .column_stride = weights->column_stride, .u = u, .u_step = weight_floats(end - begin, ctx),
    };
    ctx->kernels->winograd_weight(&panel);
}

static void transform_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        transform_panel(t->map, &t->weights, i, 0, t->map->in_depth, t->packed + i * panel_floats(t->map, t->ctx), t->ctx);
}

static void transform_weights(const winograd_map *map, const winograd_weights *weights, float *packed,
                              const fc_context *ctx) {
    pack_task t = {map, ctx, *weights, packed};
    fc_parallel(map->groups * group_panels(map, ctx),
                fc_threads_for_memory(packed_floats(map, ctx) * (int64_t)sizeof(float), ctx), transform_panels, &t);
}

static winograd_weights forward_weights(const winograd_map *map, const float *w) {
    return (winograd_weights){w, map->out_depth * map->in_depth * 9, 9, map->in_depth * 9, false};
}

/* Depths are the output channels of the layer, columns its input channels. */
static winograd_weights backward_weights(const winograd_map *map, const float *w) {
    return (winograd_weights){w, map->out_depth * map->in_depth * 9, map->out_depth * 9, 9, true};
}

/* --------------------------------------------------------------------------------------------------------- tiles */

static float *output_at(const winograd_task *t, winograd_place place, int64_t channel) {
    const winograd_map *map = t->map;
    return t->y + ((place.image * map->out_height + place.row) * map->out_width + place.column) *
                  (map->groups * map->out_depth) + channel;
}

static winograd_scratch take_scratch(const winograd_task *t, int thread) {
    const winograd_map *map = t->map;
    const int threads = threads_for(map, t->ctx);
    const int64_t tiles = block_tiles(map, threads), step = winograd_elements(map) * t->ctx->kernels->tile_columns;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    winograd_scratch s;
    s.v_rows = fc_take(&arena, table_bytes(map, threads));
    s.product_rows = fc_take(&arena, table_bytes(map, threads));
    s.products = fc_take(&arena, products_bytes(map, threads, t->ctx));
    s.v = t->v ? t->v : fc_take(&arena, v_bytes(map, threads));
    s.u = t->packed ? NULL : fc_take(&arena, unpacked_bytes(map, t->ctx));
    for (int64_t i = 0; i < tiles; i++) {
        s.v_rows[i] = s.v + i * row_floats(map);
        s.product_rows[i] = s.products + i * step;
    }
    return s;
}

/* The outputs of a tile, one tap of theirs. */
static void multiply_pixels(const winograd_task *t, int64_t index, int64_t tap, fc_tile tile, int columns) {
    const winograd_map *map = t->map;
    const winograd_place place = winograd_tile(map, index);
    const int64_t extent = map->outputs + 2, channels = map->groups * map->out_depth;
    const float *pixel[MOST_ELEMENTS], *x[MOST_ELEMENTS];
    float *y[MOST_ELEMENTS];
    fc_strip strip = {x, y, 0};
    winograd_point_at_pixels(map, index, t->x, t->zeros, pixel);
    for (int64_t i = 0; i < fc_min(map->outputs, map->out_height - place.row); i++) {
        for (int64_t j = 0; j < fc_min(map->outputs, map->out_width - place.column); j++, strip.rows++) {
            x[strip.rows] = pixel[(i + tap / 3) * extent + j + tap % 3];
            y[strip.rows] = t->y + ((place.image * map->out_height + place.row + i) * map->out_width + place.column + j) *
                            channels;
        }
    }
    fc_multiply_strip(&strip, tile, columns, t->ctx);
}

static void transform_inputs(const winograd_task *t, int64_t begin, int64_t end, float *v) {
    const winograd_map *map = t->map;
    const float *pixel[MOST_ELEMENTS];
    fc_winograd_input tile = {.outputs = map->outputs, .pixel = pixel, .channels = map->groups * map->in_depth,
                              .v_step = element_floats(map, threads_for(map, t->ctx))};
    for (int64_t i = begin; i < end; i++) {
        winograd_point_at_pixels(map, i, t->x, t->zeros, pixel);
        tile.v = v + (i - begin) * row_floats(map);
        t->ctx->kernels->winograd_input(&tile);
    }
}

/* products[tile][element][column] of one panel, for the tiles [begin, end) of the block. */
static void multiply_panel(const winograd_task *t, const winograd_scratch *s, int64_t index, int64_t begin, int64_t end) {
    const winograd_map *map = t->map;
    const int64_t width = t->ctx->kernels->tile_columns, panels = group_panels(map, t->ctx);
    const int64_t step = element_floats(map, threads_for(map, t->ctx));
    const int64_t block = t->packed ? fc_block_depth(map->in_depth, t->ctx) : unpacked_depth(map, t->ctx);
    const fc_strip strip = {s->v_rows + begin, s->product_rows + begin, end - begin};
    const int lanes = t->ctx->kernels->lanes, columns = map->out_depth - index % panels * width > lanes ? 2 * lanes : lanes;
    fc_tile tile = {.taps = 1, .x_step = 1, .w_step = width, .alpha = 1.0f};
    for (int64_t depth = 0; depth < map->in_depth; depth += block) {
        const float *u = t->packed + index * panel_floats(map, t->ctx) + depth * width;
        int64_t u_step = weight_floats(map->in_depth, t->ctx);
        tile.depth = fc_min(block, map->in_depth - depth);
        if (!t->packed) {
            transform_panel(map, &t->weights, index, depth, depth + tile.depth, s->u, t->ctx);
            u = s->u;
            u_step = weight_floats(tile.depth, t->ctx);
        }
        for (int64_t element = 0; element < winograd_elements(map); element++) {
            tile.x_offset = element * step + index / panels * map->in_depth + depth;
            tile.w = u + element * u_step;
            tile.y_offset = element * width;
            tile.beta = depth ? 1.0f : 0.0f;
            fc_multiply_strip(&strip, tile, columns, t->ctx);
        }
    }
}

/* Tiles of one panel again, directly: for each tap and part of the channels, its weights are packed where the products were
 * (one tile's room, so that the sums are cut alike whatever the block), then every tile takes it. */
static void recompute_tiles(const winograd_task *t, const winograd_scratch *s, int64_t index, const int64_t *tiles,
                            int64_t count) {
    const winograd_map *map = t->map;
    const winograd_weights *weights = &t->weights;
    const conv2d_epilogue *epilogue = t->epilogue;
    const int64_t width = t->ctx->kernels->tile_columns, panels = group_panels(map, t->ctx), most = winograd_elements(map);
    const int64_t group = index / panels, column = index % panels * width, channel = group * map->out_depth + column;
    const int columns = (int)fc_min(width, map->out_depth - column);
    fc_tile tile = {.taps = 1, .x_step = 1, .w = s->products, .w_step = width, .y_offset = channel, .alpha = 1.0f};
    for (int64_t tap = 0; tap < 9; tap++) {
        for (int64_t depth = 0; depth < map->in_depth; depth += most) {
            const float *w = weights->w + group * weights->group_stride + depth * weights->depth_stride +
                             column * weights->column_stride + (weights->rotated ? 8 - tap : tap);
            tile.depth = fc_min(most, map->in_depth - depth);
            tile.x_offset = group * map->in_depth + depth;
            t->ctx->kernels->pack_panel(w, weights->depth_stride, weights->column_stride, tile.depth, columns, s->products);
            if (tap == 8 && depth + tile.depth == map->in_depth) {
                tile.bias = epilogue->bias ? epilogue->bias + channel : NULL;
                tile.residual = epilogue->residual;
                tile.origin = t->y;
                tile.activation = epilogue->activation;
            }
            for (int64_t i = 0; i < count; i++) multiply_pixels(t, tiles[i], tap, tile, columns);
            tile.beta = 1.0f;
        }
    }
}

/* The tiles [begin, end) of a block that starts at tile number `first`, one panel of their channels. */
static void finish_panel(const winograd_task *t, const winograd_scratch *s, int64_t first, int64_t index, int64_t begin,
                         int64_t end) {
    const winograd_map *map = t->map;
    const int64_t width = t->ctx->kernels->tile_columns, panels = group_panels(map, t->ctx);
    const int64_t column = index % panels * width, channels = map->groups * map->out_depth;
    const int64_t channel = index / panels * map->out_depth + column;
    const conv2d_epilogue *epilogue = t->epilogue;
    fc_winograd_output tile = {
        .outputs = map->outputs, .products_step = width, .channels = fc_min(width, map->out_depth - column),
        .row_step = map->out_width * channels, .column_step = channels, .activation = epilogue->activation,
        .bias = epilogue->bias ? epilogue->bias + channel : NULL,
    };
    int64_t failed[MOST_TILES], failures = 0;
    for (int64_t i = begin; i < end; i++) {
        const winograd_place place = winograd_tile(map, first + i);
        bool finite;
        tile.products = s->product_rows[i];
        tile.y = output_at(t, place, channel);
        tile.residual = epilogue->residual ? epilogue->residual + (tile.y - t->y) : NULL;
        tile.rows = fc_min(map->outputs, map->out_height - place.row);
        tile.columns = fc_min(map->outputs, map->out_width - place.column);
        t->ctx->kernels->winograd_output(&tile, &finite);
        if (!finite) failed[failures++] = first + i;
    }
    if (failures) recompute_tiles(t, s, index, failed, failures);
}

/* ----------------------------------------------------------------------------------------------------------- run */

/* Item: a block of tiles, all its panels. */
static void run_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const winograd_task *t = arg;
    const winograd_scratch scratch = take_scratch(t, thread);
    for (int64_t item = begin; item < end; item++) {
        int64_t first, last;
        fc_split(winograd_tiles(t->map), t->blocks, item, &first, &last);
        transform_inputs(t, first, last, scratch.v);
        for (int64_t panel = 0; panel < t->map->groups * group_panels(t->map, t->ctx); panel++) {
            multiply_panel(t, &scratch, panel, 0, last - first);
            finish_panel(t, &scratch, first, panel, 0, last - first);
        }
    }
}

/* Where there is one block: first every tile's transform, */
static void run_tiles(void *arg, int64_t begin, int64_t end, int thread) {
    const winograd_task *t = arg;
    (void)thread;
    transform_inputs(t, begin, end, t->v + begin * row_floats(t->map));
}

/* then every panel. */
static void run_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const winograd_task *t = arg;
    const winograd_scratch scratch = take_scratch(t, thread);
    for (int64_t item = begin; item < end; item++) {
        int64_t first, last;
        fc_split(winograd_tiles(t->map), t->parts, item % t->parts, &first, &last);
        multiply_panel(t, &scratch, item / t->parts, first, last);
        finish_panel(t, &scratch, 0, item / t->parts, first, last);
    }
}

static void run(winograd_task *t, void *workspace) {
    const winograd_map *map = t->map;
    const int threads = threads_for(map, t->ctx);
    const int64_t panels = map->groups * group_panels(map, t->ctx);
    fc_arena arena = {workspace};
    if (winograd_tiles(map) == 0) return;
    t->zeros = memset(fc_take(&arena, zeros_bytes(map)), 0, (size_t)zeros_bytes(map));
    t->blocks = count_blocks(map, threads);
    t->v = t->blocks == 1 ? fc_take(&arena, v_bytes(map, threads)) : NULL;
    t->scratch = arena.next;
    t->scratch_bytes = thread_bytes(map, t->packed, threads, t->ctx);
    if (t->blocks > 1) {
        fc_parallel(t->blocks, threads, run_blocks, t);
        return;
    }
    t->parts = fc_min(winograd_tiles(map), fc_ceil_div(threads, panels));
    fc_parallel(winograd_tiles(map), threads, run_tiles, t);
    fc_parallel(panels * t->parts, threads, run_panels, t);
}

static int64_t packed_bytes(const fc_conv2d *c, int outputs, const fc_context *ctx) {
    const winograd_map map = winograd_forward_map(c, outputs);
    return (packed_floats(&map, ctx) + raw_floats(&map)) * (int64_t)sizeof(float);
}

static void pack(const fc_conv2d *c, int outputs, const float *weight, float *packed, const fc_context *ctx) {
    const winograd_map map = winograd_forward_map(c, outputs);
    const winograd_weights weights = forward_weights(&map, weight);
    transform_weights(&map, &weights, packed, ctx);
    memcpy(packed + packed_floats(&map, ctx), weight, (size_t)raw_floats(&map) * sizeof(float));
}

static void forward(const fc_conv2d *c, int outputs, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                    float *y, void *workspace, const fc_context *ctx) {
    const winograd_map map = winograd_forward_map(c, outputs);
    winograd_task t = {.map = &map, .ctx = ctx, .x = x, .packed = packed, .epilogue = epilogue, .y = y,
                       .weights = forward_weights(&map, packed + packed_floats(&map, ctx))};
    run(&t, workspace);
}

/* With few tiles the weights are transformed as they are used: written and read again they would cost as much as the products
 * (256 channels: 9 MB). */
static bool packs_backward(const winograd_map *map, const fc_context *ctx) {
    return count_blocks(map, threads_for(map, ctx)) > 1;
}

static void backward_input(const fc_conv2d *c, int outputs, const float *dy, const float *weight, float *dx,
                           void *workspace, const fc_context *ctx) {
    const winograd_map map = backward_map(c, outputs);
    fc_arena arena = {workspace};
    winograd_task t = {.map = &map, .ctx = ctx, .x = dy, .epilogue = &(conv2d_epilogue){0}, .y = dx,
                       .weights = backward_weights(&map, weight)};
    if (packs_backward(&map, ctx)) {
        float *packed = fc_take(&arena, packed_floats(&map, ctx) * (int64_t)sizeof(float));
        transform_weights(&map, &t.weights, packed, ctx);
        t.packed = packed;
    }
    run(&t, arena.next);
}

/* Tiles of 6 x 6 gain nothing on 4 x 4 here: the transforms cost more, the sums of 64 planes do not fit the caches. */
static int weight_outputs(int outputs) { return outputs == 2 ? 2 : 4; }

static int64_t workspace_bytes(const fc_conv2d *c, int outputs, fc_pass pass, const fc_context *ctx) {
    const winograd_map map = pass == FC_FORWARD ? winograd_forward_map(c, outputs) : backward_map(c, outputs);
    if (pass == FC_BACKWARD_WEIGHT) return conv2d_winograd_weight_bytes(c, weight_outputs(outputs), ctx);
    if (pass == FC_FORWARD) return run_bytes(&map, true, ctx);
    if (!packs_backward(&map, ctx)) return run_bytes(&map, false, ctx);
    return run_bytes(&map, true, ctx) + fc_round_up(packed_floats(&map, ctx) * (int64_t)sizeof(float), FC_ALIGNMENT);
}

/* ------------------------------------------------------------------------------------------------- three algorithms */

#define WINOGRAD(m)                                                                                                   \
    static int64_t workspace_bytes_##m(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {                     \
        return workspace_bytes(c, m, pass, ctx);                                                                      \
    }                                                                                                                 \
    static int64_t packed_bytes_##m(const fc_conv2d *c, const fc_context *ctx) { return packed_bytes(c, m, ctx); }    \
    static void pack_##m(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {             \
        pack(c, m, weight, packed, ctx);                                                                              \
    }                                                                                                                 \
    static void forward_##m(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue, \
                            float *y, void *workspace, const fc_context *ctx) {                                       \
        forward(c, m, x, packed, epilogue, y, workspace, ctx);                                                        \
    }                                                                                                                 \
    static void backward_input_##m(const fc_conv2d *c, const float *dy, const float *weight, float *dx,               \
                                   void *workspace, const fc_context *ctx) {                                          \
        backward_input(c, m, dy, weight, dx, workspace, ctx);                                                         \
    }                                                                                                                 \
    static void backward_weight_##m(const fc_conv2d *c, const float *dy, const float *x, float *dweight,              \
                                    float *dbias, void *workspace, const fc_context *ctx) {                           \
        conv2d_winograd_backward_weight(c, weight_outputs(m), dy, x, dweight, dbias, workspace, ctx);                 \
    }
WINOGRAD(2) WINOGRAD(4) WINOGRAD(6)
#undef WINOGRAD

const conv2d_algorithm conv2d_winograd_2x2 = {
    "winograd_2x2", conv2d_winograd_supports, workspace_bytes_2, packed_bytes_2, pack_2, forward_2, backward_input_2,
    backward_weight_2,
};
const conv2d_algorithm conv2d_winograd = {
    "winograd", conv2d_winograd_supports, workspace_bytes_4, packed_bytes_4, pack_4, forward_4, backward_input_4,
    backward_weight_4,
};
const conv2d_algorithm conv2d_winograd_6x6 = {
    "winograd_6x6", conv2d_winograd_supports, workspace_bytes_6, packed_bytes_6, pack_6, forward_6, backward_input_6,
    backward_weight_6,
};
