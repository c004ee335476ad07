# Binding of pool2d.c.


cdef inline const int32_t *index_operand(object array, str name, tuple shape) except? NULL:
    return <const int32_t *>buffer(array, name, shape, False, b"i", "int32")


cdef class Pool2dPlan:
    """A validated pooling; images are (N, H, W, C). Immutable. `function` starts the error's text."""
    cdef fc_pool2d c
    cdef tuple x_nhwc, y_nhwc
    cdef readonly tuple y_shape, kernel_size

    def __init__(self, str function, tuple x_shape, tuple kernel, tuple stride, tuple pads, tuple dilation,
                 bint ceil_mode, bint count_include_pad, object divisor=0, object output_size=None):
        """output_size (height, width) makes it adaptive: kernel, stride, pads and dilation are not used."""
        cdef fc_error error
        cdef fc_pool2d *d = &self.c
        try:
            d.batch, d.channels, d.in_height, d.in_width = x_shape
            d.kernel_height, d.kernel_width = kernel
            d.stride_height, d.stride_width = stride
            d.pad_top, d.pad_bottom, d.pad_left, d.pad_right = pads
            d.dilation_height, d.dilation_width = dilation
            d.divisor = divisor
            d.adaptive = output_size is not None
            if output_size is not None:
                d.out_height, d.out_width = output_size
        except OverflowError:
            raise ValueError(f"{function}: x shape={x_shape}, kernel_size={kernel}, stride={stride}, padding={pads}, "
                             f"dilation={dilation}, divisor_override={divisor}, output_size={output_size}: "
                             "every value must fit 64 bits") from None
        d.ceil_mode = ceil_mode
        d.count_include_pad = count_include_pad
        if fc_pool2d_plan(d, &error) != FC_OK:
            raise ValueError(f"{function}: {plan_error(&error)}")
        self.kernel_size = (d.kernel_height, d.kernel_width)
        self.y_shape = (d.batch, d.channels, d.out_height, d.out_width)
        self.x_nhwc = (d.batch, d.in_height, d.in_width, d.channels)
        self.y_nhwc = (d.batch, d.out_height, d.out_width, d.channels)

    def max_forward(self, x, y, indices, Context ctx not None):
        """indices may be None."""
        cdef const float *x_ = operand(x, "x", self.x_nhwc)
        cdef float *y_ = result(y, "y", self.y_nhwc)
        cdef int32_t *indices_ = NULL
        if indices is not None:
            indices_ = <int32_t *>buffer(indices, "indices", self.y_nhwc, True, b"i", "int32")
        cdef void *space = lend(fc_pool2d_workspace_bytes(&self.c, &ctx.c))
        with nogil:
            fc_max_pool2d_forward(&self.c, x_, y_, indices_, space, &ctx.c)

    def max_backward(self, dy, indices, dx, bint check, Context ctx not None):
        """Whether every index lies in its own window; if not, dx is of no meaning. Without check, a gradient is lost."""
        cdef const float *dy_ = operand(dy, "dy", self.y_nhwc)
        cdef const int32_t *indices_ = index_operand(indices, "indices", self.y_nhwc)
        cdef float *dx_ = result(dx, "dx", self.x_nhwc)
        cdef void *space = lend(fc_pool2d_workspace_bytes(&self.c, &ctx.c))
        cdef bint ok
        with nogil:
            ok = fc_max_pool2d_backward(&self.c, dy_, indices_, check, dx_, space, &ctx.c)
        return ok

    def avg_forward(self, x, y, Context ctx not None):
        cdef const float *x_ = operand(x, "x", self.x_nhwc)
        cdef float *y_ = result(y, "y", self.y_nhwc)
        cdef void *space = lend(fc_pool2d_workspace_bytes(&self.c, &ctx.c))
        with nogil:
            fc_avg_pool2d_forward(&self.c, x_, y_, space, &ctx.c)

    def avg_backward(self, dy, dx, Context ctx not None):
        cdef const float *dy_ = operand(dy, "dy", self.y_nhwc)
        cdef float *dx_ = result(dx, "dx", self.x_nhwc)
        cdef void *space = lend(fc_pool2d_workspace_bytes(&self.c, &ctx.c))
        with nogil:
            fc_avg_pool2d_backward(&self.c, dy_, dx_, space, &ctx.c)


def max_unpool2d_forward(x, indices, y, Context ctx not None):
    """x, indices (N, P, C) -> y (N, plane, C); refuses an index outside of the plane."""
    cdef int64_t batch, pixels, channels, plane = y.shape[1]
    batch, pixels, channels = x.shape
    cdef const float *x_ = operand(x, "x", (batch, pixels, channels))
    cdef const int32_t *indices_ = index_operand(indices, "indices", (batch, pixels, channels))
    cdef float *y_ = result(y, "y", (batch, plane, channels))
    if not fc_max_unpool2d_indices_ok(batch, pixels, channels, plane, indices_):
        raise ValueError("max_unpool2d: an index lies outside of the plane")
    with nogil:
        fc_max_unpool2d_forward(batch, pixels, channels, plane, x_, indices_, y_, &ctx.c)


def max_unpool2d_backward(dy, indices, dx, Context ctx not None):
    """dy (N, plane, C), indices (N, P, C) -> dx (N, P, C); refuses an index outside of the plane."""
    cdef int64_t batch, pixels, channels, plane = dy.shape[1]
    batch, pixels, channels = dx.shape
    cdef const float *dy_ = operand(dy, "dy", (batch, plane, channels))
    cdef const int32_t *indices_ = index_operand(indices, "indices", (batch, pixels, channels))
    cdef float *dx_ = result(dx, "dx", (batch, pixels, channels))
    if not fc_max_unpool2d_indices_ok(batch, pixels, channels, plane, indices_):
        raise ValueError("max_unpool2d_backward: an index lies outside of the plane")
    with nogil:
        fc_max_unpool2d_backward(batch, pixels, channels, plane, dy_, indices_, dx_, &ctx.c)
