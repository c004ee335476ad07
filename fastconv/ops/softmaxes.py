"""Softmax and its logarithm along one axis, and their gradients.

Arrays are float32, of any shape and memory order; results have the shape and order of x. `out=` receives the result and
may be an input itself. TypeError for another dtype, ValueError for another shape or an axis that is not there.
"""

import operator

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, channels_last, check_out, dense, empty_like, like
from fastconv.runtime import context

__all__ = ["softmax", "log_softmax", "softmax_backward", "log_softmax_backward"]


def _axis(function, axis, ndim):
    """The axis as 0 ... ndim - 1; a number counts as an array of one element."""
    ndim = ndim or 1
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis={axis!r}: must be an integer") from None
    if not -ndim <= number < ndim:
        raise ValueError(f"{function}: axis={axis!r}: must be in [{-ndim}, {ndim})")
    return number % ndim


def _target(name, function, out, *operands):
    """Where the kernels write: `out`, or a new array that the caller copies to it.

    The latter where its memory order is not that of the operands, or where it overlaps one of them and is not that one.
    `name` is what the public function calls it."""
    reference = operands[-1]
    if out is None:
        return empty_like(reference)
    if any(out is operand for operand in operands) and out.flags.writeable:
        others = [operand for operand in operands if operand is not out]
    else:
        check_out(function, out, reference.shape, name)
        if not out.flags.aligned or out.strides != reference.strides:
            return empty_like(reference)
        others = operands
    for operand in others:
        if np.may_share_memory(out, operand) and out.ctypes.data != operand.ctypes.data:
            return empty_like(reference)
    return out


def _memory(axis, *arrays):
    """The axis and the arrays as they lie in memory: in C order."""
    first = arrays[0]
    if not first.ndim:
        return axis, *(value.reshape(1) for value in arrays)
    if first.flags.c_contiguous:
        return axis, *arrays
    if axis:
        axis = axis - 1 if axis > 1 else first.ndim - 1
    return axis, *map(channels_last, arrays)


def _forward(function, x, axis, out, log):
    y = _native.softmax(x, axis, out, log, context())
    if y is not NotImplemented:
        return y
    x = dense(array(function, "x", x))
    axis = _axis(function, axis, x.ndim)
    y = _target("out", function, out, x)
    axis, x, memory = _memory(axis, x, y)
    _native.softmax_forward(x, memory, axis, log, context())
    if out is None or out is y:
        return y
    out[...] = y
    return out


def _backward(function, dy, y, axis, out, log):
    dx = _native.softmax_gradient(dy, y, axis, out, log, context())
    if dx is not NotImplemented:
        return dx
    y = dense(array(function, "y", y))
    dy = like(function, "dy", dy, y)
    axis = _axis(function, axis, y.ndim)
    dx = _target("out", function, out, dy, y)
    axis, dy, y, memory = _memory(axis, dy, y, dx)
    _native.softmax_backward(dy, y, memory, axis, log, context())
    if out is None or out is dx:
        return dx
    out[...] = dx
    return out


def softmax(x, axis=-1, *, out=None):
    """y = exp(x - max) / sum(exp(x - max)) along `axis`. A row with NaN or +inf becomes NaN.

    Any axis is taken as it lies in memory; nothing is transposed.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax(np.zeros((1, 4), np.float32))
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    return _forward("softmax", x, axis, out, False)


def softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = y * (dy - sum(dy * y)) along `axis`; y is the result of `softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax_backward(np.array([[1, 0]], np.float32), np.array([[0.5, 0.5]], np.float32))
    array([[ 0.25, -0.25]], dtype=float32)
    """
    return _backward("softmax_backward", dy, y, axis, out, False)


def log_softmax(x, axis=-1, *, out=None):
    """y = x - max - log(sum(exp(x - max))) along `axis`. A row with NaN or +inf becomes NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax(np.array([[1000, 0]], np.float32))
    array([[    0., -1000.]], dtype=float32)
    """
    return _forward("log_softmax", x, axis, out, True)


def log_softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = dy - exp(y) * sum(dy) along `axis`; y is the result of `log_softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax_backward(np.array([[1, 0]], np.float32), np.log(np.array([[0.5, 0.5]], np.float32)))
    array([[ 0.5, -0.5]], dtype=float32)
    """
    return _backward("log_softmax_backward", dy, y, axis, out, True)
