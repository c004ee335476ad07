# Binding of layout.c.


def transpose(x, y, Context ctx not None):
    """y[b, j, i] = x[b, i, j]; x (batch, rows, columns), y (batch, columns, rows)."""
    cdef int64_t batch = x.shape[0], rows = x.shape[1], columns = x.shape[2]
    cdef const float *x_ = operand(x, "x", (batch, rows, columns))
    cdef float *y_ = result(y, "y", (batch, columns, rows))
    with nogil:
        fc_transpose(batch, rows, columns, x_, y_, &ctx.c)
