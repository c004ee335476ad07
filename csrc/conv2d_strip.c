/* conv2d_strip.c - a strip of gathered rows times packed weights: the inner loops of direct and im2col convolution.
 *
 * The depth (taps * channels) is cut into blocks whose panel of weights stays in L1 while every tile of the strip uses it;
 * the rows of the strip stay in L2 over the panels. Sums are carried between blocks in y.
 */
#include "conv2d.h"

/* Bytes of one panel block: half of a 32 KiB L1. */
enum { PANEL_BYTES = 16 * 1024 };

int64_t conv2d_panel_count(int64_t columns, const fc_context *ctx) {
    return fc_ceil_div(columns, ctx->kernels->tile_columns);
}

int64_t conv2d_panels_size(int64_t taps, int64_t depth, int64_t columns, const fc_context *ctx) {
    return conv2d_panel_count(columns, ctx) * taps * depth * ctx->kernels->tile_columns;
}

void conv2d_pack_panel(const conv2d_weights *w, int64_t panel, float *packed, const fc_context *ctx) {
    const int64_t width = ctx->kernels->tile_columns, column = panel * width;
    const int columns = (int)fc_min(width, w->columns - column);
    float *to = packed + panel * w->taps * w->depth * width;
    /* A block of depths at a time: the taps lie next to each other, so their cache lines are used up while in L1. */
    for (int64_t d = 0; d < w->depth; d += 16) {
        for (int64_t tap = 0; tap < w->taps; tap++) {
            const float *from = w->w + (w->tap_at ? w->tap_at[tap] : tap) + d * w->depth_stride + column * w->column_stride;
            ctx->kernels->pack_panel(from, w->depth_stride, w->column_stride, fc_min(16, w->depth - d), columns,
                                     to + (tap * w->depth + d) * width);
        }
    }
}

/* A block of the depth: whole taps, or a range of the channels of one tap. */
typedef struct depth_block { int64_t tap, taps, channel, channels; bool first, last; } depth_block;

static void multiply_tiles(const conv2d_strip *strip, const conv2d_panels *panels, const depth_block *block,
                           int64_t panel, const fc_context *ctx) {
    const int64_t width = ctx->kernels->tile_columns;
    const int columns = (int)fc_min(width, panels->columns - panel * width);
    const int64_t tiles = fc_ceil_div(strip->rows, ctx->kernels->tile_rows);
    fc_tile tile = {
        .taps = block->taps, .depth = block->channels,
        .x_tap_stride = strip->rows, .x_offset = strip->x_offset + block->channel, .x_step = 1,
        .w = panels->packed + ((panel * panels->taps + block->tap) * panels->depth + block->channel) * width,
        .w_step = width, .y_offset = strip->y_offset + panel * width,
        .alpha = 1.0f, .beta = block->first ? 0.0f : 1.0f,
        .bias = block->last && panels->bias ? panels->bias + panel * width : NULL,
        .activation = block->last ? panels->activation : NULL,
    };
    for (int64_t i = 0; i < tiles; i++) {
        int64_t begin, end;
        fc_split(strip->rows, tiles, i, &begin, &end);
        tile.x = strip->x + block->tap * strip->rows + begin;
        tile.y = strip->y + begin;
        ctx->kernels->gemm_tile(&tile, (int)(end - begin), columns);
    }
}

void conv2d_multiply_strip(const conv2d_strip *strip, const conv2d_panels *panels, int64_t panel_begin,
                           int64_t panel_end, const fc_context *ctx) {
    const int64_t most = PANEL_BYTES / (ctx->kernels->tile_columns * (int64_t)sizeof(float));
    const int64_t pieces = fc_max(1, fc_ceil_div(panels->depth, most + most / 4));
    const int64_t channels = fc_ceil_div(panels->depth, pieces);
    const int64_t taps = pieces > 1 ? 1 : fc_max(1, most / fc_max(1, panels->depth));
    /* Without taps (a phase of a strided backward pass that no tap reaches) one empty block writes zeros. */
    for (int64_t tap = 0; tap == 0 || tap < panels->taps; tap += taps) {
        for (int64_t c = 0; c < panels->depth; c += channels) {
            depth_block block = {
                .tap = tap, .taps = fc_min(taps, panels->taps - tap),
                .channel = c, .channels = fc_min(channels, panels->depth - c),
                .first = tap == 0 && c == 0,
                .last = tap + taps >= panels->taps && c + channels >= panels->depth,
            };
            for (int64_t panel = panel_begin; panel < panel_end; panel++)
                multiply_tiles(strip, panels, &block, panel, ctx);
        }
    }
}
