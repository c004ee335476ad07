"""Images and sequences of another size, forward and backward: nearest pixel, bilinear, bicubic.

x is (N, C, H, W), or (N, C, L) for sequences, in any memory order; results lie in memory with channels last.
    size            of the output: an int or one a spatial axis
    scale_factor    instead of size: a number or one an axis; sizes are floor(size * scale_factor), and coordinates are
                    computed with the factor itself, not with the ratio of the sizes
    mode            "nearest"        y[i] = x[floor(i * s)], s the size of a pixel of the output in pixels of the input
                    "nearest-exact"  y[i] = x[floor((i + 1/2) * s)]: the nearest centre
                    "bilinear"       ("linear" for sequences) between the centres of two pixels an axis
                    "bicubic"        of four pixels an axis, by Keys's kernel with a = -3/4; images alone
    align_corners   the centres of the corner pixels meet, not their corners; not with the nearest pixel
The rules are those of torch.nn.functional.interpolate without antialias, and coordinates are computed in float32 in the
same steps, so that the same pixels are chosen. (For the nearest pixel PyTorch disregards a factor like 2.3 that just
doubles an axis of 3, but in small or channels-last images alone; here it always holds.) At the border the last pixel is
repeated. A pixel's weight may be zero: an infinity there gives NaN.
TypeError for a wrong type or dtype, ValueError for sizes that do not fit.
"""

import math
from functools import lru_cache

from fastconv import _native
from fastconv.ops._arrays import (
    AXES,
    array,
    extents,
    hashable,
    image_target,
    map_of_shape,
    nhwc,
    number,
    returned,
    sizes,
)
from fastconv.runtime import context

__all__ = ["interpolate", "interpolate_backward"]

_MODES = {3: ("nearest", "nearest-exact", "linear"), 4: ("nearest", "nearest-exact", "bilinear", "bicubic")}


def _factors(function, value, rank):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{function}: scale_factor={value!r}: must be a number or {AXES[rank]}")
    factors = tuple(number(function, "scale_factor", factor) for factor in values)
    if not all(0 < factor < math.inf for factor in factors):
        raise ValueError(f"{function}: scale_factor={value!r}: every scale_factor must be > 0 and finite")
    return factors


@lru_cache(maxsize=1024, typed=True)
def _cached_plan(function, x_shape, size, scale_factor, mode, align_corners):
    if len(x_shape) not in _MODES:
        raise ValueError(f"{function}: x has shape {x_shape}: must have 3 or 4 dimensions")
    rank = len(x_shape) - 2
    if not isinstance(mode, str) or mode not in _MODES[rank + 2]:
        modes = ", ".join(_MODES[rank + 2])
        raise ValueError(f"{function}: mode={mode!r}: must be one of {modes} where x has {rank + 2} dimensions")
    if align_corners and mode.startswith("nearest"):
        raise ValueError(f"{function}: align_corners={align_corners!r}: is not for mode={mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{function}: size={size!r}, scale_factor={scale_factor!r}: must be one of them")
    if scale_factor is None:
        factors = (0.0,) * rank
        outputs = extents(function, "size", size, 1, rank)
    else:
        factors = _factors(function, scale_factor, rank)
        outputs = tuple(math.floor(side * factor) for side, factor in zip(x_shape[2:], factors, strict=True))
        if min(outputs) < 1:
            raise ValueError(f"{function}: scale_factor={scale_factor!r}: leaves an output of {outputs}")
    if min(x_shape[2:]) < 1:
        raise ValueError(f"{function}: x has shape {x_shape}: every size must be >= 1")
    if rank == 1:
        x_shape, outputs, factors = (*x_shape[:2], 1, x_shape[2]), (1, *outputs), (0.0, *factors)
    mode = {"linear": "bilinear"}.get(mode, mode)
    return _native.InterpolatePlan(function, x_shape, outputs, factors, mode, bool(align_corners))


def _plan(function, x_shape, size, scale_factor, mode, align_corners):
    """(plan of images, shape of y)"""
    arguments = hashable(size), hashable(scale_factor), mode, align_corners
    try:
        plan = _cached_plan(function, x_shape, *arguments)
    except TypeError:  # of a type that cannot be hashed: it is refused by its own rule
        plan = _cached_plan.__wrapped__(function, x_shape, *arguments)
    shape = plan.y_shape
    return plan, shape if len(x_shape) == 4 else (*shape[:2], shape[3])


def _images(memory):
    """Memory (N, L, C) as (N, 1, L, C)."""
    return memory if memory.ndim == 4 else memory.reshape(len(memory), 1, *memory.shape[1:])


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False, *, out=None):
    """x (N, C, H, W) or (N, C, L) in another size -> y (N, C, *size), float32, as torch.nn.functional.interpolate.

    y[n, c, p, q] = sum over h, w of A[p, h] * B[q, w] * x[n, c, h, w], where the rows of A and B have one, two or four
    elements that are not zero. For size, scale_factor, mode, align_corners and errors see the module's text.

    out: an array to write y to; it may share memory with x.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[0.0, 4.0, 8.0]]], np.float32)
    >>> ops.interpolate(x, 6).tolist(), ops.interpolate(x, scale_factor=2, mode="linear").tolist()
    ([[[0.0, 0.0, 4.0, 4.0, 8.0, 8.0]]], [[[0.0, 1.0, 3.0, 5.0, 7.0, 8.0]]])
    """
    array("interpolate", "x", x)
    plan, shape = _plan("interpolate", x.shape, size, scale_factor, mode, align_corners)
    usual = plan.interpolated(x, out, False, context())
    if usual is not NotImplemented:
        return usual
    y, memory = image_target("interpolate", out, shape, x)
    plan.forward(_images(nhwc(x)), _images(memory), context())
    return returned(y, out)


def interpolate_backward(dy, x_shape, size=None, scale_factor=None, mode="nearest", align_corners=False, *, out=None):
    """The gradient of `interpolate` in x: dy (N, C, *size) -> dx x_shape; the other arguments are those of the call.

    dx[n, c, h, w] = sum over p, q of A[p, h] * B[q, w] * dy[n, c, p, q], in ascending order of p and then of q.

    >>> import numpy as np; from fastconv import ops
    >>> ops.interpolate_backward(np.ones((1, 1, 6), np.float32), (1, 1, 3), scale_factor=2).tolist()
    [[[2.0, 2.0, 2.0]]]
    """
    function = "interpolate_backward"
    array(function, "dy", dy)
    x_shape = sizes(function, "x_shape", x_shape, dy.ndim)
    plan, shape = _plan(function, x_shape, size, scale_factor, mode, align_corners)
    usual = plan.interpolated(dy, out, True, context())
    if usual is not NotImplemented:
        return usual
    gradient = map_of_shape(function, "dy", dy, shape)
    dx, memory = image_target(function, out, x_shape, dy)
    plan.backward(_images(gradient), _images(memory), context())
    return returned(dx, out)
