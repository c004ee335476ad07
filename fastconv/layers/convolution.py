"""Convolution layers."""

import math

import numpy as np

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import integer, pads, pair

__all__ = ["Conv2d"]


class Conv2d(Layer):
    """Convolution (cross-correlation) of images, as torch.nn.Conv2d.

    x (N, C, H, W) -> y (N, K, P, Q); weight (K, C/groups, R, S), bias (K,);
    y[n, k, p, q] = bias[k] + sum over c, r, s of weight[k, c, r, s] * x[n, c, p*stride + r*dilation - padding, ...].

    padding: int, (h, w), ((top, bottom), (left, right)), "same" or "valid". First values: uniform within
    1/sqrt(C/groups * R * S), drawn from rng (a Generator or a seed). input_grad=False, for the first layer of a
    model, skips the gradient of x: backward returns None.

    >>> from fastconv.layers import Conv2d
    >>> y, backward = Conv2d(3, 8, 3, padding=1, rng=0).forward(np.ones((2, 3, 5, 5), np.float32))
    >>> y.shape, backward(y).shape
    ((2, 8, 5, 5), (2, 3, 5, 5))
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        rng=None,
        input_grad=True,
    ):
        self.in_channels = integer("Conv2d", "in_channels", in_channels, 1)
        self.out_channels = integer("Conv2d", "out_channels", out_channels, 1)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        if not isinstance(padding, str):
            pads("Conv2d", padding)
        elif padding not in ("same", "valid"):
            raise ValueError(f'Conv2d: padding={padding!r}: must be "same", "valid", or integers')
        self.padding = padding
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = integer("Conv2d", "groups", groups, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"Conv2d: groups={groups}: must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.input_grad = bool(input_grad)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))
        rng = np.random.default_rng(rng)
        self.weight = Parameter(initializers.uniform(shape, rng, low=-bound, high=bound))
        self.bias = Parameter(initializers.uniform(shape[:1], rng, low=-bound, high=bound)) if bias else None

    def _geometry(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def __call__(self, x):
        bias = None if self.bias is None else self.bias.value
        return ops.conv2d(x, self.weight.value, bias, **self._geometry())

    def forward(self, x, *, training=True):
        y = self(x)
        weight, geometry = self.weight.value, self._geometry()

        def backward(dy):
            dweight, dbias = ops.conv2d_backward_weight(dy, x, weight.shape, **geometry)
            dx = ops.conv2d_backward_input(dy, weight, x.shape, **geometry) if self.input_grad else None
            self.weight.add_grad(dweight)
            if self.bias is not None:
                self.bias.add_grad(dbias)
            return dx

        return y, backward
