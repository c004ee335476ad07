"""Activations and softmax. Formulas, names and values at the kinks are those of torch.nn.functional.

Every function takes float32 arrays of any shape and memory order and returns an array of the same shape and order.
`out=` receives the result and may be an input itself. The backward of f is `f_backward(dy, saved)`: dy is the gradient
with respect to y, saved is y for sigmoid and tanh and x for all others. TypeError for another dtype, ValueError for
another shape.
"""

import math
import operator

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, dense, empty_like, flat, like, output
from fastconv.runtime import context

_PLAIN = ("relu", "relu6", "sigmoid", "tanh", "gelu", "silu", "hardswish", "hardsigmoid")
_WITH_PARAMETERS = ("leaky_relu", "elu", "softplus", "softmax", "log_softmax")

__all__ = [
    *_PLAIN,
    *_WITH_PARAMETERS,
    *[f"{name}_backward" for name in (*_PLAIN, *_WITH_PARAMETERS)],
]


def _forward(function, x, out, alpha=0.0, beta=0.0, kind=None):
    code = _native.ACTIVATIONS[kind or function]
    y = _native.activate(x, out, code, alpha, beta, context())
    if y is not NotImplemented:
        return y
    x = dense(array(function, "x", x))
    out, target = output(function, out, x)
    _native.activation_forward(flat(x), flat(target), code, alpha, beta, context())
    if target is not out:
        out[...] = target
    return out


def _backward_operands(function, dy, saved_name, saved, out):
    """(dy, saved, out, target) in one memory order; target overlaps neither operand, unless it is that operand."""
    saved = dense(array(function, saved_name, saved))
    dy = like(function, "dy", dy, saved)
    out, target = output(function, out, saved)
    if target is out and np.may_share_memory(out, dy) and out.ctypes.data != dy.ctypes.data:
        target = empty_like(saved)
    return dy, saved, out, target


def _backward(function, dy, saved, out, alpha=0.0, beta=0.0, kind=None, saved_name="x"):
    code = _native.ACTIVATIONS[kind or function.removesuffix("_backward")]
    dx = _native.activate_backward(dy, saved, out, code, alpha, beta, context())
    if dx is not NotImplemented:
        return dx
    dy, saved, out, target = _backward_operands(function, dy, saved_name, saved, out)
    _native.activation_backward(flat(dy), flat(saved), flat(target), code, alpha, beta, context())
    if target is not out:
        out[...] = target
    return out


def _number(function, name, value):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: {name}={value!r}: must be a number") from None


# -------------------------------------------------------------------------------------------------- piecewise linear


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


# ------------------------------------------------------------------------------------------------- with exponentials


def elu(x, alpha=1.0, *, out=None):
    """y = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2016).

    >>> import numpy as np; from fastconv import ops
    >>> ops.elu(np.array([-100, 2], np.float32))
    array([-1.,  2.], dtype=float32)
    """
    return _forward("elu", x, out, _number("elu", "alpha", alpha))


def elu_backward(dy, x, alpha=1.0, *, out=None):
    """dx = dy where x > 0, else dy * alpha * exp(x).

    >>> import numpy as np; from fastconv import ops
    >>> ops.elu_backward(np.ones(2, np.float32), np.array([0, 2], np.float32), 0.5)
    array([0.5, 1. ], dtype=float32)
    """
    return _backward("elu_backward", dy, x, out, _number("elu_backward", "alpha", alpha))


def sigmoid(x, *, out=None):
    """y = 1 / (1 + exp(-x)), within 4 ULP also where it is denormal.

    >>> import numpy as np; from fastconv import ops
    >>> ops.sigmoid(np.array([-1000, 0, 1000], np.float32))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _forward("sigmoid", x, out)


def sigmoid_backward(dy, y, *, out=None):
    """dx = dy * y * (1 - y); y is the result of `sigmoid`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.sigmoid_backward(np.ones(2, np.float32), np.array([0.5, 1], np.float32))
    array([0.25, 0.  ], dtype=float32)
    """
    return _backward("sigmoid_backward", dy, y, out, saved_name="y")


def tanh(x, *, out=None):
    """y = tanh(x), odd, within 4 ULP and [-1, 1].

    >>> import numpy as np; from fastconv import ops
    >>> ops.tanh(np.array([-np.inf, 0, np.inf], np.float32))
    array([-1.,  0.,  1.], dtype=float32)
    """
    return _forward("tanh", x, out)


def tanh_backward(dy, y, *, out=None):
    """dx = dy * (1 - y^2); y is the result of `tanh`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.tanh_backward(np.ones(2, np.float32), np.array([0.5, 1], np.float32))
    array([0.75, 0.  ], dtype=float32)
    """
    return _backward("tanh_backward", dy, y, out, saved_name="y")


def _gelu_kind(function, approximate):
    if approximate not in ("none", "tanh"):
        raise ValueError(f'{function}: approximate={approximate!r}: must be "none" or "tanh"')
    return "gelu" if approximate == "none" else "gelu_tanh"


def gelu(x, approximate="none", *, out=None):
    """y = x * Phi(x), Phi the standard normal distribution (Hendrycks & Gimpel 2016).

    approximate="tanh": y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))).

    >>> import numpy as np; from fastconv import ops
    >>> ops.gelu(np.array([0, 8], np.float32))
    array([0., 8.], dtype=float32)
    """
    return _forward("gelu", x, out, kind=_gelu_kind("gelu", approximate))


def gelu_backward(dy, x, approximate="none", *, out=None):
    """dx = dy * (Phi(x) + x * phi(x)), phi the normal density; or the derivative of the tanh form.

    >>> import numpy as np; from fastconv import ops
    >>> ops.gelu_backward(np.ones(2, np.float32), np.array([0, 8], np.float32))
    array([0.5, 1. ], dtype=float32)
    """
    return _backward("gelu_backward", dy, x, out, kind=_gelu_kind("gelu_backward", approximate))


def silu(x, *, out=None):
    """y = x * sigmoid(x), also known as swish (Elfwing et al. 2018).

    >>> import numpy as np; from fastconv import ops
    >>> ops.silu(np.array([0, 100], np.float32))
    array([  0., 100.], dtype=float32)
    """
    return _forward("silu", x, out)


def silu_backward(dy, x, *, out=None):
    """dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x).

    >>> import numpy as np; from fastconv import ops
    >>> ops.silu_backward(np.ones(2, np.float32), np.array([0, 100], np.float32))
    array([0.5, 1. ], dtype=float32)
    """
    return _backward("silu_backward", dy, x, out)


def _softplus_parameters(function, beta, threshold):
    beta, threshold = _number(function, "beta", beta), _number(function, "threshold", threshold)
    if np.float32(beta) == 0 or not math.isfinite(beta):
        raise ValueError(f"{function}: beta={beta!r}: must be finite and not 0")
    return beta, threshold


def softplus(x, beta=1.0, threshold=20.0, *, out=None):
    """y = log(1 + exp(beta * x)) / beta (Dugas et al. 2001), or x where beta * x > threshold.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softplus(np.array([-1000, 50], np.float32))
    array([ 0., 50.], dtype=float32)
    """
    return _forward("softplus", x, out, *_softplus_parameters("softplus", beta, threshold))


def softplus_backward(dy, x, beta=1.0, threshold=20.0, *, out=None):
    """dx = dy * sigmoid(beta * x), or dy where beta * x > threshold.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softplus_backward(np.ones(2, np.float32), np.array([0, 50], np.float32))
    array([0.5, 1. ], dtype=float32)
    """
    return _backward("softplus_backward", dy, x, out, *_softplus_parameters("softplus_backward", beta, threshold))


# ----------------------------------------------------------------------------------------------------------- softmax


def _axis(function, axis, ndim):
    """The axis as 0 ... ndim - 1; a number counts as an array of one element."""
    ndim = max(ndim, 1)
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis={axis!r}: must be an integer") from None
    if not -ndim <= number < ndim:
        raise ValueError(f"{function}: axis={axis!r}: must be in [{-ndim}, {ndim})")
    return number % ndim


def _rows(x, axis):
    """(matrix, is_view): x as (rows, columns) with `axis` as the columns; a copy where they are not contiguous."""
    moved = np.moveaxis(x, axis, -1) if x.ndim else x.reshape(1)
    columns = moved.shape[-1]
    rows = math.prod(moved.shape[:-1])
    if moved.flags.c_contiguous:
        return moved.reshape(rows, columns), True
    return np.array(moved, order="C").reshape(rows, columns), False


def _scatter(matrix, target, axis):
    """The inverse of `_rows`: writes the copy it made back."""
    moved = np.moveaxis(target, axis, -1)
    moved[...] = matrix.reshape(moved.shape)


def _softmax(function, x, axis, out, log):
    y = _native.softmax(x, axis, out, log, context())
    if y is not NotImplemented:
        return y
    x = dense(array(function, "x", x))
    axis = _axis(function, axis, x.ndim)
    out, target = output(function, out, x)
    matrix, is_view = _rows(x, axis)
    y = _rows(target, axis)[0] if is_view else matrix
    _native.softmax_forward(matrix, y, log, context())
    if not is_view:
        _scatter(y, target, axis)
    if target is not out:
        out[...] = target
    return out


def _softmax_backward(function, dy, y, axis, out, log):
    dx = _native.softmax_gradient(dy, y, axis, out, log, context())
    if dx is not NotImplemented:
        return dx
    dy, y, out, target = _backward_operands(function, dy, "y", y, out)
    axis = _axis(function, axis, y.ndim)
    dy_matrix, is_view = _rows(dy, axis)
    dx = _rows(target, axis)[0] if is_view else dy_matrix
    _native.softmax_backward(dy_matrix, _rows(y, axis)[0], dx, log, context())
    if not is_view:
        _scatter(dx, target, axis)
    if target is not out:
        out[...] = target
    return out


def softmax(x, axis=-1, *, out=None):
    """y = exp(x - max) / sum(exp(x - max)) along `axis`. A row with NaN or +inf becomes NaN.

    Fastest where `axis` is contiguous in memory: the last one, or the channels of (N, C, H, W) images in NHWC memory.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax(np.zeros((1, 4), np.float32))
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    return _softmax("softmax", x, axis, out, False)


def softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = y * (dy - sum(dy * y)) along `axis`; y is the result of `softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softmax_backward(np.array([[1, 0]], np.float32), np.array([[0.5, 0.5]], np.float32))
    array([[ 0.25, -0.25]], dtype=float32)
    """
    return _softmax_backward("softmax_backward", dy, y, axis, out, False)


def log_softmax(x, axis=-1, *, out=None):
    """y = x - max - log(sum(exp(x - max))) along `axis`. A row with NaN or +inf becomes NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax(np.array([[1000, 0]], np.float32))
    array([[    0., -1000.]], dtype=float32)
    """
    return _softmax("log_softmax", x, axis, out, True)


def log_softmax_backward(dy, y, axis=-1, *, out=None):
    """dx = dy - exp(y) * sum(dy) along `axis`; y is the result of `log_softmax`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.log_softmax_backward(np.array([[1, 0]], np.float32), np.log(np.array([[0.5, 0.5]], np.float32)))
    array([[ 0.5, -0.5]], dtype=float32)
    """
    return _softmax_backward("log_softmax_backward", dy, y, axis, out, True)
