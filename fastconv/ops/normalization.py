"""Batch normalisation, inference, training and backward.

x is (N, C, H, W) in any memory order, or (N, C); statistics, weight and bias are (C,); all float32. Images come back in
(N, H, W, C) memory.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, contiguous, empty, empty_images, nhwc, number, of_shape, shaped
from fastconv.runtime import context

__all__ = ["batch_norm", "batch_norm_training", "batch_norm_backward"]


def _rows(function, name, x):
    """The (rows, C) memory of x (N, C) or (N, C, H, W): a view where memory is in that order."""
    array(function, name, x)
    if x.ndim not in (2, 4):
        raise ValueError(f"{function}: {name} has shape {x.shape}: must be (N, C) or (N, C, H, W)")
    if x.ndim == 2:
        return contiguous(x)
    batch, channels, height, width = x.shape
    return nhwc(x).reshape(batch * height * width, channels)


def _empty(shape):
    """An uninitialised array of the shape of x, and its (rows, C) memory."""
    if len(shape) == 2:
        fresh = empty(shape)
        return fresh, fresh
    batch, channels, height, width = shape
    y, memory = empty_images(*shape)
    return y, memory.reshape(batch * height * width, channels)


def _channels(function, name, value, count):
    """A (C,) operand, or None."""
    return None if value is None else shaped(function, name, value, (count,))


def _epsilon(function, eps):
    eps = number(function, "eps", eps)
    if not 0.0 <= eps < np.inf:
        raise ValueError(f"{function}: eps={eps!r}: must be >= 0 and finite")
    return eps


def _inv_std(var, eps):
    """1 / sqrt(var + eps), in double and rounded once. A negative variance gives NaN."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (1.0 / np.sqrt(var.astype(np.float64) + eps)).astype(np.float32)


def batch_norm(x, mean, var, weight=None, bias=None, *, eps=1e-5):
    """y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c], the batch norm of inference (Ioffe & Szegedy 2015).

    x (N, C, H, W) or (N, C); mean, var, weight, bias (C,); weight=None means 1, bias=None means 0.

    >>> import numpy as np; from fastconv import ops
    >>> x, mean, var = np.float32([[1], [3]]), np.float32([1]), np.float32([4])
    >>> ops.batch_norm(x, mean, var, eps=0.0).tolist()
    [[0.0], [1.0]]
    """
    function = "batch_norm"
    array(function, "x", x)
    rows = _rows(function, "x", x)
    channels = rows.shape[1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    weight, bias = (_channels(function, *each, channels) for each in (("weight", weight), ("bias", bias)))
    inv_std = _inv_std(var, _epsilon(function, eps))
    y, memory = _empty(x.shape)
    _native.batch_norm_forward(rows, mean, inv_std, weight, bias, memory, context())
    return y


def batch_norm_training(x, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): batch norm with the mean and biased variance of x itself, over all axes but the channel's.

    x (N, C, H, W) or (N, C) -> y of x's shape, mean (C,), var (C,). ValueError for an x without rows: it has no mean.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.batch_norm_training(np.array([[1], [3]], np.float32), eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    function = "batch_norm_training"
    rows = _rows(function, "x", x)
    count, channels = rows.shape
    weight, bias = (_channels(function, *each, channels) for each in (("weight", weight), ("bias", bias)))
    eps = _epsilon(function, eps)
    if count == 0:
        raise ValueError(f"{function}: x has shape {x.shape}: must have at least one value per channel")
    mean, var = np.empty(channels, np.float32), np.empty(channels, np.float32)
    _native.batch_norm_statistics(rows, mean, var, context())
    y, memory = _empty(x.shape)
    _native.batch_norm_forward(rows, mean, _inv_std(var, eps), weight, bias, memory, context())
    return y, mean, var


def batch_norm_backward(dy, x, mean, var, weight=None, *, eps=1e-5):
    """(dx, dweight, dbias) of `batch_norm_training`: mean and var are what it returned for x.

    With xhat = (x - mean) / sqrt(var + eps), sums and means over all axes but the channel's:
    dbias = sum(dy), dweight = sum(dy * xhat), dx = weight / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat)).
    dy, x (N, C, H, W) or (N, C); mean, var, weight (C,) -> dx of x's shape, dweight (C,), dbias (C,).

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[1], [3]], np.float32)
    >>> y, mean, var = ops.batch_norm_training(x)
    >>> ops.batch_norm_backward(np.ones_like(x), x, mean, var)[2].tolist()
    [2.0]
    """
    function = "batch_norm_backward"
    rows = _rows(function, "x", x)
    gradient = _rows(function, "dy", of_shape(function, "dy", dy, x.shape))
    channels = rows.shape[1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    weight = _channels(function, "weight", weight, channels)
    inv_std = _inv_std(var, _epsilon(function, eps))
    dx, memory = _empty(x.shape)
    dweight, dbias = np.empty(channels, np.float32), np.empty(channels, np.float32)
    _native.batch_norm_backward(gradient, rows, mean, inv_std, weight, memory, dweight, dbias, context())
    return dx, dweight, dbias
