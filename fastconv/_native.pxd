# The public C API (csrc/fastconv.h), as Cython sees it. One block a noun, in the order of the header.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "fastconv.h" nogil:
    # status and context
    ctypedef enum fc_status:
        FC_OK, FC_BAD_GEOMETRY, FC_UNSUPPORTED, FC_UNKNOWN_ALGORITHM
    ctypedef struct fc_error:
        const char *argument
        const char *rule
        int64_t values[4]
        int count
    ctypedef struct fc_kernels:
        pass
    ctypedef struct fc_context:
        const fc_kernels *kernels
        int num_threads
    int fc_isa_count()
    const char *fc_isa_name(int index)
    const fc_kernels *fc_isa_kernels(int index)
    c_bool fc_has_openmp()
    c_bool fc_is_forked_child()
    int64_t fc_fma_peak_flops(int64_t iterations, const fc_context *ctx)
    void fc_fma_peak(int64_t iterations, float *sink, const fc_context *ctx)

    # activations
    ctypedef enum fc_activation_kind:
        FC_IDENTITY, FC_RELU, FC_RELU6, FC_LEAKY_RELU, FC_EXP, FC_ELU, FC_SIGMOID, FC_TANH, FC_GELU, FC_GELU_TANH
        FC_SILU, FC_HARDSWISH, FC_HARDSIGMOID, FC_SOFTPLUS, FC_MISH, FC_SELU, FC_CELU, FC_SOFTSIGN, FC_HARDTANH
        FC_LOGSIGMOID, FC_THRESHOLD, FC_ACTIVATION_COUNT
    ctypedef struct fc_activation:
        fc_activation_kind kind
        float alpha
        float beta
    void fc_activation_forward(fc_activation f, int64_t size, const float *x, float *y, const fc_context *ctx)
    void fc_activation_backward(fc_activation f, int64_t size, const float *dy, const float *saved, float *dx,
                                const fc_context *ctx)
    int64_t fc_softmax_workspace_bytes(c_bool backward, int64_t outer, int64_t columns, int64_t inner,
                                       const fc_context *ctx)
    void fc_softmax_forward(c_bool log, int64_t outer, int64_t columns, int64_t inner, const float *x, float *y,
                            void *workspace, const fc_context *ctx)
    void fc_softmax_backward(c_bool log, int64_t outer, int64_t columns, int64_t inner, const float *dy, const float *y,
                             float *dx, void *workspace, const fc_context *ctx)
    ctypedef enum fc_loss_kind:
        FC_SQUARED_ERROR
        FC_LOGISTIC
    int64_t fc_loss_workspace_bytes(int64_t size)
    double fc_loss_run(fc_loss_kind kind, int64_t size, const float *x, const float *t, float scale, float *gradient,
                       void *workspace, const fc_context *ctx)
    int64_t fc_cross_entropy_workspace_bytes(int64_t outer, int64_t classes, int64_t inner, const fc_context *ctx)
    int64_t fc_cross_entropy_divisor(int64_t count, int64_t classes, const int64_t *labels, const float *weight,
                                     int64_t ignore_index, double *divisor)
    ctypedef struct fc_ctc:
        int64_t steps, batch, classes, blank
        const int64_t *lengths
        const int64_t *targets
        const int64_t *target_starts
        const int64_t *target_lengths
        c_bool mean, zero_infinity
    int64_t fc_ctc_bad_target(const fc_ctc *ctc)
    int64_t fc_ctc_workspace_bytes(const fc_ctc *ctc, const fc_context *ctx)
    double fc_ctc_run(const fc_ctc *ctc, const float *x, float *gradient, void *workspace, const fc_context *ctx)
    ctypedef struct fc_ctc_beam:
        int64_t steps, batch, classes, blank, width, top
        const int64_t *lengths
    int64_t fc_ctc_beam_workspace_bytes(const fc_ctc_beam *decode, const fc_context *ctx)
    void fc_ctc_beam_run(const fc_ctc_beam *decode, const float *log_probabilities, int64_t *labels, int64_t *counts,
                         double *scores, void *workspace, const fc_context *ctx)

    double fc_cross_entropy_run(int64_t outer, int64_t classes, int64_t inner, const float *x, const int64_t *labels,
                                const float *weight, float smoothing, float scale, int64_t ignore_index, float *gradient,
                                void *workspace, const fc_context *ctx)

    void fc_embedding_backward(int64_t count, int64_t columns, int64_t rows, const int64_t *ids, const float *dy,
                               float *dweight, const fc_context *ctx)
    void fc_glu_forward(int64_t outer, int64_t inner, const float *x, float *y, const fc_context *ctx)
    void fc_glu_backward(int64_t outer, int64_t inner, const float *dy, const float *x, float *dx,
                         const fc_context *ctx)

    # elementwise
    ctypedef enum fc_elementwise_op:
        FC_ADD, FC_ADD_RELU, FC_MUL, FC_PRELU, FC_PRELU_BACKWARD, FC_ELEMENTWISE_OP_COUNT
    enum:
        FC_ELEMENTWISE_AXES
    ctypedef struct fc_elementwise:
        fc_elementwise_op op
        fc_activation activation
        int64_t size[4]
        c_bool a_has[4]
        c_bool b_has[4]
    void fc_elementwise_forward(const fc_elementwise *e, const float *a, const float *b, const float *gate, float *y,
                                const fc_context *ctx)
    ctypedef enum fc_sum_kind:
        FC_SUM, FC_SUM_PRODUCTS, FC_SUM_NEGATIVE
    int64_t fc_column_sums_workspace_bytes(int64_t outer, int64_t rows, int64_t columns, const fc_context *ctx)
    void fc_column_sums(fc_sum_kind kind, int64_t outer, int64_t rows, int64_t columns, const float *dy,
                        const float *x, float *sums, void *workspace, const fc_context *ctx)
    int64_t fc_row_sums_workspace_bytes(int64_t rows, int64_t columns, const fc_context *ctx)
    void fc_row_sums(fc_sum_kind kind, int64_t rows, int64_t columns, const float *dy, const float *x, float *sums,
                     void *workspace, const fc_context *ctx)

    # GEMM
    ctypedef struct fc_gemm:
        int64_t m, n, k
        c_bool transpose_a, transpose_b
        int64_t a_stride, b_stride, c_stride
        float alpha, beta
        fc_activation activation
        c_bool in_order
    int64_t fc_gemm_workspace_bytes(const fc_gemm *gemm, const fc_context *ctx)
    void fc_gemm_run(const fc_gemm *gemm, const float *a, const float *b, const float *bias, float *c,
                     void *workspace, const fc_context *ctx)
    ctypedef struct fc_gemm_batch:
        int64_t count, a_step, b_step, c_step
    int64_t fc_gemm_batch_workspace_bytes(const fc_gemm *gemm, const fc_gemm_batch *batch, const fc_context *ctx)
    void fc_gemm_batch_run(const fc_gemm *gemm, const fc_gemm_batch *batch, const float *a, const float *b, float *c,
                           void *workspace, const fc_context *ctx)

    # convolution
    ctypedef enum fc_conv2d_algorithm:
        FC_CONV2D_AUTO, FC_CONV2D_DIRECT, FC_CONV2D_IM2COL, FC_CONV2D_DEPTHWISE
        FC_CONV2D_WINOGRAD, FC_CONV2D_WINOGRAD_2X2, FC_CONV2D_WINOGRAD_6X6
        FC_CONV2D_WINOGRAD_DEPTHWISE, FC_CONV2D_ALGORITHM_COUNT
    ctypedef enum fc_pass:
        FC_FORWARD, FC_BACKWARD_INPUT, FC_BACKWARD_WEIGHT, FC_PASS_COUNT
    ctypedef struct fc_conv2d:
        int64_t batch, in_channels, in_height, in_width
        int64_t out_channels, kernel_height, kernel_width
        int64_t stride_height, stride_width, dilation_height, dilation_width, groups
        int64_t pad_top, pad_bottom, pad_left, pad_right
        fc_activation activation
        fc_conv2d_algorithm algorithm
        c_bool exact, constant_weights
        int64_t out_height, out_width
        fc_conv2d_algorithm chosen[3]
    fc_status fc_conv2d_plan(fc_conv2d *conv, fc_error *error)
    const char *fc_conv2d_algorithm_name(fc_conv2d_algorithm algorithm)
    int64_t fc_conv2d_workspace_bytes(const fc_conv2d *conv, fc_pass pass_, const fc_context *ctx)
    int64_t fc_conv2d_packed_bytes(const fc_conv2d *conv, const fc_context *ctx)
    void fc_conv2d_pack(const fc_conv2d *conv, const float *weight, float *packed, const fc_context *ctx)
    void fc_conv2d_forward(const fc_conv2d *conv, const float *x, const float *packed, const float *bias,
                           const float *residual, float *y, void *workspace, const fc_context *ctx)
    int64_t fc_conv2d_plain_workspace_bytes(const fc_conv2d *conv, const fc_context *ctx)
    void fc_conv2d_forward_plain(const fc_conv2d *conv, const float *x, const float *weight, const float *bias,
                                 const float *residual, float *y, void *workspace, const fc_context *ctx)
    void fc_conv2d_backward_input(const fc_conv2d *conv, const float *dy, const float *weight, float *dx,
                                  void *workspace, const fc_context *ctx)
    void fc_conv2d_backward_weight(const fc_conv2d *conv, const float *dy, const float *x, float *dweight,
                                   float *dbias, void *workspace, const fc_context *ctx)

    void fc_conv_transpose2d_forward(const fc_conv2d *conv, const float *x, const float *weight, const float *bias,
                                     const float *residual, float *y, void *workspace, const fc_context *ctx)
    void fc_conv_transpose2d_backward_bias(int64_t pixels, int64_t channels, const float *dy, float *dbias,
                                           const fc_context *ctx)

    # pooling
    ctypedef struct fc_pool2d:
        int64_t batch, channels, in_height, in_width
        int64_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width
        int64_t pad_top, pad_bottom, pad_left, pad_right
        c_bool ceil_mode, count_include_pad
        int64_t divisor
        c_bool adaptive
        int64_t out_height, out_width
    fc_status fc_pool2d_plan(fc_pool2d *pool, fc_error *error)
    int64_t fc_pool2d_workspace_bytes(const fc_pool2d *pool, const fc_context *ctx)
    void fc_max_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, int32_t *indices, void *workspace,
                               const fc_context *ctx)
    c_bool fc_max_pool2d_backward(const fc_pool2d *pool, const float *dy, const int32_t *indices, c_bool check, float *dx,
                                  void *workspace, const fc_context *ctx)
    void fc_avg_pool2d_forward(const fc_pool2d *pool, const float *x, float *y, void *workspace, const fc_context *ctx)
    void fc_avg_pool2d_backward(const fc_pool2d *pool, const float *dy, float *dx, void *workspace,
                                const fc_context *ctx)
    c_bool fc_max_unpool2d_indices_ok(int64_t batch, int64_t pixels, int64_t channels, int64_t plane,
                                      const int32_t *indices)
    void fc_max_unpool2d_forward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *x,
                                 const int32_t *indices, float *y, const fc_context *ctx)
    void fc_max_unpool2d_backward(int64_t batch, int64_t pixels, int64_t channels, int64_t plane, const float *dy,
                                  const int32_t *indices, float *dx, const fc_context *ctx)

    # interpolation
    ctypedef enum fc_interpolate_mode:
        FC_NEAREST, FC_NEAREST_EXACT, FC_BILINEAR, FC_BICUBIC
    ctypedef struct fc_interpolate:
        fc_interpolate_mode mode
        int64_t batch, channels, in_height, in_width, out_height, out_width
        double factor_height, factor_width
        c_bool align_corners
    fc_status fc_interpolate_plan(const fc_interpolate *interpolate, fc_error *error)
    int64_t fc_interpolate_workspace_bytes(const fc_interpolate *interpolate, c_bool backward, const fc_context *ctx)
    void fc_interpolate_forward(const fc_interpolate *interpolate, const float *x, float *y, void *workspace,
                                const fc_context *ctx)
    void fc_interpolate_backward(const fc_interpolate *interpolate, const float *dy, float *dx, void *workspace,
                                 const fc_context *ctx)

    # rearrangement
    ctypedef struct fc_pixel_shuffle:
        int64_t batch, channels, height, width, factor
    void fc_pixel_shuffle_forward(const fc_pixel_shuffle *shuffle, const float *x, float *y, const fc_context *ctx)
    void fc_pixel_shuffle_backward(const fc_pixel_shuffle *shuffle, const float *dy, float *dx, const fc_context *ctx)
    void fc_channel_shuffle(int64_t pixels, int64_t groups, int64_t count, const float *x, float *y,
                            const fc_context *ctx)
    ctypedef struct fc_unfold:
        int64_t batch, channels, height, width, kernel_height, kernel_width
        int64_t stride_height, stride_width, dilation_height, dilation_width, pad_height, pad_width
        c_bool planes
        int64_t out_height, out_width
    fc_status fc_unfold_plan(fc_unfold *unfold, fc_error *error)
    int64_t fc_unfold_workspace_bytes(const fc_unfold *unfold, const fc_context *ctx)
    void fc_unfold_forward(const fc_unfold *unfold, const float *x, float *columns, void *workspace,
                           const fc_context *ctx)
    void fc_fold_forward(const fc_unfold *unfold, const float *columns, float *y, void *workspace,
                         const fc_context *ctx)

    # dropout
    void fc_dropout_forward(const uint64_t *key, uint32_t least, float scale, int64_t size, const float *x, float *y,
                            uint8_t *keep, const fc_context *ctx)
    void fc_dropout_backward(float scale, int64_t size, const float *dy, const uint8_t *keep, float *dx,
                             const fc_context *ctx)

    # normalisation
    ctypedef struct fc_norm:
        int64_t images, rows, channels, groups
    int64_t fc_norm_workspace_bytes(const fc_norm *norm, c_bool backward, const fc_context *ctx)
    void fc_norm_training(const fc_norm *norm, const float *x, const float *weight, const float *bias, double eps,
                          float *y, float *mean, float *var, void *workspace, const fc_context *ctx)
    void fc_norm_inference(const fc_norm *norm, const float *x, const float *mean, const float *var,
                           const float *weight, const float *bias, double eps, float *y, void *workspace,
                           const fc_context *ctx)
    void fc_norm_backward(const fc_norm *norm, const float *dy, const float *x, const float *mean, const float *var,
                          const float *weight, double eps, float *dx, float *dweight, float *dbias, void *workspace,
                          const fc_context *ctx)
    ctypedef struct fc_layer_norm:
        int64_t rows, columns
        c_bool rms
    void fc_layer_norm_forward(const fc_layer_norm *norm, const float *x, const float *weight, const float *bias,
                               float eps, float *y, float *mean, float *var, const fc_context *ctx)
    int64_t fc_layer_norm_workspace_bytes(const fc_layer_norm *norm, const fc_context *ctx)
    void fc_layer_norm_backward(const fc_layer_norm *norm, const float *dy, const float *x, const float *mean,
                                const float *var, const float *weight, float eps, float *dx, float *dweight,
                                float *dbias, void *workspace, const fc_context *ctx)
    ctypedef struct fc_response_norm:
        int64_t pixels, channels, size
        float alpha, beta, k
    int64_t fc_response_norm_workspace_bytes(const fc_response_norm *norm, c_bool backward, const fc_context *ctx)
    void fc_response_norm_forward(const fc_response_norm *norm, const float *x, float *y, void *workspace,
                                  const fc_context *ctx)
    void fc_response_norm_backward(const fc_response_norm *norm, const float *dy, const float *x, float *dx,
                                   void *workspace, const fc_context *ctx)

    # recurrence
    ctypedef enum fc_rnn_kind:
        FC_RNN_TANH, FC_RNN_RELU, FC_LSTM, FC_GRU, FC_RNN_KIND_COUNT
    ctypedef struct fc_rnn:
        fc_rnn_kind kind
        int64_t steps, batch, input, hidden
        c_bool reverse
        const int64_t *lengths
    int64_t fc_rnn_gates(fc_rnn_kind kind)
    int64_t fc_rnn_reserve_size(const fc_rnn *rnn)
    int64_t fc_rnn_workspace_bytes(const fc_rnn *rnn, c_bool backward, const fc_context *ctx)
    void fc_rnn_forward(const fc_rnn *rnn, const float *x, const float *h, const float *c, const float *weight_ih,
                        const float *weight_hh, const float *bias_ih, const float *bias_hh, float *y,
                        int64_t y_stride, float *h_last, float *c_last, float *reserve, void *workspace,
                        const fc_context *ctx)
    void fc_rnn_backward(const fc_rnn *rnn, const float *dy, int64_t dy_stride, const float *dh_last,
                         const float *dc_last, const float *x, const float *h, const float *c, const float *y,
                         int64_t y_stride, const float *weight_ih, const float *weight_hh, const float *reserve,
                         float *dx, float *dh, float *dc, float *dweight_ih, float *dweight_hh, float *dbias_ih,
                         float *dbias_hh, void *workspace, const fc_context *ctx)

    # padding
    ctypedef enum fc_pad_mode:
        FC_PAD_CONSTANT, FC_PAD_REFLECT, FC_PAD_REPLICATE, FC_PAD_CIRCULAR
    ctypedef struct fc_pad:
        fc_pad_mode mode
        int64_t batch, channels
        int64_t size[3]
        int64_t before[3]
        int64_t after[3]
        float value
    void fc_pad_forward(const fc_pad *pad, const float *x, float *y, const fc_context *ctx)
    void fc_pad_backward(const fc_pad *pad, const float *dy, float *dx, const fc_context *ctx)

    # layout
    void fc_transpose(int64_t batch, int64_t rows, int64_t columns, const float *x, float *y, const fc_context *ctx)
