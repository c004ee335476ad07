# Binding of activation.c and glu.c.


def activation_forward(x, y, int kind, float alpha, float beta, Context ctx not None):
    """y = f(x); x and y (size,), y may be x."""
    cdef int64_t size = x.shape[0]
    cdef fc_activation f = activation(kind, alpha, beta)
    cdef const float *x_ = operand(x, "x", (size,))
    cdef float *y_ = result(y, "y", (size,))
    with nogil:
        fc_activation_forward(f, size, x_, y_, &ctx.c)


def activation_backward(dy, saved, dx, int kind, float alpha, float beta, Context ctx not None):
    """dx = dy * f'; all (size,); `saved` is y for exp, sigmoid and tanh, else x. dx may be dy or saved."""
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


def glu_forward(x, y, Context ctx not None):
    """y = x[:, 0] * sigmoid(x[:, 1]); x (outer, 2, inner), y (outer, inner)."""
    cdef int64_t outer = x.shape[0], inner = x.shape[2]
    cdef const float *x_ = operand(x, "x", (outer, 2, inner))
    cdef float *y_ = result(y, "y", (outer, inner))
    with nogil:
        fc_glu_forward(outer, inner, x_, y_, &ctx.c)


def glu_backward(dy, x, dx, Context ctx not None):
    """The gradient in x and dx (outer, 2, inner); dy (outer, inner). dx may be x."""
    cdef int64_t outer = x.shape[0], inner = x.shape[2]
    cdef const float *dy_ = operand(dy, "dy", (outer, inner))
    cdef const float *x_ = operand(x, "x", (outer, 2, inner))
    cdef float *dx_ = result(dx, "dx", (outer, 2, inner))
    with nogil:
        fc_glu_backward(outer, inner, dy_, x_, dx_, &ctx.c)
