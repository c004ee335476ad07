/* unfold.c - the windows of images as columns (im2col, as torch.nn.functional.unfold lays them out), and their sums
 * back.
 *
 * A row of columns holds one channel at one tap: pieces of that channel's plane. So blocks of channels and rows are
 * turned into planes in scratch first (within L2). With a stride along the width, a line of a plane lies there phase
 * by phase: the pixels 0, stride, 2 * stride, ..., then 1, stride + 1, ..., so that what a tap meets is contiguous
 * too. Fold gathers: each phase of a line is the sum of the pieces that were copied from it, in the order of the taps,
 * and planes are turned back.
 */
#include "kernels/kernels.h"
#include "parallel.h"
#include "plan.h"

/* Channels of a block fill half a cache line of NHWC memory; floats of its planes (512 KB: 64 channels of 112 x 112
 * took 7.0 ms so, 8.8 with 16 channels of 256 KB). */
enum { BLOCK_CHANNELS = 8, BLOCK_FLOATS = 131072 };

/* ---------------------------------------------------------------------------------------------------------- plan */

static bool between(const int64_t *values, int count, int64_t low) {
    for (int i = 0; i < count; i++)
        if (values[i] < low || values[i] > INT32_MAX) return false;
    return true;
}

static fc_status refuse(fc_error *error, const char *argument, const char *rule, int count, const int64_t *values) {
    return fc_refuse(error, FC_BAD_GEOMETRY, argument, rule, count, values);
}

fc_status fc_unfold_plan(fc_unfold *d, fc_error *error) {
    const int64_t shape[] = {d->batch, d->channels, d->height, d->width};
    const int64_t kernel[] = {d->kernel_height, d->kernel_width}, stride[] = {d->stride_height, d->stride_width};
    const int64_t dilation[] = {d->dilation_height, d->dilation_width}, pad[] = {d->pad_height, d->pad_width};
    if (d->batch < 0 || d->channels < 1 || !between(shape + 2, 2, 1) || !fc_extent_ok(shape, 4))
        return refuse(error, "x_shape", "channels, height and width must be >= 1", 4, shape);
    if (!between(kernel, 2, 1))
        return refuse(error, "kernel_size", "every kernel_size must be >= 1 and < 2**31", 2, kernel);
    if (!between(stride, 2, 1)) return refuse(error, "stride", "every stride must be >= 1 and < 2**31", 2, stride);
    if (!between(dilation, 2, 1))
        return refuse(error, "dilation", "every dilation must be >= 1 and < 2**31", 2, dilation);
    if (!between(pad, 2, 0)) return refuse(error, "padding", "every pad must be >= 0 and < 2**31", 2, pad);
    d->out_height = fc_floor_div(shape[2] + 2 * pad[0] - dilation[0] * (kernel[0] - 1) - 1, stride[0]) + 1;
    d->out_width = fc_floor_div(shape[3] + 2 * pad[1] - dilation[1] * (kernel[1] - 1) - 1, stride[1]) + 1;
    if (fc_min(d->out_height, d->out_width) < 1)
        return refuse(error, "kernel_size", "the dilated kernel must fit in the padded input", 2, kernel);
    const int64_t columns[] = {d->batch, d->channels, kernel[0], kernel[1], d->out_height, d->out_width};
    return fc_extent_ok(columns, 6) ? FC_OK : refuse(error, "kernel_size", "the columns must fit in memory", 2, kernel);
}

/* ---------------------------------------------------------------------------------------------------------- task */

/* Tap s of a line: its step q meets pixel q + shift of the phase, for the steps [begin, end). */
typedef struct tap_phase { int64_t phase, shift, begin, end; } tap_phase;

typedef struct unfold_task {
    const fc_unfold *d;
    const fc_context *ctx;
    const float *from;
    float *to;
    int64_t channel_block, channel_blocks, row_block, row_blocks; /* rows of the output of unfold, or of fold */
    int64_t plane_rows; /* of a block in scratch */
    char *scratch;      /* of each thread: planes; fold: offsets and ones too */
    int64_t scratch_bytes, planes_bytes, line_taps_bytes, taps;
    tap_phase *line_taps; /* of fold: before the scratch of the threads */
} unfold_task;

static unfold_task make_task(const fc_unfold *d, bool fold, const fc_context *ctx) {
    unfold_task t = {.d = d, .ctx = ctx, .taps = d->kernel_height * d->kernel_width};
    const int64_t reach = d->dilation_height * (d->kernel_height - 1) + 1;
    t.channel_block = fc_min(d->channels, BLOCK_CHANNELS);
    t.channel_blocks = fc_ceil_div(d->channels, t.channel_block);
    const int64_t rows = fc_max(1, BLOCK_FLOATS / (t.channel_block * d->width));
    if (fold) {
        t.row_block = t.plane_rows = fc_min(rows, d->height);
        t.row_blocks = fc_ceil_div(d->height, t.row_block);
    } else {
        t.row_block = fc_min(d->out_height, fc_max(0, rows - reach) / d->stride_height + 1);
        t.row_blocks = fc_ceil_div(d->out_height, t.row_block);
        t.plane_rows = fc_min(d->height, (t.row_block - 1) * d->stride_height + reach);
    }
    t.planes_bytes = fold || !d->planes ? t.channel_block * t.plane_rows * d->width * (int64_t)sizeof(float) : 0;
    t.planes_bytes = fc_round_up(t.planes_bytes, FC_ALIGNMENT);
    t.scratch_bytes = t.planes_bytes + (fold ? t.taps * (int64_t)(2 * sizeof(int64_t) + sizeof(float)) : 0);
    t.scratch_bytes = fc_round_up(t.scratch_bytes, FC_ALIGNMENT);
    t.line_taps_bytes = fold ? fc_round_up(d->kernel_width * (int64_t)sizeof(tap_phase), FC_ALIGNMENT) : 0;
    return t;
}

int64_t fc_unfold_workspace_bytes(const fc_unfold *d, const fc_context *ctx) {
    const unfold_task unfold = make_task(d, false, ctx), fold = make_task(d, true, ctx);
    return fold.line_taps_bytes + ctx->num_threads * fc_max(unfold.scratch_bytes, fold.scratch_bytes);
}

static void run(unfold_task *t, fc_range_task blocks) {
    const fc_unfold *d = t->d;
    const int64_t size = d->batch * d->channels * t->taps * d->out_height * d->out_width;
    const int threads = fc_threads_for_memory(2 * size * (int64_t)sizeof(float), t->ctx);
    fc_parallel(d->batch * t->channel_blocks * t->row_blocks, threads, blocks, t);
}

/* The steps [*begin, *end) of `count` whose tap lies in the image: 0 <= step * stride + offset < size. */
static void steps_inside(int64_t offset, int64_t stride, int64_t size, int64_t count, int64_t *begin, int64_t *end) {
    *begin = offset < 0 ? fc_min(count, fc_ceil_div(-offset, stride)) : 0;
    *end = offset >= size ? *begin : fc_max(*begin, fc_min(count, (size - 1 - offset) / stride + 1));
}

/* Of a line of `width` pixels, phase f: how many pixels, and where it begins. */
static int64_t phase_length(const fc_unfold *d, int64_t f) {
    return fc_max(0, fc_ceil_div(d->width - f, d->stride_width));
}
static int64_t phase_begin(const fc_unfold *d, int64_t f) {
    return f * (d->width / d->stride_width) + fc_min(f, d->width % d->stride_width);
}

static tap_phase phase_of_tap(const fc_unfold *d, int64_t s) {
    const int64_t offset = s * d->dilation_width - d->pad_width;
    tap_phase tap = {.shift = fc_floor_div(offset, d->stride_width)};
    tap.phase = offset - tap.shift * d->stride_width;
    steps_inside(offset, d->stride_width, d->width, d->out_width, &tap.begin, &tap.end);
    return tap;
}

static int64_t phases(const fc_unfold *d) { return fc_min(d->stride_width, d->width); }
/* Where pieces would be short, lines lie as they are. */
enum { MOST_PHASES = 4 };
static bool by_phases(const fc_unfold *d) {
    return d->stride_width > 1 && d->stride_width <= MOST_PHASES && !d->planes;
}

/* Patches side by side, as of a vision transformer: a line of windows is the transpose of a line of pixels. */
static bool are_patches(const fc_unfold *d) {
    return d->stride_width > MOST_PHASES && d->kernel_width == d->stride_width && d->dilation_width == 1 &&
           d->pad_width == 0 && d->dilation_height == 1 && d->kernel_height <= d->stride_height;
}

/* -------------------------------------------------------------------------------------------------------- unfold */

/* The output rows [p, p_end) of one channel and tap; `plane` holds the input rows from `first` on, phase by phase. */
static void unfold_tap(const fc_unfold *d, int64_t r, int64_t s, int64_t p, int64_t p_end, const float *plane,
                       int64_t first, float *to) {
    const int64_t width = d->out_width;
    const tap_phase tap = phase_of_tap(d, s);
    const int64_t q_begin = tap.begin, q_end = tap.end;
    const bool strided = d->stride_width > 1 && !by_phases(d);
    const int64_t start = strided ? s * d->dilation_width - d->pad_width : phase_begin(d, tap.phase) + tap.shift;
    for (; p < p_end; p++, to += width) {
        const int64_t h = p * d->stride_height - d->pad_height + r * d->dilation_height;
        if (h < 0 || h >= d->height || q_begin == q_end) {
            memset(to, 0, (size_t)width * sizeof(float));
            continue;
        }
        const float *line = plane + (h - first) * d->width + start;
        for (int64_t q = 0; q < q_begin; q++) to[q] = 0;
        if (strided)
            for (int64_t q = q_begin; q < q_end; q++) to[q] = line[q * d->stride_width];
        else
            memcpy(to + q_begin, line + q_begin, (size_t)(q_end - q_begin) * sizeof(float));
        for (int64_t q = q_end; q < width; q++) to[q] = 0;
    }
}

/* The same of all taps, of patches. */
static void unfold_patches(const unfold_task *t, int64_t p, int64_t p_end, const float *plane, int64_t first,
                           float *to) {
    const fc_unfold *d = t->d;
    const int64_t pixels = d->out_height * d->out_width;
    for (; p < p_end; p++, to += d->out_width)
        for (int64_t r = 0; r < d->kernel_height; r++) {
            const int64_t h = p * d->stride_height - d->pad_height + r;
            float *rows = to + r * d->kernel_width * pixels;
            if (h >= 0 && h < d->height)
                t->ctx->kernels->transpose_block(d->out_width, d->kernel_width, plane + (h - first) * d->width,
                                                 d->kernel_width, rows, pixels);
            else
                for (int64_t s = 0; s < d->kernel_width; s++)
                    memset(rows + s * pixels, 0, (size_t)d->out_width * sizeof(float));
        }
}

/* `count` channels of the input rows [h, h_end) to planes. */
static void make_planes(const unfold_task *t, int64_t h, int64_t h_end, int64_t count, const float *x, float *planes) {
    const fc_unfold *d = t->d;
    const int64_t size = (h_end - h) * d->width;
    if (!by_phases(d)) {
        t->ctx->kernels->transpose_block(size, count, x, d->channels, planes, size);
        return;
    }
    for (int64_t row = 0; row < h_end - h; row++)
        for (int64_t f = 0; f < phases(d); f++)
            t->ctx->kernels->transpose_block(phase_length(d, f), count, x + (row * d->width + f) * d->channels,
                                             d->stride_width * d->channels, planes + row * d->width + phase_begin(d, f),
                                             size);
}

/* Items: rows of the output, of a block of channels of an image. */
static void unfold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t reach = d->dilation_height * (d->kernel_height - 1), pixels = d->out_height * d->out_width;
    float *planes = (float *)(t->scratch + thread * t->scratch_bytes);
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks;
        const int64_t c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t p = item % t->row_blocks * t->row_block, p_end = fc_min(p + t->row_block, d->out_height);
        const int64_t count = fc_min(t->channel_block, d->channels - c);
        int64_t first = fc_max(0, fc_min(d->height - 1, p * d->stride_height - d->pad_height));
        const int64_t lowest = (p_end - 1) * d->stride_height - d->pad_height + reach;
        const int64_t last = fc_max(first, fc_min(d->height - 1, lowest));
        const float *plane = planes;
        int64_t plane_size = (last - first + 1) * d->width;
        if (d->planes) {
            plane = t->from + (n * d->channels + c) * d->height * d->width;
            plane_size = d->height * d->width, first = 0;
        } else {
            const float *x = t->from + (n * d->height + first) * d->width * d->channels + c;
            make_planes(t, first, last + 1, count, x, planes);
        }
        for (int64_t i = 0; i < count; i++, plane += plane_size) {
            float *to = t->to + (n * d->channels + c + i) * t->taps * pixels + p * d->out_width;
            if (are_patches(d))
                unfold_patches(t, p, p_end, plane, first, to);
            else
                for (int64_t tap = 0; tap < t->taps; tap++)
                    unfold_tap(d, tap / d->kernel_width, tap % d->kernel_width, p, p_end, plane, first,
                               to + tap * pixels);
        }
    }
}

void fc_unfold_forward(const fc_unfold *d, const float *x, float *columns, void *workspace, const fc_context *ctx) {
    unfold_task t = make_task(d, false, ctx);
    t.from = x, t.to = columns, t.scratch = workspace;
    run(&t, unfold_blocks);
}

/* ---------------------------------------------------------------------------------------------------------- fold */

/* The rows [*p, *p_end) of the output that have a tap in row h of the input: row p the tap (h + pad - p * stride) /
 * dilation, where that is whole. */
static void rows_with_taps(const fc_unfold *d, int64_t h, int64_t *p, int64_t *p_end) {
    const int64_t at = h + d->pad_height, reach = (d->kernel_height - 1) * d->dilation_height;
    *p = at <= reach ? 0 : fc_ceil_div(at - reach, d->stride_height);
    *p_end = fc_max(*p, fc_min(d->out_height, at / d->stride_height + 1));
}

/* Row h of a plane with a long stride: every tap adds its steps. */
static void fold_strided(const unfold_task *t, const float *columns, int64_t h, float *to) {
    const fc_unfold *d = t->d;
    int64_t first, p;
    memset(to, 0, (size_t)d->width * sizeof(float));
    rows_with_taps(d, h, &first, &p);
    while (p-- > first) { /* from the first tap to the last */
        const int64_t at = h + d->pad_height - p * d->stride_height, r = at / d->dilation_height;
        if (at % d->dilation_height) continue;
        const float *rows = columns + (r * d->kernel_width * d->out_height + p) * d->out_width;
        if (are_patches(d)) {
            t->ctx->kernels->transpose_block(d->kernel_width, d->out_width, rows, d->out_height * d->out_width, to,
                                             d->kernel_width);
            continue;
        }
        for (int64_t s = 0; s < d->kernel_width; s++, rows += d->out_height * d->out_width) {
            float *pixels = to + s * d->dilation_width - d->pad_width;
            for (int64_t q = t->line_taps[s].begin; q < t->line_taps[s].end; q++)
                pixels[q * d->stride_width] += rows[q];
        }
    }
}

/* What adds up to one phase of one row: pixel i is the sum over k < count of columns[at[k] + i], where 0 <= i -
 * shift[k] < out_width; for the pixels [begin, end) all of them. */
typedef struct fold_terms { int64_t count, begin, end, length, *at, *shift; } fold_terms;

/* Phase f of row h. */
static void find_terms(const unfold_task *t, int64_t h, int64_t f, fold_terms *terms) {
    const fc_unfold *d = t->d;
    terms->count = terms->begin = 0;
    terms->length = terms->end = phase_length(d, f);
    int64_t first, p;
    rows_with_taps(d, h, &first, &p);
    while (p-- > first) { /* from the first tap to the last */
        const int64_t at = h + d->pad_height - p * d->stride_height, r = at / d->dilation_height;
        if (at % d->dilation_height) continue;
        for (int64_t s = 0; s < d->kernel_width; s++) {
            const tap_phase tap = t->line_taps[s];
            if (tap.phase != f || tap.begin == tap.end) continue;
            terms->at[terms->count] = ((r * d->kernel_width + s) * d->out_height + p) * d->out_width - tap.shift;
            terms->shift[terms->count++] = tap.shift;
            terms->begin = fc_max(terms->begin, tap.begin + tap.shift);
            terms->end = fc_min(terms->end, tap.end + tap.shift);
        }
    }
    terms->begin = fc_min(terms->begin, terms->length);
    terms->end = terms->count ? fc_max(terms->begin, terms->end) : terms->begin;
}

/* The pixels [i, end), near the ends of a phase. */
static void fold_border(const fold_terms *terms, int64_t out_width, const float *columns, int64_t i, int64_t end,
                        float *to) {
    for (; i < end; i++) {
        float sum = 0;
        for (int64_t k = 0; k < terms->count; k++) {
            const int64_t q = i - terms->shift[k];
            if (q >= 0 && q < out_width) sum += columns[terms->at[k] + i];
        }
        to[i] = sum;
    }
}

static void fold_phase(const unfold_task *t, const fold_terms *terms, const float *ones, const float *columns,
                       float *to) {
    fold_border(terms, t->d->out_width, columns, 0, terms->begin, to);
    if (terms->begin < terms->end)
        t->ctx->kernels->weighted_rows(terms->count, columns + terms->begin, terms->at, ones, terms->end - terms->begin,
                                       to + terms->begin);
    fold_border(terms, t->d->out_width, columns, terms->end, terms->length, to);
}

/* `count` planes of the rows [h, h_end) to the result. */
static void store_planes(const unfold_task *t, int64_t h, int64_t h_end, int64_t count, const float *planes, float *y) {
    const fc_unfold *d = t->d;
    const int64_t size = (h_end - h) * d->width;
    if (!by_phases(d)) {
        t->ctx->kernels->transpose_block(count, size, planes, size, y, d->channels);
        return;
    }
    for (int64_t row = 0; row < h_end - h; row++)
        for (int64_t f = 0; f < phases(d); f++)
            t->ctx->kernels->transpose_block(count, phase_length(d, f), planes + row * d->width + phase_begin(d, f),
                                             size, y + (row * d->width + f) * d->channels, d->stride_width * d->channels);
}

/* Items: rows of the result, of a block of channels of an image. */
static void fold_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const unfold_task *t = arg;
    const fc_unfold *d = t->d;
    const int64_t columns_size = t->taps * d->out_height * d->out_width;
    float *planes = (float *)(t->scratch + thread * t->scratch_bytes);
    int64_t *space = (int64_t *)(t->scratch + thread * t->scratch_bytes + t->planes_bytes);
    fold_terms terms = {.at = space, .shift = space + t->taps};
    float *ones = (float *)(space + 2 * t->taps);
    for (int64_t k = 0; k < t->taps; k++) ones[k] = 1.0f;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / t->row_blocks / t->channel_blocks;
        const int64_t c = item / t->row_blocks % t->channel_blocks * t->channel_block;
        const int64_t h = item % t->row_blocks * t->row_block, h_end = fc_min(h + t->row_block, d->height);
        const int64_t count = fc_min(t->channel_block, d->channels - c), size = (h_end - h) * d->width;
        const float *columns = t->from + (n * d->channels + c) * columns_size;
        for (int64_t row = h; row < h_end; row++) {
            float *line = planes + (row - h) * d->width;
            if (d->stride_width > MOST_PHASES) {
                for (int64_t i = 0; i < count; i++) fold_strided(t, columns + i * columns_size, row, line + i * size);
                continue;
            }
            for (int64_t f = 0; f < phases(d); f++) {
                float *to = line + phase_begin(d, f);
                find_terms(t, row, f, &terms);
                for (int64_t i = 0; i < count; i++)
                    fold_phase(t, &terms, ones, columns + i * columns_size, to + i * size);
            }
        }
        store_planes(t, h, h_end, count, planes, t->to + (n * d->height + h) * d->width * d->channels + c);
    }
}

void fc_fold_forward(const fc_unfold *d, const float *columns, float *y, void *workspace, const fc_context *ctx) {
    unfold_task t = make_task(d, true, ctx);
    t.from = columns, t.to = y, t.scratch = (char *)workspace + t.line_taps_bytes, t.line_taps = workspace;
    for (int64_t s = 0; s < d->kernel_width; s++) t.line_taps[s] = phase_of_tap(d, s);
    run(&t, fold_blocks);
}
