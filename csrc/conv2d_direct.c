/* conv2d_direct.c - direct convolution: forward and input gradient by gathering (conv2d_gather.c); the weight gradient
 * has a file of its own, conv2d_direct_weight.c.
 */
#include "conv2d_gather.h"

static bool supports(const fc_conv2d *c) {
    (void)c;
    return true;
}

/* ------------------------------------------------------------------------------------------------------- forward */

static int64_t packed_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return c->groups * conv2d_panels_size(conv2d_taps(c), conv2d_in_depth(c), conv2d_out_depth(c), ctx) *
           (int64_t)sizeof(float);
}

typedef struct pack_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *weight;
    float *packed;
    /* of one group */
    conv2d_weights weights;
    int64_t group_weights; /* floats from one group's weights to the next */
} pack_task;

/* Item: (group, panel). */
static void pack_panels(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    const int64_t panels = conv2d_panel_count(t->weights.columns, t->ctx);
    const int64_t size = conv2d_panels_size(t->weights.taps, t->weights.depth, t->weights.columns, t->ctx);
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        conv2d_weights weights = t->weights;
        weights.w = t->weight + item / panels * t->group_weights;
        conv2d_pack_panel(&weights, item % panels, t->packed + item / panels * size, t->ctx);
    }
}

static void run_pack(pack_task *t) {
    const int64_t size = t->weights.taps * t->weights.depth * t->weights.columns * t->conv->groups;
    fc_parallel(t->conv->groups * conv2d_panel_count(t->weights.columns, t->ctx),
                fc_threads_for_memory(2 * size * (int64_t)sizeof(float), t->ctx), pack_panels, t);
}

/* The weights of one group of the forward pass: taps in kernel order, columns are output channels. */
static void pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    const int64_t taps = conv2d_taps(c), depth = conv2d_in_depth(c);
    pack_task t = {.conv = c, .ctx = ctx, .weight = weight, .packed = packed,
                   .weights = {.taps = taps, .depth = depth, .columns = conv2d_out_depth(c), .depth_stride = taps,
                               .column_stride = depth * taps},
                   .group_weights = conv2d_out_depth(c) * depth * taps};
    run_pack(&t);
}

static void forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue, float *y,
                    void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_gather gather = conv2d_forward_gather(c, &arena);
    conv2d_gather_run(&gather, x, packed, epilogue, y, arena.next, ctx);
}

static int64_t forward_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_gather gather = conv2d_forward_size(c);
    return conv2d_phase_tables_bytes(c) + conv2d_gather_workspace_bytes(&gather, ctx);
}

/* ------------------------------------------------------------------------------------------------ backward input */

/* Weights transposed: columns are input channels, depth the output channels, taps those of the phase. */
static void pack_phase(const fc_conv2d *c, const conv2d_gather *g, const conv2d_phase_tables *tables, const float *weight,
                       float *packed, const fc_context *ctx) {
    const int64_t taps = conv2d_taps(c), columns = conv2d_in_depth(c), depth = conv2d_out_depth(c);
    for (int64_t i = 0; i < g->tap_rows; i++)
        for (int64_t j = 0; j < g->tap_columns; j++)
            tables->tap_at[i * g->tap_columns + j] = tables->rows[i] * c->kernel_width + tables->columns[j];
    pack_task t = {.conv = c, .ctx = ctx, .weight = weight, .packed = packed,
                   .weights = {.tap_at = tables->tap_at, .taps = g->tap_rows * g->tap_columns, .depth = depth,
                               .columns = columns, .depth_stride = columns * taps, .column_stride = taps},
                   .group_weights = depth * columns * taps};
    run_pack(&t);
}

/* No phase has more taps than the kernel, so this bounds every phase's packed weights. */
static int64_t phase_packed_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return c->groups * conv2d_panels_size(conv2d_taps(c), conv2d_out_depth(c), conv2d_in_depth(c), ctx) *
           (int64_t)sizeof(float);
}

static void transposed(const fc_conv2d *c, const float *x, const float *weight, const conv2d_epilogue *epilogue,
                       float *y, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    float *packed = fc_take(&arena, phase_packed_bytes(c, ctx));
    for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
        for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
            const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
            pack_phase(c, &gather, &tables, weight, packed, ctx);
            conv2d_gather_run(&gather, x, packed, epilogue, y, arena.next, ctx);
        }
    }
}

static void backward_input(const fc_conv2d *c, const float *dy, const float *weight, float *dx, void *workspace,
                           const fc_context *ctx) {
    transposed(c, dy, weight, &(conv2d_epilogue){0}, dx, workspace, ctx);
}

static int64_t backward_input_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_gather largest = conv2d_largest_phase(c);
    return conv2d_phase_tables_bytes(c) + fc_round_up(phase_packed_bytes(c, ctx), FC_ALIGNMENT) +
           conv2d_gather_workspace_bytes(&largest, ctx);
}

/* ------------------------------------------------------------------------------------------------------------- */

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    if (pass == FC_BACKWARD_INPUT) return backward_input_bytes(c, ctx);
    if (pass == FC_BACKWARD_WEIGHT) return conv2d_direct_weight_bytes(c, ctx);
    return forward_bytes(c, ctx);
}

const conv2d_algorithm conv2d_direct = {
    "direct", supports, workspace_bytes, packed_bytes, pack, forward, backward_input,
    conv2d_direct_backward_weight, transposed,
};
