# Binding of softmax.c, cross_entropy.c and loss.c.


cdef struct Rows:
    # An array as (outer, columns, inner) around one of its axes.
    int64_t outer, columns, inner


cdef Rows rows_along(const Py_buffer *view, int axis) except *:
    cdef Rows rows = Rows(1, 1, 1)
    cdef int i
    if not -view.ndim <= axis < view.ndim:
        raise ValueError(f"axis={axis}: must be in [{-view.ndim}, {view.ndim})")
    if axis < 0:
        axis += view.ndim
    for i in range(axis):
        rows.outer *= view.shape[i]
    rows.columns = view.shape[axis]
    for i in range(axis + 1, view.ndim):
        rows.inner *= view.shape[i]
    return rows


cdef int open_floats(object array, str name, Py_buffer *view, bint writable) except -1:
    """The C-contiguous float32 buffer of an array, to be released."""
    PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    if view.format == NULL or view.format[0] != b"f" or view.format[1] != 0 or (view.len and <uintptr_t>view.buf & 3):
        PyBuffer_Release(view)
        raise TypeError(f"{name}: the buffer must hold native, aligned float32")
    return 0


cdef float *like_floats(object array, str name, const Py_buffer *first, bint writable) except? NULL:
    """The address of another such array of the same shape."""
    cdef Py_buffer view
    cdef int i
    open_floats(array, name, &view, writable)
    try:
        if view.ndim != first.ndim:
            raise ValueError(f"{name}: expected {first.ndim} dimensions, got {view.ndim}")
        for i in range(view.ndim):
            if view.shape[i] != first.shape[i]:
                raise ValueError(f"{name}: expected size {first.shape[i]} of axis {i}, got {view.shape[i]}")
        return <float *>view.buf
    finally:
        PyBuffer_Release(&view)


cdef inline bint cuts(const float *a, const float *b, int64_t bytes) noexcept:
    """Two arrays of so many bytes overlap and are not one."""
    cdef int64_t apart = <const char *>a - <const char *>b
    return apart != 0 and -bytes < apart < bytes


cdef bint rows_of(Rows *rows, object x, Order order, object axis) noexcept:
    """As `rows_along`, of a usual array in its memory's order. False where it has no such axis, or axis is no plain int."""
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    cdef int ndim = cnp.PyArray_NDIM(x), along, i
    if type(axis) is not int or not -ndim <= axis < ndim:
        return False
    along = axis if axis >= 0 else axis + ndim
    rows.outer, rows.columns, rows.inner = 1, shape[along], 1
    for i in range(ndim):
        # Channels last, axis 1 lies behind all others.
        if order == CHANNELS_LAST and along == 1 or i < along and not (order == CHANNELS_LAST and i == 1):
            rows.outer *= 1 if i == along else shape[i]
        elif i != along:
            rows.inner *= shape[i]
    return True


def softmax(x, axis, out, bint log, Context ctx not None):
    """The softmax of a usual array along an axis, or its logarithm, else NotImplemented.

    y is `out`, or a new array in x's order where that is None."""
    cdef Order order = order_of(x)
    cdef Rows r
    cdef cnp.ndarray y
    if order == OTHER_ORDER or not rows_of(&r, x, order, axis):
        return NotImplemented
    y = elementwise_target(out, x, x, order)
    if y is None:
        return NotImplemented
    cdef const float *x_ = data_of(x)
    cdef float *y_ = data_of(y)
    cdef void *space = lend(fc_softmax_workspace_bytes(False, r.outer, r.columns, r.inner, &ctx.c))
    with nogil:
        fc_softmax_forward(log, r.outer, r.columns, r.inner, x_, y_, space, &ctx.c)
    return y


def softmax_gradient(dy, y, axis, out, bint log, Context ctx not None):
    """As `softmax`: the gradient, of dy in the order of y, the result of the forward pass."""
    cdef Order order = order_of(y)
    cdef Rows r
    cdef cnp.ndarray dx
    if order == OTHER_ORDER or not is_float32(dy) or not same_layout(dy, y) or not rows_of(&r, y, order, axis):
        return NotImplemented
    dx = elementwise_target(out, y, dy, order)
    if dx is None:
        return NotImplemented
    cdef const float *dy_ = data_of(dy)
    cdef const float *y_ = data_of(y)
    cdef float *dx_ = data_of(dx)
    cdef void *space = lend(fc_softmax_workspace_bytes(True, r.outer, r.columns, r.inner, &ctx.c))
    with nogil:
        fc_softmax_backward(log, r.outer, r.columns, r.inner, dy_, y_, dx_, space, &ctx.c)
    return dx


def softmax_forward(x, y, int axis, bint log, Context ctx not None):
    """y = softmax along an axis, or its logarithm; x and y of one shape, in C order; y may be x.

    False, and nothing is written, where they overlap otherwise."""
    cdef Py_buffer view
    cdef Rows r
    cdef float *y_
    cdef void *space
    open_floats(x, "x", &view, False)
    try:
        r = rows_along(&view, axis)
        y_ = like_floats(y, "y", &view, True)
        if cuts(<const float *>view.buf, y_, view.len):
            return False
        space = lend(fc_softmax_workspace_bytes(False, r.outer, r.columns, r.inner, &ctx.c))
        with nogil:
            fc_softmax_forward(log, r.outer, r.columns, r.inner, <const float *>view.buf, y_, space, &ctx.c)
        return True
    finally:
        PyBuffer_Release(&view)


def softmax_backward(dy, y, dx, int axis, bint log, Context ctx not None):
    """The gradient through `softmax_forward`; all of one shape, y its result. dx may be dy or y; else as there."""
    cdef Py_buffer view
    cdef Rows r
    cdef const float *y_
    cdef float *dx_
    cdef void *space
    open_floats(dy, "dy", &view, False)
    try:
        r = rows_along(&view, axis)
        y_ = like_floats(y, "y", &view, False)
        dx_ = like_floats(dx, "dx", &view, True)
        if cuts(<const float *>view.buf, dx_, view.len) or cuts(y_, dx_, view.len):
            return False
        space = lend(fc_softmax_workspace_bytes(True, r.outer, r.columns, r.inner, &ctx.c))
        with nogil:
            fc_softmax_backward(log, r.outer, r.columns, r.inner, <const float *>view.buf, y_, dx_, space, &ctx.c)
        return True
    finally:
        PyBuffer_Release(&view)


cdef const int64_t *label_operand(object labels, int64_t count, str name="labels") except? NULL:
    """The address of `count` int64 labels."""
    cdef Py_buffer view
    PyObject_GetBuffer(labels, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    try:
        if view.format == NULL or view.format[0] not in b"lq" or view.format[1] != 0 or view.itemsize != 8:
            raise TypeError(f"{name}: the buffer must hold native int64")
        if view.len != 8 * count:
            raise ValueError(f"{name}: expected {count} of them, got {view.len // 8}")
        if view.len and <uintptr_t>view.buf & 7:
            raise ValueError(f"{name}: the buffer must be aligned to 8 bytes")
        return <const int64_t *>view.buf
    finally:
        PyBuffer_Release(&view)


def cross_entropy(x, labels, weight, gradient, int axis, float smoothing, bint mean, int64_t ignore_index,
                  Context ctx not None):
    """(loss, divisor): the losses of logits x along an axis, summed, and what their mean is divided by. The gradient, which
    may be x, is over the divisor if `mean`.

    weight: (classes,) or None, which smoothing must have. (place, None), and nothing is written, where labels[place] is no
    class."""
    cdef Py_buffer view
    cdef Rows r
    cdef float *gradient_
    cdef const float *weight_
    cdef const int64_t *labels_
    cdef void *space
    cdef double divisor = 0.0, loss
    cdef int64_t bad
    cdef float scale
    open_floats(x, "x", &view, False)
    try:
        r = rows_along(&view, axis)
        gradient_ = like_floats(gradient, "gradient", &view, True)
        weight_ = optional(weight, "weight", (r.columns,))
        if smoothing != 0.0 and weight_ == NULL:
            raise ValueError("weight: smoothing needs it")
        labels_ = label_operand(labels, r.outer * r.inner)
        if cuts(<const float *>view.buf, gradient_, view.len):
            raise ValueError("gradient: overlaps x")
        bad = fc_cross_entropy_divisor(r.outer * r.inner, r.columns, labels_, weight_, ignore_index, &divisor)
        if bad >= 0:
            return bad, None
        scale = 1.0 if not mean else 1.0 / divisor if divisor != 0.0 else 0.0
        space = lend(fc_cross_entropy_workspace_bytes(r.outer, r.columns, r.inner, &ctx.c))
        with nogil:
            loss = fc_cross_entropy_run(r.outer, r.columns, r.inner, <const float *>view.buf, labels_, weight_, smoothing,
                                        scale, ignore_index, gradient_, space, &ctx.c)
        return loss, divisor
    finally:
        PyBuffer_Release(&view)


LOSSES = {"squared_error": FC_SQUARED_ERROR, "logistic": FC_LOGISTIC}


def loss(x, targets, gradient, int kind, float scale, Context ctx not None):
    """The sum of losses, element by element; their derivatives times scale to `gradient`, which may be x; all (size,)."""
    cdef int64_t size = x.shape[0]
    cdef const float *x_ = operand(x, "x", (size,))
    cdef const float *targets_ = operand(targets, "targets", (size,))
    cdef float *gradient_ = result(gradient, "gradient", (size,))
    cdef void *space = lend(fc_loss_workspace_bytes(size))
    cdef double total
    if kind not in (FC_SQUARED_ERROR, FC_LOGISTIC):
        raise ValueError(f"kind={kind}: must be one of LOSSES")
    with nogil:
        total = fc_loss_run(<fc_loss_kind>kind, size, x_, targets_, scale, gradient_, space, &ctx.c)
    return total
