"""Elements in another order as layers, as those of torch.nn: see fastconv.ops.rearrangement."""

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.ops._arrays import integer, pair

__all__ = ["PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Unfold", "Fold"]


class PixelShuffle(Layer):
    """Channels to pixels: x (N, C * r^2, H, W) -> (N, C, H * r, W * r), r = upscale_factor.

    >>> import numpy as np; from fastconv.layers import PixelShuffle
    >>> PixelShuffle(2)(np.zeros((1, 12, 4, 5), np.float32)).shape
    (1, 3, 8, 10)
    """

    def __init__(self, upscale_factor):
        self.upscale_factor = integer("PixelShuffle", "upscale_factor", upscale_factor, 1)

    def forward(self, x, *, training=True):
        factor = self.upscale_factor
        return ops.pixel_shuffle(x, factor), lambda dy: ops.pixel_shuffle_backward(dy, factor)


class PixelUnshuffle(Layer):
    """Pixels to channels: x (N, C, H * r, W * r) -> (N, C * r^2, H, W), r = downscale_factor.

    >>> import numpy as np; from fastconv.layers import PixelUnshuffle
    >>> PixelUnshuffle(2)(np.zeros((1, 3, 8, 10), np.float32)).shape
    (1, 12, 4, 5)
    """

    def __init__(self, downscale_factor):
        self.downscale_factor = integer("PixelUnshuffle", "downscale_factor", downscale_factor, 1)

    def forward(self, x, *, training=True):
        factor = self.downscale_factor
        return ops.pixel_unshuffle(x, factor), lambda dy: ops.pixel_unshuffle_backward(dy, factor)


class ChannelShuffle(Layer):
    """The channels of x (N, C, ...), of each of `groups` groups in turn.

    >>> import numpy as np; from fastconv.layers import ChannelShuffle
    >>> ChannelShuffle(2)(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)).ravel().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, groups):
        self.groups = integer("ChannelShuffle", "groups", groups, 1)

    def forward(self, x, *, training=True):
        groups = self.groups
        return ops.channel_shuffle(x, groups), lambda dy: ops.channel_shuffle_backward(dy, groups)


class _Windows(Layer):
    def __init__(self, kernel_size, dilation, padding, stride):
        name = type(self).__name__
        self.kernel_size = pair(name, "kernel_size", kernel_size, 1)
        self.dilation = pair(name, "dilation", dilation, 1)
        self.padding = pair(name, "padding", padding, 0)
        self.stride = pair(name, "stride", stride, 1)

    def _geometry(self):
        return {"dilation": self.dilation, "padding": self.padding, "stride": self.stride}


class Unfold(_Windows):
    """The windows of x (N, C, H, W) as columns (N, C * R * S, L), R, S = kernel_size: im2col.

    >>> import numpy as np; from fastconv.layers import Unfold
    >>> Unfold((2, 3))(np.zeros((2, 5, 3, 4), np.float32)).shape
    (2, 30, 4)
    """

    def __init__(self, kernel_size, *, dilation=1, padding=0, stride=1):
        super().__init__(kernel_size, dilation, padding, stride)

    def forward(self, x, *, training=True):
        kernel_size, geometry = self.kernel_size, self._geometry()
        y = ops.unfold(x, kernel_size, **geometry)
        shape = x.shape
        return y, lambda dy: ops.unfold_backward(dy, shape, kernel_size, **geometry)


class Fold(_Windows):
    """The sum of windows: columns (N, C * R * S, L) -> y (N, C, *output_size): col2im, the adjoint of Unfold.

    >>> import numpy as np; from fastconv.layers import Fold
    >>> Fold((4, 5), (2, 2))(np.ones((1, 12, 12), np.float32)).shape
    (1, 3, 4, 5)
    """

    def __init__(self, output_size, kernel_size, *, dilation=1, padding=0, stride=1):
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = pair("Fold", "output_size", output_size, 1)

    def forward(self, x, *, training=True):
        kernel_size, geometry = self.kernel_size, self._geometry()
        y = ops.fold(x, self.output_size, kernel_size, **geometry)
        return y, lambda dy: ops.fold_backward(dy, kernel_size, **geometry)
