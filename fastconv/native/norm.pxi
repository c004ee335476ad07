# Binding of norm.c: x is (rows, channels), per-channel arrays are (channels,).


def batch_norm_statistics(x, mean, var, Context ctx not None):
    """mean and biased variance of the columns of x; at least one row."""
    cdef int64_t rows = x.shape[0], channels = x.shape[1]
    cdef const float *x_ = operand(x, "x", (rows, channels))
    cdef float *mean_ = result(mean, "mean", (channels,))
    cdef float *var_ = result(var, "var", (channels,))
    if rows < 1:
        raise ValueError("batch_norm_statistics: x has no rows")
    cdef void *space = lend(fc_batch_norm_workspace_bytes(rows, channels, &ctx.c))
    with nogil:
        fc_batch_norm_statistics(rows, channels, x_, mean_, var_, space, &ctx.c)


def batch_norm_forward(x, mean, inv_std, weight, bias, y, Context ctx not None):
    """y = (x - mean) * inv_std * weight + bias; weight and bias may be None."""
    cdef int64_t rows = x.shape[0], channels = x.shape[1]
    cdef const float *x_ = operand(x, "x", (rows, channels))
    cdef const float *mean_ = operand(mean, "mean", (channels,))
    cdef const float *inv_std_ = operand(inv_std, "inv_std", (channels,))
    cdef const float *weight_ = optional(weight, "weight", (channels,))
    cdef const float *bias_ = optional(bias, "bias", (channels,))
    cdef float *y_ = result(y, "y", (rows, channels))
    with nogil:
        fc_batch_norm_forward(rows, channels, x_, mean_, inv_std_, weight_, bias_, y_, &ctx.c)


def batch_norm_backward(dy, x, mean, inv_std, weight, dx, dweight, dbias, Context ctx not None):
    """The gradients of training, where mean and inv_std are those of x; weight may be None."""
    cdef int64_t rows = x.shape[0], channels = x.shape[1]
    cdef const float *dy_ = operand(dy, "dy", (rows, channels))
    cdef const float *x_ = operand(x, "x", (rows, channels))
    cdef const float *mean_ = operand(mean, "mean", (channels,))
    cdef const float *inv_std_ = operand(inv_std, "inv_std", (channels,))
    cdef const float *weight_ = optional(weight, "weight", (channels,))
    cdef float *dx_ = result(dx, "dx", (rows, channels))
    cdef float *dweight_ = result(dweight, "dweight", (channels,))
    cdef float *dbias_ = result(dbias, "dbias", (channels,))
    cdef void *space = lend(fc_batch_norm_workspace_bytes(rows, channels, &ctx.c))
    with nogil:
        fc_batch_norm_backward(rows, channels, dy_, x_, mean_, inv_std_, weight_, dx_, dweight_, dbias_, space, &ctx.c)
