"""What every op does with its arrays: type checks, memory order, geometry."""

import math
import operator
from numbers import Real

import numpy as np

from fastconv import _native
from fastconv.runtime import context

FLOAT32 = np.dtype(np.float32)


def array(function, name, value, ndim=None):
    """`value` as a float32 array, or an error naming function, argument, value and rule. Never casts."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{function}: {name} is {type(value).__name__}: must be a NumPy array of float32")
    if value.dtype != FLOAT32:
        raise TypeError(f"{function}: {name} has dtype {value.dtype}: must be float32; use {name}.astype(np.float32)")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must have {ndim} dimensions")
    return value


def contiguous(value):
    """C-contiguous and aligned: the array itself where it is so, else a copy."""
    if value.flags.c_contiguous and value.flags.aligned:
        return value
    return np.array(value, order="C", copy=True)


def of_shape(function, name, value, shape):
    """A float32 array of exactly this shape."""
    array(function, name, value)
    if value.shape != shape:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must be {shape}")
    return value


def shaped(function, name, value, shape):
    """A float32 array of exactly this shape, contiguous."""
    return contiguous(of_shape(function, name, value, shape))


def channels_last(x):
    """The view (N, ..., C) of an (N, C, ...) array."""
    return x.transpose(0, *range(2, x.ndim), 1)


# Smaller arrays are as fast wherever they lie.
_BLOCK_BYTES = 16 * 1024


def empty(shape):
    """An uninitialised float32 array in C order, large ones at whole cache lines (see `_native.Block`)."""
    size = 4 * math.prod(shape)
    if size < _BLOCK_BYTES:
        return np.empty(shape, np.float32)
    return np.ndarray(shape, np.float32, _native.Block(size))


def empty_like(x):
    """As `empty`, in the shape and memory order of a `dense` x."""
    if x.flags.c_contiguous:
        return empty(x.shape)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        batch, channels, height, width = x.shape
        return empty((batch, height, width, channels)).transpose(0, 3, 1, 2)
    return np.empty_like(x)


def nhwc(x):
    """The C-contiguous (N, H, W, C) array behind an (N, C, H, W) one: a view where memory is in that order.

    Of maps with any number of spatial axes: (N, L, C) of (N, C, L), (N, D, H, W, C) of (N, C, D, H, W).
    """
    view = channels_last(x)
    if view.flags.c_contiguous and view.flags.aligned:
        return view
    source = contiguous(x)
    batch, channels, *sizes = source.shape
    pixels = math.prod(sizes)
    target = empty(view.shape)
    _native.transpose(source.reshape(batch, channels, pixels), target.reshape(batch, pixels, channels), context())
    return target


def map_of_shape(function, name, value, shape):
    """The memory, channels last, of an array that must have exactly this shape (N, C, *sizes)."""
    return nhwc(of_shape(function, name, value, shape))


def empty_images(batch, channels, *sizes):
    """An uninitialised (N, C, H, W) array on (N, H, W, C) memory, and that memory; sizes: the spatial ones."""
    memory = empty((batch, *sizes, channels))
    return memory.transpose(0, -1, *range(1, 1 + len(sizes))), memory


def image_target(function, out, shape, *operands):
    """(y, memory) of this shape, memory being channels last: `out`, or a new array where there is none.

    Also a new one where the kernels cannot write to out itself: other memory order, or shared with an operand; the
    caller copies it to out.
    """
    if out is not None:
        check_out(function, out, shape)
        memory = channels_last(out)
        if memory.flags.c_contiguous and out.flags.aligned and not any(shared(out, value) for value in operands):
            return out, memory
    return empty_images(*shape)


def shared(out, value):
    """Whether an op that writes out might change value before it has read it."""
    return isinstance(value, np.ndarray) and np.may_share_memory(out, value)


def dense(x):
    """x, or a C-ordered copy where its elements do not fill one block of memory in some order of its axes."""
    if x.flags.c_contiguous and x.flags.aligned:
        return x
    if x.ndim > 2 and x.flags.aligned and channels_last(x).flags.c_contiguous:
        return x
    return np.array(x, order="C", copy=True)


def flat(x):
    """The memory of a `dense` array as one dimension, in memory order, without a copy."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    return channels_last(x).reshape(-1)


def like(function, name, value, reference):
    """`value`, of the shape of `reference` and in its memory order (both dense)."""
    of_shape(function, name, value, reference.shape)
    if value.flags.aligned and value.strides == reference.strides:
        return value
    copy = np.empty_like(reference)
    copy[...] = value
    return copy


def check_out(function, out, shape):
    """Refuse an `out` that is not a writeable float32 array of exactly this shape."""
    of_shape(function, "out", out, shape)
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only: must be writeable")


def output(function, out, reference):
    """Where an elementwise op writes: `out` checked against the dense `reference`, or a new array in its order.

    Returns (out, target): target is out itself where memory orders agree, else a temporary the caller copies to out.
    """
    if out is None:
        fresh = empty_like(reference)
        return fresh, fresh
    check_out(function, out, reference.shape)
    if (
        out.flags.aligned
        and out.strides == reference.strides
        and (out.ctypes.data == reference.ctypes.data or not np.may_share_memory(out, reference))
    ):
        return out, out
    return out, empty_like(reference)


def integer(function, name, value, minimum):
    """An int >= minimum, or an error naming function, argument, value and rule."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{function}: {name}={value!r}: must be an integer") from None
    if number < minimum:
        raise ValueError(f"{function}: {name}={value!r}: must be >= {minimum}")
    return number


def number(function, name, value):
    """A float, or an error naming function, argument, value and rule: no strings, arrays or complex numbers."""
    if not isinstance(value, Real):
        raise TypeError(f"{function}: {name}={value!r}: must be a number")
    return float(value)


def sizes(function, name, shape, ndim):
    """A shape of `ndim` sizes >= 0, as a tuple."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{function}: {name}={shape!r}: must be a shape")
    if len(shape) != ndim:
        raise ValueError(f"{function}: {name}={shape!r}: must be {ndim} sizes >= 0")
    return tuple(integer(function, name, size, 0) for size in shape)


AXES = {1: "(length,)", 2: "(height, width)", 3: "(depth, height, width)"}


def extents(function, name, value, minimum, rank):
    """An int, or a sequence of one a spatial axis, as a tuple of `rank` ints >= minimum."""
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            raise ValueError(f"{function}: {name}={value!r}: must be an integer or {AXES[rank]}")
        values = tuple(value)
    else:
        values = (value,) * rank
    try:
        values = tuple(map(operator.index, values))
    except TypeError:
        raise TypeError(f"{function}: {name}={value!r}: must be an integer or integers {AXES[rank]}") from None
    if min(values) < minimum:
        raise ValueError(f"{function}: {name}={value!r}: every {name} must be >= {minimum}")
    return values


def pair(function, name, value, minimum):
    """An int or (height, width) as a pair of ints >= minimum."""
    return extents(function, name, value, minimum, 2)


def pads(function, padding, rank=2):
    """An int, one an axis, or (before, after) an axis as one tuple: (top, bottom, left, right) of two axes.

    Of a single axis, (before, after) may stand without the outer parentheses.
    """
    if rank == 1 and isinstance(padding, (tuple, list)) and len(padding) == 2:
        padding = (padding,)
    if isinstance(padding, (tuple, list)) and any(isinstance(side, (tuple, list)) for side in padding):
        if len(padding) != rank or not all(isinstance(side, (tuple, list)) and len(side) == 2 for side in padding):
            rule = f"must be (before, after) for each of {AXES[rank]}"
            raise ValueError(f"{function}: padding={padding!r}: {rule}")
        return tuple(side for axis in padding for side in extents(function, "padding", axis, 0, 2))
    return tuple(side for side in extents(function, "padding", padding, 0, rank) for _ in range(2))


def sides(function, padding, kernel, stride, dilation):
    """The pads of a convolution, as `pads` gives them, from these or from "same" or "valid".

    "same" are those with which stride 1 keeps the size; the odd one goes to the end, as in PyTorch.
    """
    if not isinstance(padding, str):
        return pads(function, padding, len(kernel))
    if padding not in ("same", "valid"):
        raise ValueError(f"{function}: padding={padding!r}: must be 'same', 'valid', a number or pads")
    if padding == "valid":
        return (0,) * (2 * len(kernel))
    if max(stride) > 1:
        raise ValueError(f"{function}: padding='same': needs stride 1, not {stride}")
    totals = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    return tuple(side for total in totals for side in (total // 2, total - total // 2))


def hashable(value):
    """Lists as tuples, at any depth."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value
