/* fold.c - the sums of windows (col2im), the adjoint of unfold.c.
 *
 * The rows of columns of a channel are added to its plane (unfold.h), a tap after the other: they are read once and in
 * order, and the plane, at most 24 KB of it, stays in L1. Planes are turned to NHWC at the end.
 */
#include "unfold.h"

/* Tap (r, s) of one channel: what lies in the rows [h, h_end) of its plane. */
static void add_tap(const unfold_task *t, int64_t r, int64_t s, int64_t h, int64_t h_end, const float *columns,
                    float *plane) {
    const fc_unfold *d = t->d;
    const int64_t offset = r * d->dilation_height - d->pad_height - h;
    int64_t p, p_end;
    unfold_inside(offset, d->stride_height, h_end - h, d->out_height, &p, &p_end);
    if (p == p_end) return;
    float *to = plane + (p * d->stride_height + offset) * t->line + s * d->dilation_width;
    t->ctx->kernels->fold_rows(p_end - p, d->out_width, d->stride_width, columns + p * d->out_width, to,
                               d->stride_height * t->line);
}

/* The same of the taps in row r of patches: of each pixel the only one. */
static void put_patches(const unfold_task *t, int64_t r, int64_t h, int64_t h_end, const float *columns, float *plane) {
    const fc_unfold *d = t->d;
    const int64_t offset = r - d->pad_height - h;
    int64_t p, p_end;
    unfold_inside(offset, d->stride_height, h_end - h, d->out_height, &p, &p_end);
    for (; p < p_end; p++)
        t->ctx->kernels->transpose_block(d->kernel_width, d->out_width, columns + p * d->out_width,
                                         d->out_height * d->out_width,
                                         plane + (p * d->stride_height + offset) * t->line, d->kernel_width);
}

/* Items: rows of the result, of a block of channels of an image. */
static void fold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t pixels = d->out_height * d->out_width;
    float *planes = unfold_planes(t, thread);
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks;
        const int64_t c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t h = item % t->row_blocks * t->row_block, h_end = fc_min(h + t->row_block, d->height);
        const int64_t count = fc_min(t->channel_block, d->channels - c);
        memset(planes, 0, (size_t)(count * unfold_plane(t)) * sizeof(float));
        for (int64_t i = 0; i < count; i++) {
            const float *columns = t->from + (n * d->channels + c + i) * t->taps * pixels;
            float *plane = planes + i * unfold_plane(t);
            for (int64_t r = 0; r < d->kernel_height; r++) {
                if (unfold_patches(d)) put_patches(t, r, h, h_end, columns + r * d->kernel_width * pixels, plane);
                for (int64_t s = 0; s < d->kernel_width && !unfold_patches(d); s++)
                    add_tap(t, r, s, h, h_end, columns + (r * d->kernel_width + s) * pixels, plane);
            }
        }
        for (int64_t row = h; row < h_end; row++)
            t->ctx->kernels->transpose_block(count, d->width, planes + (row - h) * t->line + d->pad_width,
                                             unfold_plane(t), t->to + (n * d->height + row) * d->width * d->channels + c,
                                             d->channels);
    }
}

void fc_fold_forward(const fc_unfold *d, const float *columns, float *y, void *workspace, const fc_context *ctx) {
    unfold_task t = fc_unfold_task(d, true, ctx);
    t.from = columns, t.to = y, t.scratch = workspace;
    fc_unfold_run(&t, fold_blocks);
}
