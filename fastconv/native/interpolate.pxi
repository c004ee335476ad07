# Binding of interpolate.c.

INTERPOLATION_MODES = {"nearest": FC_NEAREST, "nearest-exact": FC_NEAREST_EXACT, "bilinear": FC_BILINEAR,
                       "bicubic": FC_BICUBIC}


cdef class InterpolatePlan:
    """A validated interpolation; images are (N, H, W, C). Immutable. `function` starts the error's text.

    factors: those given for height and width, 0 where the ratio of the sizes holds."""
    cdef fc_interpolate c
    cdef tuple x_nhwc, y_nhwc
    cdef readonly tuple y_shape

    def __init__(self, str function, tuple x_shape, tuple size, tuple factors, str mode, bint align_corners):
        cdef fc_error error
        cdef fc_interpolate *d = &self.c
        try:
            d.batch, d.channels, d.in_height, d.in_width = x_shape
            d.out_height, d.out_width = size
        except OverflowError:
            raise ValueError(f"{function}: x shape={x_shape}, size={size}: every size must fit 64 bits") from None
        d.factor_height, d.factor_width = factors
        d.mode = <fc_interpolate_mode><int>INTERPOLATION_MODES[mode]
        d.align_corners = align_corners
        if fc_interpolate_plan(d, &error) != FC_OK:
            if error.count == 0:
                raise ValueError(f"{function}: {error.argument.decode()}={factors}: {error.rule.decode()}")
            raise ValueError(f"{function}: {plan_error(&error)}")
        self.y_shape = (d.batch, d.channels, d.out_height, d.out_width)
        self.x_nhwc = (d.batch, d.in_height, d.in_width, d.channels)
        self.y_nhwc = (d.batch, d.out_height, d.out_width, d.channels)

    def interpolated(self, x, out, bint back, Context ctx not None):
        """y of a usual x (N, C, H, W), or with `back` dx of dy, else NotImplemented."""
        cdef cnp.npy_intp shape[2][4]
        cdef const fc_interpolate *d = &self.c
        shape[0][0], shape[0][1], shape[0][2], shape[0][3] = d.batch, d.channels, d.in_height, d.in_width
        shape[1][0], shape[1][1], shape[1][2], shape[1][3] = d.batch, d.channels, d.out_height, d.out_width
        if not is_image(x, shape[back]):
            return NotImplemented
        cdef cnp.ndarray y = maps_target(out, 4, shape[not back], x)
        cdef object images = None if y is None else on_channels_last(x, ctx)
        if images is None:
            return NotImplemented
        cdef const float *x_ = data_of(images)
        cdef float *y_ = data_of(y)
        cdef void *space = lend(fc_interpolate_workspace_bytes(&self.c, back, &ctx.c))
        with nogil:
            if back:
                fc_interpolate_backward(&self.c, x_, y_, space, &ctx.c)
            else:
                fc_interpolate_forward(&self.c, x_, y_, space, &ctx.c)
        return y

    def forward(self, x, y, Context ctx not None):
        cdef const float *x_ = operand(x, "x", self.x_nhwc)
        cdef float *y_ = result(y, "y", self.y_nhwc)
        cdef void *space = lend(fc_interpolate_workspace_bytes(&self.c, False, &ctx.c))
        with nogil:
            fc_interpolate_forward(&self.c, x_, y_, space, &ctx.c)

    def backward(self, dy, dx, Context ctx not None):
        cdef const float *dy_ = operand(dy, "dy", self.y_nhwc)
        cdef float *dx_ = result(dx, "dx", self.x_nhwc)
        cdef void *space = lend(fc_interpolate_workspace_bytes(&self.c, True, &ctx.c))
        with nogil:
            fc_interpolate_backward(&self.c, dy_, dx_, space, &ctx.c)
