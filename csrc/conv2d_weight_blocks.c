/* conv2d_weight_blocks.c - how the direct weight gradient is cut into blocks of dweight and chunks of pixels.
 *
 * Chunks decide in which order a weight's products are added: they depend on the geometry and the instruction set
 * alone. Blocks are outputs: there are more of them where there are more threads.
 */
#include "conv2d_weight_blocks.h"

/* Floats of a block's sums (160 KB) and of the chunk's operands (256 KB): both stay in an L2 of 512 KB. */
enum { SUMS = 40960, OPERANDS = 65536, FEWEST_PIXELS = 64, MOST_PIXELS = 512, MOST_RUNS = 16384 };
/* Wider maps are cut: of 2 rows and 224 columns half the lines would be the taps' reach. */
enum { WIDE = 128 };

/* The share of the columns' lanes that are used, in 1/256. */
static int64_t lanes_used(int64_t columns, const fc_context *ctx) {
    return 256 * columns / fc_round_up(columns, ctx->kernels->lanes);
}

static bool prefers_swapped(const fc_conv2d *c, const fc_context *ctx) {
    const int64_t straight = lanes_used(conv2d_out_depth(c), ctx), swapped = lanes_used(conv2d_in_depth(c), ctx);
    return swapped > straight || (swapped == straight && conv2d_taps(c) == 1);
}

/* One tap uses a pixel no more often than there are tiles: there packing pays only where pixels lie so far apart that
 * they share the sets of L1, 512 channels (with half the lanes, and so twice the reads, 256): 1x1 256-64 at 56 x 56,
 * 0.83 to 0.91 of the peak. */
static bool reads_in_place(const fc_conv2d *c, const fc_context *ctx) {
    const int64_t near = ctx->kernels->lanes * 32;
    return conv2d_taps(c) == 1 && c->stride_width * c->in_channels <= near && c->out_channels <= near;
}

/* Parts of a group's channels so that the sums of a block fit: as many input as output channels where both must be cut,
 * for each is read again for every part of the other. */
static void cut_channels(const fc_conv2d *c, weight_blocks *b, const fc_context *ctx) {
    const int64_t depth = conv2d_in_depth(c), out_depth = conv2d_out_depth(c), width = ctx->kernels->tile_columns;
    const int64_t products = fc_max(1, SUMS / conv2d_taps(c)); /* that fit, of a tap */
    b->in_parts = b->out_parts = 1;
    if (depth * out_depth > products) {
        int64_t side = width;
        while ((side + width) * (side + width) <= products) side += width;
        const int64_t out = fc_min(out_depth, fc_max(side, products / depth / width * width));
        b->out_parts = fc_ceil_div(out_depth, out);
        b->in_parts = fc_min(depth, fc_ceil_div(depth * out, products));
    }
}

static void cut_pixels(const fc_conv2d *c, weight_blocks *b, const fc_context *ctx) {
    const int64_t area = c->out_height * c->out_width;
    const int64_t x_pixels = (c->stride_height / b->line_step) * (c->stride_width / b->column_step);
    /* What is not packed lies in L2 once, not twice. */
    const int64_t fitting = (reads_in_place(c, ctx) ? 3 : 1) * OPERANDS / (fc_min(x_pixels, OPERANDS) * b->in + b->out);
    const int64_t pixels = fc_max(FEWEST_PIXELS, fc_min(MOST_PIXELS, fitting));
    const int64_t most_rows = fc_max(1, MOST_RUNS / conv2d_taps(c));
    b->column_parts = b->row_parts = 1;
    if (area <= pixels && c->out_height <= most_rows) {
        const int64_t images = fc_max(1, fc_min(pixels / area, most_rows / c->out_height));
        b->image_parts = fc_max(1, fc_ceil_div(c->batch, images));
    } else {
        b->image_parts = fc_max(1, c->batch);
        b->column_parts = fc_ceil_div(c->out_width, WIDE);
        const int64_t rows = pixels / fc_ceil_div(c->out_width, b->column_parts);
        b->row_parts = fc_ceil_div(c->out_height, fc_max(1, fc_min(rows, most_rows)));
    }
    b->images = fc_ceil_div(c->batch, b->image_parts);
    b->rows = fc_ceil_div(c->out_height, b->row_parts);
    b->columns = fc_ceil_div(c->out_width, b->column_parts);
}

/* The lines and columns of x between the first and the last a chunk uses. */
static void measure_x(const fc_conv2d *c, weight_blocks *b) {
    b->lines = ((b->rows - 1) * c->stride_height + (c->kernel_height - 1) * c->dilation_height) / b->line_step + 1;
    b->line_columns = (b->columns - 1) * c->stride_width + (c->kernel_width - 1) * c->dilation_width;
    b->line_columns = b->line_columns / b->column_step + 1;
    b->lines = fc_min(b->lines, fc_ceil_div(c->in_height, b->line_step));
    b->line_columns = fc_min(b->line_columns, fc_ceil_div(c->in_width, b->column_step));
    b->line_columns = fc_round_up(b->line_columns, c->stride_width / b->column_step);
}

/* Packing costs about 1.3 cycles a pixel and tile: worth it where that is a small part of the tile's work. */
static void choose_packing(const fc_conv2d *c, weight_blocks *b, const fc_context *ctx) {
    const int64_t taps = conv2d_taps(c), width = ctx->kernels->tile_columns, height = ctx->kernels->tile_rows;
    const int64_t x_uses = taps * (b->swapped ? fc_ceil_div(b->out, height) : fc_ceil_div(b->out, width));
    const int64_t dy_uses = taps * (b->swapped ? fc_ceil_div(b->in, width) : fc_ceil_div(b->in, height));
    const int64_t read = b->images * b->lines * b->line_columns, pixels = b->images * b->rows * b->columns;
    b->pack_x = x_uses * pixels >= 4 * read;
    b->pack_dy = dy_uses >= 4;
    if (reads_in_place(c, ctx)) b->pack_x = b->pack_dy = false;
}

weight_blocks conv2d_weight_blocks(const fc_conv2d *c, const fc_context *ctx) {
    weight_blocks b = {0};
    b.line_step = c->kernel_height == 1 ? c->stride_height : 1;
    b.column_step = c->kernel_width == 1 ? c->stride_width : 1;
    b.swapped = prefers_swapped(c, ctx);
    b.direct = b.swapped && conv2d_taps(c) == 1;
    cut_channels(c, &b, ctx);
    b.in = fc_ceil_div(conv2d_in_depth(c), b.in_parts);
    b.out = fc_ceil_div(conv2d_out_depth(c), b.out_parts);
    cut_pixels(c, &b, ctx);
    measure_x(c, &b);
    choose_packing(c, &b, ctx);
    /* As many blocks as threads divide evenly. */
    const int64_t threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx);
    const int64_t others = c->groups * b.out_parts;
    if (others % threads && others * b.in_parts < 8 * threads)
        b.in_parts = fc_min(conv2d_in_depth(c), fc_round_up(b.in_parts, threads));
    b.in = fc_ceil_div(conv2d_in_depth(c), b.in_parts);
    b.out = fc_ceil_div(conv2d_out_depth(c), b.out_parts);
    return b;
}

/* ------------------------------------------------------------------------------------------------------- chunks */

/* The first and the number of the lines (or columns) of x inside the image that `count` outputs from `begin` on use. */
static void find_lines(int64_t begin, int64_t count, int64_t stride, int64_t reach, int64_t pad, int64_t step,
                       int64_t extent, int64_t *first, int64_t *lines) {
    const int64_t from = begin * stride - pad, to = from + (count - 1) * stride + reach;
    *first = from >= 0 ? from : fc_ceil_div(-from, step) * step + from;
    *lines = fc_max(0, fc_floor_div(fc_min(to, extent - 1) - *first, step) + 1);
}

weight_chunk conv2d_weight_chunk(const fc_conv2d *c, const weight_blocks *b, int64_t index) {
    weight_chunk k = {.first = index == 0, .last = index == weight_chunk_count(b) - 1};
    fc_split(c->out_width, b->column_parts, index % b->column_parts, &k.column, &k.columns);
    fc_split(c->out_height, b->row_parts, index / b->column_parts % b->row_parts, &k.row, &k.rows);
    fc_split(c->batch, b->image_parts, index / b->column_parts / b->row_parts, &k.image, &k.images);
    k.columns -= k.column, k.rows -= k.row, k.images -= k.image;
    find_lines(k.row, k.rows, c->stride_height, (c->kernel_height - 1) * c->dilation_height, c->pad_top, b->line_step,
               c->in_height, &k.line, &k.lines);
    find_lines(k.column, k.columns, c->stride_width, (c->kernel_width - 1) * c->dilation_width, c->pad_left,
               b->column_step, c->in_width, &k.line_column, &k.line_columns);
    return k;
}
