/* conv2d_strip.c - a strip of gathered rows times packed weights: the inner loops of direct convolution.
 *
 * The depth (taps * channels) is cut into blocks whose panel of weights stays in L1 while every tile of the strip uses it;
 * the rows of the strip stay in L2 over the panels. Sums are carried between blocks in y.
 */
#include "conv2d.h"

int64_t conv2d_panel_count(int64_t columns, const fc_context *ctx) {
    return fc_ceil_div(columns, ctx->kernels->tile_columns);
}

int64_t conv2d_panels_size(int64_t taps, int64_t depth, int64_t columns, const fc_context *ctx) {
    return conv2d_panel_count(columns, ctx) * taps * depth * ctx->kernels->tile_columns;
}

/* The depth cut into blocks: a number of whole taps each, or where one tap is too deep, parts of its channels. */
typedef struct depth_blocks { int64_t taps, channels, tap_blocks, channel_blocks; } depth_blocks;

static depth_blocks cut_depth(const conv2d_panels *panels, const fc_context *ctx) {
    depth_blocks b = {.taps = 1, .channels = fc_block_depth(panels->depth, ctx)};
    if (b.channels == panels->depth && panels->taps > 0) {
        const int64_t fitting = fc_max(1, fc_block_depth(panels->taps * panels->depth, ctx) / panels->depth);
        b.taps = fc_ceil_div(panels->taps, fc_ceil_div(panels->taps, fitting)); /* as even as they go */
    }
    /* Without taps (a phase of a strided backward pass that no tap reaches) one empty block writes zeros. */
    b.tap_blocks = fc_max(1, fc_ceil_div(panels->taps, b.taps));
    b.channel_blocks = fc_ceil_div(panels->depth, b.channels);
    return b;
}

/* Of a strip whose next one is fetched, call number `call` of `calls` fetches its share, in the order of memory. */
static void fetch_share(const fc_strip *strip, int64_t call, int64_t calls, fc_tile *tile) {
    const int64_t share = fc_round_up(fc_ceil_div(strip->x_row, calls), 16);
    if (!strip->far || call * share >= strip->x_row) return;
    tile->fetched = share;
    tile->ahead = strip->rows * (strip->x_row + call * share);
}

/* Block number i of one panel; the strip's sums of earlier blocks are in y. */
static void multiply_block(const fc_strip *strip, const conv2d_panels *panels, const depth_blocks *blocks, int64_t i,
                           int64_t panel, int64_t panel_count, const fc_context *ctx) {
    const int64_t width = ctx->kernels->tile_columns, panel_size = panels->taps * panels->depth * width;
    const int64_t tap = i / blocks->channel_blocks * blocks->taps, c = i % blocks->channel_blocks * blocks->channels;
    fc_strip rows = *strip;
    rows.x += tap * fc_tap_stride(strip);
    fc_tile tile = {
        .taps = fc_min(blocks->taps, panels->taps - tap), .depth = fc_min(blocks->channels, panels->depth - c),
        .x_offset = panels->x_offset + c, .x_step = 1,
        .w = panels->packed + panel * panel_size + (tap * panels->depth + c) * width, .w_step = width,
        .y_offset = panels->y_offset + panel * width, .alpha = 1.0f, .beta = i == 0 ? 0.0f : 1.0f,
    };
    const int64_t count = blocks->tap_blocks * blocks->channel_blocks;
    fetch_share(strip, panel % panel_count * count + i, panel_count * count, &tile);
    if (i + 1 == count) {
        const conv2d_epilogue *epilogue = panels->epilogue;
        tile.bias = epilogue->bias ? epilogue->bias + tile.y_offset : NULL;
        tile.residual = epilogue->residual;
        tile.origin = panels->y;
        tile.activation = epilogue->activation;
    }
    fc_multiply_strip(&rows, tile, (int)fc_min(width, panels->columns - panel * width), ctx);
}

/* A strip whose channels fit L2 goes through one panel after the other: weights are read in the order they lie, and the
 * sums of a panel stay in L1. A wider one takes a block of the depth through all panels while it is in L2. */
enum { STRIP_BYTES = 256 * 1024 };

void conv2d_multiply_strip(const fc_strip *strip, const conv2d_panels *panels, int64_t panel_begin, int64_t panel_end,
                           const fc_context *ctx) {
    const depth_blocks blocks = cut_depth(panels, ctx);
    const int64_t count = blocks.tap_blocks * blocks.channel_blocks, panel_count = panel_end - panel_begin;
    if (strip->rows * panels->depth * (int64_t)sizeof(float) <= STRIP_BYTES) {
        for (int64_t panel = panel_begin; panel < panel_end; panel++)
            for (int64_t i = 0; i < count; i++) multiply_block(strip, panels, &blocks, i, panel, panel_count, ctx);
    } else {
        for (int64_t i = 0; i < count; i++)
            for (int64_t panel = panel_begin; panel < panel_end; panel++)
                multiply_block(strip, panels, &blocks, i, panel, panel_count, ctx);
    }
}
