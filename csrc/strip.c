/* strip.c - a strip of rows times one panel of columns. */
#include "strip.h"

void fc_multiply_strip(const fc_strip *strip, fc_tile tile, int columns, const fc_context *ctx) {
    const int64_t tiles = fc_ceil_div(strip->rows, ctx->kernels->tile_rows);
    const int64_t height = strip->rows / tiles, taller = strip->rows % tiles;
    tile.x_tap_stride = strip->rows;
    tile.x = strip->x;
    tile.y = strip->y;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t rows = height + (i < taller);
        ctx->kernels->gemm_tile(&tile, (int)rows, columns);
        tile.x += rows;
        tile.y += rows;
    }
}
