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

static void multiply_block(const fc_strip *strip, const conv2d_panels *panels, const depth_block *block,
                           int64_t panel_begin, int64_t panel_end, const fc_context *ctx) {
    const int64_t width = ctx->kernels->tile_columns, panel_size = panels->taps * panels->depth * width;
    const fc_strip rows = {strip->x + block->tap * strip->rows, strip->y, strip->rows};
    for (int64_t panel = panel_begin; panel < panel_end; panel++) {
        const fc_tile tile = {
            .taps = block->taps, .depth = block->channels, .x_offset = panels->x_offset + block->channel, .x_step = 1,
            .w = panels->packed + panel * panel_size + (block->tap * panels->depth + block->channel) * width,
            .w_step = width, .y_offset = panels->y_offset + panel * width,
            .alpha = 1.0f, .beta = block->first ? 0.0f : 1.0f,
            .bias = block->last && panels->bias ? panels->bias + panel * width : NULL,
            .activation = block->last ? panels->activation : NULL,
        };
        fc_multiply_strip(&rows, tile, (int)fc_min(width, panels->columns - panel * width),
                          panel + 1 < panel_end ? tile.w + panel_size : NULL, ctx);
    }
}

void conv2d_multiply_strip(const fc_strip *strip, const conv2d_panels *panels, int64_t panel_begin, int64_t panel_end,
                           const fc_context *ctx) {
    const int64_t channels = fc_block_depth(panels->depth, ctx);
    /* Whole taps where one fits; as even as they go. */
    const int64_t fitting = channels < panels->depth ? 1 : fc_max(1, fc_block_depth(panels->taps * panels->depth, ctx) / panels->depth);
    const int64_t taps = fc_max(1, fc_ceil_div(panels->taps, fc_max(1, fc_ceil_div(panels->taps, fitting))));
    /* Without taps (a phase of a strided backward pass that no tap reaches) one empty block writes zeros. */
    for (int64_t tap = 0; tap == 0 || tap < panels->taps; tap += taps) {
        for (int64_t c = 0; c < panels->depth; c += channels) {
            const depth_block block = {
                .tap = tap, .taps = fc_min(taps, panels->taps - tap),
                .channel = c, .channels = fc_min(channels, panels->depth - c),
                .first = tap == 0 && c == 0,
                .last = tap + taps >= panels->taps && c + channels >= panels->depth,
            };
            multiply_block(strip, panels, &block, panel_begin, panel_end, ctx);
        }
    }
}
