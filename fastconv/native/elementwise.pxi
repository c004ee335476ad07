# Binding of elementwise.c.

ELEMENTWISE_OPS = {
    "add": FC_ADD, "add_relu": FC_ADD_RELU, "mul": FC_MUL, "prelu": FC_PRELU, "prelu_backward": FC_PRELU_BACKWARD,
}
SUM_KINDS = {"sum": FC_SUM, "products": FC_SUM_PRODUCTS, "negative": FC_SUM_NEGATIVE}


cdef class ElementwisePlan:
    """y = activation(a op b) over sizes in memory order: four axes, of each of which a and b have their elements or repeat.

    Operands may have any shape whose elements, in C order, are those of the axes they have."""
    cdef fc_elementwise e
    cdef int64_t a_count, b_count, count

    def __init__(self, str op, tuple size, tuple a_has, tuple b_has, tuple fused):
        cdef int axis
        self.e.op = <fc_elementwise_op><int>ELEMENTWISE_OPS[op]
        self.e.activation = activation(fused[0], fused[1], fused[2])
        self.a_count = self.b_count = self.count = 1
        for axis in range(4):
            self.e.size[axis], self.e.a_has[axis], self.e.b_has[axis] = size[axis], a_has[axis], b_has[axis]
            if size[axis] < 0 or size[axis] != 1 and not (a_has[axis] or (b_has[axis] and not op.startswith("prelu"))):
                raise ValueError(f"{op}: size={size}: every size must be >= 0, and every axis one of an operand")
            self.count *= size[axis]
            self.a_count *= size[axis] if a_has[axis] else 1
            self.b_count *= size[axis] if b_has[axis] else 1

    def forward(self, a, b, gate, y, Context ctx not None):
        """gate, of "prelu_backward" alone, is laid out as a. y may be an operand that has every axis."""
        cdef const float *a_ = <const float *>elements(a, "a", self.a_count, False)
        cdef const float *b_ = <const float *>elements(b, "b", self.b_count, False)
        cdef const float *gate_ = NULL
        cdef float *y_ = <float *>elements(y, "y", self.count, True)
        if gate is not None:
            gate_ = <const float *>elements(gate, "gate", self.a_count, False)
        with nogil:
            fc_elementwise_forward(&self.e, a_, b_, gate_, y_, &ctx.c)


cdef inline cnp.npy_intp size_along(cnp.ndarray x, int axis) noexcept:
    """1 for the axes that NumPy's broadcasting puts before the first (axis < 0)."""
    return 1 if axis < 0 else cnp.PyArray_DIMS(x)[axis]


cdef bint broadcast_shape(cnp.ndarray a, cnp.ndarray b, int ndim, cnp.npy_intp *shape) noexcept:
    """False where there is none, or nothing in it."""
    cdef cnp.npy_intp first, second
    cdef int axis
    for axis in range(ndim):
        first = size_along(a, axis + cnp.PyArray_NDIM(a) - ndim)
        second = size_along(b, axis + cnp.PyArray_NDIM(b) - ndim)
        if first != second and first != 1 and second != 1 or first == 0 or second == 0:
            return False
        shape[axis] = second if first == 1 else first
    return True


cdef bint is_dense_along(cnp.ndarray x, int axis, cnp.npy_intp *step) noexcept:
    """Whether elements along an axis, that is not of size 1, lie `step` apart; step of the next axis."""
    if cnp.PyArray_STRIDES(x)[axis] != step[0]:
        return False
    step[0] *= cnp.PyArray_DIMS(x)[axis]
    return True


cdef bint find_groups(cnp.ndarray a, cnp.ndarray b, int ndim, const cnp.npy_intp *shape, Order order,
                      fc_elementwise *e) noexcept:
    """Sizes in memory order, axes side by side that are alike made one. False: operands in another order, or too many."""
    cdef cnp.npy_intp a_step = sizeof(float), b_step = sizeof(float)
    cdef int group = FC_ELEMENTWISE_AXES, i, axis, a_axis, b_axis
    cdef bint a_has, b_has
    for i in range(FC_ELEMENTWISE_AXES):
        e.size[i], e.a_has[i], e.b_has[i] = 1, True, True
    for i in range(ndim):
        axis = ndim - 1 - i
        if order == CHANNELS_LAST:
            axis = 1 if i == 0 else 0 if i == ndim - 1 else ndim - i
        if shape[axis] == 1:
            continue
        a_axis, b_axis = axis + cnp.PyArray_NDIM(a) - ndim, axis + cnp.PyArray_NDIM(b) - ndim
        a_has, b_has = size_along(a, a_axis) != 1, size_along(b, b_axis) != 1
        if a_has and not is_dense_along(a, a_axis, &a_step) or b_has and not is_dense_along(b, b_axis, &b_step):
            return False
        if group == FC_ELEMENTWISE_AXES or e.a_has[group] != a_has or e.b_has[group] != b_has:
            if group == 0:
                return False
            group -= 1
            e.a_has[group], e.b_has[group] = a_has, b_has
        e.size[group] *= shape[axis]
    return True


cdef inline bint may_overwrite(cnp.ndarray out, object x) noexcept:
    return x is None or is_apart(out, x) or (cnp.PyArray_DATA(out) == cnp.PyArray_DATA(x)
                                             and cnp.PyArray_SIZE(out) == cnp.PyArray_SIZE(x))


def combine(str op, a, b, gate, out, tuple fused, Context ctx not None):
    """y = activation(a op b) of usual arrays that broadcast, else NotImplemented; `fused`: kind and its parameters.

    y is `out`, or a new array, in the order of an operand that has its shape."""
    cdef cnp.npy_intp shape[MOST_AXES]
    cdef Order order = C_ORDER
    cdef fc_elementwise e
    cdef cnp.ndarray y
    if not is_float32(a) or not is_float32(b):
        return NotImplemented
    cdef int ndim = max(cnp.PyArray_NDIM(a), cnp.PyArray_NDIM(b))
    if not broadcast_shape(a, b, ndim, shape):
        return NotImplemented
    if cnp.PyArray_NDIM(a) == ndim and has_shape(a, shape):
        order = order_of(a)
    elif cnp.PyArray_NDIM(b) == ndim and has_shape(b, shape):
        order = order_of(b)
    if order == OTHER_ORDER or not find_groups(a, b, ndim, shape, order, &e):
        return NotImplemented
    if gate is not None and not (is_float32(gate) and same_layout(gate, a)):
        return NotImplemented
    if out is None:
        y = fresh(ndim, shape, order)
    else:
        if not (is_float32(out) and cnp.PyArray_NDIM(out) == ndim and has_shape(out, shape) and order_of(out) == order
                and cnp.PyArray_ISWRITEABLE(out) and may_overwrite(out, a) and may_overwrite(out, b)
                and may_overwrite(out, gate)):
            return NotImplemented
        y = out
    e.op = <fc_elementwise_op><int>ELEMENTWISE_OPS[op]
    e.activation = activation(fused[0], fused[1], fused[2])
    cdef const float *a_ = data_of(a)
    cdef const float *b_ = data_of(b)
    cdef const float *gate_ = data_of(gate)
    cdef float *y_ = data_of(y)
    with nogil:
        fc_elementwise_forward(&e, a_, b_, gate_, y_, &ctx.c)
    return y


def column_sums(str kind, dy, x, sums, Context ctx not None):
    """sums (outer, columns) of dy and x (outer, rows, columns); x is None where dy alone is summed."""
    cdef int64_t outer = dy.shape[0], rows = dy.shape[1], columns = dy.shape[2]
    cdef fc_sum_kind kind_ = <fc_sum_kind><int>SUM_KINDS[kind]
    cdef const float *dy_ = operand(dy, "dy", (outer, rows, columns))
    cdef const float *x_ = NULL
    cdef float *sums_ = result(sums, "sums", (outer, columns))
    if kind_ != FC_SUM:
        x_ = operand(x, "x", (outer, rows, columns))
    cdef void *space = lend(fc_column_sums_workspace_bytes(outer, rows, columns, &ctx.c))
    with nogil:
        fc_column_sums(kind_, outer, rows, columns, dy_, x_, sums_, space, &ctx.c)


def row_sums(str kind, dy, x, sums, Context ctx not None):
    """sums (rows,) of dy and x (rows, columns); x is None where dy alone is summed."""
    cdef int64_t rows = dy.shape[0], columns = dy.shape[1]
    cdef fc_sum_kind kind_ = <fc_sum_kind><int>SUM_KINDS[kind]
    cdef const float *dy_ = operand(dy, "dy", (rows, columns))
    cdef const float *x_ = NULL
    cdef float *sums_ = result(sums, "sums", (rows,))
    if kind_ != FC_SUM:
        x_ = operand(x, "x", (rows, columns))
    cdef void *space = lend(fc_row_sums_workspace_bytes(rows, columns, &ctx.c))
    with nogil:
        fc_row_sums(kind_, rows, columns, dy_, x_, sums_, space, &ctx.c)
