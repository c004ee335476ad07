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


# By number of spatial axes, for the examples: pads in PyTorch's order, sizes, and what the pads make of them.
_EXAMPLES = {
    1: ("(1, 2)", (3,), (6,)),
    2: ("(1, 2, 0, 1)", (3, 4), (4, 7)),
    3: ("(1, 2, 0, 1, 2, 0)", (3, 4, 5), (5, 5, 8)),
}


class _Pad(Layer):
    mode, rank, value = "constant", 0, 0.0
    example_value = ""

    def __init_subclass__(cls, rank=None, mode="constant"):
        """With a rank: a layer of that many spatial axes, whose text gets the example of all, under its name."""
        if rank is None:
            return
        cls.rank, cls.mode = rank, mode
        padding, sizes, padded = _EXAMPLES[rank]
        cls.__doc__ = f"""{cls.__doc__}

    >>> import numpy as np; from fastconv.layers import {cls.__name__}
    >>> {cls.__name__}({padding}{cls.example_value})(np.zeros({(1, 1, *sizes)}, np.float32)).shape
    {(1, 1, *padded)}
    """

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
    example_value = ", 0.5"

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = number(type(self).__name__, "value", value)


class ConstantPad1d(_ConstantPad, rank=1):
    """Adds a border of `value` to sequences (N, C, L)."""


class ConstantPad2d(_ConstantPad, rank=2):
    """Adds a border of `value` to images (N, C, H, W)."""


class ConstantPad3d(_ConstantPad, rank=3):
    """Adds a border of `value` to volumes (N, C, D, H, W)."""


class ZeroPad1d(_Pad, rank=1):
    """Adds a border of zeros to sequences (N, C, L)."""


class ZeroPad2d(_Pad, rank=2):
    """Adds a border of zeros to images (N, C, H, W)."""


class ZeroPad3d(_Pad, rank=3):
    """Adds a border of zeros to volumes (N, C, D, H, W)."""


class ReflectionPad1d(_Pad, rank=1, mode="reflect"):
    """Mirrors sequences (N, C, L) at their ends, which are not repeated: pads < size."""


class ReflectionPad2d(_Pad, rank=2, mode="reflect"):
    """Mirrors images (N, C, H, W) at their ends, which are not repeated: pads < size."""


class ReflectionPad3d(_Pad, rank=3, mode="reflect"):
    """Mirrors volumes (N, C, D, H, W) at their ends, which are not repeated: pads < size."""


class ReplicationPad1d(_Pad, rank=1, mode="replicate"):
    """Repeats the first and last elements of sequences (N, C, L)."""


class ReplicationPad2d(_Pad, rank=2, mode="replicate"):
    """Repeats the first and last elements of images (N, C, H, W)."""


class ReplicationPad3d(_Pad, rank=3, mode="replicate"):
    """Repeats the first and last elements of volumes (N, C, D, H, W)."""


class CircularPad1d(_Pad, rank=1, mode="circular"):
    """Continues sequences (N, C, L) from their other end: pads <= size."""


class CircularPad2d(_Pad, rank=2, mode="circular"):
    """Continues images (N, C, H, W) from their other end: pads <= size."""


class CircularPad3d(_Pad, rank=3, mode="circular"):
    """Continues volumes (N, C, D, H, W) from their other end: pads <= size."""
