/* pool2d_lines.c - pooling whose windows are one apart: maxima or sums of rows into scratch, then of columns into y.
 *
 * An item is a block of four output rows of some channels. In scratch a row has its padding, as elements that change
 * nothing (-inf, 0), so that all windows are whole: a 3 x 3 window then takes 3 loads and 3.5 operations instead of 9
 * and 8, one of 5 x 5 takes 4 and 5.5 instead of 25 and 24.
 */
#include "kernels/kernels.h"
#include "parallel.h"
#include "pool2d.h"

/* Scratch of a block: well within L2, so that all channels of most layers go together and x is read as whole rows. In L1
 * instead (64 KB with 64 channels at least) 64 x 512 x 13 x 13 with 5 x 5 took 2.6 ms instead of 2.0. */
enum { LINES_SCRATCH = 256 * 1024, LINES_CHANNELS = 64 };

static int64_t padded_width(const fc_pool2d *d) { return d->out_width + d->kernel_width - 1; }

static int64_t row_blocks(const fc_pool2d *d) { return fc_ceil_div(d->out_height, FC_POOL_LINE_OUTPUTS); }

/* As many channels as the scratch holds, but fewer where there would not be some items for each thread. */
static int64_t channels_of_block(const fc_pool2d *d, int threads) {
    const int64_t line = LINES_SCRATCH / (int64_t)sizeof(float) / FC_POOL_LINE_OUTPUTS / padded_width(d);
    const int64_t fit = fc_max(line / LINES_CHANNELS, 1), rows = fc_max(d->batch * row_blocks(d), 1);
    const int64_t units = fc_ceil_div(d->channels, LINES_CHANNELS);
    const int64_t blocks = fc_min(fc_max(fc_ceil_div(units, fit), threads == 1 ? 1 : fc_ceil_div(4 * threads, rows)), units);
    return fc_min(fc_round_up(fc_ceil_div(d->channels, blocks), 16), d->channels);
}

bool fc_pool_lines_supports(const fc_pool2d *d, bool average) {
    /* Sums of up to 16 taps an axis: longer ones are compensated, see avg_pool_run. 2 x 2 windows gain nothing. */
    const int64_t limit = average ? 16 : FC_POOL_LINE_TAPS;
    return !d->adaptive && d->stride_height == 1 && d->stride_width == 1 && d->dilation_height == 1 &&
           d->dilation_width == 1 && fc_min(d->kernel_height, d->kernel_width) >= 3 && d->channels > 0 &&
           fc_max(d->kernel_height, d->kernel_width) <= limit;
}

static int64_t identity_floats(const fc_pool2d *d) { return fc_round_up(d->in_width * d->channels, 16); }

static int64_t scratch_floats(const fc_pool2d *d, int threads) {
    return fc_round_up(FC_POOL_LINE_OUTPUTS * padded_width(d) * channels_of_block(d, threads), 16);
}

int64_t fc_pool_lines_workspace_bytes(const fc_pool2d *d, const fc_context *ctx) {
    return (identity_floats(d) + ctx->num_threads * scratch_floats(d, ctx->num_threads)) * (int64_t)sizeof(float);
}

static void fill(float *y, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) y[i] = value;
}

/* The rows of the batch up to the last one that the block of row p of image n reads. */
static int64_t rows_read(const fc_pool2d *d, int64_t n, int64_t p) {
    const int64_t rows = fc_min(FC_POOL_LINE_OUTPUTS, d->out_height - p);
    return n * d->in_height + fc_min(p + rows + d->kernel_height - 1 - d->pad_top, d->in_height);
}

/* How many rows the block after that one reads anew: those that follow, of the next image too. */
static int64_t rows_anew(const fc_pool_task *t, int64_t n, int64_t p) {
    const fc_pool2d *d = t->pool;
    const bool last = p + FC_POOL_LINE_OUTPUTS >= d->out_height;
    if (!t->far || (last && (n + 1 == d->batch || t->channel_blocks > 1))) return 0;
    return rows_read(d, n + last, last ? 0 : p + FC_POOL_LINE_OUTPUTS) - rows_read(d, n, p);
}

/* The rows [p, p + rows) of maxima or sums, channels [c, c + channels), into scratch: false where an element is NaN. */
static bool pool_vertically(const fc_pool_task *t, int64_t n, int64_t p, int64_t rows, int64_t c, int64_t channels,
                            float *scratch) {
    const fc_pool2d *d = t->pool;
    const int64_t line = padded_width(d) * channels, row = d->in_width * d->channels;
    const int64_t anew = rows_anew(t, n, p), calls = rows == FC_POOL_LINE_OUTPUTS ? 1 : rows;
    bool nan = false;
    fc_pool_lines lines = {
        .kind = t->average ? FC_LINES_SUM : FC_LINES_MAX,
        .taps = d->kernel_height,
        .outputs = (int)(rows / calls),
        .x_step = d->channels,
        .y_line = line,
        .y_step = channels,
        .columns = channels == d->channels ? 1 : d->in_width,
        .count = channels == d->channels ? row : channels,
        .ahead = anew > 0 ? t->x + rows_read(d, n, p) * row + c : NULL,
        .ahead_line = row,
    };
    for (int64_t i = 0; i < rows; i += lines.outputs) {
        for (int64_t l = 0; l < lines.taps + lines.outputs - 1; l++) {
            const int64_t h = p + i + l - d->pad_top;
            lines.x[l] = h < 0 || h >= d->in_height ? t->identity : t->x + (n * d->in_height + h) * row + c;
        }
        lines.ahead_lines = anew * (i / lines.outputs + 1) / calls - anew * (i / lines.outputs) / calls;
        lines.y = scratch + i * line + d->pad_left * channels;
        t->ctx->kernels->pool_lines(&lines, &nan);
        if (lines.ahead) lines.ahead += lines.ahead_lines * row;
    }
    return !nan;
}

/* The output columns [begin, end) of a row, all of the same divisor. */
static void pool_columns(const fc_pool_task *t, fc_pool_lines lines, const float *scratch, int64_t begin, int64_t end,
                         int64_t channels, float *y) {
    const int64_t pixel = t->pool->channels;
    bool nan;
    int64_t q = begin;
    if (channels < 16 && channels == pixel) {
        /* Columns lie side by side like channels, and fill the vectors whatever their number. */
        lines.outputs = lines.columns = 1;
        lines.count = (end - begin) * channels;
    } else {
        lines.outputs = FC_POOL_LINE_OUTPUTS;
        lines.columns = (end - begin) / FC_POOL_LINE_OUTPUTS;
        lines.count = channels;
    }
    lines.x_step = lines.outputs * channels;
    lines.y_step = lines.outputs * pixel;
    lines.y_line = pixel;
    for (;;) {
        for (int64_t l = 0; l < lines.taps + lines.outputs - 1; l++) lines.x[l] = scratch + (q + l) * channels;
        lines.y = y + q * pixel;
        if (lines.columns > 0) t->ctx->kernels->pool_lines(&lines, &nan);
        q += lines.outputs * lines.columns;
        if (lines.outputs == 1 || q == end) return;
        lines.outputs = 1;
        lines.x_step = channels;
        lines.y_step = pixel;
        lines.columns = end - q;
    }
}

/* One output row from its line of scratch. */
static void pool_horizontally(const fc_pool_task *t, const float *scratch, int64_t p, int64_t channels, float *y) {
    const fc_pool2d *d = t->pool;
    const fc_pool_axis rows = fc_pool_rows(d), columns = fc_pool_columns(d);
    const int64_t size = fc_window_size(&rows, p);
    fc_pool_lines lines = {.kind = t->average ? FC_LINES_MEAN : FC_LINES_NUMBERS, .taps = d->kernel_width,
                           .stream = t->stream};
    for (int64_t q = 0, end; q < d->out_width; q = end) {
        const int64_t width = fc_window_size(&columns, q);
        for (end = q + 1; end < d->out_width && (!t->average || fc_window_size(&columns, end) == width); end++) {}
        lines.divisor = fc_pool_divisor(d, size, width);
        pool_columns(t, lines, scratch, q, end, channels, y);
    }
}

static void run_items(void *arg, int64_t begin, int64_t end, int thread) {
    const fc_pool_task *t = arg;
    const fc_pool2d *d = t->pool;
    const int64_t blocks = row_blocks(d), width = padded_width(d);
    const int64_t block_channels = channels_of_block(d, t->ctx->num_threads);
    float *scratch = t->scratch + thread * t->scratch_floats;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / (t->channel_blocks * blocks), c = item / blocks % t->channel_blocks * block_channels;
        const int64_t p = item % blocks * FC_POOL_LINE_OUTPUTS, channels = fc_min(block_channels, d->channels - c);
        const int64_t rows = fc_min(FC_POOL_LINE_OUTPUTS, d->out_height - p), line = width * channels;
        for (int64_t i = 0; i < rows; i++) {
            const int64_t after = d->pad_left + d->in_width;
            fill(scratch + i * line, d->pad_left * channels, t->identity[0]);
            if (after < width) fill(scratch + i * line + after * channels, (width - after) * channels, t->identity[0]);
        }
        if (pool_vertically(t, n, p, rows, c, channels, scratch)) {
            float *y = t->y + (n * d->out_height + p) * d->out_width * d->channels + c;
            for (int64_t i = 0; i < rows; i++)
                pool_horizontally(t, scratch + i * line, p + i, channels, y + i * d->out_width * d->channels);
        } else {
            for (int64_t i = 0; i < rows; i++) fc_pool_row(t, n, p + i, c, channels);
        }
    }
    fc_stream_end();
}

void fc_pool_lines_run(fc_pool_task *t, void *workspace) {
    const fc_pool2d *d = t->pool;
    const int64_t elements = d->batch * d->in_height * d->in_width * d->channels;
    t->identity = workspace;
    t->far = elements * (int64_t)sizeof(float) > FC_POOL_FAR_BYTES;
    t->scratch = t->identity + identity_floats(d);
    t->scratch_floats = scratch_floats(d, t->ctx->num_threads);
    t->channel_blocks = fc_ceil_div(d->channels, channels_of_block(d, t->ctx->num_threads));
    fill(t->identity, identity_floats(d), t->average ? 0.0f : -__builtin_inff());
    fc_parallel(d->batch * t->channel_blocks * row_blocks(d),
                fc_threads_for_memory(elements * (int64_t)sizeof(float), t->ctx), run_items, t);
}
