/* conv2d_direct_weight.c - the weight gradient of direct convolution: a reduction over pixels.
 *
 * dweight is cut into blocks whose sums stay in L2, pixels into chunks whose operands do (conv2d_weight_blocks.c). A
 * block is summed over the chunks in order, by one thread, and then written once. A tile is input channels times output
 * channels of one tap, both contiguous in NHWC; where many tiles use them, both are first packed into panels of a
 * tile's width (conv2d_weight_operands.c). Where channels are few that is another file's: conv2d_weight_windows.c.
 */
#include "conv2d_weight_blocks.h"

enum { FLOAT = sizeof(float) };

static int64_t scratch_bytes(const weight_task *t) {
    fc_arena arena = {NULL};
    conv2d_weight_take_scratch(t, &arena);
    return (int64_t)(intptr_t)arena.next;
}

int64_t conv2d_direct_weight_bytes(const fc_conv2d *c, const fc_context *ctx) {
    if (conv2d_uses_windows(c)) return conv2d_weight_windows_bytes(c, ctx);
    const weight_task t = {.conv = c, .ctx = ctx, .blocks = conv2d_weight_blocks(c, ctx)};
    return ctx->num_threads * scratch_bytes(&t);
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
        t->ctx->kernels->transpose_block(part->in_count * taps, part->out_count, part->sums, columns, dweight,
                                         depth * taps);
        return;
    }
    for (int64_t k = 0; k < part->out_count; k++) /* [k][tap][c] */
        t->ctx->kernels->transpose_block(taps, part->in_count, part->sums + k * block->row_stride, columns,
                                         dweight + k * depth * taps, taps);
}

/* The products of one chunk, added to the block's sums. Taps inside: their operands are those of the tap before. With
 * same_runs, the scratch holds the runs already: those of another block's only chunk. */
static void multiply_chunk(const weight_task *t, const weight_chunk *k, const weight_block *block,
                           bool same_runs, const weight_scratch *s, weight_stream streams[2]) {
    const weight_blocks *b = &t->blocks;
    const fc_kernels *kernels = t->ctx->kernels;
    const weight_operand x = conv2d_weight_pack_x(t, k, block, s->x_panels);
    const weight_operand dy = conv2d_weight_pack_dy(t, k, block, s->dy_panels);
    const weight_operand *row_operand = b->swapped ? &dy : &x, *column_operand = b->swapped ? &x : &dy;
    const int64_t taps = conv2d_taps(t->conv), in = block->in_end - block->in_begin;
    const int64_t out = block->out_end - block->out_begin;
    const int64_t rows = b->swapped ? out : in, columns = b->swapped ? in : out;
    const int64_t width = kernels->tile_columns, row_tiles = fc_ceil_div(rows, kernels->tile_rows);
    const int64_t column_tiles = fc_ceil_div(columns, width), tiles = row_tiles * column_tiles;
    const bool store = k->last && !b->direct;
    fc_outer outer = {.y_stride = block->row_stride, .accumulate = !k->first};
    outer.x_step = b->swapped ? dy.pitch : conv2d_weight_x_step(t, &x);
    outer.w_step = b->swapped ? conv2d_weight_x_step(t, &x) : dy.pitch;
    s->tap_begin[0] = 0;
    for (int64_t tap = 0; tap < taps && !same_runs; tap++)
        s->tap_begin[tap + 1] = s->tap_begin[tap] + conv2d_weight_runs(t, k, &x, &dy, tap, s->runs + s->tap_begin[tap]);
    int64_t pieces[2];
    for (int i = 0; i < 2; i++) pieces[i] = fc_ceil_div(weight_stream_pieces(&streams[i]), tiles * taps);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = b->direct ? tile / column_tiles : tile % row_tiles;
        const int64_t j = (b->direct ? tile % column_tiles : tile / row_tiles) * width;
        const int64_t j_count = fc_min(width, columns - j);
        int64_t first, last;
        fc_split(rows, row_tiles, i, &first, &last);
        outer.w_offset = column_operand->offset;
        outer.w_offset += column_operand->tile_stride ? j / width * column_operand->tile_stride : j;
        outer.x_offset = row_operand->offset + (row_operand->tile_stride ? i * row_operand->tile_stride : first);
        const weight_part part = {
            .in = block->in_begin + (b->swapped ? j : first), .in_count = b->swapped ? j_count : last - first,
            .out = block->out_begin + (b->swapped ? first : j), .out_count = b->swapped ? last - first : j_count,
            .sums = block->y + first * block->row_stride + j};
        weight_stream stored = {0};
        if (store) stored = stream_dweight(t, block->group, &part);
        for (int64_t tap = 0; tap < taps; tap++) {
            for (int n = 0; n < 2; n++) conv2d_weight_prefetch(&streams[n], pieces[n]);
            conv2d_weight_prefetch(&stored, fc_ceil_div(stored.lines, taps));
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
    fc_split(depth, b->in_parts, item % b->in_parts, &block.in_begin, &block.in_end);
    fc_split(out_depth, b->out_parts, item / b->in_parts % b->out_parts, &block.out_begin, &block.out_end);
    block.tap_stride = b->swapped ? block.in_end - block.in_begin : block.out_end - block.out_begin;
    block.row_stride = conv2d_taps(t->conv) * block.tap_stride;
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
    const weight_scratch scratch = conv2d_weight_take_scratch(t, &arena);
    for (int64_t item = begin; item < end; item++) {
        const weight_block block = find_block(t, item, scratch.sums);
        for (int64_t i = 0; i < chunks; i++) {
            const bool last = i == chunks - 1;
            const weight_chunk chunk = conv2d_weight_chunk(t->conv, &t->blocks, i);
            const weight_chunk next = conv2d_weight_chunk(t->conv, &t->blocks, last ? 0 : i + 1);
            const weight_block next_block = last && item + 1 < end ? find_block(t, item + 1, scratch.sums) : block;
            weight_stream streams[2] = {{0}};
            if (!last || item + 1 < end) {
                streams[0] = conv2d_weight_stream_x(t, &next, &next_block);
                streams[1] = conv2d_weight_stream_dy(t, &next, &next_block);
            }
            multiply_chunk(t, &chunk, &block, chunks == 1 && item > begin, &scratch, streams);
        }
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
    t->ctx->kernels->sum_rows(conv2d_pixels(t->conv), fc_min(end * BIAS_COLUMNS, channels) - first, t->dy + first,
                              channels, t->dbias + first);
}

void conv2d_reduce_bias(const fc_conv2d *c, const float *dy, float *dbias, const fc_context *ctx) {
    bias_task t = {c, ctx, dy, dbias};
    const int threads = fc_threads_for_memory(conv2d_pixels(c) * c->out_channels * FLOAT, ctx);
    fc_parallel(fc_ceil_div(c->out_channels, BIAS_COLUMNS), threads, reduce_bias, &t);
}

void conv2d_direct_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                                   void *workspace, const fc_context *ctx) {
    if (conv2d_uses_windows(c)) {
        conv2d_weight_windows(c, dy, x, dweight, dbias, workspace, ctx);
        return;
    }
    weight_task t = {.conv = c, .ctx = ctx, .blocks = conv2d_weight_blocks(c, ctx), .dy = dy, .x = x,
                     .dweight = dweight, .scratch = workspace};
    t.scratch_bytes = scratch_bytes(&t);
    fc_parallel(c->groups * t.blocks.out_parts * t.blocks.in_parts,
                fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), reduce_blocks, &t);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}
