"""Local response norm: maps (N, C, *sizes), with at least one size, in any memory order; see `normalization`."""

import math

from fastconv import _native
from fastconv.ops._arrays import integer, number, of_shape, returned
from fastconv.ops._norms import map_memory, map_target
from fastconv.runtime import context

__all__ = ["local_response_norm", "local_response_norm_backward"]


def _response(function, x, size, alpha, beta, k):
    """The channels-last memory of x as (pixels, C), and the numbers."""
    memory = map_memory(function, "x", x, 1)
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
    y, target = map_target(function, out, x)
    _native.response_norm_forward(pixels, *numbers, target.reshape(pixels.shape), context())
    return returned(y, out)


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
    gradient = map_memory(function, "dy", of_shape(function, "dy", dy, x.shape)).reshape(pixels.shape)
    if out is dy and out is not x:
        dx, target = map_target(function, out, dy, x)
    else:
        dx, target = map_target(function, out, x, dy)
    _native.response_norm_backward(gradient, pixels, *numbers, target.reshape(pixels.shape), context())
    return returned(dx, out)
