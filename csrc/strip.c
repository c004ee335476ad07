/* strip.c - a strip of rows times one panel of columns. */
#include "strip.h"

/* Tiles of nearly equal height over `rows` rows, from tile->x and tile->y on, which are moved past them. */
static void multiply_run(fc_tile *tile, int64_t rows, int columns, const fc_context *ctx) {
    const int64_t tiles = fc_ceil_div(rows, ctx->kernels->gemm_rows), height = rows / tiles, taller = rows % tiles;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t count = height + (i < taller);
        ctx->kernels->gemm_tile(tile, (int)count, columns);
        tile->x += count;
        tile->y += count;
    }
}

/* Where 8 columns would fill half a vector of 16, kernels of 8 lanes take them: the same sums, in half the time on Zen 4. */
static void multiply_even_run(const fc_tile *tile, int64_t rows, int columns, const fc_context *ctx) {
    const fc_kernels *kernels = ctx->kernels, *narrow = kernels->narrow;
    const bool half = narrow != kernels && columns % kernels->lanes == narrow->lanes;
    const int whole = half ? columns - narrow->lanes : columns;
    if (whole) kernels->gemm_run(tile, rows, whole);
    if (!half) return;
    fc_tile rest = *tile;
    rest.w += whole;
    rest.y_offset += whole;
    if (rest.bias) rest.bias += whole;
    narrow->gemm_run(&rest, rows, narrow->lanes);
}

void fc_multiply_strip(const fc_strip *strip, fc_tile tile, int columns, const fc_context *ctx) {
    const int64_t run = strip->run > 0 ? strip->run : fc_max(1, strip->rows);
    tile.x_tap_stride = fc_tap_stride(strip);
    tile.x = strip->x;
    tile.y = strip->y;
    tile.zeros = strip->zeros;
    tile.x_row = strip->x_row;
    tile.y_row = strip->y_row;
    for (int64_t begin = 0; begin < strip->rows; begin += run) {
        const int64_t rows = fc_min(run, strip->rows - begin);
        if (strip->x_row == 0) {
            multiply_run(&tile, rows, columns, ctx);
        } else {
            multiply_even_run(&tile, rows, columns, ctx);
            tile.x += strip->taps;
            tile.y++;
        }
    }
}
