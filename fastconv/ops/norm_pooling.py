"""Power-average pooling, forward and backward: the norm of each window."""

import math

import numpy as np

from fastconv.ops import _pooling
from fastconv.ops._arrays import number, of_shape

__all__ = ["lp_pool2d", "lp_pool2d_backward"]


def _exponent(function, norm_type):
    exponent = number(function, "norm_type", norm_type)
    if not exponent > 0:
        raise ValueError(f"{function}: norm_type={norm_type!r}: must be > 0")
    return exponent


def _power(x, exponent):
    if exponent == 1:
        return x
    with np.errstate(all="ignore"):
        return np.square(x) if exponent == 2 else np.power(x, np.float32(exponent))


def _norms(function, plan, x, exponent):
    """y, and the number of taps of a whole window."""
    sums = _pooling.avg_forward(function, plan, _power(x, exponent), None)
    sums *= np.float32(plan.kernel_size[0] * plan.kernel_size[1])
    with np.errstate(all="ignore"):
        return np.sqrt(sums) if exponent == 2 else _power(sums, 1 / exponent)


def lp_pool2d(x, norm_type, kernel_size, *, stride=None, ceil_mode=False, out=None):
    """The p-norm of each window, p = norm_type: x (N, C, H, W) -> (N, C, P, Q), as torch.nn.functional.lp_pool2d.

    y = (sum of x**p)**(1/p), without absolute values, as in PyTorch: with odd p a negative sum gives NaN. A window
    that ceil_mode lets hang over the end is scaled to a whole one. p > 0; p = inf is the maximum. Geometry: that of
    `max_pool2d`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.lp_pool2d(np.array([[[[3, 4]]]], np.float32), 2, (1, 2)).tolist()
    [[[[5.0]]]]
    """
    x, shape = _pooling.image("lp_pool2d", x)
    exponent = _exponent("lp_pool2d", norm_type)
    plan = _pooling.plan("lp_pool2d", shape, kernel_size, stride, 0, 1, ceil_mode)
    _pooling.check_target("lp_pool2d", out, plan.y_shape)
    if math.isinf(exponent):
        return _pooling.max_forward("lp_pool2d", plan, x, False, out)
    return _pooling.delivered(out, _norms("lp_pool2d", plan, x, exponent))


def lp_pool2d_backward(dy, x, norm_type, kernel_size, *, stride=None, ceil_mode=False, out=None):
    """dx (N, C, H, W) of `lp_pool2d`: x**(p - 1) times the sum of dy * y**(1 - p) over the windows of a position.

    Where y is 0, that window's gradient is 0 (PyTorch gives NaN). p = inf: as `max_pool2d`.

    >>> import numpy as np; from fastconv import ops
    >>> x = np.array([[[[3, 4]]]], np.float32)
    >>> ops.lp_pool2d_backward(np.full((1, 1, 1, 1), 5, np.float32), x, 2, (1, 2)).tolist()
    [[[[3.0, 4.0]]]]
    """
    function = "lp_pool2d_backward"
    x, shape = _pooling.image(function, x)
    exponent = _exponent(function, norm_type)
    plan = _pooling.plan(function, shape, kernel_size, stride, 0, 1, ceil_mode)
    of_shape(function, "dy", dy, plan.y_shape)
    _pooling.check_target(function, out, shape)
    if math.isinf(exponent):
        _, indices = _pooling.max_forward(function, plan, x, True, None)
        return _pooling.max_backward(function, plan, dy, indices, shape, out, trusted=True)
    y = _norms(function, plan, x, exponent)
    with np.errstate(all="ignore"):
        share = np.where(y == 0, np.float32(0), dy * _power(y, 1 - exponent))
        share *= np.float32(plan.kernel_size[0] * plan.kernel_size[1])
        dx = _pooling.avg_backward(function, plan, share, shape, None)
        if exponent != 1:
            dx *= _power(x, exponent - 1)
    return _pooling.delivered(out, dx)
