/* conv2d_depthwise.c - groups == channels: each channel has its own kernel, and channels are the vector dimension.
 *
 * The usual square kernels slide (conv2d_depthwise_slide.c). Here are the others: forward and input gradient are the
 * gathers of direct convolution (conv2d_gather.h) with one channel a group; a row of output pixels is cut into borders,
 * where some tap columns fall outside, and the inside, where none does.
 */
#include "conv2d_depthwise.h"

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
    return depthwise_packed_bytes(c);
}

typedef struct pack_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    bool backwards;
    const float *weight;
    float *packed;
} pack_task;

/* Item: block of channels. */
static void pack_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    const pack_task *t = arg;
    const int64_t taps = conv2d_taps(t->conv), size = taps * FC_DEPTHWISE_BLOCK;
    (void)thread;
    for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * FC_DEPTHWISE_BLOCK, channels = fc_min(FC_DEPTHWISE_BLOCK, t->conv->in_channels - first);
        float *packed = t->packed + block * size;
        if (channels < FC_DEPTHWISE_BLOCK) memset(packed, 0, (size_t)size * sizeof(float));
        const float *weight = t->weight + first * taps;
        for (int64_t tap = 0; tap < taps; tap++) {
            float *to = packed + (t->backwards ? taps - 1 - tap : tap) * FC_DEPTHWISE_BLOCK;
            for (int64_t i = 0; i < channels; i++) to[i] = weight[i * taps + tap];
        }
    }
}

void depthwise_pack(const fc_conv2d *c, bool backwards, const float *weight, float *packed, const fc_context *ctx) {
    pack_task t = {c, ctx, backwards, weight, packed};
    fc_parallel(fc_ceil_div(c->in_channels, FC_DEPTHWISE_BLOCK), fc_threads_for_memory(2 * depthwise_packed_bytes(c), ctx),
                pack_blocks, &t);
}

static void pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    depthwise_pack(c, false, weight, packed, ctx);
}

/* Output pixels [begin, end) of one row, whose tap columns [b_begin, b_end) lie inside the image. */
static void run_pixels(const depthwise_task *t, int64_t n, int64_t i, int64_t begin, int64_t end, int64_t b_begin,
                       int64_t b_end, const float **pointers) {
    const conv2d_gather *g = t->g;
    const float **x = pointers, **w = pointers + g->tap_rows * g->tap_columns;
    fc_depthwise d = {.x = x, .w = w, .x_step = g->step_w * g->groups, .y_step = g->out_step_w * g->groups,
                      .w_block = g->tap_rows * g->tap_columns * FC_DEPTHWISE_BLOCK, .count = end - begin,
                      .channels = g->groups, .bias = t->epilogue->bias};
    for (int64_t a = 0; a < g->tap_rows; a++) {
        const int64_t h = i * g->step_h + g->row_at[a];
        if (h < 0 || h >= g->in_height) continue;
        for (int64_t b = b_begin; b < b_end; b++, d.taps++) {
            const int64_t column = begin * g->step_w + g->column_at[b];
            x[d.taps] = t->x + ((n * g->in_height + h) * g->in_width + column) * g->groups;
            w[d.taps] = t->packed + (a * g->tap_columns + b) * FC_DEPTHWISE_BLOCK;
        }
    }
    const int64_t row = n * g->out_height + i * g->out_step_h + g->out_h;
    d.y = t->y + (row * g->out_width + begin * g->out_step_w + g->out_w) * g->groups;
    t->ctx->kernels->depthwise_row(&d);
    const int64_t runs = g->out_step_w == 1 ? 1 : d.count; /* of contiguous pixels */
    for (int64_t k = 0; k < runs; k++)
        conv2d_finish_run(t->epilogue, t->y, d.y - t->y + k * d.y_step, d.count / runs * g->groups, t->ctx);
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
    if (depthwise_slides(c)) {
        depthwise_slide_forward(c, x, packed, epilogue, y, false, ctx);
        return;
    }
    const conv2d_gather gather = conv2d_forward_gather(c, &arena);
    run_gather(&gather, x, packed, epilogue, y, arena.next, ctx);
}

/* packed[c / block][a][b][c % block] = weight[c][row tap a][column tap b] of the phase. */
static void pack_phase(const fc_conv2d *c, const conv2d_gather *g, const conv2d_phase_tables *tables,
                       const float *weight, float *packed) {
    const int64_t taps = g->tap_rows * g->tap_columns;
    for (int64_t i = 0; i < c->in_channels; i++)
        for (int64_t t = 0; t < taps; t++) {
            const int64_t tap = tables->rows[t / g->tap_columns] * c->kernel_width + tables->columns[t % g->tap_columns];
            packed[(i / FC_DEPTHWISE_BLOCK * taps + t) * FC_DEPTHWISE_BLOCK + i % FC_DEPTHWISE_BLOCK] =
                weight[i * conv2d_taps(c) + tap];
        }
}

static void backward_input(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    const conv2d_phase_tables tables = conv2d_take_phase_tables(c, &arena);
    float *packed = fc_take(&arena, packed_bytes(c, ctx));
    if (depthwise_slides(c)) {
        depthwise_pack(c, c->stride_height == 1, weight, packed, ctx);
        depthwise_slide_backward(c, dy, packed, epilogue, dx, false, ctx);
        return;
    }
    for (int64_t a = 0; a < conv2d_phase_rows(c); a++) {
        for (int64_t b = 0; b < conv2d_phase_columns(c); b++) {
            const conv2d_gather gather = conv2d_phase_gather(c, a, b, &tables);
            pack_phase(c, &gather, &tables, weight, packed);
            run_gather(&gather, dy, packed, epilogue, dx, arena.next, ctx);
        }
    }
}

/* ------------------------------------------------------------------------------------- Winograd's F(2, 3) down columns */

static bool supports_mixed(const fc_conv2d *c) {
    return supports(c) && depthwise_slides(c) && c->kernel_height == 3 && c->stride_height == 1;
}

static void forward_mixed(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue,
                          float *y, void *workspace, const fc_context *ctx) {
    (void)workspace;
    depthwise_slide_forward(c, x, packed, epilogue, y, true, ctx);
}

static void backward_input_mixed(const fc_conv2d *c, const float *dy, const float *weight,
                                 const conv2d_epilogue *epilogue, float *dx, void *workspace, const fc_context *ctx) {
    depthwise_pack(c, true, weight, workspace, ctx);
    depthwise_slide_backward(c, dy, workspace, epilogue, dx, true, ctx);
}

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    if (pass == FC_BACKWARD_WEIGHT) return depthwise_weight_bytes(c);
    return conv2d_phase_tables_bytes(c) + fc_round_up(packed_bytes(c, ctx), FC_ALIGNMENT) + pointers_bytes(c, ctx);
}

const conv2d_algorithm conv2d_depthwise = {
    "depthwise", supports, workspace_bytes, packed_bytes, pack, forward, backward_input, depthwise_backward_weight,
    NULL, NULL,
};

const conv2d_algorithm conv2d_winograd_depthwise = {
    "winograd_depthwise", supports_mixed, workspace_bytes, packed_bytes, pack, forward_mixed, backward_input_mixed,
    depthwise_backward_weight, NULL, NULL,
};
