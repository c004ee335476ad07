"""embedding and its gradient."""

import numpy as np
import pytest
import reference
from checks import ORDERS, assert_equal, bits, integers, reals

from fastconv import ops, runtime


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 1, 3), (0,), (0, 3)])
@pytest.mark.parametrize("width", [1, 2, 7, 16, 33])
def test_embedding(shape, width, rng):
    weight, ids = integers(rng, (11, width), 1), rng.integers(0, 11, shape)
    assert_equal(ops.embedding(ids, weight), reference.embedding(ids, weight))


@pytest.mark.parametrize("shape", [(1,), (31,), (5, 17), (0,)])
@pytest.mark.parametrize("padding_idx", [None, 0, 3, -1])
def test_embedding_backward(shape, padding_idx, rng):
    ids, dy = rng.integers(0, 9, shape), integers(rng, (*shape, 5), 100)
    dweight = ops.embedding_backward(dy, ids, 9, padding_idx=padding_idx)
    assert_equal(dweight, reference.embedding_backward(dy, ids, 9, padding_idx=padding_idx))


def test_adjoint(rng):
    ids, weight, dy = rng.integers(0, 20, (6, 7)), integers(rng, (20, 9), 100), integers(rng, (6, 7, 9), 100)
    y, dweight = ops.embedding(ids, weight), ops.embedding_backward(dy, ids, 20)
    assert np.vdot(dy.astype(np.float64), y) == np.vdot(dweight.astype(np.float64), weight) != 0


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integer_type_of_ids(dtype, rng):
    weight, ids = reals(rng, (5, 3)), np.array([4, 0, 4], dtype)
    assert np.array_equal(ops.embedding(ids, weight), weight[[4, 0, 4]])
    assert ops.embedding_backward(np.ones((3, 2), np.float32), ids, 5)[:, 0].tolist() == [1, 0, 0, 0, 2]


@pytest.mark.parametrize("order", ORDERS)
def test_memory_orders(order, rng):
    weight, dy, ids = integers(rng, (7, 5), 10), integers(rng, (3, 4, 5), 10), rng.integers(0, 7, (3, 4))
    view = ORDERS[order]
    assert_equal(ops.embedding(view(ids), view(weight)), reference.embedding(ids, weight))
    assert_equal(ops.embedding_backward(view(dy), view(ids), 7), reference.embedding_backward(dy, ids, 7))


def test_result_is_a_copy(rng):
    weight = reals(rng, (3, 2))
    before = weight.copy()
    ops.embedding([0, 1], weight)[...] = 7.0
    assert np.array_equal(weight, before)


def test_special_values_stay_in_their_row(rng):
    dy = reals(rng, (4, 3))
    dy[1, 0] = np.nan
    dweight = ops.embedding_backward(dy, [0, 2, 2, 3], 5)
    assert np.isnan(dweight).sum() == 1
    assert np.isnan(dweight[2, 0])


@pytest.mark.parametrize("width", [1, 3, 4, 8, 15, 16, 17, 33, 70, 256])
def test_rows_are_added_in_their_order(width, isa, rng):
    """The very sums of np.add.at, for any number of threads."""
    ids, dy = rng.integers(0, 40, (20, 30)), reals(rng, (20, 30, width))
    dy[0] = -0.0
    expected = np.zeros((50, width), np.float32)
    np.add.at(expected, ids, dy)
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            assert bits(ops.embedding_backward(dy, ids, 50)) == bits(expected)
            out = np.full((50, width), np.nan, np.float32)
            assert ops.embedding_backward(dy, ids, 50, out=out) is out and bits(out) == bits(expected)


def test_nothing_to_add():
    assert ops.embedding_backward(np.zeros((0, 4), np.float32), np.zeros(0, int), 0).shape == (0, 4)
    assert ops.embedding_backward(np.zeros((3, 0), np.float32), [0, 1, 1], 2).shape == (2, 0)
    assert not ops.embedding_backward(np.zeros((0, 4), np.float32), np.zeros(0, int), 3).any()
