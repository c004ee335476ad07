/* pool2d.h - where windows lie, one axis at a time, shared by the drivers and the micro-kernels; and what the drivers
 * share. */
#ifndef FASTCONV_POOL2D_H
#define FASTCONV_POOL2D_H

#include "common.h"
#include "fastconv.h"

/* One axis of a pooling. The windows of an adaptive one are PyTorch's: window i of `out` holds the positions
 * [floor(i * in / out), ceil((i + 1) * in / out)). */
typedef struct fc_pool_axis {
    int64_t in, out, kernel, stride, dilation, pad_begin, pad_end;
    bool adaptive, include_pad;
} fc_pool_axis;

static inline fc_pool_axis fc_pool_rows(const fc_pool2d *d) {
    return (fc_pool_axis){d->in_height, d->out_height, d->kernel_height, d->stride_height, d->dilation_height,
                          d->pad_top,   d->pad_bottom, d->adaptive,      d->count_include_pad};
}

static inline fc_pool_axis fc_pool_columns(const fc_pool2d *d) {
    return (fc_pool_axis){d->in_width, d->out_width, d->kernel_width, d->stride_width, d->dilation_width,
                          d->pad_left, d->pad_right, d->adaptive,     d->count_include_pad};
}

/* The taps of one window that lie in the input: the position of the first, and how many. */
typedef struct fc_pool_window { int64_t first, taps; } fc_pool_window;

static inline fc_pool_window fc_pool_taps(const fc_pool_axis *a, int64_t i) {
    if (a->adaptive) {
        const int64_t first = i * a->in / a->out;
        return (fc_pool_window){first, fc_ceil_div((i + 1) * a->in, a->out) - first};
    }
    const int64_t start = i * a->stride - a->pad_begin;
    if (a->dilation == 1) { /* without a division: asked a pixel */
        const int64_t first = fc_max(start, 0);
        return (fc_pool_window){first, fc_min(start + a->kernel, a->in) - first};
    }
    const int64_t begin = start < 0 ? fc_ceil_div(-start, a->dilation) : 0;
    const int64_t end = fc_min(a->kernel, fc_ceil_div(a->in - start, a->dilation));
    return (fc_pool_window){start + begin * a->dilation, end - begin};
}

/* What an average divides by: PyTorch counts padding, but not what ceil_mode adds beyond it. */
static inline int64_t fc_window_size(const fc_pool_axis *a, int64_t i) {
    if (a->adaptive) return fc_pool_taps(a, i).taps;
    const int64_t start = i * a->stride - a->pad_begin;
    if (a->include_pad) return fc_min(start + a->kernel, a->in + a->pad_end) - start;
    return fc_min(start + a->kernel, a->in) - fc_max(start, 0);
}

/* The windows [*begin, *end) whose extent, from the first tap to the last, covers a position of the input. */
static inline void fc_covering_windows(const fc_pool_axis *a, int64_t position, int64_t *begin, int64_t *end) {
    if (a->adaptive) {
        *begin = position * a->out / a->in;
        *end = fc_ceil_div((position + 1) * a->out, a->in);
        return;
    }
    const int64_t extent = (a->kernel - 1) * a->dilation + 1, padded = position + a->pad_begin;
    *begin = padded < extent ? 0 : (padded - extent) / a->stride + 1;
    *end = fc_min(a->out, padded / a->stride + 1);
}

/* The same for positions that ascend from one call to the next, without a division: *begin and *end are those of the
 * call before, 0 at first. */
static inline void fc_next_covering_windows(const fc_pool_axis *a, int64_t position, int64_t *begin, int64_t *end) {
    const int64_t padded = position + a->pad_begin, before = padded - (a->kernel - 1) * a->dilation - 1;
    if (a->adaptive) {
        fc_covering_windows(a, position, begin, end);
        return;
    }
    while (*begin * a->stride <= before) ++*begin;
    while (*end < a->out && *end * a->stride <= padded) ++*end;
}

/* What an average divides a window's sum by. */
static inline float fc_pool_divisor(const fc_pool2d *d, int64_t row_size, int64_t column_size) {
    return (float)(d->divisor > 0 ? d->divisor : row_size * column_size);
}

/* Beyond this, operands are fetched ahead of their use: rows of some blocks otherwise come from L3 or from memory at
 * one cache line a pixel, which the hardware does not foresee. */
enum { FC_POOL_FAR_BYTES = 256 * 1024 };

typedef struct fc_pool_task {
    const fc_pool2d *pool;
    const fc_context *ctx;
    const float *x, *dy;
    float *y, *dx;
    int32_t *indices;
    const int32_t *chosen; /* the indices, of the backward pass */
    bool average, stream;  /* stream: results bypass the caches, see fc_pool_streams */
    bool far;              /* operands lie beyond L2 */
    bool check, refused;   /* whether indices are checked; set by any thread that finds one outside its window */
    int64_t channel_blocks, item_rows;
    float *identity, *scratch; /* of fc_pool_lines_run and fc_pool_strips_run */
    int64_t scratch_floats;    /* of one thread */
} fc_pool_task;

/* pool2d.c: one output row of one image, channels [c, c + channels), a window at a time. */
void fc_pool_row(const fc_pool_task *t, int64_t n, int64_t p, int64_t c, int64_t channels);
/* Rows [p, p_end) of image n: whether every index lies in its own window, see refused. */
void fc_pool_check_rows(fc_pool_task *t, int64_t n, int64_t p, int64_t p_end);
/* Whether `size` floats written at y, in pieces of `piece` floats, had better bypass the caches. */
bool fc_pool_streams(const float *y, int64_t size, int64_t piece);

/* pool2d_walk.c: windows of 3 x 3 and 5 x 5 one apart, of 3 x 3 two apart. */
bool fc_pool_walk_supports(const fc_pool2d *d, bool average, const fc_context *ctx);
int64_t fc_pool_walk_workspace_bytes(const fc_pool2d *d);
void fc_pool_walk_run(fc_pool_task *t, void *workspace);

/* pool2d_lines.c: windows one apart, rows first and columns then. */
bool fc_pool_lines_supports(const fc_pool2d *d, bool average);
int64_t fc_pool_lines_workspace_bytes(const fc_pool2d *d, const fc_context *ctx);
void fc_pool_lines_run(fc_pool_task *t, void *workspace);

/* pool2d_scatter.c: the gradient of a maximum, an output at a time. */
bool fc_pool_scatter_supports(const fc_pool2d *d);
void fc_pool_scatter_run(fc_pool_task *t);

/* pool2d_strips.c: the same for large windows one apart of many channels. */
bool fc_pool_strips_supports(const fc_pool2d *d);
int64_t fc_pool_strips_workspace_bytes(const fc_pool2d *d, const fc_context *ctx);
void fc_pool_strips_run(fc_pool_task *t, void *workspace);

/* pool2d_spread.c: the gradient of an average of few channels. */
bool fc_pool_spread_supports(const fc_pool2d *d);
void fc_pool_spread_run(fc_pool_task *t);

#endif
