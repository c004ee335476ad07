# Binding of softmax.c.


cdef struct Rows:
    # An array as (outer, columns, inner) around one of its axes.
    int64_t outer, columns, inner


cdef Rows rows_along(object shape, int axis) except *:
    cdef Rows rows = Rows(1, 1, 1)
    cdef int i = 0
    if not 0 <= axis < len(shape):
        raise ValueError(f"axis={axis}: must be in [0, {len(shape)})")
    for size in shape:
        if i < axis:
            rows.outer *= size
        elif i == axis:
            rows.columns = size
        else:
            rows.inner *= size
        i += 1
    return rows


def softmax_forward(x, y, int axis, bint log, Context ctx not None):
    """y = softmax along an axis, or its logarithm; x and y of one shape, in C order; y may be x."""
    cdef tuple shape = x.shape
    cdef Rows r = rows_along(shape, axis)
    cdef const float *x_ = operand(x, "x", shape)
    cdef float *y_ = result(y, "y", shape)
    cdef void *space = lend(fc_softmax_workspace_bytes(False, r.columns, r.inner, &ctx.c))
    with nogil:
        fc_softmax_forward(log, r.outer, r.columns, r.inner, x_, y_, space, &ctx.c)


def softmax_backward(dy, y, dx, int axis, bint log, Context ctx not None):
    """The gradient through `softmax_forward`; all of one shape, y its result. dx may be dy or y."""
    cdef tuple shape = dy.shape
    cdef Rows r = rows_along(shape, axis)
    cdef const float *dy_ = operand(dy, "dy", shape)
    cdef const float *y_ = operand(y, "y", shape)
    cdef float *dx_ = result(dx, "dx", shape)
    cdef void *space = lend(fc_softmax_workspace_bytes(True, r.columns, r.inner, &ctx.c))
    with nogil:
        fc_softmax_backward(log, r.outer, r.columns, r.inner, dy_, y_, dx_, space, &ctx.c)
