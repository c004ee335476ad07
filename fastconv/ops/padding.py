"""Borders around maps, forward and backward: constant, reflected, replicated or wrapped around.

x is (N, C, *sizes) with one, two or three spatial axes, in any memory order; results lie in (N, *sizes, C) memory.
    padding     an int, one an axis, or (before, after) an axis, as of a convolution: ((top, bottom), (left, right)).
                Every pad >= 0
    mode        "constant"   value, 0 by default
                "reflect"    mirrored at the first and last element, which are not repeated: pads < size
                "replicate"  the first and last element repeated
                "circular"   from the other end: pads <= size
The modes are those of torch.nn.functional.pad. TypeError for a wrong type or dtype, ValueError for sizes that do not
fit.
"""

import math
from functools import lru_cache

from fastconv import _native
from fastconv.ops._arrays import array, image_target, map_of_shape, nhwc, number, pads, returned, sizes
from fastconv.ops._map_geometry import lift, volume
from fastconv.runtime import context

__all__ = ["pad", "pad_backward"]


def _geometry(function, shape, padding, mode):
    """(pads, padded shape) of maps (N, C, *sizes)."""
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"{function}: x has shape {shape}: must have 3, 4 or 5 dimensions")
    if not isinstance(mode, str) or mode not in _native.PAD_MODES:
        raise ValueError(f"{function}: mode={mode!r}: must be one of {', '.join(_native.PAD_MODES)}")
    if min(shape[2:]) < 1:
        raise ValueError(f"{function}: x has shape {shape}: every size must be >= 1")
    rule, sides, padded = _padded(shape, pads(function, padding, len(shape) - 2), mode)
    if rule:
        raise ValueError(f"{function}: padding={padding!r}: {rule}")
    return sides, padded


@lru_cache(maxsize=1024)
def _padded(shape, sides, mode):
    """(the rule that is broken, or None; pads of three axes; padded shape)"""
    axes = list(zip(shape[2:], sides[::2], sides[1::2], strict=True))
    rule = None
    for size, before, after in axes:
        most = {"reflect": size - 1, "circular": size}.get(mode)
        if most is not None and max(before, after) > most:
            rule = f"{mode} pads of an axis of {size} must be {'<=' if mode == 'circular' else '<'} its size"
    padded = [sum(axis) for axis in axes]
    if math.prod(padded) * max(1, shape[0]) * max(1, shape[1]) >= 2**60:
        rule = "the sizes overflow 64 bits"
    return rule, lift(sides, 0, len(padded), 2), (*shape[:2], *padded)


def pad(x, *, padding, mode="constant", value=0.0, out=None):
    """x (N, C, *sizes) with a border -> y (N, C, *padded sizes), float32. For padding and mode see the module's text.

    value: that of a constant border. out: an array to write y to; it may share memory with x.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[1.0, 2.0, 3.0]]], np.float32)
    >>> ops.pad(x, padding=(1, 2), mode="reflect").tolist()
    [[[2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]]
    """
    usual = _native.padded(x, padding, mode, value, out, context())
    if usual is not NotImplemented:
        return usual
    array("pad", "x", x)
    value = number("pad", "value", value)
    sides, shape = _geometry("pad", x.shape, padding, mode)
    y, memory = image_target("pad", out, shape, x)
    _native.pad_forward(volume(nhwc(x)), volume(memory), sides, mode, value, context())
    return returned(y, out)


def pad_backward(dy, x_shape, *, padding, mode="constant", out=None):
    """The gradient of `pad` in x: dy (N, C, *padded sizes) -> dx x_shape. Each element sums dy over its copies.

    >>> import numpy as np; from fastconv import ops
    >>> ops.pad_backward(np.ones((1, 1, 6), np.float32), (1, 1, 3), padding=(1, 2), mode="reflect").tolist()
    [[[2.0, 3.0, 1.0]]]
    """
    function = "pad_backward"
    array(function, "dy", dy)
    x_shape = sizes(function, "x_shape", x_shape, dy.ndim)
    sides, shape = _geometry(function, x_shape, padding, mode)
    gradient = map_of_shape(function, "dy", dy, shape)
    dx, memory = image_target(function, out, x_shape, dy)
    _native.pad_backward(volume(gradient), volume(memory), sides, mode, context())
    return returned(dx, out)
