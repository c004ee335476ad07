"""First values of parameters: f(shape, rng) -> float32 array. `rng` is a Generator, a seed, or None for fresh entropy.

fan_in and fan_out count the inputs and outputs of one unit: of a matrix (O, I) they are I and O, of convolution
weights (K, C, R, S) they are C*R*S and K*R*S.
"""

import math

import numpy as np

__all__ = [
    "zeros",
    "ones",
    "constant",
    "uniform",
    "normal",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "orthogonal",
]


def _fans(function, shape):
    shape = tuple(shape)
    if len(shape) < 2:
        raise ValueError(f"{function}: shape={shape}: must have at least 2 dimensions")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def zeros(shape, rng=None):
    """All 0.

    >>> zeros(2).tolist()
    [0.0, 0.0]
    """
    return np.zeros(shape, np.float32)


def ones(shape, rng=None):
    """All 1.

    >>> ones(2).tolist()
    [1.0, 1.0]
    """
    return np.ones(shape, np.float32)


def constant(shape, rng=None, *, value=0.0):
    """All `value`.

    >>> constant(2, value=3).tolist()
    [3.0, 3.0]
    """
    return np.full(shape, value, np.float32)


def uniform(shape, rng=None, *, low=-0.05, high=0.05):
    """Uniform in [low, high).

    >>> bool(abs(uniform((2, 3), 0)).max() <= 0.05)
    True
    """
    values = np.random.default_rng(rng).random(shape, np.float32)
    values *= np.float32(high - low)
    values += np.float32(low)
    return values


def normal(shape, rng=None, *, mean=0.0, std=0.05):
    """Normal of this mean and standard deviation.

    >>> normal((2, 3), 0).dtype
    dtype('float32')
    """
    values = np.random.default_rng(rng).standard_normal(shape, np.float32)
    values *= np.float32(std)
    values += np.float32(mean)
    return values


def glorot_uniform(shape, rng=None):
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    >>> glorot_uniform((4, 2), 0).shape
    (4, 2)
    """
    bound = math.sqrt(6.0 / max(1, sum(_fans("glorot_uniform", shape))))
    return uniform(shape, rng, low=-bound, high=bound)


def glorot_normal(shape, rng=None):
    """N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010).

    >>> glorot_normal((4, 2), 0).shape
    (4, 2)
    """
    return normal(shape, rng, std=math.sqrt(2.0 / max(1, sum(_fans("glorot_normal", shape)))))


def he_uniform(shape, rng=None):
    """U(-a, a), a = sqrt(6 / fan_in), for ReLU networks (He et al., 2015).

    >>> he_uniform((8, 4, 3, 3), 0).shape
    (8, 4, 3, 3)
    """
    bound = math.sqrt(6.0 / max(1, _fans("he_uniform", shape)[0]))
    return uniform(shape, rng, low=-bound, high=bound)


def he_normal(shape, rng=None):
    """N(0, 2 / fan_in), for ReLU networks (He et al., 2015).

    >>> he_normal((8, 4, 3, 3), 0).shape
    (8, 4, 3, 3)
    """
    return normal(shape, rng, std=math.sqrt(2.0 / max(1, _fans("he_normal", shape)[0])))


def orthogonal(shape, rng=None, *, gain=1.0):
    """`gain` times a uniformly random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al., 2013).

    All dimensions but the first count as one.

    >>> w = orthogonal((2, 5), 0)
    >>> bool(abs(w @ w.T - np.eye(2)).max() < 1e-6)
    True
    """
    shape = tuple(shape)
    _fans("orthogonal", shape)
    rows, columns = shape[0], math.prod(shape[1:])
    tall = np.random.default_rng(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the distribution uniform: QR alone prefers some signs
    matrix = q.T if rows < columns else q
    return np.ascontiguousarray(gain * matrix, np.float32).reshape(shape)
