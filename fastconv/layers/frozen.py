"""Layers for inference alone: constant weights, packed once."""

from fastconv import ops, runtime
from fastconv.layers.base import Layer
from fastconv.ops._arrays import array

__all__ = ["FrozenConv2d"]


class FrozenConv2d(Layer):
    """A Conv2d with the weights it had when it was frozen, packed once instead of at every call.

    frozen(x, residual=None) = activation(convolution + bias + residual), with activation None, a name ("relu") or
    (name, parameter). Sizes as of the layer; residual has the shape of y. Weights are packed at the first call that
    needs them so: one copy for each algorithm and instruction set. Several threads may share it. It cannot be trained:
    forward(x, training=True) raises ValueError, as does its backward.

    >>> import numpy as np; from fastconv.layers import Conv2d
    >>> layer = Conv2d(3, 8, 3, padding=1, rng=0)
    >>> frozen, x = layer.freeze("relu"), np.ones((2, 3, 5, 5), np.float32)
    >>> np.allclose(frozen(x), np.maximum(layer(x), 0), atol=1e-5)
    True
    """

    def __init__(self, layer, activation=None):
        self.activation = activation
        self._weight = layer.weight.value.copy()
        self._bias = None if layer.bias is None else layer.bias.value.copy()
        self._geometry, self._padded = layer._geometry(), layer._padded
        self._packed = {}
        self._last = None, None, None  # shape of x, context and packed weights of the last call, which most are like
        plan = {**self._geometry, "activation": activation}
        ops.conv2d_plan((0, layer.in_channels, *self._least_sizes(layer)), self._weight.shape, **plan)

    @staticmethod
    def _least_sizes(layer):
        """Sizes that any kernel fits, to have a wrong activation refused here."""
        return [step * (size - 1) + 1 for size, step in zip(layer.kernel_size, layer.dilation, strict=True)]

    def _weights(self, x_shape, context):
        plan = ops.conv2d_plan(x_shape, self._weight.shape, **self._geometry, constant_weights=True)
        key = plan.packing_key(context)
        if key not in self._packed:
            self._packed[key] = plan.pack(self._weight, context)
        return self._packed[key]

    def __call__(self, x, residual=None):
        x, context = self._padded(array("conv2d", "x", x, 4)), runtime.context()
        shape, before, packed = self._last
        if shape != x.shape or before is not context:
            packed = self._weights(x.shape, context)
            self._last = x.shape, context, packed
        return ops.conv2d(x, packed, self._bias, residual=residual, activation=self.activation, **self._geometry)

    def forward(self, x, *, training=True):
        if training:
            raise ValueError("FrozenConv2d: training=True: must be False, its weights are constant")
        return self(x), self._refuse

    @staticmethod
    def _refuse(dy):
        raise ValueError("FrozenConv2d: backward: its weights are constant; train the layer it was made from")
