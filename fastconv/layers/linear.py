"""Fully connected layers and changes of shape."""

import math

import numpy as np

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import integer

__all__ = ["Linear", "Flatten"]


class Linear(Layer):
    """y = x @ weight.T + bias, as torch.nn.Linear: x (..., I) -> y (..., O); weight (O, I), bias (O,).

    First values: uniform within 1/sqrt(I), drawn from rng (a Generator or a seed). input_grad=False skips the
    gradient of x: backward returns None.

    >>> from fastconv.layers import Linear
    >>> y, backward = Linear(4, 3, rng=0).forward(np.ones((5, 4), np.float32))
    >>> y.shape, backward(y).shape
    ((5, 3), (5, 4))
    """

    def __init__(self, in_features, out_features, *, bias=True, rng=None, input_grad=True):
        self.in_features = integer("Linear", "in_features", in_features, 1)
        self.out_features = integer("Linear", "out_features", out_features, 1)
        self.input_grad = bool(input_grad)
        bound = 1.0 / math.sqrt(self.in_features)
        rng = np.random.default_rng(rng)
        shape = (self.out_features, self.in_features)
        self.weight = Parameter(initializers.uniform(shape, rng, low=-bound, high=bound))
        self.bias = Parameter(initializers.uniform(shape[:1], rng, low=-bound, high=bound)) if bias else None

    def __call__(self, x):
        return ops.linear(x, self.weight.value, None if self.bias is None else self.bias.value)

    def forward(self, x, *, training=True):
        y = self(x)
        weight = self.weight.value

        def backward(dy):
            dweight, dbias = ops.linear_backward_weight(dy, x)
            dx = ops.linear_backward_input(dy, weight) if self.input_grad else None
            self.weight.take_grad(dweight)
            if self.bias is not None:
                self.bias.take_grad(dbias)
            return dx

        return y, backward


class Flatten(Layer):
    """x (N, C, H, W) -> (N, C*H*W): all axes from start_dim on as one, in the order of the shape, as torch.nn.Flatten.

    >>> from fastconv.layers import Flatten
    >>> Flatten()(np.zeros((2, 3, 4, 5), np.float32)).shape
    (2, 60)
    """

    def __init__(self, start_dim=1):
        self.start_dim = integer("Flatten", "start_dim", start_dim, 0)

    def forward(self, x, *, training=True):
        if not isinstance(x, np.ndarray):
            raise TypeError(f"Flatten: x is {type(x).__name__}: must be a NumPy array")
        if x.ndim <= self.start_dim:
            raise ValueError(f"Flatten: x has shape {x.shape}: must have more than start_dim={self.start_dim} axes")
        shape = x.shape
        # Not -1, which an empty batch leaves undefined. A copy where memory is in (N, H, W, C) order.
        y = x.reshape(*shape[: self.start_dim], math.prod(shape[self.start_dim :]))
        flat_shape = y.shape

        def backward(dy):
            if dy.shape != flat_shape:
                raise ValueError(f"Flatten: dy has shape {dy.shape}: must be {flat_shape}")
            return dy.reshape(shape)

        return y, backward
