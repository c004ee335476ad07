"""Activations with a second operand: PReLU, whose slope is learned, and gated linear units.

Arrays are float32 of any memory order; results are in the order of x. `out=` receives the result and may be x.
TypeError for another dtype, ValueError for another shape.
"""

import math
import operator

from fastconv import _native
from fastconv.ops._arrays import array, contiguous, dense, like, of_shape, returned
from fastconv.ops._broadcast import combine, in_order, is_last, summed_to, target
from fastconv.runtime import context

__all__ = ["prelu", "prelu_backward", "glu", "glu_backward"]


def _slopes(function, x, weight):
    """weight (1,) or (C,), with an axis for each of x from the channels on."""
    array(function, "x", x)
    array(function, "weight", weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape not in ((1,), (channels,)):
        rule = f"must be (1,) or ({channels},), one for each channel (axis 1 of x)"
        raise ValueError(f"{function}: weight has shape {weight.shape}: {rule}")
    return contiguous(weight).reshape(-1, *(1,) * (x.ndim - 2))


def prelu(x, weight, *, out=None):
    """y = x where x > 0, else weight[c] * x (He et al. 2015); c is the channel, axis 1 of x.

    x of any shape, as (N, C), (N, C, L) or (N, C, H, W); weight (C,) or (1,) -> y of x's shape and order.

    >>> import numpy as np; from fastconv import ops
    >>> ops.prelu(np.array([[-4, -4, 2]], np.float32), np.array([0.5, 0.25, 0], np.float32))
    array([[-2., -1.,  2.]], dtype=float32)
    """
    slopes = _slopes("prelu", x, weight)
    return combine("prelu", "prelu", x, slopes, out)


def prelu_backward(dy, x, weight):
    """(dx, dweight): dx = dy where x > 0, else weight[c] * dy; dweight[c] = the sum of dy * x where x <= 0.

    dy of x's shape; weight (C,) or (1,) -> dx of x's shape and order, dweight of weight's. Bits do not depend on the
    number of threads.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.array([[-4, 2], [-1, 3]], np.float32), np.array([0.5, 0.5], np.float32)
    >>> dx, dweight = ops.prelu_backward(np.ones((2, 2), np.float32), x, weight)
    >>> dx.tolist(), dweight.tolist()
    ([[0.5, 1.0], [0.5, 1.0]], [-5.0, 0.0])
    """
    function = "prelu_backward"
    slopes = _slopes(function, x, weight)
    x = dense(x)
    dy = like(function, "dy", dy, x)
    dweight = summed_to(slopes.shape, dy, x, "negative").reshape(weight.shape)
    return combine(function, "prelu_backward", dy, slopes, gate=x), dweight


def _split(function, x, axis):
    """(sizes of y, is_last, x as (outer, 2, inner)): the halves of `axis`, in memory order, without a copy."""
    array(function, "x", x)
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis={axis!r}: must be an integer") from None
    if not -x.ndim <= number < x.ndim:
        raise ValueError(f"{function}: axis={axis!r}: must be in [{-x.ndim}, {x.ndim}), x having shape {x.shape}")
    number %= x.ndim
    if x.shape[number] % 2:
        raise ValueError(f"{function}: x has shape {x.shape}: must be even along axis {number}, which is halved")
    shape = tuple(size // 2 if i == number else size for i, size in enumerate(x.shape))
    x = dense(x)
    last = is_last(x)
    order = (0, *range(2, x.ndim), 1) if last else tuple(range(x.ndim))
    place = order.index(number)
    outer = math.prod(x.shape[i] for i in order[:place])
    inner = math.prod(shape[i] for i in order[place:])
    return shape, last, in_order(x, x.ndim, last).reshape(outer, 2, inner)


def glu(x, axis=-1, *, out=None):
    """y = a * sigmoid(b), a and b the first and second half of x along `axis` (Dauphin et al. 2017).

    x of any shape, even along `axis` -> y of x's order, half as long along `axis`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.glu(np.array([[3, 5, 0, 100]], np.float32))
    array([[1.5, 5. ]], dtype=float32)
    """
    shape, last, halves = _split("glu", x, axis)
    y, memory = target("glu", out, shape, last, (halves,))
    _native.glu_forward(halves, memory.reshape(halves.shape[0], halves.shape[2]), context())
    return returned(y, out)


def glu_backward(dy, x, axis=-1, *, out=None):
    """dx: dy * s in the first half along `axis` and dy * a * s * (1 - s) in the second, s = sigmoid(b).

    dy of the shape of y; x as of `glu` -> dx of x's shape and order.

    >>> import numpy as np; from fastconv import ops
    >>> ops.glu_backward(np.ones((1, 1), np.float32), np.array([[2, 0]], np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """
    function = "glu_backward"
    shape, last, halves = _split(function, x, axis)
    dy = in_order(of_shape(function, "dy", dy, shape), len(shape), last)
    dx, memory = target(function, out, x.shape, last, (dy, halves))
    _native.glu_backward(dy.reshape(halves.shape[0], halves.shape[2]), halves, memory.reshape(halves.shape), context())
    return returned(dx, out)
