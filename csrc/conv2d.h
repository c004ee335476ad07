/* conv2d.h - private: what the algorithms of conv2d share. */
#ifndef FASTCONV_CONV2D_H
#define FASTCONV_CONV2D_H

#include "kernels/kernels.h"
#include "parallel.h"
#include "strip.h"

/* The end of a forward pass: y = activation(sum + bias[k] + residual), in each algorithm before y leaves the cache. The
 * input gradient has one too: it is the forward pass of the transposed convolution. */
typedef struct conv2d_epilogue {
    const float *bias;               /* [channels of y] or NULL */
    const float *residual;           /* laid out as y, or NULL */
    const fc_activation *activation; /* or NULL */
} conv2d_epilogue;

/* ---- conv2d_epilogue.c: the epilogue of sums that lie in y already. */

/* Residual and activation, of y[at .. at + size); the bias is in it. */
void conv2d_finish_run(const conv2d_epilogue *epilogue, float *y, int64_t at, int64_t size, const fc_context *ctx);
/* All of it, of whole pixels. */
void conv2d_finish_pixels(const conv2d_epilogue *epilogue, int64_t pixels, int64_t channels, float *y,
                          const fc_context *ctx);

/* One algorithm, all its passes. Forward takes what `pack` made of the weights; forward_plain, NULL where they are packed
 * first, the weights. */
typedef struct conv2d_algorithm {
    const char *name;
    bool (*supports)(const fc_conv2d *conv);
    int64_t (*workspace_bytes)(const fc_conv2d *conv, fc_pass pass, const fc_context *ctx);
    int64_t (*packed_bytes)(const fc_conv2d *conv, const fc_context *ctx);
    void (*pack)(const fc_conv2d *conv, const float *weight, float *packed, const fc_context *ctx);
    void (*forward)(const fc_conv2d *conv, const float *x, const float *packed, const conv2d_epilogue *epilogue, float *y,
                    void *workspace, const fc_context *ctx);
    void (*backward_input)(const fc_conv2d *conv, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx);
    void (*backward_weight)(const fc_conv2d *conv, const float *dy, const float *x, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx);
    int64_t (*plain_workspace_bytes)(const fc_conv2d *conv, const fc_context *ctx);
    void (*forward_plain)(const fc_conv2d *conv, const float *x, const float *weight, const conv2d_epilogue *epilogue,
                          float *y, void *workspace, const fc_context *ctx);
} conv2d_algorithm;

/* By the algorithm chosen. */
void conv2d_backward_input(const fc_conv2d *conv, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx);

extern const conv2d_algorithm conv2d_direct, conv2d_im2col, conv2d_depthwise;
extern const conv2d_algorithm conv2d_winograd, conv2d_winograd_2x2, conv2d_winograd_6x6, conv2d_winograd_depthwise;

/* ---- conv2d_choose.c: what FC_CONV2D_AUTO means for a pass of a valid geometry. */
fc_conv2d_algorithm conv2d_choose(const fc_conv2d *conv, fc_pass pass);

static inline int64_t conv2d_taps(const fc_conv2d *c) { return c->kernel_height * c->kernel_width; }
static inline int64_t conv2d_in_depth(const fc_conv2d *c) { return c->in_channels / c->groups; }
static inline int64_t conv2d_out_depth(const fc_conv2d *c) { return c->out_channels / c->groups; }
static inline int64_t conv2d_pixels(const fc_conv2d *c) { return c->batch * c->out_height * c->out_width; }
static inline int64_t conv2d_multiply_adds(const fc_conv2d *c) {
    return conv2d_pixels(c) * c->out_channels * conv2d_in_depth(c) * conv2d_taps(c);
}
/* Images of more bytes come from memory at each pass, not from the caches, and are fetched ahead. */
enum { CONV2D_FAR_BYTES = 8 * 1024 * 1024 };

/* Where tap (r, s) of output pixel `pixel` lies in the input, counted in pixels; -1 outside. */
static inline int64_t conv2d_input_pixel(const fc_conv2d *c, int64_t pixel, int64_t r, int64_t s) {
    const int64_t q = pixel % c->out_width, p = pixel / c->out_width % c->out_height;
    const int64_t n = pixel / c->out_width / c->out_height;
    const int64_t h = p * c->stride_height + r * c->dilation_height - c->pad_top;
    const int64_t w = q * c->stride_width + s * c->dilation_width - c->pad_left;
    if (h < 0 || h >= c->in_height || w < 0 || w >= c->in_width) return -1;
    return (n * c->in_height + h) * c->in_width + w;
}

/* ---- conv2d_strip.c: rows that were gathered, times packed weights. */

/* Packed weights of one group: [panel][tap][depth][tile_columns], columns padded with zeros. */
typedef struct conv2d_panels {
    const float *packed;
    int64_t taps, depth, columns;
    int64_t x_offset, y_offset; /* of the group, in the rows of a strip */
    const conv2d_epilogue *epilogue;
    const float *y; /* the array the rows' outputs lie in, where the residual's elements have the same places */
} conv2d_panels;

int64_t conv2d_panel_count(int64_t columns, const fc_context *ctx);
int64_t conv2d_panels_size(int64_t taps, int64_t depth, int64_t columns, const fc_context *ctx); /* floats */

/* y[i] = x[i] . packed for the rows i of a strip. */
void conv2d_multiply_strip(const fc_strip *strip, const conv2d_panels *panels, int64_t panel_begin, int64_t panel_end,
                           const fc_context *ctx);

/* ---- conv2d_direct_input.c, conv2d_direct_weight.c */

int64_t conv2d_direct_input_bytes(const fc_conv2d *conv, const fc_context *ctx);
void conv2d_direct_backward_input(const fc_conv2d *conv, const float *dy, const float *weight,
                                  const conv2d_epilogue *epilogue, float *dx, void *workspace, const fc_context *ctx);

int64_t conv2d_direct_weight_bytes(const fc_conv2d *conv, const fc_context *ctx);
void conv2d_direct_backward_weight(const fc_conv2d *conv, const float *dy, const float *x, float *dweight, float *dbias,
                                   void *workspace, const fc_context *ctx);

/* dbias[k] = sum of dy over the pixels. */
void conv2d_reduce_bias(const fc_conv2d *conv, const float *dy, float *dbias, const fc_context *ctx);

#endif
