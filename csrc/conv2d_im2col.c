/* conv2d_im2col.c - the textbook path: unfold pixels into rows of columns, multiply by GEMM (Chellapilla et al. 2006).
 *
 * It takes any geometry, shares no loop with the direct driver, and so serves as fallback, baseline and oracle. The column
 * matrix never exists whole: a chunk of pixels is unfolded at a time (at most 1 MB). Columns are in the order (c, r, s), that
 * of the weights, which are used as they are.
 */
#include "conv2d.h"

enum { CHUNK_BYTES = 1024 * 1024, MOST_PIXELS = 256, FEWEST_PIXELS = 16 };

typedef struct im2col_task {
    const fc_conv2d *conv;
    const float *x;
    float *columns, *dx;
    int64_t group, begin, pixels; /* the chunk */
} im2col_task;

static bool supports(const fc_conv2d *c) {
    (void)c;
    return true;
}

static int64_t column_count(const fc_conv2d *c) { return conv2d_in_depth(c) * conv2d_taps(c); }

static int64_t chunk_pixels(const fc_conv2d *c) {
    const int64_t fitting = CHUNK_BYTES / (column_count(c) * (int64_t)sizeof(float));
    return fc_min(conv2d_pixels(c), fc_max(FEWEST_PIXELS, fc_min(MOST_PIXELS, fitting)));
}

/* columns[pixel][c][r][s] = x[...][c], or 0. Item: pixel of the chunk. */
static void unfold(void *arg, int64_t begin, int64_t end, int thread) {
    const im2col_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), taps = conv2d_taps(c);
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float *row = t->columns + i * depth * taps;
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t at = conv2d_input_pixel(c, t->begin + i, tap / c->kernel_width, tap % c->kernel_width);
            const float *from = t->x + at * c->in_channels + t->group * depth;
            for (int64_t d = 0; d < depth; d++) row[d * taps + tap] = at < 0 ? 0.0f : from[d];
        }
    }
}

/* dx[...][c] += columns[pixel][c][r][s]. Item: channel of the group, so that no two threads meet. */
static void fold(void *arg, int64_t begin, int64_t end, int thread) {
    const im2col_task *t = arg;
    const fc_conv2d *c = t->conv;
    const int64_t depth = conv2d_in_depth(c), taps = conv2d_taps(c);
    (void)thread;
    for (int64_t i = 0; i < t->pixels; i++) {
        const float *row = t->columns + i * depth * taps;
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t at = conv2d_input_pixel(c, t->begin + i, tap / c->kernel_width, tap % c->kernel_width);
            if (at < 0) continue;
            float *to = t->dx + at * c->in_channels + t->group * depth;
            for (int64_t d = begin; d < end; d++) to[d] += row[d * taps + tap];
        }
    }
}

/* The product of one chunk; every pass is one of the three. */
static fc_gemm chunk_gemm(const fc_conv2d *c, fc_pass pass, int64_t pixels, bool first) {
    const int64_t columns = column_count(c), depth = conv2d_out_depth(c), stride = c->out_channels;
    fc_gemm g = {.alpha = 1.0f, .beta = 0.0f};
    if (pass == FC_FORWARD) { /* y (pixels, k) = columns . w' */
        g = (fc_gemm){.m = pixels, .n = depth, .k = columns, .transpose_b = true, .a_stride = columns,
                      .b_stride = columns, .c_stride = stride, .alpha = 1.0f, .activation = c->activation};
    } else if (pass == FC_BACKWARD_INPUT) { /* columns = dy . w */
        g = (fc_gemm){.m = pixels, .n = columns, .k = depth, .a_stride = stride, .b_stride = columns,
                      .c_stride = columns, .alpha = 1.0f};
    } else { /* dw (k, columns) += dy' . columns */
        g = (fc_gemm){.m = depth, .n = columns, .k = pixels, .transpose_a = true, .a_stride = stride,
                      .b_stride = columns, .c_stride = columns, .alpha = 1.0f, .beta = first ? 0.0f : 1.0f};
    }
    return g;
}

static int64_t workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    const fc_gemm g = chunk_gemm(c, pass, chunk_pixels(c), true);
    return fc_round_up(chunk_pixels(c) * column_count(c) * (int64_t)sizeof(float), FC_ALIGNMENT) +
           fc_gemm_workspace_bytes(&g, ctx);
}

/* What the chunks of a pass read and write: y is the output in forward, dy in the backward passes. */
typedef struct im2col_operands {
    const float *x, *weight, *dy;
    const conv2d_epilogue *epilogue;
    float *y, *dx, *dweight;
} im2col_operands;

/* GEMM adds to what y holds: the chunk of the residual goes there first. */
static void forward_chunk(const im2col_task *t, fc_gemm g, const im2col_operands *o, int64_t weight_at, int64_t y_at,
                          void *workspace, const fc_context *ctx) {
    const conv2d_epilogue *epilogue = o->epilogue;
    const float *bias = epilogue->bias ? epilogue->bias + t->group * g.n : NULL;
    for (int64_t i = 0; epilogue->residual && i < g.m; i++)
        memcpy(o->y + y_at + i * g.c_stride, epilogue->residual + y_at + i * g.c_stride, (size_t)g.n * sizeof(float));
    g.beta = epilogue->residual ? 1.0f : 0.0f;
    fc_gemm_run(&g, t->columns, o->weight + weight_at, bias, o->y + y_at, workspace, ctx);
}

static void run_chunk(im2col_task *t, fc_pass pass, const im2col_operands *o, void *workspace, const fc_context *ctx) {
    const fc_conv2d *c = t->conv;
    const int64_t columns = column_count(c), depth = conv2d_out_depth(c);
    const int64_t weight_at = t->group * depth * columns, y_at = t->begin * c->out_channels + t->group * depth;
    const int threads = fc_threads_for_memory(t->pixels * columns * (int64_t)sizeof(float), ctx);
    const fc_gemm g = chunk_gemm(c, pass, t->pixels, t->begin == 0);
    if (pass == FC_BACKWARD_INPUT) {
        fc_gemm_run(&g, o->dy + y_at, o->weight + weight_at, NULL, t->columns, workspace, ctx);
        fc_parallel(conv2d_in_depth(c), threads, fold, t);
        return;
    }
    fc_parallel(t->pixels, threads, unfold, t);
    if (pass == FC_FORWARD)
        forward_chunk(t, g, o, weight_at, y_at, workspace, ctx);
    else
        fc_gemm_run(&g, o->dy + y_at, t->columns, NULL, o->dweight + weight_at, workspace, ctx);
}

static void run(const fc_conv2d *c, fc_pass pass, const im2col_operands *o, void *workspace, const fc_context *ctx) {
    const int64_t pixels = conv2d_pixels(c), chunk = chunk_pixels(c);
    fc_arena arena = {workspace};
    im2col_task t = {.conv = c, .x = o->x, .dx = o->dx};
    t.columns = fc_take(&arena, chunk * column_count(c) * (int64_t)sizeof(float));
    for (t.group = 0; t.group < c->groups; t.group++) {
        for (t.begin = 0; t.begin < pixels; t.begin += chunk) {
            t.pixels = fc_min(chunk, pixels - t.begin);
            run_chunk(&t, pass, o, arena.next, ctx);
        }
    }
}

static int64_t weight_bytes(const fc_conv2d *c, const fc_context *ctx) {
    (void)ctx;
    return c->out_channels * column_count(c) * (int64_t)sizeof(float);
}

/* GEMM packs what it needs: the weights go as they are. */
static void pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    memcpy(packed, weight, (size_t)weight_bytes(c, ctx));
}

static void forward(const fc_conv2d *c, const float *x, const float *packed, const conv2d_epilogue *epilogue, float *y,
                    void *workspace, const fc_context *ctx) {
    run(c, FC_FORWARD, &(im2col_operands){.x = x, .weight = packed, .epilogue = epilogue, .y = y}, workspace, ctx);
}

static void backward_input(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx) {
    const int64_t pixels = c->batch * c->in_height * c->in_width;
    memset(dx, 0, (size_t)(pixels * c->in_channels) * sizeof(float));
    run(c, FC_BACKWARD_INPUT, &(im2col_operands){.dy = dy, .weight = weight, .dx = dx}, workspace, ctx);
    conv2d_finish_pixels(epilogue, pixels, c->in_channels, dx, ctx);
}

static void backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx) {
    run(c, FC_BACKWARD_WEIGHT, &(im2col_operands){.x = x, .dy = dy, .dweight = dweight}, workspace, ctx);
    if (dbias) conv2d_reduce_bias(c, dy, dbias, ctx);
}

const conv2d_algorithm conv2d_im2col = {
    "im2col", supports, workspace_bytes, weight_bytes, pack, forward, backward_input, backward_weight, NULL, NULL,
};
