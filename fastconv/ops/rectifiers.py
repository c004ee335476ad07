"""Activations of straight pieces. Formulas, names and values at the kinks are those of torch.nn.functional.

Every function takes float32 arrays of any shape and memory order and returns an array of the same shape and order.
`out=` receives the result and may be an input itself. The backward of f is `f_backward(dy, x)`: dy is the gradient with
respect to y. TypeError for another dtype, ValueError for another shape.
"""

from fastconv.ops._fused import broken_rule
from fastconv.ops.activations import _backward, _forward, _number

_NAMES = ("relu", "relu6", "leaky_relu", "threshold", "hardtanh", "hardsigmoid", "hardswish")

__all__ = [*_NAMES, *[f"{name}_backward" for name in _NAMES]]


def relu(x, *, out=None):
    """y = max(x, 0); NaN stays NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.relu(np.array([-1, 0, 2], np.float32))
    array([0., 0., 2.], dtype=float32)
    """
    return _forward("relu", x, out)


def relu_backward(dy, x, *, out=None):
    """dx = dy where x > 0, else 0 (also at x = 0).

    >>> import numpy as np; from fastconv import ops
    >>> ops.relu_backward(np.ones(3, np.float32), np.array([-1, 0, 2], np.float32))
    array([0., 0., 1.], dtype=float32)
    """
    return _backward("relu_backward", dy, x, out)


def relu6(x, *, out=None):
    """y = min(max(x, 0), 6) (Krizhevsky 2010).

    >>> import numpy as np; from fastconv import ops
    >>> ops.relu6(np.array([-1, 2, 7], np.float32))
    array([0., 2., 6.], dtype=float32)
    """
    return _forward("relu6", x, out)


def relu6_backward(dy, x, *, out=None):
    """dx = dy where 0 < x < 6, else 0.

    >>> import numpy as np; from fastconv import ops
    >>> ops.relu6_backward(np.ones(3, np.float32), np.array([-1, 2, 7], np.float32))
    array([0., 1., 0.], dtype=float32)
    """
    return _backward("relu6_backward", dy, x, out)


def leaky_relu(x, negative_slope=0.01, *, out=None):
    """y = x where x > 0, else negative_slope * x (Maas et al. 2013). The slope may be any number.

    >>> import numpy as np; from fastconv import ops
    >>> ops.leaky_relu(np.array([-4, 2], np.float32), 0.5)
    array([-2.,  2.], dtype=float32)
    """
    return _forward("leaky_relu", x, out, _number("leaky_relu", "negative_slope", negative_slope))


def leaky_relu_backward(dy, x, negative_slope=0.01, *, out=None):
    """dx = dy where x > 0, else negative_slope * dy.

    >>> import numpy as np; from fastconv import ops
    >>> ops.leaky_relu_backward(np.ones(2, np.float32), np.array([-4, 2], np.float32), 0.5)
    array([0.5, 1. ], dtype=float32)
    """
    slope = _number("leaky_relu_backward", "negative_slope", negative_slope)
    return _backward("leaky_relu_backward", dy, x, out, slope)


def hardsigmoid(x, *, out=None):
    """y = clamp(x / 6 + 1 / 2, 0, 1), of MobileNetV3 (Howard et al. 2019).

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardsigmoid(np.array([-4, 0, 4], np.float32))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _forward("hardsigmoid", x, out)


def hardsigmoid_backward(dy, x, *, out=None):
    """dx = dy / 6 where -3 < x < 3, else 0.

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardsigmoid_backward(np.full(2, 6, np.float32), np.array([0, 3], np.float32))
    array([1., 0.], dtype=float32)
    """
    return _backward("hardsigmoid_backward", dy, x, out)


def hardswish(x, *, out=None):
    """y = x * clamp(x / 6 + 1 / 2, 0, 1), of MobileNetV3 (Howard et al. 2019).

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardswish(np.array([-3, 0, 3], np.float32)) + 0
    array([0., 0., 3.], dtype=float32)
    """
    return _forward("hardswish", x, out)


def hardswish_backward(dy, x, *, out=None):
    """dx = dy * (x / 3 + 1 / 2) where -3 < x < 3; below it 0, above it dy.

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardswish_backward(np.ones(3, np.float32), np.array([-3, 0, 3], np.float32))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _backward("hardswish_backward", dy, x, out)


def _hardtanh_limits(function, min_val, max_val):
    limits = _number(function, "min_val", min_val), _number(function, "max_val", max_val)
    if broken := broken_rule("hardtanh", limits):
        raise ValueError(f"{function}: min_val={min_val!r}, max_val={max_val!r}: {broken}")
    return limits


def hardtanh(x, min_val=-1.0, max_val=1.0, *, out=None):
    """y = min(max(x, min_val), max_val) (Collobert 2004); min_val <= max_val. NaN stays NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardtanh(np.array([-3, 0.5, 3], np.float32), -2, 1)
    array([-2. ,  0.5,  1. ], dtype=float32)
    """
    return _forward("hardtanh", x, out, *_hardtanh_limits("hardtanh", min_val, max_val))


def hardtanh_backward(dy, x, min_val=-1.0, max_val=1.0, *, out=None):
    """dx = dy where min_val < x < max_val, else 0.

    >>> import numpy as np; from fastconv import ops
    >>> ops.hardtanh_backward(np.ones(3, np.float32), np.array([-3, 0.5, 1], np.float32))
    array([0., 1., 0.], dtype=float32)
    """
    return _backward("hardtanh_backward", dy, x, out, *_hardtanh_limits("hardtanh_backward", min_val, max_val))


def threshold(x, threshold, value, *, out=None):
    """y = x where x > threshold, else value. NaN stays NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.threshold(np.array([-1, 0.5, 2], np.float32), 0.5, -9)
    array([-9., -9.,  2.], dtype=float32)
    """
    function = "threshold"
    return _forward(function, x, out, _number(function, "threshold", threshold), _number(function, "value", value))


def threshold_backward(dy, x, threshold, *, out=None):
    """dx = dy where x > threshold, else 0.

    >>> import numpy as np; from fastconv import ops
    >>> ops.threshold_backward(np.ones(3, np.float32), np.array([-1, 0.5, 2], np.float32), 0.5)
    array([0., 0., 1.], dtype=float32)
    """
    return _backward("threshold_backward", dy, x, out, _number("threshold_backward", "threshold", threshold))
