"""Softmax and its logarithm along one axis, and their gradients.

Arrays are float32, of any shape and memory order; results have the shape and order of x. `out=` receives the result and
may be an input itself. TypeError for another dtype, ValueError for another shape or an axis that is not there.
"""

import math
import operator

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, dense, output
from fastconv.ops.activations import _backward_operands
from fastconv.runtime import context

__all__ = ["softmax", "log_softmax", "softmax_backward", "log_softmax_backward"]


def _axis(function, axis, ndim):
    """The axis as 0 ... ndim - 1; a number counts as an array of one element."""
    ndim = max(ndim, 1)
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis={axis!r}: must be an integer") from None
    if not -ndim <= number < ndim:
        raise ValueError(f"{function}: axis={axis!r}: must be in [{-ndim}, {ndim})")
    return number % ndim


def _rows(x, axis):
    """(matrix, is_view): x as (rows, columns) with `axis` as the columns; a copy where they are not contiguous."""
    moved = np.moveaxis(x, axis, -1) if x.ndim else x.reshape(1)
    columns = moved.shape[-1]
    rows = math.prod(moved.shape[:-1])
    if moved.flags.c_contiguous:
        return moved.reshape(rows, columns), True
    return np.array(moved, order="C").reshape(rows, columns), False


def _scatter(matrix, target, axis):
    """The inverse of `_rows`: writes the copy it made back."""
    moved = np.moveaxis(target, axis, -1)
    moved[...] = matrix.reshape(moved.shape)


def _softmax(function, x, axis, out, log):
    x = dense(array(function, "x", x))
    axis = _axis(function, axis, x.ndim)
    out, target = output(function, out, x)
    matrix, is_view = _rows(x, axis)
    y = _rows(target, axis)[0] if is_view else matrix
    _native.softmax_forward(matrix, y, log, context())
    if not is_view:
        _scatter(y, target, axis)
    if target is not out:
        out[...] = target
    return out


def _softmax_backward(function, dy, y, axis, out, log):
    dy, y, out, target = _backward_operands(function, dy, "y", y, out)
    axis = _axis(function, axis, y.ndim)
    dy_matrix, is_view = _rows(dy, axis)
    dx = _rows(target, axis)[0] if is_view else dy_matrix
    _native.softmax_backward(dy_matrix, _rows(y, axis)[0], dx, log, context())
    if not is_view:
        _scatter(dx, target, axis)
    if target is not out:
        out[...] = target
    return out


def softmax(x, axis=-1, *, out=None):
    """y = exp(x - max) / sum(exp(x - max)) along `axis`. A row with NaN or +inf becomes NaN.

    Fastest where `axis` is contiguous in memory: the last one, or the channels of (N, C, H, W) images in NHWC memory.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax(np.zeros((1, 4), np.float32))
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    return _softmax("softmax", x, axis, out, False)


def softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = y * (dy - sum(dy * y)) along `axis`; y is the result of `softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax_backward(np.array([[1, 0]], np.float32), np.array([[0.5, 0.5]], np.float32))
    array([[ 0.25, -0.25]], dtype=float32)
    """
    return _softmax_backward("softmax_backward", dy, y, axis, out, False)


def log_softmax(x, axis=-1, *, out=None):
    """y = x - max - log(sum(exp(x - max))) along `axis`. A row with NaN or +inf becomes NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax(np.array([[1000, 0]], np.float32))
    array([[    0., -1000.]], dtype=float32)
    """
    return _softmax("log_softmax", x, axis, out, True)


def log_softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = dy - exp(y) * sum(dy) along `axis`; y is the result of `log_softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax_backward(np.array([[1, 0]], np.float32), np.log(np.array([[0.5, 0.5]], np.float32)))
    array([[ 0.5, -0.5]], dtype=float32)
    """
    return _softmax_backward("log_softmax_backward", dy, y, axis, out, True)
