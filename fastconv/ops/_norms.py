"""What the norms share: checks of their numbers, and maps as channels-last memory."""

import numpy as np

from fastconv.ops._arrays import array, contiguous, image_target, nhwc, number, shaped


def epsilon(function, eps):
    if type(eps) is not float:  # the check for a number takes as long as a row of 1000
        eps = number(function, "eps", eps)
    if not 0.0 <= eps < np.inf:
        raise ValueError(f"{function}: eps={eps!r}: must be >= 0 and finite")
    return eps


def optional(function, name, value, shape):
    """An operand of this shape, or None."""
    return None if value is None else shaped(function, name, value, shape)


def map_memory(function, name, x, sizes=0):
    """The memory (N, *sizes, C) of a float32 array (N, C, *sizes) with at least so many sizes."""
    array(function, name, x)
    if x.ndim < 2 + sizes:
        rule = "must be (N, C, *sizes)" + (" with at least one size" if sizes else "")
        raise ValueError(f"{function}: {name} has shape {x.shape}: {rule}")
    return contiguous(x) if x.ndim == 2 else nhwc(x)


def map_target(function, out, x, *operands):
    """(y, memory): `out` where a kernel can write to it, or a new array of the shape of x; memory is channels last.

    x itself may be overwritten: every kernel reads an element before it writes there, and the statistics before all."""
    if out is None:
        return image_target(function, None, x.shape)
    if out is not x:
        operands = (x, *operands)
    return image_target(function, out, x.shape, *operands)
