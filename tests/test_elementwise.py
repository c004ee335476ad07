"""Sums and products with broadcasting, and their gradients: against NumPy in float64, integers exactly."""

import itertools

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, ORDERS, UNIT, assert_equal, bits, channels_last, integers, reals
from elementwise_problems import LARGE, PAIRS, name

from fastconv import ops, runtime
from fastconv.testing import check_adjoint

SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 1000)
FORWARD = {"add": (ops.add, reference.add), "mul": (ops.mul, reference.mul)}


def shapes_for(add_backward):
    """add_backward, called as mul_backward."""
    return lambda dy, a, b: add_backward(dy, a.shape, b.shape)


BACKWARD = {
    "add": (shapes_for(ops.add_backward), shapes_for(reference.add_backward)),
    "mul": (ops.mul_backward, reference.mul_backward),
}


def orders_of(array):
    yield array
    if array.ndim == 4:
        yield channels_last(array)


def shape_of(pair):
    return np.broadcast_shapes(*pair)


# ------------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("op", FORWARD)
@pytest.mark.parametrize("pair", [*PAIRS, *LARGE], ids=name)
def test_forward(op, pair, isa, rng):
    function, definition = FORWARD[op]
    first, second = (integers(rng, shape, 1) for shape in pair)
    for a, b in itertools.product(orders_of(first), orders_of(second)):
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                assert_equal(function(a, b), definition(first, second))
                assert_equal(function(b, a), definition(first, second))
                out = np.full(shape_of(pair), np.nan, np.float32)
                assert function(a, b, out=out) is out
                assert_equal(out, definition(first, second))


@pytest.mark.parametrize("op", FORWARD)
def test_sizes(op, isa, rng):
    """Rows of every length, at every alignment, and nothing written beside them."""
    function, definition = FORWARD[op]
    for size in SIZES:
        a, b = reals(rng, (3, size)), reals(rng, (3, size))
        for other in (b, b[:1], b[:, :1], b[0, :1]):
            expected = definition(a, other).astype(np.float32)
            assert_equal(function(a, other), expected, str(size))
            for shift in (0, 1, 3, 13):
                memory = np.full(3 * size + 40, 7, np.float32)
                out = memory[shift : shift + 3 * size].reshape(3, size)
                function(a, other, out=out)
                assert_equal(out, expected, str(size))
                assert (memory[:shift] == 7).all() and (memory[shift + 3 * size :] == 7).all()


@pytest.mark.parametrize("activation", ["relu", "mish", ("leaky_relu", 0.2), ("hardtanh", -0.5, 0.5)])
@pytest.mark.parametrize(
    "pair", [((5, 7), (5, 7)), ((2, 33, 40, 33), (33, 1, 1)), ((2, 3, 2, 3, 2), (3, 1, 3, 1))], ids=name
)
def test_a_sum_and_its_activation(pair, activation, isa, rng):
    a, b = (reals(rng, shape) for shape in pair)
    kind, *parameters = (activation,) if isinstance(activation, str) else activation
    expected = getattr(ops, kind)(ops.add(a, b), *parameters)
    assert bits(ops.add(a, b, activation=activation)) == bits(expected)
    for order in orders_of(a):
        assert_equal(ops.add(order, b, activation=activation), expected)


def test_results_lie_as_their_operands(rng):
    first, bias, gate = integers(rng, (2, 5, 3, 4), 1), integers(rng, (5, 1, 1), 1), integers(rng, (2, 5, 1, 1), 1)
    last = channels_last(first)
    for x in (first, last):
        for other in (first, last, bias, gate, np.array(2, np.float32)):
            assert ops.add(x, other).strides == x.strides
            assert ops.mul(other, x).strides == (other.strides if other.shape == x.shape else x.strides)
    assert ops.add(first[0], bias).flags.c_contiguous
    cubes = np.moveaxis(integers(rng, (2, 3, 4, 5, 6), 1), -1, 1)  # (N, C, D, H, W) on channels-last memory
    assert ops.add(cubes, cubes).strides == cubes.strides
    bias = integers(rng, (6, 1, 1, 1), 1)
    assert_equal(ops.add(cubes, bias), reference.add(cubes, bias))
    assert ops.add(cubes, bias).strides == cubes.strides


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_memory_orders(order, rng):
    x, other, bias = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 4, 3), 1), integers(rng, (5, 1, 1), 1)
    given, kept = IMAGE_ORDERS[order](x), bits(x)
    for second in (other, channels_last(other), bias, ORDERS["negative strides"](bias)):
        assert_equal(ops.add(given, second), reference.add(x, second))
        assert_equal(ops.mul(second, given), reference.mul(x, second))
        for a, b in zip(ops.mul_backward(given, x, second), reference.mul_backward(x, x, second), strict=True):
            assert_equal(a, b)
        for a, b in zip(ops.mul_backward(x, given, second), reference.mul_backward(x, x, second), strict=True):
            assert_equal(a, b)
    assert bits(given) == kept


def test_out_in_any_order(rng):
    a, b = integers(rng, (2, 5, 4, 3), 1), integers(rng, (5, 1, 1), 1)
    for order in ("C", "channels last", "negative strides", "strided", "misaligned", "Fortran"):
        out = IMAGE_ORDERS[order](np.zeros_like(a))
        assert ops.add(a, b, out=out) is out
        assert_equal(np.array(out), reference.add(a, b), order)


@pytest.mark.parametrize("size", [1, 17, 1000, 40000])
def test_out_may_be_an_operand_or_overlap_one(size, isa, rng):
    a, b = integers(rng, (size,), 1), integers(rng, (size,), 1)
    expected = reference.add(a, b)
    place = a.copy()
    assert ops.add(place, b, out=place) is place
    assert_equal(place, expected)
    place = b.copy()
    assert_equal(ops.add(a, place, out=place), expected)
    place = a.copy()
    assert_equal(ops.mul(place, place, out=place), reference.mul(a, a))
    for shift in (1, 5, 16):
        for forward in (False, True):
            memory = np.zeros(size + shift, np.float32)
            source, out = (memory[:size], memory[shift:]) if forward else (memory[shift:], memory[:size])
            source[...] = a
            assert_equal(ops.add(source, b, out=out), expected)
    square = integers(rng, (size // 40 + 1,) * 2, 1)
    expected = reference.add(square, square[0])
    place = square.copy()
    assert_equal(ops.add(place, place[0], out=place), expected)  # a bias that lies in the result
    place = square.copy()
    assert_equal(ops.add(place, place.T, out=place.T), reference.add(square, square.T))


def test_special_values(isa):
    values = np.array([0, -0.0, 1e-45, -1e-40, 1, 3e38, np.inf, -np.inf, np.nan] * 9, np.float32)
    a, b = (x.ravel().copy() for x in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        for function, ufunc in ((ops.add, np.add), (ops.mul, np.multiply)):
            expected = ufunc(a, b)
            result = function(a, b)
            assert_equal(result, expected)
            finite = ~np.isnan(expected)
            assert bits(result[finite]) == bits(expected[finite])
        assert_equal(ops.add(a, b, activation="relu"), np.maximum(a + b, 0))


def test_results_beyond_the_caches(isa, rng):
    """From 16 MB on results are stored past the caches, in whole vectors: rows with tails and odd addresses too."""
    a = rng.integers(-9, 10, (4099, 1031)).astype(np.float32)
    b, row, column = a[::-1].copy(), a[5].copy(), a[:, 7:8].copy()
    memory = np.empty(a.size + 3, np.float32)
    for threads in (1, 2):
        with runtime.options(num_threads=threads):
            for other in (b, row, column, column[:1, 0]):
                for out in (None, memory[3:].reshape(a.shape)):
                    assert np.array_equal(ops.add(a, other, out=out), a + other)
            place = a.copy()
            assert np.array_equal(ops.mul(place, b, out=place), a * b)


@pytest.mark.parametrize("op", FORWARD)
def test_empty_and_read_only(op):
    function, _ = FORWARD[op]
    x = np.ones((2, 3), np.float32)
    x.flags.writeable = False
    assert function(x, x).tolist() == ((x + x) if op == "add" else x * x).tolist()
    assert function(np.ones((0, 3), np.float32), np.ones(3, np.float32)).shape == (0, 3)


# ------------------------------------------------------------------------------------------------------------ backward


@pytest.mark.parametrize("op", BACKWARD)
@pytest.mark.parametrize("pair", [*PAIRS, *LARGE], ids=name)
def test_backward(op, pair, isa, rng):
    function, definition = BACKWARD[op]
    terms = max(1, int(np.prod(shape_of(pair))))
    first, second, dy = (integers(rng, shape, terms) for shape in (*pair, shape_of(pair)))
    expected = definition(dy, first, second)
    for a, b, gradient in itertools.product(orders_of(first), orders_of(second), orders_of(dy)):
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                for result, right in zip(function(gradient, a, b), expected, strict=True):
                    assert_equal(result, right)
                for result, right in zip(function(gradient, b, a), reversed(expected), strict=True):
                    assert_equal(result, right)


@pytest.mark.parametrize("pair", LARGE, ids=name)
def test_sums_are_accurate_and_the_same_for_any_number_of_threads(pair, isa, rng):
    """Chunks of 128 rows or 8192 columns are summed in float32, their sums in double."""
    a, b, dy = (reals(rng, shape) for shape in (*pair, shape_of(pair)))
    expected, magnitude = reference.mul_backward(dy, a, b), reference.mul_backward(abs(dy), abs(a), abs(b))
    found = set()
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            results = ops.mul_backward(dy, a, b)
            sums = ops.add_backward(dy, *pair)[1]
            found.add((bits(results[0]), bits(results[1]), bits(sums)))
    assert len(found) == 1
    for result, right, size in zip(results, expected, magnitude, strict=True):
        assert (np.abs(result - right) <= 30 * UNIT * size).all()
    total = reference.add_backward(abs(dy), *pair)[1]
    assert (np.abs(sums - reference.add_backward(dy, *pair)[1]) <= 30 * UNIT * total).all()
    nhwc = channels_last(dy) if dy.ndim == 4 else dy
    assert np.abs(ops.add_backward(nhwc, *pair)[1] - sums).max() <= 30 * UNIT * total.max()


@pytest.mark.parametrize("pair", [PAIRS[7], PAIRS[9], PAIRS[18], PAIRS[20]], ids=name)
def test_backward_is_the_adjoint(pair, isa, rng):
    a, b = (integers(rng, shape, 100) for shape in pair)
    for part, x in enumerate((a, b)):
        product = lambda x, part=part: ops.mul(x, b) if part == 0 else ops.mul(a, x)
        gradient = lambda dy, part=part: ops.mul_backward(dy, a, b)[part]
        check_adjoint(product, gradient, x, rng, tolerance=0)


def test_nothing_is_copied_where_nothing_is_summed(rng):
    dy = integers(rng, (2, 3), 1)
    da, db = ops.add_backward(dy, (2, 3), (3,))
    assert da is dy and db.shape == (3,)


def test_nan_reaches_its_sums_alone(isa, rng):
    dy = integers(rng, (300, 33), 1)
    dy[257, 5] = np.nan
    db = ops.add_backward(dy, (300, 33), (33,))[1]
    assert np.isnan(db).tolist() == [i == 5 for i in range(33)]
    db = ops.add_backward(dy, (300, 33), (300, 1))[1]
    assert np.isnan(db[:, 0]).tolist() == [i == 257 for i in range(300)]
