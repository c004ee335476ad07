/* interpolate.c - images of another size: nearest pixel, bilinear, bicubic.
 *
 * Both axes are sparse matrices with 1, 2 or 4 terms an output, made once a call. Forward interpolates source rows
 * along their width first and keeps the last 2 or 4 of them: with twice the size each is used for up to four rows of
 * the output. Backward has the transposed matrices and gathers, the height first: each row of the input sums the
 * output rows that it went to, in ascending order, then each pixel its columns. Rows are independent and the order of
 * sums is fixed. Coordinates are computed in float32 in the same steps as PyTorch's, so that the same pixels are
 * chosen.
 */
#include <math.h>

#include "kernels/kernels.h"
#include "parallel.h"
#include "plan.h"

/* Floats of one kept row: longer ones are cut into blocks of columns, so that all four (24 KB) stay in L1. */
enum { KEPT_FLOATS = 1536 };
/* From so many channels on, pixels fill the vectors, and are used for several rows at once without keeping rows. */
enum { WIDE_CHANNELS = 8 };

/* ---------------------------------------------------------------------------------------------------------- plan */

fc_status fc_interpolate_plan(const fc_interpolate *d, fc_error *error) {
    const int64_t x_shape[] = {d->batch, d->channels, d->in_height, d->in_width};
    const int64_t y_shape[] = {d->batch, d->channels, d->out_height, d->out_width};
    const double factors[] = {d->factor_height, d->factor_width};
    if (fc_min(d->batch, d->channels) < 0 || fc_min(d->in_height, d->in_width) < 1 ||
        fc_max(d->in_height, d->in_width) > INT32_MAX || !fc_extent_ok(x_shape, 4))
        return fc_refuse(error, FC_BAD_GEOMETRY, "x_shape", "height and width must be >= 1 and < 2**31", 4, x_shape);
    if (fc_min(d->out_height, d->out_width) < 1 || fc_max(d->out_height, d->out_width) > INT32_MAX)
        return fc_refuse(error, FC_BAD_GEOMETRY, "size", "every size of the output must be >= 1 and < 2**31", 2,
                         y_shape + 2);
    if (!fc_extent_ok(y_shape, 4))
        return fc_refuse(error, FC_BAD_GEOMETRY, "size", "the output must fit in memory", 4, y_shape);
    for (int i = 0; i < 2; i++)
        if (factors[i] != 0 && !(factors[i] >= 0x1p-31 && factors[i] <= 0x1p31))
            return fc_refuse(error, FC_BAD_GEOMETRY, "scale_factor", "must be between 2**-31 and 2**31", 0, NULL);
    if (d->align_corners && d->mode != FC_BILINEAR && d->mode != FC_BICUBIC)
        return FC_REFUSE(error, FC_BAD_GEOMETRY, "align_corners", "is for the modes that interpolate", 1);
    return FC_OK;
}

/* ------------------------------------------------------------------------------------------------------ matrices */

/* Of one axis. Output i is the sum of the `taps` terms from i * taps on; transposed, input i of those from start[i] to
 * start[i + 1], and the inputs [even, even_end) have the same number of terms, `even_taps`. */
typedef struct axis {
    int64_t in, out;
    int taps, even_taps;
    int64_t *at, *start, even, even_end;
    float *weights;
} axis;

static int count_taps(const fc_interpolate *d, int64_t in, int64_t out, double factor) {
    if (d->mode == FC_NEAREST || d->mode == FC_NEAREST_EXACT) return 1;
    /* Where nothing changes, the other terms would be 0 * x: NaN next to an infinity. */
    if (d->mode == FC_BILINEAR) return in == out ? 1 : 2;
    return in == out && (d->align_corners || factor == 0 || factor == 1) ? 1 : 4;
}

/* The distance of outputs in pixels of the input: area_pixel_compute_scale of ATen/native/UpSample.h. */
static float output_step(const fc_interpolate *d, int64_t in, int64_t out, double factor) {
    if (d->align_corners) return out > 1 ? (float)(in - 1) / (float)(out - 1) : 0.0f;
    return factor != 0 ? (float)(1.0 / factor) : (float)in / (float)out;
}

/* Keys's cubic convolution (1981): weights of the pixels at -1, 0, 1, 2 for a position t after pixel 0, with a = -3/4.
 * */
static void cubic_weights(float t, float weights[4]) {
    const float a = -0.75f, distances[] = {t + 1, t, 1 - t, 2 - t};
    for (int i = 0; i < 4; i++) {
        const float x = distances[i];
        weights[i] = i == 1 || i == 2 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

/* The input that is nearest to output i. */
static int64_t nearest(const fc_interpolate *d, const axis *a, float step, int64_t i) {
    return fc_min((int64_t)floorf((d->mode == FC_NEAREST ? (float)i : (float)i + 0.5f) * step), a->in - 1);
}

/* The matrix of an axis, whose inputs lie `unit` apart. */
static void fill_axis(const fc_interpolate *d, double factor, int64_t unit, axis *a) {
    const float step = output_step(d, a->in, a->out, factor);
    for (int64_t i = 0; i < a->out; i++) {
        int64_t *at = a->at + i * a->taps;
        float *weights = a->weights + i * a->taps;
        if (a->taps == 1) {
            at[0] = unit * (d->mode == FC_BILINEAR || d->mode == FC_BICUBIC ? i : nearest(d, a, step, i));
            weights[0] = 1.0f;
            continue;
        }
        float position = d->align_corners ? step * (float)i : step * ((float)i + 0.5f) - 0.5f;
        if (d->mode == FC_BILINEAR && position < 0) position = 0;
        const int64_t first = fc_min((int64_t)floorf(position), a->in - 1);
        const float after = position - (float)first, t = after < 0 ? 0 : after > 1 ? 1 : after;
        if (d->mode == FC_BILINEAR) {
            at[0] = unit * first, at[1] = unit * fc_min(first + 1, a->in - 1);
            weights[0] = 1 - t, weights[1] = t;
            continue;
        }
        for (int k = 0; k < 4; k++) at[k] = unit * fc_max(0, fc_min(first + k - 1, a->in - 1));
        cubic_weights(t, weights);
    }
}

/* The transpose of `a`, whose unit is 1: terms of an input in ascending order of the outputs, which lie `unit` apart.
 * */
static void transpose_axis(const axis *a, int64_t unit, axis *to) {
    const int64_t terms = a->out * a->taps;
    memset(to->start, 0, (size_t)(a->in + 2) * sizeof(int64_t));
    for (int64_t t = 0; t < terms; t++) to->start[a->at[t] + 2]++;
    for (int64_t i = 2; i < a->in + 2; i++) to->start[i] += to->start[i - 1];
    /* start[i + 1] is where the next term of input i goes; in the end it is where those of i + 1 begin. */
    for (int64_t t = 0; t < terms; t++) {
        const int64_t place = to->start[a->at[t] + 1]++;
        to->at[place] = unit * (t / a->taps);
        to->weights[place] = a->weights[t];
    }
    const int64_t middle = a->in / 2, count = to->start[middle + 1] - to->start[middle];
    to->even = middle, to->even_end = middle + 1, to->even_taps = count == 2 || count == 4 ? (int)count : 0;
    while (to->even > 0 && to->start[to->even] - to->start[to->even - 1] == count) to->even--;
    while (to->even_end < a->in && to->start[to->even_end + 1] - to->start[to->even_end] == count) to->even_end++;
}

static axis take_axis(fc_arena *arena, int64_t in, int64_t out, int taps, bool transposed) {
    axis a = {.in = in, .out = out, .taps = taps};
    a.at = fc_take(arena, out * taps * (int64_t)sizeof(int64_t));
    a.weights = fc_take(arena, out * taps * (int64_t)sizeof(float));
    if (transposed) a.start = fc_take(arena, (in + 2) * (int64_t)sizeof(int64_t));
    return a;
}

/* ---------------------------------------------------------------------------------------------------------- task */

typedef struct interpolate_task {
    const fc_interpolate *d;
    const fc_context *ctx;
    const float *from; /* x, or dy */
    float *to;         /* y, or dx */
    axis rows, columns, rows_back, columns_back;
    int64_t block; /* columns of a kept row */
    float *kept;   /* scratch of all threads: rows.taps kept rows each; backward, a row of sums */
    int64_t kept_size;
} interpolate_task;

/* Carves the workspace and finds out its size; the memory itself is not touched. */
static interpolate_task make_task(const fc_interpolate *d, bool backward, char *workspace, const fc_context *ctx,
                                  int64_t *bytes) {
    interpolate_task t = {.d = d, .ctx = ctx};
    fc_arena arena = {workspace};
    const int row_taps = count_taps(d, d->in_height, d->out_height, d->factor_height);
    const int column_taps = count_taps(d, d->in_width, d->out_width, d->factor_width);
    t.rows = take_axis(&arena, d->in_height, d->out_height, row_taps, false);
    t.columns = take_axis(&arena, d->in_width, d->out_width, column_taps, false);
    if (backward) {
        t.rows_back = take_axis(&arena, d->in_height, d->out_height, row_taps, true);
        t.columns_back = take_axis(&arena, d->in_width, d->out_width, column_taps, true);
    }
    const int64_t channels = fc_max(1, d->channels);
    t.block = fc_min(d->out_width, fc_max(1, KEPT_FLOATS / channels));
    const int64_t kept_rows = row_taps == 1 ? 0 : row_taps * t.block;
    t.kept_size = fc_round_up((backward ? d->out_width : kept_rows) * channels, 16);
    t.kept = fc_take(&arena, ctx->num_threads * t.kept_size * (int64_t)sizeof(float));
    *bytes = arena.next - workspace;
    return t;
}

int64_t fc_interpolate_workspace_bytes(const fc_interpolate *d, bool backward, const fc_context *ctx) {
    int64_t bytes;
    make_task(d, backward, (char *)(uintptr_t)FC_ALIGNMENT, ctx, &bytes); /* any aligned address */
    return bytes;
}

static int threads_for(const fc_interpolate *d, const fc_context *ctx) {
    const int64_t pixels = d->in_height * d->in_width + d->out_height * d->out_width;
    return fc_threads_for_memory(d->batch * d->channels * pixels * (int64_t)sizeof(float), ctx);
}

/* ------------------------------------------------------------------------------------------------------- forward */

/* The columns [q, q_end) of a row of the output from a row of the input. */
static void interpolate_columns(const interpolate_task *t, int64_t q, int64_t q_end, const float *x, float *y) {
    const axis *a = &t->columns;
    const fc_weighted_columns columns = {.taps = a->taps, .columns = q_end - q, .channels = t->d->channels,
                                         .at = a->at + q * a->taps, .weights = a->weights + q * a->taps};
    t->ctx->kernels->weighted_columns(&columns, x, y);
}

/* Items: rows of the output. One tap a row: a row of the input, interpolated, or the row before once more. */
static void copy_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const interpolate_task *t = arg;
    const fc_interpolate *d = t->d;
    const int64_t x_row = d->in_width * d->channels, y_row = d->out_width * d->channels;
    int64_t last = -1;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / d->out_height * d->in_height + t->rows.at[item % d->out_height];
        float *y = t->to + item * y_row;
        if (row == last)
            memcpy(y, y - y_row, (size_t)y_row * sizeof(float));
        else
            interpolate_columns(t, 0, d->out_width, t->from + row * x_row, y);
        last = row;
    }
}

/* The same where a row is the sum of several, for the columns [q, q_end). */
static void add_rows(const interpolate_task *t, int64_t begin, int64_t end, int64_t q, int64_t q_end, float *kept) {
    const fc_interpolate *d = t->d;
    const int64_t x_row = d->in_width * d->channels, y_row = d->out_width * d->channels;
    const int64_t size = (q_end - q) * d->channels;
    const int taps = t->rows.taps;
    int64_t holds[4] = {-1, -1, -1, -1}, at[4];
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / d->out_height, p = item % d->out_height;
        for (int k = 0; k < taps; k++) {
            const int64_t row = n * d->in_height + t->rows.at[p * taps + k], slot = row % taps;
            at[k] = slot * t->block * d->channels;
            if (holds[slot] != row) interpolate_columns(t, q, q_end, t->from + row * x_row, kept + at[k]);
            holds[slot] = row;
        }
        t->ctx->kernels->weighted_rows(taps, kept, at, t->rows.weights + p * taps, size,
                                       t->to + item * y_row + q * d->channels);
    }
}

static void interpolate_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const interpolate_task *t = arg;
    for (int64_t q = 0; q < t->d->out_width; q += t->block)
        add_rows(t, begin, end, q, fc_min(q + t->block, t->d->out_width), t->kept + thread * t->kept_size);
}

/* The same of wide pixels, where each axis has one tap, or two: rows of the output from the same rows of the input at
 * once. */
static void fill_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const interpolate_task *t = arg;
    const fc_interpolate *d = t->d;
    const int64_t x_row = d->in_width * d->channels, y_row = d->out_width * d->channels;
    const int taps = t->rows.taps;
    fc_pixel_rows rows = {.columns = d->out_width, .channels = d->channels, .at = t->columns.at,
                          .weights = t->columns.weights, .y_row = y_row};
    (void)thread;
    for (int64_t item = begin; item < end; item += rows.rows) {
        const int64_t p = item % d->out_height, *at = t->rows.at + p * taps;
        const int64_t most = fc_min(fc_min(end - item, d->out_height - p), FC_PIXEL_ROWS);
        const size_t size = (size_t)taps * sizeof *at;
        for (rows.rows = 0; rows.rows < most && !memcmp(at + rows.rows * taps, at, size); rows.rows++)
            memcpy(rows.row_weights[rows.rows], t->rows.weights + (p + rows.rows) * taps, (size_t)taps * sizeof(float));
        for (int k = 0; k < taps; k++) rows.x[k] = t->from + (item / d->out_height * d->in_height + at[k]) * x_row;
        rows.y = t->to + item * y_row;
        t->ctx->kernels->pixel_rows(&rows, taps);
    }
}

void fc_interpolate_forward(const fc_interpolate *d, const float *x, float *y, void *workspace, const fc_context *ctx) {
    int64_t bytes;
    interpolate_task t = make_task(d, false, workspace, ctx, &bytes);
    if (d->batch * d->channels == 0) return;
    t.from = x, t.to = y;
    fill_axis(d, d->factor_height, 1, &t.rows);
    fill_axis(d, d->factor_width, d->channels, &t.columns);
    const bool wide = d->channels >= WIDE_CHANNELS && t.rows.taps <= 2 && t.rows.taps == t.columns.taps;
    fc_range_task rows = wide ? fill_rows : t.rows.taps == 1 ? copy_rows : interpolate_rows;
    fc_parallel(d->batch * d->out_height, threads_for(d, ctx), rows, &t);
}

/* ------------------------------------------------------------------------------------------------------ backward */

/* A row of dx from a row of sums: of the columns with as many terms as most, and those on both sides of them. */
static void gather_columns(const interpolate_task *t, const float *sums, float *dx) {
    const axis *a = &t->columns_back;
    const int64_t channels = t->d->channels, ends[] = {0, a->even, a->even_end, a->in};
    for (int part = 0; part < 3; part++) {
        const int64_t w = ends[part], first = a->start[w];
        fc_weighted_columns columns = {.columns = ends[part + 1] - w, .channels = channels,
                                       .start = a->start + w, .at = a->at, .weights = a->weights};
        if (part == 1 && a->even_taps) columns.taps = a->even_taps, columns.at += first, columns.weights += first;
        if (columns.columns > 0) t->ctx->kernels->weighted_columns(&columns, sums, dx + w * channels);
    }
}

/* Items: rows of dx. (Blocks of columns whose sums stay in L1 were no faster.) */
static void gather_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const interpolate_task *t = arg;
    const fc_interpolate *d = t->d;
    const int64_t dx_row = d->in_width * d->channels, dy_row = d->out_width * d->channels;
    const bool same_width = t->columns.taps == 1 && d->in_width == d->out_width && d->mode >= FC_BILINEAR;
    for (int64_t item = begin; item < end; item++) {
        const int64_t h = item % d->in_height, first = t->rows_back.start[h], count = t->rows_back.start[h + 1] - first;
        const float *dy = t->from + item / d->in_height * d->out_height * dy_row;
        float *dx = t->to + item * dx_row, *sums = same_width ? dx : t->kept + thread * t->kept_size;
        if (count == 0) {
            memset(dx, 0, (size_t)dx_row * sizeof(float));
            continue;
        }
        t->ctx->kernels->weighted_rows(count, dy, t->rows_back.at + first, t->rows_back.weights + first, dy_row, sums);
        if (!same_width) gather_columns(t, sums, dx);
    }
}

void fc_interpolate_backward(const fc_interpolate *d, const float *dy, float *dx, void *workspace,
                             const fc_context *ctx) {
    int64_t bytes;
    interpolate_task t = make_task(d, true, workspace, ctx, &bytes);
    if (d->batch * d->channels == 0) return;
    t.from = dy, t.to = dx;
    fill_axis(d, d->factor_height, 1, &t.rows);
    fill_axis(d, d->factor_width, 1, &t.columns);
    transpose_axis(&t.rows, d->out_width * d->channels, &t.rows_back);
    transpose_axis(&t.columns, d->channels, &t.columns_back);
    fc_parallel(d->batch * d->in_height, threads_for(d, ctx), gather_rows, &t);
}
