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


cdef bint read_pads(fc_pad *p, object padding, int rank) noexcept:
    """The pads of the last `rank` axes, those of the others being 0. False where they come in another form than an int,
    an int an axis or a pair of ints an axis."""
    cdef int i, axis
    cdef object item, before, after
    for i in range(3):
        p.before[i] = p.after[i] = 0
    if type(padding) is tuple and len(<tuple>padding) != rank:
        return False
    for i in range(rank):
        axis = 3 - rank + i
        item = (<tuple>padding)[i] if type(padding) is tuple else padding
        before = after = item
        if type(padding) is tuple and type(item) is not type((<tuple>padding)[0]):
            return False
        if type(item) is tuple:
            if len(<tuple>item) != 2:
                return False
            before, after = (<tuple>item)[0], (<tuple>item)[1]
        if type(before) is not int or type(after) is not int:
            return False
        if not (0 <= before <= INT32_MAX and 0 <= after <= INT32_MAX):
            return False
        p.before[axis], p.after[axis] = before, after
    return True


def padded(x, padding, mode, value, out, Context ctx not None):
    """A usual array (N, C, *sizes) with a border, all arguments as they usually come, else NotImplemented."""
    cdef fc_pad p
    cdef cnp.npy_intp shape[5]
    cdef int ndim, rank, i, axis
    cdef int64_t most
    if not is_float32(x) or not 3 <= cnp.PyArray_NDIM(x) <= 5 or type(value) is not float or type(mode) is not str:
        return NotImplemented
    ndim, kind = cnp.PyArray_NDIM(x), PAD_MODES.get(mode)
    rank = ndim - 2
    if kind is None or not read_pads(&p, padding, rank):
        return NotImplemented
    cdef const cnp.npy_intp *sizes = cnp.PyArray_DIMS(x)
    p.mode, p.value = <fc_pad_mode><int>kind, value
    shape[0], shape[1] = p.batch, p.channels = sizes[0], sizes[1]
    for i in range(3):
        p.size[i] = 1
    for i in range(rank):
        axis = 3 - rank + i
        p.size[axis] = sizes[2 + i]
        most = p.size[axis] - 1 if p.mode == FC_PAD_REFLECT else p.size[axis]
        if p.size[axis] < 1 or p.size[axis] > INT32_MAX:
            return NotImplemented
        if p.mode in (FC_PAD_REFLECT, FC_PAD_CIRCULAR) and max(p.before[axis], p.after[axis]) > most:
            return NotImplemented
        shape[2 + i] = p.before[axis] + p.size[axis] + p.after[axis]
    if not 0 <= bytes_of(ndim, shape) < <int64_t>1 << 60:
        return NotImplemented
    cdef cnp.ndarray y = maps_target(out, ndim, shape, x)
    cdef object maps = None if y is None else on_channels_last(x, ctx)
    if maps is None:
        return NotImplemented
    cdef const float *x_ = data_of(maps)
    cdef float *y_ = data_of(y)
    with nogil:
        fc_pad_forward(&p, x_, y_, &ctx.c)
    return y
