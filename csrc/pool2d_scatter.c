/* pool2d_scatter.c - the gradient of a maximum, an output at a time: dx[its index] += dy.
 *
 * A thread owns a block of input rows of some channels, and takes of the outputs whose windows reach into it those whose
 * index lies in it, in the order of the windows: each sum has the order, and the bits, of the gather of pool2d.c. It
 * costs some 3 cycles an output, where the gather asks kernel^2 / lanes times, and with few channels leaves lanes
 * empty.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "parallel.h"
#include "pool2d.h"

/* A block lies in L1 or L2, but has four times the rows of a window: those that reach over its ends are read twice. */
enum { SCATTER_CHANNELS = 64, SCATTER_BYTES = 128 * 1024, SCATTER_KERNELS = 4 };

bool fc_pool_scatter_supports(const fc_pool2d *d) {
    const int64_t taps = d->kernel_height * d->kernel_width;
    if (d->kernel_height > d->in_height || d->kernel_width > d->in_width) return false; /* taps may overflow */
    /* 8 x 3 x 224 x 224, 3 x 3 at stride 2: 1019 us by gathering, 239 so; with 16 channels of 112 x 112 259 and 607, as
     * sums wait for each other. 512 x 13 x 13 at stride 1: 9 x 9 105 and 53 us, 5 x 5 50 and 53. */
    return d->channels <= 8 || (d->stride_height == 1 && d->stride_width == 1 && taps >= 64);
}

static int64_t block_channels(const fc_pool2d *d) { return fc_min(d->channels, SCATTER_CHANNELS); }

static int64_t block_rows(const fc_pool2d *d) {
    const int64_t row = d->in_width * block_channels(d) * (int64_t)sizeof(float);
    const int64_t least = SCATTER_KERNELS * ((d->kernel_height - 1) * d->dilation_height + 1);
    return fc_min(fc_max(SCATTER_BYTES / row, least), d->in_height);
}

/* The outputs of a row to the positions [first, first + count) of the plane, of which dx is the first. The index is
 * checked so that nothing is written outside the block. */
static void scatter_row(const fc_pool2d *d, const float *dy, const int32_t *indices, int64_t channels, int64_t first,
                        int64_t count, float *restrict dx) {
    const int64_t pixel = d->channels;
    const uint32_t low = (uint32_t)first, positions = (uint32_t)count;
    for (int64_t q = 0; q < d->out_width; q++, dy += pixel, indices += pixel) {
        for (int64_t c = 0; c < channels; c++) {
            const uint32_t position = (uint32_t)indices[c] - low;
            if (position < positions) dx[(int64_t)position * pixel + c] += dy[c];
        }
    }
}

/* The end of the windows that cover positions before this one. */
static int64_t windows_before(const fc_pool_axis *axis, int64_t position) {
    int64_t begin, end;
    fc_covering_windows(axis, position - 1, &begin, &end);
    return end;
}

static void scatter_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const int64_t blocks = fc_ceil_div(d->in_height, block_rows(d)), pixel = d->channels;
    (void)thread;
    for (int64_t item = begin; item < end && !__atomic_load_n(&t->refused, __ATOMIC_RELAXED); item++) {
        const int64_t n = item / (t->channel_blocks * blocks), c = item / blocks % t->channel_blocks * SCATTER_CHANNELS;
        const int64_t h = item % blocks * block_rows(d), h_end = fc_min(h + block_rows(d), d->in_height);
        const int64_t channels = fc_min(block_channels(d), pixel - c), count = (h_end - h) * d->in_width;
        float *dx = t->dx + (n * d->in_height + h) * d->in_width * pixel + c;
        int64_t p, p_end, unused;
        fc_covering_windows(&rows, h, &p, &unused);
        fc_covering_windows(&rows, h_end - 1, &unused, &p_end);
        if (channels == pixel)
            memset(dx, 0, (size_t)(count * pixel) * sizeof(float));
        else
            for (int64_t i = 0; i < count; i++) memset(dx + i * pixel, 0, (size_t)channels * sizeof(float));
        if (c == 0) fc_pool_check_rows(t, n, h > 0 ? windows_before(&rows, h) : 0, p_end);
        for (; p < p_end; p++) {
            const int64_t at = (n * d->out_height + p) * d->out_width * pixel + c;
            scatter_row(d, t->dy + at, t->chosen + at, channels, h * d->in_width, count, dx);
        }
    }
}

void fc_pool_scatter_run(fc_pool_task *t) {
    const fc_pool2d *d = t->pool;
    const int64_t bytes = d->batch * d->in_height * d->in_width * d->channels * (int64_t)sizeof(float);
    t->channel_blocks = fc_ceil_div(d->channels, SCATTER_CHANNELS);
    fc_parallel(d->batch * t->channel_blocks * fc_ceil_div(d->in_height, block_rows(d)),
                fc_threads_for_memory(bytes, t->ctx), scatter_blocks, t);
}
