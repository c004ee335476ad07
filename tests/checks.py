"""What many test modules need: integer data whose sums are exact, the accuracy products owe, and memory orders."""

import math

import numpy as np

UNIT = 2.0**-24  # half the distance from 1 to the next float32


def integers(rng, shape, terms):
    """Random integers as float32, none zero, so small that every sum of `terms` products of two stays below 2**24."""
    limit = max(1, min(32, math.isqrt((1 << 23) // max(1, terms))))
    values = rng.integers(1, limit + 1, shape) * rng.choice([-1, 1], shape)
    return np.asarray(values, np.float32)


def reals(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def assert_equal(actual, expected, what=""):
    """Same shape and values, bit for bit except for the sign of zero; says where they first differ."""
    assert actual.shape == tuple(expected.shape), f"{what}: shape {actual.shape}, expected {tuple(expected.shape)}"
    assert actual.dtype == np.float32, f"{what}: dtype {actual.dtype}"
    wrong = ~((actual == expected) | (np.isnan(actual) & np.isnan(expected)))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.size} elements differ, "
            f"first at {at}: {actual[at]}, expected {expected[at]}"
        )


def assert_accurate(actual, expected, magnitude, terms, what=""):
    """The bounds of a sum of `terms` products: (4 + 1.5 sqrt K) u, at most (K + 1) u, of |a| |b|; 1.5e-6 in L2.

    magnitude is the same sum over absolute values."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    bound = min(4 + 1.5 * math.sqrt(terms), terms + 1) * UNIT
    error = np.abs(actual - expected)
    # The tiny addend is for outputs of nothing but padding: 0 <= 0.
    worst = float((error / (magnitude + 1e-300)).max(initial=0.0))
    assert worst <= bound, f"{what}: error {worst / UNIT:.2f} u of |a||b|, allowed {bound / UNIT:.2f} u ({terms} terms)"
    relative = float(np.linalg.norm(error) / (np.linalg.norm(expected) + 1e-300))
    assert relative <= 1.5e-6, f"{what}: relative L2 error {relative:.2e}, allowed 1.5e-6"


def bits(array):
    """The exact content, for comparisons that tell -0 from 0 and one NaN from another."""
    return np.ascontiguousarray(array).tobytes()


def misaligned(array):
    """A copy whose address is no multiple of 4."""
    raw = bytearray(array.nbytes + 4)
    copy = np.ndarray(array.shape, array.dtype, buffer=raw, offset=1)
    copy[...] = array
    assert not copy.flags.aligned or copy.size == 0
    return copy


def every_other(array):
    """A view with gaps between all elements, equal to `array`."""
    gap = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    base = np.full(tuple(2 * size for size in array.shape), gap, array.dtype)
    view = base[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def reversed_memory(array):
    """A view with negative strides in every dimension, equal to `array`."""
    flip = tuple(slice(None, None, -1) for _ in array.shape)
    return np.ascontiguousarray(array[flip])[flip]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def channels_last(array):
    """An (N, C, H, W) array on (N, H, W, C) memory."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


ORDERS = {
    "C": lambda array: np.array(array, order="C"),
    "Fortran": lambda array: np.array(array, order="F"),
    "strided": every_other,
    "negative strides": reversed_memory,
    "read-only": read_only,
    "misaligned": misaligned,
}
IMAGE_ORDERS = {"channels last": channels_last, **ORDERS}
