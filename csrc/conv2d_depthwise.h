/* conv2d_depthwise.h - private: the parts of the depthwise algorithm.
 *
 * Packed weights are [channel block][tap][FC_DEPTHWISE_BLOCK], the channels past the last zero: the taps of a vector of
 * channels lie together, where rows of 512 channels would put all of them into two sets of L1.
 */
#ifndef FASTCONV_CONV2D_DEPTHWISE_H
#define FASTCONV_CONV2D_DEPTHWISE_H

#include "conv2d_gather.h"

static inline int64_t depthwise_packed_bytes(const fc_conv2d *c) {
    return fc_round_up(c->in_channels, FC_DEPTHWISE_BLOCK) * conv2d_taps(c) * (int64_t)sizeof(float);
}
/* Taps in the order of the kernel, or backwards. */
void depthwise_pack(const fc_conv2d *c, bool backwards, const float *weight, float *packed, const fc_context *ctx);

/* ---- conv2d_depthwise_slide.c: square kernels of 3, 5 and 7, by windows that slide along the rows. */

bool depthwise_slides(const fc_conv2d *c);
/* mixed: 3 x 3 of stride 1 by kernels/depthwise_winograd.inc where it is the faster one. */
void depthwise_slide_forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                             float *y, bool mixed, const fc_context *ctx);
/* packed: the weights backwards where the stride is 1, else in order. */
void depthwise_slide_backward(const fc_conv2d *c, const float *dy, const float *packed, const conv2d_epilogue *epilogue,
                              float *dx, bool mixed, const fc_context *ctx);

/* Output positions of one axis with the same input positions modulo the dilation: a + dilation * i reads the input at
 * first + dilation * (i - pad + tap). `in` and `out` positions are there. */
typedef struct depthwise_phase { int64_t out, first, in, pad; } depthwise_phase;

static inline depthwise_phase depthwise_phase_of(int64_t a, int64_t dilation, int64_t pad, int64_t in, int64_t out) {
    const int64_t shift = fc_floor_div(a - pad, dilation), first = a - pad - shift * dilation;
    return (depthwise_phase){fc_max(0, fc_ceil_div_signed(out - a, dilation)), first,
                             fc_max(0, fc_ceil_div_signed(in - first, dilation)), -shift};
}

/* ---- conv2d_depthwise_weight.c */

int64_t depthwise_weight_bytes(const fc_conv2d *c);
void depthwise_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                               void *workspace, const fc_context *ctx);

#endif
