/* unfold.h - what unfold.c and fold.c share: planes of a block of channels and rows, in scratch.
 *
 * A row of columns holds one channel at one tap: every stride-th pixel of the lines of that channel's plane. Lines lie
 * there with the padding on both sides and room for whole vectors after it, so that no tap meets a border.
 */
#ifndef FASTCONV_UNFOLD_H
#define FASTCONV_UNFOLD_H

#include "kernels/kernels.h"
#include "parallel.h"

typedef struct unfold_task {
    const fc_unfold *d;
    const fc_context *ctx;
    const float *from;
    float *to;
    int64_t taps, line;                        /* floats of a line */
    int64_t channel_block, channel_blocks;
    int64_t row_block, row_blocks, plane_rows; /* rows of the output: of unfold, or of fold; of a plane */
    bool stream;                               /* columns go past the caches */
    int64_t stage_rows, stage_floats;          /* rows of columns that wait for it */
    char *scratch;                             /* of each thread: planes, then the stage */
    int64_t scratch_bytes;
} unfold_task;

unfold_task fc_unfold_task(const fc_unfold *d, bool fold, const fc_context *ctx);
void fc_unfold_run(unfold_task *t, fc_range_task blocks);

/* The planes of a thread, and their size. */
static inline int64_t unfold_plane(const unfold_task *t) { return t->plane_rows * t->line; }
static inline float *unfold_planes(const unfold_task *t, int thread) {
    return (float *)(t->scratch + thread * t->scratch_bytes);
}

/* The steps [*begin, *end) of `count` whose tap lies inside: 0 <= step * stride + offset < size. */
static inline void unfold_inside(int64_t offset, int64_t stride, int64_t size, int64_t count, int64_t *begin,
                                 int64_t *end) {
    *begin = offset < 0 ? fc_min(count, fc_ceil_div(-offset, stride)) : 0;
    *end = offset >= size ? *begin : fc_max(*begin, fc_min(count, (size - 1 - offset) / stride + 1));
}

/* Patches side by side, as of a vision transformer: a line of windows is the transpose of a line of pixels. Strides of
 * 1 and 2 have kernels as fast. */
static inline bool unfold_patches(const fc_unfold *d) {
    return d->stride_width > 2 && d->kernel_width == d->stride_width && d->dilation_width == 1 && d->pad_width == 0 &&
           d->dilation_height == 1 && d->kernel_height <= d->stride_height;
}

#endif
