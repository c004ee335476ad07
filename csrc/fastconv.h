/* fastconv.h - the public C API: float32 kernels for convolution, pooling, GEMM, activations and recurrent layers.
 *
 * Plan, workspace, run: a plain descriptor is filled in, `fc_<op>_plan` validates it (the only call that can refuse),
 * `fc_<op>_workspace_bytes` sizes the scratch the caller lends, and the run functions return void.
 * Order of arguments everywhere: descriptor, inputs, outputs, workspace, context.
 * Images are NHWC, sequences (time, batch, features); all arrays are dense unless a stride says otherwise.
 * The library allocates nothing, prints nothing and keeps no state. A workspace is 64-byte aligned, used by one call at
 * a time, and dead after it returns.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------------------------- status and context */

typedef enum fc_status { FC_OK, FC_BAD_GEOMETRY, FC_UNSUPPORTED, FC_UNKNOWN_ALGORITHM } fc_status;

/* Why a plan refused: the argument, its values and the rule it breaks. The caller makes the sentence. */
typedef struct fc_error {
    const char *argument;
    const char *rule;
    int64_t values[4];
    int count;
} fc_error;

typedef struct fc_kernels fc_kernels; /* the micro-kernels of one instruction set, see kernels/kernels.h */

typedef struct fc_context {
    const fc_kernels *kernels;
    int num_threads;
} fc_context;

/* The instruction sets compiled in, best first; kernels are NULL where this CPU lacks them. */
int fc_isa_count(void);
const char *fc_isa_name(int index);
const fc_kernels *fc_isa_kernels(int index);

/* Threads: true if compiled with OpenMP; true in a child forked from a process (every call is serial there). */
bool fc_has_openmp(void);
bool fc_is_forked_child(void);

/* Multiply-adds per iteration of the FMA peak loop; fc_fma_peak runs it on every thread of the context. */
int64_t fc_fma_peak_flops(int64_t iterations, const fc_context *ctx);
void fc_fma_peak(int64_t iterations, float *sink, const fc_context *ctx);

/* --------------------------------------------------------------------------------------------------- activations */

typedef enum fc_activation_kind {
    FC_IDENTITY,
    FC_RELU,
    FC_RELU6,
    FC_LEAKY_RELU,  /* alpha: negative slope */
    FC_EXP,
    FC_ELU,         /* alpha */
    FC_SIGMOID,
    FC_TANH,
    FC_GELU,        /* exact: x * Phi(x) */
    FC_GELU_TANH,   /* tanh approximation */
    FC_SILU,
    FC_HARDSWISH,
    FC_HARDSIGMOID, /* clamp(x / 6 + 1 / 2, 0, 1) */
    FC_SOFTPLUS,    /* alpha: beta, beta: threshold */
    FC_MISH,
    FC_SELU,
    FC_CELU,        /* alpha */
    FC_SOFTSIGN,
    FC_HARDTANH,    /* alpha: least, beta: most */
    FC_LOGSIGMOID,
    FC_THRESHOLD,   /* alpha: threshold, beta: value */
    FC_ACTIVATION_COUNT
} fc_activation_kind;

typedef struct fc_activation {
    fc_activation_kind kind;
    float alpha, beta;
} fc_activation;

/* y[i] = f(x[i]); y may be x. */
void fc_activation_forward(fc_activation f, int64_t size, const float *x, float *y, const fc_context *ctx);
/* dx[i] = dy[i] * f'(...); `saved` is the output y for exp, sigmoid and tanh, else the input x. dx may be dy. */
void fc_activation_backward(fc_activation f, int64_t size, const float *dy, const float *saved, float *dx,
                            const fc_context *ctx);

/* Softmax over the middle axis of (outer, columns, inner); y may be x, dx may be dy or y. */
int64_t fc_softmax_workspace_bytes(bool backward, int64_t outer, int64_t columns, int64_t inner, const fc_context *ctx);
void fc_softmax_forward(bool log, int64_t outer, int64_t columns, int64_t inner, const float *x, float *y, void *workspace,
                        const fc_context *ctx);
void fc_softmax_backward(bool log, int64_t outer, int64_t columns, int64_t inner, const float *dy, const float *y, float *dx,
                         void *workspace, const fc_context *ctx);

/* Softmax cross-entropy over the middle axis of logits x (outer, classes, inner), labels (outer, inner): the sum of
 * -t log softmax(x) and its gradient times `scale` (which may be x), t being (1 - smoothing) weight[label] at the label and
 * smoothing / classes * weight[c] at every class c. weight is [classes] or, where smoothing is 0, NULL for ones. */
int64_t fc_cross_entropy_workspace_bytes(int64_t outer, int64_t classes, int64_t inner, const fc_context *ctx);
/* -1 and the sum of weight[label] over the labels that are not ignored, or the place of one outside [0, classes). */
int64_t fc_cross_entropy_divisor(int64_t count, int64_t classes, const int64_t *labels, const float *weight,
                                 int64_t ignore_index, double *divisor);
double fc_cross_entropy_run(int64_t outer, int64_t classes, int64_t inner, const float *x, const int64_t *labels,
                            const float *weight, float smoothing, float scale, int64_t ignore_index, float *gradient,
                            void *workspace, const fc_context *ctx);

/* The sum of the losses of x against targets t, element by element, and their derivatives by x times `scale` (which may be x
 * or t): (x - t)^2, or -(t log s + (1 - t) log(1 - s)) with s = sigmoid(x). */
typedef enum fc_loss_kind { FC_SQUARED_ERROR, FC_LOGISTIC } fc_loss_kind;
int64_t fc_loss_workspace_bytes(int64_t size);
double fc_loss_run(fc_loss_kind kind, int64_t size, const float *x, const float *t, float scale, float *gradient,
                   void *workspace, const fc_context *ctx);

/* dweight (rows, columns) = the sum of the rows of dy (count, columns) with each id, in their order; ids are in [0, rows). */
void fc_embedding_backward(int64_t count, int64_t columns, int64_t rows, const int64_t *ids, const float *dy, float *dweight,
                           const fc_context *ctx);

/* Gated linear units: x (outer, 2, inner) -> y[i][k] = x[i][0][k] * sigmoid(x[i][1][k]). dx may be x. */
void fc_glu_forward(int64_t outer, int64_t inner, const float *x, float *y, const fc_context *ctx);
void fc_glu_backward(int64_t outer, int64_t inner, const float *dy, const float *x, float *dx, const fc_context *ctx);

/* --------------------------------------------------------------------------------------------------- elementwise */

typedef enum fc_elementwise_op {
    FC_ADD,
    FC_ADD_RELU, /* max(a + b, 0) */
    FC_MUL,
    FC_PRELU,    /* a > 0 ? a : a * b; a has every axis */
    FC_PRELU_BACKWARD, /* gate > 0 ? a : a * b; a, which is dy, has every axis */
    FC_ELEMENTWISE_OP_COUNT
} fc_elementwise_op;

enum { FC_ELEMENTWISE_AXES = 4 };

/* y = activation(a op b), y dense over the sizes; an operand is dense over the axes it has and repeats along the others.
 * Along each axis at least one has it, unless the size is 1. */
typedef struct fc_elementwise {
    fc_elementwise_op op;
    fc_activation activation;
    int64_t size[FC_ELEMENTWISE_AXES];
    bool a_has[FC_ELEMENTWISE_AXES], b_has[FC_ELEMENTWISE_AXES];
} fc_elementwise;

/* gate, laid out as a, is for FC_PRELU_BACKWARD, else NULL. y may be an operand that has every axis. */
void fc_elementwise_forward(const fc_elementwise *e, const float *a, const float *b, const float *gate, float *y,
                            const fc_context *ctx);

/* What is summed: dy, dy * x, or dy * x where x is not positive. */
typedef enum fc_sum_kind { FC_SUM, FC_SUM_PRODUCTS, FC_SUM_NEGATIVE } fc_sum_kind;

/* sums[i][k] = sum over j of dy[i][j][k] (outer, rows, columns), and sums[i] = sum over j of dy[i][j] (rows, columns): in
 * chunks whose sums are added in double, in order. x may be NULL for FC_SUM. */
int64_t fc_column_sums_workspace_bytes(int64_t outer, int64_t rows, int64_t columns, const fc_context *ctx);
void fc_column_sums(fc_sum_kind kind, int64_t outer, int64_t rows, int64_t columns, const float *dy, const float *x,
                    float *sums, void *workspace, const fc_context *ctx);
int64_t fc_row_sums_workspace_bytes(int64_t rows, int64_t columns, const fc_context *ctx);
void fc_row_sums(fc_sum_kind kind, int64_t rows, int64_t columns, const float *dy, const float *x, float *sums,
                 void *workspace, const fc_context *ctx);

/* ---------------------------------------------------------------------------------------------------------- GEMM */

/* c[m][n] = activation(alpha * op(a)[m][k] * op(b)[k][n] + beta * c[m][n] + bias[n]); strides in elements.
 * a is (m, k) or, transposed, (k, m); b is (k, n) or, transposed, (n, k). beta == 0 never reads c. */
typedef struct fc_gemm {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    int64_t a_stride, b_stride, c_stride;
    float alpha, beta;
    fc_activation activation;
    bool in_order; /* every sum in the order of k: a row has the same bits whatever the number of rows */
} fc_gemm;

int64_t fc_gemm_workspace_bytes(const fc_gemm *gemm, const fc_context *ctx);
void fc_gemm_run(const fc_gemm *gemm, const float *a, const float *b, const float *bias, float *c, void *workspace,
                 const fc_context *ctx);

/* `count` products of one geometry, elements from one a, b and c to the next; a step of 0 uses the same again. */
typedef struct fc_gemm_batch {
    int64_t count, a_step, b_step, c_step;
} fc_gemm_batch;

int64_t fc_gemm_batch_workspace_bytes(const fc_gemm *gemm, const fc_gemm_batch *batch, const fc_context *ctx);
void fc_gemm_batch_run(const fc_gemm *gemm, const fc_gemm_batch *batch, const float *a, const float *b, float *c,
                       void *workspace, const fc_context *ctx);

/* --------------------------------------------------------------------------------------------------- convolution */

typedef enum fc_conv2d_algorithm {
    FC_CONV2D_AUTO,
    FC_CONV2D_DIRECT,
    FC_CONV2D_IM2COL,
    FC_CONV2D_DEPTHWISE,
    FC_CONV2D_WINOGRAD,     /* F(4 x 4, 3 x 3) */
    FC_CONV2D_WINOGRAD_2X2, /* F(2 x 2, 3 x 3): more exact, slower */
    FC_CONV2D_WINOGRAD_6X6, /* F(6 x 6, 3 x 3): less exact; on request only */
    FC_CONV2D_WINOGRAD_DEPTHWISE, /* F(2 x 1, 3 x 3) of depthwise convolution */
    FC_CONV2D_ALGORITHM_COUNT
} fc_conv2d_algorithm;

typedef enum fc_pass { FC_FORWARD, FC_BACKWARD_INPUT, FC_BACKWARD_WEIGHT, FC_PASS_COUNT } fc_pass;

/* y[n][p][q][k] = bias[k] + sum over r, s, c of x[n][p*sh + r*dh - top][q*sw + s*dw - left][c] * w[k][c][r][s] */
typedef struct fc_conv2d {
    int64_t batch, in_channels, in_height, in_width;
    int64_t out_channels, kernel_height, kernel_width;
    int64_t stride_height, stride_width, dilation_height, dilation_width, groups;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    fc_activation activation;      /* the last step of the forward pass */
    fc_conv2d_algorithm algorithm; /* what was asked for; may be FC_CONV2D_AUTO */
    bool exact;                    /* AUTO leaves out Winograd, whose rounding errors are larger */
    bool constant_weights;         /* AUTO: weights are packed once, not before every forward pass */
    int64_t out_height, out_width; /* filled by fc_conv2d_plan, as is: */
    fc_conv2d_algorithm chosen[FC_PASS_COUNT];
} fc_conv2d;

fc_status fc_conv2d_plan(fc_conv2d *conv, fc_error *error);
const char *fc_conv2d_algorithm_name(fc_conv2d_algorithm algorithm); /* NULL past the last */
int64_t fc_conv2d_workspace_bytes(const fc_conv2d *conv, fc_pass pass, const fc_context *ctx);

/* Forward takes packed weights, where they do not change and are packed once, or plain ones, (k, c/groups, r, s) as in
 * PyTorch. Either way the result has the same bits. */
int64_t fc_conv2d_packed_bytes(const fc_conv2d *conv, const fc_context *ctx);
void fc_conv2d_pack(const fc_conv2d *conv, const float *weight, float *packed, const fc_context *ctx);
/* y = activation(x * weight + bias + residual). bias [out_channels] and residual, laid out as y, may be NULL. */
void fc_conv2d_forward(const fc_conv2d *conv, const float *x, const float *packed, const float *bias,
                       const float *residual, float *y, void *workspace, const fc_context *ctx);
int64_t fc_conv2d_plain_workspace_bytes(const fc_conv2d *conv, const fc_context *ctx);
void fc_conv2d_forward_plain(const fc_conv2d *conv, const float *x, const float *weight, const float *bias,
                             const float *residual, float *y, void *workspace, const fc_context *ctx);
void fc_conv2d_backward_input(const fc_conv2d *conv, const float *dy, const float *weight, float *dx, void *workspace,
                              const fc_context *ctx);
/* dbias may be NULL. */
void fc_conv2d_backward_weight(const fc_conv2d *conv, const float *dy, const float *x, float *dweight, float *dbias,
                               void *workspace, const fc_context *ctx);

/* The transposed convolution of `conv`: its input gradient as a forward pass, y = activation(sum + bias + residual),
 * from x, laid out as the y of `conv`, to y, laid out as its x. bias [in_channels] and residual, laid out as y, may be
 * NULL. Workspace of FC_BACKWARD_INPUT. */
void fc_conv_transpose2d_forward(const fc_conv2d *conv, const float *x, const float *weight, const float *bias,
                                 const float *residual, float *y, void *workspace, const fc_context *ctx);
/* dbias[k] = sum of dy[pixel][k]. The other gradients are those of `conv`, its forward and its backward weight. */
void fc_conv_transpose2d_backward_bias(int64_t pixels, int64_t channels, const float *dy, float *dbias,
                                       const fc_context *ctx);

/* ------------------------------------------------------------------------------------------------------- pooling */

typedef struct fc_pool2d {
    int64_t batch, channels, in_height, in_width;
    int64_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    bool ceil_mode, count_include_pad; /* the second for the average alone */
    int64_t divisor;                   /* of the average, if not 0: instead of the window's size */
    bool adaptive;                     /* windows follow from the sizes alone: out_height and out_width are given */
    int64_t out_height, out_width;     /* filled by fc_pool2d_plan, unless adaptive */
} fc_pool2d;

fc_status fc_pool2d_plan(fc_pool2d *pool, fc_error *error);
/* Scratch of the forward passes without indices, and of fc_avg_pool2d_backward. */
int64_t fc_pool2d_workspace_bytes(const fc_pool2d *pool, const fc_context *ctx);
/* indices (may be NULL): position h * in_width + w of the first maximum, or of the last NaN, in the input plane. */
void fc_max_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, int32_t *indices, void *workspace,
                           const fc_context *ctx);
/* Every index must lie in its own window. With `check`, false is returned where one does not, dx being of no meaning
 * then; without, its gradient is lost. */
bool fc_max_pool2d_backward(const fc_pool2d *pool, const float *dy, const int32_t *indices, bool check, float *dx,
                            void *workspace, const fc_context *ctx);
void fc_avg_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, void *workspace, const fc_context *ctx);
void fc_avg_pool2d_backward(const fc_pool2d *pool, const float *dy, float *dx, void *workspace, const fc_context *ctx);

/* y[n][indices[n][i][c]][c] = x[n][i][c] for images of `plane` pixels, zero elsewhere; of equal indices the last i
 * counts. indices [batch][pixels][channels] must be ok: within the plane. */
bool fc_max_unpool2d_indices_ok(int64_t batch, int64_t pixels, int64_t channels, int64_t plane,
                                const int32_t *indices);
void fc_max_unpool2d_forward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *x,
                             const int32_t *indices, float *y, const fc_context *ctx);
/* dx[n][i][c] = dy[n][indices[n][i][c]][c]. */
void fc_max_unpool2d_backward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *dy,
                              const int32_t *indices, float *dx, const fc_context *ctx);

/* ------------------------------------------------------------------------------------------------- interpolation */

typedef enum fc_interpolate_mode {
    FC_NEAREST,       /* the pixel at floor(i * in / out) */
    FC_NEAREST_EXACT, /* at floor((i + 1 / 2) * in / out) */
    FC_BILINEAR,      /* of two pixels an axis */
    FC_BICUBIC        /* of four, Keys's kernel with a = -3/4 */
} fc_interpolate_mode;

/* Images of another size. The factors, out / in, are 0 where that ratio of the sizes holds. align_corners: the centres
 * of the corner pixels meet, not their corners; not with the nearest pixel. Coordinates are float32, as PyTorch's. */
typedef struct fc_interpolate {
    fc_interpolate_mode mode;
    int64_t batch, channels, in_height, in_width, out_height, out_width;
    double factor_height, factor_width;
    bool align_corners;
} fc_interpolate;

fc_status fc_interpolate_plan(const fc_interpolate *interpolate, fc_error *error);
int64_t fc_interpolate_workspace_bytes(const fc_interpolate *interpolate, bool backward, const fc_context *ctx);
void fc_interpolate_forward(const fc_interpolate *interpolate, const float *x, float *y, void *workspace,
                            const fc_context *ctx);
void fc_interpolate_backward(const fc_interpolate *interpolate, const float *dy, float *dx, void *workspace,
                             const fc_context *ctx);

/* ----------------------------------------------------------------------------------------------- rearrangement */

/* x (batch, height, width, channels * factor^2) -> y (batch, height * factor, width * factor, channels):
 * y[n][h * factor + i][w * factor + j][c] = x[n][h][w][(c * factor + i) * factor + j], and the way back. */
typedef struct fc_pixel_shuffle { int64_t batch, channels, height, width, factor; } fc_pixel_shuffle;

void fc_pixel_shuffle_forward(const fc_pixel_shuffle *shuffle, const float *x, float *y, const fc_context *ctx);
void fc_pixel_shuffle_backward(const fc_pixel_shuffle *shuffle, const float *dy, float *dx, const fc_context *ctx);

/* y[pixel][k * groups + g] = x[pixel][g * count + k], k < count, g < groups. */
void fc_channel_shuffle(int64_t pixels, int64_t groups, int64_t count, const float *x, float *y, const fc_context *ctx);

/* The windows of images as columns: columns[n][(c * kernel_height + r) * kernel_width + s][p * out_width + q] =
 * x[n][p * stride + r * dilation - pad][q * ...][c], 0 on the padding. planes: x is NCHW. */
typedef struct fc_unfold {
    int64_t batch, channels, height, width, kernel_height, kernel_width;
    int64_t stride_height, stride_width, dilation_height, dilation_width, pad_height, pad_width;
    bool planes;
    int64_t out_height, out_width; /* filled by fc_unfold_plan */
} fc_unfold;

fc_status fc_unfold_plan(fc_unfold *unfold, fc_error *error);
int64_t fc_unfold_workspace_bytes(const fc_unfold *unfold, const fc_context *ctx);
void fc_unfold_forward(const fc_unfold *unfold, const float *x, float *columns, void *workspace, const fc_context *ctx);
/* The adjoint, to images NHWC: each pixel sums its copies, in the order of the kernel's taps. */
void fc_fold_forward(const fc_unfold *unfold, const float *columns, float *y, void *workspace, const fc_context *ctx);

/* ------------------------------------------------------------------------------------------------------ dropout */

/* y[i] = keep[i] ? x[i] * scale : x[i] * 0, keep[i] (0 or 1) being 1 where the i-th random number of 32 bits (its first
 * bit flipped) is at least `least`. The numbers depend on the key alone. y may be x, dx may be dy. */
void fc_dropout_forward(const uint64_t key[2], uint32_t least, float scale, int64_t size, const float *x, float *y,
                        uint8_t *keep, const fc_context *ctx);
void fc_dropout_backward(float scale, int64_t size, const float *dy, const uint8_t *keep, float *dx,
                         const fc_context *ctx);

/* ------------------------------------------------------------------------------------------------- normalisation */

/* Norms of x (images, rows, channels) whose statistics run over the rows: each image has a mean and a biased variance for
 * each of `groups` groups of channels / groups neighbouring channels; mean and var are (images, groups).
 * y = (x - mean) / sqrt(var + eps) * weight + bias; weight and bias are (channels), or NULL.
 * Batch norm is one image and as many groups as channels, instance norm many images and as many groups as channels. */
typedef struct fc_norm {
    int64_t images, rows, channels, groups;
} fc_norm;

int64_t fc_norm_workspace_bytes(const fc_norm *norm, bool backward, const fc_context *ctx);
/* mean and var are written; rows >= 1. y may be x, here and below, and dx may be dy or x. */
void fc_norm_training(const fc_norm *norm, const float *x, const float *weight, const float *bias, double eps, float *y,
                      float *mean, float *var, void *workspace, const fc_context *ctx);
/* mean and var are read. */
void fc_norm_inference(const fc_norm *norm, const float *x, const float *mean, const float *var, const float *weight,
                       const float *bias, double eps, float *y, void *workspace, const fc_context *ctx);
/* Of training: mean and var are those of x. dweight[c] = sum dy * xhat, dbias[c] = sum dy. */
void fc_norm_backward(const fc_norm *norm, const float *dy, const float *x, const float *mean, const float *var,
                      const float *weight, double eps, float *dx, float *dweight, float *dbias, void *workspace,
                      const fc_context *ctx);

/* Norms of the rows of x (rows, columns): y = (x - mean) / sqrt(var + eps) * weight + bias, the layer norm; or, with
 * `rms`, y = x / sqrt(var + eps) * weight, var being the mean of the squares and mean NULL. weight and bias are (columns)
 * or NULL; mean and var are (rows), or NULL forward where nobody asks for them. */
typedef struct fc_layer_norm {
    int64_t rows, columns;
    bool rms;
} fc_layer_norm;

void fc_layer_norm_forward(const fc_layer_norm *norm, const float *x, const float *weight, const float *bias, float eps,
                           float *y, float *mean, float *var, const fc_context *ctx);
/* dweight and dbias are NULL together where nobody asks for them. */
int64_t fc_layer_norm_workspace_bytes(const fc_layer_norm *norm, const fc_context *ctx);
void fc_layer_norm_backward(const fc_layer_norm *norm, const float *dy, const float *x, const float *mean,
                            const float *var, const float *weight, float eps, float *dx, float *dweight, float *dbias,
                            void *workspace, const fc_context *ctx);

/* Local response norm of x (pixels, channels): y[c] = x[c] * d[c]^-beta with d[c] = k + alpha / size * the sum of x^2 over
 * the channels [c - size / 2, c + (size - 1) / 2]; Krizhevsky, Sutskever & Hinton 2012 (AlexNet) had alpha alone. */
typedef struct fc_response_norm {
    int64_t pixels, channels, size;
    float alpha, beta, k;
} fc_response_norm;

int64_t fc_response_norm_workspace_bytes(const fc_response_norm *norm, bool backward, const fc_context *ctx);
void fc_response_norm_forward(const fc_response_norm *norm, const float *x, float *y, void *workspace,
                              const fc_context *ctx);
void fc_response_norm_backward(const fc_response_norm *norm, const float *dy, const float *x, float *dx,
                               void *workspace, const fc_context *ctx);

/* ---------------------------------------------------------------------------------------------------- recurrence */

typedef enum fc_rnn_kind { FC_RNN_TANH, FC_RNN_RELU, FC_LSTM, FC_GRU, FC_RNN_KIND_COUNT } fc_rnn_kind;

/* One layer, one direction, over `steps` steps; gates in PyTorch's order (LSTM i f g o; GRU r z n, reset after the
 * product). weight_ih (gates * hidden, input), weight_hh (gates * hidden, hidden), biases (gates * hidden) or NULL. */
typedef struct fc_rnn {
    fc_rnn_kind kind;
    int64_t steps, batch, input, hidden;
    bool reverse; /* from the last step to the first */
    const int64_t *lengths; /* (batch), each from 0 to steps: the steps a sequence has; NULL: all */
} fc_rnn;

int64_t fc_rnn_gates(fc_rnn_kind kind);
/* Floats that forward must keep for backward: activated gates, cell states, ... (steps, batch, reserve). */
int64_t fc_rnn_reserve_size(const fc_rnn *rnn);
int64_t fc_rnn_workspace_bytes(const fc_rnn *rnn, bool backward, const fc_context *ctx);
/* Past a sequence's end y and dx are 0, dy is not read, and x must be finite in backward; in reverse it begins at its end.
 * y (steps, batch, hidden) with row stride y_stride; h, c: initial states (batch, hidden), NULL means zeros;
 * h_last, c_last: final states. c is for LSTM alone. reserve may be NULL when no backward follows. */
void fc_rnn_forward(const fc_rnn *rnn, const float *x, const float *h, const float *c, const float *weight_ih,
                    const float *weight_hh, const float *bias_ih, const float *bias_hh, float *y, int64_t y_stride,
                    float *h_last, float *c_last, float *reserve, void *workspace, const fc_context *ctx);
/* Gradients are written, not added; dy has row stride dy_stride; dh_last, dc_last and the bias gradients may be NULL. */
void fc_rnn_backward(const fc_rnn *rnn, const float *dy, int64_t dy_stride, const float *dh_last, const float *dc_last,
                     const float *x, const float *h, const float *c, const float *y, int64_t y_stride,
                     const float *weight_ih, const float *weight_hh, const float *reserve, float *dx, float *dh,
                     float *dc, float *dweight_ih, float *dweight_hh, float *dbias_ih, float *dbias_hh,
                     void *workspace, const fc_context *ctx);

/* ------------------------------------------------------------------------------------------------------- padding */

typedef enum fc_pad_mode { FC_PAD_CONSTANT, FC_PAD_REFLECT, FC_PAD_REPLICATE, FC_PAD_CIRCULAR } fc_pad_mode;

/* Borders of maps (batch, size[0], size[1], size[2], channels), missing axes being 1. Sizes >= 1, pads >= 0; reflected ones
 * are below the size, wrapped ones at most the size. value: that of a constant border. */
typedef struct fc_pad {
    fc_pad_mode mode;
    int64_t batch, channels, size[3], before[3], after[3];
    float value;
} fc_pad;

void fc_pad_forward(const fc_pad *pad, const float *x, float *y, const fc_context *ctx);
/* dx[i] = the sum of dy over the elements that copied x[i]. */
void fc_pad_backward(const fc_pad *pad, const float *dy, float *dx, const fc_context *ctx);

/* -------------------------------------------------------------------------------------------------------- layout */

/* (batch, rows, columns) -> (batch, columns, rows): NCHW -> NHWC with rows = channels, and back with columns. */
void fc_transpose(int64_t batch, int64_t rows, int64_t columns, const float *x, float *y, const fc_context *ctx);

#include "ctc.h"

#endif
