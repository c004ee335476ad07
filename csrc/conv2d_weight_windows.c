/* conv2d_weight_windows.c - the weight gradient of direct convolution where a pixel has few input channels.
 *
 * There one tap is too short for a tile. But the S * C values that a kernel row meets lie side by side: a window, which
 * slides along a zero-padded copy of the line. There are few sums, so a part of the pixels has sums of its own and the
 * parts are added in their order: threads share pixels, not weights, and dy is read once, for the bias too.
 */
#include "conv2d_weight_blocks.h"

/* Floats of a chunk (dy and lines; 24 KB were 4 to 10 % slower than 96 KB, for its tiles are short), of a block's sums,
 * of the sums of all parts. */
enum { CHUNK = 24576, SUMS = 40960, ALL_SUMS = 262144, MOST_PARTS = 16, PART_MULTIPLY_ADDS = 500000 };
enum { MOST_RUNS = 512, WIDE = 256, FEW_CHANNELS = 16, FLOAT = sizeof(float) };

/* How the work is cut. Chunks are (images) x (output rows) x (output columns); sizes are those of the largest. */
typedef struct windows {
    const fc_kernels *kernels;
    bool swapped;         /* sums[r][k][values], else sums[r][value][ks] */
    bool in_place;        /* no padding: lines are read where they lie */
    bool shared_lines;    /* an output row's lines are its neighbours' too, else it has R of its own */
    int64_t depth;        /* S * C, of a group */
    int64_t out, out_parts; /* output channels of a block of sums; blocks of a group */
    int64_t sums;         /* floats of a block's */
    int64_t image_parts, row_parts, column_parts, images, rows, columns;
    int64_t pitch;        /* floats of a line */
    int64_t parts;        /* of the chunks */
} windows;

typedef struct windows_chunk { int64_t image, image_end, row, row_end, column, column_end; } windows_chunk;

typedef struct windows_task {
    const fc_conv2d *conv;
    windows w;
    const float *dy, *x;
    float *dweight, *dbias;
    float *sums;          /* [part][group][block], each with its part of dbias behind */
    float *tail;          /* a copy of the last `tail_pixels` of dy, with room for whole vectors behind */
    int64_t tail_pixels;
    char *scratch;        /* a thread: scratch_bytes */
    int64_t scratch_bytes;
} windows_task;

typedef struct windows_scratch { float *lines; struct fc_run *runs; } windows_scratch;

bool conv2d_uses_windows(const fc_conv2d *c) {
    return conv2d_in_depth(c) < FEW_CHANNELS && c->kernel_width > 1 && c->dilation_width == 1;
}

/* ------------------------------------------------------------------------------------------------------ blocking */

/* Lines that `rows` output rows of an image meet, and from one output row to the next. */
static int64_t lines_of(const fc_conv2d *c, const windows *w, int64_t rows) {
    return w->shared_lines ? (rows - 1) * c->stride_height + c->kernel_height : rows * c->kernel_height;
}

static void cut_into_chunks(const fc_conv2d *c, windows *w) {
    w->column_parts = fc_ceil_div(c->out_width, WIDE);
    w->columns = fc_ceil_div(c->out_width, w->column_parts);
    const int64_t row_floats = w->columns * (w->out + c->stride_width * conv2d_in_depth(c));
    const int64_t rows = fc_max(1, fc_min(CHUNK / row_floats, MOST_RUNS));
    const int64_t images = fc_max(1, rows / c->out_height);
    w->row_parts = fc_ceil_div(c->out_height, rows);
    w->image_parts = fc_max(1, fc_ceil_div(c->batch, images));
    w->rows = fc_ceil_div(c->out_height, w->row_parts);
    w->images = fc_ceil_div(c->batch, w->image_parts);
}

/* Lanes that work, in 1/256. */
static int64_t lanes_used(int64_t columns, const fc_kernels *kernels) {
    return 256 * columns / fc_round_up(columns, kernels->lanes);
}

static windows cut(const fc_conv2d *c, const fc_context *ctx) {
    const int64_t out = conv2d_out_depth(c), depth = conv2d_in_depth(c) * c->kernel_width;
    const fc_kernels *wide = ctx->kernels, *narrow = wide->narrow;
    windows w = {.kernels = out <= narrow->lanes ? narrow : wide, .depth = depth, .out = out, .out_parts = 1};
    w.swapped = out < w.kernels->lanes && lanes_used(depth, wide) > lanes_used(out, w.kernels);
    if (w.swapped) w.kernels = depth <= narrow->lanes ? narrow : wide;
    const int64_t lanes = w.kernels->lanes, rows = c->kernel_height * (w.swapped ? out : depth);
    const int64_t columns = fc_round_up(w.swapped ? depth : out, lanes);
    if (!w.swapped && rows * columns > SUMS) {
        w.out = fc_min(out, fc_max(2 * lanes, SUMS / rows / (2 * lanes) * (2 * lanes)));
        w.out_parts = fc_ceil_div(out, w.out);
    }
    w.sums = rows * (w.swapped ? columns : fc_round_up(w.out, lanes));
    w.in_place = !w.swapped && c->groups == 1 && !(c->pad_top | c->pad_bottom | c->pad_left | c->pad_right);
    w.shared_lines = c->dilation_height == 1 && c->stride_height < c->kernel_height;
    cut_into_chunks(c, &w);
    w.pitch = ((w.columns - 1) * c->stride_width + c->kernel_width) * conv2d_in_depth(c);
    if (w.in_place) w.pitch = c->in_width * c->in_channels;
    const int64_t blocks = c->groups * w.out_parts;
    w.parts = fc_min(ALL_SUMS / w.sums, MOST_PARTS) / blocks;
    w.parts = fc_min(w.parts, fc_min(conv2d_multiply_adds(c) / PART_MULTIPLY_ADDS,
                                     w.image_parts * w.row_parts * w.column_parts));
    w.parts = fc_max(1, w.parts);
    return w;
}

static windows_chunk find_chunk(const fc_conv2d *c, const windows *w, int64_t index) {
    windows_chunk k;
    fc_split(c->out_width, w->column_parts, index % w->column_parts, &k.column, &k.column_end);
    fc_split(c->out_height, w->row_parts, index / w->column_parts % w->row_parts, &k.row, &k.row_end);
    fc_split(c->batch, w->image_parts, index / w->column_parts / w->row_parts, &k.image, &k.image_end);
    return k;
}

/* ----------------------------------------------------------------------------------------------------- workspace */

/* Floats of a block's sums and its part of dbias. */
static int64_t block_floats(const windows *w) { return w->sums + fc_round_up(w->out, 16); }

static windows_scratch take_scratch(const windows_task *t, fc_arena *arena) {
    const windows *w = &t->w;
    const int64_t count = w->in_place ? 0 : w->images * lines_of(t->conv, w, w->rows);
    const int64_t lines = count * w->pitch + 2 * w->kernels->lanes;
    windows_scratch s;
    s.lines = fc_take(arena, lines * FLOAT);
    s.runs = fc_take(arena, (w->images * w->rows + 1) * (int64_t)sizeof(struct fc_run));
    return s;
}

static windows_task take_task(const fc_conv2d *c, fc_arena *arena, const fc_context *ctx) {
    windows_task t = {.conv = c, .w = cut(c, ctx)};
    const int64_t lanes = t.w.kernels->lanes, out = conv2d_out_depth(c);
    if (!t.w.swapped && out % lanes)
        t.tail_pixels = fc_min(conv2d_pixels(c), fc_ceil_div(lanes - 1, c->out_channels));
    t.sums = fc_take(arena, t.w.parts * c->groups * t.w.out_parts * block_floats(&t.w) * FLOAT);
    t.tail = fc_take(arena, (t.tail_pixels * c->out_channels + lanes) * FLOAT);
    fc_arena thread = {NULL};
    take_scratch(&t, &thread);
    t.scratch_bytes = (int64_t)(intptr_t)thread.next;
    t.scratch = fc_take(arena, ctx->num_threads * t.scratch_bytes);
    return t;
}

int64_t conv2d_weight_windows_bytes(const fc_conv2d *c, const fc_context *ctx) {
    fc_arena arena = {NULL};
    take_task(c, &arena, ctx);
    return (int64_t)(intptr_t)arena.next;
}

/* -------------------------------------------------------------------------------------------------------- chunks */

/* One line of an image from column `left` on, zeros outside. */
static void copy_line(const windows_task *t, int64_t image, int64_t h, int64_t left, int64_t group, float *line) {
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), columns = t->w.pitch / depth;
    const int64_t before = fc_min(columns, fc_max(0, -left));
    const bool blank = h < 0 || h >= c->in_height;
    const int64_t inside = blank ? 0 : fc_max(0, fc_min(columns - before, c->in_width - left - before));
    const int64_t pixel = (image * c->in_height + h) * c->in_width + left + before;
    const float *x = t->x + pixel * c->in_channels + group * depth;
    for (int64_t i = 0; i < before * depth; i++) line[i] = 0.0f;
    if (inside && c->groups == 1) memcpy(line + before * depth, x, (size_t)(inside * depth) * sizeof(float));
    else if (inside) t->w.kernels->copy_pieces(inside, depth, x, c->in_channels, line + before * depth, depth);
    for (int64_t i = (before + inside) * depth; i < columns * depth; i++) line[i] = 0.0f;
}

static void copy_lines(const windows_task *t, const windows_chunk *k, int64_t group, float *lines) {
    const fc_conv2d *c = t->conv;
    const int64_t rows = k->row_end - k->row, top = k->row * c->stride_height - c->pad_top;
    const int64_t left = k->column * c->stride_width - c->pad_left;
    const int64_t count = lines_of(c, &t->w, rows);
    for (int64_t image = k->image; image < k->image_end; image++)
        for (int64_t i = 0; i < count; i++, lines += t->w.pitch) {
            const int64_t row = i / c->kernel_height, tap = i % c->kernel_height;
            const int64_t h = t->w.shared_lines ? i : row * c->stride_height + tap * c->dilation_height;
            copy_line(t, image, top + h, left, group, lines);
        }
}

/* The runs of `length` pixels of dy from `pixel` on, and the lines from x on. The last pixels of dy are read in their
 * copy. */
static int64_t add_runs(const windows_task *t, const float *x, int64_t pixel, int64_t length, struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const int64_t copied = conv2d_pixels(c) - t->tail_pixels, step = c->stride_width * conv2d_in_depth(c);
    const int64_t first = fc_max(0, fc_min(length, copied - pixel));
    const float *dy = t->dy + pixel * c->out_channels;
    int64_t count = 0;
    if (first) runs[count++] = t->w.swapped ? (struct fc_run){dy, x, first} : (struct fc_run){x, dy, first};
    if (first < length) {
        const float *tail = t->tail + (pixel + first - copied) * c->out_channels;
        runs[count++] = (struct fc_run){x + first * step, tail, length - first};
    }
    return count;
}

static int64_t find_runs(const windows_task *t, const windows_chunk *k, const float *lines, struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const windows *w = &t->w;
    const int64_t step = w->shared_lines || w->in_place ? c->stride_height : c->kernel_height;
    const int64_t image_lines = w->in_place ? c->in_height : lines_of(c, w, k->row_end - k->row);
    int64_t count = 0;
    if (w->in_place) {
        const int64_t line = k->image * c->in_height + k->row * step;
        lines = t->x + (line * c->in_width + k->column * c->stride_width) * c->in_channels;
    }
    for (int64_t image = k->image; image < k->image_end; image++)
        for (int64_t row = k->row; row < k->row_end; row++) {
            const int64_t pixel = (image * c->out_height + row) * c->out_width + k->column;
            const float *x = lines + ((image - k->image) * image_lines + (row - k->row) * step) * w->pitch;
            count += add_runs(t, x, pixel, k->column_end - k->column, runs + count);
        }
    return count;
}

/* The sums of dy are made beside the products, where its channels are the columns. */
static bool fused_bias(const windows_task *t) { return t->dbias && !t->w.swapped; }

/* The tiles of whole vectors of columns from j on: sums += x times dy over the runs. */
typedef struct window_columns { int64_t columns, values, j; float *sums, *bias; } window_columns;

static void multiply_columns(const windows_task *t, fc_window tile, const window_columns *m, int64_t lines_ahead) {
    const windows *w = &t->w;
    const int64_t taps = t->conv->kernel_height, vectors = fc_min(2, (m->columns - m->j) / w->kernels->lanes);
    const int64_t most = w->kernels->window_values[vectors - 1], fitting = fc_min(FC_WINDOW_LINES, most / m->values);
    const int64_t together = w->swapped ? 1 : fc_max(1, fitting), line_parts = fc_ceil_div(taps, together);
    const int64_t x_offset = tile.x_offset, w_offset = tile.w_offset + m->j;
    tile.ahead_lines = fc_ceil_div(lines_ahead, line_parts * fc_ceil_div(m->values, most) * tile.runs);
    for (int64_t part = 0; part < line_parts; part++) {
        int64_t r, r_end, i, i_end, value_parts = fc_ceil_div(m->values, most);
        fc_split(taps, line_parts, part, &r, &r_end);
        const bool sum = m->bias && part == line_parts - 1;
        while (sum && (r_end - r) * (m->values / value_parts) >= most) value_parts++; /* the last has room for it */
        for (int64_t n = 0; n < value_parts; n++) {
            fc_split(m->values, value_parts, n, &i, &i_end);
            tile.x_offset = x_offset + i + (w->swapped ? 0 : r * tile.x_line);
            tile.w_offset = w_offset + (w->swapped ? r * tile.x_line : 0);
            tile.y = m->sums + (r * m->values + i) * m->columns + m->j;
            tile.sums = sum && n == value_parts - 1 ? m->bias + m->j : NULL;
            w->kernels->window_tile(&tile, (int)vectors, (int)(r_end - r), (int)(i_end - i));
            tile.ahead += tile.ahead_lines * tile.runs * (FC_ALIGNMENT / FLOAT);
        }
    }
}

/* The same of all columns, of `count` output channels; where `bias` is not NULL, bias += dy. */
static void multiply_windows(const windows_task *t, fc_window tile, int64_t lines_ahead, int64_t count, float *sums,
                             float *bias) {
    const fc_conv2d *c = t->conv;
    const windows *w = &t->w;
    const int64_t lanes = w->kernels->lanes, columns = fc_round_up(w->swapped ? w->depth : count, lanes);
    const int64_t steps = fc_ceil_div(columns, 2 * lanes), share = fc_ceil_div(lines_ahead, steps);
    window_columns m = {.columns = columns, .values = w->swapped ? count : w->depth, .sums = sums, .bias = bias};
    tile.y_stride = columns, tile.y_line = m.values * columns;
    tile.x_line = (w->in_place ? c->dilation_height : 1) * w->pitch;
    tile.x_step = c->stride_width * conv2d_in_depth(c), tile.w_step = c->out_channels;
    if (w->swapped) tile.w_step = tile.x_step, tile.x_step = c->out_channels;
    for (; m.j < columns; m.j += 2 * lanes, tile.ahead += share * (FC_ALIGNMENT / FLOAT))
        multiply_columns(t, tile, &m, share);
}

/* Where the next chunk's dy begins and how many cache lines it has. Groups and blocks share lines: there none are
 * fetched. 224 x 224, 3 to 64 channels: 0.53 to 0.71 of the peak (AVX2). */
static int64_t find_ahead(const windows_task *t, const windows_chunk *k, const float **ahead) {
    const fc_conv2d *c = t->conv;
    const int64_t rows = (k->image_end - k->image - 1) * c->out_height + k->row_end;
    const int64_t pixel = (k->image * c->out_height + rows) * c->out_width, left = conv2d_pixels(c) - pixel;
    const int64_t count = fc_min(left, (k->image_end - k->image) * (k->row_end - k->row) * c->out_width);
    *ahead = t->dy + pixel * c->out_channels;
    return c->groups * t->w.out_parts * t->w.column_parts > 1 ? 0 : count * c->out_channels * FLOAT / FC_ALIGNMENT;
}

/* Item: (part of the chunks, group, block of output channels). */
static void reduce_parts(void *arg, int64_t begin, int64_t end, int thread) {
    const windows_task *t = arg;
    const fc_conv2d *c = t->conv;
    const windows *w = &t->w;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const windows_scratch s = take_scratch(t, &arena);
    for (int64_t item = begin; item < end; item++) {
        const int64_t k = item % w->out_parts * w->out, k_end = fc_min(k + w->out, conv2d_out_depth(c));
        const int64_t group = item / w->out_parts % c->groups, channel = group * conv2d_out_depth(c) + k;
        float *sums = t->sums + item * block_floats(w);
        int64_t i, i_end;
        memset(sums, 0, (size_t)block_floats(w) * sizeof(float));
        const int64_t chunks = w->image_parts * w->row_parts * w->column_parts;
        fc_split(chunks, w->parts, item / w->out_parts / c->groups, &i, &i_end);
        for (; i < i_end; i++) {
            const windows_chunk chunk = find_chunk(c, w, i);
            if (!w->in_place) copy_lines(t, &chunk, group, s.lines);
            fc_window tile = {.run = s.runs, .runs = find_runs(t, &chunk, s.lines, s.runs)};
            if (w->swapped) tile.x_offset = channel;
            else tile.w_offset = channel;
            const int64_t ahead = find_ahead(t, &chunk, &tile.ahead);
            multiply_windows(t, tile, ahead, k_end - k, sums, fused_bias(t) ? sums + w->sums : NULL);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- results */

/* dweight[k][c][r][s] of a block. */
static void store_block(const windows_task *t, const float *sums, int64_t count, float *dweight) {
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), rows = c->kernel_height, width = c->kernel_width, taps = rows * width;
    const int64_t columns = fc_round_up(t->w.swapped ? t->w.depth : count, t->w.kernels->lanes);
    for (int64_t r = 0; r < rows; r++) {
        if (t->w.swapped)
            for (int64_t k = 0; k < count; k++)
                t->w.kernels->transpose_block(width, depth, sums + (r * count + k) * columns, depth,
                                              dweight + k * depth * taps + r * width, taps);
        else
            for (int64_t i = 0; i < depth; i++)
                t->w.kernels->transpose_block(width, count, sums + (r * width * depth + i) * columns, depth * columns,
                                              dweight + i * taps + r * width, depth * taps);
    }
}

/* Item: (group, block of output channels). */
static void add_parts(void *arg, int64_t begin, int64_t end, int thread) {
    const windows_task *t = arg;
    const fc_conv2d *c = t->conv;
    const windows *w = &t->w;
    const int64_t floats = block_floats(w), blocks = c->groups * w->out_parts;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t k = item % w->out_parts * w->out, count = fc_min(k + w->out, conv2d_out_depth(c)) - k;
        const int64_t channel = item / w->out_parts * conv2d_out_depth(c) + k;
        float *sums = t->sums + item * floats;
        for (int64_t part = 1; part < w->parts; part++)
            for (int64_t i = 0; i < floats; i++) sums[i] += sums[part * blocks * floats + i];
        store_block(t, sums, count, t->dweight + channel * conv2d_in_depth(c) * conv2d_taps(c));
        if (fused_bias(t)) memcpy(t->dbias + channel, sums + w->sums, (size_t)count * sizeof(float));
    }
}

void conv2d_weight_windows(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                           void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    windows_task t = take_task(c, &arena, ctx);
    const int64_t copied = t.tail_pixels * c->out_channels;
    const int threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx);
    t.dy = dy, t.x = x, t.dweight = dweight, t.dbias = dbias;
    memcpy(t.tail, dy + conv2d_pixels(c) * c->out_channels - copied, (size_t)copied * sizeof(float));
    memset(t.tail + copied, 0, (size_t)t.w.kernels->lanes * sizeof(float));
    fc_parallel(t.w.parts * c->groups * t.w.out_parts, threads, reduce_parts, &t);
    fc_parallel(c->groups * t.w.out_parts, threads, add_parts, &t);
    if (dbias && t.w.swapped) conv2d_reduce_bias(c, dy, dbias, ctx);
}
