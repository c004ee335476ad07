"""What every op does with its arrays: type checks, memory order, geometry."""

import operator
from numbers import Real

import numpy as np

from fastconv import _native
from fastconv.runtime import context

FLOAT32 = np.dtype(np.float32)

array = _native.array  # (function, name, value, ndim=None): value, checked to be a float32 array


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
    if _native.is_plain_of(value, shape):
        return value
    return contiguous(of_shape(function, name, value, shape))


def channels_last(x):
    """The view (N, ..., C) of an (N, C, ...) array."""
    return x.transpose(0, *range(2, x.ndim), 1)


empty = _native.empty  # (shape): an uninitialised float32 array in C order


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
    memory = _native.channels_last(x, context())
    return _native.channels_last(contiguous(x), context()) if memory is NotImplemented else memory


def map_of_shape(function, name, value, shape):
    """The memory, channels last, of an array that must have exactly this shape (N, C, *sizes)."""
    return nhwc(of_shape(function, name, value, shape))


# (N, C, *sizes): an uninitialised array of this shape on (N, *sizes, C) memory, and that memory
empty_images = _native.empty_images


def image_target(function, out, shape, *operands):
    """(y, memory) of this shape, memory being channels last: `out`, or a new array where there is none.

    Also a new one where the kernels cannot write to out itself: other memory order, or shared with an operand; the
    caller copies it to out.
    """
    if out is not None:
        check_out(function, out, shape)
        memory = channels_last(out)
        shared = any(isinstance(value, np.ndarray) and np.may_share_memory(out, value) for value in operands)
        if memory.flags.c_contiguous and out.flags.aligned and not shared:
            return out, memory
    return empty_images(*shape)


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


def check_out(function, out, shape, name="out"):
    """Refuse an `out` that is not a writeable float32 array of exactly this shape."""
    of_shape(function, name, out, shape)
    if not out.flags.writeable:
        raise ValueError(f"{function}: {name} is read-only: must be writeable")


def target(function, out, shape, *operands, name="out"):
    """Where an op writes a result in C order: `out`, which is checked, or a new array where it is None.

    Also a new one where kernels cannot write to out itself: not in C order, or shared with an operand; see `returned`.
    """
    if out is not None:
        check_out(function, out, shape, name)
        shared = any(isinstance(value, np.ndarray) and np.may_share_memory(out, value) for value in operands)
        if out.flags.c_contiguous and out.flags.aligned and not shared:
            return out
    return empty(shape)


def outs(function, out, *shapes):
    """The `out` of an op with several results as a tuple, each None or an array of its shape, no two sharing memory."""
    if out is None:
        return (None,) * len(shapes)
    if not isinstance(out, tuple) or len(out) != len(shapes):
        rule = f"must be None or a tuple of {len(shapes)}, each an array or None"
        raise TypeError(f"{function}: out is {type(out).__name__}: {rule}")
    given = [(f"out[{i}]", value, shape) for i, (value, shape) in enumerate(zip(out, shapes, strict=True))]
    given = [each for each in given if each[1] is not None]
    for i, (name, value, shape) in enumerate(given):
        check_out(function, value, shape, name)
        for other, before, _ in given[:i]:
            if np.shares_memory(value, before):
                raise ValueError(f"{function}: {name} shares memory with {other}: must not")
    return out


def returned(result, out):
    """What an op returns that computed `result`: `out`, written unless it is the result itself, or the result."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


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
    if type(value) is float:
        return value
    if not isinstance(value, Real):
        raise TypeError(f"{function}: {name}={value!r}: must be a number")
    return float(value)


def sizes(function, name, shape, ndim):
    """A shape of `ndim` sizes >= 0, as a tuple."""
    if _native.is_tuple_of_integers(shape, ndim, 0):
        return shape
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{function}: {name}={shape!r}: must be a shape")
    if len(shape) != ndim:
        raise ValueError(f"{function}: {name}={shape!r}: must be {ndim} sizes >= 0")
    return tuple(integer(function, name, size, 0) for size in shape)


AXES = {1: "(length,)", 2: "(height, width)", 3: "(depth, height, width)"}


def extents(function, name, value, minimum, rank):
    """An int, or a sequence of one a spatial axis, as a tuple of `rank` ints >= minimum."""
    if type(value) is int and value >= minimum:
        return (value,) * rank
    if _native.is_tuple_of_integers(value, rank, minimum):
        return value
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
    if type(padding) is int and padding >= 0:
        return (padding,) * (2 * rank)
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
