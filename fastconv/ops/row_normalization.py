"""Norms of rows: layer and RMS norm. Names and values are PyTorch's.

Rows, the last axes of an array, lie in C order; so do results. `x_training` returns what `x_backward` needs beside x:
the mean and biased variance it took. `out=` receives the one result of `x` and may be the input itself.
"""

import math
import operator

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, check_out, contiguous, empty, integer, returned, shaped
from fastconv.ops._norms import epsilon, optional
from fastconv.runtime import context

__all__ = [
    "layer_norm",
    "layer_norm_training",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_training",
    "rms_norm_backward",
]

FLOAT_EPS = float(np.finfo(np.float32).eps)


def _normalized(function, x, normalized_shape):
    """(normalized_shape as a tuple, the other sizes of x): each of the latter has statistics of its own."""
    if type(normalized_shape) is int and x.ndim and x.shape[-1] == normalized_shape:
        return x.shape[-1:], x.shape[:-1]
    if isinstance(normalized_shape, (tuple, list)):
        try:
            shape = tuple(map(operator.index, normalized_shape))
        except TypeError:
            raise TypeError(f"{function}: normalized_shape={normalized_shape!r}: must be sizes") from None
    else:
        shape = (integer(function, "normalized_shape", normalized_shape, 0),)
    if not shape or len(shape) > x.ndim or x.shape[x.ndim - len(shape) :] != shape:
        rule = f"must be the last sizes of x, which has shape {x.shape}"
        raise ValueError(f"{function}: normalized_shape={normalized_shape!r}: {rule}")
    return shape, x.shape[: x.ndim - len(shape)]


def _row_target(function, out, x, rows, *operands):
    """(y, rows of y): `out` where a kernel can write to it, or a new array of the shape of x; `rows` are those of x."""
    if out is None:
        y = empty(x.shape)
        return y, _as(rows.shape, y)
    check_out(function, out, x.shape)
    same = out is x or not np.may_share_memory(out, rows)  # in place: every kernel reads before it writes
    shared = any(value is not None and np.may_share_memory(out, value) for value in operands)
    if not (out.flags.c_contiguous and out.flags.aligned and same and not shared):
        return _row_target(function, None, x, rows)
    return out, _as(rows.shape, out)


def _row_norm(function, rms, x, normalized_shape, weight, bias, eps, out, keep):
    """y, or with `keep` (y, mean, var)."""
    results = _native.row_norm(rms, x, normalized_shape, weight, bias, eps, out, keep, context())
    if results is not NotImplemented:
        return results
    array(function, "x", x)
    shape, outer = _normalized(function, x, normalized_shape)
    weight = optional(function, "weight", weight, shape)
    bias = optional(function, "bias", bias, shape)
    eps = epsilon(function, eps)
    columns, count = math.prod(shape), math.prod(outer)
    rows = _as((count, columns), contiguous(x))
    y, target = _row_target(function, out, x, rows, weight, bias)
    mean = np.empty(outer, np.float32) if keep and not rms else None
    var = np.empty(outer, np.float32) if keep else None
    if keep and count and not columns:
        raise ValueError(f"{function}: normalized_shape={normalized_shape!r}: must have at least one value")
    _native.layer_norm_forward(rms, rows, _flat(weight), _flat(bias), eps, target, _flat(mean), _flat(var), context())
    y = returned(y, out)
    return (y, mean, var) if keep else y


def _flat(value):
    return value if value is None or value.ndim == 1 else value.reshape(-1)


def _as(shape, value):
    return value if value.shape == shape else value.reshape(shape)


def _row_norm_backward(function, rms, dy, x, mean, var, normalized_shape, weight, eps):
    """(dx, dweight, dbias)"""
    gradients = _native.row_norm_gradients(rms, dy, x, mean, var, normalized_shape, weight, eps, context())
    if gradients is not NotImplemented:
        return gradients
    array(function, "x", x)
    shape, outer = _normalized(function, x, normalized_shape)
    dy = shaped(function, "dy", dy, x.shape)
    mean = None if rms else shaped(function, "mean", mean, outer)
    var = shaped(function, "mean_square" if rms else "var", var, outer)
    weight = optional(function, "weight", weight, shape)
    eps = epsilon(function, eps)
    rows = _as((math.prod(outer), math.prod(shape)), contiguous(x))
    dx = empty(x.shape)
    dweight = np.empty(shape, np.float32)
    dbias = None if rms else np.empty(shape, np.float32)
    _native.layer_norm_backward(
        rms, _as(rows.shape, dy), rows, _flat(mean), _flat(var), _flat(weight), eps, _as(rows.shape, dx),
        _flat(dweight), _flat(dbias), context(),
    )  # fmt: skip
    return dx, dweight, dbias


def layer_norm(x, normalized_shape, weight=None, bias=None, *, eps=1e-5, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, statistics over the last axes of x (Ba, Kiros & Hinton 2016).

    normalized_shape: the sizes of those axes, or the size of the last one. weight, bias: of that shape, or None.

    >>> import numpy as np; from fastconv import ops
    >>> ops.layer_norm(np.array([[1, 3], [2, 6]], np.float32), 2, eps=0.0).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    return _row_norm("layer_norm", False, x, normalized_shape, weight, bias, eps, out, False)


def layer_norm_training(x, normalized_shape, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): `layer_norm`, and the mean and biased variance it took, for `layer_norm_backward`.

    They have the shape of x without its last axes, those of normalized_shape.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.layer_norm_training(np.array([[1, 3], [2, 6]], np.float32), 2)
    >>> mean.tolist(), var.tolist()
    ([2.0, 4.0], [1.0, 4.0])
    """
    return _row_norm("layer_norm_training", False, x, normalized_shape, weight, bias, eps, None, True)


def layer_norm_backward(dy, x, mean, var, normalized_shape, weight=None, *, eps=1e-5):
    """(dx, dweight, dbias) of `layer_norm_training`: mean and var are what it returned for x.

    With xhat = (x - mean) / sqrt(var + eps), g = weight * dy and means over the last axes:
    dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps); dbias = sum(dy), dweight = sum(dy * xhat) over the
    others.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[1, 3], [2, 6]], np.float32)
    >>> y, mean, var = ops.layer_norm_training(x, 2)
    >>> ops.layer_norm_backward(np.ones_like(x), x, mean, var, 2)[2].tolist()
    [2.0, 2.0]
    """
    return _row_norm_backward("layer_norm_backward", False, dy, x, mean, var, normalized_shape, weight, eps)


def rms_norm(x, normalized_shape, weight=None, *, eps=FLOAT_EPS, out=None):
    """y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axes of x (Zhang & Sennrich 2019).

    normalized_shape, weight: as of `layer_norm`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.rms_norm(np.array([[3, 3], [-2, 2]], np.float32), 2, eps=0.0).tolist()
    [[1.0, 1.0], [-1.0, 1.0]]
    """
    return _row_norm("rms_norm", True, x, normalized_shape, weight, None, eps, out, False)


def rms_norm_training(x, normalized_shape, weight=None, *, eps=FLOAT_EPS):
    """(y, mean_square): `rms_norm`, and the mean of the squares it took, for `rms_norm_backward`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.rms_norm_training(np.array([[3, 3], [-2, 2]], np.float32), 2)[1].tolist()
    [9.0, 4.0]
    """
    y, _, mean_square = _row_norm("rms_norm_training", True, x, normalized_shape, weight, None, eps, None, True)
    return y, mean_square


def rms_norm_backward(dy, x, mean_square, normalized_shape, weight=None, *, eps=FLOAT_EPS):
    """(dx, dweight) of `rms_norm_training`: mean_square is what it returned for x.

    With xhat = x / sqrt(mean_square + eps), g = weight * dy and means over the last axes:
    dx = (g - xhat * mean(g * xhat)) / sqrt(mean_square + eps); dweight = sum(dy * xhat) over the others.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[3, 3], [-2, 2]], np.float32)
    >>> y, mean_square = ops.rms_norm_training(x, 2, eps=0.0)
    >>> ops.rms_norm_backward(np.ones_like(x), x, mean_square, 2, eps=0.0)[1].tolist()
    [0.0, 2.0]
    """
    function = "rms_norm_backward"
    return _row_norm_backward(function, True, dy, x, None, mean_square, normalized_shape, weight, eps)[:2]
