# Binding of activation.c, softmax.c and glu.c.


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
