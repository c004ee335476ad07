# Binding of gemm.c.

ACTIVATIONS = {
    "identity": FC_IDENTITY, "relu": FC_RELU, "relu6": FC_RELU6, "leaky_relu": FC_LEAKY_RELU, "elu": FC_ELU,
    "sigmoid": FC_SIGMOID, "tanh": FC_TANH, "gelu": FC_GELU, "gelu_tanh": FC_GELU_TANH, "silu": FC_SILU,
    "hardswish": FC_HARDSWISH, "hardsigmoid": FC_HARDSIGMOID, "softplus": FC_SOFTPLUS,
}


cdef inline fc_activation activation(int kind, float alpha, float beta) except *:
    cdef fc_activation f
    if not 0 <= kind < FC_ACTIVATION_COUNT:
        raise ValueError(f"activation={kind}: must be one of {ACTIVATIONS}")
    f.kind = <fc_activation_kind>kind
    f.alpha = alpha
    f.beta = beta
    return f


cdef inline fc_gemm dense_gemm(int64_t m, int64_t n, int64_t k, bint transpose_a, bint transpose_b, float alpha,
                               float beta):
    """The product of matrices that lie without gaps, and no activation."""
    cdef fc_gemm g
    g.m, g.n, g.k = m, n, k
    g.transpose_a, g.transpose_b = transpose_a, transpose_b
    g.a_stride, g.b_stride, g.c_stride = (m if transpose_a else k), (k if transpose_b else n), n
    g.alpha, g.beta = alpha, beta
    g.activation.kind = FC_IDENTITY
    g.activation.alpha = g.activation.beta = 0.0
    g.in_order = False
    return g


def gemm(a, b, bias, c, bint transpose_a, bint transpose_b, float alpha, float beta,
         int activation_kind, float activation_alpha, float activation_beta, Context ctx not None):
    """c = activation(alpha * op(a) @ op(b) + beta * c + bias); a (M, K) or (K, M), b (K, N) or (N, K), c (M, N)."""
    cdef Py_ssize_t m = a.shape[1] if transpose_a else a.shape[0]
    cdef Py_ssize_t k = a.shape[0] if transpose_a else a.shape[1]
    cdef Py_ssize_t n = b.shape[0] if transpose_b else b.shape[1]
    cdef fc_gemm g = dense_gemm(m, n, k, transpose_a, transpose_b, alpha, beta)
    g.activation = activation(activation_kind, activation_alpha, activation_beta)
    cdef const float *a_ = operand(a, "a", (k, m) if transpose_a else (m, k))
    cdef const float *b_ = operand(b, "b", (n, k) if transpose_b else (k, n))
    cdef const float *bias_ = optional(bias, "bias", (n,))
    cdef float *c_ = result(c, "c", (m, n))
    cdef void *space = lend(fc_gemm_workspace_bytes(&g, &ctx.c))
    with nogil:
        fc_gemm_run(&g, a_, b_, bias_, c_, space, &ctx.c)


def gemm_batch(a, b, c, bint transpose_a, bint transpose_b, Context ctx not None):
    """c[i] = op(a[i]) @ op(b[i]): c (count, M, N), a and b as many matrices, or a single one (1, ...) for all."""
    cdef Py_ssize_t count = c.shape[0], m = c.shape[1], n = c.shape[2]
    cdef Py_ssize_t k = a.shape[1] if transpose_a else a.shape[2]
    cdef Py_ssize_t a_count = 1 if a.shape[0] == 1 else count, b_count = 1 if b.shape[0] == 1 else count
    cdef fc_gemm g = dense_gemm(m, n, k, transpose_a, transpose_b, 1.0, 0.0)
    cdef fc_gemm_batch batch
    batch.count = count
    batch.a_step = 0 if a_count == 1 else m * k
    batch.b_step = 0 if b_count == 1 else k * n
    batch.c_step = m * n
    cdef const float *a_ = operand(a, "a", (a_count, k, m) if transpose_a else (a_count, m, k))
    cdef const float *b_ = operand(b, "b", (b_count, n, k) if transpose_b else (b_count, k, n))
    cdef float *c_ = result(c, "c", (count, m, n))
    cdef void *space = lend(fc_gemm_batch_workspace_bytes(&g, &batch, &ctx.c))
    with nogil:
        fc_gemm_batch_run(&g, &batch, a_, b_, c_, space, &ctx.c)
