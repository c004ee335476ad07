# Binding of activation.c and softmax.c.


def activation_forward(x, y, int kind, float alpha, float beta, Context ctx not None):
    """y = f(x); x and y (size,), y may be x."""
    cdef int64_t size = x.shape[0]
    cdef fc_activation f = activation(kind, alpha, beta)
    cdef const float *x_ = operand(x, "x", (size,))
    cdef float *y_ = result(y, "y", (size,))
    with nogil:
        fc_activation_forward(f, size, x_, y_, &ctx.c)


def activation_backward(dy, saved, dx, int kind, float alpha, float beta, Context ctx not None):
    """dx = dy * f'; all (size,); `saved` is y for sigmoid and tanh, else x. dx may be dy or saved."""
    cdef int64_t size = dy.shape[0]
    cdef fc_activation f = activation(kind, alpha, beta)
    cdef const float *dy_ = operand(dy, "dy", (size,))
    cdef const float *saved_ = operand(saved, "saved", (size,))
    cdef float *dx_ = result(dx, "dx", (size,))
    with nogil:
        fc_activation_backward(f, size, dy_, saved_, dx_, &ctx.c)


def activate(x, out, int kind, float alpha, float beta, Context ctx not None):
    """y = f(x) of a usual array, else NotImplemented. y is `out`, or a new array in x's order where that is None."""
    cdef Order order = order_of(x)
    cdef fc_activation f = activation(kind, alpha, beta)
    cdef cnp.ndarray y = None if order == OTHER_ORDER else elementwise_target(out, x, x, order)
    if y is None:
        return NotImplemented
    cdef int64_t size = cnp.PyArray_SIZE(y)
    cdef const float *x_ = data_of(x)
    cdef float *y_ = data_of(y)
    with nogil:
        fc_activation_forward(f, size, x_, y_, &ctx.c)
    return y


def activate_backward(dy, saved, out, int kind, float alpha, float beta, Context ctx not None):
    """dx = dy * f' of usual arrays in one order, as `activate`; `saved` as in `activation_backward`."""
    cdef Order order = order_of(saved)
    cdef fc_activation f = activation(kind, alpha, beta)
    if order == OTHER_ORDER or not is_float32(dy) or not same_layout(dy, saved):
        return NotImplemented
    cdef cnp.ndarray dx = elementwise_target(out, saved, dy, order)
    if dx is None:
        return NotImplemented
    cdef int64_t size = cnp.PyArray_SIZE(dx)
    cdef const float *dy_ = data_of(dy)
    cdef const float *saved_ = data_of(saved)
    cdef float *dx_ = data_of(dx)
    with nogil:
        fc_activation_backward(f, size, dy_, saved_, dx_, &ctx.c)
    return dx


def softmax_forward(x, y, bint log, Context ctx not None):
    """y = softmax of every row, or its logarithm; x and y (rows, columns), y may be x."""
    cdef int64_t rows = x.shape[0], columns = x.shape[1]
    cdef const float *x_ = operand(x, "x", (rows, columns))
    cdef float *y_ = result(y, "y", (rows, columns))
    with nogil:
        fc_softmax_forward(log, rows, columns, x_, y_, &ctx.c)


def softmax_backward(dy, y, dx, bint log, Context ctx not None):
    """The gradient through every row; all (rows, columns), y the result of the forward pass. dx may be dy or y."""
    cdef int64_t rows = dy.shape[0], columns = dy.shape[1]
    cdef const float *dy_ = operand(dy, "dy", (rows, columns))
    cdef const float *y_ = operand(y, "y", (rows, columns))
    cdef float *dx_ = result(dx, "dx", (rows, columns))
    with nogil:
        fc_softmax_backward(log, rows, columns, dy_, y_, dx_, &ctx.c)


cdef int64_t columns_of(cnp.ndarray x, Order order, object axis) noexcept:
    """The size of the axis of a usual array if it is the one that lies densest in memory, else -1."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if type(axis) is not int or ndim < 1:
        return -1
    if order == C_ORDER and (axis == -1 or axis == ndim - 1):
        return cnp.PyArray_DIMS(x)[ndim - 1]
    if order == CHANNELS_LAST and axis == 1:
        return cnp.PyArray_DIMS(x)[1]
    return -1


def softmax(x, axis, out, bint log, Context ctx not None):
    """As `activate`: the softmax, or its logarithm, of a usual array along the axis that lies densest."""
    cdef Order order = order_of(x)
    cdef int64_t columns = -1 if order == OTHER_ORDER else columns_of(x, order, axis)
    if columns < 1:
        return NotImplemented
    cdef cnp.ndarray y = elementwise_target(out, x, x, order)
    if y is None:
        return NotImplemented
    cdef int64_t rows = cnp.PyArray_SIZE(x) // columns
    cdef const float *x_ = data_of(x)
    cdef float *y_ = data_of(y)
    with nogil:
        fc_softmax_forward(log, rows, columns, x_, y_, &ctx.c)
    return y


def softmax_gradient(dy, y, axis, out, bint log, Context ctx not None):
    """As `softmax`: the gradient, of dy in the order of y, the result of the forward pass."""
    cdef Order order = order_of(y)
    cdef int64_t columns = -1 if order == OTHER_ORDER else columns_of(y, order, axis)
    if columns < 1 or not is_float32(dy) or not same_layout(dy, y):
        return NotImplemented
    cdef cnp.ndarray dx = elementwise_target(out, y, dy, order)
    if dx is None:
        return NotImplemented
    cdef int64_t rows = cnp.PyArray_SIZE(y) // columns
    cdef const float *dy_ = data_of(dy)
    cdef const float *y_ = data_of(y)
    cdef float *dx_ = data_of(dx)
    with nogil:
        fc_softmax_backward(log, rows, columns, dy_, y_, dx_, &ctx.c)
    return dx
