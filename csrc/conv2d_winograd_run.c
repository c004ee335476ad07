/* conv2d_winograd_run.c - the tiles of a Winograd convolution, multiplied by the transformed weights.
 *
 * A block of tiles is transformed into v[element][tile][channel]. Then, one panel of output channels at a time, every
 * element's product v[element] . u[element] is a GEMM into products[tile][element][column], and these are transformed
 * into y. So a block's v stays in L2, its products are one panel wide, and the transformed weights pass by in the order
 * they lie.
 *
 * A tile with a result that is not finite is computed again, directly, from the weights as they are: NaN and Inf, and
 * sums that only the transforms overflow, then behave as in the direct algorithm.
 */
#include "conv2d_winograd.h"

enum {
    /* v of a block. */
    BLOCK_BYTES = 512 * 1024, MOST_TILES = 24,
    /* The transformed weights of a part of the depth where they are made as they are used: two parts of 256 channels.
     * In three parts 14 x 14 takes 2 % longer, in four 5 %, in one 1 % longer. */
    WEIGHT_BYTES = 640 * 1024,
    /* v where weights are made as they are used, and all tiles are one block. 128 channels at 28 x 28 (0.9 MB): 2 %
     * faster than packing first, with two threads 13 %: half of what was packed lies in the other core's caches. */
    FEW_BYTES = 1024 * 1024, FEW_TILES = 64
};

typedef struct winograd_task {
    const winograd_product *p;
    const winograd_map *map;
    const fc_context *ctx;
    const float *zeros;
    int threads;
    int64_t blocks, parts; /* of the tiles; of the panels */
    bool far;              /* x and y are fetched ahead */
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

/* -------------------------------------------------------------------------------------------------------- blocks */

/* Floats of a tile's row of v: whole vectors. */
static int64_t row_floats(const winograd_map *map) { return fc_round_up(map->groups * map->in_depth, 16); }

/* Blocks of nearly equal numbers of tiles, as many as threads divide: one more on one thread is lost on the others. */
static int64_t count_blocks(const winograd_map *map, int threads) {
    const int64_t tiles = winograd_tiles(map), tile_bytes = winograd_elements(map) * row_floats(map) * 4;
    const int64_t most = fc_min(MOST_TILES, fc_max(16, BLOCK_BYTES / tile_bytes));
    const int64_t blocks = fc_ceil_div(tiles, most);
    return blocks == 1 ? 1 : fc_min(tiles, fc_round_up(blocks, threads));
}

static int64_t block_tiles(const winograd_map *map, int64_t blocks) { return fc_ceil_div(winograd_tiles(map), blocks); }

/* From one element of v to the next: an odd number of cache lines, so that the elements of a vector of channels fall
 * into sets of their own in L1. */
static int64_t element_floats(const winograd_map *map, int64_t blocks) {
    return fc_round_up(block_tiles(map, blocks) * row_floats(map), 32) + 16;
}

static int64_t v_bytes(const winograd_map *map, int64_t blocks) {
    return winograd_elements(map) * element_floats(map, blocks) * (int64_t)sizeof(float);
}

static int64_t products_bytes(const winograd_map *map, int64_t blocks, const fc_context *ctx) {
    return fc_round_up(block_tiles(map, blocks) * winograd_elements(map) * ctx->kernels->tile_columns *
                       (int64_t)sizeof(float), FC_ALIGNMENT);
}

static int64_t table_bytes(const winograd_map *map, int64_t blocks) {
    return fc_round_up(block_tiles(map, blocks) * (int64_t)sizeof(float *), FC_ALIGNMENT);
}

/* The depth of the part of a panel that is transformed at a time where it is used at once. */
static int64_t unpacked_depth(const winograd_map *map, const fc_context *ctx) {
    const int64_t depth_bytes = winograd_elements(map) * ctx->kernels->tile_columns * (int64_t)sizeof(float);
    const int64_t parts = fc_ceil_div(map->in_depth * depth_bytes, WEIGHT_BYTES);
    return fc_ceil_div(map->in_depth, parts);
}

static int64_t unpacked_bytes(const winograd_map *map, const fc_context *ctx) {
    return winograd_elements(map) * winograd_weight_floats(unpacked_depth(map, ctx), ctx) * (int64_t)sizeof(float);
}

static int threads_for(const winograd_map *map, const fc_context *ctx) {
    const int64_t pixels = map->batch * map->out_height * map->out_width;
    return fc_threads_for_arithmetic(pixels * map->groups * map->out_depth * map->in_depth * 9, ctx);
}

/* Of a run with weights that are packed, or are not. */
static int64_t blocks_of(const winograd_map *map, bool packed, int threads) {
    return packed ? count_blocks(map, threads) : 1;
}

static int64_t thread_bytes(const winograd_map *map, bool packed, int64_t blocks, const fc_context *ctx) {
    return products_bytes(map, blocks, ctx) + 2 * table_bytes(map, blocks) + (blocks == 1 ? 0 : v_bytes(map, blocks)) +
           (packed ? 0 : unpacked_bytes(map, ctx));
}

static int64_t zeros_bytes(const winograd_map *map) { return row_floats(map) * (int64_t)sizeof(float); }

bool winograd_has_few_tiles(const winograd_map *map) {
    return winograd_tiles(map) <= FEW_TILES && v_bytes(map, 1) <= FEW_BYTES;
}

int64_t winograd_run_bytes(const winograd_map *map, bool packed, const fc_context *ctx) {
    const int threads = threads_for(map, ctx);
    if (winograd_tiles(map) == 0) return 0;
    const int64_t blocks = blocks_of(map, packed, threads);
    return zeros_bytes(map) + (blocks == 1 ? v_bytes(map, 1) : 0) + threads * thread_bytes(map, packed, blocks, ctx);
}

/* --------------------------------------------------------------------------------------------------------- tiles */

static float *output_at(const winograd_task *t, winograd_place place, int64_t channel) {
    const winograd_map *map = t->map;
    return t->p->y + ((place.image * map->out_height + place.row) * map->out_width + place.column) *
                  (map->groups * map->out_depth) + channel;
}

static winograd_scratch take_scratch(const winograd_task *t, int thread) {
    const winograd_map *map = t->map;
    const int64_t blocks = t->blocks, step = winograd_elements(map) * t->ctx->kernels->tile_columns;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    winograd_scratch s;
    s.v_rows = fc_take(&arena, table_bytes(map, blocks));
    s.product_rows = fc_take(&arena, table_bytes(map, blocks));
    s.products = fc_take(&arena, products_bytes(map, blocks, t->ctx));
    s.v = t->v ? t->v : fc_take(&arena, v_bytes(map, blocks));
    s.u = t->p->packed ? NULL : fc_take(&arena, unpacked_bytes(map, t->ctx));
    for (int64_t i = 0; i < block_tiles(map, blocks); i++) {
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
    const float *pixel[WINOGRAD_MOST_ELEMENTS], *x[WINOGRAD_MOST_ELEMENTS];
    float *y[WINOGRAD_MOST_ELEMENTS];
    fc_strip strip = {.x = x, .y = y, .rows = 0};
    winograd_point_at_pixels(map, index, t->p->x, t->zeros, pixel);
    for (int64_t i = 0; i < fc_min(map->outputs, map->out_height - place.row); i++) {
        for (int64_t j = 0; j < fc_min(map->outputs, map->out_width - place.column); j++, strip.rows++) {
            x[strip.rows] = pixel[(i + tap / 3) * extent + j + tap % 3];
            y[strip.rows] = output_at(t, place, 0) + (i * map->out_width + j) * channels;
        }
    }
    fc_multiply_strip(&strip, tile, columns, t->ctx);
}

static void transform_inputs(const winograd_task *t, int64_t begin, int64_t end, float *v) {
    const winograd_map *map = t->map;
    const float *pixel[WINOGRAD_MOST_ELEMENTS], *ahead[WINOGRAD_MOST_ELEMENTS];
    fc_winograd_planes tile = {.outputs = map->outputs, .scaled = t->p->weights.unscaled, .pixel = pixel,
                               .channels = map->groups * map->in_depth, .planes_step = element_floats(map, t->blocks)};
    for (int64_t i = begin; i < end; i++) {
        winograd_point_at_pixels(map, i, t->p->x, t->zeros, pixel);
        tile.ahead = t->far && i + 1 < end ? ahead : NULL;
        if (tile.ahead) winograd_point_at_pixels(map, i + 1, t->p->x, t->zeros, ahead);
        tile.planes = v + (i - begin) * row_floats(map);
        t->ctx->kernels->winograd_input(&tile);
    }
}

/* Into L2: `floats` of every pixel of a rectangle, whose rows and pixels lie so far apart. Inlined, as its caller: a
 * function that only fetches has no effect, to gcc, and calls of it may vanish. */
static inline __attribute__((always_inline)) void fetch_pixels(const float *at, int64_t rows, int64_t columns,
                                                               int64_t row_step, int64_t step, int64_t floats) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            for (int64_t c = 0; c < floats; c += 16) __builtin_prefetch(at + i * row_step + j * step + c, 0, 2);
}

/* While a panel is multiplied memory is idle. Fetched are, for the tiles [begin, end), where their outputs of this panel
 * lie and, of the tiles `ahead` further on, the panel's share of the input channels. */
static inline __attribute__((always_inline)) void fetch_tiles(const winograd_task *t, int64_t index, int64_t begin,
                                                              int64_t end, int64_t ahead) {
    const winograd_map *map = t->map;
    const int64_t m = map->outputs, width = t->ctx->kernels->tile_columns, panels = winograd_panels(map, t->ctx);
    const int64_t in_channels = map->groups * map->in_depth, out_channels = map->groups * map->out_depth;
    const int64_t column = index % panels * width, columns = fc_min(width, map->out_depth - column);
    const int64_t share = fc_round_up(fc_ceil_div(in_channels, map->groups * panels), 16), channel = index * share;
    for (int64_t i = begin; i < end; i++) {
        const winograd_place to = winograd_tile(map, i), from = winograd_tile(map, i + ahead);
        fetch_pixels(output_at(t, to, index / panels * map->out_depth + column),
                     fc_min(m, map->out_height - to.row), fc_min(m, map->out_width - to.column),
                     map->out_width * out_channels, out_channels, columns);
        if (from.image >= map->batch || channel >= in_channels) continue;
        const int64_t pixel = (from.image * map->in_height + from.row) * map->in_width + from.column;
        fetch_pixels(t->p->x + pixel * in_channels + channel,
                     fc_min(m, map->in_height - from.row), fc_min(m, map->in_width - from.column),
                     map->in_width * in_channels, in_channels, fc_min(share, in_channels - channel));
    }
}

/* products[tile][element][column] of one panel, for the tiles [begin, end) of the block from tile `first` on. */
static void multiply_panel(const winograd_task *t, const winograd_scratch *s, int64_t first, int64_t index,
                           int64_t begin, int64_t end) {
    const winograd_map *map = t->map;
    const int64_t width = t->ctx->kernels->tile_columns, panels = winograd_panels(map, t->ctx);
    const int64_t step = element_floats(map, t->blocks), elements = winograd_elements(map), tiles = end - begin;
    const int64_t block = t->p->packed ? fc_block_depth(map->in_depth, t->ctx) : unpacked_depth(map, t->ctx);
    const fc_strip strip = {.x = s->v_rows + begin, .y = s->product_rows + begin, .rows = tiles};
    const int lanes = t->ctx->kernels->lanes;
    const int columns = map->out_depth - index % panels * width > lanes ? 2 * lanes : lanes;
    fc_tile tile = {.taps = 1, .x_step = 1, .w_step = width, .alpha = 1.0f};
    for (int64_t depth = 0; depth < map->in_depth; depth += block) {
        const float *u = t->p->packed + index * winograd_panel_floats(map, t->ctx) + depth * width;
        int64_t u_step = winograd_weight_floats(map->in_depth, t->ctx);
        tile.depth = fc_min(block, map->in_depth - depth);
        if (!t->p->packed) {
            winograd_transform_panel(map, &t->p->weights, index, depth, depth + tile.depth, s->u, t->ctx);
            u = s->u;
            u_step = winograd_weight_floats(tile.depth, t->ctx);
        }
        for (int64_t element = 0; element < elements; element++) {
            if (t->far && depth == 0)
                fetch_tiles(t, index, first + begin + tiles * element / elements,
                            first + begin + tiles * (element + 1) / elements, tiles);
            tile.x_offset = element * step + index / panels * map->in_depth + depth;
            tile.w = u + element * u_step;
            tile.y_offset = element * width;
            tile.resume = depth > 0;
            fc_multiply_strip(&strip, tile, columns, t->ctx);
        }
    }
}

/* panel[d][j] = the weight of depth d and column j at w, 0 from `columns` on. */
static void copy_panel(const float *w, const winograd_weights *weights, int64_t depth, int64_t columns, float *panel,
                       int64_t width) {
    for (int64_t d = 0; d < depth; d++)
        for (int64_t j = 0; j < width; j++)
            panel[d * width + j] = j < columns ? w[d * weights->depth_stride + j * weights->column_stride] : 0.0f;
}

/* Tiles of one panel again, directly: for each tap and part of the channels, its weights are packed where the products
 * were (one tile's room, so that the sums are cut alike whatever the block), then every tile takes it. */
static void recompute_tiles(const winograd_task *t, const winograd_scratch *s, int64_t index, const int64_t *tiles,
                            int64_t count) {
    const winograd_map *map = t->map;
    const winograd_weights *weights = &t->p->weights;
    const conv2d_epilogue *epilogue = t->p->epilogue;
    const int64_t width = t->ctx->kernels->tile_columns, panels = winograd_panels(map, t->ctx);
    const int64_t most = winograd_elements(map);
    const int64_t group = index / panels, column = index % panels * width, channel = group * map->out_depth + column;
    const int columns = (int)fc_min(width, map->out_depth - column);
    fc_tile tile = {.taps = 1, .x_step = 1, .w = s->products, .w_step = width, .y_offset = channel, .alpha = 1.0f};
    for (int64_t tap = 0; tap < 9; tap++) {
        for (int64_t depth = 0; depth < map->in_depth; depth += most) {
            const float *w = weights->w + group * weights->group_stride + depth * weights->depth_stride +
                             column * weights->column_stride + (weights->rotated ? 8 - tap : tap);
            tile.depth = fc_min(most, map->in_depth - depth);
            tile.x_offset = group * map->in_depth + depth;
            copy_panel(w, weights, tile.depth, columns, s->products, width);
            if (tap == 8 && depth + tile.depth == map->in_depth) {
                tile.bias = epilogue->bias ? epilogue->bias + channel : NULL;
                tile.residual = epilogue->residual;
                tile.origin = t->p->y;
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
    const int64_t width = t->ctx->kernels->tile_columns, panels = winograd_panels(map, t->ctx);
    const int64_t column = index % panels * width, channels = map->groups * map->out_depth;
    const int64_t channel = index / panels * map->out_depth + column;
    const conv2d_epilogue *epilogue = t->p->epilogue;
    fc_winograd_output tile = {
        .outputs = map->outputs, .products_step = width, .channels = fc_min(width, map->out_depth - column),
        .row_step = map->out_width * channels, .column_step = channels, .activation = epilogue->activation,
        .bias = epilogue->bias ? epilogue->bias + channel : NULL,
    };
    int64_t failed[FEW_TILES], failures = 0;
    for (int64_t i = begin; i < end; i++) {
        const winograd_place place = winograd_tile(map, first + i);
        bool finite;
        tile.products = s->product_rows[i];
        tile.y = output_at(t, place, channel);
        tile.residual = epilogue->residual ? epilogue->residual + (tile.y - t->p->y) : NULL;
        tile.rows = fc_min(map->outputs, map->out_height - place.row);
        tile.columns = fc_min(map->outputs, map->out_width - place.column);
        t->ctx->kernels->winograd_output(&tile, &finite);
        if (!finite) failed[failures++] = first + i;
    }
    if (failures) recompute_tiles(t, s, index, failed, failures);
}

/* ----------------------------------------------------------------------------------------------------------- run */

/* Are x and y together beyond the caches? A tile takes short runs from six rows, which no prefetcher of a CPU follows: 16
 * images of 64 channels at 56 x 56, 26 MB, went from 2.4 to 2.9 of the FMA peak on AVX-512 and from 2.1 to 2.6 on AVX2,
 * where one image has 3.1 and 2.8. At 6 MB AVX-512 lost 3 %, and in cache it loses 2 %. */
static bool is_far(const winograd_map *map) {
    return map->batch * map->groups * (int64_t)sizeof(float) *
               (map->in_height * map->in_width * map->in_depth + map->out_height * map->out_width * map->out_depth) >
           CONV2D_FAR_BYTES;
}

/* Item: a block of tiles, all its panels. */
static void run_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const winograd_task *t = arg;
    const winograd_scratch scratch = take_scratch(t, thread);
    for (int64_t item = begin; item < end; item++) {
        int64_t first, last;
        fc_split(winograd_tiles(t->map), t->blocks, item, &first, &last);
        transform_inputs(t, first, last, scratch.v);
        for (int64_t panel = 0; panel < t->map->groups * winograd_panels(t->map, t->ctx); panel++) {
            multiply_panel(t, &scratch, first, panel, 0, last - first);
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
        multiply_panel(t, &scratch, 0, item / t->parts, first, last);
        finish_panel(t, &scratch, 0, item / t->parts, first, last);
    }
}

void winograd_run(const winograd_product *product, void *workspace, const fc_context *ctx) {
    const winograd_map *map = product->map;
    const int64_t panels = map->groups * winograd_panels(map, ctx), tiles = winograd_tiles(map);
    winograd_task t = {.p = product, .map = map, .ctx = ctx, .threads = threads_for(map, ctx)};
    fc_arena arena = {workspace};
    if (tiles == 0) return;
    t.zeros = memset(fc_take(&arena, zeros_bytes(map)), 0, (size_t)zeros_bytes(map));
    t.far = is_far(map);
    t.blocks = blocks_of(map, product->packed, t.threads);
    t.v = t.blocks == 1 ? fc_take(&arena, v_bytes(map, 1)) : NULL;
    t.scratch = arena.next;
    t.scratch_bytes = thread_bytes(map, product->packed, t.blocks, ctx);
    if (t.blocks > 1) {
        fc_parallel(t.blocks, t.threads, run_blocks, &t);
        return;
    }
    t.parts = fc_min(tiles, fc_ceil_div(t.threads, panels));
    fc_parallel(tiles, t.threads, run_tiles, &t);
    fc_parallel(panels * t.parts, t.threads, run_panels, &t);
}
