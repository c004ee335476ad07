/* conv2d.c - entry of the 2-D convolution: validate, derive, choose, dispatch. */
#include "conv2d.h"
#include "plan.h"

static const conv2d_algorithm *const algorithms[FC_CONV2D_ALGORITHM_COUNT] = {
    [FC_CONV2D_DIRECT] = &conv2d_direct,
    [FC_CONV2D_IM2COL] = &conv2d_im2col,
    [FC_CONV2D_DEPTHWISE] = &conv2d_depthwise,
    [FC_CONV2D_WINOGRAD] = &conv2d_winograd,
    [FC_CONV2D_WINOGRAD_2X2] = &conv2d_winograd_2x2,
    [FC_CONV2D_WINOGRAD_6X6] = &conv2d_winograd_6x6,
    [FC_CONV2D_WINOGRAD_DEPTHWISE] = &conv2d_winograd_depthwise,
};

const char *fc_conv2d_algorithm_name(fc_conv2d_algorithm algorithm) {
    if (algorithm == FC_CONV2D_AUTO) return "auto";
    return (unsigned)algorithm < FC_CONV2D_ALGORITHM_COUNT ? algorithms[algorithm]->name : NULL;
}

/* ---------------------------------------------------------------------------------------------------------- plan */

static fc_status check_sizes(const fc_conv2d *c, fc_error *e) {
    const int64_t least_stride = fc_min(c->stride_height, c->stride_width);
    const int64_t least_dilation = fc_min(c->dilation_height, c->dilation_width);
    const int64_t least_pad = fc_min(fc_min(c->pad_top, c->pad_bottom), fc_min(c->pad_left, c->pad_right));
    if (c->batch < 0 || c->in_channels < 1 || c->in_height < 1 || c->in_width < 1)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "x.shape", "channels, height and width must be >= 1", c->batch,
                         c->in_channels, c->in_height, c->in_width);
    if (c->out_channels < 1 || c->kernel_height < 1 || c->kernel_width < 1)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "weight (out channels, height, width)", "each must be >= 1",
                         c->out_channels, c->kernel_height, c->kernel_width);
    if (least_stride < 1)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "stride", "every stride must be >= 1", c->stride_height, c->stride_width);
    if (least_dilation < 1)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "dilation", "every dilation must be >= 1", c->dilation_height,
                         c->dilation_width);
    if (least_pad < 0)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "padding", "every pad must be >= 0", c->pad_top, c->pad_bottom,
                         c->pad_left, c->pad_right);
    if (c->groups < 1) return FC_REFUSE(e, FC_BAD_GEOMETRY, "groups", "must be >= 1", c->groups);
    if (c->in_channels % c->groups)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "(groups, in channels)", "groups must divide the input channels",
                         c->groups, c->in_channels);
    if (c->out_channels % c->groups)
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "(groups, out channels)", "groups must divide the output channels",
                         c->groups, c->out_channels);
    return FC_OK;
}

/* out = (in + pads - dilation * (kernel - 1) - 1) / stride + 1; false on overflow or if the kernel does not fit. */
static bool out_extent(int64_t in, int64_t before, int64_t after, int64_t kernel, int64_t dilation, int64_t stride,
                       int64_t *out) {
    int64_t padded, reach;
    if (!fc_add_ok(in, before, &padded) || !fc_add_ok(padded, after, &padded)) return false;
    if (!fc_mul_ok(dilation, kernel - 1, &reach) || reach >= padded) return false;
    *out = (padded - reach - 1) / stride + 1;
    return true;
}

static bool sizes_fit(const fc_conv2d *c) {
    const int64_t rounded = c->out_channels > INT64_MAX / 2 ? INT64_MAX : fc_round_up(c->out_channels, 64);
    int64_t height, width; /* of the padded input */
    if (!fc_add_ok(c->in_height, c->pad_top + c->pad_bottom, &height)) return false;
    if (!fc_add_ok(c->in_width, c->pad_left + c->pad_right, &width)) return false;
    return fc_extent_ok((int64_t[]){c->batch, height, width, c->in_channels}, 4) &&
           fc_extent_ok((int64_t[]){c->batch, c->out_height, c->out_width, rounded}, 4) &&
           fc_extent_ok((int64_t[]){rounded, fc_round_up(c->in_channels, 64), c->kernel_height, c->kernel_width}, 4);
}

fc_status fc_conv2d_plan(fc_conv2d *c, fc_error *e) {
    fc_status status = check_sizes(c, e);
    if (status != FC_OK) return status;
    if (!out_extent(c->in_height, c->pad_top, c->pad_bottom, c->kernel_height, c->dilation_height, c->stride_height,
                    &c->out_height) ||
        !out_extent(c->in_width, c->pad_left, c->pad_right, c->kernel_width, c->dilation_width, c->stride_width,
                    &c->out_width))
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "(kernel height, width, input height, width)",
                         "the dilated kernel must fit the padded input", c->kernel_height, c->kernel_width,
                         c->in_height, c->in_width);
    /* A stride over the padded size takes no second step: bounded, nothing computed from it overflows. */
    c->stride_height = fc_min(c->stride_height, c->in_height + c->pad_top + c->pad_bottom);
    c->stride_width = fc_min(c->stride_width, c->in_width + c->pad_left + c->pad_right);
    if (!sizes_fit(c))
        return FC_REFUSE(e, FC_BAD_GEOMETRY, "x.shape", "the sizes overflow 64 bits", c->batch, c->in_channels,
                         c->in_height, c->in_width);
    if ((unsigned)c->algorithm >= FC_CONV2D_ALGORITHM_COUNT)
        return FC_REFUSE(e, FC_UNKNOWN_ALGORITHM, "algorithm", "no such algorithm", (int64_t)c->algorithm);
    if (c->algorithm != FC_CONV2D_AUTO && !algorithms[c->algorithm]->supports(c))
        return FC_REFUSE(e, FC_UNSUPPORTED, "algorithm", "does not support this geometry", (int64_t)c->algorithm);
    for (int pass = 0; pass < FC_PASS_COUNT; pass++)
        c->chosen[pass] = c->algorithm == FC_CONV2D_AUTO ? conv2d_choose(c, (fc_pass)pass) : c->algorithm;
    return FC_OK;
}

/* ------------------------------------------------------------------------------------------------------ dispatch */

int64_t fc_conv2d_workspace_bytes(const fc_conv2d *c, fc_pass pass, const fc_context *ctx) {
    return algorithms[c->chosen[pass]]->workspace_bytes(c, pass, ctx);
}

int64_t fc_conv2d_packed_bytes(const fc_conv2d *c, const fc_context *ctx) {
    return algorithms[c->chosen[FC_FORWARD]]->packed_bytes(c, ctx);
}

void fc_conv2d_pack(const fc_conv2d *c, const float *weight, float *packed, const fc_context *ctx) {
    algorithms[c->chosen[FC_FORWARD]]->pack(c, weight, packed, ctx);
}

void fc_conv2d_forward(const fc_conv2d *c, const float *x, const float *packed, const float *bias,
                       const float *residual, float *y, void *workspace, const fc_context *ctx) {
    const conv2d_epilogue epilogue = {bias, residual, &c->activation};
    if (c->batch > 0) algorithms[c->chosen[FC_FORWARD]]->forward(c, x, packed, &epilogue, y, workspace, ctx);
}

int64_t fc_conv2d_plain_workspace_bytes(const fc_conv2d *c, const fc_context *ctx) {
    const conv2d_algorithm *algorithm = algorithms[c->chosen[FC_FORWARD]];
    if (algorithm->forward_plain) return algorithm->plain_workspace_bytes(c, ctx);
    return fc_round_up(algorithm->packed_bytes(c, ctx), FC_ALIGNMENT) + algorithm->workspace_bytes(c, FC_FORWARD, ctx);
}

void fc_conv2d_forward_plain(const fc_conv2d *c, const float *x, const float *weight, const float *bias,
                             const float *residual, float *y, void *workspace, const fc_context *ctx) {
    const conv2d_algorithm *algorithm = algorithms[c->chosen[FC_FORWARD]];
    const conv2d_epilogue epilogue = {bias, residual, &c->activation};
    fc_arena arena = {workspace};
    if (c->batch == 0) return;
    if (algorithm->forward_plain) {
        algorithm->forward_plain(c, x, weight, &epilogue, y, workspace, ctx);
        return;
    }
    float *packed = fc_take(&arena, algorithm->packed_bytes(c, ctx));
    algorithm->pack(c, weight, packed, ctx);
    algorithm->forward(c, x, packed, &epilogue, y, arena.next, ctx);
}

void conv2d_backward_input(const fc_conv2d *c, const float *dy, const float *weight, const conv2d_epilogue *epilogue,
                           float *dx, void *workspace, const fc_context *ctx) {
    if (c->batch > 0)
        algorithms[c->chosen[FC_BACKWARD_INPUT]]->backward_input(c, dy, weight, epilogue, dx, workspace, ctx);
}

void fc_conv2d_backward_input(const fc_conv2d *c, const float *dy, const float *weight, float *dx, void *workspace,
                              const fc_context *ctx) {
    conv2d_backward_input(c, dy, weight, &(conv2d_epilogue){0}, dx, workspace, ctx);
}

void fc_conv2d_backward_weight(const fc_conv2d *c, const float *dy, const float *x, float *dweight, float *dbias,
                               void *workspace, const fc_context *ctx) {
    if (c->batch > 0) {
        algorithms[c->chosen[FC_BACKWARD_WEIGHT]]->backward_weight(c, dy, x, dweight, dbias, workspace, ctx);
        return;
    }
    const int64_t size = c->out_channels * conv2d_in_depth(c) * conv2d_taps(c);
    memset(dweight, 0, (size_t)size * sizeof(float));
    if (dbias) memset(dbias, 0, (size_t)c->out_channels * sizeof(float));
}
