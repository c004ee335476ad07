# Binding of rearrange.c and unfold.c.


cdef fc_pixel_shuffle shuffle_geometry(tuple y_shape, int64_t factor):
    """y_shape (N, H * factor, W * factor, C), checked by ops."""
    cdef fc_pixel_shuffle d
    d.batch, d.channels, d.factor = y_shape[0], y_shape[3], factor
    d.height, d.width = y_shape[1] // factor, y_shape[2] // factor
    return d


cdef tuple shuffled_shape(const fc_pixel_shuffle *d):
    return (d.batch, d.height, d.width, d.channels * d.factor * d.factor)


def pixel_shuffle_forward(x, y, int64_t factor, Context ctx not None):
    """x (N, H, W, C * factor^2) -> y (N, H * factor, W * factor, C)."""
    cdef tuple shape = tuple(y.shape)
    cdef fc_pixel_shuffle d = shuffle_geometry(shape, factor)
    cdef const float *x_ = operand(x, "x", shuffled_shape(&d))
    cdef float *y_ = result(y, "y", shape)
    with nogil:
        fc_pixel_shuffle_forward(&d, x_, y_, &ctx.c)


def pixel_shuffle_backward(dy, dx, int64_t factor, Context ctx not None):
    """The way back: dy (N, H * factor, W * factor, C) -> dx (N, H, W, C * factor^2)."""
    cdef tuple shape = tuple(dy.shape)
    cdef fc_pixel_shuffle d = shuffle_geometry(shape, factor)
    cdef const float *dy_ = operand(dy, "dy", shape)
    cdef float *dx_ = result(dx, "dx", shuffled_shape(&d))
    with nogil:
        fc_pixel_shuffle_backward(&d, dy_, dx_, &ctx.c)


def channel_shuffle(x, y, int64_t groups, Context ctx not None):
    """x and y (pixels, channels), groups a divisor of the channels."""
    cdef int64_t pixels = x.shape[0], channels = x.shape[1]
    cdef const float *x_ = operand(x, "x", (pixels, channels))
    cdef float *y_ = result(y, "y", (pixels, channels))
    with nogil:
        fc_channel_shuffle(pixels, groups, channels // groups, x_, y_, &ctx.c)


cdef class UnfoldPlan:
    """Validated windows of images (N, H, W, C). Immutable. `function` starts the error's text."""
    cdef fc_unfold c
    cdef tuple x_nhwc, x_nchw
    cdef readonly tuple columns_shape

    def __init__(self, str function, tuple x_shape, tuple kernel, tuple stride, tuple pads, tuple dilation):
        cdef fc_error error
        cdef fc_unfold *d = &self.c
        try:
            d.batch, d.channels, d.height, d.width = x_shape
            d.kernel_height, d.kernel_width = kernel
            d.stride_height, d.stride_width = stride
            d.pad_height, d.pad_width = pads
            d.dilation_height, d.dilation_width = dilation
        except OverflowError:
            raise ValueError(f"{function}: x shape={x_shape}, kernel_size={kernel}, stride={stride}, padding={pads}, "
                             f"dilation={dilation}: every value must fit 64 bits") from None
        if fc_unfold_plan(d, &error) != FC_OK:
            raise ValueError(f"{function}: {plan_error(&error)}")
        self.x_nhwc = (d.batch, d.height, d.width, d.channels)
        self.x_nchw = x_shape
        self.columns_shape = (d.batch, d.channels * d.kernel_height * d.kernel_width, d.out_height * d.out_width)

    def unfold(self, x, columns, bint planes, Context ctx not None):
        """x (N, H, W, C), or with planes (N, C, H, W)."""
        cdef fc_unfold d = self.c
        d.planes = planes
        cdef const float *x_ = operand(x, "x", self.x_nchw if planes else self.x_nhwc)
        cdef float *columns_ = result(columns, "columns", self.columns_shape)
        cdef void *space = lend(fc_unfold_workspace_bytes(&d, &ctx.c))
        with nogil:
            fc_unfold_forward(&d, x_, columns_, space, &ctx.c)

    def fold(self, columns, y, Context ctx not None):
        cdef const float *columns_ = operand(columns, "columns", self.columns_shape)
        cdef float *y_ = result(y, "y", self.x_nhwc)
        cdef void *space = lend(fc_unfold_workspace_bytes(&self.c, &ctx.c))
        with nogil:
            fc_fold_forward(&self.c, columns_, y_, space, &ctx.c)
