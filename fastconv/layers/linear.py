"""Fully connected layers and changes of shape."""

import math

import numpy as np

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import integer

__all__ = ["Linear", "Flatten", "Unflatten", "Identity"]


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


class Unflatten(Layer):
    """The axis `dim` of x as several, in the order of the shape, as torch.nn.Unflatten: the inverse of Flatten.

    unflattened_size: a tuple of sizes, one of which may be -1.

    >>> from fastconv.layers import Unflatten
    >>> Unflatten(1, (3, 4, -1))(np.zeros((2, 60), np.float32)).shape
    (2, 3, 4, 5)
    """

    def __init__(self, dim, unflattened_size):
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"Unflatten: dim={dim!r}: must be an integer")
        if not isinstance(unflattened_size, (tuple, list)) or not unflattened_size:
            raise TypeError(f"Unflatten: unflattened_size={unflattened_size!r}: must be a tuple of sizes")
        self.dim = dim
        sizes = tuple(integer("Unflatten", "unflattened_size", size, -1) for size in unflattened_size)
        if sizes.count(-1) > 1:
            raise ValueError(f"Unflatten: unflattened_size={unflattened_size!r}: one size alone may be -1")
        self.unflattened_size = sizes

    def _sizes(self, size, shape):
        """unflattened_size with its -1 worked out."""
        known = math.prod(value for value in self.unflattened_size if value >= 0)
        fits = known == size if -1 not in self.unflattened_size else known > 0 and size % known == 0
        if not fits:
            raise ValueError(
                f"Unflatten: x has shape {shape}: axis {self.dim} does not fit unflattened_size={self.unflattened_size}"
            )
        return tuple(size // known if value < 0 else value for value in self.unflattened_size)

    def forward(self, x, *, training=True):
        if not isinstance(x, np.ndarray):
            raise TypeError(f"Unflatten: x is {type(x).__name__}: must be a NumPy array")
        if not -x.ndim <= self.dim < x.ndim:
            raise ValueError(f"Unflatten: x has shape {x.shape}: must have an axis {self.dim}")
        dim, shape = self.dim % x.ndim, x.shape
        y = x.reshape(*shape[:dim], *self._sizes(shape[dim], shape), *shape[dim + 1 :])
        whole_shape = y.shape

        def backward(dy):
            if dy.shape != whole_shape:
                raise ValueError(f"Unflatten: dy has shape {dy.shape}: must be {whole_shape}")
            return dy.reshape(shape)

        return y, backward


class Identity(Layer):
    """y = x, as torch.nn.Identity: where a model may have a layer or none.

    >>> from fastconv.layers import Identity
    >>> Identity()(np.ones(2, np.float32)).tolist()
    [1.0, 1.0]
    """

    def __call__(self, x):
        return x

    def forward(self, x, *, training=True):
        return x, lambda dy: dy
