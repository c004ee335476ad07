"""What every op does with its arrays: type checks, memory order, geometry."""

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


def shaped(function, name, value, shape):
    """A float32 array of exactly this shape, contiguous."""
    array(function, name, value)
    if value.shape != shape:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must be {shape}")
    return contiguous(value)


def nhwc(x):
    """The C-contiguous (N, H, W, C) array behind an (N, C, H, W) one: a view where memory is in that order."""
    view = x.transpose(0, 2, 3, 1)
    if view.flags.c_contiguous and view.flags.aligned:
        return view
    source = contiguous(x)
    batch, channels, height, width = source.shape
    target = np.empty((batch, height, width, channels), np.float32)
    _native.transpose(
        source.reshape(batch, channels, height * width), target.reshape(batch, height * width, channels), context()
    )
    return target


def empty_images(batch, channels, height, width):
    """An uninitialised (N, C, H, W) array on (N, H, W, C) memory, and that memory."""
    memory = np.empty((batch, height, width, channels), np.float32)
    return memory.transpose(0, 3, 1, 2), memory


def dense(x):
    """x, or a C-ordered copy where its elements do not fill one block of memory in some order of its axes."""
    if x.flags.c_contiguous and x.flags.aligned:
        return x
    if x.ndim == 4 and x.flags.aligned and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return x
    return np.array(x, order="C", copy=True)


def flat(x):
    """The memory of a `dense` array as one dimension, in memory order, without a copy."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    return x.transpose(0, 2, 3, 1).reshape(-1)


def like(function, name, value, reference):
    """`value`, of the shape of `reference` and in its memory order (both dense)."""
    array(function, name, value)
    if value.shape != reference.shape:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must be {reference.shape}")
    if value.flags.aligned and value.strides == reference.strides:
        return value
    copy = np.empty_like(reference)
    copy[...] = value
    return copy


def check_out(function, out, shape):
    """Refuse an `out` that is not a writeable float32 array of exactly this shape."""
    array(function, "out", out)
    if out.shape != shape:
        raise ValueError(f"{function}: out has shape {out.shape}: must be {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only: must be writeable")


def output(function, out, reference):
    """Where an elementwise op writes: `out` checked against the dense `reference`, or a new array in its order.

    Returns (out, target): target is out itself where memory orders agree, else a temporary the caller copies to out.
    """
    if out is None:
        fresh = np.empty_like(reference)
        return fresh, fresh
    check_out(function, out, reference.shape)
    if (
        out.flags.aligned
        and out.strides == reference.strides
        and (out.ctypes.data == reference.ctypes.data or not np.may_share_memory(out, reference))
    ):
        return out, out
    return out, np.empty_like(reference)


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


def pair(function, name, value, minimum):
    """An int or (height, width) as a pair of ints >= minimum."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{function}: {name}={value!r}: must be an integer or a pair (height, width)")
        values = tuple(value)
    else:
        values = (value, value)
    try:
        first, second = map(operator.index, values)
    except TypeError:
        raise TypeError(f"{function}: {name}={value!r}: must be an integer or a pair of integers") from None
    if first < minimum or second < minimum:
        raise ValueError(f"{function}: {name}={value!r}: every {name} must be >= {minimum}")
    return first, second


def pads(function, padding):
    """An int, (height, width) or ((top, bottom), (left, right)) as (top, bottom, left, right)."""
    if isinstance(padding, (tuple, list)) and any(isinstance(side, (tuple, list)) for side in padding):
        if len(padding) != 2 or not all(isinstance(side, (tuple, list)) and len(side) == 2 for side in padding):
            raise ValueError(f"{function}: padding={padding!r}: must be ((top, bottom), (left, right))")
        vertical = pair(function, "padding", padding[0], 0)
        horizontal = pair(function, "padding", padding[1], 0)
        return (*vertical, *horizontal)
    height, width = pair(function, "padding", padding, 0)
    return height, height, width, width
