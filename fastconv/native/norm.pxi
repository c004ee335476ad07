# Binding of norm.c, layer_norm.c and response_norm.c. Maps are (images, rows, channels), their statistics
# (images, groups), weight and bias (channels,).
#
# `batch_norm`, `map_norm`, `row_norm` and their gradients are for usual arrays: see usual_norm.pxi.


cdef fc_norm norm_of(object x, int64_t groups) except *:
    cdef fc_norm norm
    norm.images, norm.rows, norm.channels = x.shape
    norm.groups = groups
    if norm.channels and (groups < 1 or norm.channels % groups):
        raise ValueError(f"norm: groups={groups}: must divide {norm.channels} channels")
    return norm


def norm_training(x, int64_t groups, weight, bias, double eps, y, mean, var, Context ctx not None):
    """y, and the mean and biased variance of each image and group; at least one row."""
    cdef fc_norm norm = norm_of(x, groups)
    cdef tuple shape = (norm.images, norm.rows, norm.channels), per_group = (norm.images, groups)
    cdef const float *x_ = operand(x, "x", shape)
    cdef const float *weight_ = optional(weight, "weight", (norm.channels,))
    cdef const float *bias_ = optional(bias, "bias", (norm.channels,))
    cdef float *y_ = result(y, "y", shape)
    cdef float *mean_ = result(mean, "mean", per_group)
    cdef float *var_ = result(var, "var", per_group)
    if norm.rows < 1:
        raise ValueError("norm_training: x has no rows")
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, False, &ctx.c))
    with nogil:
        fc_norm_training(&norm, x_, weight_, bias_, eps, y_, mean_, var_, space, &ctx.c)


def norm_inference(x, mean, var, weight, bias, double eps, y, Context ctx not None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias; weight and bias may be None."""
    cdef int64_t groups = mean.shape[1]
    cdef fc_norm norm = norm_of(x, groups)
    cdef tuple shape = (norm.images, norm.rows, norm.channels), per_group = (norm.images, groups)
    cdef const float *x_ = operand(x, "x", shape)
    cdef const float *mean_ = operand(mean, "mean", per_group)
    cdef const float *var_ = operand(var, "var", per_group)
    cdef const float *weight_ = optional(weight, "weight", (norm.channels,))
    cdef const float *bias_ = optional(bias, "bias", (norm.channels,))
    cdef float *y_ = result(y, "y", shape)
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, False, &ctx.c))
    with nogil:
        fc_norm_inference(&norm, x_, mean_, var_, weight_, bias_, eps, y_, space, &ctx.c)


def norm_backward(dy, x, mean, var, weight, double eps, dx, dweight, dbias, Context ctx not None):
    """The gradients of training, where mean and var are those of x; weight may be None."""
    cdef int64_t groups = mean.shape[1]
    cdef fc_norm norm = norm_of(x, groups)
    cdef tuple shape = (norm.images, norm.rows, norm.channels), per_group = (norm.images, groups)
    cdef const float *dy_ = operand(dy, "dy", shape)
    cdef const float *x_ = operand(x, "x", shape)
    cdef const float *mean_ = operand(mean, "mean", per_group)
    cdef const float *var_ = operand(var, "var", per_group)
    cdef const float *weight_ = optional(weight, "weight", (norm.channels,))
    cdef float *dx_ = result(dx, "dx", shape)
    cdef float *dweight_ = result(dweight, "dweight", (norm.channels,))
    cdef float *dbias_ = result(dbias, "dbias", (norm.channels,))
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, True, &ctx.c))
    with nogil:
        fc_norm_backward(&norm, dy_, x_, mean_, var_, weight_, eps, dx_, dweight_, dbias_, space, &ctx.c)


cdef fc_layer_norm layer_norm_of(object x, bint rms) except *:
    cdef fc_layer_norm norm
    norm.rows, norm.columns = x.shape
    norm.rms = rms
    return norm


def layer_norm_forward(bint rms, x, weight, bias, float eps, y, mean, var, Context ctx not None):
    """y of x (rows, columns); weight and bias (columns,) and mean and var (rows,) may be None. rms: see fastconv.h."""
    cdef fc_layer_norm norm = layer_norm_of(x, rms)
    cdef tuple shape = (norm.rows, norm.columns)
    cdef const float *x_ = operand(x, "x", shape)
    cdef const float *weight_ = optional(weight, "weight", (norm.columns,))
    cdef const float *bias_ = optional(bias, "bias", (norm.columns,))
    cdef float *y_ = result(y, "y", shape)
    cdef float *mean_ = optional_result(mean, "mean", (norm.rows,))
    cdef float *var_ = optional_result(var, "var", (norm.rows,))
    with nogil:
        fc_layer_norm_forward(&norm, x_, weight_, bias_, eps, y_, mean_, var_, &ctx.c)


def layer_norm_backward(bint rms, dy, x, mean, var, weight, float eps, dx, dweight, dbias, Context ctx not None):
    """dx, and dweight and dbias if they are not None; mean is None with rms, and so is dbias."""
    cdef fc_layer_norm norm = layer_norm_of(x, rms)
    cdef tuple shape = (norm.rows, norm.columns)
    cdef const float *dy_ = operand(dy, "dy", shape)
    cdef const float *x_ = operand(x, "x", shape)
    cdef const float *mean_ = optional(mean, "mean", (norm.rows,))
    cdef const float *var_ = operand(var, "var", (norm.rows,))
    cdef const float *weight_ = optional(weight, "weight", (norm.columns,))
    cdef float *dx_ = result(dx, "dx", shape)
    cdef float *dweight_ = optional_result(dweight, "dweight", (norm.columns,))
    cdef float *dbias_ = optional_result(dbias, "dbias", (norm.columns,))
    if not rms and mean_ == NULL:
        raise ValueError("layer_norm_backward: mean is missing")
    cdef void *space = NULL if dweight is None else lend(fc_layer_norm_workspace_bytes(&norm, &ctx.c))
    with nogil:
        fc_layer_norm_backward(&norm, dy_, x_, mean_, var_, weight_, eps, dx_, dweight_, dbias_, space, &ctx.c)


cdef fc_response_norm response_norm_of(object x, int64_t size, float alpha, float beta, float k) except *:
    cdef fc_response_norm norm
    norm.pixels, norm.channels = x.shape
    norm.size, norm.alpha, norm.beta, norm.k = size, alpha, beta, k
    if size < 1:
        raise ValueError(f"response_norm: size={size}: must be >= 1")
    return norm


def response_norm_forward(x, int64_t size, float alpha, float beta, float k, y, Context ctx not None):
    """Local response norm of x (pixels, channels)."""
    cdef fc_response_norm norm = response_norm_of(x, size, alpha, beta, k)
    cdef tuple shape = (norm.pixels, norm.channels)
    cdef const float *x_ = operand(x, "x", shape)
    cdef float *y_ = result(y, "y", shape)
    cdef void *space = lend(fc_response_norm_workspace_bytes(&norm, False, &ctx.c))
    with nogil:
        fc_response_norm_forward(&norm, x_, y_, space, &ctx.c)


def response_norm_backward(dy, x, int64_t size, float alpha, float beta, float k, dx, Context ctx not None):
    cdef fc_response_norm norm = response_norm_of(x, size, alpha, beta, k)
    cdef tuple shape = (norm.pixels, norm.channels)
    cdef const float *dy_ = operand(dy, "dy", shape)
    cdef const float *x_ = operand(x, "x", shape)
    cdef float *dx_ = result(dx, "dx", shape)
    cdef void *space = lend(fc_response_norm_workspace_bytes(&norm, True, &ctx.c))
    with nogil:
        fc_response_norm_backward(&norm, dy_, x_, dx_, space, &ctx.c)
