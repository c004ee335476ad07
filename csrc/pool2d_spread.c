/* pool2d_spread.c - the gradient of an average of few channels.
 *
 * Vectors of channels would be empty for the most part: each row of dx is first the sum of the rows of dy whose windows
 * cover it, times the factors, as one run of windows * channels; then of its windows, a pixel at a time.
 */
#include <string.h>

#include "parallel.h"
#include "pool2d.h"

/* The sums of a run of windows lie on the stack, in L1. */
enum { SPREAD_FLOATS = 2048, SPREAD_CHANNELS = 8 };

/* Windows that cover one column, at most. */
static int64_t covering(const fc_pool2d *d) { return (d->kernel_width - 1) / d->stride_width + 1; }

bool fc_pool_spread_supports(const fc_pool2d *d) {
    return !d->adaptive && d->channels <= SPREAD_CHANNELS && covering(d) <= SPREAD_FLOATS / SPREAD_CHANNELS / 2;
}

/* The end of the windows from q on that have the size of q: those that are whole lie together. */
static int64_t end_of_size(const fc_pool_axis *axis, int64_t q, int64_t end) {
    if (fc_window_size(axis, q) != axis->kernel) return q + 1;
    while (fc_window_size(axis, end - 1) != axis->kernel) end--;
    return end;
}

/* line[q - first][c] = the sum over the rows [p, p_end) of dy times its factor, windows [first, last). */
static void sum_rows(const fc_pool2d *d, const float *dy, int64_t p, int64_t p_end, int64_t first, int64_t last,
                     float *restrict line) {
    const fc_pool_axis rows = fc_pool_rows(d), columns = fc_pool_columns(d);
    const int64_t channels = d->channels;
    for (int64_t i = 0; i < (last - first) * channels; i++) line[i] = 0.0f;
    for (; p < p_end; p++) {
        const float *from = dy + (p * d->out_width + first) * channels;
        for (int64_t q = first, end; q < last; q = end) {
            end = end_of_size(&columns, q, last);
            const float scale =
                1.0f / fc_pool_divisor(d, fc_window_size(&rows, p), fc_window_size(&columns, q));
            for (int64_t i = (q - first) * channels; i < (end - first) * channels; i++) line[i] += from[i] * scale;
        }
    }
}

/* The columns [w, w_end) of a row; *q and *q_end are the windows of the column before, as fc_next_covering_windows
 * wants them. */
static inline void sum_columns(const fc_pool_axis *axis, const int64_t channels, const float *line, int64_t first,
                               int64_t w, int64_t w_end, int64_t *q, int64_t *q_end, float *restrict dx) {
    for (; w < w_end; w++) {
        float sum[SPREAD_CHANNELS] = {0};
        fc_next_covering_windows(axis, w, q, q_end);
        for (int64_t i = *q; i < *q_end; i++)
            for (int64_t c = 0; c < channels; c++) sum[c] += line[(i - first) * channels + c];
        for (int64_t c = 0; c < channels; c++) dx[w * channels + c] = sum[c];
    }
}

static void spread_row(const fc_pool2d *d, const float *dy, int64_t p, int64_t p_end, float *dx) {
    const fc_pool_axis axis = fc_pool_columns(d);
    const int64_t chunk = SPREAD_FLOATS / d->channels - covering(d);
    int64_t q = 0, q_end = 0;
    float line[SPREAD_FLOATS];
    for (int64_t w = 0, w_end; w < d->in_width; w = w_end) {
        int64_t first, last, unused;
        w_end = fc_min(w + chunk, d->in_width);
        fc_covering_windows(&axis, w, &first, &unused);
        fc_covering_windows(&axis, w_end - 1, &unused, &last);
        sum_rows(d, dy, p, p_end, first, last, line);
        if (d->channels == 1)
            sum_columns(&axis, 1, line, first, w, w_end, &q, &q_end, dx);
        else if (d->channels == 3)
            sum_columns(&axis, 3, line, first, w, w_end, &q, &q_end, dx);
        else
            sum_columns(&axis, d->channels, line, first, w, w_end, &q, &q_end, dx);
    }
}

static void spread_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d);
    const int64_t row = d->in_width * d->channels;
    int64_t before = -1, before_end = -1; /* the windows of the row before */
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / d->in_height, h = item % d->in_height;
        float *dx = t->dx + item * row;
        int64_t p, p_end;
        fc_covering_windows(&rows, h, &p, &p_end);
        if (item > begin && h > 0 && p == before && p_end == before_end)
            memcpy(dx, dx - row, (size_t)row * sizeof(float));
        else
            spread_row(d, t->dy + n * d->out_height * d->out_width * d->channels, p, p_end, dx);
        before = p, before_end = p_end;
    }
}

void fc_pool_spread_run(fc_pool_task *t) {
    const fc_pool2d *d = t->pool;
    const int64_t bytes = d->batch * d->in_height * d->in_width * d->channels * (int64_t)sizeof(float);
    fc_parallel(d->batch * d->in_height, fc_threads_for_memory(bytes, t->ctx), spread_rows, t);
}
