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


def shuffled_channels(x, groups, out, bint back, Context ctx not None):
    """The channels of a usual array (N, C, ...), of each group in turn or back, else NotImplemented."""
    cdef int64_t channels, pixels, parts
    if not is_float32(x) or cnp.PyArray_NDIM(x) < 3 or type(groups) is not int or not 0 < groups <= INT32_MAX:
        return NotImplemented
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    channels, parts = shape[1], groups
    if channels == 0 or channels % parts:
        return NotImplemented
    cdef cnp.ndarray y = maps_target(out, cnp.PyArray_NDIM(x), shape, x)
    cdef object images = None if y is None else on_channels_last(x, ctx)
    if images is None:
        return NotImplemented
    pixels, parts = cnp.PyArray_SIZE(x) // channels, channels // parts if back else parts
    cdef const float *x_ = data_of(images)
    cdef float *y_ = data_of(y)
    with nogil:
        fc_channel_shuffle(pixels, parts, channels // parts, x_, y_, &ctx.c)
    return y


def shuffled_pixels(x, factor, out, bint back, Context ctx not None):
    """A usual array (N, C, H, W) with channels moved to pixels or back, else NotImplemented."""
    cdef fc_pixel_shuffle d
    cdef cnp.npy_intp shape[4]
    if not is_float32(x) or cnp.PyArray_NDIM(x) != 4 or type(factor) is not int or not 0 < factor < 2 ** 15:
        return NotImplemented
    cdef const cnp.npy_intp *sizes = cnp.PyArray_DIMS(x)
    cdef int64_t r = factor, square = r * r
    shape[0] = d.batch = sizes[0]
    d.factor = r
    if back:
        if sizes[2] % r or sizes[3] % r:
            return NotImplemented
        d.channels, d.height, d.width = sizes[1], sizes[2] // r, sizes[3] // r
        shape[1], shape[2], shape[3] = d.channels * square, d.height, d.width
    else:
        if sizes[1] % square:
            return NotImplemented
        d.channels, d.height, d.width = sizes[1] // square, sizes[2], sizes[3]
        shape[1], shape[2], shape[3] = d.channels, d.height * r, d.width * r
    if bytes_of(4, shape) < 0:
        return NotImplemented
    cdef cnp.ndarray y = maps_target(out, 4, shape, x)
    cdef object images = None if y is None else on_channels_last(x, ctx)
    if images is None:
        return NotImplemented
    cdef const float *x_ = data_of(images)
    cdef float *y_ = data_of(y)
    with nogil:
        if back:
            fc_pixel_shuffle_backward(&d, x_, y_, &ctx.c)
        else:
            fc_pixel_shuffle_forward(&d, x_, y_, &ctx.c)
    return y


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
