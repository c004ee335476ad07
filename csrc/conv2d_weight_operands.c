/* conv2d_weight_operands.c - what a chunk of the direct weight gradient reads: x and dy packed for the tiles or as they
 * lie, the runs of pixels a tap meets, and what to fetch ahead.
 */
#include "conv2d_weight_blocks.h"

enum { FLOAT = sizeof(float) };

/* --------------------------------------------------------------------------------------------------- workspace */

static int64_t tile_width(const weight_task *t, bool columns) {
    return columns ? t->ctx->kernels->tile_columns : t->ctx->kernels->tile_rows;
}

static int64_t panels_floats(const weight_task *t, int64_t depth, bool columns, int64_t pixels) {
    return fc_round_up(depth, tile_width(t, columns)) * pixels;
}

static int64_t sums_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return b->direct ? 0 : conv2d_taps(t->conv) * b->in * b->out;
}

static int64_t x_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    const int64_t pixels = b->images * b->lines * b->line_columns;
    return b->pack_x ? panels_floats(t, b->in, b->swapped, pixels) : 0;
}

static int64_t dy_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return b->pack_dy ? panels_floats(t, b->out, !b->swapped, b->images * b->rows * b->columns) : 0;
}

static int64_t runs_bytes(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return conv2d_taps(t->conv) * b->images * b->rows * (int64_t)sizeof(struct fc_run);
}

weight_scratch conv2d_weight_take_scratch(const weight_task *t, fc_arena *arena) {
    weight_scratch s;
    s.sums = fc_take(arena, sums_floats(t) * (int64_t)sizeof(float));
    s.x_panels = fc_take(arena, x_floats(t) * (int64_t)sizeof(float));
    s.dy_panels = fc_take(arena, dy_floats(t) * (int64_t)sizeof(float));
    s.runs = fc_take(arena, runs_bytes(t));
    s.tap_begin = fc_take(arena, (conv2d_taps(t->conv) + 1) * (int64_t)sizeof(int64_t));
    return s;
}

/* ------------------------------------------------------------------------------------------------------ operands */

/* panel[tile][pixel][width] of `count` pixels, `depth` values of each from x on. */
static void pack_pixels(const weight_task *t, int64_t count, int64_t depth, const float *x, int64_t x_step,
                        bool columns, float *panel, int64_t tile_stride) {
    const int64_t width = tile_width(t, columns), tiles = fc_ceil_div(depth, width);
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t first = tile * width, last = fc_min(depth, first + width);
        if (!columns) fc_split(depth, tiles, tile, &first, &last);
        t->ctx->kernels->copy_pieces(count, last - first, x + first, x_step, panel + tile * tile_stride, width);
    }
}

weight_operand conv2d_weight_pack_dy(const weight_task *t, const weight_chunk *k, const weight_block *block,
                                     float *panels) {
    const fc_conv2d *c = t->conv;
    const bool columns = !t->blocks.swapped, whole = k->columns == c->out_width;
    const int64_t width = tile_width(t, columns), offset = block->group * conv2d_out_depth(c) + block->out_begin;
    const int64_t tile_stride = k->images * k->rows * k->columns * width;
    if (!t->blocks.pack_dy) {
        const int64_t pixel = (k->image * c->out_height + k->row) * c->out_width + k->column;
        return (weight_operand){t->dy + pixel * c->out_channels, c->out_channels, 0, offset};
    }
    /* Rows of pixels that follow each other in memory are copied in one go. */
    const int64_t rows = whole ? 1 : k->rows, images = whole && k->rows == c->out_height ? 1 : k->images;
    const int64_t count = k->images * k->rows * k->columns / (rows * images);
    for (int64_t i = 0; i < images; i++)
        for (int64_t p = 0; p < rows; p++) {
            const int64_t pixel = ((k->image + i) * c->out_height + k->row + p) * c->out_width + k->column;
            pack_pixels(t, count, block->out_end - block->out_begin, t->dy + pixel * c->out_channels + offset,
                        c->out_channels, columns, panels + (i * rows + p) * count * width, tile_stride);
        }
    return (weight_operand){panels, width, tile_stride, 0};
}

weight_operand conv2d_weight_pack_x(const weight_task *t, const weight_chunk *k, const weight_block *block,
                                    float *panels) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t offset = block->group * conv2d_in_depth(c) + block->in_begin, depth = block->in_end - block->in_begin;
    const int64_t phases = c->stride_width / b->column_step, width = tile_width(t, b->swapped);
    const int64_t tile_stride = k->images * k->lines * fc_round_up(k->line_columns, phases) * width;
    if (!b->pack_x) {
        const int64_t pixel = (k->image * c->in_height + k->line) * c->in_width + k->line_column;
        return (weight_operand){t->x + pixel * c->in_channels, c->in_channels, 0, offset};
    }
    const bool whole = k->line_columns == c->in_width && b->column_step == 1 && b->line_step == 1 && phases == 1;
    const int64_t lines = whole ? 1 : k->lines, images = whole && k->lines == c->in_height ? 1 : k->images;
    if (k->lines * k->line_columns == 0) return (weight_operand){panels, width, 0, 0};
    const int64_t count = k->images * k->lines * k->line_columns / (lines * images);
    for (int64_t i = 0; i < images; i++)
        for (int64_t l = 0; l < lines; l++) {
            const int64_t line = (k->image + i) * c->in_height + k->line + l * b->line_step;
            const float *from = t->x + (line * c->in_width + k->line_column) * c->in_channels + offset;
            float *panel = panels + (i * lines + l) * phases * fc_ceil_div(count, phases) * width;
            for (int64_t phase = 0; phase < fc_min(phases, count); phase++)
                pack_pixels(t, fc_ceil_div(count - phase, phases), depth, from + phase * c->in_channels,
                            b->column_step * phases * c->in_channels, b->swapped,
                            panel + phase * fc_ceil_div(count, phases) * width, tile_stride);
        }
    return (weight_operand){panels, width, tile_stride, 0};
}

/* ---------------------------------------------------------------------------------------------------------- runs */

/* Where pixel (i, p, q) of a chunk lies in dy, where (i, h, w) of the image lies in x. */
static const float *dy_at(const weight_task *t, const weight_chunk *k, const weight_operand *dy, int64_t i, int64_t p,
                          int64_t q) {
    const fc_conv2d *c = t->conv;
    if (t->blocks.pack_dy) return dy->base + ((i * k->rows + p) * k->columns + q) * dy->pitch;
    return dy->base + ((i * c->out_height + p) * c->out_width + q) * dy->pitch;
}

static const float *x_at(const weight_task *t, const weight_chunk *k, const weight_operand *x, int64_t i, int64_t h,
                         int64_t w) {
    const weight_blocks *b = &t->blocks;
    h -= k->line, w -= k->line_column;
    if (b->pack_x) {
        const int64_t phases = t->conv->stride_width / b->column_step, columns = fc_ceil_div(k->line_columns, phases);
        w /= b->column_step;
        return x->base + (((i * k->lines + h / b->line_step) * phases + w % phases) * columns + w / phases) * x->pitch;
    }
    return x->base + ((i * t->conv->in_height + h) * t->conv->in_width + w) * x->pitch;
}

int64_t conv2d_weight_x_step(const weight_task *t, const weight_operand *x) {
    return (t->blocks.pack_x ? 1 : t->conv->stride_width) * x->pitch;
}

/* The output columns of the chunk that kernel column s finds inside the image. */
static void find_columns(const weight_task *t, const weight_chunk *k, int64_t s, int64_t *begin, int64_t *end) {
    conv2d_inside_columns(t->conv, s, begin, end);
    *begin = fc_max(*begin - k->column, 0);
    *end = fc_max(*begin, fc_min(*end - k->column, k->columns));
}

int64_t conv2d_weight_runs(const weight_task *t, const weight_chunk *k, const weight_operand *x,
                           const weight_operand *dy, int64_t tap, struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t r = tap / c->kernel_width, s = tap % c->kernel_width, step = conv2d_weight_x_step(t, x);
    int64_t count = 0, begin, end;
    find_columns(t, k, s, &begin, &end);
    if (begin == end) return 0;
    const int64_t w = (k->column + begin) * c->stride_width + s * c->dilation_width - c->pad_left;
    /* The rows whose line lies inside the image; from one to the next, both operands take constant steps. */
    const int64_t top = k->row * c->stride_height + r * c->dilation_height - c->pad_top;
    const int64_t from = top >= 0 ? 0 : fc_ceil_div(-top, c->stride_height);
    const int64_t to = fc_min(k->rows, fc_floor_div(c->in_height - 1 - top, c->stride_height) + 1);
    if (from >= to) return 0;
    const int64_t h = top + from * c->stride_height, length = end - begin;
    const int64_t x_row = to > from + 1 ? x_at(t, k, x, 0, h + c->stride_height, w) - x_at(t, k, x, 0, h, w) : 0;
    const int64_t dy_row = dy_at(t, k, dy, 0, 1, 0) - dy_at(t, k, dy, 0, 0, 0);
    for (int64_t i = 0; i < k->images; i++) {
        const float *x_run = x_at(t, k, x, i, h, w), *dy_run = dy_at(t, k, dy, i, from, begin);
        for (int64_t p = from; p < to; p++, x_run += x_row, dy_run += dy_row) {
            struct fc_run *last = runs + count - 1;
            const int64_t joined = count ? last->length : 0;
            if (count && (b->swapped ? last->w : last->x) + joined * step == x_run &&
                (b->swapped ? last->x : last->w) + joined * dy->pitch == dy_run)
                last->length += length;
            else
                runs[count++] = (struct fc_run){b->swapped ? dy_run : x_run, b->swapped ? x_run : dy_run, length};
        }
    }
    return count;
}

/* ------------------------------------------------------------------------------------------------------ prefetch */

void conv2d_weight_prefetch(weight_stream *s, int64_t count) {
    while (count-- > 0 && s->at_image < s->images) {
        const char *piece = s->line + s->at_image * s->image_bytes + s->at_line * s->line_bytes +
                            s->at_column * s->column_bytes;
        for (int64_t i = 0; i < s->bytes; i += 64) __builtin_prefetch(piece + i, 0, 2);
        __builtin_prefetch(piece + s->bytes - 1, 0, 2);
        if (++s->at_column < s->columns) continue;
        s->at_column = 0;
        if (++s->at_line < s->lines) continue;
        s->at_line = 0;
        s->at_image++;
    }
}

/* Lines of pixels without a gap are cut into pieces of 512 bytes, not into pixels of a few (16-4 channels: 3 times as
 * fast). */
static weight_stream join_pieces(weight_stream s) {
    enum { PIECE = 512 };
    if (s.bytes == s.column_bytes) {
        s.columns = fc_ceil_div(s.columns * s.bytes, PIECE);
        s.bytes = s.column_bytes = PIECE;
    } else if (s.bytes < FC_ALIGNMENT) { /* groups of few channels: fetching takes longer than reading */
        s.images = 0;
    }
    return s;
}

weight_stream conv2d_weight_stream_x(const weight_task *t, const weight_chunk *k, const weight_block *block) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t depth = conv2d_in_depth(c), column = fc_max(0, k->line_column);
    const int64_t pixel = (k->image * c->in_height + k->line) * c->in_width + column;
    const int64_t channel = block->group * depth + block->in_begin;
    return join_pieces((weight_stream){
        .line = (const char *)(t->x + pixel * c->in_channels + channel),
        .bytes = (block->in_end - block->in_begin) * FLOAT,
        .columns = k->line_columns, .column_bytes = b->column_step * c->in_channels * FLOAT,
        .lines = k->lines, .line_bytes = b->line_step * c->in_width * c->in_channels * FLOAT,
        .images = k->line_columns > 0 && k->lines > 0 ? k->images : 0,
        .image_bytes = c->in_height * c->in_width * c->in_channels * FLOAT});
}

weight_stream conv2d_weight_stream_dy(const weight_task *t, const weight_chunk *k, const weight_block *block) {
    const fc_conv2d *c = t->conv;
    const int64_t pixel = (k->image * c->out_height + k->row) * c->out_width + k->column;
    return join_pieces((weight_stream){
        .line = (const char *)(t->dy + pixel * c->out_channels + block->group * conv2d_out_depth(c) + block->out_begin),
        .bytes = (block->out_end - block->out_begin) * FLOAT,
        .columns = k->columns, .column_bytes = c->out_channels * FLOAT,
        .lines = k->rows, .line_bytes = c->out_width * c->out_channels * FLOAT,
        .images = k->images, .image_bytes = c->out_height * c->out_width * c->out_channels * FLOAT});
}
