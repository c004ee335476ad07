# Binding of ctc.c.


cdef const int64_t *int64_operand(object array, str name, int64_t count, int64_t most) except? NULL:
    """The address of `count` int64 in [0, most]."""
    cdef const int64_t *values = label_operand(array, count, name)
    cdef int64_t i
    for i in range(count):
        if not 0 <= values[i] <= most:
            raise ValueError(f"{name}: holds {values[i]}: must be in [0, {most}]")
    return values


def ctc_loss(x, targets, target_starts, lengths, target_lengths, int64_t blank, bint mean, bint zero_infinity, gradient,
             Context ctx not None):
    """(loss, None): that of logits x (T, N, C) summed, or its mean; the gradient may be x.

    targets (count,), target_starts, lengths and target_lengths (N,) are int64. (None, place), and nothing is written,
    where targets[place] is no class or blank."""
    cdef Py_buffer view
    cdef fc_ctc ctc
    cdef float *gradient_
    cdef void *space
    cdef int64_t bad, i, count = len(targets)
    cdef double loss
    open_floats(x, "x", &view, False)
    try:
        if view.ndim != 3:
            raise ValueError(f"x: expected 3 dimensions, got {view.ndim}")
        ctc.steps, ctc.batch, ctc.classes = view.shape[0], view.shape[1], view.shape[2]
        ctc.blank, ctc.mean, ctc.zero_infinity = blank, mean, zero_infinity
        if not 0 <= blank < ctc.classes:
            raise ValueError(f"blank={blank}: must be in [0, {ctc.classes})")
        gradient_ = like_floats(gradient, "gradient", &view, True)
        if cuts(<const float *>view.buf, gradient_, view.len):
            raise ValueError("gradient: overlaps x")
        ctc.targets = label_operand(targets, count, "targets")
        ctc.lengths = int64_operand(lengths, "lengths", ctc.batch, ctc.steps)
        ctc.target_starts = int64_operand(target_starts, "target_starts", ctc.batch, count)
        ctc.target_lengths = int64_operand(target_lengths, "target_lengths", ctc.batch, count)
        for i in range(ctc.batch):
            if ctc.target_lengths[i] > count - ctc.target_starts[i]:
                raise ValueError("target_lengths: a target ends beyond targets")
        bad = fc_ctc_bad_target(&ctc)
        if bad >= 0:
            return None, bad
        space = lend(fc_ctc_workspace_bytes(&ctc, &ctx.c))
        with nogil:
            loss = fc_ctc_run(&ctc, <const float *>view.buf, gradient_, space, &ctx.c)
        return loss, None
    finally:
        PyBuffer_Release(&view)


def ctc_beam(log_probabilities, lengths, int64_t blank, int64_t width, int64_t top, Context ctx not None):
    """(labels (N, top, T) int64, counts (N, top) int64, scores (N, top) float64) of log-probabilities (T, N, C).

    See fc_ctc_beam_run."""
    cdef Py_buffer view
    cdef fc_ctc_beam decode
    cdef cnp.npy_intp shape[3]
    cdef void *space
    open_floats(log_probabilities, "log_probabilities", &view, False)
    try:
        if view.ndim != 3:
            raise ValueError(f"log_probabilities: expected 3 dimensions, got {view.ndim}")
        decode.steps, decode.batch, decode.classes = view.shape[0], view.shape[1], view.shape[2]
        decode.blank, decode.width, decode.top = blank, width, top
        if not 0 <= blank < decode.classes <= INT32_MAX:
            raise ValueError(f"blank={blank}: must be in [0, {decode.classes})")
        if not 1 <= top <= width or width > INT32_MAX // (decode.steps + 1):
            raise ValueError(f"width={width}, top={top}: must be 1 <= top <= width, steps * width < 2**31")
        decode.lengths = int64_operand(lengths, "lengths", decode.batch, decode.steps)
        shape[0], shape[1], shape[2] = decode.batch, top, decode.steps
        labels = cnp.PyArray_EMPTY(3, shape, cnp.NPY_INT64, 0)
        counts = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
        scores = cnp.PyArray_EMPTY(2, shape, cnp.NPY_FLOAT64, 0)
        space = lend(fc_ctc_beam_workspace_bytes(&decode, &ctx.c))
        run_ctc_beam(&decode, <const float *>view.buf, labels, counts, scores, space, ctx)
        return labels, counts, scores
    finally:
        PyBuffer_Release(&view)


cdef void run_ctc_beam(const fc_ctc_beam *decode, const float *x, cnp.ndarray labels, cnp.ndarray counts,
                       cnp.ndarray scores, void *space, Context ctx):
    cdef int64_t *labels_ = <int64_t *>cnp.PyArray_DATA(labels)
    cdef int64_t *counts_ = <int64_t *>cnp.PyArray_DATA(counts)
    cdef double *scores_ = <double *>cnp.PyArray_DATA(scores)
    with nogil:
        fc_ctc_beam_run(decode, x, labels_, counts_, scores_, space, &ctx.c)
