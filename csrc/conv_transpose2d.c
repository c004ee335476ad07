/* conv_transpose2d.c - the transposed convolution: a convolution's input gradient as a forward pass.
 *
 * Its input gradient is that convolution's forward pass, its weight gradient that convolution's, with input and output
 * gradient exchanged; only its bias gradient is its own.
 */
#include "conv2d.h"

void fc_conv_transpose2d_forward(const fc_conv2d *c, const float *x, const float *weight, const float *bias,
                                 const float *residual, float *y, void *workspace, const fc_context *ctx) {
    conv2d_backward_input(c, x, weight, &(conv2d_epilogue){bias, residual, &c->activation}, y, workspace, ctx);
}

void fc_conv_transpose2d_backward_bias(int64_t pixels, int64_t channels, const float *dy, float *dbias,
                                       const fc_context *ctx) {
    const fc_conv2d image = {.batch = 1, .out_height = 1, .out_width = pixels, .out_channels = channels};
    memset(dbias, 0, (size_t)channels * sizeof(float)); /* all there is where there are no pixels */
    conv2d_reduce_bias(&image, dy, dbias, ctx);
}
