/* conv2d_direct_weight.c - the weight gradient of direct convolution: a reduction over pixels.
 *
 * dweight is cut into blocks whose sums stay in L2, pixels into chunks whose operands do (conv2d_weight_blocks.c). Every block
 * is summed over the chunks in order, by one thread, and then written once. A tile is input channels times output channels
 * of one tap, both contiguous in NHWC; where many tiles use them, both are packed into panels of a tile's width first.
 */
#include "conv2d_weight_blocks.h"

/* One operand of a chunk, where the tiles read it. */
typedef struct weight_operand {
    const float *base;
    int64_t pitch;       /* floats from a pixel to the next */
    int64_t tile_stride; /* floats from a tile's values to the next tile's; 0: they lie side by side */
} weight_operand;

/* The pixels of a chunk, and the part of x they need. */
typedef struct weight_chunk {
    int64_t image, images, row, rows, column, columns;
    int64_t line, lines, line_column, line_columns;
    bool first, last;
} weight_chunk;

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    weight_blocks blocks;
    const float *dy, *x;
    float *dweight;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes;
} weight_task;

typedef struct weight_scratch {
    float *sums, *x_panels, *dy_panels;
    struct fc_run *runs; /* of all taps, one after the other */
    int64_t *tap_begin;  /* [taps + 1], in runs */
} weight_scratch;

/* A block of dweight: channels of one group. */
typedef struct weight_block {
    int64_t group, in_begin, in_end, out_begin, out_end;
    float *y;            /* its sums */
    int64_t row_stride, tap_stride;
} weight_block;

/* --------------------------------------------------------------------------------------------------- workspace */

static int64_t tile_width(const weight_task *t, bool columns) {
    return columns ? t->ctx->kernels->tile_columns : t->ctx->kernels->tile_rows;
}

static int64_t panels_floats(const weight_task *t, int64_t depth, bool columns, int64_t pixels) {
    return fc_round_up(depth, tile_width(t, columns)) * pixels;
}

static int64_t sums_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return b->direct ? 0 : weight_taps(t->conv, b) * b->in * b->out;
}

static int64_t x_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    const int64_t pixels = b->images * b->lines * b->line_columns;
    if (b->merged) return pixels * conv2d_in_depth(t->conv);
    return b->pack_x ? panels_floats(t, b->in, b->swapped, pixels) : 0;
}

static int64_t dy_floats(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return b->pack_dy ? panels_floats(t, b->out, !b->swapped, b->images * b->rows * b->columns) : 0;
}

static int64_t runs_bytes(const weight_task *t) {
    const weight_blocks *b = &t->blocks;
    return weight_taps(t->conv, b) * b->images * b->rows * (int64_t)sizeof(struct fc_run);
}

/* With an arena of address 0 it measures. */
static weight_scratch take_scratch(const weight_task *t, fc_arena *arena) {
    weight_scratch s;
    s.sums = fc_take(arena, sums_floats(t) * (int64_t)sizeof(float));
    s.x_panels = fc_take(arena, x_floats(t) * (int64_t)sizeof(float));
    s.dy_panels = fc_take(arena, dy_floats(t) * (int64_t)sizeof(float));
    s.runs = fc_take(arena, runs_bytes(t));
    s.tap_begin = fc_take(arena, (weight_taps(t->conv, &t->blocks) + 1) * (int64_t)sizeof(int64_t));
    return s;
}

static int64_t scratch_bytes(const weight_task *t) {
    fc_arena arena = {NULL};
    take_scratch(t, &arena);
    return (int64_t)(intptr_t)arena.next;
}

int64_t conv2d_direct_weight_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const weight_task t = {.conv = c, .ctx = ctx, .blocks = conv2d_weight_blocks(c, ctx)};
    return ctx->num_threads * scratch_bytes(&t);
}

/* ------------------------------------------------------------------------------------------------------ operands */

/* The first and the number of the lines (or columns) of x inside the image that `count` outputs from `begin` on use. */
static void find_lines(int64_t begin, int64_t count, int64_t stride, int64_t reach, int64_t pad, int64_t step, int64_t extent,
                       int64_t *first, int64_t *lines) {
    const int64_t from = begin * stride - pad, to = from + (count - 1) * stride + reach;
    *first = from >= 0 ? from : fc_ceil_div(-from, step) * step + from;
    *lines = fc_max(0, fc_floor_div(fc_min(to, extent - 1) - *first, step) + 1);
}

static weight_chunk find_chunk(const weight_task *t, int64_t index) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    weight_chunk k = {.first = index == 0, .last = index == weight_chunk_count(b) - 1};
    fc_split(c->out_width, b->column_parts, index % b->column_parts, &k.column, &k.columns);
    fc_split(c->out_height, b->row_parts, index / b->column_parts % b->row_parts, &k.row, &k.rows);
    fc_split(c->batch, b->image_parts, index / b->column_parts / b->row_parts, &k.image, &k.images);
    k.columns -= k.column, k.rows -= k.row, k.images -= k.image;
    find_lines(k.row, k.rows, c->stride_height, (c->kernel_height - 1) * c->dilation_height, c->pad_top, b->line_step,
               c->in_height, &k.line, &k.lines);
    if (b->merged) {
        k.line_column = k.column * c->stride_width - c->pad_left;
        k.line_columns = (k.columns - 1) * c->stride_width + c->kernel_width;
    } else {
        find_lines(k.column, k.columns, c->stride_width, (c->kernel_width - 1) * c->dilation_width, c->pad_left,
                   b->column_step, c->in_width, &k.line_column, &k.line_columns);
    }
    return k;
}

/* panel[tile][pixel][width] of `count` pixels, `depth` values of each from x on. The pixels are those of a chunk from
 * number `at` on. */
static void pack_pixels(const weight_task *t, int64_t count, int64_t depth, const float *x, int64_t x_step, bool columns,
                        float *panel, int64_t tile_stride) {
    const int64_t width = tile_width(t, columns), tiles = fc_ceil_div(depth, width);
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t first = tile * width, last = fc_min(depth, first + width);
        if (!columns) fc_split(depth, tiles, tile, &first, &last);
        t->ctx->kernels->copy_pieces(count, last - first, x + first, x_step, panel + tile * tile_stride, width);
    }
}

static weight_operand pack_dy(const weight_task *t, const weight_chunk *k, const weight_block *block, float *panels) {
    const fc_conv2d *c = t->conv;
    const bool columns = !t->blocks.swapped, whole = k->columns == c->out_width;
    const int64_t width = tile_width(t, columns), offset = block->group * conv2d_out_depth(c) + block->out_begin;
    const int64_t tile_stride = k->images * k->rows * k->columns * width;
    if (!t->blocks.pack_dy) {
        const int64_t pixel = (k->image * c->out_height + k->row) * c->out_width + k->column;
        return (weight_operand){t->dy + pixel * c->out_channels + offset, c->out_channels, 0};
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
    return (weight_operand){panels, width, tile_stride};
}

/* lines[i][l][w] = a line of x from column line_column on, zeros outside. */
static weight_operand copy_lines(const weight_task *t, const weight_chunk *k, const weight_block *block, float *lines) {
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), before = fc_min(k->line_columns, fc_max(0, -k->line_column));
    const int64_t inside = fc_max(0, fc_min(k->line_columns - before, c->in_width - k->line_column - before));
    const int64_t after = k->line_columns - before - inside;
    float *to = lines;
    for (int64_t i = 0; i < k->images * k->lines; i++) {
        const int64_t line = (k->image + i / k->lines) * c->in_height + k->line + i % k->lines;
        const float *from = t->x + (line * c->in_width + k->line_column + before) * c->in_channels + block->group * depth;
        memset(to, 0, (size_t)(before * depth) * sizeof(float));
        to += before * depth;
        if (c->groups == 1)
            memcpy(to, from, (size_t)(inside * depth) * sizeof(float));
        else
            t->ctx->kernels->copy_pieces(inside, depth, from, c->in_channels, to, depth);
        to += inside * depth;
        memset(to, 0, (size_t)(after * depth) * sizeof(float));
        to += after * depth;
    }
    return (weight_operand){lines, depth, 0};
}

static weight_operand pack_x(const weight_task *t, const weight_chunk *k, const weight_block *block, float *panels) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t offset = block->group * conv2d_in_depth(c) + block->in_begin, depth = block->in_end - block->in_begin;
    const int64_t phases = c->stride_width / b->column_step, width = tile_width(t, b->swapped);
    const int64_t tile_stride = k->images * k->lines * fc_round_up(k->line_columns, phases) * width;
    if (b->merged) return copy_lines(t, k, block, panels);
    if (!b->pack_x) {
        const int64_t pixel = (k->image * c->in_height + k->line) * c->in_width + k->line_column;
        return (weight_operand){t->x + pixel * c->in_channels + offset, c->in_channels, 0};
    }
    const bool whole = k->line_columns == c->in_width && b->column_step == 1 && b->line_step == 1 && phases == 1;
    const int64_t lines = whole ? 1 : k->lines, images = whole && k->lines == c->in_height ? 1 : k->images;
    if (k->lines * k->line_columns == 0) return (weight_operand){panels, width, 0};
    const int64_t count = k->images * k->lines * k->line_columns / (lines * images);
    for (int64_t i = 0; i < images; i++)
        for (int64_t l = 0; l < lines; l++) {
            const int64_t line = (k->image + i) * c->in_height + k->line + l * b->line_step;
            const float *from = t->x + (line * c->in_width + k->line_column) * c->in_channels + offset;
            for (int64_t phase = 0; phase < fc_min(phases, count); phase++)
                pack_pixels(t, fc_ceil_div(count - phase, phases), depth, from + phase * c->in_channels,
                            b->column_step * phases * c->in_channels, b->swapped,
                            panels + ((i * lines + l) * phases + phase) * fc_ceil_div(count, phases) * width, tile_stride);
        }
    return (weight_operand){panels, width, tile_stride};
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
    if (b->merged) return x->base + ((i * k->lines + h) * k->line_columns + w) * x->pitch;
    if (b->pack_x) {
        const int64_t phases = t->conv->stride_width / b->column_step, columns = fc_ceil_div(k->line_columns, phases);
        w /= b->column_step;
        return x->base + (((i * k->lines + h / b->line_step) * phases + w % phases) * columns + w / phases) * x->pitch;
    }
    return x->base + ((i * t->conv->in_height + h) * t->conv->in_width + w) * x->pitch;
}

static int64_t x_step(const weight_task *t, const weight_operand *x) {
    return (t->blocks.pack_x ? 1 : t->conv->stride_width) * x->pitch;
}

/* The output columns of the chunk that kernel column s finds inside the image. */
static void find_columns(const weight_task *t, const weight_chunk *k, int64_t s, int64_t *begin, int64_t *end) {
    if (t->blocks.merged) {
        *begin = 0;
        *end = k->columns;
        return;
    }
    conv2d_inside_columns(t->conv, s, begin, end);
    *begin = fc_max(*begin - k->column, 0);
    *end = fc_max(*begin, fc_min(*end - k->column, k->columns));
}

/* The runs of one tap over the chunk; neighbours in both operands are joined. Returns how many. */
static int64_t find_runs(const weight_task *t, const weight_chunk *k, const weight_operand *x, const weight_operand *dy,
                         int64_t tap, struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t r = tap / b->tap_columns, s = tap % b->tap_columns, step = x_step(t, x);
    int64_t count = 0, begin, end;
    find_columns(t, k, s, &begin, &end);
    if (begin == end) return 0;
    const int64_t w = b->merged ? k->line_column : (k->column + begin) * c->stride_width + s * c->dilation_width - c->pad_left;
    for (int64_t i = 0; i < k->images; i++)
        for (int64_t p = 0; p < k->rows; p++) {
            const int64_t h = (k->row + p) * c->stride_height + r * c->dilation_height - c->pad_top;
            if (h < 0 || h >= c->in_height) continue;
            const float *x_run = x_at(t, k, x, i, h, w), *dy_run = dy_at(t, k, dy, i, p, begin);
            struct fc_run *last = runs + count - 1;
            const int64_t length = count ? last->length : 0;
            const float *x_end = count ? (b->swapped ? last->w : last->x) + length * step : NULL;
            const float *dy_end = count ? (b->swapped ? last->x : last->w) + length * dy->pitch : NULL;
            if (count && x_end == x_run && dy_end == dy_run)
                last->length += end - begin;
            else
                runs[count++] = (struct fc_run){b->swapped ? dy_run : x_run, b->swapped ? x_run : dy_run, end - begin};
        }
    return count;
}

/* ------------------------------------------------------------------------------------------------------ prefetch */

/* What the next chunk reads, and what the block writes, is fetched into L2 a few pixels a tile: copies from L3 or beyond cost
 * a tenth of the time of 64 channels at 224 x 224, and writing the weights of 512 channels a fifth at 7 x 7. */
typedef struct weight_stream {
    const char *line;                               /* the first piece of the line */
    int64_t bytes, columns, column_bytes;           /* of a piece; pieces of a line, and from one to the next */
    int64_t lines, line_bytes, images, image_bytes;
    int64_t at_column, at_line, at_image;
} weight_stream;

static void prefetch_pieces(weight_stream *s, int64_t count) {
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

static int64_t stream_pieces(const weight_stream *s) { return s->images * s->lines * s->columns; }

enum { FLOAT = sizeof(float) };

static weight_stream stream_x(const weight_task *t, const weight_chunk *k, const weight_block *block) {
    const fc_conv2d *c = t->conv;
    const weight_blocks *b = &t->blocks;
    const int64_t depth = conv2d_in_depth(c), column = fc_max(0, k->line_column);
    const int64_t columns = b->merged ? fc_min(k->line_columns, c->in_width - column) : k->line_columns;
    const int64_t pixel = (k->image * c->in_height + k->line) * c->in_width + column;
    weight_stream s = {
        .line = (const char *)(t->x + pixel * c->in_channels + block->group * depth + (b->merged ? 0 : block->in_begin)),
        .bytes = (b->merged ? depth : block->in_end - block->in_begin) * FLOAT,
        .columns = columns, .column_bytes = b->column_step * c->in_channels * FLOAT,
        .lines = k->lines, .line_bytes = b->line_step * c->in_width * c->in_channels * FLOAT,
        .images = columns > 0 && k->lines > 0 ? k->images : 0, .image_bytes = c->in_height * c->in_width * c->in_channels * FLOAT};
    return s;
}

static weight_stream stream_dy(const weight_task *t, const weight_chunk *k, const weight_block *block) {
    const fc_conv2d *c = t->conv;
    const int64_t pixel = (k->image * c->out_height + k->row) * c->out_width + k->column;
    return (weight_stream){
        .line = (const char *)(t->dy + pixel * c->out_channels + block->group * conv2d_out_depth(c) + block->out_begin),
        .bytes = (block->out_end - block->out_begin) * FLOAT,
        .columns = k->columns, .column_bytes = c->out_channels * FLOAT,
        .lines = k->rows, .line_bytes = c->out_width * c->out_channels * FLOAT,
        .images = k->images, .image_bytes = c->out_height * c->out_width * c->out_channels * FLOAT};
}

/* The part of a block that one tile of all taps makes, from its first input and output channel in the group on. */
typedef struct weight_part { int64_t in, in_count, out, out_count; const float *sums; } weight_part;

static float *dweight_at(const weight_task *t, int64_t group, const weight_part *part) {
    const int64_t depth = conv2d_in_depth(t->conv);
    return t->dweight + ((group * conv2d_out_depth(t->conv) + part->out) * depth + part->in) * conv2d_taps(t->conv);
}

static weight_stream stream_dweight(const weight_task *t, int64_t group, const weight_part *part) {
    const int64_t taps = conv2d_taps(t->conv);
    return (weight_stream){.line = (const char *)dweight_at(t, group, part), .bytes = part->in_count * taps * FLOAT,
                           .columns = 1, .lines = part->out_count, .images = 1,
                           .line_bytes = conv2d_in_depth(t->conv) * taps * FLOAT};
}

/* -------------------------------------------------------------------------------------------------------- blocks */

/* dweight[k][c][tap] = the sums of a part of a block, while they are in L1. */
static void store_part(const weight_task *t, const weight_block *block, const weight_part *part) {
    const int64_t taps = conv2d_taps(t->conv), depth = conv2d_in_depth(t->conv), columns = block->tap_stride;
    float *dweight = dweight_at(t, block->group, part);
    if (!t->blocks.swapped) { /* [c][tap][k] */
        t->ctx->kernels->transpose_block(part->in_count * taps, part->out_count, part->sums, columns, dweight, depth * taps);
        return;
    }
    for (int64_t k = 0; k < part->out_count; k++) /* [k][tap][c] */
        t->ctx->kernels->transpose_block(taps, part->in_count, part->sums + k * block->row_stride, columns,
                                         dweight + k * depth * taps, taps);
}

/* The sums of a block of merged taps, straight: [s][c][r][k], swapped: [k][r][s][c]. */
static void store_merged(const weight_task *t, const weight_block *block) {
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), rows = c->kernel_height, columns = c->kernel_width;
    const weight_part part = {0, depth, block->out_begin, block->out_end - block->out_begin, block->y};
    float *dweight = dweight_at(t, block->group, &part);
    if (t->blocks.swapped) {
        for (int64_t k = 0; k < part.out_count; k++)
            t->ctx->kernels->transpose_block(rows * columns, depth, part.sums + k * block->row_stride, depth,
                                             dweight + k * depth * rows * columns, rows * columns);
        return;
    }
    for (int64_t k = 0; k < part.out_count; k++)
        for (int64_t i = 0; i < depth; i++)
            for (int64_t r = 0; r < rows; r++)
                for (int64_t s = 0; s < columns; s++)
                    dweight[((k * depth + i) * rows + r) * columns + s] =
                        part.sums[((s * depth + i) * rows + r) * part.out_count + k];
}

/* The products of one chunk, added to the block's sums. Taps inside: their operands are those of the tap before. */
static void multiply_chunk(const weight_task *t, const weight_chunk *k, const weight_block *block,
                           const weight_scratch *s, weight_stream streams[2]) {
    const weight_blocks *b = &t->blocks;
    const fc_kernels *kernels = t->ctx->kernels;
    const weight_operand x = pack_x(t, k, block, s->x_panels), dy = pack_dy(t, k, block, s->dy_panels);
    const weight_operand *row_operand = b->swapped ? &dy : &x, *column_operand = b->swapped ? &x : &dy;
    const int64_t taps = weight_taps(t->conv, b), in = block->in_end - block->in_begin;
    const int64_t out = block->out_end - block->out_begin, rows = b->swapped ? out : in, columns = b->swapped ? in : out;
    const int64_t width = kernels->tile_columns, row_tiles = fc_ceil_div(rows, kernels->tile_rows);
    const int64_t column_tiles = fc_ceil_div(columns, width), tiles = row_tiles * column_tiles;
    const bool store = k->last && !b->direct && !b->merged;
    fc_outer outer = {.y_stride = block->row_stride, .accumulate = !k->first};
    outer.x_step = b->swapped ? dy.pitch : x_step(t, &x);
    outer.w_step = b->swapped ? x_step(t, &x) : dy.pitch;
    s->tap_begin[0] = 0;
    for (int64_t tap = 0; tap < taps; tap++)
        s->tap_begin[tap + 1] = s->tap_begin[tap] + find_runs(t, k, &x, &dy, tap, s->runs + s->tap_begin[tap]);
    int64_t pieces[2];
    for (int i = 0; i < 2; i++) pieces[i] = fc_ceil_div(stream_pieces(&streams[i]), tiles * taps);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = b->direct ? tile / column_tiles : tile % row_tiles;
        const int64_t j = (b->direct ? tile % column_tiles : tile / row_tiles) * width, j_count = fc_min(width, columns - j);
        int64_t first, last;
        fc_split(rows, row_tiles, i, &first, &last);
        outer.w_offset = column_operand->tile_stride ? j / width * column_operand->tile_stride : j;
        outer.x_offset = row_operand->tile_stride ? i * row_operand->tile_stride : first;
        const weight_part part = {
            .in = block->in_begin + (b->swapped ? j : first), .in_count = b->swapped ? j_count : last - first,
            .out = block->out_begin + (b->swapped ? first : j), .out_count = b->swapped ? last - first : j_count,
            .sums = block->y + first * block->row_stride + j};
        weight_stream stored = {0};
        if (store) stored = stream_dweight(t, block->group, &part);
        for (int64_t tap = 0; tap < taps; tap++) {
            for (int n = 0; n < 2; n++) prefetch_pieces(&streams[n], pieces[n]);
            prefetch_pieces(&stored, fc_ceil_div(stored.lines, taps));
            outer.run = s->runs + s->tap_begin[tap];
            outer.runs = s->tap_begin[tap + 1] - s->tap_begin[tap];
            outer.y = block->y + first * block->row_stride + tap * block->tap_stride + j;
            if (outer.runs || k->first) kernels->outer_tile(&outer, (int)(last - first), (int)j_count);
        }
        if (store) store_part(t, block, &part);
    }
}

/* Item: (group, part of the output channels, part of the input channels). */
static weight_block find_block(const weight_task *t, int64_t item, float *sums) {
    const weight_blocks *b = &t->blocks;
    const int64_t depth = conv2d_in_depth(t->conv), out_depth = conv2d_out_depth(t->conv);
    weight_block block = {.group = item / (b->out_parts * b->in_parts), .y = sums};
    fc_split(b->depth, b->in_parts, item % b->in_parts, &block.in_begin, &block.in_end);
    fc_split(out_depth, b->out_parts, item / b->in_parts % b->out_parts, &block.out_begin, &block.out_end);
    block.tap_stride = b->swapped ? block.in_end - block.in_begin : block.out_end - block.out_begin;
    block.row_stride = weight_taps(t->conv, b) * block.tap_stride;
    if (b->direct) {
        block.y = t->dweight + (block.group * out_depth + block.out_begin) * depth + block.in_begin;
        block.row_stride = depth;
    }
    return block;
}

static void reduce_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t chunks = weight_chunk_count(&t->blocks);
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const weight_scratch scratch = take_scratch(t, &arena);
    for (int64_t item = begin; item < end; item++) {
        const weight_block block = find_block(t, item, scratch.sums);
        for (int64_t i = 0; i < chunks; i++) {
            const bool last = i == chunks - 1;
            const weight_chunk chunk = find_chunk(t, i), next = find_chunk(t, last ? 0 : i + 1);
            const weight_block next_block = last && item + 1 < end ? find_block(t, item + 1, scratch.sums) : block;
            weight_stream streams[2] = {{0}};
            if (!last || item + 1 < end) {
                streams[0] = stream_x(t, &next, &next_block);
                streams[1] = stream_dy(t, &next, &next_block);
            }
            multiply_chunk(t, &chunk, &block, &scratch, streams);
        }
        if (t->blocks.merged) store_merged(t, &block);
    }
}

/* ---------------------------------------------------------------------------------------------------------- bias */

enum { BIAS_COLUMNS = 256 };

typedef struct bias_task { const fc_conv2d *conv; const fc_context *ctx; const float *dy; float *dbias; } bias_task;

/* dbias[k] = sum of dy over pixels. Item: block of columns. */
static void reduce_bias(void *arg, int64_t begin, int64_t end, int thread) {
    const bias_task *t = arg;
    const int64_t channels = t->conv->out_channels, first = begin * BIAS_COLUMNS;
    (void)thread;
    t->ctx->kernels->sum_rows(conv2d_pixels(t->conv), fc_min(end * BIAS_COLUMNS, channels) - first, t->dy + first, channels,
                              t->dbias + first);
}

void conv2d_reduce_bias(const fc_conv2d *c, const float *dy, float *dbias, const fc_context *ctx) {
    bias_task t = {c, ctx, dy, dbias};
    fc_parallel(fc_ceil_div(c->out_channels, BIAS_COLUMNS),
                fc_threads_for_memory(conv2d_pixels(c) * c->out_channels * (int64_t)sizeof(float), ctx), reduce_bias, &t);
}

void conv2d_direct_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                                   void *workspace, const fc_context *ctx) {
    weight_task t = {.conv = c, .ctx = ctx, .blocks = conv2d_weight_blocks(c, ctx), .dy = dy, .x = x, .dweight = dweight,
                     .scratch = workspace};
    t.scratch_bytes = scratch_bytes(&t);
    fc_parallel(c->groups * t.blocks.out_parts * t.blocks.in_parts,
                fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), reduce_blocks, &t);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}
