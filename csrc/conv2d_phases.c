/* conv2d_phases.c - which taps of a convolution meet which pixels: the gathers of its passes. */
#include "conv2d_gather.h"

conv2d_gather conv2d_forward_size(const fc_conv2d *c) {
    return (conv2d_gather){
        .batch = c->batch, .groups = c->groups,
        .in_height = c->in_height, .in_width = c->in_width, .in_depth = conv2d_in_depth(c),
        .rows = c->out_height, .columns = c->out_width, .step_h = c->stride_height, .step_w = c->stride_width,
        .tap_rows = c->kernel_height, .tap_columns = c->kernel_width,
        .row_reach = (c->kernel_height - 1) * c->dilation_height,
        .column_reach = (c->kernel_width - 1) * c->dilation_width,
        .out_height = c->out_height, .out_width = c->out_width, .out_depth = conv2d_out_depth(c),
        .out_step_h = 1, .out_step_w = 1,
    };
}

conv2d_gather conv2d_forward_gather(const fc_conv2d *c, fc_arena *arena) {
    int64_t *row_at = fc_take(arena, c->kernel_height * (int64_t)sizeof(int64_t));
    int64_t *column_at = fc_take(arena, c->kernel_width * (int64_t)sizeof(int64_t));
    conv2d_gather g = conv2d_forward_size(c);
    for (int64_t r = 0; r < c->kernel_height; r++) row_at[r] = r * c->dilation_height - c->pad_top;
    for (int64_t s = 0; s < c->kernel_width; s++) column_at[s] = s * c->dilation_width - c->pad_left;
    g.row_at = row_at;
    g.column_at = column_at;
    return g;
}

/* The phase that kernel row (or column) r belongs to: (phase + pad - r * dilation) is divisible by the stride. */
static int64_t phase_of(int64_t r, int64_t pad, int64_t dilation, int64_t stride) {
    return r * dilation - pad - fc_floor_div(r * dilation - pad, stride) * stride;
}

/* Offsets ascend where kernel rows descend. */
static void sort_taps(int64_t pad, int64_t dilation, int64_t stride, int64_t kernel, conv2d_phase_tap *taps) {
    for (int64_t r = 0; r < kernel; r++) {
        const int64_t phase = phase_of(r, pad, dilation, stride);
        taps[r] = (conv2d_phase_tap){0, 0, 0};
        for (int64_t i = 0; i < kernel; i++) {
            const int64_t other = phase_of(i, pad, dilation, stride);
            taps[r].before += other < phase;
            taps[r].count += other == phase;
            taps[r].index += other == phase && i > r;
        }
    }
}

conv2d_phase_tables conv2d_take_phase_tables(const fc_conv2d *c, fc_arena *arena) {
    const int64_t size = (int64_t)sizeof(int64_t), tap_size = (int64_t)sizeof(conv2d_phase_tap);
    conv2d_phase_tables tables;
    tables.rows = fc_take(arena, c->kernel_height * size);
    tables.row_at = fc_take(arena, c->kernel_height * size);
    tables.columns = fc_take(arena, c->kernel_width * size);
    tables.column_at = fc_take(arena, c->kernel_width * size);
    tables.row_of = fc_take(arena, c->kernel_height * tap_size);
    tables.column_of = fc_take(arena, c->kernel_width * tap_size);
    return tables;
}

void conv2d_fill_phase_tables(const fc_conv2d *c, const conv2d_phase_tables *tables) {
    sort_taps(c->pad_top, c->dilation_height, c->stride_height, c->kernel_height, tables->row_of);
    sort_taps(c->pad_left, c->dilation_width, c->stride_width, c->kernel_width, tables->column_of);
}

int64_t conv2d_phase_tables_bytes(const fc_conv2d *c) {
    fc_arena arena = {NULL};
    conv2d_take_phase_tables(c, &arena);
    return (int64_t)(intptr_t)arena.next;
}

/* Phases past the input's extent hold no pixel: with a stride of 10^9 there are still only in_height of them. */
int64_t conv2d_phase_rows(const fc_conv2d *c) { return fc_min(c->stride_height, c->in_height); }
int64_t conv2d_phase_columns(const fc_conv2d *c) { return fc_min(c->stride_width, c->in_width); }

/* The taps that reach phase a, from row at[.] of dy on; offsets ascend, so taps descend. Returns how many; *before:
 * how many reach earlier phases. */
static int64_t phase_taps(int64_t a, int64_t pad, int64_t dilation, int64_t stride, int64_t kernel, int64_t *taps,
                          int64_t *at, int64_t *before) {
    int64_t count = 0;
    *before = 0;
    for (int64_t r = kernel - 1; r >= 0; r--) {
        const int64_t phase = phase_of(r, pad, dilation, stride);
        *before += phase < a;
        if (phase != a) continue;
        taps[count] = r;
        at[count++] = (a + pad - r * dilation) / stride;
    }
    return count;
}

static int64_t reach(int64_t count, const int64_t *at) { return count > 0 ? at[count - 1] - at[0] : 0; }

conv2d_gather conv2d_largest_phase(const fc_conv2d *c) {
    return (conv2d_gather){
        .batch = c->batch, .groups = c->groups,
        .in_height = c->out_height, .in_width = c->out_width, .in_depth = conv2d_out_depth(c),
        .rows = fc_ceil_div(c->in_height, c->stride_height), .columns = fc_ceil_div(c->in_width, c->stride_width),
        .step_h = 1, .step_w = 1, .tap_rows = c->kernel_height, .tap_columns = c->kernel_width,
        .row_reach = (c->kernel_height - 1) * c->dilation_height,
        .column_reach = (c->kernel_width - 1) * c->dilation_width,
        .out_height = c->in_height, .out_width = c->in_width, .out_depth = conv2d_in_depth(c),
        .out_step_h = c->stride_height, .out_step_w = c->stride_width,
    };
}

conv2d_gather conv2d_phase_gather(const fc_conv2d *c, int64_t a, int64_t b, const conv2d_phase_tables *tables) {
    conv2d_gather g = conv2d_largest_phase(c);
    g.rows = fc_ceil_div(c->in_height - a, c->stride_height);
    g.columns = fc_ceil_div(c->in_width - b, c->stride_width);
    int64_t rows_before, columns_before;
    g.tap_rows = phase_taps(a, c->pad_top, c->dilation_height, c->stride_height, c->kernel_height, tables->rows,
                            tables->row_at, &rows_before);
    g.tap_columns = phase_taps(b, c->pad_left, c->dilation_width, c->stride_width, c->kernel_width, tables->columns,
                               tables->column_at, &columns_before);
    g.taps_before = rows_before * c->kernel_width + g.tap_rows * columns_before;
    g.row_at = tables->row_at;
    g.column_at = tables->column_at;
    g.row_reach = reach(g.tap_rows, g.row_at);
    g.column_reach = reach(g.tap_columns, g.column_at);
    g.out_h = a;
    g.out_w = b;
    return g;
}

void conv2d_inside_columns(const fc_conv2d *c, int64_t s, int64_t *begin, int64_t *end) {
    const int64_t shift = s * c->dilation_width - c->pad_left;
    *begin = fc_min(c->out_width, fc_max(0, fc_ceil_div_signed(-shift, c->stride_width)));
    *end = fc_max(*begin, fc_min(c->out_width, fc_floor_div(c->in_width - 1 - shift, c->stride_width) + 1));
}
