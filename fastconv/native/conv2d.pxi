# Binding of conv2d.c.

CONV2D_ALGORITHMS = {fc_conv2d_algorithm_name(<fc_conv2d_algorithm>i).decode(): i for i in range(FC_CONV2D_ALGORITHM_COUNT)}


cdef class PackedConv2dWeight:
    """Convolution weights in the order the kernels of one plan and instruction set read them. Immutable."""
    cdef Workspace memory
    cdef float *packed
    cdef tuple packing  # of the plans
    cdef str isa        # and the contexts that may use it
    cdef readonly tuple shape
    cdef readonly str algorithm

    @property
    def key(self):
        """Equal to `packing_key` of the plans that may use it."""
        return (*self.packing, self.isa)

    @property
    def nbytes(self):
        """Bytes of memory it holds."""
        return self.memory.size


cdef class Conv2dPlan:
    """A convolution's geometry, validated once: every size of every pass follows from it. Immutable."""
    cdef fc_conv2d c
    cdef readonly tuple x_shape, weight_shape, y_shape  # x and y as (N, H, W, C), the memory's order
    cdef readonly tuple algorithms                      # chosen for forward, backward input, backward weight
    cdef tuple bias_shape, packing
    cdef cnp.npy_intp x_sizes[4]       # (N, C, H, W)
    cdef cnp.npy_intp y_sizes[4]       # (N, K, P, Q)
    cdef cnp.npy_intp weight_sizes[4]  # (K, C / groups, R, S)

    def __init__(self, tuple x_shape, tuple weight_shape, tuple stride, tuple pads, tuple dilation, groups,
                 tuple fused, algorithm, bint exact=False, bint constant_weights=False):
        """x_shape (N, C, H, W), weight_shape (K, C / groups, R, S), pads (top, bottom, left, right). exact: algorithm
        "auto" is not Winograd. constant_weights: it is chosen for weights that are packed once."""
        cdef fc_error error
        try:
            self.c.batch, self.c.in_channels, self.c.in_height, self.c.in_width = x_shape
            self.c.out_channels, _, self.c.kernel_height, self.c.kernel_width = weight_shape
            self.c.stride_height, self.c.stride_width = stride
            self.c.dilation_height, self.c.dilation_width = dilation
            self.c.groups = groups
            self.c.pad_top, self.c.pad_bottom, self.c.pad_left, self.c.pad_right = pads
        except OverflowError:
            raise ValueError(f"stride={stride}, padding={pads}, dilation={dilation}, groups={groups}: "
                             "every size must fit 64 bits") from None
        self.c.activation = activation(fused[0], fused[1], fused[2])
        self.c.exact = exact
        self.c.constant_weights = constant_weights
        self.c.algorithm = <fc_conv2d_algorithm><int>CONV2D_ALGORITHMS[algorithm]
        if fc_conv2d_plan(&self.c, &error) != FC_OK:
            if error.argument == b"algorithm":
                raise ValueError(f"algorithm={algorithm!r}: {error.rule.decode()}")
            raise ValueError(plan_error(&error))
        if weight_shape[1] * groups != x_shape[1]:
            raise ValueError(f"weight has shape {weight_shape}: with groups={groups} and {x_shape[1]} input channels its "
                             f"second dimension must be {x_shape[1] // groups}")
        self.x_shape = (x_shape[0], x_shape[2], x_shape[3], x_shape[1])
        self.weight_shape = weight_shape
        self.y_shape = (x_shape[0], self.c.out_height, self.c.out_width, weight_shape[0])
        self.bias_shape = (weight_shape[0],)
        self.algorithms = tuple([fc_conv2d_algorithm_name(self.c.chosen[i]).decode() for i in range(3)])
        self.packing = (self.algorithms[0], weight_shape, groups)
        self.x_sizes = [self.c.batch, self.c.in_channels, self.c.in_height, self.c.in_width]
        self.y_sizes = [self.c.batch, self.c.out_channels, self.c.out_height, self.c.out_width]
        self.weight_sizes = [self.c.out_channels, weight_shape[1], self.c.kernel_height, self.c.kernel_width]

    @property
    def multiply_adds(self):
        """Multiply-adds of one pass by the direct algorithm."""
        batch, height, width, channels = self.y_shape
        return (batch * height * width * channels * self.weight_shape[1] * self.weight_shape[2] * self.weight_shape[3])

    def workspace_bytes(self, int pass_, Context ctx not None):
        """Scratch of pass 0 (forward, with packed weights), 1 (backward input) or 2 (backward weight)."""
        if not 0 <= pass_ < 3:
            raise ValueError(f"workspace_bytes: pass={pass_}: must be 0, 1 or 2")
        return fc_conv2d_workspace_bytes(&self.c, <fc_pass>pass_, &ctx.c)

    def plain_workspace_bytes(self, Context ctx not None):
        """Scratch of forward with an array of weights."""
        return fc_conv2d_plain_workspace_bytes(&self.c, &ctx.c)

    def packing_key(self, Context ctx not None):
        """What packed weights depend on: any plan of the same key can use them."""
        return (*self.packing, ctx.isa)

    def pack(self, weight, Context ctx not None):
        """The weights (K, C / groups, R, S), packed for `forward`."""
        cdef PackedConv2dWeight packed = PackedConv2dWeight()
        cdef const float *weight_ = operand(weight, "weight", self.weight_shape)
        packed.packing, packed.isa = self.packing, ctx.isa
        packed.shape = self.weight_shape
        packed.algorithm = self.algorithms[0]
        packed.memory = Workspace(huge=4 * HUGE_PAGE)  # smaller ones would waste too much by rounding up
        packed.packed = <float *>packed.memory.lend(max(64, fc_conv2d_packed_bytes(&self.c, &ctx.c)))
        with nogil:
            fc_conv2d_pack(&self.c, weight_, packed.packed, &ctx.c)
        return packed

    cdef inline bint may_use(self, PackedConv2dWeight packed, Context ctx):
        return packed.isa == ctx.isa and (packed.packing is self.packing or packed.packing == self.packing)

    cdef inline bint is_weight(self, object weight, Context ctx):
        """A usual array in C order, of this plan's shape, or packed for it."""
        if isinstance(weight, PackedConv2dWeight):
            return self.may_use(weight, ctx)
        return is_plain(weight, 4) and has_shape(weight, self.weight_sizes)

    cdef void run(self, const float *x, object weight, const float *bias, const float *residual, float *y,
                  Context ctx) except *:
        """Checked operands; weight is an array or packed."""
        cdef const float *weight_
        cdef void *space
        if isinstance(weight, PackedConv2dWeight):
            weight_ = (<PackedConv2dWeight>weight).packed
            space = lend(fc_conv2d_workspace_bytes(&self.c, FC_FORWARD, &ctx.c))
            with nogil:
                fc_conv2d_forward(&self.c, x, weight_, bias, residual, y, space, &ctx.c)
        else:
            weight_ = operand(weight, "weight", self.weight_shape)
            space = lend(fc_conv2d_plain_workspace_bytes(&self.c, &ctx.c))
            with nogil:
                fc_conv2d_forward_plain(&self.c, x, weight_, bias, residual, y, space, &ctx.c)

    def convolve(self, x, weight, bias, residual, out, Context ctx not None):
        """`forward` of usual arrays as ops.conv2d takes them, images (N, C, H, W), else NotImplemented.

        Returns y (N, K, P, Q): `out`, or a new array where that is None."""
        cdef cnp.ndarray y
        if not is_image(x, self.x_sizes) or not self.is_weight(weight, ctx):
            return NotImplemented
        if bias is not None and not (is_plain(bias, 1) and has_shape(bias, self.y_sizes + 1)):
            return NotImplemented
        if residual is not None and not (is_image(residual, self.y_sizes) and is_channels_last(residual)):
            return NotImplemented
        plain = None if isinstance(weight, PackedConv2dWeight) else weight
        y = image_target(out, self.y_sizes, x, plain, bias, residual)
        source = on_channels_last(x, ctx)
        if y is None or source is None:
            return NotImplemented
        self.run(data_of(source), weight, data_of(bias), data_of(residual), data_of(y), ctx)
        return y

    def input_gradient(self, dy, weight, out, Context ctx not None):
        """`backward_input` of usual arrays, images (N, C, H, W), as `convolve`: returns dx."""
        cdef cnp.ndarray dx
        if not is_image(dy, self.y_sizes) or not is_plain(weight, 4) or not has_shape(weight, self.weight_sizes):
            return NotImplemented
        dx = image_target(out, self.x_sizes, dy, weight, None, None)
        source = on_channels_last(dy, ctx)
        if dx is None or source is None:
            return NotImplemented
        cdef const float *dy_ = data_of(source)
        cdef const float *weight_ = data_of(weight)
        cdef float *dx_ = data_of(dx)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_INPUT, &ctx.c))
        with nogil:
            fc_conv2d_backward_input(&self.c, dy_, weight_, dx_, space, &ctx.c)
        return dx

    def convolve_transposed(self, x, weight, bias, out, Context ctx not None):
        """`transposed_forward` of usual arrays, images (N, K, P, Q), as `convolve`: returns y (N, C, H, W)."""
        cdef cnp.ndarray y
        if not is_image(x, self.y_sizes) or not is_plain(weight, 4) or not has_shape(weight, self.weight_sizes):
            return NotImplemented
        if bias is not None and not (is_plain(bias, 1) and has_shape(bias, self.x_sizes + 1)):
            return NotImplemented
        y = image_target(out, self.x_sizes, x, weight, bias, None)
        source = on_channels_last(x, ctx)
        if y is None or source is None:
            return NotImplemented
        cdef const float *x_ = data_of(source)
        cdef const float *weight_ = data_of(weight)
        cdef const float *bias_ = data_of(bias)
        cdef float *y_ = data_of(y)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_INPUT, &ctx.c))
        with nogil:
            fc_conv_transpose2d_forward(&self.c, x_, weight_, bias_, NULL, y_, space, &ctx.c)
        return y

    def weight_gradients(self, dy, x, out_weight, out_bias, Context ctx not None, bint transposed=False):
        """`backward_weight` of usual arrays, images (N, C, H, W), as `convolve`: returns (dweight, dbias).

        transposed: of the transposed convolution whose input is dy and whose output's gradient is x; dbias sums x."""
        if not is_image(dy, self.y_sizes) or not is_image(x, self.x_sizes):
            return NotImplemented
        cdef cnp.ndarray dweight = plain_target(out_weight, 4, self.weight_sizes, dy, x)
        cdef int64_t channels = self.c.in_channels, pixels = self.c.batch * self.c.in_height * self.c.in_width
        cdef const cnp.npy_intp *sizes = &self.x_sizes[1] if transposed else &self.y_sizes[1]
        cdef cnp.ndarray dbias = plain_target(out_bias, 1, sizes, dy, x)
        if dweight is None or dbias is None or not is_apart(dweight, dbias):
            return NotImplemented
        dy_memory, x_memory = on_channels_last(dy, ctx), on_channels_last(x, ctx)
        if dy_memory is None or x_memory is None:
            return NotImplemented
        cdef const float *dy_ = data_of(dy_memory)
        cdef const float *x_ = data_of(x_memory)
        cdef float *dweight_ = data_of(dweight)
        cdef float *dbias_ = data_of(dbias)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_WEIGHT, &ctx.c))
        with nogil:
            fc_conv2d_backward_weight(&self.c, dy_, x_, dweight_, NULL if transposed else dbias_, space, &ctx.c)
            if transposed:
                fc_conv_transpose2d_backward_bias(pixels, channels, x_, dbias_, &ctx.c)
        return dweight, dbias

    def forward(self, x, weight, bias, residual, y, Context ctx not None):
        """y = activation(conv2d(x, weight) + bias + residual); weight is an array, or what `pack` returned."""
        cdef const float *x_ = operand(x, "x", self.x_shape)
        cdef const float *bias_ = optional(bias, "bias", self.bias_shape)
        cdef const float *residual_ = optional(residual, "residual", self.y_shape)
        cdef float *y_ = result(y, "y", self.y_shape)
        if isinstance(weight, PackedConv2dWeight) and not self.may_use(weight, ctx):
            raise ValueError(f"weight was packed for {weight.key}, this call needs {self.packing_key(ctx)}")
        self.run(x_, weight, bias_, residual_, y_, ctx)

    def backward_input(self, dy, weight, dx, Context ctx not None):
        cdef const float *dy_ = operand(dy, "dy", self.y_shape)
        cdef const float *weight_ = operand(weight, "weight", self.weight_shape)
        cdef float *dx_ = result(dx, "dx", self.x_shape)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_INPUT, &ctx.c))
        with nogil:
            fc_conv2d_backward_input(&self.c, dy_, weight_, dx_, space, &ctx.c)

    def backward_weight(self, dy, x, dweight, dbias, Context ctx not None):
        cdef const float *dy_ = operand(dy, "dy", self.y_shape)
        cdef const float *x_ = operand(x, "x", self.x_shape)
        cdef float *dweight_ = result(dweight, "dweight", self.weight_shape)
        cdef float *dbias_ = optional_result(dbias, "dbias", self.bias_shape)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_WEIGHT, &ctx.c))
        with nogil:
            fc_conv2d_backward_weight(&self.c, dy_, x_, dweight_, dbias_, space, &ctx.c)

    def transposed_forward(self, x, weight, bias, residual, y, Context ctx not None):
        """y = activation(backward_input(x, weight) + bias + residual): x is laid out as y of this plan, y as its x."""
        cdef const float *x_ = operand(x, "x", self.y_shape)
        cdef const float *weight_ = operand(weight, "weight", self.weight_shape)
        cdef const float *bias_ = optional(bias, "bias", self.x_shape[3:])
        cdef const float *residual_ = optional(residual, "residual", self.x_shape)
        cdef float *y_ = result(y, "y", self.x_shape)
        cdef void *space = lend(fc_conv2d_workspace_bytes(&self.c, FC_BACKWARD_INPUT, &ctx.c))
        with nogil:
            fc_conv_transpose2d_forward(&self.c, x_, weight_, bias_, residual_, y_, space, &ctx.c)


def conv_transpose2d_backward_bias(dy, dbias, Context ctx not None):
    """dbias[k] = sum over pixels of dy[pixel, k]; dy (pixels, K)."""
    cdef int64_t pixels = dy.shape[0], channels = dy.shape[1]
    cdef const float *dy_ = operand(dy, "dy", (pixels, channels))
    cdef float *dbias_ = result(dbias, "dbias", (channels,))
    with nogil:
        fc_conv_transpose2d_backward_bias(pixels, channels, dy_, dbias_, &ctx.c)
