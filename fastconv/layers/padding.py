"""Borders around maps (N, C, *sizes) as layers, as those of torch.nn: see fastconv.ops.pad.

padding: an int; one pad an axis or (before, after) an axis, in the order of the axes, as of a convolution; or all of
them in one flat tuple in the order of PyTorch, the last axis first: (left, right, top, bottom).
"""

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.ops._arrays import number, pads

__all__ = [
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
]


class _Pad(Layer):
    mode, rank, value = "constant", 0, 0.0

    def __init__(self, padding):
        name = type(self).__name__
        if isinstance(padding, (tuple, list)) and len(padding) == 2 * self.rank and self.rank > 1:
            padding = tuple(tuple(padding[i : i + 2]) for i in range(2 * self.rank - 2, -1, -2))
        sides = pads(name, padding, self.rank)
        self.padding = tuple(zip(sides[::2], sides[1::2], strict=True))

    def forward(self, x, *, training=True):
        border = {"padding": self.padding, "mode": self.mode}
        y, shape = ops.pad(x, value=self.value, **border), x.shape
        return y, lambda dy: ops.pad_backward(dy, shape, **border)


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = number(type(self).__name__, "value", value)


class ConstantPad1d(_ConstantPad):
    """Adds a border of `value` to sequences (N, C, L).

    >>> import numpy as np; from fastconv.layers import ConstantPad1d
    >>> ConstantPad1d((1, 2), 0.5)(np.zeros((1, 1, 3), np.float32)).shape
    (1, 1, 6)
    """

    rank = 1


class ConstantPad2d(_ConstantPad):
    """Adds a border of `value` to images (N, C, H, W).

    >>> import numpy as np; from fastconv.layers import ConstantPad2d
    >>> ConstantPad2d((1, 2, 0, 1), 0.5)(np.zeros((1, 1, 3, 4), np.float32)).shape
    (1, 1, 4, 7)
    """

    rank = 2


class ConstantPad3d(_ConstantPad):
    """Adds a border of `value` to volumes (N, C, D, H, W).

    >>> import numpy as np; from fastconv.layers import ConstantPad3d
    >>> ConstantPad3d((1, 2, 0, 1, 2, 0), 0.5)(np.zeros((1, 1, 3, 4, 5), np.float32)).shape
    (1, 1, 5, 5, 8)
    """

    rank = 3


class ZeroPad1d(_Pad):
    """Adds a border of zeros to sequences (N, C, L).

    >>> import numpy as np; from fastconv.layers import ZeroPad1d
    >>> ZeroPad1d((1, 2))(np.zeros((1, 1, 3), np.float32)).shape
    (1, 1, 6)
    """

    rank = 1


class ZeroPad2d(_Pad):
    """Adds a border of zeros to images (N, C, H, W).

    >>> import numpy as np; from fastconv.layers import ZeroPad2d
    >>> ZeroPad2d((1, 2, 0, 1))(np.zeros((1, 1, 3, 4), np.float32)).shape
    (1, 1, 4, 7)
    """

    rank = 2


class ZeroPad3d(_Pad):
    """Adds a border of zeros to volumes (N, C, D, H, W).

    >>> import numpy as np; from fastconv.layers import ZeroPad3d
    >>> ZeroPad3d((1, 2, 0, 1, 2, 0))(np.zeros((1, 1, 3, 4, 5), np.float32)).shape
    (1, 1, 5, 5, 8)
    """

    rank = 3


class ReflectionPad1d(_Pad):
    """Mirrors sequences (N, C, L) at their ends, which are not repeated: pads < size.

    >>> import numpy as np; from fastconv.layers import ReflectionPad1d
    >>> ReflectionPad1d((1, 2))(np.zeros((1, 1, 3), np.float32)).shape
    (1, 1, 6)
    """

    mode, rank = "reflect", 1


class ReflectionPad2d(_Pad):
    """Mirrors images (N, C, H, W) at their ends, which are not repeated: pads < size.

    >>> import numpy as np; from fastconv.layers import ReflectionPad2d
    >>> ReflectionPad2d((1, 2, 0, 1))(np.zeros((1, 1, 3, 4), np.float32)).shape
    (1, 1, 4, 7)
    """

    mode, rank = "reflect", 2


class ReflectionPad3d(_Pad):
    """Mirrors volumes (N, C, D, H, W) at their ends, which are not repeated: pads < size.

    >>> import numpy as np; from fastconv.layers import ReflectionPad3d
    >>> ReflectionPad3d((1, 2, 0, 1, 2, 0))(np.zeros((1, 1, 3, 4, 5), np.float32)).shape
    (1, 1, 5, 5, 8)
    """

    mode, rank = "reflect", 3


class ReplicationPad1d(_Pad):
    """Repeats the first and last elements of sequences (N, C, L).

    >>> import numpy as np; from fastconv.layers import ReplicationPad1d
    >>> ReplicationPad1d((1, 2))(np.zeros((1, 1, 3), np.float32)).shape
    (1, 1, 6)
    """

    mode, rank = "replicate", 1


class ReplicationPad2d(_Pad):
    """Repeats the first and last elements of images (N, C, H, W).

    >>> import numpy as np; from fastconv.layers import ReplicationPad2d
    >>> ReplicationPad2d((1, 2, 0, 1))(np.zeros((1, 1, 3, 4), np.float32)).shape
    (1, 1, 4, 7)
    """

    mode, rank = "replicate", 2


class ReplicationPad3d(_Pad):
    """Repeats the first and last elements of volumes (N, C, D, H, W).

    >>> import numpy as np; from fastconv.layers import ReplicationPad3d
    >>> ReplicationPad3d((1, 2, 0, 1, 2, 0))(np.zeros((1, 1, 3, 4, 5), np.float32)).shape
    (1, 1, 5, 5, 8)
    """

    mode, rank = "replicate", 3


class CircularPad1d(_Pad):
    """Continues sequences (N, C, L) from their other end: pads <= size.

    >>> import numpy as np; from fastconv.layers import CircularPad1d
    >>> CircularPad1d((1, 2))(np.zeros((1, 1, 3), np.float32)).shape
    (1, 1, 6)
    """

    mode, rank = "circular", 1


class CircularPad2d(_Pad):
    """Continues images (N, C, H, W) from their other end: pads <= size.

    >>> import numpy as np; from fastconv.layers import CircularPad2d
    >>> CircularPad2d((1, 2, 0, 1))(np.zeros((1, 1, 3, 4), np.float32)).shape
    (1, 1, 4, 7)
    """

    mode, rank = "circular", 2


class CircularPad3d(_Pad):
    """Continues volumes (N, C, D, H, W) from their other end: pads <= size.

    >>> import numpy as np; from fastconv.layers import CircularPad3d
    >>> CircularPad3d((1, 2, 0, 1, 2, 0))(np.zeros((1, 1, 3, 4, 5), np.float32)).shape
    (1, 1, 5, 5, 8)
    """

    mode, rank = "circular", 3
