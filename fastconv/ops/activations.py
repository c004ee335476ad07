"""Activations. Formulas, names and values at the kinks are those of torch.nn.functional.

Every function takes float32 arrays of any shape and memory order and returns an array of the same shape and order.
`out=` receives the result and may be an input itself. The backward of f is `f_backward(dy, saved)`: dy is the gradient
with respect to y, saved is y for exp, sigmoid and tanh and x for all others. TypeError for another dtype, ValueError
for another shape.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, dense, empty_like, flat, like, output
from fastconv.ops._fused import broken_rule
from fastconv.runtime import context

_PLAIN = ("exp", "sigmoid", "tanh", "gelu", "silu", "mish", "selu", "softsign", "logsigmoid")
_WITH_PARAMETERS = ("elu", "celu", "softplus")

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


def exp(x, *, out=None):
    """y = exp(x), within 2 ULP also where it is denormal.

    >>> import numpy as np; from fastconv import ops
    >>> ops.exp(np.array([-np.inf, 0, 1], np.float32))
    array([0.       , 1.       , 2.7182817], dtype=float32)
    """
    return _forward("exp", x, out)


def exp_backward(dy, y, *, out=None):
    """dx = dy * y; y is the result of `exp`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.exp_backward(np.full(2, 3, np.float32), np.array([0, 2], np.float32))
    array([0., 6.], dtype=float32)
    """
    return _backward("exp_backward", dy, y, out, saved_name="y")


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


def selu(x, *, out=None):
    """y = scale * x where x > 0, else scale * alpha * (exp(x) - 1) (Klambauer et al. 2017).

    scale = 1.0507009873554805 and alpha = 1.6732632423543772 keep the mean 0 and the variance 1.

    >>> import numpy as np; from fastconv import ops
    >>> ops.selu(np.array([-100, 0, 2], np.float32)).round(4)
    array([-1.7581,  0.    ,  2.1014], dtype=float32)
    """
    return _forward("selu", x, out)


def selu_backward(dy, x, *, out=None):
    """dx = dy * scale where x > 0, else dy * scale * alpha * exp(x).

    >>> import numpy as np; from fastconv import ops
    >>> ops.selu_backward(np.ones(2, np.float32), np.array([0, 2], np.float32)).round(4)
    array([1.7581, 1.0507], dtype=float32)
    """
    return _backward("selu_backward", dy, x, out)


def _celu_alpha(function, alpha):
    alpha = _number(function, "alpha", alpha)
    if broken := broken_rule("celu", (alpha,)):
        raise ValueError(f"{function}: alpha={alpha!r}: {broken}")
    return alpha


def celu(x, alpha=1.0, *, out=None):
    """y = x where x > 0, else alpha * (exp(x / alpha) - 1), whose slope at 0 is 1 (Barron 2017); alpha > 0.

    >>> import numpy as np; from fastconv import ops
    >>> ops.celu(np.array([-100, 2], np.float32), 0.5)
    array([-0.5,  2. ], dtype=float32)
    """
    return _forward("celu", x, out, _celu_alpha("celu", alpha))


def celu_backward(dy, x, alpha=1.0, *, out=None):
    """dx = dy where x > 0, else dy * exp(x / alpha).

    >>> import numpy as np; from fastconv import ops
    >>> ops.celu_backward(np.ones(3, np.float32), np.array([-100, 0, 2], np.float32), 0.5)
    array([0., 1., 1.], dtype=float32)
    """
    return _backward("celu_backward", dy, x, out, _celu_alpha("celu_backward", alpha))


def sigmoid(x, *, out=None):
    """y = 1 / (1 + exp(-x)), within 3 ULP also where it is denormal.

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
    """y = tanh(x), odd, within 3 ULP and [-1, 1].

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


def mish(x, *, out=None):
    """y = x * tanh(softplus(x)) (Misra 2019), with one exponential.

    >>> import numpy as np; from fastconv import ops
    >>> ops.mish(np.array([0, 1, 50], np.float32)).round(4).tolist()
    [0.0, 0.8651000261306763, 50.0]
    """
    return _forward("mish", x, out)


def mish_backward(dy, x, *, out=None):
    """dx = dy * (w + x * sigmoid(x) * (1 - w^2)), w = tanh(softplus(x)).

    >>> import numpy as np; from fastconv import ops
    >>> ops.mish_backward(np.ones(2, np.float32), np.array([0, 1000], np.float32))
    array([0.6, 1. ], dtype=float32)
    """
    return _backward("mish_backward", dy, x, out)


def softsign(x, *, out=None):
    """y = x / (1 + |x|) (Glorot and Bengio 2010). Infinities give NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softsign(np.array([-1, 0, 3], np.float32))
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """
    return _forward("softsign", x, out)


def softsign_backward(dy, x, *, out=None):
    """dx = dy / (1 + |x|)^2.

    >>> import numpy as np; from fastconv import ops
    >>> ops.softsign_backward(np.ones(3, np.float32), np.array([-1, 0, 3], np.float32))
    array([0.25  , 1.    , 0.0625], dtype=float32)
    """
    return _backward("softsign_backward", dy, x, out)


def logsigmoid(x, *, out=None):
    """y = log(sigmoid(x)) = -softplus(-x), also where the sigmoid is zero in float32.

    >>> import numpy as np; from fastconv import ops
    >>> ops.logsigmoid(np.array([-1000, 1000], np.float32))
    array([-1000.,     0.], dtype=float32)
    """
    return _forward("logsigmoid", x, out)


def logsigmoid_backward(dy, x, *, out=None):
    """dx = dy * sigmoid(-x).

    >>> import numpy as np; from fastconv import ops
    >>> ops.logsigmoid_backward(np.ones(2, np.float32), np.array([-1000, 0], np.float32))
    array([1. , 0.5], dtype=float32)
    """
    return _backward("logsigmoid_backward", dy, x, out)


def _softplus_parameters(function, beta, threshold):
    beta, threshold = _number(function, "beta", beta), _number(function, "threshold", threshold)
    if broken := broken_rule("softplus", (beta, threshold)):
        raise ValueError(f"{function}: beta={beta!r}: {broken}")
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
