/* driver.c - calls every entry point of the C API on random shapes, for AddressSanitizer and UndefinedBehaviorSanitizer.
 *
 *     driver <instruction set> <rounds>
 *
 * Every array is an allocation of exactly its size, and so is every workspace; outputs start as NaN and must come out
 * finite. Threads are imitated: this file replaces fc_parallel by one that runs the parts one after the other, each with
 * its own thread number, so that scratch per thread is checked too, and in the same order every time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastconv.h"
#include "parallel.h"

void fc_parallel(int64_t count, int num_threads, fc_range_task task, void *arg) {
    const int64_t parts = fc_min(num_threads, count);
    for (int64_t i = parts - 1; i >= 0; i--) { /* backwards: no part may rely on those before it */
        int64_t begin, end;
        fc_split(count, parts, i, &begin, &end);
        if (begin < end) task(arg, begin, end, (int)i);
    }
}

/* ------------------------------------------------------------------------------------------------------- plumbing */

static uint64_t state = 0x9E3779B97F4A7C15u;

static uint64_t next_random(void) { /* xorshift64 (Marsaglia 2003) */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int64_t between(int64_t low, int64_t high) { return low + (int64_t)(next_random() % (uint64_t)(high - low + 1)); }

/* Sizes at which vectors and tiles have tails. */
static int64_t ragged(int64_t most) {
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65};
    int64_t size;
    do size = sizes[between(0, (int64_t)(sizeof sizes / sizeof sizes[0]) - 1)]; while (size > most);
    return size;
}

enum { MOST_ARRAYS = 64 };
static void *arrays[MOST_ARRAYS];
static int array_count;
static const char *doing = "nothing";

static void fail(const char *why) {
    fprintf(stderr, "driver: %s: %s\n", doing, why);
    exit(1);
}

static void *keep(void *memory) {
    if (array_count == MOST_ARRAYS) fail("too many arrays");
    return arrays[array_count++] = memory;
}

static void free_all(void) {
    while (array_count > 0) free(arrays[--array_count]);
}

/* `size` floats that end where the allocation ends; they start at any multiple of 4 bytes. */
static float *filled(int64_t size, float least, float most) {
    const int64_t shift = between(0, 3);
    float *memory = keep(malloc((size_t)(size + shift) * sizeof(float)));
    for (int64_t i = 0; i < size; i++)
        memory[shift + i] = least + (most - least) * (float)(next_random() >> 40) / (float)(1 << 24);
    return memory + shift;
}

static float *input(int64_t size) { return filled(size, -1.0f, 1.0f); }
static float *output(int64_t size) { return filled(size, NAN, NAN); }

static void *workspace(int64_t bytes) {
    void *memory = NULL;
    if (bytes < 0) fail("negative workspace");
    if (bytes == 0) return NULL;
    if (posix_memalign(&memory, 64, (size_t)bytes)) fail("no memory");
    return memset(keep(memory), 0xFF, (size_t)bytes); /* NaN */
}

static void check_finite(const float *y, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        if (!isfinite(y[i])) fail("an output is not finite");
}

/* Any but exp, which makes inf of 89. */
static fc_activation any_activation(void) {
    const fc_activation_kind kind = (fc_activation_kind)between(0, FC_ACTIVATION_COUNT - 1);
    return (fc_activation){kind == FC_EXP ? FC_IDENTITY : kind, 1.0f, 20.0f};
}

/* ----------------------------------------------------------------------------------------------------------- GEMM */

static void run_gemm(const fc_context *ctx) {
    fc_gemm g = {.m = ragged(65), .n = ragged(65), .k = between(0, 3) ? ragged(65) : between(0, 700),
                 .transpose_a = between(0, 1), .transpose_b = between(0, 1), .alpha = 0.5f,
                 .beta = between(0, 1) ? 0.0f : 2.0f, .activation = any_activation()};
    if (between(0, 9) == 0) g.n = between(2040, 2120);
    if (between(0, 9) == 0) g.m = between(90, 200);
    const int64_t a_rows = g.transpose_a ? g.k : g.m, b_rows = g.transpose_b ? g.n : g.k;
    g.a_stride = (g.transpose_a ? g.m : g.k) + between(0, 2);
    g.b_stride = (g.transpose_b ? g.k : g.n) + between(0, 2);
    g.c_stride = g.n + between(0, 2);
    /* The last row ends with its last element, without the gap. */
    const float *a = input(a_rows ? (a_rows - 1) * g.a_stride + (g.transpose_a ? g.m : g.k) : 0);
    const float *b = input(b_rows ? (b_rows - 1) * g.b_stride + (g.transpose_b ? g.k : g.n) : 0);
    float *c = g.beta == 0.0f ? output((g.m - 1) * g.c_stride + g.n) : input((g.m - 1) * g.c_stride + g.n);
    const float *bias = between(0, 1) ? input(g.n) : NULL;
    fc_gemm_run(&g, a, b, bias, c, workspace(fc_gemm_workspace_bytes(&g, ctx)), ctx);
    for (int64_t i = 0; i < g.m; i++) check_finite(c + i * g.c_stride, g.n);
}

static void run_gemm_batch(const fc_context *ctx) {
    const int64_t m = ragged(33), n = ragged(65), k = between(0, 3) ? ragged(33) : between(0, 700), count = between(0, 5);
    const bool turned_a = between(0, 1), turned_b = between(0, 1), one_a = between(0, 3) == 0, one_b = between(0, 3) == 0;
    const fc_gemm g = {.m = m, .n = n, .k = k, .transpose_a = turned_a, .transpose_b = turned_b,
                       .a_stride = turned_a ? m : k, .b_stride = turned_b ? k : n, .c_stride = n, .alpha = 1.0f};
    const fc_gemm_batch batch = {count, one_a ? 0 : m * k, one_b ? 0 : k * n, m * n};
    const float *a = input((one_a ? 1 : count) * m * k), *b = input((one_b ? 1 : count) * k * n);
    float *c = output(count * m * n);
    fc_gemm_batch_run(&g, &batch, a, b, c, workspace(fc_gemm_batch_workspace_bytes(&g, &batch, ctx)), ctx);
    check_finite(c, count * m * n);
}

/* --------------------------------------------------------------------------------------------------- convolution */

static fc_conv2d any_conv2d(void) {
    fc_conv2d c = {.batch = between(1, 3), .in_height = between(1, 17), .in_width = between(1, 17),
                   .kernel_height = between(1, 5), .kernel_width = between(1, 5), .stride_height = between(1, 4),
                   .stride_width = between(1, 4), .dilation_height = between(1, 3), .dilation_width = between(1, 3),
                   .groups = 1, .pad_top = between(0, 4), .pad_bottom = between(0, 4), .pad_left = between(0, 4),
                   .pad_right = between(0, 4), .activation = any_activation()};
    c.in_channels = ragged(33);
    c.out_channels = ragged(33);
    switch (between(0, 5)) {
    case 0: c.groups = c.in_channels = c.out_channels; break;
    case 1: c.groups = between(2, 3), c.in_channels *= c.groups, c.out_channels *= c.groups; break;
    case 2: c.kernel_height = c.kernel_width = 1; break;
    case 3: c.in_channels = between(1, 8); break;
    default: break;
    }
    if (between(0, 19) == 0) c.in_channels = between(300, 700), c.out_channels = 3, c.groups = 1, c.in_height = 2;
    if (between(0, 19) == 0) c.stride_height = INT64_MAX - between(0, 1), c.stride_width = INT64_MAX / 2;
    if (between(0, 9) == 0) c.batch = 0;
    c.algorithm = (fc_conv2d_algorithm)between(0, FC_CONV2D_ALGORITHM_COUNT - 1);
    return c;
}

static void run_conv2d(const fc_context *ctx) {
    fc_conv2d c = any_conv2d();
    fc_error error;
    if (fc_conv2d_plan(&c, &error) != FC_OK) return;
    if (!fc_conv2d_algorithm_name(c.chosen[FC_FORWARD])) fail("an algorithm without a name");
    const int64_t x_size = c.batch * c.in_height * c.in_width * c.in_channels;
    const int64_t y_size = c.batch * c.out_height * c.out_width * c.out_channels;
    const int64_t w_size = c.out_channels * (c.in_channels / c.groups) * c.kernel_height * c.kernel_width;
    const float *x = input(x_size), *w = input(w_size), *dy = input(y_size);
    const float *bias = between(0, 1) ? input(c.out_channels) : NULL;
    const float *residual = between(0, 1) ? input(y_size) : NULL;
    float *y = output(y_size), *dx = output(x_size), *dw = output(w_size);
    float *dbias = between(0, 1) ? output(c.out_channels) : NULL;
    float *packed = workspace(fc_conv2d_packed_bytes(&c, ctx));
    fc_conv2d_pack(&c, w, packed, ctx);
    fc_conv2d_forward(&c, x, packed, bias, residual, y, workspace(fc_conv2d_workspace_bytes(&c, FC_FORWARD, ctx)), ctx);
    check_finite(y, y_size);
    float *plain_y = output(y_size);
    fc_conv2d_forward_plain(&c, x, w, bias, residual, plain_y, workspace(fc_conv2d_plain_workspace_bytes(&c, ctx)), ctx);
    if (y_size && memcmp(y, plain_y, (size_t)y_size * sizeof(float))) fail("packed and plain weights differ");
    fc_conv2d_backward_input(&c, dy, w, dx, workspace(fc_conv2d_workspace_bytes(&c, FC_BACKWARD_INPUT, ctx)), ctx);
    check_finite(dx, x_size);
    fc_conv2d_backward_weight(&c, dy, x, dw, dbias,
                              workspace(fc_conv2d_workspace_bytes(&c, FC_BACKWARD_WEIGHT, ctx)), ctx);
    check_finite(dw, w_size);
    if (dbias) check_finite(dbias, c.out_channels);
    /* Transposed: from dy to an image as large as x. */
    float *image = output(x_size), *image_dbias = output(c.in_channels);
    const float *image_bias = between(0, 1) ? input(c.in_channels) : NULL;
    const float *image_residual = between(0, 1) ? input(x_size) : NULL;
    fc_conv_transpose2d_forward(&c, dy, w, image_bias, image_residual, image,
                                workspace(fc_conv2d_workspace_bytes(&c, FC_BACKWARD_INPUT, ctx)), ctx);
    check_finite(image, x_size);
    fc_conv_transpose2d_backward_bias(c.batch * c.in_height * c.in_width, c.in_channels, x, image_dbias, ctx);
    check_finite(image_dbias, c.in_channels);
}

/* Descriptors of random extremes: the plan must refuse or accept them without undefined arithmetic. */
static int64_t extreme(void) {
    static const int64_t values[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 2, 3, 1 << 20, INT64_C(1) << 31,
                                     INT64_C(1) << 61, INT64_C(1) << 62, INT64_MAX - 1, INT64_MAX};
    return values[between(0, (int64_t)(sizeof values / sizeof values[0]) - 1)];
}

static void plan_extremes(const fc_context *ctx) {
    fc_conv2d c = any_conv2d();
    fc_pool2d p = {.batch = 1, .channels = 3, .in_height = 9, .in_width = 7, .kernel_height = 2, .kernel_width = 2,
                   .stride_height = 1, .stride_width = 1, .dilation_height = 1, .dilation_width = 1,
                   .ceil_mode = between(0, 1)};
    int64_t *const conv_fields[] = {&c.batch, &c.in_channels, &c.in_height, &c.in_width, &c.out_channels,
                                    &c.kernel_height, &c.kernel_width, &c.stride_height, &c.stride_width,
                                    &c.dilation_height, &c.dilation_width, &c.groups, &c.pad_top, &c.pad_bottom,
                                    &c.pad_left, &c.pad_right};
    int64_t *const pool_fields[] = {&p.divisor, &p.out_height, &p.out_width, &p.batch, &p.channels, &p.in_height, &p.in_width, &p.kernel_height,
                                    &p.kernel_width, &p.stride_height, &p.stride_width, &p.dilation_height,
                                    &p.dilation_width, &p.pad_top, &p.pad_bottom, &p.pad_left, &p.pad_right};
    fc_error error;
    p.adaptive = between(0, 1), p.out_height = p.out_width = 3;
    for (int64_t i = between(1, 3); i > 0; i--) *conv_fields[between(0, 15)] = extreme();
    for (int64_t i = between(1, 3); i > 0; i--) *pool_fields[between(0, 16)] = extreme();
    if (fc_conv2d_plan(&c, &error) == FC_OK) {
        if (c.out_height < 1 || c.out_width < 1) fail("a plan without output");
    } else if (!error.argument || !error.rule || error.count < 0 || error.count > 4) {
        fail("a refusal without a reason");
    }
    if (fc_pool2d_plan(&p, &error) == FC_OK && (p.out_height < 1 || p.out_width < 1)) fail("a pool without output");
    (void)ctx;
}

/* ------------------------------------------------------------------------------------------------------- pooling */

static void run_pool2d(const fc_context *ctx) {
    fc_pool2d p = {.batch = between(0, 3), .channels = ragged(65), .in_height = between(1, 17), .in_width = between(1, 17),
                   .kernel_height = between(1, 5), .kernel_width = between(1, 5), .stride_height = between(1, 4),
                   .stride_width = between(1, 4), .dilation_height = 1, .dilation_width = 1, .pad_top = between(0, 2),
                   .pad_bottom = between(0, 2), .pad_left = between(0, 2), .pad_right = between(0, 2),
                   .ceil_mode = between(0, 1), .count_include_pad = between(0, 1)};
    const bool dilated = between(0, 2) == 0;
    fc_error error;
    if (dilated) p.dilation_height = between(1, 3), p.dilation_width = between(1, 3);
    if (between(0, 3) == 0) p.adaptive = true, p.out_height = between(1, 20), p.out_width = between(1, 20);
    if (between(0, 3) == 0) p.divisor = between(1, 9);
    if (between(0, 1)) p.stride_height = p.stride_width = 1;
    if (fc_pool2d_plan(&p, &error) != FC_OK) return;
    const int64_t bytes = fc_pool2d_workspace_bytes(&p, ctx);
    const int64_t x_size = p.batch * p.in_height * p.in_width * p.channels;
    const int64_t y_size = p.batch * p.out_height * p.out_width * p.channels;
    const float *x = input(x_size), *dy = input(y_size);
    float *y = output(y_size), *plain = output(y_size), *dx = output(x_size);
    int32_t *indices = (int32_t *)output(y_size);
    fc_max_pool2d_forward(&p, x, y, indices, workspace(bytes), ctx);
    check_finite(y, y_size);
    fc_max_pool2d_forward(&p, x, plain, NULL, workspace(bytes), ctx);
    if (y_size && memcmp(y, plain, (size_t)y_size * sizeof(float))) fail("the maximum depends on the indices");
    if (!fc_max_pool2d_backward(&p, dy, indices, true, dx, workspace(bytes), ctx))
        fail("indices of its own refused");
    check_finite(dx, x_size);
    if (dilated && !p.adaptive) return;
    y = output(y_size), dx = output(x_size);
    fc_avg_pool2d_forward(&p, x, y, workspace(bytes), ctx);
    fc_avg_pool2d_backward(&p, dy, dx, workspace(bytes), ctx);
    check_finite(y, y_size);
    check_finite(dx, x_size);
}

static void run_max_unpool2d(const fc_context *ctx) {
    const int64_t batch = between(0, 3), pixels = between(1, 30), channels = ragged(40), plane = between(1, 50);
    const int64_t size = batch * pixels * channels;
    const float *x = input(size), *dy = input(batch * plane * channels);
    int32_t *indices = (int32_t *)output(size);
    float *y = output(batch * plane * channels), *dx = output(size);
    for (int64_t i = 0; i < size; i++) indices[i] = (int32_t)between(0, plane - 1);
    if (!fc_max_unpool2d_indices_ok(batch, pixels, channels, plane, indices)) fail("good indices refused");
    fc_max_unpool2d_forward(batch, pixels, channels, plane, x, indices, y, ctx);
    fc_max_unpool2d_backward(batch, pixels, channels, plane, dy, indices, dx, ctx);
    check_finite(y, batch * plane * channels);
    check_finite(dx, size);
    if (size == 0) return;
    indices[between(0, size - 1)] = between(0, 1) ? (int32_t)plane : -1;
    if (fc_max_unpool2d_indices_ok(batch, pixels, channels, plane, indices)) fail("a bad index accepted");
}

/* --------------------------------------------------------------------------------- elementwise, norm and layout */

static void run_elementwise(const fc_context *ctx) {
    const fc_activation f = between(0, 19) ? any_activation() : (fc_activation){FC_EXP, 0.0f, 0.0f};
    const int64_t size = between(0, 9) ? ragged(65) : between(0, 70000);
    const float *x = filled(size, -100.0f, f.kind == FC_EXP ? 80.0f : 100.0f), *dy = input(size);
    float *y = output(size), *dx = output(size);
    fc_activation_forward(f, size, x, y, ctx);
    fc_activation_backward(f, size, dy, f.kind == FC_EXP || f.kind == FC_SIGMOID || f.kind == FC_TANH ? y : x, dx, ctx);
    check_finite(y, size);
    check_finite(dx, size);
}

static void run_softmax(const fc_context *ctx) {
    const int64_t outer = between(0, 5), columns = ragged(140), inner = between(0, 1) ? 1 : ragged(65);
    const int64_t size = outer * columns * inner;
    const float *x = filled(size, -100.0f, 100.0f), *weight = filled(columns, 0.5f, 2.0f);
    for (int log = 0; log < 2; log++) {
        float *y = output(size), *dx = output(size);
        void *space = workspace(fc_softmax_workspace_bytes(false, outer, columns, inner, ctx));
        fc_softmax_forward(log, outer, columns, inner, x, y, space, ctx);
        space = workspace(fc_softmax_workspace_bytes(true, outer, columns, inner, ctx));
        fc_softmax_backward(log, outer, columns, inner, x, y, dx, space, ctx);
        check_finite(y, size);
        check_finite(dx, size);
    }
    if (size == 0) return;
    int64_t *labels = workspace(outer * inner * (int64_t)sizeof(int64_t));
    for (int64_t i = 0; i < outer * inner; i++) labels[i] = between(0, 9) ? between(0, (int)columns - 1) : -100;
    double divisor = 0.0;
    if (fc_cross_entropy_divisor(outer * inner, columns, labels, weight, -100, &divisor) >= 0) fail("a label refused");
    float *gradient = output(size);
    void *space = workspace(fc_cross_entropy_workspace_bytes(outer, columns, inner, ctx));
    const float smoothing = between(0, 1) ? 0.0f : 0.2f;
    const double loss = fc_cross_entropy_run(outer, columns, inner, x, labels, smoothing > 0 || between(0, 1) ? weight : NULL,
                                             smoothing, 1.0f, -100, gradient, space, ctx);
    const float sum = (float)loss;
    check_finite(&sum, 1);
    check_finite(gradient, size);
}

static void run_loss(const fc_context *ctx) {
    const int64_t size = between(0, 9) ? ragged(65) : between(0, 70000);
    const float *x = filled(size, -100.0f, 100.0f), *targets = filled(size, 0.0f, 1.0f);
    float *gradient = output(size);
    const fc_loss_kind kind = between(0, 1) ? FC_SQUARED_ERROR : FC_LOGISTIC;
    const float sum = (float)fc_loss_run(kind, size, x, targets, 0.5f, gradient, workspace(fc_loss_workspace_bytes(size)), ctx);
    check_finite(&sum, 1);
    check_finite(gradient, size);
}

static void run_ctc(const fc_context *ctx) {
    fc_ctc ctc = {.steps = between(0, 40), .batch = between(0, 4), .classes = 1 + ragged(140), .mean = between(0, 1)};
    const int64_t most = ragged(33), size = ctc.steps * ctc.batch * ctc.classes, bytes = (int64_t)sizeof(int64_t);
    int64_t *lengths = workspace(ctc.batch * bytes), *starts = workspace(ctc.batch * bytes);
    int64_t *counts = workspace(ctc.batch * bytes), *targets = workspace(ctc.batch * most * bytes);
    ctc.blank = between(0, ctc.classes - 1), ctc.zero_infinity = true;
    ctc.lengths = lengths, ctc.targets = targets, ctc.target_starts = starts, ctc.target_lengths = counts;
    for (int64_t n = 0; n < ctc.batch; n++)
        lengths[n] = between(0, ctc.steps), counts[n] = between(0, most), starts[n] = n * most;
    for (int64_t i = 0; i < ctc.batch * most; i++) targets[i] = (ctc.blank + between(1, ctc.classes - 1)) % ctc.classes;
    if (fc_ctc_bad_target(&ctc) >= 0) fail("a label refused");
    const float *x = filled(size, -100.0f, 100.0f);
    float *gradient = output(size);
    const float sum = (float)fc_ctc_run(&ctc, x, gradient, workspace(fc_ctc_workspace_bytes(&ctc, ctx)), ctx);
    check_finite(&sum, 1);
    check_finite(gradient, size);
}

static void run_ctc_beam(const fc_context *ctx) {
    fc_ctc_beam decode = {.steps = between(0, 30), .batch = between(0, 4), .classes = ragged(140), .width = ragged(33)};
    const int64_t size = decode.steps * decode.batch * decode.classes, bytes = (int64_t)sizeof(int64_t);
    decode.top = between(1, decode.width), decode.blank = between(0, decode.classes - 1);
    int64_t *lengths = workspace(decode.batch * bytes), *labels = workspace(decode.batch * decode.top * decode.steps * bytes);
    int64_t *counts = workspace(decode.batch * decode.top * bytes);
    double *scores = workspace(decode.batch * decode.top * (int64_t)sizeof(double));
    for (int64_t n = 0; n < decode.batch; n++) lengths[n] = between(0, decode.steps);
    decode.lengths = lengths;
    const float *x = filled(size, -9.0f, 0.0f);
    fc_ctc_beam_run(&decode, x, labels, counts, scores, workspace(fc_ctc_beam_workspace_bytes(&decode, ctx)), ctx);
    for (int64_t i = 0; i < decode.batch * decode.top; i++)
        if (counts[i] < -1 || counts[i] > decode.steps || (counts[i] >= 0 && !isfinite(scores[i]))) fail("a bad labelling");
}

static void run_embedding(const fc_context *ctx) {
    const int64_t count = between(0, 70), columns = ragged(65), rows = ragged(33);
    int64_t *ids = workspace(count * (int64_t)sizeof(int64_t));
    for (int64_t i = 0; i < count; i++) ids[i] = between(0, rows - 1);
    float *dweight = output(rows * columns);
    fc_embedding_backward(count, columns, rows, ids, input(count * columns), dweight, ctx);
    check_finite(dweight, rows * columns);
}

static void run_broadcast(const fc_context *ctx) {
    fc_elementwise e = {.op = (fc_elementwise_op)between(0, FC_ELEMENTWISE_OP_COUNT - 1), .activation = any_activation()};
    int64_t count = 1, a_count = 1, b_count = 1;
    for (int axis = 0; axis < FC_ELEMENTWISE_AXES; axis++) {
        e.size[axis] = axis < 2 ? between(0, 3) : ragged(65);
        if (axis == 3 && between(0, 5) == 0) e.size[axis] = between(2000, 40000);
        e.a_has[axis] = e.op >= FC_PRELU || between(0, 2);
        e.b_has[axis] = !e.a_has[axis] || between(0, 1);
        count *= e.size[axis];
        a_count *= e.a_has[axis] ? e.size[axis] : 1;
        b_count *= e.b_has[axis] ? e.size[axis] : 1;
    }
    const float *a = input(a_count), *b = input(b_count), *gate = e.op == FC_PRELU_BACKWARD ? input(a_count) : NULL;
    float *y = output(count);
    fc_elementwise_forward(&e, a, b, gate, y, ctx);
    check_finite(y, count);
    const fc_sum_kind kind = (fc_sum_kind)between(0, 2);
    const int64_t outer = between(0, 3), rows = between(0, 3) ? ragged(65) : between(0, 700), columns = ragged(65);
    const float *dy = input(outer * rows * columns), *x = kind == FC_SUM ? NULL : input(outer * rows * columns);
    float *sums = output(outer * columns), *row_sums = output(outer * rows);
    fc_column_sums(kind, outer, rows, columns, dy, x, sums,
                   workspace(fc_column_sums_workspace_bytes(outer, rows, columns, ctx)), ctx);
    fc_row_sums(kind, outer * rows, columns, dy, x, row_sums,
                workspace(fc_row_sums_workspace_bytes(outer * rows, columns, ctx)), ctx);
    check_finite(sums, outer * columns);
    check_finite(row_sums, outer * rows);
    const float *halves = filled(outer * 2 * rows, -100.0f, 100.0f), *gated_dy = input(outer * rows);
    float *gated = output(outer * rows), *gradient = output(outer * 2 * rows);
    fc_glu_forward(outer, rows, halves, gated, ctx);
    fc_glu_backward(outer, rows, gated_dy, halves, gradient, ctx);
    check_finite(gated, outer * rows);
    check_finite(gradient, outer * 2 * rows);
}

static void run_norm(const fc_context *ctx) {
    const int64_t width = between(0, 1) ? 1 : between(1, 5), groups = ragged(65);
    const fc_norm norm = {between(1, 5), between(0, 4) ? ragged(65) : between(1, 2000), width * groups, groups};
    const int64_t size = norm.images * norm.rows * norm.channels, statistics = norm.images * groups;
    const float *x = input(size), *dy = input(size);
    const float *weight = between(0, 1) ? input(norm.channels) : NULL, *bias = between(0, 1) ? input(norm.channels) : NULL;
    float *mean = output(statistics), *var = output(statistics), *y = output(size), *again = output(size);
    float *dx = output(size), *dweight = output(norm.channels), *dbias = output(norm.channels);
    const int64_t bytes = fc_norm_workspace_bytes(&norm, false, ctx);
    fc_norm_training(&norm, x, weight, bias, 1e-2, y, mean, var, workspace(bytes), ctx);
    fc_norm_inference(&norm, x, mean, var, weight, bias, 1e-2, again, workspace(bytes), ctx);
    fc_norm_backward(&norm, dy, x, mean, var, weight, 1e-2, dx, dweight, dbias,
                     workspace(fc_norm_workspace_bytes(&norm, true, ctx)), ctx);
    check_finite(var, statistics);
    check_finite(y, size);
    check_finite(dx, size);
    check_finite(dweight, norm.channels);
    check_finite(dbias, norm.channels);
    if (memcmp(y, again, (size_t)size * sizeof(float))) fail("inference differs from training");
}

static void run_layer_norm(const fc_context *ctx) {
    const fc_layer_norm norm = {between(0, 70), between(0, 4) ? ragged(65) : between(1, 3000), between(0, 1)};
    const int64_t size = norm.rows * norm.columns;
    const float *x = input(size), *dy = input(size), *weight = between(0, 1) ? input(norm.columns) : NULL;
    const float *bias = between(0, 1) && !norm.rms ? input(norm.columns) : NULL;
    float *mean = norm.rms ? NULL : output(norm.rows), *var = output(norm.rows), *y = output(size), *dx = output(size);
    float *dweight = between(0, 1) ? output(norm.columns) : NULL;
    float *dbias = dweight && !norm.rms ? output(norm.columns) : NULL;
    fc_layer_norm_forward(&norm, x, weight, bias, 1e-2f, y, mean, var, ctx);
    fc_layer_norm_backward(&norm, dy, x, mean, var, weight, 1e-2f, dx, dweight, dbias,
                           workspace(fc_layer_norm_workspace_bytes(&norm, ctx)), ctx);
    check_finite(var, norm.rows);
    check_finite(y, size);
    check_finite(dx, size);
    if (dweight) check_finite(dweight, norm.columns);
    if (dbias) check_finite(dbias, norm.columns);
}

static void run_response_norm(const fc_context *ctx) {
    const fc_response_norm norm = {between(0, 40), ragged(65), between(1, 9), 0.5f, between(0, 1) ? 0.75f : 0.6f, 1.0f};
    const int64_t size = norm.pixels * norm.channels;
    const float *x = input(size), *dy = input(size);
    float *y = output(size), *dx = output(size);
    fc_response_norm_forward(&norm, x, y, workspace(fc_response_norm_workspace_bytes(&norm, false, ctx)), ctx);
    fc_response_norm_backward(&norm, dy, x, dx, workspace(fc_response_norm_workspace_bytes(&norm, true, ctx)), ctx);
    check_finite(y, size);
    check_finite(dx, size);
}

static void run_pad(const fc_context *ctx) {
    fc_pad p = {.mode = (fc_pad_mode)between(0, 3), .batch = between(0, 3), .channels = ragged(33), .value = 2.0f};
    int64_t x_size = p.batch * p.channels, y_size = x_size;
    for (int i = 0; i < 3; i++) {
        p.size[i] = between(1, 7);
        const int64_t most = p.mode == FC_PAD_REFLECT ? p.size[i] - 1 : p.mode == FC_PAD_CIRCULAR ? p.size[i] : 9;
        p.before[i] = between(0, most), p.after[i] = between(0, most);
        x_size *= p.size[i], y_size *= p.size[i] + p.before[i] + p.after[i];
    }
    const float *x = input(x_size), *dy = input(y_size);
    float *y = output(y_size), *dx = output(x_size);
    fc_pad_forward(&p, x, y, ctx);
    fc_pad_backward(&p, dy, dx, ctx);
    check_finite(y, y_size);
    check_finite(dx, x_size);
}

static void run_interpolate(const fc_context *ctx) {
    const fc_interpolate_mode mode = (fc_interpolate_mode)between(0, 3);
    fc_interpolate d = {.mode = mode, .batch = between(0, 3), .channels = ragged(33), .in_height = ragged(17),
                        .in_width = ragged(17), .out_height = ragged(33), .out_width = ragged(33),
                        .align_corners = mode >= FC_BILINEAR && between(0, 1)};
    if (between(0, 1)) d.factor_height = (double)d.out_height / (double)d.in_height;
    if (between(0, 1)) d.factor_width = ((double)d.out_width + 0.5) / (double)d.in_width;
    fc_error error;
    if (fc_interpolate_plan(&d, &error) != FC_OK) fail(error.rule);
    const int64_t x_size = d.batch * d.channels * d.in_height * d.in_width;
    const int64_t y_size = d.batch * d.channels * d.out_height * d.out_width;
    const float *x = input(x_size), *dy = input(y_size);
    float *y = output(y_size), *dx = output(x_size);
    fc_interpolate_forward(&d, x, y, workspace(fc_interpolate_workspace_bytes(&d, false, ctx)), ctx);
    fc_interpolate_backward(&d, dy, dx, workspace(fc_interpolate_workspace_bytes(&d, true, ctx)), ctx);
    check_finite(y, y_size);
    check_finite(dx, x_size);
}

static void run_rearrange(const fc_context *ctx) {
    const fc_pixel_shuffle d = {between(0, 2), ragged(33), between(1, 5), between(1, 9), between(1, 5)};
    const int64_t size = d.batch * d.channels * d.height * d.width * d.factor * d.factor;
    const float *x = input(size);
    float *y = output(size), *back = output(size), *shuffled = output(size);
    fc_pixel_shuffle_forward(&d, x, y, ctx);
    fc_pixel_shuffle_backward(&d, y, back, ctx);
    if (size && memcmp(x, back, (size_t)size * sizeof(float))) fail("pixels do not come back");
    const int64_t groups = d.factor, pixels = size / (groups * d.channels);
    fc_channel_shuffle(pixels, groups, d.channels, x, shuffled, ctx);
    fc_channel_shuffle(pixels, d.channels, groups, shuffled, back, ctx);
    if (size && memcmp(x, back, (size_t)size * sizeof(float))) fail("channels do not come back");
}

static void run_unfold(const fc_context *ctx) {
    fc_unfold d = {.batch = between(0, 2), .channels = ragged(17), .height = ragged(17), .width = ragged(33),
                   .kernel_height = between(1, 4), .kernel_width = between(1, 6), .stride_height = between(1, 4),
                   .stride_width = between(1, 6), .dilation_height = between(1, 3), .dilation_width = between(1, 3),
                   .pad_height = between(0, 4), .pad_width = between(0, 5), .planes = between(0, 1)};
    fc_error error;
    if (fc_unfold_plan(&d, &error) != FC_OK) return;
    const int64_t x_size = d.batch * d.channels * d.height * d.width;
    const int64_t size = d.batch * d.channels * d.kernel_height * d.kernel_width * d.out_height * d.out_width;
    const float *x = input(x_size), *dcolumns = input(size);
    float *columns = output(size), *y = output(x_size);
    fc_unfold_forward(&d, x, columns, workspace(fc_unfold_workspace_bytes(&d, ctx)), ctx);
    fc_fold_forward(&d, dcolumns, y, workspace(fc_unfold_workspace_bytes(&d, ctx)), ctx);
    check_finite(columns, size);
    check_finite(y, x_size);
}

static void run_dropout(const fc_context *ctx) {
    const int64_t size = between(0, 3) ? ragged(65) : between(16000, 33000);
    const uint64_t key[2] = {next_random(), next_random()};
    const float *x = input(size);
    float *y = output(size), *dx = output(size);
    uint8_t *kept = keep(malloc((size_t)size));
    fc_dropout_forward(key, 1u << 31, 2.0f, size, x, y, kept, ctx);
    fc_dropout_backward(2.0f, size, x, kept, dx, ctx);
    if (memcmp(y, dx, (size_t)size * sizeof(float))) fail("the mask is another on the way back");
}

static void run_transpose(const fc_context *ctx) {
    const int64_t batch = between(0, 3), rows = ragged(65), columns = between(0, 4) ? ragged(65) : between(1, 400);
    const float *x = input(batch * rows * columns);
    float *y = output(batch * rows * columns), *back = output(batch * rows * columns);
    fc_transpose(batch, rows, columns, x, y, ctx);
    fc_transpose(batch, columns, rows, y, back, ctx);
    if (batch && memcmp(x, back, (size_t)(batch * rows * columns) * sizeof(float))) fail("twice is not the identity");
}

/* ---------------------------------------------------------------------------------------------------- recurrence */

static void run_rnn(const fc_context *ctx) {
    fc_rnn rnn = {.kind = (fc_rnn_kind)between(0, FC_RNN_KIND_COUNT - 1), .steps = between(0, 4),
                        .batch = ragged(17), .input = ragged(33), .hidden = ragged(33), .reverse = between(0, 1)};
    const int64_t gates = fc_rnn_gates(rnn.kind) * rnn.hidden, state_size = rnn.batch * rnn.hidden;
    const int64_t y_stride = rnn.hidden + between(0, 1) * 3, rows = rnn.steps * rnn.batch;
    const int64_t y_size = rows ? (rows - 1) * y_stride + rnn.hidden : 0;
    const bool lstm = rnn.kind == FC_LSTM;
    int64_t lengths[32];
    for (int64_t i = 0; i < rnn.batch; i++) lengths[i] = between(0, rnn.steps);
    rnn.lengths = between(0, 1) ? lengths : NULL;
    const float *x = input(rows * rnn.input), *h = between(0, 1) ? input(state_size) : NULL;
    const float *c = lstm && between(0, 1) ? input(state_size) : NULL;
    const float *weight_ih = input(gates * rnn.input), *weight_hh = filled(gates * rnn.hidden, -0.1f, 0.1f);
    const float *bias_ih = between(0, 1) ? input(gates) : NULL, *bias_hh = between(0, 1) ? input(gates) : NULL;
    float *y = output(y_size), *h_last = output(state_size), *c_last = lstm ? output(state_size) : NULL;
    float *reserve = output(rows * fc_rnn_reserve_size(&rnn));
    fc_rnn_forward(&rnn, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, y, y_stride, h_last, c_last, NULL,
                   workspace(fc_rnn_workspace_bytes(&rnn, false, ctx)), ctx);
    fc_rnn_forward(&rnn, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, y, y_stride, h_last, c_last, reserve,
                   workspace(fc_rnn_workspace_bytes(&rnn, false, ctx)), ctx);
    for (int64_t i = 0; i < rows; i++) check_finite(y + i * y_stride, rnn.hidden);
    check_finite(h_last, state_size);
    const float *dy = between(0, 2) ? input(y_size) : NULL, *dh_last = between(0, 1) ? input(state_size) : NULL;
    const float *dc_last = lstm && between(0, 1) ? input(state_size) : NULL;
    float *dx = output(rows * rnn.input), *dh = output(state_size), *dc = lstm ? output(state_size) : NULL;
    float *dweight_ih = output(gates * rnn.input), *dweight_hh = output(gates * rnn.hidden);
    float *dbias_ih = between(0, 1) ? output(gates) : NULL, *dbias_hh = between(0, 1) ? output(gates) : NULL;
    fc_rnn_backward(&rnn, dy, y_stride, dh_last, dc_last, x, h, c, y, y_stride, weight_ih, weight_hh, reserve, dx, dh, dc,
                    dweight_ih, dweight_hh, dbias_ih, dbias_hh, workspace(fc_rnn_workspace_bytes(&rnn, true, ctx)), ctx);
    check_finite(dx, rows * rnn.input);
    check_finite(dh, state_size);
    check_finite(dweight_ih, gates * rnn.input);
    check_finite(dweight_hh, gates * rnn.hidden);
}

/* ----------------------------------------------------------------------------------------------------------- main */

static const struct operation { const char *name; void (*run)(const fc_context *ctx); } operations[] = {
    {"gemm", run_gemm},       {"conv2d", run_conv2d},           {"plan", plan_extremes},
    {"pool2d", run_pool2d},   {"elementwise", run_elementwise}, {"norm", run_norm},
    {"broadcast", run_broadcast}, {"softmax", run_softmax}, {"gemm_batch", run_gemm_batch}, {"loss", run_loss},
    {"ctc", run_ctc}, {"ctc_beam", run_ctc_beam}, {"embedding", run_embedding},
    {"layer_norm", run_layer_norm}, {"response_norm", run_response_norm},
    {"max_unpool2d", run_max_unpool2d},
    {"transpose", run_transpose}, {"pad", run_pad},         {"rnn", run_rnn},
    {"interpolate", run_interpolate}, {"rearrange", run_rearrange}, {"unfold", run_unfold}, {"dropout", run_dropout},
};

int main(int argc, char **argv) {
    if (argc != 3) fail("usage: driver <instruction set> <rounds>");
    for (int i = 0; i < fc_isa_count(); i++) {
        fc_context ctx = {.kernels = strcmp(fc_isa_name(i), argv[1]) ? NULL : fc_isa_kernels(i)};
        if (!ctx.kernels) continue;
        const long rounds = atol(argv[2]);
        for (long round = 0; round < rounds; round++) {
            for (size_t o = 0; o < sizeof operations / sizeof operations[0]; o++) {
                doing = operations[o].name;
                ctx.num_threads = (int)between(1, 4);
                operations[o].run(&ctx);
                free_all();
            }
        }
        printf("%s: %ld rounds of %zu operations\n", argv[1], rounds, sizeof operations / sizeof operations[0]);
        return 0;
    }
    fail("no such instruction set here");
}
