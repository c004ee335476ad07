# The fully connected layer, through gemm.c.


def linear(x, weight, bias, out, bint transpose_weight, int activation_kind, float activation_alpha,
           float activation_beta, Context ctx not None):
    """y (..., N) = activation(x @ weight + bias) of usual arrays in C order, else NotImplemented.

    x (..., K), weight (K, N), or (N, K) with transpose_weight, bias (N,) or None. y is `out`, which shares no memory
    with the others, or a new array."""
    cdef fc_gemm g
    cdef int64_t rows = 1
    cdef cnp.npy_intp shape[MOST_AXES]
    cdef const cnp.npy_intp *sizes
    cdef cnp.ndarray y
    cdef int ndim, i
    if order_of(x) != C_ORDER or cnp.PyArray_NDIM(x) < 1 or not is_plain(weight, 2):
        return NotImplemented
    if bias is not None and not is_plain(bias, 1):
        return NotImplemented
    ndim, sizes = cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(weight)
    for i in range(ndim - 1):
        shape[i] = cnp.PyArray_DIMS(x)[i]
        rows *= shape[i]
    g = dense_gemm(rows, sizes[1 - transpose_weight], sizes[transpose_weight], False, transpose_weight, 1.0, 0.0)
    g.activation = activation(activation_kind, activation_alpha, activation_beta)
    shape[ndim - 1] = g.n
    if cnp.PyArray_DIMS(x)[ndim - 1] != g.k or (bias is not None and cnp.PyArray_DIMS(bias)[0] != g.n):
        return NotImplemented
    y = plain_target(out, ndim, shape, x, weight)
    if y is None or (out is not None and not is_apart(y, bias)):
        return NotImplemented
    cdef const float *x_ = data_of(x)
    cdef const float *weight_ = data_of(weight)
    cdef const float *bias_ = data_of(bias)
    cdef float *y_ = data_of(y)
    cdef void *space = lend(fc_gemm_workspace_bytes(&g, &ctx.c))
    with nogil:
        fc_gemm_run(&g, x_, weight_, bias_, y_, space, &ctx.c)
    return y


def matmul(a, b, out, Context ctx not None):
    """a @ b of usual arrays in C order, a (..., M, K) and a single b (K, N), else NotImplemented."""
    if not cnp.PyArray_Check(a) or cnp.PyArray_NDIM(a) < 2:
        return NotImplemented
    return linear(a, b, None, out, False, FC_IDENTITY, 0.0, 0.0, ctx)


def linear_gradients(dy, x, out_weight, out_bias, Context ctx not None):
    """(dweight, dbias) = (dy.T @ x, sums of dy) of usual arrays in C order, else NotImplemented.

    dy (..., N), x (..., K). Each result is its `out`, which shares no memory with the others, or a new array."""
    cdef fc_gemm g
    cdef int64_t rows = 1
    cdef cnp.npy_intp shape[2]
    cdef int ndim, i
    if order_of(dy) != C_ORDER or order_of(x) != C_ORDER:
        return NotImplemented
    ndim = cnp.PyArray_NDIM(dy)
    if ndim < 1 or cnp.PyArray_NDIM(x) != ndim:
        return NotImplemented
    for i in range(ndim - 1):
        if cnp.PyArray_DIMS(dy)[i] != cnp.PyArray_DIMS(x)[i]:
            return NotImplemented
        rows *= cnp.PyArray_DIMS(x)[i]
    g = dense_gemm(cnp.PyArray_DIMS(dy)[ndim - 1], cnp.PyArray_DIMS(x)[ndim - 1], rows, True, False, 1.0, 0.0)
    shape[0], shape[1] = g.m, g.n
    cdef cnp.ndarray dweight = plain_target(out_weight, 2, shape, dy, x)
    cdef cnp.ndarray dbias = plain_target(out_bias, 1, shape, dy, x)
    if dweight is None or dbias is None or not is_apart(dweight, dbias):
        return NotImplemented
    cdef const float *dy_ = data_of(dy)
    cdef const float *x_ = data_of(x)
    cdef float *dweight_ = data_of(dweight)
    cdef float *dbias_ = data_of(dbias)
    cdef void *space = lend(fc_gemm_workspace_bytes(&g, &ctx.c))
    with nogil:
        fc_gemm_run(&g, dy_, x_, NULL, dweight_, space, &ctx.c)
        fc_conv_transpose2d_backward_bias(g.k, g.m, dy_, dbias_, &ctx.c)
    return dweight, dbias
