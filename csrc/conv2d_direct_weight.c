/* conv2d_direct_weight.c - the weight gradient of direct convolution: a reduction over runs of pixels.
 *
 * The sums over pixels are cut into chunks of output rows that fit L2 with both operands; every dweight element is summed
 * over the chunks in order, by one thread. Rows of a tile are input channels, columns output channels, both contiguous in
 * NHWC: sums[tap][c][k], transposed into dweight at the end.
 */
#include "conv2d_gather.h"

enum { CHUNK_BYTES = 256 * 1024, MOST_CHUNK_PIXELS = 512 };

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x;
    float *dweight, *dbias, *sums;
    struct fc_run *runs; /* a thread: chunk_rows + 1 */
    int64_t chunk_rows, row_tiles;
} weight_task;

static int64_t chunk_rows(const fc_conv2d *c) {
    const int64_t pixel = (c->in_channels + c->out_channels) * (int64_t)sizeof(float);
    const int64_t pixels = fc_min(MOST_CHUNK_PIXELS, fc_max(64, CHUNK_BYTES / pixel));
    return fc_min(c->batch * c->out_height, fc_ceil_div(pixels, c->out_width));
}

/* The runs of one tap over a chunk's rows; neighbours in both arrays are joined. Returns how many. */
static int64_t find_runs(const weight_task *t, int64_t tap, int64_t row_begin, int64_t row_end, struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const int64_t r = tap / c->kernel_width, s = tap % c->kernel_width, x_step = c->stride_width * c->in_channels;
    int64_t count = 0, begin, end;
    conv2d_inside_columns(c, s, &begin, &end);
    if (begin == end) return 0;
    for (int64_t row = row_begin; row < row_end; row++) {
        const int64_t n = row / c->out_height, p = row % c->out_height;
        const int64_t h = p * c->stride_height + r * c->dilation_height - c->pad_top;
        if (h < 0 || h >= c->in_height) continue;
        const int64_t w = begin * c->stride_width + s * c->dilation_width - c->pad_left;
        const struct fc_run run = {t->x + ((n * c->in_height + h) * c->in_width + w) * c->in_channels,
                                   t->dy + (row * c->out_width + begin) * c->out_channels, end - begin};
        struct fc_run *last = runs + count - 1;
        if (count > 0 && last->x + last->length * x_step == run.x &&
            last->w + last->length * c->out_channels == run.w)
            last->length += run.length;
        else
            runs[count++] = run;
    }
    return count;
}

/* Item: (tap, group, row tile), all output channels of the group. */
static void reduce_chunk(const weight_task *t, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end,
                         struct fc_run *runs) {
    const fc_conv2d *c = t->conv;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t in_depth = conv2d_in_depth(c), out_depth = conv2d_out_depth(c), parts = c->groups * t->row_tiles;
    fc_outer outer = {.run = runs, .x_step = c->stride_width * c->in_channels, .w_step = c->out_channels,
                      .y_stride = out_depth, .accumulate = row_begin > 0};
    for (int64_t item = begin; item < end; item++) {
        const int64_t tap = item / parts, group = item % parts / t->row_tiles;
        int64_t first, last;
        if (item == begin || item % parts == 0) outer.runs = find_runs(t, tap, row_begin, row_end, runs);
        fc_split(in_depth, t->row_tiles, item % t->row_tiles, &first, &last);
        outer.x_offset = group * in_depth + first;
        for (int64_t k = 0; k < out_depth; k += kernels->tile_columns) {
            outer.w_offset = group * out_depth + k;
            outer.y = t->sums + ((group * conv2d_taps(c) + tap) * in_depth + first) * out_depth + k;
            kernels->outer_tile(&outer, (int)(last - first), (int)fc_min(kernels->tile_columns, out_depth - k));
        }
    }
}

static void reduce_weights(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t rows = t->conv->batch * t->conv->out_height;
    struct fc_run *runs = t->runs + thread * (t->chunk_rows + 1);
    for (int64_t row = 0; row < rows; row += t->chunk_rows)
        reduce_chunk(t, row, fc_min(rows, row + t->chunk_rows), begin, end, runs);
}

/* dweight[k][c][tap] = sums[group][tap][c][k]; item: output channel. */
static void transpose_weights(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t taps = conv2d_taps(t->conv), depth = conv2d_in_depth(t->conv), columns = conv2d_out_depth(t->conv);
    (void)thread;
    /* Sixteen output channels are one cache line of sums: read it once for all of them. */
    for (int64_t k = begin; k < end;) {
        const int64_t group = k / columns, stop = fc_min(fc_min(k + 16, end), (group + 1) * columns);
        const float *from = t->sums + group * taps * depth * columns - group * columns;
        for (int64_t c = 0; c < depth; c++)
            for (int64_t tap = 0; tap < taps; tap++)
                for (int64_t i = k; i < stop; i++)
                    t->dweight[(i * depth + c) * taps + tap] = from[(tap * depth + c) * columns + i];
        k = stop;
    }
}

/* dbias[k] = sum of dy over pixels: the same reduction, against a one. Item: tile of columns. */
static void reduce_bias(void *arg, int64_t begin, int64_t end, int thread) {
    static const float one = 1.0f;
    const weight_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t pixels = conv2d_pixels(c), width = t->ctx->kernels->tile_columns;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t k = item * width;
        for (int64_t pixel = 0; pixel < pixels; pixel += MOST_CHUNK_PIXELS) {
            const struct fc_run run = {&one, t->dy + pixel * c->out_channels + k,
                                       fc_min(MOST_CHUNK_PIXELS, pixels - pixel)};
            const fc_outer outer = {.runs = 1, .run = &run, .w_step = c->out_channels, .y = t->dbias + k,
                                    .accumulate = pixel > 0};
            t->ctx->kernels->outer_tile(&outer, 1, (int)fc_min(width, c->out_channels - k));
        }
    }
}

static int64_t sums_bytes(const fc_conv2d *c) {
    return c->out_channels * conv2d_in_depth(c) * conv2d_taps(c) * (int64_t)sizeof(float);
}

int64_t conv2d_direct_weight_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return fc_round_up(sums_bytes(c), FC_ALIGNMENT) + FC_ALIGNMENT +
           ctx->num_threads * (chunk_rows(c) + 1) * (int64_t)sizeof(struct fc_run);
}

void conv2d_reduce_bias(const fc_conv2d *c, const float *dy, float *dbias, const fc_context *ctx) {
    weight_task t = {.conv = c, .ctx = ctx, .dy = dy, .dbias = dbias};
    fc_parallel(conv2d_panel_count(c->out_channels, ctx),
                fc_threads_for_memory(conv2d_pixels(c) * c->out_channels * (int64_t)sizeof(float), ctx), reduce_bias, &t);
}

void conv2d_direct_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                                   void *workspace, const fc_context *ctx) {
    const int threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx);
    fc_arena arena = {workspace};
    weight_task t = {.conv = c, .ctx = ctx, .dy = dy, .x = x, .dweight = dweight, .chunk_rows = chunk_rows(c),
                     .row_tiles = fc_ceil_div(conv2d_in_depth(c), ctx->kernels->tile_rows)};
    t.sums = fc_take(&arena, sums_bytes(c));
    t.runs = (struct fc_run *)arena.next;
    fc_parallel(conv2d_taps(c) * c->groups * t.row_tiles, threads, reduce_weights, &t);
    fc_parallel(c->out_channels, threads, transpose_weights, &t);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}
