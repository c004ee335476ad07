/* pool2d_walk.c - pooling with windows of 3 x 3 or 5 x 5 one apart, or of 3 x 3 two apart, some output rows at a time.
 *
 * Rows outside the image are a line of elements that change nothing (-inf, 0), so that all windows are whole.
 */
#include "kernels/kernels.h"
#include "parallel.h"
#include "pool2d.h"

enum { WALK_CHANNELS = 512 };

/* All windows of an average divide by the same. */
static bool one_divisor(const fc_pool2d *d) {
    const fc_pool_axis rows = fc_pool_rows(d), columns = fc_pool_columns(d);
    return d->divisor > 0 || (fc_window_size(&rows, 0) == d->kernel_height &&
                              fc_window_size(&rows, d->out_height - 1) == d->kernel_height &&
                              fc_window_size(&columns, 0) == d->kernel_width &&
                              fc_window_size(&columns, d->out_width - 1) == d->kernel_width);
}

bool fc_pool_walk_supports(const fc_pool2d *d, bool average, const fc_context *ctx) {
    const int64_t kernel = d->kernel_height, stride = d->stride_height;
    if (d->adaptive || kernel != d->kernel_width || stride != d->stride_width || d->dilation_height != 1 ||
        d->dilation_width != 1 || d->channels == 0 || (average && !one_divisor(d)))
        return false;
    /* Columns 2 KB apart share two sets of L1: 512 x 13 x 13 took 18 us with 3 x 3, and takes 14 by lines; with 8 lanes
     * 32 x 256 x 28 x 28 took 3.4 ms, and 1.9 by lines (16 lanes: 1.9 and 2.3). Few channels leave lanes of a walk
     * empty, where lines take columns side by side. */
    const int64_t most = ctx->kernels->lanes == 16 ? WALK_CHANNELS : WALK_CHANNELS / 2;
    if (stride == 1 && (d->channels >= most || d->channels < 8)) return false;
    return (kernel == 3 && stride <= 2) || (kernel == 5 && stride == 1);
}

int64_t fc_pool_walk_workspace_bytes(const fc_pool2d *d) {
    return d->in_width * d->channels * (int64_t)sizeof(float);
}

static int64_t block_rows(const fc_pool2d *d) { return FC_POOL_WALK_ROWS / d->stride_height; }

static void walk_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const int64_t blocks = fc_ceil_div(d->out_height, block_rows(d)), row = d->in_width * d->channels;
    fc_pool_walk walk = {
        .average = t->average,
        .kernel = (int)d->kernel_height,
        .stride = (int)d->stride_height,
        .x_step = d->channels,
        .in_width = d->in_width,
        .out_width = d->out_width,
        .pad_left = d->pad_left,
        .channels = d->channels,
        .y_line = d->out_width * d->channels,
        .y_step = d->channels,
        .divisor = fc_pool_divisor(d, d->kernel_height, d->kernel_width),
        .stream = t->stream,
    };
    (void)thread;
    walk.inverse = 1.0f / walk.divisor;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / blocks, p = item % blocks * block_rows(d);
        const int64_t h = p * walk.stride - d->pad_top, next = h + (block_rows(d) - 1) * walk.stride + walk.kernel;
        const float *image = t->x + n * d->in_height * row;
        bool nan = false;
        walk.rows = (int)fc_min(block_rows(d), d->out_height - p);
        for (int l = 0; l < (walk.rows - 1) * walk.stride + walk.kernel; l++)
            walk.x[l] = h + l < 0 || h + l >= d->in_height ? t->identity : image + (h + l) * row;
        walk.y = t->y + (n * d->out_height + p) * d->out_width * d->channels;
        walk.ahead = t->far ? image + next * row : NULL;
        t->ctx->kernels->pool_walk(&walk, &nan);
        if (nan)
            for (int64_t i = 0; i < walk.rows; i++) fc_pool_row(t, n, p + i, 0, d->channels);
    }
    fc_stream_end();
}

void fc_pool_walk_run(fc_pool_task *t, void *workspace) {
    const fc_pool2d *d = t->pool;
    const int64_t bytes = d->batch * d->in_height * d->in_width * d->channels * (int64_t)sizeof(float);
    t->identity = workspace;
    t->far = bytes > FC_POOL_FAR_BYTES;
    /* A walk with fewer lanes writes parts of lines, which past the caches cost more than they save. */
    t->stream = t->stream && t->ctx->kernels->lanes == 16;
    for (int64_t i = 0; i < d->in_width * d->channels; i++) t->identity[i] = t->average ? 0.0f : -__builtin_inff();
    fc_parallel(d->batch * fc_ceil_div(d->out_height, block_rows(d)), fc_threads_for_memory(bytes, t->ctx),
                walk_blocks, t);
}
