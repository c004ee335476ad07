/* conv2d_gather.c - direct convolution as an indirect product (Dukhan 2019, arXiv 1907.02129) on NHWC.
 *
 * A strip of output pixels gets a table of input pointers, one a tap and pixel; pixels outside the image point to a row of
 * zeros. No input is packed: the tile reads channels where they lie. With few channels a tap is too short a run to pay for
 * its pointers, so there a tap is a whole kernel row, S * C contiguous values of a zero-padded copy of a few lines, and
 * the pixels of a row need no table: they lie at a constant distance. So do all pixels of a 1 x 1 convolution.
 */
#include "conv2d_gather.h"

/* Pixels a strip, or about as many where it is whole rows: of 256 channels 96 pixels are about 100 KB, which stay in L2 with
 * the weights passing by. Of fewer channels it has more: a strip costs as much as 2 % of 64 channels of 96 pixels. */
enum { STRIP_PIXELS = 96, STRIP_DEPTH = 256, MOST_PIXELS = 384 };

/* At most so many channels a pixel, and lines pay: 12 and 16 are 10 to 15 % faster than with a table of pointers, on
 * AVX2 2 to 5 %. Pixels a strip of lines. */
enum { FEW_CHANNELS = 16, LINE_PIXELS = 192 };

/* Twice the least height of the tiles that rows of pixels are cut into. */
enum { LEAST_HEIGHT_TWICE = 11 };

typedef struct gather_task {
    const conv2d_gather *g;
    const fc_context *ctx;
    const float *x, *packed, *zeros;
    const conv2d_epilogue *epilogue;
    float *y;
    char *scratch; /* a thread: scratch_bytes */
    int64_t scratch_bytes;
    int64_t strips, panel_groups;
    bool lines, whole_rows, dense, far;
} gather_task;

/* What a thread fills for each strip. */
typedef struct gather_scratch {
    const float **x;  /* [taps][rows of the strip] */
    float **y;        /* [rows of the strip] */
    int64_t *offsets; /* [taps], of a pixel's taps from its first */
    float *lines;     /* padded copies, see uses_lines */
} gather_scratch;

/* Lines need channels that are not split into groups, and tap columns that lie side by side. */
static bool may_use_lines(const conv2d_gather *g) { return g->groups == 1 && g->in_depth <= FEW_CHANNELS; }

static bool uses_lines(const conv2d_gather *g) {
    return may_use_lines(g) && g->tap_rows > 0 && g->tap_columns > 1 && g->column_reach == g->tap_columns - 1;
}

/* Output rows a strip of lines holds; strips of lines do not cross images. */
static int64_t line_rows(const conv2d_gather *g) { return fc_min(g->rows, fc_ceil_div(LINE_PIXELS, g->columns)); }

/* Floats of a zero-padded line, and lines, that line_rows() output rows need. */
static int64_t line_width(const conv2d_gather *g) {
    return ((g->columns - 1) * g->step_w + g->column_reach + 1) * g->in_depth;
}
static int64_t line_count(const conv2d_gather *g, int64_t rows) { return (rows - 1) * g->step_h + g->row_reach + 1; }

static int64_t strip_pixels(const conv2d_gather *g) {
    return fc_max(STRIP_PIXELS, fc_min(MOST_PIXELS, STRIP_PIXELS * STRIP_DEPTH / fc_max(1, g->groups * g->in_depth)));
}

/* Tiles that end with the row of pixels leave out the kernel rows above the first and below the last row of the image, 5 %
 * of all products at 14 x 14 and 10 % at 7 x 7. Tiles lower than 5.5 rows lose more than that: on AVX2, 14 pixels in three
 * tiles were 1 to 3 % slower. */
static bool uses_whole_rows(const conv2d_gather *g, const fc_context *ctx) {
    const int64_t tiles = fc_ceil_div(g->columns, ctx->kernels->gemm_rows);
    return g->row_reach > 0 && g->columns <= strip_pixels(g) && 2 * g->columns >= LEAST_HEIGHT_TWICE * tiles;
}

/* Rows of pixels in a strip of whole rows: the number that comes nearest to strip_pixels(). */
static int64_t rows_a_strip(const conv2d_gather *g) {
    return fc_max(1, (strip_pixels(g) + g->columns / 2) / fc_max(1, g->columns));
}

static int64_t most_pixels(const conv2d_gather *g) {
    const int64_t scattered = fc_min(strip_pixels(g) + strip_pixels(g) / 2, g->batch * g->rows * g->columns);
    return may_use_lines(g) ? fc_max(scattered, line_rows(g) * g->columns) : scattered;
}

static int64_t x_table_bytes(const conv2d_gather *g) {
    return g->tap_rows * g->tap_columns * most_pixels(g) * (int64_t)sizeof(float *);
}

static int64_t offsets_bytes(const conv2d_gather *g) {
    return g->tap_rows * g->tap_columns * (int64_t)sizeof(int64_t);
}

static int64_t y_table_bytes(const conv2d_gather *g) { return most_pixels(g) * (int64_t)sizeof(float *); }

static int64_t lines_bytes(const conv2d_gather *g) {
    return may_use_lines(g) ? line_count(g, line_rows(g)) * line_width(g) * (int64_t)sizeof(float) : 0;
}

static int64_t thread_bytes(const conv2d_gather *g) {
    return fc_round_up(x_table_bytes(g), FC_ALIGNMENT) + fc_round_up(y_table_bytes(g), FC_ALIGNMENT) +
           fc_round_up(offsets_bytes(g), FC_ALIGNMENT) + fc_round_up(lines_bytes(g), FC_ALIGNMENT);
}

static int64_t zeros_bytes(const conv2d_gather *g) {
    return g->groups * g->in_depth * (int64_t)sizeof(float);
}

int64_t conv2d_gather_workspace_bytes(const conv2d_gather *g, const fc_context *ctx) {
    if (g->batch * g->rows * g->columns == 0) return 0;
    return fc_max(conv2d_planes_bytes(g, ctx),
                  fc_round_up(zeros_bytes(g), FC_ALIGNMENT) + ctx->num_threads * thread_bytes(g));
}

/* One tap, and pixels that follow each other in x and in y: rows at a constant distance. */
static bool is_dense(const conv2d_gather *g) {
    return g->tap_rows == 1 && g->tap_columns == 1 && g->row_at[0] == 0 && g->column_at[0] == 0 &&
           g->step_h == 1 && g->step_w == 1 && g->in_height == g->rows && g->in_width == g->columns &&
           g->out_step_h == 1 && g->out_step_w == 1 && g->out_height == g->rows && g->out_width == g->columns;
}

/* The input of a 1 x 1 convolution beyond the caches is fetched a strip ahead, where a strip is at most a quarter of L2.
 * Share of the FMA peak without and with, AVX-512; AVX2: 256-64 at 56 x 56, 16 images 0.76 0.82; 0.71 0.90. 256-128 at
 * 28 x 28 0.82 0.88; 0.80 0.90. 96-24 at 56 x 56 0.55 0.71; 0.55 0.71. In cache it costs 1 %. */
enum { FAR_STRIP_BYTES = 256 * 1024 };

static bool is_far(const conv2d_gather *g) {
    const int64_t pixel_bytes = g->in_depth * (int64_t)sizeof(float);
    return g->groups == 1 && g->batch * g->in_height * g->in_width * pixel_bytes > CONV2D_FAR_BYTES &&
           strip_pixels(g) * pixel_bytes <= FAR_STRIP_BYTES;
}

/* ------------------------------------------------------------------------------------------ tables of pointers */

static float *output_at(const gather_task *t, int64_t n, int64_t i, int64_t j) {
    const conv2d_gather *g = t->g;
    const int64_t h = i * g->out_step_h + g->out_h, w = j * g->out_step_w + g->out_w;
    return t->y + ((n * g->out_height + h) * g->out_width + w) * g->groups * g->out_depth;
}

/* The pointers of one pixel, entry[tap * count]: taps outside the image point to zeros. */
static void point_at_border(const gather_task *t, int64_t n, int64_t i, int64_t j, int64_t count, const float **entry) {
    const conv2d_gather *g = t->g;
    const int64_t channels = g->groups * g->in_depth;
    for (int64_t a = 0; a < g->tap_rows; a++) {
        const int64_t h = i * g->step_h + g->row_at[a];
        for (int64_t b = 0; b < g->tap_columns; b++, entry += count) {
            const int64_t w = j * g->step_w + g->column_at[b];
            const bool inside = h >= 0 && h < g->in_height && w >= 0 && w < g->in_width;
            *entry = inside ? t->x + ((n * g->in_height + h) * g->in_width + w) * channels : t->zeros;
        }
    }
}

/* Where the taps of a pixel lie from its first, in elements. */
static void measure_taps(const conv2d_gather *g, int64_t *offsets) {
    const int64_t channels = g->groups * g->in_depth, line = g->in_width * channels;
    for (int64_t a = 0; a < g->tap_rows; a++)
        for (int64_t b = 0; b < g->tap_columns; b++)
            *offsets++ = (g->row_at[a] - g->row_at[0]) * line + (g->column_at[b] - g->column_at[0]) * channels;
}

/* Pointers for the pixels [begin, begin + count) of the flattened (batch, rows, columns) grid. */
static void point_at_pixels(const gather_task *t, int64_t begin, int64_t count, const gather_scratch *scratch) {
    const conv2d_gather *g = t->g;
    const int64_t channels = g->groups * g->in_depth, taps = g->tap_rows * g->tap_columns;
    const int64_t top = g->tap_rows ? g->row_at[0] : 0, left = g->tap_columns ? g->column_at[0] : 0;
    const int64_t x_step = g->step_w * channels, y_step = g->out_step_w * g->groups * g->out_depth;
    /* Columns of the grid whose taps all lie inside the image. */
    const int64_t inner = fc_max(0, fc_ceil_div_signed(-left, g->step_w));
    const int64_t inner_end = fc_floor_div(g->in_width - 1 - g->column_reach - left, g->step_w) + 1;
    int64_t j = begin % g->columns, i = begin / g->columns % g->rows, n = begin / g->columns / g->rows;
    for (int64_t m = 0; m < count; i++, j = 0) {
        if (i == g->rows) i = 0, n++;
        const int64_t h = i * g->step_h + top, j_end = fc_min(g->columns, j + count - m), start = m - j;
        const bool inside = h >= 0 && h + g->row_reach < g->in_height;
        const int64_t lo = inside ? fc_min(j_end, fc_max(j, inner)) : j_end;
        const int64_t hi = fc_max(lo, fc_min(j_end, inner_end));
        float **y = scratch->y, *y_row = output_at(t, n, i, 0);
        const float **x = scratch->x;
        for (int64_t k = j; k < j_end; k++) y[start + k] = y_row + k * y_step;
        for (int64_t k = j; k < lo; k++) point_at_border(t, n, i, k, count, x + start + k);
        for (int64_t tap = 0; tap < taps && lo < hi; tap++) {
            const float *first = t->x + ((n * g->in_height + h) * g->in_width + lo * g->step_w + left) * channels +
                                 scratch->offsets[tap];
            for (int64_t k = lo; k < hi; k++) x[tap * count + start + k] = first + (k - lo) * x_step;
        }
        for (int64_t k = hi; k < j_end; k++) point_at_border(t, n, i, k, count, x + start + k);
        m += j_end - j;
    }
}

/* lines[a][w] = the image's line `first + a` from column `left`, zeros outside; lines above or below the image are left as
 * they are, see point_at_lines. */
static void copy_lines(const gather_task *t, int64_t n, int64_t first, int64_t count, float *lines) {
    const conv2d_gather *g = t->g;
    const int64_t depth = g->in_depth, width = line_width(g), left = g->column_at[0];
    const int64_t from = fc_max(0, left), before = fc_min(width, (from - left) * depth);
    const int64_t inside = fc_max(0, fc_min(width - before, (g->in_width - from) * depth));
    for (int64_t h = fc_max(0, first); h < fc_min(g->in_height, first + count); h++) {
        float *line = lines + (h - first) * width;
        memset(line, 0, (size_t)before * sizeof(float));
        if (inside > 0)
            memcpy(line + before, t->x + ((n * g->in_height + h) * g->in_width + from) * depth,
                   (size_t)inside * sizeof(float));
        memset(line + before + inside, 0, (size_t)(width - before - inside) * sizeof(float));
    }
}

/* The pointers of the rows' first pixels: [rows][tap_rows]; kernel rows outside the image point to zeros. */
static void point_at_lines(const gather_task *t, int64_t n, int64_t i_begin, int64_t i_end,
                           const gather_scratch *scratch) {
    const conv2d_gather *g = t->g;
    const int64_t width = line_width(g);
    const int64_t first = i_begin * g->step_h + g->row_at[0];
    copy_lines(t, n, first, line_count(g, i_end - i_begin), scratch->lines);
    const float **x = scratch->x;
    for (int64_t i = i_begin; i < i_end; i++) {
        scratch->y[i - i_begin] = output_at(t, n, i, 0);
        for (int64_t a = 0; a < g->tap_rows; a++) {
            const int64_t h = i * g->step_h + g->row_at[a];
            *x++ = h >= 0 && h < g->in_height ? scratch->lines + (h - first) * width : t->zeros;
        }
    }
}

/* -------------------------------------------------------------------------------------------------------- strips */

static conv2d_panels group_panels(const gather_task *t, int64_t group) {
    const conv2d_gather *g = t->g;
    const int64_t taps = g->tap_rows * g->tap_columns;
    return (conv2d_panels){
        .packed = t->packed + group * conv2d_panels_size(taps, g->in_depth, g->out_depth, t->ctx),
        .taps = t->lines ? g->tap_rows : taps, .depth = t->lines ? g->tap_columns * g->in_depth : g->in_depth,
        .columns = g->out_depth, .x_offset = group * g->in_depth, .y_offset = group * g->out_depth,
        .epilogue = t->epilogue, .y = t->y,
    };
}

static void multiply_group(const gather_task *t, const fc_strip *strip, int64_t group, int64_t panel_group) {
    const conv2d_panels panels = group_panels(t, group);
    int64_t panel_begin, panel_end;
    fc_split(conv2d_panel_count(t->g->out_depth, t->ctx), t->panel_groups, panel_group, &panel_begin, &panel_end);
    conv2d_multiply_strip(strip, &panels, panel_begin, panel_end, t->ctx);
}

/* The pointer tables of strip number `index`. */
static fc_strip gather_strip(const gather_task *t, int64_t index, const gather_scratch *scratch) {
    const conv2d_gather *g = t->g;
    fc_strip strip = {.x = scratch->x, .y = scratch->y, .zeros = t->zeros};
    int64_t first, last;
    if (t->lines) {
        const int64_t strips = t->strips / g->batch;
        fc_split(g->rows, strips, index % strips, &first, &last);
        point_at_lines(t, index / strips, first, last, scratch);
        strip.rows = (last - first) * g->columns;
        strip.run = g->columns;
        strip.taps = g->tap_rows;
        strip.x_row = g->step_w * g->in_depth;
        strip.y_row = g->out_step_w * g->groups * g->out_depth;
    } else if (t->dense) {
        fc_split(g->batch * g->rows * g->columns, t->strips, index, &first, &last);
        strip.rows = last - first;
        strip.taps = 1;
        strip.x_row = g->groups * g->in_depth;
        strip.y_row = g->groups * g->out_depth;
        strip.far = t->far && index + 1 < t->strips;
        scratch->x[0] = t->x + first * strip.x_row;
        scratch->y[0] = t->y + first * strip.y_row;
    } else {
        const int64_t unit = t->whole_rows ? g->columns : 1;
        fc_split(g->batch * g->rows * g->columns / unit, t->strips, index, &first, &last);
        strip.rows = (last - first) * unit;
        strip.run = t->whole_rows ? g->columns : 0;
        point_at_pixels(t, first * unit, strip.rows, scratch);
    }
    return strip;
}

static gather_scratch take_scratch(const gather_task *t, char *memory) {
    fc_arena arena = {memory};
    gather_scratch scratch;
    scratch.x = fc_take(&arena, x_table_bytes(t->g));
    scratch.y = fc_take(&arena, y_table_bytes(t->g));
    scratch.offsets = fc_take(&arena, offsets_bytes(t->g));
    scratch.lines = fc_take(&arena, lines_bytes(t->g));
    if (!t->lines) measure_taps(t->g, scratch.offsets);
    return scratch;
}

/* Item: (strip, part), where the parts of a strip are its groups times panel groups. */
static void run_strips(void *arg, int64_t begin, int64_t end, int thread) {
    const gather_task *t = arg;
    const int64_t parts = t->g->groups * t->panel_groups;
    const gather_scratch scratch = take_scratch(t, t->scratch + thread * t->scratch_bytes);
    fc_strip strip = {0};
    for (int64_t item = begin; item < end; item++) {
        const int64_t part = item % parts;
        if (item == begin || part == 0) strip = gather_strip(t, item / parts, &scratch);
        multiply_group(t, &strip, part / t->panel_groups, part % t->panel_groups);
    }
}

static gather_task begin_task(const conv2d_gather *g, const float *x, const float *packed,
                              const conv2d_epilogue *epilogue, float *y, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    float *zeros = fc_take(&arena, zeros_bytes(g));
    memset(zeros, 0, (size_t)zeros_bytes(g));
    const bool lines = uses_lines(g), whole_rows = !lines && uses_whole_rows(g, ctx);
    const int64_t strips = lines        ? g->batch * fc_ceil_div(g->rows, line_rows(g))
                           : whole_rows ? fc_ceil_div(g->batch * g->rows, rows_a_strip(g))
                                        : fc_ceil_div(g->batch * g->rows * g->columns, strip_pixels(g));
    return (gather_task){
        .g = g, .ctx = ctx, .x = x, .packed = packed, .zeros = zeros, .epilogue = epilogue, .y = y,
        .scratch = arena.next, .scratch_bytes = thread_bytes(g), .lines = lines, .whole_rows = whole_rows,
        .dense = is_dense(g), .far = is_far(g), .strips = strips,
    };
}

void conv2d_gather_run(const conv2d_gather *g, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                       float *y, void *workspace, const fc_context *ctx) {
    const int64_t pixels = g->batch * g->rows * g->columns;
    if (pixels == 0) return;
    if (conv2d_uses_planes(g, ctx)) {
        conv2d_planes_run(g, x, packed, epilogue, y, workspace, ctx);
        return;
    }
    const int64_t depth = g->tap_rows * g->tap_columns * g->in_depth;
    const int threads = fc_threads_for_arithmetic(pixels * g->groups * g->out_depth * fc_max(1, depth), ctx);
    gather_task t = begin_task(g, x, packed, epilogue, y, workspace, ctx);
    /* As many strips as threads divide evenly: a strip more on one thread is time lost on the others. */
    const int64_t most = t.whole_rows ? g->batch * g->rows : pixels;
    if (!t.lines) t.strips = fc_min(most, fc_round_up(t.strips, threads));
    t.panel_groups = fc_min(conv2d_panel_count(g->out_depth, ctx), fc_ceil_div(threads, t.strips * g->groups));
    fc_parallel(t.strips * g->groups * t.panel_groups, threads, run_strips, &t);
}
