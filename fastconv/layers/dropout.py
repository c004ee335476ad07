"""Dropout of elements (Srivastava et al. 2014), of whole channels (Tompson et al. 2015), and of networks of SELU."""

import math

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.ops._arrays import array, empty_images, nhwc, of_shape

__all__ = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"]


class _Dropout(Layer):
    def __init__(self, p=0.5, *, rng=None):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p={p!r}: must be in [0, 1]")
        self.p = float(p)
        self.rng = np.random.default_rng(rng)

    def __call__(self, x):
        return x


class Dropout(_Dropout):
    """training=True: each element is 0 with probability p, else divided by 1 - p. training=False: y = x.

    rng: the Generator (or seed) that masks are drawn from, by `ops.dropout`. With a seed, the same calls in the same
    order give the same masks; without, they come from fresh entropy. Draws are not locked: give each thread its own
    layer.

    >>> from fastconv.layers import Dropout
    >>> y, backward = Dropout(0.5, rng=0).forward(np.ones((4, 8), np.float32))
    >>> sorted(set(y.ravel().tolist())), bool((backward(np.ones_like(y)) == y).all())
    ([0.0, 2.0], True)
    """

    def forward(self, x, *, training=True):
        if not training or self.p == 0.0:
            return x, lambda dy: dy
        array("Dropout", "x", x)
        p = self.p
        y, mask = ops.dropout(x, p, self.rng)

        def backward(dy):
            return ops.dropout_backward(of_shape("Dropout", "dy", dy, mask.shape), mask, p)

        return y, backward


class _ChannelDropout(_Dropout):
    rank = 0

    def forward(self, x, *, training=True):
        function = type(self).__name__
        array(function, "x", x, self.rank + 2)
        if not training or self.p == 0.0:
            return x, lambda dy: dy
        keep = self.rng.random(x.shape[:2]) >= self.p  # draws are in [0, 1): p = 1 keeps nothing
        factors = keep.astype(np.float32) * np.float32(1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0)
        flat = (x.shape[0], math.prod(x.shape[2:]), x.shape[1])

        def scaled(values):
            y, memory = empty_images(*values.shape)
            np.multiply(nhwc(values).reshape(flat), factors[:, None], out=memory.reshape(flat))
            return y

        return scaled(x), lambda dy: scaled(of_shape(function, "dy", dy, x.shape))


class Dropout1d(_ChannelDropout):
    """training=True: each channel of x (N, C, L) is 0 with probability p, else divided by 1 - p. training=False: y = x.

    >>> from fastconv.layers import Dropout1d
    >>> y, backward = Dropout1d(0.5, rng=0).forward(np.ones((2, 8, 3), np.float32))
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    rank = 1


class Dropout2d(_ChannelDropout):
    """training=True: each channel of x (N, C, H, W) is 0 with probability p, else divided by 1 - p. Else y = x.

    >>> from fastconv.layers import Dropout2d
    >>> y, backward = Dropout2d(0.5, rng=0).forward(np.ones((2, 8, 3, 4), np.float32))
    >>> bool((y == y[:, :, :1, :1]).all())
    True
    """

    rank = 2


class Dropout3d(_ChannelDropout):
    """training=True: each channel of x (N, C, D, H, W) is 0 with probability p, else divided by 1 - p. Else y = x.

    >>> from fastconv.layers import Dropout3d
    >>> y, backward = Dropout3d(0.5, rng=0).forward(np.ones((2, 8, 2, 3, 4), np.float32))
    >>> bool((y == y[:, :, :1, :1, :1]).all())
    True
    """

    rank = 3


# The value that SELU tends to at minus infinity: -scale * alpha (Klambauer et al. 2017).
_SELU_LIMIT = -1.7580993408473766


class AlphaDropout(_Dropout):
    """training=True: each element takes SELU's limit, -1.758..., with probability p; then a * (...) + b keeps mean 0
    and variance 1 (Klambauer et al. 2017). training=False: y = x. With p = 1, y = 0, as in PyTorch.

    >>> from fastconv.layers import AlphaDropout
    >>> y, backward = AlphaDropout(0.5, rng=0).forward(np.zeros((4, 8), np.float32))
    >>> len(set(y.ravel().tolist()))
    2
    """

    def forward(self, x, *, training=True):
        array("AlphaDropout", "x", x)
        p = self.p
        if not training or p == 0.0:
            return x, lambda dy: dy
        y, mask = ops.dropout(x, p, self.rng)
        if p == 1.0:
            return y, lambda dy: ops.dropout_backward(of_shape("AlphaDropout", "dy", dy, mask.shape), mask, p)
        a = 1.0 / math.sqrt((_SELU_LIMIT**2 * p + 1.0) * (1.0 - p))
        b = -a * p * _SELU_LIMIT
        y *= np.float32(a * (1.0 - p))
        y += np.where(mask, np.float32(b), np.float32(a * _SELU_LIMIT + b))

        def backward(dy):
            dx = ops.dropout_backward(of_shape("AlphaDropout", "dy", dy, mask.shape), mask, p)
            dx *= np.float32(a * (1.0 - p))
            return dx

        return y, backward
