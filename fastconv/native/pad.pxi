# Binding of pad.c.

PAD_MODES = {"constant": FC_PAD_CONSTANT, "reflect": FC_PAD_REFLECT, "replicate": FC_PAD_REPLICATE,
             "circular": FC_PAD_CIRCULAR}


cdef fc_pad pad_geometry(tuple x_shape, tuple pads, str mode, float value):
    """x_shape (N, D, H, W, C), pads (before, after) of each of D, H, W, checked by ops.pad."""
    cdef fc_pad p
    cdef int i
    p.mode = <fc_pad_mode><int>PAD_MODES[mode]
    p.batch, p.channels, p.value = x_shape[0], x_shape[4], value
    for i in range(3):
        p.size[i], p.before[i], p.after[i] = x_shape[1 + i], pads[2 * i], pads[2 * i + 1]
    return p


cdef tuple padded_shape(tuple x_shape, tuple pads):
    return (x_shape[0], *[x_shape[1 + i] + pads[2 * i] + pads[2 * i + 1] for i in range(3)], x_shape[4])


def pad_forward(x, y, tuple pads, str mode, float value, Context ctx not None):
    """y = x with a border; x (N, D, H, W, C)."""
    cdef tuple shape = tuple(x.shape)
    cdef fc_pad p = pad_geometry(shape, pads, mode, value)
    cdef const float *x_ = operand(x, "x", shape)
    cdef float *y_ = result(y, "y", padded_shape(shape, pads))
    with nogil:
        fc_pad_forward(&p, x_, y_, &ctx.c)


def pad_backward(dy, dx, tuple pads, str mode, Context ctx not None):
    """dx (N, D, H, W, C): each element sums dy over its copies."""
    cdef tuple shape = tuple(dx.shape)
    cdef fc_pad p = pad_geometry(shape, pads, mode, 0.0)
    cdef const float *dy_ = operand(dy, "dy", padded_shape(shape, pads))
    cdef float *dx_ = result(dx, "dx", shape)
    with nogil:
        fc_pad_backward(&p, dy_, dx_, &ctx.c)
