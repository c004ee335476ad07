"""Norms whose statistics run over pixels: batch, group and instance norm. Names and values are PyTorch's.

Maps are (N, C, *sizes) in any memory order, with any number of spatial axes; results lie in (N, *sizes, C) memory.
Statistics, weight and bias are float32 as everything else. Variances are biased, and come from sums about a shift or
about the mean itself, never from a difference of large squares.

`x_training` returns what `x_backward` needs beside x: the mean and variance it took. `out=` receives the one result of
`x` and may be the input itself; functions that return several arrays have none.
"""

import math

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import image_target, integer, of_shape, returned, shaped
from fastconv.ops._norms import epsilon, map_memory, map_target, optional
from fastconv.runtime import context

__all__ = [
    "batch_norm",
    "batch_norm_training",
    "batch_norm_backward",
    "group_norm",
    "group_norm_training",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_training",
    "instance_norm_backward",
]

BATCH, GROUP, INSTANCE = (_native.MAP_NORMS[name] for name in ("batch", "group", "instance"))


def batch_norm(x, mean, var, weight=None, bias=None, *, eps=1e-5, out=None):
    """y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c], the batch norm of inference (Ioffe & Szegedy 2015).

    x (N, C, *sizes) or (N, C); mean, var, weight, bias (C,); weight=None means 1, bias=None means 0.

    >>> import numpy as np; from fastconv import ops
    >>> x, mean, var = np.float32([[1], [3]]), np.float32([1]), np.float32([4])
    >>> ops.batch_norm(x, mean, var, eps=0.0).tolist()
    [[0.0], [1.0]]
    """
    y = _native.batch_norm(x, mean, var, weight, bias, eps, out, context())
    if y is not NotImplemented:
        return y
    function = "batch_norm"
    memory = map_memory(function, "x", x)
    channels = memory.shape[-1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    weight = optional(function, "weight", weight, (channels,))
    bias = optional(function, "bias", bias, (channels,))
    eps = epsilon(function, eps)
    y, target = map_target(function, out, x, mean, var, weight, bias)
    rows = (1, math.prod(memory.shape[:-1]), channels)
    _native.norm_inference(
        memory.reshape(rows), mean[None], var[None], weight, bias, eps, target.reshape(rows), context()
    )
    return returned(y, out)


def batch_norm_training(x, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): batch norm with the mean and biased variance of x itself, over all axes but the channel's.

    x (N, C, *sizes) or (N, C) -> y of x's shape, mean (C,), var (C,). ValueError for an x without rows: it has no mean.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.batch_norm_training(np.array([[1], [3]], np.float32), eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    results = _native.map_norm(x, BATCH, None, weight, bias, eps, None, context())
    if results is not NotImplemented:
        return results
    function = "batch_norm_training"
    memory = map_memory(function, "x", x)
    channels = memory.shape[-1]
    y, mean, var = _training(function, x, memory, 1, channels, weight, bias, eps, None)
    return y, mean[0], var[0]


def batch_norm_backward(dy, x, mean, var, weight=None, *, eps=1e-5):
    """(dx, dweight, dbias) of `batch_norm_training`: mean and var are what it returned for x.

    With xhat = (x - mean) / sqrt(var + eps), sums and means over all axes but the channel's:
    dbias = sum(dy), dweight = sum(dy * xhat), dx = weight / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat)).
    dy, x (N, C, *sizes) or (N, C); mean, var, weight (C,) -> dx of x's shape, dweight (C,), dbias (C,).

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[1], [3]], np.float32)
    >>> y, mean, var = ops.batch_norm_training(x)
    >>> ops.batch_norm_backward(np.ones_like(x), x, mean, var)[2].tolist()
    [2.0]
    """
    gradients = _native.map_norm_gradients(dy, x, mean, var, BATCH, None, weight, eps, context())
    if gradients is not NotImplemented:
        return gradients
    function = "batch_norm_backward"
    memory = map_memory(function, "x", x)
    channels = memory.shape[-1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    return _backward(function, dy, x, memory, 1, mean[None], var[None], weight, eps)


def _training(function, x, memory, images, groups, weight, bias, eps, out, width=None):
    """(y, mean, var) of the channels-last memory of x taken as so many images, the statistics (images, groups)."""
    channels = memory.shape[-1]
    weight = optional(function, "weight", weight, (channels,))
    bias = optional(function, "bias", bias, (channels,))
    eps = epsilon(function, eps)
    if memory.size == 0 and channels and images:
        raise ValueError(f"{function}: x has shape {x.shape}: must have at least one value per channel")
    y, target = map_target(function, out, x, weight, bias)
    mean, var = np.empty((images, groups), np.float32), np.empty((images, groups), np.float32)
    rows = (images, math.prod(memory.shape[:-1]) // max(images, 1), channels)
    if memory.size:
        _native.norm_training(
            memory.reshape(rows), groups, weight, bias, eps, target.reshape(rows), mean, var, context()
        )
    return returned(y, out), mean, var


def _backward(function, dy, x, memory, images, mean, var, weight, eps):
    channels = memory.shape[-1]
    gradient = map_memory(function, "dy", of_shape(function, "dy", dy, x.shape))
    weight = optional(function, "weight", weight, (channels,))
    eps = epsilon(function, eps)
    dx, target = image_target(function, None, x.shape)
    dweight, dbias = np.empty(channels, np.float32), np.empty(channels, np.float32)
    rows = (images, math.prod(memory.shape[:-1]) // max(images, 1), channels)
    _native.norm_backward(
        gradient.reshape(rows), memory.reshape(rows), mean, var, weight, eps, target.reshape(rows), dweight, dbias,
        context(),
    )  # fmt: skip
    return dx, dweight, dbias


def _groups(function, num_groups, channels):
    num_groups = integer(function, "num_groups", num_groups, 1)
    if channels % num_groups:
        raise ValueError(f"{function}: num_groups={num_groups}: must divide the {channels} channels of x")
    return num_groups


def group_norm(x, num_groups, weight=None, bias=None, *, eps=1e-5, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c], statistics by image and group (Wu & He 2018).

    A group is C / num_groups neighbouring channels over all sizes. x (N, C, *sizes); weight, bias (C,) or None.

    >>> import numpy as np; from fastconv import ops
    >>> ops.group_norm(np.array([[[1, 3], [2, 6]]], np.float32), 2, eps=0.0).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    results = _native.map_norm(x, GROUP, num_groups, weight, bias, eps, out, context())
    if results is not NotImplemented:
        return results[0]
    function = "group_norm"
    memory = map_memory(function, "x", x)
    groups = _groups(function, num_groups, memory.shape[-1])
    return _training(function, x, memory, x.shape[0], groups, weight, bias, eps, out)[0]


def group_norm_training(x, num_groups, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): `group_norm`, and the mean and biased variance (N, num_groups) it took, for the backward.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.group_norm_training(np.array([[[1, 3], [2, 6]]], np.float32), 2)
    >>> mean.tolist(), var.tolist()
    ([[2.0, 4.0]], [[1.0, 4.0]])
    """
    results = _native.map_norm(x, GROUP, num_groups, weight, bias, eps, None, context())
    if results is not NotImplemented:
        return results
    function = "group_norm_training"
    memory = map_memory(function, "x", x)
    groups = _groups(function, num_groups, memory.shape[-1])
    return _training(function, x, memory, x.shape[0], groups, weight, bias, eps, None)


def group_norm_backward(dy, x, mean, var, num_groups, weight=None, *, eps=1e-5):
    """(dx, dweight, dbias) of `group_norm_training`: mean and var are what it returned for x.

    With xhat = (x - mean) / sqrt(var + eps), g = weight * dy and means over the values of a group:
    dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps); dbias = sum(dy), dweight = sum(dy * xhat) over images
    and sizes. dy, x (N, C, *sizes); mean, var (N, num_groups); weight (C,) -> dx of x's shape, dweight and dbias (C,).

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[1, 3], [2, 6]]], np.float32)
    >>> y, mean, var = ops.group_norm_training(x, 2)
    >>> ops.group_norm_backward(np.ones_like(x), x, mean, var, 2)[2].tolist()
    [2.0, 2.0]
    """
    gradients = _native.map_norm_gradients(dy, x, mean, var, GROUP, num_groups, weight, eps, context())
    if gradients is not NotImplemented:
        return gradients
    function = "group_norm_backward"
    memory = map_memory(function, "x", x)
    groups = _groups(function, num_groups, memory.shape[-1])
    mean = shaped(function, "mean", mean, (x.shape[0], groups))
    var = shaped(function, "var", var, (x.shape[0], groups))
    return _backward(function, dy, x, memory, x.shape[0], mean, var, weight, eps)


def instance_norm(x, weight=None, bias=None, *, eps=1e-5, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c], statistics by image and channel (Ulyanov et al. 2016).

    x (N, C, *sizes) with at least one size; weight, bias (C,) or None. With running statistics it is `batch_norm`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.instance_norm(np.array([[[1, 3], [2, 6]]], np.float32), eps=0.0).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    results = _native.map_norm(x, INSTANCE, None, weight, bias, eps, out, context())
    if results is not NotImplemented:
        return results[0]
    function = "instance_norm"
    memory = map_memory(function, "x", x, 1)
    return _training(function, x, memory, *x.shape[:2], weight, bias, eps, out)[0]


def instance_norm_training(x, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): `instance_norm`, and the mean and biased variance (N, C) it took, for `instance_norm_backward`.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.instance_norm_training(np.array([[[1, 3], [2, 6]]], np.float32))
    >>> mean.tolist(), var.tolist()
    ([[2.0, 4.0]], [[1.0, 4.0]])
    """
    results = _native.map_norm(x, INSTANCE, None, weight, bias, eps, None, context())
    if results is not NotImplemented:
        return results
    function = "instance_norm_training"
    memory = map_memory(function, "x", x, 1)
    return _training(function, x, memory, *x.shape[:2], weight, bias, eps, None)


def instance_norm_backward(dy, x, mean, var, weight=None, *, eps=1e-5):
    """(dx, dweight, dbias) of `instance_norm_training`: mean and var (N, C) are what it returned for x.

    Formulas: see `group_norm_backward`, with a group a channel.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[1, 3], [2, 6]]], np.float32)
    >>> y, mean, var = ops.instance_norm_training(x)
    >>> ops.instance_norm_backward(np.ones_like(x), x, mean, var)[2].tolist()
    [2.0, 2.0]
    """
    gradients = _native.map_norm_gradients(dy, x, mean, var, INSTANCE, None, weight, eps, context())
    if gradients is not NotImplemented:
        return gradients
    function = "instance_norm_backward"
    memory = map_memory(function, "x", x, 1)
    mean = shaped(function, "mean", mean, x.shape[:2])
    var = shaped(function, "var", var, x.shape[:2])
    return _backward(function, dy, x, memory, x.shape[0], mean, var, weight, eps)
