/* conv2d_planes.c - direct convolution into few channels, and from few: vectors of pixels instead of channels.
 *
 * A strip of output rows: its lines of input are split into one plane a channel, bordered with zeros, so that a tap of
 * a vector of pixels is a load at an offset; the sums go to planes too, which are joined into y.
 */
#include "conv2d_gather.h"

/* The planes of a strip stay in L2 with room for what else is there. */
enum { STRIP_BYTES = 192 * 1024, MOST_CHANNELS = 16 };

typedef struct planes_task {
    const conv2d_gather *g;
    const fc_context *ctx;
    const float *x, *packed;
    const conv2d_epilogue *epilogue;
    float *y;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes, strips; /* strips an image */
} planes_task;

typedef struct planes_scratch {
    int64_t *at;     /* [taps][in_depth], where a tap and channel lies from the first */
    const float **x; /* vectors of pixels of a strip */
    float *in, *out; /* planes */
    int64_t rows;    /* of the strips these are laid out for */
} planes_scratch;

static int64_t line_width(const conv2d_gather *g) { return g->columns + g->column_reach; }
static int64_t in_plane(const conv2d_gather *g, int64_t rows) { return (rows + g->row_reach) * line_width(g); }
static int64_t out_plane(const conv2d_gather *g, int64_t rows, const fc_context *ctx) {
    return rows * line_width(g) + ctx->kernels->lanes;
}

/* Vectors of pixels reach past the end of the last plane. */
static int64_t in_size(const conv2d_gather *g, int64_t rows, const fc_context *ctx) {
    return g->in_depth * in_plane(g, rows) + ctx->kernels->lanes;
}
static int64_t planes_bytes(const conv2d_gather *g, int64_t rows, const fc_context *ctx) {
    return (in_size(g, rows, ctx) + fc_round_up(g->out_depth, 4) * out_plane(g, rows, ctx)) * (int64_t)sizeof(float);
}

/* Vectors of pixels in `rows` rows: row by row, or through the ends of the lines, whichever are fewer. */
static bool by_rows(const conv2d_gather *g, const fc_context *ctx) {
    return fc_round_up(g->columns, ctx->kernels->lanes) <= line_width(g);
}
static int64_t vector_count(const conv2d_gather *g, int64_t rows, const fc_context *ctx) {
    const int64_t lanes = ctx->kernels->lanes;
    return by_rows(g, ctx) ? rows * fc_ceil_div(g->columns, lanes)
                           : fc_ceil_div(rows * line_width(g) - g->column_reach, lanes);
}

static bool may_use_planes(const conv2d_gather *g, const fc_context *ctx) {
    return g->step_h == 1 && g->step_w == 1 && g->out_depth <= fc_min(MOST_CHANNELS, ctx->kernels->lanes);
}

/* Share of the FMA peak in percent, idle lanes apart: of plane_tile, and of gemm_tile with one vector of columns,
 * whose six sums are too few to hide the latency of an FMA; eight are enough. */
enum { PLANES_SPEED = 75, SIX_ROWS_SPEED = 55, EIGHT_ROWS_SPEED = 85 };

bool conv2d_uses_planes(const conv2d_gather *g, const fc_context *ctx) {
    if (!may_use_planes(g, ctx) || g->tap_rows * g->tap_columns == 0 || planes_bytes(g, 1, ctx) > STRIP_BYTES)
        return false;
    const int64_t tile_speed = ctx->kernels->tile_rows < 8 ? SIX_ROWS_SPEED : EIGHT_ROWS_SPEED;
    return vector_count(g, g->rows, ctx) * g->out_depth * tile_speed < g->rows * g->columns * PLANES_SPEED;
}

static int64_t most_rows(const conv2d_gather *g, const fc_context *ctx) {
    const int64_t one = planes_bytes(g, 1, ctx), more = planes_bytes(g, 2, ctx) - one;
    return fc_min(g->rows, 1 + (STRIP_BYTES - one) / more);
}

/* Sizes that no phase of a strided pass exceeds, whichever its reach: more than STRIP_BYTES of planes are never
 * needed, and a vector of pixels takes at least one float of an input and four output planes. */
static planes_scratch take_scratch(const conv2d_gather *g, fc_arena *arena) {
    planes_scratch scratch;
    scratch.at = fc_take(arena, g->tap_rows * g->tap_columns * g->in_depth * (int64_t)sizeof(int64_t));
    scratch.x = fc_take(arena, (STRIP_BYTES / 20 + 8) * (int64_t)sizeof(float *));
    scratch.in = fc_take(arena, STRIP_BYTES);
    scratch.out = NULL;
    scratch.rows = 0;
    return scratch;
}

int64_t conv2d_planes_bytes(const conv2d_gather *g, const fc_context *ctx) {
    if (!may_use_planes(g, ctx)) return 0;
    fc_arena arena = {NULL};
    take_scratch(g, &arena);
    return ctx->num_threads * (int64_t)(intptr_t)arena.next;
}

/* The planes of a group's channels, of output rows [i, i_end): the image's pixels, and zeros in lines outside of it. */
static void split_lines(const planes_task *t, int64_t n, int64_t group, int64_t i, int64_t i_end, float *in) {
    const conv2d_gather *g = t->g;
    const int64_t width = line_width(g), plane = in_plane(g, i_end - i), left = g->column_at[0];
    const int64_t from = fc_max(0, left), before = fc_min(width, from - left);
    const int64_t inside = fc_max(0, fc_min(width - before, g->in_width - from));
    for (int64_t a = 0; a < i_end - i + g->row_reach; a++) {
        const int64_t h = i + g->row_at[0] + a;
        float *line = in + a * width + before;
        if (h < 0 || h >= g->in_height || inside == 0) {
            for (int64_t c = 0; c < g->in_depth; c++) memset(line + c * plane, 0, (size_t)inside * sizeof(float));
            continue;
        }
        const float *x = t->x + ((n * g->in_height + h) * g->in_width + from) * g->groups * g->in_depth;
        t->ctx->kernels->split_pixels(inside, g->in_depth, x + group * g->in_depth, g->groups * g->in_depth, line,
                                      plane);
    }
}

/* What strips of the same number of rows share: where taps and vectors of pixels lie, and the zeros around the image. */
static void lay_out_planes(const planes_task *t, int64_t rows, planes_scratch *scratch) {
    const conv2d_gather *g = t->g;
    const int64_t lanes = t->ctx->kernels->lanes, width = line_width(g), count = vector_count(g, rows, t->ctx);
    const int64_t per_row = by_rows(g, t->ctx) ? fc_ceil_div(g->columns, lanes) : count;
    int64_t *at = scratch->at;
    for (int64_t a = 0; a < g->tap_rows; a++)
        for (int64_t b = 0; b < g->tap_columns; b++)
            for (int64_t c = 0; c < g->in_depth; c++)
                *at++ = c * in_plane(g, rows) + (g->row_at[a] - g->row_at[0]) * width + g->column_at[b] -
                        g->column_at[0];
    const float **x = scratch->x;
    for (int64_t i = 0; i < count / per_row; i++)
        for (int64_t v = 0; v < per_row; v++) *x++ = scratch->in + i * width + v * lanes;
    for (int64_t v = 0; v < 8; v++) x[v] = x[-1]; /* the last is repeated to fill its tile */
    memset(scratch->in, 0, (size_t)in_size(g, rows, t->ctx) * sizeof(float));
    scratch->out = scratch->in + in_size(g, rows, t->ctx);
    scratch->rows = rows;
}

/* The kernel rows [*begin, *end) that meet the image from any of the output rows first to last: with 5 x 5 taps on the
 * 14 x 14 of LeNet's second input gradient the others are a third of all. */
static void inside_rows(const conv2d_gather *g, int64_t first, int64_t last, int64_t *begin, int64_t *end) {
    *begin = 0;
    *end = g->tap_rows;
    while (*begin < *end && last + g->row_at[*begin] < 0) ++*begin;
    while (*end > *begin && first + g->row_at[*end - 1] >= g->in_height) --*end;
}

/* Outputs [begin, end) of a group, for the output rows from i on. */
static void multiply_planes(const planes_task *t, int64_t group, int64_t begin, int64_t end, int64_t i,
                            const planes_scratch *scratch) {
    const conv2d_gather *g = t->g;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t row_depth = g->tap_columns * g->in_depth, width = line_width(g), columns = kernels->tile_columns;
    const int64_t count = vector_count(g, scratch->rows, t->ctx), vectors = kernels->plane_vectors[end - begin - 1];
    const float *w = t->packed + group * conv2d_panels_size(g->tap_rows, row_depth, g->out_depth, t->ctx) + begin;
    fc_plane_tile tile = {
        .w_step = columns, .origin = scratch->in, .y_stride = out_plane(g, scratch->rows, t->ctx),
        .y = scratch->out + begin * out_plane(g, scratch->rows, t->ctx),
        .bias = t->epilogue->bias ? t->epilogue->bias + group * g->out_depth + begin : NULL,
    };
    for (int64_t v = 0; v < count; v += vectors) {
        int64_t tap, tap_end;
        tile.x = scratch->x + v;
        const int64_t first = (tile.x[0] - scratch->in) / width;
        const int64_t last = (tile.x[vectors - 1] - scratch->in + kernels->lanes - 1) / width;
        inside_rows(g, i + first, i + last, &tap, &tap_end);
        tile.depth = (tap_end - tap) * row_depth;
        tile.at = scratch->at + tap * row_depth;
        tile.w = w + tap * row_depth * columns;
        kernels->plane_tile(&tile, (int)(end - begin));
    }
}

/* One row of y, with what the epilogue still owes it. */
static void finish_row(const planes_task *t, int64_t n, int64_t group, int64_t i, const float *out,
                       int64_t out_stride) {
    const conv2d_gather *g = t->g;
    const int64_t channels = g->groups * g->out_depth, step = g->out_step_w * channels;
    const int64_t row = n * g->out_height + i * g->out_step_h + g->out_h;
    const int64_t at = (row * g->out_width + g->out_w) * channels + group * g->out_depth;
    float *y = t->y + at;
    t->ctx->kernels->join_planes(g->columns, g->out_depth, out, out_stride, y, step);
    const conv2d_epilogue *e = t->epilogue;
    const bool activate = e->activation && e->activation->kind != FC_IDENTITY, dense = step == g->out_depth;
    if (!e->residual && !activate) return;
    const int64_t runs = dense ? 1 : g->columns, length = dense ? g->columns * step : g->out_depth;
    for (int64_t j = 0; j < runs; j++, y += step) {
        if (e->residual)
            for (int64_t k = 0; k < length; k++) y[k] += e->residual[y - t->y + k];
        if (activate) t->ctx->kernels->activation_row(*e->activation, length, y, y);
    }
}

/* Item: (image, strip of rows, group). */
static void run_planes(void *arg, int64_t begin, int64_t end, int thread) {
    const planes_task *t = arg;
    const conv2d_gather *g = t->g;
    const int64_t parts = fc_ceil_div(g->out_depth, FC_PLANE_OUTPUTS);
    fc_arena arena = {t->scratch + thread * t->scratch_bytes};
    planes_scratch scratch = take_scratch(g, &arena);
    for (int64_t item = begin; item < end; item++) {
        const int64_t group = item % g->groups, strip = item / g->groups % t->strips, n = item / g->groups / t->strips;
        int64_t first, last;
        fc_split(g->rows, t->strips, strip, &first, &last);
        if (last - first != scratch.rows) lay_out_planes(t, last - first, &scratch);
        split_lines(t, n, group, first, last, scratch.in);
        for (int64_t part = 0; part < parts; part++) {
            int64_t o, o_end;
            fc_split(g->out_depth, parts, part, &o, &o_end);
            multiply_planes(t, group, o, o_end, first, &scratch);
        }
        for (int64_t i = first; i < last; i++)
            finish_row(t, n, group, i, scratch.out + (i - first) * line_width(g), out_plane(g, last - first, t->ctx));
    }
}

void conv2d_planes_run(const conv2d_gather *g, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                       float *y, void *workspace, const fc_context *ctx) {
    const int64_t pixels = g->batch * g->rows * g->columns, depth = g->tap_rows * g->tap_columns * g->in_depth;
    if (pixels == 0) return;
    const int threads = fc_threads_for_arithmetic(pixels * g->groups * g->out_depth * depth, ctx);
    planes_task t = {.g = g, .ctx = ctx, .x = x, .packed = packed, .epilogue = epilogue, .y = y, .scratch = workspace,
                     .scratch_bytes = conv2d_planes_bytes(g, ctx) / ctx->num_threads};
    const int64_t parts = fc_max(fc_ceil_div(g->rows, most_rows(g, ctx)), fc_ceil_div(threads, g->batch * g->groups));
    t.strips = fc_min(g->rows, parts);
    fc_parallel(g->batch * t.strips * g->groups, threads, run_planes, &t);
}
