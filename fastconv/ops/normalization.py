"""Normalisation: batch, group, instance, layer and RMS norm, and local response norm. Names and values are PyTorch's.

Maps are (N, C, *sizes) in any memory order, with any number of spatial axes; results lie in (N, *sizes, C) memory.
Rows, of layer and RMS norm, lie in C order. Statistics, weight and bias are float32 as everything else. Variances are
biased, and come from sums about a shift or about the mean itself, never from a difference of large squares.

`x_training` returns what `x_backward` needs beside x: the mean and variance it took. `out=` receives the one result of
`x` and may be the input itself; functions that return several arrays have none.
"""

import math
import operator

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import (
    array,
    check_out,
    contiguous,
    empty,
    image_target,
    integer,
    nhwc,
    number,
    of_shape,
    shaped,
)
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
    "layer_norm",
    "layer_norm_training",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_training",
    "rms_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
]

FLOAT_EPS = float(np.finfo(np.float32).eps)


def _epsilon(function, eps):
    if type(eps) is not float:  # the check for a number takes as long as a row of 1000
        eps = number(function, "eps", eps)
    if not 0.0 <= eps < np.inf:
        raise ValueError(f"{function}: eps={eps!r}: must be >= 0 and finite")
    return eps


def _optional(function, name, value, shape):
    """An operand of this shape, or None."""
    return None if value is None else shaped(function, name, value, shape)


# --------------------------------------------------------------------------------------------- statistics over pixels


def _map(function, name, x, sizes=0):
    """The memory (N, *sizes, C) of a float32 array (N, C, *sizes) with at least so many sizes."""
    array(function, name, x)
    if x.ndim < 2 + sizes:
        rule = "must be (N, C, *sizes)" + (" with at least one size" if sizes else "")
        raise ValueError(f"{function}: {name} has shape {x.shape}: {rule}")
    return contiguous(x) if x.ndim == 2 else nhwc(x)


def _target(function, out, x, *operands):
    """(y, memory): `out` where a kernel can write to it, or a new array of the shape of x; memory is channels last.

    x itself may be overwritten: every kernel reads an element before it writes there, and the statistics before all."""
    if out is None:
        return image_target(function, None, x.shape)
    if out is not x:
        operands = (x, *operands)
    return image_target(function, out, x.shape, *operands)


def _given(out, y):
    """`out` with the result in it, or the result itself."""
    if out is None or y is out:
        return y
    out[...] = y
    return out


def batch_norm(x, mean, var, weight=None, bias=None, *, eps=1e-5, out=None):
    """y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c], the batch norm of inference (Ioffe & Szegedy 2015).

    x (N, C, *sizes) or (N, C); mean, var, weight, bias (C,); weight=None means 1, bias=None means 0.

    >>> import numpy as np; from fastconv import ops
    >>> x, mean, var = np.float32([[1], [3]]), np.float32([1]), np.float32([4])
    >>> ops.batch_norm(x, mean, var, eps=0.0).tolist()
    [[0.0], [1.0]]
    """
    function = "batch_norm"
    memory = _map(function, "x", x)
    channels = memory.shape[-1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    weight = _optional(function, "weight", weight, (channels,))
    bias = _optional(function, "bias", bias, (channels,))
    eps = _epsilon(function, eps)
    y, target = _target(function, out, x, mean, var, weight, bias)
    rows = (1, math.prod(memory.shape[:-1]), channels)
    _native.norm_inference(
        memory.reshape(rows), mean[None], var[None], weight, bias, eps, target.reshape(rows), context()
    )
    return _given(out, y)


def batch_norm_training(x, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): batch norm with the mean and biased variance of x itself, over all axes but the channel's.

    x (N, C, *sizes) or (N, C) -> y of x's shape, mean (C,), var (C,). ValueError for an x without rows: it has no mean.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.batch_norm_training(np.array([[1], [3]], np.float32), eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    function = "batch_norm_training"
    memory = _map(function, "x", x)
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
    function = "batch_norm_backward"
    memory = _map(function, "x", x)
    channels = memory.shape[-1]
    mean = shaped(function, "mean", mean, (channels,))
    var = shaped(function, "var", var, (channels,))
    return _backward(function, dy, x, memory, 1, mean[None], var[None], weight, eps)


def _training(function, x, memory, images, groups, weight, bias, eps, out, width=None):
    """(y, mean, var) of the channels-last memory of x taken as so many images, the statistics (images, groups)."""
    channels = memory.shape[-1]
    weight = _optional(function, "weight", weight, (channels,))
    bias = _optional(function, "bias", bias, (channels,))
    eps = _epsilon(function, eps)
    if memory.size == 0 and channels and images:
        raise ValueError(f"{function}: x has shape {x.shape}: must have at least one value per channel")
    y, target = _target(function, out, x, weight, bias)
    mean, var = np.empty((images, groups), np.float32), np.empty((images, groups), np.float32)
    rows = (images, math.prod(memory.shape[:-1]) // max(images, 1), channels)
    if memory.size:
        _native.norm_training(
            memory.reshape(rows), groups, weight, bias, eps, target.reshape(rows), mean, var, context()
        )
    return _given(out, y), mean, var


def _backward(function, dy, x, memory, images, mean, var, weight, eps):
    channels = memory.shape[-1]
    gradient = _map(function, "dy", of_shape(function, "dy", dy, x.shape))
    weight = _optional(function, "weight", weight, (channels,))
    eps = _epsilon(function, eps)
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
    function = "group_norm"
    memory = _map(function, "x", x)
    groups = _groups(function, num_groups, memory.shape[-1])
    return _training(function, x, memory, x.shape[0], groups, weight, bias, eps, out)[0]


def group_norm_training(x, num_groups, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): `group_norm`, and the mean and biased variance (N, num_groups) it took, for the backward.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.group_norm_training(np.array([[[1, 3], [2, 6]]], np.float32), 2)
    >>> mean.tolist(), var.tolist()
    ([[2.0, 4.0]], [[1.0, 4.0]])
    """
    function = "group_norm_training"
    memory = _map(function, "x", x)
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
    function = "group_norm_backward"
    memory = _map(function, "x", x)
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
    function = "instance_norm"
    memory = _map(function, "x", x, 1)
    return _training(function, x, memory, *x.shape[:2], weight, bias, eps, out)[0]


def instance_norm_training(x, weight=None, bias=None, *, eps=1e-5):
    """(y, mean, var): `instance_norm`, and the mean and biased variance (N, C) it took, for `instance_norm_backward`.

    >>> import numpy as np; from fastconv import ops
    >>> y, mean, var = ops.instance_norm_training(np.array([[[1, 3], [2, 6]]], np.float32))
    >>> mean.tolist(), var.tolist()
    ([[2.0, 4.0]], [[1.0, 4.0]])
    """
    function = "instance_norm_training"
    memory = _map(function, "x", x, 1)
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
    function = "instance_norm_backward"
    memory = _map(function, "x", x, 1)
    mean = shaped(function, "mean", mean, x.shape[:2])
    var = shaped(function, "var", var, x.shape[:2])
    return _backward(function, dy, x, memory, x.shape[0], mean, var, weight, eps)


# ----------------------------------------------------------------------------------------------- statistics over rows


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
    array(function, "x", x)
    shape, outer = _normalized(function, x, normalized_shape)
    weight = _optional(function, "weight", weight, shape)
    bias = _optional(function, "bias", bias, shape)
    eps = _epsilon(function, eps)
    columns, count = math.prod(shape), math.prod(outer)
    rows = _as((count, columns), contiguous(x))
    y, target = _row_target(function, out, x, rows, weight, bias)
    mean = np.empty(outer, np.float32) if keep and not rms else None
    var = np.empty(outer, np.float32) if keep else None
    if keep and count and not columns:
        raise ValueError(f"{function}: normalized_shape={normalized_shape!r}: must have at least one value")
    _native.layer_norm_forward(rms, rows, _flat(weight), _flat(bias), eps, target, _flat(mean), _flat(var), context())
    y = _given(out, y)
    return (y, mean, var) if keep else y


def _flat(value):
    return value if value is None or value.ndim == 1 else value.reshape(-1)


def _as(shape, value):
    return value if value.shape == shape else value.reshape(shape)


def _row_norm_backward(function, rms, dy, x, mean, var, normalized_shape, weight, eps):
    """(dx, dweight, dbias)"""
    array(function, "x", x)
    shape, outer = _normalized(function, x, normalized_shape)
    dy = shaped(function, "dy", dy, x.shape)
    mean = None if rms else shaped(function, "mean", mean, outer)
    var = shaped(function, "mean_square" if rms else "var", var, outer)
    weight = _optional(function, "weight", weight, shape)
    eps = _epsilon(function, eps)
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


# ------------------------------------------------------------------------------------------------------ local response


def _response(function, x, size, alpha, beta, k):
    """The channels-last memory of x as (pixels, C), and the numbers."""
    memory = _map(function, "x", x, 1)
    size = integer(function, "size", size, 1)
    if size > 2**31 - 1:
        raise ValueError(f"{function}: size={size}: must be < 2**31")
    numbers = tuple(number(function, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k)))
    return memory.reshape(math.prod(memory.shape[:-1]), memory.shape[-1]), size, *numbers


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, *, out=None):
    """y[c] = x[c] / d[c]^beta, d[c] = k + alpha / size * sum of x^2 over channels c - size // 2 to c + (size - 1) // 2.

    Krizhevsky, Sutskever & Hinton 2012 (AlexNet: size 5, alpha 5e-4, beta 0.75, k 2; there alpha is not divided by the
    size, so it is 5 * 1e-4 here). Channels beyond the borders count as zeros. x (N, C, *sizes) with at least one size.

    >>> import numpy as np; from fastconv import ops
    >>> ops.local_response_norm(np.array([[[2], [0]]], np.float32), 1, alpha=2.0, beta=1.0, k=0.5).tolist()
    [[[0.23529411852359772], [0.0]]]
    """
    function = "local_response_norm"
    pixels, *numbers = _response(function, x, size, alpha, beta, k)
    y, target = _target(function, out, x)
    _native.response_norm_forward(pixels, *numbers, target.reshape(pixels.shape), context())
    return _given(out, y)


def local_response_norm_backward(dy, x, size, alpha=1e-4, beta=0.75, k=1.0, *, out=None):
    """dx[c] = dy[c] d[c]^-beta - 2 alpha beta / size * x[c] * sum of dy[j] x[j] d[j]^(-beta - 1).

    The sum runs over the channels j whose window holds c. d and the other arguments: see `local_response_norm`; dy has
    the shape of x. out may be dy or x itself.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[2], [0]]], np.float32)
    >>> ops.local_response_norm_backward(np.ones_like(x), x, 1, alpha=2.0, beta=1.0, k=2.0).round(3).tolist()[0]
    [[-0.05999999865889549], [0.5]]
    """
    function = "local_response_norm_backward"
    pixels, *numbers = _response(function, x, size, alpha, beta, k)
    gradient = _map(function, "dy", of_shape(function, "dy", dy, x.shape)).reshape(pixels.shape)
    if out is dy and out is not x:
        dx, target = _target(function, out, dy, x)
    else:
        dx, target = _target(function, out, x, dy)
    _native.response_norm_backward(gradient, pixels, *numbers, target.reshape(pixels.shape), context())
    return _given(out, dx)
