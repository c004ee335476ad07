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
