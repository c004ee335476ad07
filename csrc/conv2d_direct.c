/* conv2d_direct.c - direct convolution: forward by gathering (conv2d_gather.c); the gradients have files of their own,
 * conv2d_direct_input.c and conv2d_direct_weight.c.
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

/* ------------------------------------------------------------------------------------------------------------- */

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    if (pass == FC_BACKWARD_INPUT) return conv2d_direct_input_bytes(c, ctx);
    if (pass == FC_BACKWARD_WEIGHT) return conv2d_direct_weight_bytes(c, ctx);
    return forward_bytes(c, ctx);
}

const conv2d_algorithm conv2d_direct = {
    "direct", supports, workspace_bytes, packed_bytes, conv2d_pack_forward, forward,
    conv2d_direct_backward_input, conv2d_direct_backward_weight, NULL, NULL,
};
