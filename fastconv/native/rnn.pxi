# Binding of rnn.c.

RNN_KINDS = {"rnn_tanh": FC_RNN_TANH, "rnn_relu": FC_RNN_RELU, "lstm": FC_LSTM, "gru": FC_GRU}


cdef fc_rnn rnn_layer(int kind, bint reverse, const int64_t[::1] lengths, x, weight_hh) except *:
    cdef fc_rnn rnn
    cdef Py_ssize_t row
    if not 0 <= kind < FC_RNN_KIND_COUNT:
        raise ValueError(f"rnn: kind={kind}: must be one of {RNN_KINDS}")
    rnn.kind = <fc_rnn_kind>kind
    rnn.steps, rnn.batch, rnn.input = x.shape
    rnn.hidden = weight_hh.shape[1]
    rnn.reverse = reverse
    rnn.lengths = NULL
    if lengths is not None:
        if lengths.shape[0] != rnn.batch:
            raise ValueError(f"rnn: lengths has {lengths.shape[0]} elements: must be {rnn.batch}")
        for row in range(rnn.batch):
            if not 0 <= lengths[row] <= rnn.steps:
                raise ValueError(f"rnn: lengths holds {lengths[row]}: must be in [0, {rnn.steps}]")
        if rnn.batch:
            rnn.lengths = &lengths[0]
    return rnn


def rnn_reserve_size(int kind, int64_t hidden):
    """Floats a (step, row) that forward keeps for backward."""
    cdef fc_rnn rnn
    rnn.kind = <fc_rnn_kind>kind
    rnn.steps = rnn.batch = rnn.input = 1
    rnn.hidden = hidden
    rnn.reverse = False
    rnn.lengths = NULL
    return fc_rnn_reserve_size(&rnn)


def rnn_forward(int kind, bint reverse, const int64_t[::1] lengths, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh,
                y, h_last, c_last, reserve, Context ctx not None):
    """x (T, N, I), lengths (N,) or None, h and c (N, H) or None -> y (T, N, H), h_last, c_last (None but for LSTM),
    reserve or None."""
    cdef fc_rnn rnn = rnn_layer(kind, reverse, lengths, x, weight_hh)
    cdef int64_t rows = fc_rnn_gates(rnn.kind) * rnn.hidden
    cdef tuple state = (rnn.batch, rnn.hidden)
    cdef bint lstm = rnn.kind == FC_LSTM
    cdef const float *x_ = operand(x, "x", (rnn.steps, rnn.batch, rnn.input))
    cdef const float *h_ = optional(h, "h", state)
    cdef const float *c_ = optional(c, "c", state) if lstm else NULL
    cdef const float *weight_ih_ = operand(weight_ih, "weight_ih", (rows, rnn.input))
    cdef const float *weight_hh_ = operand(weight_hh, "weight_hh", (rows, rnn.hidden))
    cdef const float *bias_ih_ = optional(bias_ih, "bias_ih", (rows,))
    cdef const float *bias_hh_ = optional(bias_hh, "bias_hh", (rows,))
    cdef float *y_ = result(y, "y", (rnn.steps, rnn.batch, rnn.hidden))
    cdef float *h_last_ = result(h_last, "h_last", state)
    cdef float *c_last_ = result(c_last, "c_last", state) if lstm else NULL
    cdef float *reserve_ = optional_result(reserve, "reserve", (rnn.steps, rnn.batch, fc_rnn_reserve_size(&rnn)))
    cdef void *space = lend(fc_rnn_workspace_bytes(&rnn, False, &ctx.c))
    with nogil:
        fc_rnn_forward(&rnn, x_, h_, c_, weight_ih_, weight_hh_, bias_ih_, bias_hh_, y_, rnn.hidden, h_last_, c_last_,
                       reserve_, space, &ctx.c)


cdef inline bint fits(object value, int ndim, int64_t rows, int64_t columns) noexcept:
    """Whether kernels take an array as it is, of this shape; None fits."""
    if value is None:
        return True
    return (is_plain(value, ndim) and cnp.PyArray_DIMS(value)[0] == rows
            and (ndim == 1 or cnp.PyArray_DIMS(value)[1] == columns))


cdef inline const float *floats_or_null(object value) noexcept:
    if value is None:
        return NULL
    return <const float *>cnp.PyArray_DATA(value)


def rnn_step(int kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, Context ctx not None):
    """(y, h, c) after one step from x (N, I): y is h, c None but for the LSTM. None where an operand is unusual or does not
    fit, for another function to say what is wrong."""
    cdef fc_rnn rnn
    cdef cnp.npy_intp shape[2]
    if not (is_plain(x, 2) and is_plain(weight_ih, 2) and is_plain(weight_hh, 2)):
        return None
    rnn.kind, rnn.steps, rnn.reverse, rnn.lengths = <fc_rnn_kind>kind, 1, False, NULL
    rnn.batch, rnn.input = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1]
    rnn.hidden = cnp.PyArray_DIMS(weight_hh)[1]
    cdef int64_t rows = fc_rnn_gates(rnn.kind) * rnn.hidden
    if (rnn.hidden < 1 or not fits(weight_hh, 2, rows, rnn.hidden) or not fits(weight_ih, 2, rows, rnn.input)
            or not fits(bias_ih, 1, rows, 0) or not fits(bias_hh, 1, rows, 0)
            or not fits(h, 2, rnn.batch, rnn.hidden) or not fits(c, 2, rnn.batch, rnn.hidden)):
        return None
    shape[0], shape[1] = rnn.batch, rnn.hidden
    cdef cnp.ndarray y = fresh(2, shape, C_ORDER), h_last = fresh(2, shape, C_ORDER)
    cdef object c_last = fresh(2, shape, C_ORDER) if rnn.kind == FC_LSTM else None
    cdef const float *x_ = floats_or_null(x)
    cdef const float *h_ = floats_or_null(h)
    cdef const float *c_ = floats_or_null(c)
    cdef const float *weight_ih_ = floats_or_null(weight_ih)
    cdef const float *weight_hh_ = floats_or_null(weight_hh)
    cdef const float *bias_ih_ = floats_or_null(bias_ih)
    cdef const float *bias_hh_ = floats_or_null(bias_hh)
    cdef float *y_ = <float *>cnp.PyArray_DATA(y)
    cdef float *h_last_ = <float *>cnp.PyArray_DATA(h_last)
    cdef float *c_last_ = NULL
    if c_last is not None:
        c_last_ = <float *>cnp.PyArray_DATA(c_last)
    cdef void *space = lend(fc_rnn_workspace_bytes(&rnn, False, &ctx.c))
    with nogil:
        fc_rnn_forward(&rnn, x_, h_, c_, weight_ih_, weight_hh_, bias_ih_, bias_hh_, y_, rnn.hidden, h_last_, c_last_,
                       NULL, space, &ctx.c)
    return y, h_last, c_last


def rnn_backward(int kind, bint reverse, const int64_t[::1] lengths, dy, dh_last, dc_last, x, h, c, y, weight_ih,
                 weight_hh, reserve, dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh, Context ctx not None):
    """The gradients of everything that goes into rnn_forward. dy, dh_last, dc_last None: zeros."""
    cdef fc_rnn rnn = rnn_layer(kind, reverse, lengths, x, weight_hh)
    cdef int64_t rows = fc_rnn_gates(rnn.kind) * rnn.hidden
    cdef tuple state = (rnn.batch, rnn.hidden), outputs = (rnn.steps, rnn.batch, rnn.hidden)
    cdef bint lstm = rnn.kind == FC_LSTM
    cdef const float *dy_ = optional(dy, "dy", outputs)
    cdef const float *dh_last_ = optional(dh_last, "dh_last", state)
    cdef const float *dc_last_ = optional(dc_last, "dc_last", state) if lstm else NULL
    cdef const float *x_ = operand(x, "x", (rnn.steps, rnn.batch, rnn.input))
    cdef const float *h_ = optional(h, "h", state)
    cdef const float *c_ = optional(c, "c", state) if lstm else NULL
    cdef const float *y_ = operand(y, "y", outputs)
    cdef const float *weight_ih_ = operand(weight_ih, "weight_ih", (rows, rnn.input))
    cdef const float *weight_hh_ = operand(weight_hh, "weight_hh", (rows, rnn.hidden))
    cdef const float *reserve_ = operand(reserve, "reserve", (rnn.steps, rnn.batch, fc_rnn_reserve_size(&rnn)))
    cdef float *dx_ = result(dx, "dx", (rnn.steps, rnn.batch, rnn.input))
    cdef float *dh_ = result(dh, "dh", state)
    cdef float *dc_ = result(dc, "dc", state) if lstm else NULL
    cdef float *dweight_ih_ = result(dweight_ih, "dweight_ih", (rows, rnn.input))
    cdef float *dweight_hh_ = result(dweight_hh, "dweight_hh", (rows, rnn.hidden))
    cdef float *dbias_ih_ = optional_result(dbias_ih, "dbias_ih", (rows,))
    cdef float *dbias_hh_ = optional_result(dbias_hh, "dbias_hh", (rows,))
    cdef void *space = lend(fc_rnn_workspace_bytes(&rnn, True, &ctx.c))
    with nogil:
        fc_rnn_backward(&rnn, dy_, rnn.hidden, dh_last_, dc_last_, x_, h_, c_, y_, rnn.hidden, weight_ih_, weight_hh_,
                        reserve_, dx_, dh_, dc_, dweight_ih_, dweight_hh_, dbias_ih_, dbias_hh_, space, &ctx.c)
