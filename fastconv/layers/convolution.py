"""Convolution layers, and transposed ones, of 1-D, 2-D and 3-D maps."""

import math

import numpy as np

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.layers.frozen import FrozenConv2d
from fastconv.ops._arrays import extents, integer, sides

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _Convolution(Layer):
    """Weights, geometry and closures of all of them. A subclass names its op, its number of spatial axes (`rank`), and
    which of the first two dimensions of the weights (`transposed`) the input channels are."""

    op, rank, transposed = "", 0, False

    def _set_up(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, rng, input_grad):
        name = type(self).__name__
        self.in_channels = integer(name, "in_channels", in_channels, 1)
        self.out_channels = integer(name, "out_channels", out_channels, 1)
        self.kernel_size = extents(name, "kernel_size", kernel_size, 1, self.rank)
        self.stride = extents(name, "stride", stride, 1, self.rank)
        self.dilation = extents(name, "dilation", dilation, 1, self.rank)
        sides(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding
        self.groups = integer(name, "groups", groups, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{name}: groups={groups}: must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.input_grad = bool(input_grad)
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))
        rng = np.random.default_rng(rng)
        self.weight = Parameter(initializers.uniform(shape, rng, low=-bound, high=bound))
        channels = (self.out_channels,)
        self.bias = Parameter(initializers.uniform(channels, rng, low=-bound, high=bound)) if bias else None

    def _geometry(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def _padded(self, x):
        """What the op convolves."""
        return x

    def _unpadded(self, dx, x_shape):
        """The gradient in x of what `_padded` made of it."""
        return dx

    def _run(self, x):
        bias = None if self.bias is None else self.bias.value
        return getattr(ops, self.op)(x, self.weight.value, bias, **self._geometry())

    def __call__(self, x):
        return self._run(self._padded(x))

    def forward(self, x, *, training=True):
        padded, shape = self._padded(x), x.shape
        y = self._run(padded)
        weight, geometry = self.weight.value, self._geometry()

        def backward(dy):
            dweight, dbias = getattr(ops, f"{self.op}_backward_weight")(dy, padded, weight.shape, **geometry)
            dx = None
            if self.input_grad:
                dx = getattr(ops, f"{self.op}_backward_input")(dy, weight, padded.shape, **geometry)
                dx = self._unpadded(dx, shape)
            self.weight.take_grad(dweight)
            if self.bias is not None:
                self.bias.take_grad(dbias)
            return dx

        return y, backward


class _Conv(_Convolution):
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
        padding_mode="zeros",
        rng=None,
        input_grad=True,
    ):
        if padding_mode not in _PADDING_MODES:
            names = ", ".join(_PADDING_MODES)
            raise ValueError(f"{type(self).__name__}: padding_mode={padding_mode!r}: must be one of {names}")
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, rng, input_grad)
        self.padding_mode = padding_mode
        pads = sides(type(self).__name__, padding, self.kernel_size, self.stride, self.dilation)
        self._border = None  # the arguments of ops.pad, where the convolution does not pad by itself
        if padding_mode != "zeros" and any(pads):
            around = tuple(zip(pads[::2], pads[1::2], strict=True))
            self._border = {"padding": around, "mode": _PADDING_MODES[padding_mode]}

    def _geometry(self):
        geometry = super()._geometry()
        return geometry if self._border is None else geometry | {"padding": 0}

    def _padded(self, x):
        return x if self._border is None else ops.pad(x, **self._border)

    def _unpadded(self, dx, x_shape):
        return dx if self._border is None else ops.pad_backward(dx, x_shape, **self._border)


class Conv1d(_Conv):
    """Convolution (cross-correlation) of sequences and signals, as torch.nn.Conv1d.

    x (N, C, L) -> y (N, K, P); weight (K, C/groups, S), bias (K,). padding: int, (before, after), "same" or "valid".
    For the rest see Conv2d.

    >>> from fastconv.layers import Conv1d
    >>> y, backward = Conv1d(3, 8, 5, stride=2, padding=2, rng=0).forward(np.ones((2, 3, 16), np.float32))
    >>> y.shape, backward(y).shape
    ((2, 8, 8), (2, 3, 16))
    """

    op, rank = "conv1d", 1


class Conv2d(_Conv):
    """Convolution (cross-correlation) of images, as torch.nn.Conv2d.

    x (N, C, H, W) -> y (N, K, P, Q); weight (K, C/groups, R, S), bias (K,);
    y[n, k, p, q] = bias[k] + sum over c, r, s of weight[k, c, r, s] * x[n, c, p*stride + r*dilation - padding, ...].

    padding: int, (h, w), ((top, bottom), (left, right)), "same" or "valid"; padding_mode: "zeros", "reflect",
    "replicate" or "circular". First values: uniform within 1/sqrt(C/groups * R * S), drawn from rng (a Generator or a
    seed). input_grad=False, for the first layer of a model, skips the gradient of x: backward returns None.

    >>> from fastconv.layers import Conv2d
    >>> y, backward = Conv2d(3, 8, 3, padding=1, rng=0).forward(np.ones((2, 3, 5, 5), np.float32))
    >>> y.shape, backward(y).shape
    ((2, 8, 5, 5), (2, 3, 5, 5))
    """

    op, rank = "conv2d", 2

    def freeze(self, activation=None):
        """This layer for inference (FrozenConv2d): its weights of now, packed once, and a fused activation."""
        return FrozenConv2d(self, activation)


class Conv3d(_Conv):
    """Convolution (cross-correlation) of volumes and videos, as torch.nn.Conv3d.

    x (N, C, D, H, W) -> y (N, K, O, P, Q); weight (K, C/groups, T, R, S), bias (K,). padding: int, (d, h, w), a pair
    (before, after) for each, "same" or "valid". For the rest see Conv2d.

    >>> from fastconv.layers import Conv3d
    >>> y, backward = Conv3d(1, 4, 3, padding=1, rng=0).forward(np.ones((2, 1, 4, 5, 6), np.float32))
    >>> y.shape, backward(y).shape
    ((2, 4, 4, 5, 6), (2, 1, 4, 5, 6))
    """

    op, rank = "conv3d", 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        *,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        rng=None,
        input_grad=True,
    ):
        self._set_up(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, rng, input_grad)
        self.output_padding = extents(type(self).__name__, "output_padding", output_padding, 0, self.rank)

    def _geometry(self):
        return super()._geometry() | {"output_padding": self.output_padding}


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of sequences, as torch.nn.ConvTranspose1d: x (N, C, L) -> y (N, K, P).

    weight (C, K/groups, S), bias (K,). For sizes and the rest see ConvTranspose2d.

    >>> from fastconv.layers import ConvTranspose1d
    >>> y, backward = ConvTranspose1d(8, 4, 4, stride=2, padding=1, rng=0).forward(np.ones((2, 8, 9), np.float32))
    >>> y.shape, backward(y).shape
    ((2, 4, 18), (2, 8, 9))
    """

    op, rank = "conv_transpose1d", 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of images, as torch.nn.ConvTranspose2d: x (N, C, H, W) -> y (N, K, P, Q).

    weight (C, K/groups, R, S), bias (K,). Each size becomes (size - 1) * stride + dilation * (kernel - 1) + 1 +
    output_padding - 2 * padding, with output_padding below stride or dilation; padding also as of Conv2d. First
    values: uniform within 1/sqrt(K/groups * R * S), drawn from rng; input_grad as of Conv2d.

    >>> from fastconv.layers import ConvTranspose2d
    >>> y, backward = ConvTranspose2d(8, 4, 2, stride=2, rng=0).forward(np.ones((1, 8, 5, 6), np.float32))
    >>> y.shape, backward(y).shape
    ((1, 4, 10, 12), (1, 8, 5, 6))
    """

    op, rank = "conv_transpose2d", 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of volumes, as torch.nn.ConvTranspose3d: x (N, C, D, H, W) -> y (N, K, O, P, Q).

    weight (C, K/groups, T, R, S), bias (K,). For sizes and the rest see ConvTranspose2d.

    >>> from fastconv.layers import ConvTranspose3d
    >>> y, backward = ConvTranspose3d(8, 4, 2, stride=2, rng=0).forward(np.ones((1, 8, 2, 3, 4), np.float32))
    >>> y.shape, backward(y).shape
    ((1, 4, 4, 6, 8), (1, 8, 2, 3, 4))
    """

    op, rank = "conv_transpose3d", 3
