"""The transposes between NCHW and NHWC."""

import numpy as np
import pytest

from fastconv import _native, runtime, testing
from fastconv.ops import _arrays

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]


def transposed(x):
    y = np.full((x.shape[0], x.shape[2], x.shape[1]), np.nan, np.float32)
    _native.transpose(x, y, runtime.context())
    return y


@pytest.mark.parametrize("rows", SIZES)
def test_every_tail(isa, rng, rows):
    for columns in SIZES:
        x = rng.standard_normal((2, rows, columns)).astype(np.float32)
        assert np.array_equal(transposed(x), x.transpose(0, 2, 1))


@pytest.mark.parametrize(
    "shape", [(2, 3, 4321), (2, 4321, 3), (1, 2, 9000), (3, 70, 1031), (2, 1031, 70), (2, 1, 40000)]
)
def test_large_and_threads(isa, rng, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            assert np.array_equal(transposed(x), x.transpose(0, 2, 1))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(shape):
    assert transposed(np.zeros(shape, np.float32)).shape == (shape[0], shape[2], shape[1])


def test_bits_are_moved_unchanged(isa):
    """Signalling NaNs, denormals and the two zeros: the kernel moves bits (pooling moves its indices with it)."""
    bits = np.array([0x7F800001, 1, 0x80000000, 0, 0xFFC12345, 0x007FFFFF], np.uint32)
    x = np.resize(bits, (1, 19, 23)).astype(np.uint32)
    moved = transposed(x.view(np.float32)).view(np.uint32)
    assert np.array_equal(moved, x.transpose(0, 2, 1))


@pytest.mark.parametrize(
    "rows, columns", [(3, 41), (41, 3), (2, 9), (4, 8), (17, 13), (16, 16), (7, 33), (1, 5), (5, 1)]
)
def test_touches_only_its_operands(isa, rng, rows, columns):
    value = rng.standard_normal((1, rows, columns)).astype(np.float32)
    for flush in ("end", "start"):
        x, y = testing.guarded_copy(value, flush=flush), testing.guarded_empty((1, columns, rows), flush=flush)
        _native.transpose(x, y, runtime.context())
        assert np.array_equal(y, value.transpose(0, 2, 1))


def test_nhwc_of_any_memory_order(isa, rng):
    x = rng.standard_normal((2, 5, 6, 7)).astype(np.float32)
    assert np.shares_memory(_arrays.nhwc(x.transpose(0, 3, 1, 2)), x)
    for view in (x, x[::-1], x[:, ::2], x[..., 1:], np.asfortranarray(x), x.transpose(0, 2, 3, 1)):
        memory = _arrays.nhwc(view)
        assert memory.flags.c_contiguous
        assert np.array_equal(memory, view.transpose(0, 2, 3, 1))
