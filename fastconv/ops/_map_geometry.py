"""The geometry of convolutions and transposed convolutions of 1-D, 2-D and 3-D maps: checked here, once."""

import math
from functools import lru_cache, wraps
from typing import NamedTuple

from fastconv import _native
from fastconv.ops._arrays import extents, hashable, integer, sides


class Geometry(NamedTuple):
    """A 3-D convolution, checked. Shapes are (N, C, D, H, W), that of the weights (K, C / groups, T, R, S)."""

    function: str
    rank: int  # of the caller's maps: 1, 2 or 3
    x_shape: tuple
    weight_shape: tuple
    y_shape: tuple
    stride: tuple
    pads: tuple
    dilation: tuple
    groups: int
    extra: tuple = (0, 0, 0)  # of a transposed convolution: rows of zeros its input needs at the end of each axis

    def seen(self, shape):
        """A shape (N, C, D, H, W), as the caller knows it."""
        return shape[:2] + shape[5 - self.rank :]

    @property
    def y_seen(self):
        return self.seen(self.y_shape)

    @property
    def x_seen(self):
        return self.seen(self.x_shape)

    @property
    def offsets(self):
        """Where in x, from stride * d on, the depth taps of output slice d lie."""
        return [t * self.dilation[0] - self.pads[0] for t in range(self.weight_shape[2])]


def _remembered(make):
    """`make` with a cache, for arguments that may hold lists or wrong types."""
    cached = lru_cache(maxsize=1024)(make)

    @wraps(make)
    def call(*arguments):
        return cached(*arguments) if _native.is_exact(arguments) else make(*map(hashable, arguments))

    return call


def _parameters(function, rank, stride, dilation, groups):
    stride = extents(function, "stride", stride, 1, rank)
    dilation = extents(function, "dilation", dilation, 1, rank)
    return stride, dilation, integer(function, "groups", groups, 1)


def lift(values, filling, rank, size=1):
    """Values of `rank` spatial axes, `size` of them an axis, as values of three."""
    return (filling,) * (size * (3 - rank)) + tuple(values)


def volume(memory):
    """Memory (N, *sizes, C) as (N, D, H, W, C), missing axes having size 1."""
    return memory.reshape(memory.shape[0], *lift(memory.shape[1:-1], 1, memory.ndim - 2), memory.shape[-1])


def _check_sizes(function, x_shape, weight_shape):
    if min(x_shape[1:]) < 1:
        raise ValueError(f"{function}: x has shape {x_shape}: channels and sizes must be >= 1")
    if min(weight_shape) < 1:
        raise ValueError(f"{function}: weight has shape {weight_shape}: every size must be >= 1")


def _check_extent(function, name, shape):
    """Refuse what no address space holds, before anything is computed from it."""
    if math.prod(shape) >= 2**60:
        raise ValueError(f"{function}: {name} would have shape {tuple(shape)}: the sizes overflow 64 bits")


@_remembered
def convolution(function, x_shape, weight_shape, stride, padding, dilation, groups):
    """The Geometry of a convolution of x_shape (N, C, *sizes) with weight_shape (K, C / groups, *kernel)."""
    rank = len(x_shape) - 2
    stride, dilation, groups = _parameters(function, rank, stride, dilation, groups)
    _check_sizes(function, x_shape, weight_shape)
    pads = sides(function, padding, weight_shape[2:], stride, dilation)
    if x_shape[1] % groups or weight_shape[0] % groups:
        raise ValueError(
            f"{function}: groups={groups}: must divide {x_shape[1]} input and {weight_shape[0]} output channels"
        )
    if weight_shape[1] * groups != x_shape[1]:
        raise ValueError(
            f"{function}: weight has shape {weight_shape}: with groups={groups} and {x_shape[1]} input channels its "
            f"second dimension must be {x_shape[1] // groups}"
        )
    padded = [size + before + after for size, before, after in zip(x_shape[2:], pads[::2], pads[1::2], strict=True)]
    reach = [step * (taps - 1) + 1 for step, taps in zip(dilation, weight_shape[2:], strict=True)]
    if any(size < taps for size, taps in zip(padded, reach, strict=True)):
        raise ValueError(
            f"{function}: weight has shape {weight_shape}: dilated to {tuple(reach)}, the kernel must fit the padded "
            f"input {tuple(padded)}"
        )
    y_sizes = [(size - taps) // step + 1 for size, taps, step in zip(padded, reach, stride, strict=True)]
    for name, shape in (("padded x", (*x_shape[:2], *padded)), ("y", (x_shape[0], weight_shape[0], *y_sizes))):
        _check_extent(function, name, shape)
    return Geometry(
        function,
        rank,
        (*x_shape[:2], *lift(x_shape[2:], 1, rank)),
        (*weight_shape[:2], *lift(weight_shape[2:], 1, rank)),
        (x_shape[0], weight_shape[0], *lift(y_sizes, 1, rank)),
        lift(stride, 1, rank),
        lift(pads, 0, rank, 2),
        lift(dilation, 1, rank),
        groups,
    )


@_remembered
def transposed(function, x_shape, weight_shape, stride, padding, output_padding, dilation, groups):
    """The Geometry of the convolution whose transpose takes x_shape (N, C, *sizes): its x is our y, its y our x.

    weight_shape (C, K / groups, *kernel). Along each axis y has (size - 1) * stride + dilation * (kernel - 1) + 1 +
    output_padding - before - after elements.
    """
    rank = len(x_shape) - 2
    stride, dilation, groups = _parameters(function, rank, stride, dilation, groups)
    _check_sizes(function, x_shape, weight_shape)
    output_pads = extents(function, "output_padding", output_padding, 0, rank)
    pads = sides(function, padding, weight_shape[2:], stride, dilation)
    if any(map(lambda more, *steps: more >= max(steps), output_pads, stride, dilation)):
        raise ValueError(
            f"{function}: output_padding={output_padding!r}: every output_padding must be < stride={stride} or "
            f"dilation={dilation}"
        )
    if weight_shape[0] != x_shape[1]:
        raise ValueError(
            f"{function}: weight has shape {weight_shape}: its first dimension must be {x_shape[1]}, the input channels"
        )
    if x_shape[1] % groups:
        raise ValueError(f"{function}: groups={groups}: must divide {x_shape[1]} input channels")
    y_sizes, grid, befores, afters = [], [], pads[::2], []
    for axis, (size, taps) in enumerate(zip(x_shape[2:], weight_shape[2:], strict=True)):
        more, after = output_pads[axis], pads[2 * axis + 1]
        whole = (size - 1) * stride[axis] + dilation[axis] * (taps - 1) + 1
        y_sizes.append(whole + more - befores[axis] - after)
        # Output that no tap reaches: the convolution back ends with smaller pads, and then has more steps.
        afters.append(max(0, after - more))
        grid.append(size + max(0, more - after) // stride[axis])
    if min(y_sizes) < 1:
        raise ValueError(
            f"{function}: padding={padding!r}: leaves an output of {tuple(y_sizes)}: every size must be >= 1"
        )
    _check_extent(function, "y", (x_shape[0], weight_shape[1] * groups, *y_sizes))
    pads = [side for both in zip(befores, afters, strict=True) for side in both]
    return Geometry(
        function,
        rank,
        (x_shape[0], weight_shape[1] * groups, *lift(y_sizes, 1, rank)),
        (*weight_shape[:2], *lift(weight_shape[2:], 1, rank)),
        (*x_shape[:2], *lift(grid, 1, rank)),
        lift(stride, 1, rank),
        lift(pads, 0, rank, 2),
        lift(dilation, 1, rank),
        groups,
        lift([end - size for end, size in zip(grid, x_shape[2:], strict=True)], 0, rank),
    )
