# Binding of ctc.c.


cdef const int64_t *lengths_operand(object lengths, str name, int64_t count, int64_t most) except? NULL:
    """The address of `count` int64 in [0, most]."""
    cdef const int64_t *values = label_operand(lengths, count, name)
    cdef int64_t i
    for i in range(count):
        if not 0 <= values[i] <= most:
            raise ValueError(f"{name}: holds {values[i]}: must be in [0, {most}]")
    return values


def ctc_loss(x, targets, target_starts, lengths, target_lengths, int64_t blank, bint mean, bint zero_infinity, gradient,
             Context ctx not None):
    """(loss, None): that of logits x (T, N, C) summed, or its mean; the gradient may be x.

    targets (count,), target_starts, lengths and target_lengths (N,) are int64. (None, place), and nothing is written, where
    targets[place] is no class or blank."""
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
        ctc.lengths = lengths_operand(lengths, "lengths", ctc.batch, ctc.steps)
        ctc.target_starts = lengths_operand(target_starts, "target_starts", ctc.batch, count)
        ctc.target_lengths = lengths_operand(target_lengths, "target_lengths", ctc.batch, count)
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
