"""Pooling layers. Images are (N, C, H, W)."""

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.ops._arrays import pads, pair

__all__ = ["MaxPool2d", "AvgPool2d", "GlobalAvgPool2d"]


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
        return y, lambda dy: ops.max_pool2d_backward(dy, indices, shape, kernel_size, **geometry)


class AvgPool2d(Layer):
    """The mean of each window, as torch.nn.AvgPool2d: x (N, C, H, W) -> (N, C, P, Q).

    stride defaults to kernel_size. count_include_pad: padding counts in the divisor.

    >>> import numpy as np; from fastconv.layers import AvgPool2d
    >>> AvgPool2d(2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(self, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        self.kernel_size = pair("AvgPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("AvgPool2d", "stride", stride, 1)
        pads("AvgPool2d", padding)
        self.padding = padding
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x, *, training=True):
        kernel_size, shape = self.kernel_size, x.shape
        geometry = {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
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
