"""Maps of another size as layers: see fastconv.ops.interpolate."""

from fastconv import ops
from fastconv.layers.base import Layer

__all__ = ["Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"]

_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic")


class Upsample(Layer):
    """x (N, C, H, W) or (N, C, L) in another size, as torch.nn.Upsample: size, or sizes times scale_factor.

    mode: "nearest", "nearest-exact", "linear" (of sequences), "bilinear" or "bicubic" (of images). align_corners: None
    is False; not with the nearest pixel.

    >>> import numpy as np; from fastconv.layers import Upsample
    >>> Upsample(scale_factor=2, mode="bilinear")(np.zeros((1, 3, 4, 5), np.float32)).shape
    (1, 3, 8, 10)
    """

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None):
        name = type(self).__name__
        if (size is None) == (scale_factor is None):
            raise ValueError(f"{name}: size={size!r}, scale_factor={scale_factor!r}: must be one of them")
        if mode not in _MODES:
            raise ValueError(f"{name}: mode={mode!r}: must be one of {', '.join(_MODES)}")
        if align_corners and mode.startswith("nearest"):
            raise ValueError(f"{name}: align_corners={align_corners!r}: is not for mode={mode!r}")
        self.size = tuple(size) if isinstance(size, list) else size
        self.scale_factor = tuple(scale_factor) if isinstance(scale_factor, list) else scale_factor
        self.mode = mode
        self.align_corners = bool(align_corners)

    def forward(self, x, *, training=True):
        named = {"size": self.size, "scale_factor": self.scale_factor, "mode": self.mode}
        named["align_corners"] = self.align_corners
        y = ops.interpolate(x, **named)
        shape = x.shape
        return y, lambda dy: ops.interpolate_backward(dy, shape, **named)


class UpsamplingNearest2d(Upsample):
    """Images x (N, C, H, W) in another size, each pixel that of x nearest to it, as torch.nn.UpsamplingNearest2d.

    >>> import numpy as np; from fastconv.layers import UpsamplingNearest2d
    >>> UpsamplingNearest2d(scale_factor=2)(np.ones((1, 3, 4, 5), np.float32)).shape
    (1, 3, 8, 10)
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Images x (N, C, H, W) in another size, bilinear with align_corners, as torch.nn.UpsamplingBilinear2d.

    >>> import numpy as np; from fastconv.layers import UpsamplingBilinear2d
    >>> UpsamplingBilinear2d((7, 9))(np.ones((1, 3, 4, 5), np.float32)).shape
    (1, 3, 7, 9)
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, "bilinear", True)
