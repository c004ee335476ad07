/* conv2d_direct_input.c - the input gradient of direct convolution: from the weights as they lie where that is faster
 * (conv2d_direct_columns.c), else a gather from dy for each phase of the stride, with weights packed at each call.
 */
#include "conv2d_gather.h"

/* Floats of the packed weights of all phases. */
static int64_t packed_floats(const fc_conv2d *c, const fc_context *ctx) {
    return c->groups * conv2d_panels_size(conv2d_taps(c), conv2d_out_depth(c), conv2d_in_depth(c), ctx);
}

static void run_phases(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                       float *dx, void *workspace, const fc_context *ctx) {
    const int64_t tap_floats = packed_floats(c, ctx) / conv2d_taps(c);
    fc_arena arena = {workspace};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    float *packed = fc_take(&arena, packed_floats(c, ctx) * (int64_t)sizeof(float));
    conv2d_fill_phase_tables(c, &tables);
    conv2d_pack_backward_input(c, weight, &tables, packed, ctx);
    for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
        for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
            const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
            conv2d_gather_run(&gather, dy, packed + gather.taps_before * tap_floats, epilogue, dx, arena.next, ctx);
        }
    }
}

void conv2d_direct_backward_input(const fc_conv2d *c, const float *dy, const float *weight,
                                  const conv2d_epilogue *epilogue, float *dx, void *workspace, const fc_context *ctx) {
    if (conv2d_direct_takes_columns(c, ctx)) conv2d_direct_columns(c, dy, weight, epilogue, dx, workspace, ctx);
    else run_phases(c, dy, weight, epilogue, dx, workspace, ctx);
}

int64_t conv2d_direct_input_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_gather largest = conv2d_largest_phase(c);
    if (conv2d_direct_takes_columns(c, ctx)) return conv2d_direct_columns_bytes(c, ctx);
    return conv2d_phase_tables_bytes(c) + fc_round_up(packed_floats(c, ctx) * (int64_t)sizeof(float), FC_ALIGNMENT) +
           conv2d_gather_workspace_bytes(&largest, ctx);
}
