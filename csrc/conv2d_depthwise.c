/* conv2d_depthwise.c - groups == channels: each channel has its own kernel, and channels are the vector dimension.
 *
 * Forward and input gradient are the gathers of direct convolution (conv2d_gather.h) with one channel a group; a row of
 * output pixels is cut into borders, where some tap columns fall outside, and the inside, where none does.
 */
#include "conv2d_gather.h"

typedef struct depthwise_task {
    const conv2d_gather *g;
    const fc_context *ctx;
    const float *x, *packed;
    const conv2d_epilogue *epilogue;
    float *y;
    const float **pointers; /* a thread: 2 * taps */
} depthwise_task;

static bool supports(const fc_conv2d *c) {
    return c->groups == c->in_channels && c->groups == c->out_channels && c->groups > 1;
}

static int64_t packed_bytes(const fc_conv2d *c, const fc_context *ctx) {
    (void)ctx;
    return conv2d_taps(c) * c->in_channels * (int64_t)sizeof(float);
}

/* packed[tap][c] = weight[c][tap] */
static void pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    fc_transpose(1, c->in_channels, conv2d_taps(c), weight, packed, ctx);
}

/* What the kernel leaves of the epilogue, on `size` floats in L1. */
static void finish_pixels(const depthwise_task *t, float *y, int64_t size) {
    const fc_activation *f = t->epilogue->activation;
    if (t->epilogue->residual) {
        const float *residual = t->epilogue->residual + (y - t->y);
        for (int64_t i = 0; i < size; i++) y[i] += residual[i];
    }
    if (f && f->kind != FC_IDENTITY) t->ctx->kernels->activation_row(*f, size, y, y);
}

/* Output pixels [begin, end) of one row, whose tap columns [b_begin, b_end) lie inside the image. */
static void run_pixels(const depthwise_task *t, int64_t n, int64_t i, int64_t begin, int64_t end, int64_t b_begin,
                       int64_t b_end, const float **pointers) {
    const conv2d_gather *g = t->g;
    const float **x = pointers, **w = pointers + g->tap_rows * g->tap_columns;
    fc_depthwise d = {.x = x, .w = w, .x_step = g->step_w * g->groups, .y_step = g->out_step_w * g->groups,
                      .count = end - begin, .channels = g->groups, .bias = t->epilogue->bias};
    for (int64_t a = 0; a < g->tap_rows; a++) {
        const int64_t h = i * g->step_h + g->row_at[a];
        if (h < 0 || h >= g->in_height) continue;
        for (int64_t b = b_begin; b < b_end; b++, d.taps++) {
            const int64_t column = begin * g->step_w + g->column_at[b];
            x[d.taps] = t->x + ((n * g->in_height + h) * g->in_width + column) * g->groups;
            w[d.taps] = t->packed + (a * g->tap_columns + b) * g->groups;
        }
    }
    const int64_t row = n * g->out_height + i * g->out_step_h + g->out_h;
    d.y = t->y + (row * g->out_width + begin * g->out_step_w + g->out_w) * g->groups;
    t->ctx->kernels->depthwise_row(&d);
    finish_pixels(t, d.y, d.count * g->groups);
}

/* Item: (image, row of the grid). */
static void run_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const depthwise_task *t = arg;
    const conv2d_gather *g = t->g;
    const float **pointers = t->pointers + thread * 2 * g->tap_rows * g->tap_columns;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / g->rows, i = item % g->rows;
        for (int64_t j = 0, next; j < g->columns; j = next) {
            int64_t b_begin = 0, b_end = g->tap_columns;
            while (b_begin < b_end && j * g->step_w + g->column_at[b_begin] < 0) b_begin++;
            while (b_end > b_begin && j * g->step_w + g->column_at[b_end - 1] >= g->in_width) b_end--;
            next = j + 1;
            if (b_begin == 0 && b_end == g->tap_columns && b_end > 0)
                next = fc_max(next, fc_min(g->columns, fc_floor_div(g->in_width - 1 - g->column_at[b_end - 1], g->step_w) + 1));
            run_pixels(t, n, i, j, next, b_begin, b_end, pointers);
        }
    }
}

static void run_gather(const conv2d_gather *g, const float *x, const float *packed,
                       const conv2d_epilogue *epilogue, float *y, void *pointers, const fc_context *ctx) {
    depthwise_task t = {g, ctx, x, packed, epilogue, y, pointers};
    const int64_t bytes = g->batch * g->rows * g->columns * g->groups * (int64_t)sizeof(float);
    fc_parallel(g->batch * g->rows, fc_threads_for_memory(bytes, ctx), run_rows, &t);
}

static int64_t pointers_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return ctx->num_threads * 2 * conv2d_taps(c) * (int64_t)sizeof(float *);
}

static void forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue, float *y,
                    void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_gather gather = conv2d_forward_gather(c, &arena);
    run_gather(&gather, x, packed, epilogue, y, arena.next, ctx);
}

/* packed[a][b][c] = weight[c][row tap a][column tap b] of the phase. */
static void pack_phase(const fc_conv2d *c, const conv2d_gather *g, const conv2d_phase_tables *tables,
                       const float *weight, float *packed) {
    for (int64_t a = 0; a < g->tap_rows; a++)
        for (int64_t b = 0; b < g->tap_columns; b++, packed += c->in_channels)
            for (int64_t i = 0; i < c->in_channels; i++)
                packed[i] = weight[i * conv2d_taps(c) + tables->rows[a] * c->kernel_width + tables->columns[b]];
}

static void backward_input(const fc_conv2d *c, const float *dy, const float *weight, float *dx, void *workspace,
                           const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    float *packed = fc_take(&arena, packed_bytes(c, ctx));
    for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
        for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
            const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
            pack_phase(c, &gather, &tables, weight, packed);
            run_gather(&gather, dy, packed, &(conv2d_epilogue){0}, dx, arena.next, ctx);
        }
    }
}

/* ----------------------------------------------------------------------------------------------- backward weight */

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x;
    float *sums; /* [tap][c] */
} weight_task;

/* Channels an item takes: whole vectors of every instruction set, and a few cache lines of each pixel. */
enum { ITEM_CHANNELS = 64 };

/* sums[tap][c] for one kernel row and a range of channels. Item: (kernel row, channel range). */
static void reduce_weights(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t ranges = fc_ceil_div(c->in_channels, ITEM_CHANNELS), rows = c->batch * c->out_height;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t r = item / ranges, first = item % ranges * ITEM_CHANNELS;
        const int64_t channels = fc_min(ITEM_CHANNELS, c->in_channels - first);
        float *sums = t->sums + r * c->kernel_width * c->in_channels + first;
        for (int64_t s = 0; s < c->kernel_width; s++)
            memset(sums + s * c->in_channels, 0, (size_t)channels * sizeof(float));
        for (int64_t row = 0; row < rows; row++) {
            const int64_t h = row % c->out_height * c->stride_height + r * c->dilation_height - c->pad_top;
            if (h < 0 || h >= c->in_height) continue;
            const float *line = t->x + (row / c->out_height * c->in_height + h) * c->in_width * c->in_channels + first;
            const float *dy = t->dy + row * c->out_width * c->in_channels + first;
            for (int64_t s = 0; s < c->kernel_width; s++) {
                int64_t q, q_end;
                conv2d_inside_columns(c, s, &q, &q_end);
                const int64_t w = q * c->stride_width + s * c->dilation_width - c->pad_left;
                if (q < q_end)
                    t->ctx->kernels->depthwise_dot(line + w * c->in_channels, c->stride_width * c->in_channels,
                                                   dy + q * c->in_channels, c->in_channels, q_end - q, channels,
                                                   sums + s * c->in_channels);
            }
        }
    }
}

static void backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx) {
    weight_task t = {c, ctx, dy, x, workspace};
    fc_parallel(c->kernel_height * fc_ceil_div(c->in_channels, ITEM_CHANNELS),
                fc_threads_for_arithmetic(conv2d_multiply_adds(c), ctx), reduce_weights, &t);
    fc_transpose(1, conv2d_taps(c), c->in_channels, t.sums, dweight, ctx);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    if (pass == FC_BACKWARD_WEIGHT) return packed_bytes(c, ctx);
    return conv2d_phase_tables_bytes(c) + fc_round_up(packed_bytes(c, ctx), FC_ALIGNMENT) + pointers_bytes(c, ctx);
}

const conv2d_algorithm conv2d_depthwise = {
    "depthwise", supports, workspace_bytes, packed_bytes, pack, forward, backward_input, backward_weight,
};
