# Norms of usual arrays (see arrays.pxi) in one call each: checks, results and the run. NotImplemented for others.
from libc.math cimport HUGE_VAL

cdef enum MapNorm:
    BATCH_NORM
    GROUP_NORM
    INSTANCE_NORM

MAP_NORMS = {"batch": BATCH_NORM, "group": GROUP_NORM, "instance": INSTANCE_NORM}


cdef inline bint is_vector(object value, int64_t size) noexcept:
    """A usual array (size,), or None."""
    return value is None or is_plain(value, 1) and cnp.PyArray_DIMS(value)[0] == size


cdef inline bint is_epsilon(object eps) noexcept:
    return type(eps) is float and 0.0 <= <double>eps < HUGE_VAL


cdef bint map_norm_of(fc_norm *norm, object x, int kind, object groups) noexcept:
    """The norm of a usual x (N, C, *sizes) that is not empty: batch norm is one image of all rows. False of others.

    groups: of group norm; those of the others are the channels."""
    cdef Order order = order_of(x)
    cdef int ndim, i
    if order == OTHER_ORDER:
        return False
    ndim = cnp.PyArray_NDIM(x)
    if ndim < 2 or cnp.PyArray_SIZE(x) == 0:
        return False
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    norm.images, norm.rows, norm.channels, norm.groups = 1, 1, shape[1], shape[1]
    if kind == BATCH_NORM:
        norm.rows = shape[0]
    else:
        norm.images = shape[0]
    for i in range(2, ndim):
        norm.rows *= shape[i]
    if kind != GROUP_NORM:
        return kind == BATCH_NORM or ndim > 2
    if type(groups) is not int or not 1 <= groups <= norm.channels:
        return False
    norm.groups = groups
    return norm.channels % norm.groups == 0


cdef inline object map_memory(object x, Context ctx):
    """A usual x (N, C, *sizes) where it lies channels last, or a copy that does."""
    return x if cnp.PyArray_NDIM(x) == 2 else on_channels_last(x, ctx)


cdef cnp.ndarray map_target(object out, cnp.ndarray x, cnp.ndarray memory):
    """`out`, or a new array where it is None, channels last; x itself may be overwritten, where it is so.

    None where a kernel that reads `memory` cannot write to out itself."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if out is None:
        return fresh(ndim, cnp.PyArray_DIMS(x), CHANNELS_LAST)
    if (is_float32(out) and same_layout(out, memory) and cnp.PyArray_ISWRITEABLE(out)
            and (out is x if memory is x and not is_apart(out, x) else is_apart(out, x))):
        return out
    return None


cdef cnp.ndarray statistics_of(const fc_norm *norm, bint batch):
    """A new array for the means or variances: (C,) of a batch norm, else (images, groups)."""
    cdef cnp.npy_intp shape[2]
    shape[0], shape[1] = norm.images, norm.groups
    return fresh(1, shape + 1, C_ORDER) if batch else fresh(2, shape, C_ORDER)


cdef bint are_statistics(object value, const fc_norm *norm, bint batch) noexcept:
    if batch:
        return value is not None and is_vector(value, norm.groups)
    return (is_plain(value, 2) and cnp.PyArray_DIMS(value)[0] == norm.images
            and cnp.PyArray_DIMS(value)[1] == norm.groups)


def batch_norm(x, mean, var, weight, bias, eps, out, Context ctx not None):
    """y of batch norm with given mean and var (C,), or NotImplemented."""
    cdef fc_norm norm
    cdef cnp.ndarray y
    if not map_norm_of(&norm, x, BATCH_NORM, None) or not is_epsilon(eps) or mean is None or var is None:
        return NotImplemented
    if not (is_vector(mean, norm.channels) and is_vector(var, norm.channels)
            and is_vector(weight, norm.channels) and is_vector(bias, norm.channels)):
        return NotImplemented
    memory = map_memory(x, ctx)
    y = map_target(out, x, memory)
    if y is None or (out is not None and not (is_apart(y, mean) and is_apart(y, var) and is_apart(y, weight)
                                              and is_apart(y, bias))):
        return NotImplemented
    cdef double eps_ = eps
    cdef const float *x_ = data_of(memory)
    cdef const float *mean_ = data_of(mean)
    cdef const float *var_ = data_of(var)
    cdef const float *weight_ = data_of(weight)
    cdef const float *bias_ = data_of(bias)
    cdef float *y_ = data_of(y)
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, False, &ctx.c))
    with nogil:
        fc_norm_inference(&norm, x_, mean_, var_, weight_, bias_, eps_, y_, space, &ctx.c)
    return y


def map_norm(x, int kind, groups, weight, bias, eps, out, Context ctx not None):
    """(y, mean, var) of a norm with the statistics of x itself, or NotImplemented. kind, groups: see `map_norm_of`."""
    cdef fc_norm norm
    cdef bint batch = kind == BATCH_NORM
    cdef cnp.ndarray y, mean, var
    if not map_norm_of(&norm, x, kind, groups) or not is_epsilon(eps):
        return NotImplemented
    if not is_vector(weight, norm.channels) or not is_vector(bias, norm.channels):
        return NotImplemented
    memory = map_memory(x, ctx)
    y = map_target(out, x, memory)
    if y is None or (out is not None and not (is_apart(y, weight) and is_apart(y, bias))):
        return NotImplemented
    mean, var = statistics_of(&norm, batch), statistics_of(&norm, batch)
    cdef double eps_ = eps
    cdef const float *x_ = data_of(memory)
    cdef const float *weight_ = data_of(weight)
    cdef const float *bias_ = data_of(bias)
    cdef float *y_ = data_of(y)
    cdef float *mean_ = data_of(mean)
    cdef float *var_ = data_of(var)
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, False, &ctx.c))
    with nogil:
        fc_norm_training(&norm, x_, weight_, bias_, eps_, y_, mean_, var_, space, &ctx.c)
    return y, mean, var


def map_norm_gradients(dy, x, mean, var, int kind, groups, weight, eps, Context ctx not None):
    """(dx, dweight, dbias) of `map_norm`, whose mean and var these are, or NotImplemented."""
    cdef fc_norm norm
    cdef bint batch = kind == BATCH_NORM
    cdef cnp.ndarray dx, dweight, dbias
    if not map_norm_of(&norm, x, kind, groups) or not is_epsilon(eps) or order_of(dy) == OTHER_ORDER:
        return NotImplemented
    if cnp.PyArray_NDIM(dy) != cnp.PyArray_NDIM(x) or not has_shape(dy, cnp.PyArray_DIMS(x)):
        return NotImplemented
    if not (are_statistics(mean, &norm, batch) and are_statistics(var, &norm, batch)
            and is_vector(weight, norm.channels)):
        return NotImplemented
    memory, gradient = map_memory(x, ctx), map_memory(dy, ctx)
    dx = fresh(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), CHANNELS_LAST)
    dweight = fresh(1, cnp.PyArray_DIMS(x) + 1, C_ORDER)
    dbias = fresh(1, cnp.PyArray_DIMS(x) + 1, C_ORDER)
    cdef double eps_ = eps
    cdef const float *x_ = data_of(memory)
    cdef const float *dy_ = data_of(gradient)
    cdef const float *mean_ = data_of(mean)
    cdef const float *var_ = data_of(var)
    cdef const float *weight_ = data_of(weight)
    cdef float *dx_ = data_of(dx)
    cdef float *dweight_ = data_of(dweight)
    cdef float *dbias_ = data_of(dbias)
    cdef void *space = lend(fc_norm_workspace_bytes(&norm, True, &ctx.c))
    with nogil:
        fc_norm_backward(&norm, dy_, x_, mean_, var_, weight_, eps_, dx_, dweight_, dbias_, space, &ctx.c)
    return dx, dweight, dbias


cdef int row_norm_of(fc_layer_norm *norm, object x, object normalized_shape, bint rms) noexcept:
    """The number of axes that a row is, of a usual x in C order that is not empty; 0 of others."""
    cdef int axes = 1, ndim, i
    if order_of(x) != C_ORDER or cnp.PyArray_SIZE(x) == 0:
        return 0
    ndim = cnp.PyArray_NDIM(x)
    if type(normalized_shape) is tuple:
        axes = <int>len(<tuple>normalized_shape)
    if not 1 <= axes <= ndim:
        return 0
    norm.rows, norm.columns, norm.rms = 1, 1, rms
    for i in range(ndim):
        if i < ndim - axes:
            norm.rows *= cnp.PyArray_DIMS(x)[i]
            continue
        size = (<tuple>normalized_shape)[i - ndim + axes] if type(normalized_shape) is tuple else normalized_shape
        if type(size) is not int or size != cnp.PyArray_DIMS(x)[i]:
            return 0
        norm.columns *= cnp.PyArray_DIMS(x)[i]
    return axes


cdef inline bint is_row(object value, cnp.ndarray x, int axes) noexcept:
    """A usual array of the shape of the last axes of x, or None."""
    return value is None or (is_plain(value, axes)
                             and has_shape(value, cnp.PyArray_DIMS(x) + cnp.PyArray_NDIM(x) - axes))


cdef inline bint is_column(object value, cnp.ndarray x, int axes) noexcept:
    """A usual array of the shape of x without its last axes."""
    return is_plain(value, cnp.PyArray_NDIM(x) - axes) and has_shape(value, cnp.PyArray_DIMS(x))


def row_norm(bint rms, x, normalized_shape, weight, bias, eps, out, bint keep, Context ctx not None):
    """y of a norm of rows, or with `keep` (y, mean, var), where with `rms` mean is None; or NotImplemented."""
    cdef fc_layer_norm norm
    cdef cnp.ndarray y, mean = None, var = None
    cdef int axes = row_norm_of(&norm, x, normalized_shape, rms), ndim
    if axes == 0 or not is_epsilon(eps) or not is_row(weight, x, axes) or not is_row(bias, x, axes):
        return NotImplemented
    ndim = cnp.PyArray_NDIM(x)
    y = out if out is x and cnp.PyArray_ISWRITEABLE(x) else plain_target(out, ndim, cnp.PyArray_DIMS(x), x, weight)
    if y is None or (out is not None and not (is_apart(y, weight) and is_apart(y, bias))):
        return NotImplemented
    if keep:
        var = fresh(ndim - axes, cnp.PyArray_DIMS(x), C_ORDER)
        if not rms:
            mean = fresh(ndim - axes, cnp.PyArray_DIMS(x), C_ORDER)
    cdef float eps_ = eps
    cdef const float *x_ = data_of(x)
    cdef const float *weight_ = data_of(weight)
    cdef const float *bias_ = data_of(bias)
    cdef float *y_ = data_of(y)
    cdef float *mean_ = data_of(mean)
    cdef float *var_ = data_of(var)
    with nogil:
        fc_layer_norm_forward(&norm, x_, weight_, bias_, eps_, y_, mean_, var_, &ctx.c)
    return (y, mean, var) if keep else y


def row_norm_gradients(bint rms, dy, x, mean, var, normalized_shape, weight, eps, Context ctx not None):
    """(dx, dweight, dbias) of `row_norm`, whose mean and var these are; with `rms` dbias is None. Or NotImplemented."""
    cdef fc_layer_norm norm
    cdef cnp.ndarray dx, dweight, dbias = None
    cdef int axes = row_norm_of(&norm, x, normalized_shape, rms), ndim
    if axes == 0 or not is_epsilon(eps) or not is_row(weight, x, axes):
        return NotImplemented
    ndim = cnp.PyArray_NDIM(x)
    if not is_plain(dy, ndim) or not has_shape(dy, cnp.PyArray_DIMS(x)) or not is_column(var, x, axes):
        return NotImplemented
    if not rms and not is_column(mean, x, axes):
        return NotImplemented
    dx = fresh(ndim, cnp.PyArray_DIMS(x), C_ORDER)
    dweight = fresh(axes, cnp.PyArray_DIMS(x) + ndim - axes, C_ORDER)
    if not rms:
        dbias = fresh(axes, cnp.PyArray_DIMS(x) + ndim - axes, C_ORDER)
    cdef float eps_ = eps
    cdef const float *dy_ = data_of(dy)
    cdef const float *x_ = data_of(x)
    cdef const float *mean_ = NULL if rms else data_of(mean)
    cdef const float *var_ = data_of(var)
    cdef const float *weight_ = data_of(weight)
    cdef float *dx_ = data_of(dx)
    cdef float *dweight_ = data_of(dweight)
    cdef float *dbias_ = data_of(dbias)
    cdef void *space = lend(fc_layer_norm_workspace_bytes(&norm, &ctx.c))
    with nogil:
        fc_layer_norm_backward(&norm, dy_, x_, mean_, var_, weight_, eps_, dx_, dweight_, dbias_, space, &ctx.c)
    return dx, dweight, dbias
