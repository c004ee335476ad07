/* conv2d_direct_input.c - the input gradient of direct convolution: a gather from dy for each phase of the stride.
 *
 * The weights are packed at each call. Where few pixels share them that takes longer than the arithmetic, bound by
 * memory: then each panel is packed when its turn comes, into scratch that stays in L2, and goes through all phases at
 * once.
 */
#include "conv2d_gather.h"

/* 512 channels on 7 x 7 went from 0.41 to 0.71 of the FMA peak with this and with packing in registers. On larger maps
 * packing is a small part, and every panel would read dy again. Neither bound was swept. */
enum { FEW_PIXELS = 512, MANY_WEIGHTS = 32 * 1024 };

static bool panel_by_panel(const fc_conv2d *c) {
    return c->batch * c->in_height * c->in_width <= FEW_PIXELS &&
           c->out_channels * conv2d_in_depth(c) * conv2d_taps(c) >= MANY_WEIGHTS;
}

typedef struct input_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const conv2d_phase_tables *tables;
    const float *dy, *weight;
    const conv2d_epilogue *epilogue;
    float *dx;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes;
} input_task;

/* Floats of a panel's weights, all taps. */
static int64_t panel_size(const fc_conv2d *c, const fc_context *ctx) {
    return conv2d_taps(c) * conv2d_out_depth(c) * ctx->kernels->tile_columns;
}

static int64_t panels(const fc_conv2d *c, const fc_context *ctx) {
    return c->groups * conv2d_panel_count(conv2d_in_depth(c), ctx);
}

static int64_t thread_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_gather largest = conv2d_largest_phase(c);
    return conv2d_phase_tables_bytes(c) + fc_round_up(panel_size(c, ctx) * (int64_t)sizeof(float), FC_ALIGNMENT) +
           conv2d_gather_panel_bytes(&largest);
}

/* Item: (group, panel). */
static void run_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const input_task *t = arg;
    const fc_conv2d *c = t->conv;
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    float *packed = fc_take(&arena, panel_size(c, t->ctx) * (int64_t)sizeof(float));
    for (int64_t panel = begin; panel < end; panel++) {
        conv2d_pack_phases_panel(c, t->weight, t->tables, panel, 0, 1, packed, t->ctx);
        for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
            for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
                const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
                const int64_t before = gather.taps_before * conv2d_out_depth(c) * t->ctx->kernels->tile_columns;
                conv2d_gather_run_panel(&gather, t->dy, packed + before, panel, t->epilogue, t->dx, arena.next, t->ctx);
            }
        }
    }
}

void conv2d_direct_backward_input(const fc_conv2d *c, const float *dy, const float *weight,
                                  const conv2d_epilogue *epilogue, float *dx, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    conv2d_fill_phase_tables(c, &tables);
    if (panel_by_panel(c)) {
        input_task t = {c, ctx, &tables, dy, weight, epilogue, dx, arena.next, thread_bytes(c, ctx)};
        fc_parallel(panels(c, ctx), fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), run_panels, &t);
        return;
    }
    float *packed = fc_take(&arena, panels(c, ctx) * panel_size(c, ctx) * (int64_t)sizeof(float));
    conv2d_pack_backward_input(c, weight, &tables, packed, ctx);
    for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
        for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
            const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
            const int64_t before = gather.taps_before * conv2d_out_depth(c) * ctx->kernels->tile_columns;
            conv2d_gather_run(&gather, dy, packed + before * panels(c, ctx), epilogue, dx, arena.next, ctx);
        }
    }
}

int64_t conv2d_direct_input_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_gather largest = conv2d_largest_phase(c);
    if (panel_by_panel(c)) return conv2d_phase_tables_bytes(c) + ctx->num_threads * thread_bytes(c, ctx);
    return conv2d_phase_tables_bytes(c) +
           fc_round_up(panels(c, ctx) * panel_size(c, ctx) * (int64_t)sizeof(float), FC_ALIGNMENT) +
           conv2d_gather_workspace_bytes(&largest, ctx);
}
