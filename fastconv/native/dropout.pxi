# Binding of dropout.c.


def dropout_forward(x, y, keep, tuple key, uint32_t least, float scale, Context ctx not None):
    """x, y and keep (size,), keep bool; y may be x."""
    cdef int64_t size = x.shape[0]
    cdef uint64_t words[2]
    words[0], words[1] = key
    cdef const float *x_ = operand(x, "x", (size,))
    cdef float *y_ = result(y, "y", (size,))
    cdef uint8_t *keep_ = <uint8_t *>buffer(keep, "keep", (size,), True, b"?", "bool")
    with nogil:
        fc_dropout_forward(words, least, scale, size, x_, y_, keep_, &ctx.c)


def dropout_backward(dy, keep, dx, float scale, Context ctx not None):
    """dx = dy where keep, times scale, else dy * 0; all (size,), dx may be dy."""
    cdef int64_t size = dy.shape[0]
    cdef const float *dy_ = operand(dy, "dy", (size,))
    cdef const uint8_t *keep_ = <const uint8_t *>buffer(keep, "keep", (size,), False, b"?", "bool")
    cdef float *dx_ = result(dx, "dx", (size,))
    with nogil:
        fc_dropout_backward(scale, size, dy_, keep_, dx_, &ctx.c)
