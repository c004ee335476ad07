"""What the pooling ops share: plans by geometry, and the calls of the binding."""

from functools import lru_cache

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, check_out, extents, image_target, integer, map_of_shape, nhwc, pads, pair, sizes
from fastconv.runtime import context

_cached_plan = lru_cache(maxsize=1024)(_native.Pool2dPlan)


def plan(function, x_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=True,
         divisor_override=None):  # fmt: skip
    """The plan of this geometry. Normalised before it is looked up: to a cache 2.0 and True are 2 and 1."""
    kernel = pair(function, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(function, "stride", stride, 1)
    taps = pair(function, "dilation", dilation, 1)
    flags = bool(ceil_mode), bool(count_include_pad)
    divisor = 0 if divisor_override is None else integer(function, "divisor_override", divisor_override, 1)
    return _cached_plan(function, x_shape, kernel, steps, pads(function, padding), taps, *flags, divisor)


def plane_plan(function, x_shape):
    """The plan of one window that is the whole plane."""
    if min(x_shape[2:]) < 1:
        raise ValueError(f"{function}: x_shape={tuple(x_shape)}: height and width must be >= 1")
    return plan(function, x_shape, x_shape[2:])


def adaptive_plan(function, x_shape, output_size):
    """The plan of windows that follow from the sizes; output_size: an int, or (height, width), None for the same."""
    pair_given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    if len(pair_given) != 2:
        rule = "must be an integer or (height, width), where None keeps the size"
        raise ValueError(f"{function}: output_size={output_size!r}: {rule}")
    given = [size if wanted is None else wanted for wanted, size in zip(pair_given, x_shape[2:], strict=True)]
    if min(x_shape[2:]) < 1:
        raise ValueError(f"{function}: x_shape={tuple(x_shape)}: height and width must be >= 1")
    size = extents(function, "output_size", given, 1, 2)
    return _cached_plan(function, x_shape, (1, 1), (1, 1), (0,) * 4, (1, 1), False, True, 0, size)


def delivered(out, y):
    """`out` with the result y, which may lie in it already; y itself where there is no out."""
    if out is None or y is out:
        return y
    out[...] = y
    return out


def max_forward(function, plan, x, return_indices, out):
    """y, or (y, indices)."""
    y, memory = image_target(function, out, plan.y_shape, x)
    indices = np.empty(memory.shape, np.int32) if return_indices else None
    plan.max_forward(nhwc(x), memory, indices, context())
    y = delivered(out, y)
    return (y, indices.transpose(0, 3, 1, 2)) if return_indices else y


def checked_indices(function, indices, shape):
    """The memory of int32 indices of exactly this shape (N, C, P, Q), channels last."""
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int32:
        kind = indices.dtype if isinstance(indices, np.ndarray) else type(indices).__name__
        raise TypeError(f"{function}: indices is {kind}: must be a NumPy array of int32, as max_pool2d returns it")
    if indices.shape != shape:
        raise ValueError(f"{function}: indices has shape {indices.shape}: must be {shape}")
    # The layout kernel moves 32-bit elements, whatever they mean.
    return nhwc(indices.view(np.float32)).view(np.int32)


def max_backward(function, plan, dy, indices, x_shape, out=None, trusted=False):
    """trusted: the indices are max_forward's own, and need no check that each lies in its window."""
    gradient = map_of_shape(function, "dy", dy, plan.y_shape)
    chosen = checked_indices(function, indices, plan.y_shape)
    dx, memory = image_target(function, out, x_shape, dy, indices)
    if not plan.max_backward(gradient, chosen, memory, not trusted, context()):
        raise ValueError(f"{function}: indices: every index must be a position h * W + w in its own window")
    return delivered(out, dx)


def avg_forward(function, plan, x, out):
    y, memory = image_target(function, out, plan.y_shape, x)
    plan.avg_forward(nhwc(x), memory, context())
    return delivered(out, y)


def avg_backward(function, plan, dy, x_shape, out):
    gradient = map_of_shape(function, "dy", dy, plan.y_shape)
    dx, memory = image_target(function, out, x_shape, dy)
    plan.avg_backward(gradient, memory, context())
    return delivered(out, dx)


def image_array(function, name, value, ndim=4):
    """A float32 array of this many dimensions."""
    return array(function, name, value, ndim)


def image(function, x):
    """(x, shape) of images (N, C, H, W)."""
    return array(function, "x", x, 4), x.shape


def check_target(function, out, shape):
    """Refuse a wrong out before anything is computed."""
    if out is not None:
        check_out(function, out, shape)


def image_shape(function, x_shape):
    return sizes(function, "x_shape", x_shape, 4)
