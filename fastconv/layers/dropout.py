"""Dropout (Srivastava et al., 2014)."""

import numpy as np

from fastconv.layers.base import Layer
from fastconv.ops._arrays import array, dense, flat

__all__ = ["Dropout"]


class Dropout(Layer):
    """training=True: each element is 0 with probability p, else divided by 1 - p. training=False: y = x.

    rng: the Generator (or seed) that masks are drawn from. With a seed, the same calls in the same order give the
    same masks; without, they come from fresh entropy. Draws are not locked: give each thread its own layer.

    >>> from fastconv.layers import Dropout
    >>> y, backward = Dropout(0.5, rng=0).forward(np.ones((4, 8), np.float32))
    >>> sorted(set(y.ravel().tolist())), bool((backward(np.ones_like(y)) == y).all())
    ([0.0, 2.0], True)
    """

    def __init__(self, p=0.5, *, rng=None):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p={p!r}: must be in [0, 1]")
        self.p = float(p)
        self.rng = np.random.default_rng(rng)

    def __call__(self, x):
        return x

    def forward(self, x, *, training=True):
        if not training or self.p == 0.0:
            return x, lambda dy: dy
        array("Dropout", "x", x)
        # The mask lies in the memory order of x: mixed orders would cost a strided pass here and in backward.
        draws = np.empty_like(dense(x))
        self.rng.random(out=flat(draws), dtype=np.float32)
        keep = draws >= np.float32(self.p)  # draws are in [0, 1): p = 1 keeps nothing
        scale = np.float32(1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0)

        def masked(values):
            result = np.multiply(values, keep)
            result *= scale
            return result

        def backward(dy):
            array("Dropout", "dy", dy)
            if dy.shape != keep.shape:
                raise ValueError(f"Dropout: dy has shape {dy.shape}: must be {keep.shape}")
            return masked(dy)

        return masked(x), backward
