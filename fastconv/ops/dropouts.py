"""Dropout, forward and backward (Srivastava et al. 2014).

Random numbers are those of xoshiro128++ generators that a key starts, 128 bits drawn from the caller's Generator: the
same calls with the same Generator give the same masks, on any number of threads and any instruction set, and the
Generator is as far on after a call whatever the size of x. Probabilities are multiples of 2**-32.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, channels_last, dense, flat, nhwc, number, of_shape, output
from fastconv.runtime import context

__all__ = ["dropout", "dropout_backward"]


def _probability(function, p):
    p = number(function, "p", p)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{function}: p={p!r}: must be in [0, 1]")
    return p


def _scale(p):
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


def dropout(x, p, rng, *, out=None):
    """(y, mask): each element is dropped with probability p; mask is True where it is kept.

    y = x / (1 - p) where mask, else x * 0, so that NaN and Inf stay visible. y is float32 and mask bool, both of the
    shape of x and in its memory order. p is rounded to a multiple of 2**-32.

    rng: a numpy.random.Generator; 16 bytes are drawn from it. out: an array to write y to, which may be x.
    TypeError for a wrong type or dtype, ValueError for p outside [0, 1].

    >>> import numpy as np; from fastconv import ops
    >>> y, mask = ops.dropout(np.ones((4, 8), np.float32), 0.5, np.random.default_rng(0))
    >>> bool((y == 2.0 * mask).all()), mask.dtype, mask.shape
    (True, dtype('bool'), (4, 8))
    """
    array("dropout", "x", x)
    p = _probability("dropout", p)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"dropout: rng is {type(rng).__name__}: must be a numpy.random.Generator")
    source = dense(x)
    y, target = output("dropout", out, source)
    mask = np.empty_like(source, np.bool_)
    words = rng.bytes(16)
    least = round(p * 2.0**32)
    if least in (0, 2**32):
        mask[...] = least == 0
        with np.errstate(invalid="ignore"):
            np.multiply(source, np.float32(least == 0), out=target)
    else:
        key = int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little")
        _native.dropout_forward(flat(source), flat(target), flat(mask), key, least, _scale(p), context())
    if target is not y:
        y[...] = target
    return y, mask


def dropout_backward(dy, mask, p, *, out=None):
    """The gradient of `dropout`: dx = dy / (1 - p) where mask, else dy * 0; dy and mask (of `dropout`) of one shape.

    >>> import numpy as np; from fastconv import ops
    >>> ops.dropout_backward(np.ones(3, np.float32), np.array([True, False, True]), 0.75).tolist()
    [4.0, 0.0, 4.0]
    """
    function = "dropout_backward"
    array(function, "dy", dy)
    p = _probability(function, p)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"{function}: mask is {kind}: must be a NumPy array of bool, as dropout returns it")
    of_shape(function, "dy", dy, mask.shape)
    mask = mask if _dense_order(mask) else np.ascontiguousarray(mask)
    gradient = _in_order_of(mask, dy)
    dx, target = output(function, out, gradient)
    if out is not None and np.may_share_memory(out, mask):
        target = np.empty_like(gradient)
    _native.dropout_backward(flat(gradient), flat(mask), flat(target), _scale(p), context())
    if target is not dx:
        dx[...] = target
    return dx


def _dense_order(mask):
    return mask.flags.c_contiguous or (mask.ndim > 2 and channels_last(mask).flags.c_contiguous)


def _in_order_of(mask, dy):
    """dy, dense and in the memory order of the mask."""
    if mask.flags.c_contiguous:
        return dy if dy.flags.c_contiguous and dy.flags.aligned else np.array(dy, order="C", copy=True)
    return nhwc(dy).transpose(0, -1, *range(1, dy.ndim - 1))
