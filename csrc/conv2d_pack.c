/* conv2d_pack.c - weights (k, c, r, s) in the order the tile reads them, [group][panel][tap][depth][columns]: for the
 * forward pass with output channels as columns, for the input gradient with input channels, the phases after each
 * other.
 */
#include "conv2d_gather.h"

/* A run of weights is packed in pieces of at most this many elements, whose places are worked out on the stack once a
 * panel: per weight of a single column that would cost as much as moving a row of them. */
enum { PIECE = 128, AHEAD = 6 };

typedef struct pack_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const conv2d_phase_tables *tables;
    const float *weight;
    float *packed;
} pack_task;

/* Item: (group, panel). A column's weights are one run over (channel, tap). A piece of it is a number of channels with
 * all their taps or, in kernels beyond PIECE, some taps of one channel: either way its places are those of the first
 * piece, moved. */
static void pack_forward(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    const int64_t taps = conv2d_taps(t->conv), depth = conv2d_in_depth(t->conv), width = t->ctx->kernels->tile_columns;
    const int64_t columns = conv2d_out_depth(t->conv), panels = conv2d_panel_count(columns, t->ctx);
    const int64_t channels = fc_max(1, PIECE / taps), piece = fc_min(taps, PIECE);
    int64_t at[PIECE];
    (void)thread;
    for (int64_t tap = 0; tap < taps; tap += piece) {
        const int64_t count = fc_min(piece, taps - tap);
        for (int64_t c = 0; c < fc_min(channels, depth); c++)
            for (int64_t i = 0; i < count; i++) at[c * count + i] = ((tap + i) * depth + c) * width;
        for (int64_t item = begin; item < end; item++) {
            const int64_t column = item % panels * width;
            const float *from = t->weight + (item / panels * columns + column) * depth * taps + tap;
            float *to = t->packed + item * taps * depth * width;
            for (int64_t c = 0; c < depth; c += channels)
                t->ctx->kernels->pack_runs(from + c * taps, depth * taps, fc_min(channels, depth - c) * count,
                                           (int)fc_min(width, columns - column), at, to + c * width);
        }
    }
}

static void run_pack(pack_task *t, int64_t panels, fc_range_task pack) {
    const fc_conv2d *c = t->conv;
    const int64_t size = c->out_channels * conv2d_in_depth(c) * conv2d_taps(c);
    fc_parallel(c->groups * panels, fc_threads_for_memory(2 * size * (int64_t)sizeof(float), t->ctx), pack, t);
}

void conv2d_pack_forward(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    pack_task t = {.conv = c, .ctx = ctx, .weight = weight, .packed = packed};
    run_pack(&t, conv2d_panel_count(conv2d_out_depth(c), ctx), pack_forward);
}

/* The weights (k, ., r, s) of a panel's input channels are one run over (channel, tap), and the taps are what is taken
 * apart. A tap belongs to one phase, where it is one of rows * columns. Runs are a kernel's size apart, which no
 * prefetcher follows. */
static void pack_panel(const pack_task *t, int64_t panel) {
    const fc_conv2d *c = t->conv;
    const conv2d_phase_tables *tables = t->tables;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t taps = conv2d_taps(c), depth = conv2d_out_depth(c), width = kernels->tile_columns;
    const int64_t all_columns = conv2d_in_depth(c), group_panels = conv2d_panel_count(all_columns, t->ctx);
    const int64_t column = panel % group_panels * width, next = all_columns * taps, panels = c->groups * group_panels;
    const int columns = (int)fc_min(width, all_columns - column);
    const float *from = t->weight + panel / group_panels * depth * next + column * taps;
    int64_t at[PIECE];
    for (int64_t tap = 0; tap < taps; tap += PIECE) {
        const int64_t count = fc_min(PIECE, taps - tap);
        for (int64_t i = 0; i < count; i++) {
            const conv2d_phase_tap r = tables->row_of[(tap + i) / c->kernel_width];
            const conv2d_phase_tap s = tables->column_of[(tap + i) % c->kernel_width];
            const int64_t before = r.before * c->kernel_width + r.count * s.before;
            at[i] = (before * panels + panel * r.count * s.count + r.index * s.count + s.index) * depth * width;
        }
        if (taps == 1) kernels->pack_panel(from, next, 1, depth, columns, t->packed + at[0]);
        for (int64_t k = 0; taps > 1 && k < depth; k++) {
            const float *run = from + k * next + tap;
            for (int64_t i = 0; i < columns * taps; i += 16) __builtin_prefetch(run + AHEAD * next + i);
            kernels->pack_runs(run, taps, count, columns, at, t->packed + k * width);
        }
    }
}

/* Item: (group, panel). */
static void pack_phases(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    for (int64_t item = begin; item < end; item++) pack_panel(arg, item);
}

void conv2d_pack_backward_input(const fc_conv2d *c, const float *weight, const conv2d_phase_tables *tables,
                                float *packed, const fc_context *ctx) {
    pack_task t = {.conv = c, .ctx = ctx, .tables = tables, .weight = weight, .packed = packed};
    run_pack(&t, conv2d_panel_count(conv2d_in_depth(c), ctx), pack_phases);
}
