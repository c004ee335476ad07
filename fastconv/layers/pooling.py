"""Pooling layers. Images are (N, C, H, W), sequences (N, C, L)."""

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.ops import _pooling
from fastconv.ops._arrays import extents, integer, pads, pair

__all__ = [
    "MaxPool2d",
    "AvgPool2d",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "LPPool2d",
    "MaxUnpool2d",
    "MaxPool1d",
    "AvgPool1d",
    "AdaptiveAvgPool1d",
]


class MaxPool2d(Layer):
    """The maximum of each window, as torch.nn.MaxPool2d: x (N, C, H, W) -> (N, C, P, Q).

    stride defaults to kernel_size. The gradient goes to the first maximum of each window.

    >>> import numpy as np; from fastconv.layers import MaxPool2d
    >>> MaxPool2d(2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(self, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size = pair("MaxPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("MaxPool2d", "stride", stride, 1)
        pads("MaxPool2d", padding)
        self.padding = padding
        self.dilation = pair("MaxPool2d", "dilation", dilation, 1)
        self.ceil_mode = bool(ceil_mode)

    def _geometry(self):
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
        }

    def __call__(self, x):
        return ops.max_pool2d(x, self.kernel_size, **self._geometry())

    def forward(self, x, *, training=True):
        kernel_size, geometry = self.kernel_size, self._geometry()
        y, indices = ops.max_pool2d(x, kernel_size, return_indices=True, **geometry)
        shape = x.shape

        def backward(dy):
            # Its own indices need no check, which would read them once more: a sixth of the time of 2 x 2.
            plan = _pooling.plan("MaxPool2d", shape, kernel_size, **geometry)
            return _pooling.max_backward("MaxPool2d", plan, dy, indices, shape, trusted=True)

        return y, backward


class AvgPool2d(Layer):
    """The mean of each window, as torch.nn.AvgPool2d: x (N, C, H, W) -> (N, C, P, Q).

    stride defaults to kernel_size. count_include_pad: padding counts in the divisor. divisor_override: an integer to
    divide by instead.

    >>> import numpy as np; from fastconv.layers import AvgPool2d
    >>> AvgPool2d(2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        self.kernel_size = pair("AvgPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("AvgPool2d", "stride", stride, 1)
        pads("AvgPool2d", padding)
        self.padding = padding
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)
        if divisor_override is not None:
            divisor_override = integer("AvgPool2d", "divisor_override", divisor_override, 1)
        self.divisor_override = divisor_override

    def forward(self, x, *, training=True):
        kernel_size, shape = self.kernel_size, x.shape
        geometry = {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
            "divisor_override": self.divisor_override,
        }
        y = ops.avg_pool2d(x, kernel_size, **geometry)
        return y, lambda dy: ops.avg_pool2d_backward(dy, shape, kernel_size, **geometry)


class GlobalAvgPool2d(Layer):
    """The mean of each channel over its plane: x (N, C, H, W) -> (N, C, 1, 1), as torch.nn.AdaptiveAvgPool2d(1).

    >>> import numpy as np; from fastconv.layers import GlobalAvgPool2d
    >>> GlobalAvgPool2d()(np.zeros((2, 3, 8, 8), np.float32)).shape
    (2, 3, 1, 1)
    """

    def forward(self, x, *, training=True):
        y = ops.global_avg_pool2d(x)
        shape = x.shape
        return y, lambda dy: ops.global_avg_pool2d_backward(dy, shape)


class GlobalMaxPool2d(Layer):
    """The maximum of each channel over its plane: x (N, C, H, W) -> (N, C, 1, 1), as torch.nn.AdaptiveMaxPool2d(1).

    >>> import numpy as np; from fastconv.layers import GlobalMaxPool2d
    >>> GlobalMaxPool2d()(np.zeros((2, 3, 8, 8), np.float32)).shape
    (2, 3, 1, 1)
    """

    def __call__(self, x):
        return ops.global_max_pool2d(x)

    def forward(self, x, *, training=True):
        y, indices = ops.global_max_pool2d(x, return_indices=True)
        shape = x.shape
        return y, lambda dy: ops.global_max_pool2d_backward(dy, indices, shape)


def _output_size(name, output_size):
    """Checked where it is given, not at the first call."""
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    extents(name, "output_size", tuple(1 if size is None else size for size in given), 1, 2)
    return tuple(given)


class AdaptiveAvgPool2d(Layer):
    """Means of windows that follow from the sizes, as torch.nn.AdaptiveAvgPool2d: (N, C, *) -> (N, C, *output_size).

    output_size: an int or (height, width); None keeps the size of x.

    >>> import numpy as np; from fastconv.layers import AdaptiveAvgPool2d
    >>> AdaptiveAvgPool2d((7, None))(np.zeros((2, 3, 16, 9), np.float32)).shape
    (2, 3, 7, 9)
    """

    def __init__(self, output_size):
        self.output_size = _output_size("AdaptiveAvgPool2d", output_size)

    def forward(self, x, *, training=True):
        y = ops.adaptive_avg_pool2d(x, self.output_size)
        shape = x.shape
        return y, lambda dy: ops.adaptive_avg_pool2d_backward(dy, shape)


class AdaptiveMaxPool2d(Layer):
    """Maxima of windows that follow from the sizes, as torch.nn.AdaptiveMaxPool2d: (N, C, *) -> (N, C, *output_size).

    output_size: an int or (height, width); None keeps the size of x.

    >>> import numpy as np; from fastconv.layers import AdaptiveMaxPool2d
    >>> AdaptiveMaxPool2d(7)(np.zeros((2, 3, 16, 9), np.float32)).shape
    (2, 3, 7, 7)
    """

    def __init__(self, output_size):
        self.output_size = _output_size("AdaptiveMaxPool2d", output_size)

    def __call__(self, x):
        return ops.adaptive_max_pool2d(x, self.output_size)

    def forward(self, x, *, training=True):
        y, indices = ops.adaptive_max_pool2d(x, self.output_size, return_indices=True)
        shape = x.shape
        return y, lambda dy: ops.adaptive_max_pool2d_backward(dy, indices, shape)


class LPPool2d(Layer):
    """The norm of each window, as torch.nn.LPPool2d: x (N, C, H, W) -> (N, C, P, Q).

    stride defaults to kernel_size; norm_type > 0, inf for the maximum. Where a norm is 0 its gradient is 0.

    >>> import numpy as np; from fastconv.layers import LPPool2d
    >>> LPPool2d(2, 2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(self, norm_type, kernel_size, *, stride=None, ceil_mode=False):
        self.norm_type = norm_type
        self.kernel_size = pair("LPPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("LPPool2d", "stride", stride, 1)
        self.ceil_mode = bool(ceil_mode)

    def forward(self, x, *, training=True):
        arguments = self.norm_type, self.kernel_size
        geometry = {"stride": self.stride, "ceil_mode": self.ceil_mode}
        y = ops.lp_pool2d(x, *arguments, **geometry)
        return y, lambda dy: ops.lp_pool2d_backward(dy, x, *arguments, **geometry)


class MaxUnpool2d(Layer):
    """Maxima back to their places, as torch.nn.MaxUnpool2d: (x, indices) (N, C, P, Q) -> (N, C, H, W), 0 elsewhere.

    The geometry is that of the pooling; output_size (H, W) of a call tells sizes apart that it maps to the same one.

    >>> import numpy as np; from fastconv import ops; from fastconv.layers import MaxUnpool2d
    >>> y, indices = ops.max_pool2d(np.zeros((1, 3, 8, 8), np.float32), 2, return_indices=True)
    >>> MaxUnpool2d(2)(y, indices).shape
    (1, 3, 8, 8)
    """

    def __init__(self, kernel_size, *, stride=None, padding=0):
        self.kernel_size = pair("MaxUnpool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("MaxUnpool2d", "stride", stride, 1)
        self.padding = pair("MaxUnpool2d", "padding", padding, 0)

    def __call__(self, x, indices, output_size=None):
        return self.forward(x, indices, output_size, training=False)[0]

    def forward(self, x, indices, output_size=None, *, training=True):
        if output_size is None:
            each = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
            output_size = tuple((size - 1) * step - 2 * pad + kernel for size, kernel, step, pad in each)
        y = ops.max_unpool2d(x, indices, tuple(output_size)[-2:])
        return y, lambda dy: ops.max_unpool2d_backward(dy, indices)


class MaxPool1d(Layer):
    """The maximum of each window, as torch.nn.MaxPool1d: x (N, C, L) -> (N, C, Q).

    >>> import numpy as np; from fastconv.layers import MaxPool1d
    >>> MaxPool1d(2)(np.zeros((1, 3, 8), np.float32)).shape
    (1, 3, 4)
    """

    def __init__(self, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size = extents("MaxPool1d", "kernel_size", kernel_size, 1, 1)
        self.stride = self.kernel_size if stride is None else extents("MaxPool1d", "stride", stride, 1, 1)
        pads("MaxPool1d", padding, 1)
        self.padding = padding
        self.dilation = extents("MaxPool1d", "dilation", dilation, 1, 1)
        self.ceil_mode = bool(ceil_mode)

    def _geometry(self):
        names = "stride", "padding", "dilation", "ceil_mode"
        return {name: getattr(self, name) for name in names}

    def __call__(self, x):
        return ops.max_pool1d(x, self.kernel_size, **self._geometry())

    def forward(self, x, *, training=True):
        kernel_size, geometry, shape = self.kernel_size, self._geometry(), x.shape
        y, indices = ops.max_pool1d(x, kernel_size, return_indices=True, **geometry)
        return y, lambda dy: ops.max_pool1d_backward(dy, indices, shape, kernel_size, **geometry)


class AvgPool1d(Layer):
    """The mean of each window, as torch.nn.AvgPool1d: x (N, C, L) -> (N, C, Q).

    >>> import numpy as np; from fastconv.layers import AvgPool1d
    >>> AvgPool1d(2)(np.zeros((1, 3, 8), np.float32)).shape
    (1, 3, 4)
    """

    def __init__(self, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        self.kernel_size = extents("AvgPool1d", "kernel_size", kernel_size, 1, 1)
        self.stride = self.kernel_size if stride is None else extents("AvgPool1d", "stride", stride, 1, 1)
        pads("AvgPool1d", padding, 1)
        self.padding = padding
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x, *, training=True):
        kernel_size, shape = self.kernel_size, x.shape
        names = "stride", "padding", "ceil_mode", "count_include_pad"
        geometry = {name: getattr(self, name) for name in names}
        y = ops.avg_pool1d(x, kernel_size, **geometry)
        return y, lambda dy: ops.avg_pool1d_backward(dy, shape, kernel_size, **geometry)


class AdaptiveAvgPool1d(Layer):
    """Means of windows that follow from the sizes, as torch.nn.AdaptiveAvgPool1d: x (N, C, L) -> (N, C, output_size).

    >>> import numpy as np; from fastconv.layers import AdaptiveAvgPool1d
    >>> AdaptiveAvgPool1d(5)(np.zeros((1, 3, 8), np.float32)).shape
    (1, 3, 5)
    """

    def __init__(self, output_size):
        (self.output_size,) = extents("AdaptiveAvgPool1d", "output_size", output_size, 1, 1)

    def forward(self, x, *, training=True):
        y = ops.adaptive_avg_pool1d(x, self.output_size)
        shape = x.shape
        return y, lambda dy: ops.adaptive_avg_pool1d_backward(dy, shape)
