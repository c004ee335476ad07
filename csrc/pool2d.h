/* pool2d.h - where windows lie: one dimension at a time, shared by the driver and the micro-kernels. */
#ifndef FASTCONV_POOL2D_H
#define FASTCONV_POOL2D_H

#include "common.h"

/* The taps [begin, end) of a window starting at `start` (may be negative) that lie in [0, in). */
static inline void fc_window_taps(int64_t start, int64_t kernel, int64_t dilation, int64_t in, int64_t *begin,
                                  int64_t *end) {
    *begin = start < 0 ? fc_ceil_div(-start, dilation) : 0;
    *end = fc_min(kernel, fc_ceil_div(in - start, dilation));
}

/* What an average divides by: PyTorch counts padding, but not what ceil_mode adds beyond it. */
static inline int64_t fc_window_size(int64_t start, int64_t kernel, int64_t in, int64_t pad_end, bool include_pad) {
    if (include_pad) return fc_min(start + kernel, in + pad_end) - start;
    return fc_min(start + kernel, in) - fc_max(start, 0);
}

/* The windows [begin, end) whose extent covers a position; `padded` is the position plus the padding before it. */
static inline void fc_covering_windows(int64_t padded, int64_t extent, int64_t stride, int64_t out, int64_t *begin,
                                       int64_t *end) {
    *begin = padded < extent ? 0 : (padded - extent) / stride + 1;
    *end = fc_min(out, padded / stride + 1);
}

#endif
