# Binding of activation.c.


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
