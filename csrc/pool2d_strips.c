/* pool2d_strips.c - the gradient of a maximum of large windows one apart, an output at a time: dx[its index] += dy.
 *
 * A gather asks each element kernel^2 times; this takes one addition an output, however large the window. Rows of dx
 * of a strip of channels are summed in scratch, where they lie side by side: in place, where pixels are a power of two
 * apart, the rows of a window fall on few sets of L1. Windows are taken in their order, so that each sum has the order
 * of the gather of pool2d.c.
 */
#include "kernels/kernels.h"
#include "parallel.h"
#include "pool2d.h"

/* 64 x 512 x 13 x 13, 5 x 5, Zen 4: with strips of 32 channels sums wait for each other (5.9 ms instead of 4.0). */
enum { STRIP = FC_POOL_STRIP_CHANNELS, STRIP_BYTES = 512 * 1024, LEAST_TAPS = 16, LEAST_CHANNELS = 32, FETCHED = 2 };

/* Rows in scratch: those of the window, and as many again before they are moved to its start. */
static int64_t strip_rows(const fc_pool2d *d) { return fc_min(2 * d->kernel_height, d->in_height); }

static int64_t strip_floats(const fc_pool2d *d) { return strip_rows(d) * d->in_width * STRIP; }

bool fc_pool_strips_supports(const fc_pool2d *d) {
    if (d->adaptive || d->kernel_height > d->in_height || d->kernel_width > d->in_width) return false;
    return d->stride_height == 1 && d->stride_width == 1 && d->dilation_height == 1 && d->dilation_width == 1 &&
           d->channels >= LEAST_CHANNELS && d->kernel_height * d->kernel_width >= LEAST_TAPS &&
           d->in_width <= STRIP_BYTES / (STRIP * (int64_t)sizeof(float)) / strip_rows(d);
}

int64_t fc_pool_strips_workspace_bytes(const fc_pool2d *d, const fc_context *ctx) {
    return fc_pool_strips_supports(d) ? ctx->num_threads * strip_floats(d) * (int64_t)sizeof(float) : 0;
}

/* From row p of the strip at channel c to the one that is fetched meanwhile, in elements; 0 for none. */
static int64_t ahead_of(const fc_pool_task *t, int64_t n, int64_t c, int64_t p) {
    const fc_pool2d *d = t->pool;
    const int64_t row = d->out_width * d->channels;
    if (!t->far || d->out_height < FETCHED) return 0;
    if (p + FETCHED < d->out_height) return FETCHED * row;
    if (c + STRIP < d->channels) return STRIP + (FETCHED - d->out_height) * row;
    return n + 1 < d->batch ? FETCHED * row - c : 0;
}

/* Rows [h, h_end) of one image and strip. */
static void sum_strip(fc_pool_task *t, int64_t n, int64_t c, int64_t h, int64_t h_end, float *sums) {
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const int64_t pixel = d->channels, channels = fc_min(STRIP, pixel - c), held = strip_rows(d);
    const int64_t row = d->in_width * STRIP, out_row = d->out_width * pixel;
    float *dx = t->dx + n * d->in_height * d->in_width * pixel + c;
    bool ok = true;
    int64_t p, p_end, unused;
    fc_covering_windows(&rows, h, &p, &unused);
    fc_covering_windows(&rows, h_end - 1, &unused, &p_end);
    int64_t base = fc_pool_taps(&rows, p).first; /* the row of the image that comes first in scratch */
    memset(sums, 0, (size_t)(held * row) * sizeof(float));
    for (; p < p_end; p++) {
        const fc_pool_window window = fc_pool_taps(&rows, p);
        if (window.first + window.taps > base + held) {
            const int64_t first = fc_max(base, h), count = fc_min(window.first, h_end) - first;
            const int64_t kept = (base + held - window.first) * row;
            if (count > 0)
                t->ctx->kernels->deliver_strip(count * d->in_width, channels, sums + (first - base) * row,
                                               dx + first * d->in_width * pixel, pixel, t->stream);
            memmove(sums, sums + (window.first - base) * row, (size_t)kept * sizeof(float));
            memset(sums + kept, 0, (size_t)(held * row - kept) * sizeof(float));
            base = window.first;
        }
        const int64_t at = (n * d->out_height + p) * out_row + c;
        const fc_pool_strip strip = {t->dy + at, t->chosen + at, sums + (window.first - base) * row, channels,
                                     ahead_of(t, n, c, p)};
        t->ctx->kernels->max_strip_row(d, p, &strip, &ok);
    }
    const int64_t first = fc_max(base, h);
    t->ctx->kernels->deliver_strip((h_end - first) * d->in_width, channels, sums + (first - base) * row,
                                   dx + first * d->in_width * pixel, pixel, t->stream);
    if (!ok && t->check) __atomic_store_n(&t->refused, true, __ATOMIC_RELAXED);
}

static void sum_strips(void *arg, int64_t begin, int64_t end, int thread) {
    fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const int64_t row_blocks = fc_ceil_div(d->in_height, t->item_rows);
    for (int64_t item = begin; item < end && !__atomic_load_n(&t->refused, __ATOMIC_RELAXED); item++) {
        const int64_t strip = item / row_blocks, h = item % row_blocks * t->item_rows;
        sum_strip(t, strip / t->channel_blocks, strip % t->channel_blocks * STRIP, h,
                  fc_min(h + t->item_rows, d->in_height), t->scratch + thread * t->scratch_floats);
    }
    fc_stream_end();
}

void fc_pool_strips_run(fc_pool_task *t, void *workspace) {
    const fc_pool2d *d = t->pool;
    const int64_t size = d->batch * d->in_height * d->in_width * d->channels;
    const int threads = fc_threads_for_memory(size * (int64_t)sizeof(float), t->ctx);
    t->channel_blocks = fc_ceil_div(d->channels, STRIP);
    t->stream = fc_pool_streams(t->dx, size, d->channels);
    t->far = size * (int64_t)sizeof(float) > FC_POOL_FAR_BYTES;
    t->scratch = workspace, t->scratch_floats = strip_floats(d);
    /* Windows that reach into two blocks of rows are taken twice. */
    const int64_t strips = d->batch * t->channel_blocks;
    t->item_rows = d->in_height;
    if (strips < 2 * threads)
        t->item_rows = fc_max(fc_ceil_div(d->in_height, fc_ceil_div(2 * threads, strips)), 2 * d->kernel_height);
    fc_parallel(strips * fc_ceil_div(d->in_height, t->item_rows), threads, sum_strips, t);
}
