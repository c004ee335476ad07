"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import math

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations

ACTIVATIONS = "relu relu6 leaky_relu elu sigmoid tanh gelu gelu_tanh silu hardswish hardsigmoid softplus".split()
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _gelu_inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def activation(name, x, alpha=None, beta=None):
    """f(x). alpha: negative slope of leaky_relu, alpha of elu, beta of softplus; beta: threshold of softplus."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        match name:
            case "relu":
                return np.maximum(x, 0)
            case "relu6":
                return np.minimum(np.maximum(x, 0), 6)
            case "leaky_relu":
                return np.where(x > 0, x, (0.01 if alpha is None else alpha) * x)
            case "elu":
                return np.where(x > 0, x, (1.0 if alpha is None else alpha) * np.expm1(x))
            case "sigmoid":
                return _sigmoid(x)
            case "tanh":
                return np.tanh(x)
            case "gelu":
                return x * 0.5 * (1 + _erf(x / math.sqrt(2)))
            case "gelu_tanh":
                return x * _sigmoid(2 * _gelu_inner(x))
            case "silu":
                return x * _sigmoid(x)
            case "hardswish":
                return x * np.clip(x / 6 + 0.5, 0, 1)
            case "hardsigmoid":
                return np.clip(x / 6 + 0.5, 0, 1)
            case "softplus":
                scale, threshold = 1.0 if alpha is None else alpha, 20.0 if beta is None else beta
                return np.where(scale * x > threshold, x, np.logaddexp(0, scale * x) / scale)
    raise KeyError(name)


def activation_derivative(name, x, alpha=None, beta=None):
    """f'(x), with PyTorch's value at the kinks."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        s = _sigmoid(x)
        match name:
            case "relu":
                return np.where(x <= 0, 0.0, 1.0)
            case "relu6":
                return np.where((x > 0) & (x < 6), 1.0, 0.0)
            case "leaky_relu":
                return np.where(x > 0, 1.0, 0.01 if alpha is None else alpha)
            case "elu":
                return np.where(x > 0, 1.0, (1.0 if alpha is None else alpha) * np.exp(x))
            case "sigmoid":
                return s * _sigmoid(-x)
            case "tanh":
                return 1 / np.cosh(x) ** 2
            case "gelu":
                return 0.5 * (1 + _erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
            case "gelu_tanh":
                gate, inner = _sigmoid(2 * _gelu_inner(x)), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
                return gate + x * gate * (1 - gate) * 2 * inner
            case "silu":
                return s * (1 + x * _sigmoid(-x))
            case "hardswish":
                return np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))
            case "hardsigmoid":
                return np.where((x > -3) & (x < 3), 1 / 6, 0.0)
            case "softplus":
                scale, threshold = 1.0 if alpha is None else alpha, 20.0 if beta is None else beta
                return np.where(scale * x > threshold, 1.0, _sigmoid(scale * x))
    raise KeyError(name)


def log_softmax(x, axis=-1):
    """x - max - log(sum(exp(x - max)))"""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def softmax(x, axis=-1):
    """exp(x - max) / sum(exp(x - max))"""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy, y, axis=-1):
    """y * (dy - sum(dy * y))"""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy, y, axis=-1):
    """dy - exp(y) * sum(dy)"""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)


# ----------------------------------------------------------------------------------------------- matrix products


# ---------------------------------------------------------------------------------------------------- convolution


# -------------------------------------------------------------------------------------------------------- pooling


# -------------------------------------------------------------------------------------------------- normalisation


# ------------------------------------------------------------------------------------------------------ recurrence


# ------------------------------------------------------------------------------------------- losses and optimisers
