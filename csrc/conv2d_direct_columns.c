/* conv2d_direct_columns.c - the input gradient of direct convolution from the weights as they lie.
 *
 * Weights (k, c, r, s) are a matrix of k rows and c * taps columns; dy times it holds what every tap adds to the pixels it
 * reaches. No weight is moved in a pass of its own: the first tile of a strip packs (kernels/pack_tile.inc). The products of
 * a single tap are written where they belong in dx. Those of several taps are turned from (channel, tap) to (tap, channel)
 * and added up, a panel of channels at a time: where output pixels are few, that is less than turning the weights.
 */
#include "conv2d_gather.h"

/* Pixels of a strip; what of the strip's dy is read for one panel after the other and should stay in L2; several taps: what
 * the products of a panel may take, and the least weights for which it pays. */
enum { STRIP_PIXELS = 256, STRIP_BYTES = 256 * 1024, PRODUCT_BYTES = 384 * 1024, MANY_WEIGHTS = 32 * 1024 };

/* With more, weights of a single tap are packed cheaper for all threads and strips at once: 3136 pixels, 256 to 64 channels, 0.970
 * of the FMA peak instead of 0.955; 784 pixels are even. With a stride, packing apart leaves the other pixels to tiles of no tap. */
enum { MOST_PIXELS = 1024 };

typedef struct columns_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *weight;
    const conv2d_epilogue *epilogue;
    float *dx;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes;
    int64_t strips, panels; /* panels of all groups */
} columns_task;

/* What a thread works in: the rows of a strip and the packed block; for several taps the products of a panel, its sums, a row
 * of products turned round, and where each pixel's taps add to the sums. */
typedef struct columns_scratch {
    const float **x;
    float **y, **target;
    int64_t *at;
    float *packed, *products, *sums, *turned;
} columns_scratch;

static bool single_tap(const fc_conv2d *c) { return conv2d_taps(c) == 1; }

static int64_t products_floats(const fc_conv2d *c, const fc_context *ctx) {
    return single_tap(c) ? 0 : conv2d_pixels(c) * conv2d_taps(c) * ctx->kernels->tile_columns;
}

/* Several taps: a pixel's products are as many as a row of weights. Measured: half as many pixels as dy has channels gain up to
 * a third (512 channels, 49 pixels), three quarters (256 channels, 196 pixels) nothing. */
bool conv2d_direct_takes_columns(const fc_conv2d *c, const fc_context *ctx) {
    const int64_t pixels = conv2d_pixels(c), depth = conv2d_out_depth(c), taps = conv2d_taps(c);
    if (conv2d_in_depth(c) < ctx->kernels->lanes) return false;
    if (taps == 1) return pixels <= MOST_PIXELS || c->stride_height > 1 || c->stride_width > 1;
    return depth * conv2d_in_depth(c) * taps >= MANY_WEIGHTS && 2 * pixels <= depth &&
           pixels <= c->batch * c->in_height * c->in_width &&
           products_floats(c, ctx) * (int64_t)sizeof(float) <= PRODUCT_BYTES;
}

static int64_t strip_count(const fc_conv2d *c) {
    return single_tap(c) ? fc_max(1, fc_ceil_div(conv2d_pixels(c), STRIP_PIXELS)) : 1;
}

static columns_scratch take_scratch(const fc_conv2d *c, const fc_context *ctx, fc_arena *arena) {
    const int64_t size = (int64_t)sizeof(float), width = ctx->kernels->tile_columns, taps = conv2d_taps(c);
    const int64_t pixels = fc_ceil_div(conv2d_pixels(c), strip_count(c)), several = single_tap(c) ? 0 : 1;
    columns_scratch s;
    s.x = fc_take(arena, pixels * (int64_t)sizeof(float *));
    s.y = fc_take(arena, pixels * (int64_t)sizeof(float *));
    s.target = fc_take(arena, several * pixels * taps * (int64_t)sizeof(float *));
    s.at = fc_take(arena, several * taps * (int64_t)sizeof(int64_t));
    s.packed = fc_take(arena, fc_block_depth(conv2d_out_depth(c), ctx) * width * size);
    s.products = fc_take(arena, products_floats(c, ctx) * size);
    s.sums = fc_take(arena, several * c->batch * c->in_height * c->in_width * width * size);
    s.turned = fc_take(arena, several * taps * width * size);
    return s;
}

static int64_t thread_bytes(const fc_conv2d *c, const fc_context *ctx) {
    fc_arena arena = {NULL};
    take_scratch(c, ctx, &arena);
    return (int64_t)(intptr_t)arena.next;
}

int64_t conv2d_direct_columns_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return ctx->num_threads * thread_bytes(c, ctx);
}

/* One block of the depth of one panel: `columns` of the weights at tile.w, whose rows lie tile.w_step apart. */
typedef struct column_block {
    fc_tile tile;
    int columns;
} column_block;

/* The rows of the strip times the block. */
static void multiply_block(const fc_strip *strip, const column_block *block, float *packed, const fc_context *ctx) {
    const int64_t width = ctx->kernels->tile_columns, tiles = fc_ceil_div(strip->rows, ctx->kernels->tile_rows);
    const int64_t first = fc_ceil_div(strip->rows, tiles);
    const fc_strip rest = {.x = strip->x + first, .y = strip->y + first, .rows = strip->rows - first};
    fc_tile tile = block->tile;
    tile.x = strip->x;
    tile.y = strip->y;
    ctx->kernels->pack_tile(&tile, (int)first, block->columns, rest.rows > 0 ? packed : NULL);
    tile.w = packed;
    tile.w_step = width;
    if (rest.rows > 0) fc_multiply_strip(&rest, tile, block->columns, ctx);
}

/* ---------------------------------------------------------------------------------------------------- a single tap */

/* Block number i of the depth of one panel, into dx. */
static column_block panel_block(const columns_task *t, int64_t i, int64_t panel) {
    const fc_conv2d *c = t->conv;
    const int64_t columns = conv2d_in_depth(c), depth = conv2d_out_depth(c), width = t->ctx->kernels->tile_columns;
    const int64_t panels = conv2d_panel_count(columns, t->ctx), group = panel / panels, column = panel % panels * width;
    const int64_t block = fc_block_depth(depth, t->ctx), k = i * block, channel = group * columns + column;
    const conv2d_epilogue *e = t->epilogue;
    fc_tile tile = {.taps = 1, .depth = fc_min(block, depth - k), .x_offset = group * depth + k, .x_step = 1,
                    .w = t->weight + (group * depth + k) * columns + column, .w_step = columns, .y_offset = channel,
                    .alpha = 1.0f, .beta = k ? 1.0f : 0.0f};
    if (k + tile.depth == depth) {
        tile.bias = e->bias ? e->bias + channel : NULL;
        tile.residual = e->residual;
        tile.origin = t->dx;
        tile.activation = e->activation;
    }
    return (column_block){tile, (int)fc_min(width, columns - column)};
}

/* The panels [begin, end) of a strip. One of which all of dy stays in L2 goes through one panel after the other, else a block of
 * its depth through all of them. */
static void multiply_strip(const columns_task *t, const fc_strip *strip, int64_t begin, int64_t end, float *packed) {
    const int64_t depth = conv2d_out_depth(t->conv), blocks = fc_ceil_div(depth, fc_block_depth(depth, t->ctx));
    const bool stays = strip->rows * depth * (int64_t)sizeof(float) <= STRIP_BYTES;
    const int64_t count = blocks * (end - begin), inner = stays ? blocks : end - begin;
    for (int64_t i = 0; i < count; i++) {
        const column_block block = panel_block(t, stays ? i % inner : i / inner, begin + (stays ? i / inner : i % inner));
        multiply_block(strip, &block, packed, t->ctx);
    }
}

/* Item: (strip, panel). */
static void run_strips(void *arg, int64_t begin, int64_t end, int thread) {
    const columns_task *t = arg;
    const fc_conv2d *c = t->conv;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const columns_scratch s = take_scratch(c, t->ctx, &arena);
    for (int64_t item = begin, stop; item < end; item = stop) {
        const int64_t index = item / t->panels, first_panel = item % t->panels;
        fc_strip strip = {.x = s.x, .y = s.y};
        int64_t first, last;
        stop = fc_min(end, (index + 1) * t->panels);
        fc_split(conv2d_pixels(c), t->strips, index, &first, &last);
        for (int64_t pixel = first; pixel < last; pixel++) {
            const int64_t to = conv2d_input_pixel(c, pixel, 0, 0);
            if (to < 0) continue;
            s.x[strip.rows] = t->dy + pixel * c->out_channels;
            s.y[strip.rows++] = t->dx + to * c->in_channels;
        }
        if (strip.rows) multiply_strip(t, &strip, first_panel, first_panel + stop - item, s.packed);
    }
}

/* The epilogue of pixels that nothing is added to. */
static void fill_pixels(const columns_task *t, int64_t first, int64_t count) {
    const int64_t channels = t->conv->in_channels, at = first * channels;
    memset(t->dx + at, 0, (size_t)(count * channels) * sizeof(float));
    for (int64_t i = 0; t->epilogue->bias && i < count; i++)
        memcpy(t->dx + at + i * channels, t->epilogue->bias, (size_t)channels * sizeof(float));
    conv2d_finish_run(t->epilogue, t->dx, at, count * channels, t->ctx);
}

static bool is_reached(int64_t at, int64_t pad, int64_t stride, int64_t outputs) {
    return (at + pad) % stride == 0 && (at + pad) / stride < outputs;
}

/* Pixels that no output reaches. Item: (image, row) of dx. */
static void fill_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const columns_task *t = arg;
    const fc_conv2d *c = t->conv;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const bool reached = is_reached(row % c->in_height, c->pad_top, c->stride_height, c->out_height);
        for (int64_t w = 0, stop; w < c->in_width; w = stop + 1) {
            for (stop = w; stop < c->in_width; stop++)
                if (reached && is_reached(stop, c->pad_left, c->stride_width, c->out_width)) break;
            if (stop > w) fill_pixels(t, row * c->in_width + w, stop - w);
        }
    }
}

static void run_single_tap(columns_task *t, int threads) {
    const fc_conv2d *c = t->conv;
    const int64_t rows = c->batch * c->in_height, bytes = rows * c->in_width * c->in_channels * (int64_t)sizeof(float);
    t->strips = strip_count(c);
    if (c->stride_height > 1 || c->stride_width > 1) /* a tap of stride 1 reaches every pixel */
        fc_parallel(rows, fc_threads_for_memory(bytes, t->ctx), fill_rows, t);
    fc_parallel(t->strips * t->panels, threads, run_strips, t);
}

/* ----------------------------------------------------------------------------------------------------- several taps */

static void find_targets(const fc_conv2d *c, const columns_scratch *s, int64_t width) {
    const int64_t taps = conv2d_taps(c);
    for (int64_t tap = 0; tap < taps; tap++) s->at[tap] = tap * width;
    for (int64_t i = 0; i < conv2d_pixels(c) * taps; i++) {
        const int64_t to = conv2d_input_pixel(c, i / taps, i % taps / c->kernel_width, i % taps % c->kernel_width);
        s->target[i] = to < 0 ? NULL : s->sums + to * width;
    }
}

/* Block number i of products[pixel][channel][tap], of `columns` channels from `channel` of the group on. */
static column_block taps_block(const columns_task *t, int64_t i, int64_t group, int64_t channel, int64_t columns) {
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_out_depth(c), taps = conv2d_taps(c), row = conv2d_in_depth(c) * taps;
    const int64_t width = t->ctx->kernels->tile_columns, block = fc_block_depth(depth, t->ctx);
    const int64_t blocks = fc_ceil_div(depth, block), k = i % blocks * block, j = i / blocks * width;
    const fc_tile tile = {.taps = 1, .depth = fc_min(block, depth - k), .x_offset = group * depth + k, .x_step = 1,
                          .w = t->weight + (group * depth + k) * row + channel * taps + j, .w_step = row, .y_offset = j,
                          .alpha = 1.0f, .beta = k ? 1.0f : 0.0f};
    return (column_block){tile, (int)fc_min(width, columns * taps - j)};
}

static void multiply_taps(const columns_task *t, const columns_scratch *s, int64_t group, int64_t channel, int64_t columns) {
    const int64_t depth = conv2d_out_depth(t->conv), blocks = fc_ceil_div(depth, fc_block_depth(depth, t->ctx));
    const int64_t count = fc_ceil_div(columns * conv2d_taps(t->conv), t->ctx->kernels->tile_columns) * blocks;
    const fc_strip strip = {.x = s->x, .y = s->y, .rows = conv2d_pixels(t->conv)};
    for (int64_t i = 0; i < count; i++) {
        const column_block block = taps_block(t, i, group, channel, columns);
        multiply_block(&strip, &block, s->packed, t->ctx);
    }
}

/* Item: (group, panel of channels). */
static void run_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const columns_task *t = arg;
    const fc_conv2d *c = t->conv;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const columns_scratch s = take_scratch(c, t->ctx, &arena);
    const int64_t width = t->ctx->kernels->tile_columns, taps = conv2d_taps(c), all = conv2d_in_depth(c);
    const int64_t panels = conv2d_panel_count(all, t->ctx), pixels = c->batch * c->in_height * c->in_width;
    find_targets(c, &s, width);
    for (int64_t i = 0; i < conv2d_pixels(c); i++) {
        s.x[i] = t->dy + i * c->out_channels;
        s.y[i] = s.products + i * taps * width;
    }
    for (int64_t item = begin; item < end; item++) {
        const int64_t column = item % panels * width, columns = fc_min(width, all - column);
        const int64_t channel = item / panels * all + column;
        multiply_taps(t, &s, item / panels, column, columns);
        memset(s.sums, 0, (size_t)(pixels * width) * sizeof(float));
        for (int64_t i = 0; i < conv2d_pixels(c); i++)
            t->ctx->kernels->fold_taps(s.y[i], taps, (int)columns, s.at, s.target + i * taps, s.turned);
        for (int64_t i = 0; i < pixels; i++) {
            float *sums = s.sums + i * width;
            for (int64_t j = 0; t->epilogue->bias && j < columns; j++) sums[j] += t->epilogue->bias[channel + j];
            memcpy(t->dx + i * c->in_channels + channel, sums, (size_t)columns * sizeof(float));
            conv2d_finish_run(t->epilogue, t->dx, i * c->in_channels + channel, columns, t->ctx);
        }
    }
}

void conv2d_direct_columns(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx) {
    const int threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx);
    columns_task t = {.conv = c, .ctx = ctx, .dy = dy, .weight = weight, .epilogue = epilogue, .dx = dx,
                      .scratch = workspace, .scratch_bytes = thread_bytes(c, ctx),
                      .panels = c->groups * conv2d_panel_count(conv2d_in_depth(c), ctx)};
    if (single_tap(c)) run_single_tap(&t, threads);
    else fc_parallel(t.panels, threads, run_panels, &t);
}
