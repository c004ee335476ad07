"""Borders: every mode, axis and memory order against NumPy's, forward and backward."""

import itertools

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, assert_equal, bits, channels_last, integers, reals

from fastconv import layers, ops, runtime
from fastconv.testing import check_adjoint

MODES = ("constant", "reflect", "replicate", "circular")
SIZES = ((1,), (7,), (1, 1), (3, 5), (6, 4), (1, 4), (2, 3, 4), (3, 1, 2), (1, 1, 1))
CHANNELS = (1, 3, 8, 17)


def most(mode, size):
    return {"reflect": size - 1, "circular": size}.get(mode, size + 2)


def paddings(mode, sizes):
    """None, a pair for each axis that differ, and the largest."""
    largest = [most(mode, size) for size in sizes]
    yield tuple((0, 0) for _ in sizes)
    yield tuple((top, top // 2) if axis % 2 else (top // 2, top) for axis, top in enumerate(largest))
    yield tuple((top, top) for top in largest)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_and_backward(mode, sizes, rng):
    for channels, padding in itertools.product(CHANNELS, paddings(mode, sizes)):
        named = {"padding": padding, "mode": mode}
        value = {"value": 2.5} if mode == "constant" else {}
        x = integers(rng, (2, channels, *sizes), 1)
        expected = reference.pad(x, **named, **value)
        dy = integers(rng, expected.shape, 1)
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                assert_equal(ops.pad(x, **named, **value), expected, f"{channels} {padding}")
                dx = ops.pad_backward(dy, x.shape, **named)
                assert_equal(dx, reference.pad_backward(dy, x.shape, **named), f"{channels} {padding}")


@pytest.mark.parametrize("mode", MODES)
def test_threads_give_the_same_bits(mode, rng):
    x = reals(rng, (3, 33, 40, 31))
    dy = reals(rng, (3, 33, 47, 37))
    results = set()
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y = ops.pad(x, padding=((3, 4), (5, 1)), mode=mode)
            results.add((bits(y), bits(ops.pad_backward(dy, x.shape, padding=((3, 4), (5, 1)), mode=mode))))
    assert len(results) == 1


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_memory_orders(order, rng):
    x, dy = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 7, 6), 1)
    named = {"padding": ((1, 2), (2, 1)), "mode": "reflect"}
    given = IMAGE_ORDERS[order](x)
    before = bits(given)
    y = ops.pad(given, **named)
    assert_equal(y, reference.pad(x, **named))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous and bits(given) == before
    dx = ops.pad_backward(IMAGE_ORDERS[order](dy), x.shape, **named)
    assert_equal(dx, reference.pad_backward(dy, x.shape, **named))


def test_shorthands(rng):
    x = integers(rng, (1, 2, 4, 5), 1)
    for short, long in ((2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))), ([[0, 1], [2, 0]], ((0, 1), (2, 0)))):
        assert_equal(ops.pad(x, padding=short), reference.pad(x, padding=long))
    assert_equal(ops.pad(x[0], padding=(1, 3)), reference.pad(x[0], padding=((1, 3),)))


@pytest.mark.parametrize("mode", MODES)
def test_special_values_go_where_they_are_copied(mode, rng):
    x = integers(rng, (1, 3, 4, 4), 1)
    x[0, 1, 0, 2] = np.nan
    named = {"padding": ((2, 3), (1, 3)), "mode": mode}
    y = ops.pad(x, **named)
    assert np.array_equal(np.isnan(y), np.isnan(reference.pad(x, **named)))
    dy = integers(rng, y.shape, 1)
    dy[0, 2, 1, 1] = np.inf
    dx = ops.pad_backward(dy, x.shape, **named)
    assert np.array_equal(np.isinf(dx), np.isinf(reference.pad_backward(dy, x.shape, **named)))
    assert np.isnan(ops.pad(x, padding=1, value=np.nan)[:, :, 0]).all()


@pytest.mark.parametrize("mode", MODES)
def test_backward_is_the_adjoint(mode, rng):
    for sizes in ((5,), (4, 5), (3, 4, 5)):
        x, named = integers(rng, (2, 3, *sizes), 1), {"padding": 2, "mode": mode}
        forward, adjoint = (lambda x: ops.pad(x, **named)), (lambda dy: ops.pad_backward(dy, x.shape, **named))  # noqa: B023
        assert check_adjoint(forward, adjoint, x, rng, tolerance=0) == 0


def test_out(rng):
    x, dy, named = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 7, 6), 1), {"padding": ((1, 2), (2, 1))}
    y, dx = ops.pad(x, **named, mode="reflect"), ops.pad_backward(dy, x.shape, **named, mode="reflect")
    for order in (channels_last, np.array):
        out, dout = order(np.full_like(y, np.nan)), order(np.full_like(dx, np.nan))
        assert ops.pad(x, **named, mode="reflect", out=out) is out
        assert ops.pad_backward(dy, x.shape, **named, mode="reflect", out=dout) is dout
        assert_equal(out, y)
        assert_equal(dout, dx)
    memory = np.zeros((2, 7, 6, 5), np.float32)
    inner = memory[:, 1:5, 2:5].transpose(0, 3, 1, 2)  # x lies where the inner part of y goes
    inner[...] = x
    assert_equal(ops.pad(inner, **named, mode="reflect", out=memory.transpose(0, 3, 1, 2)), y)


def test_empty():
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        y = ops.pad(np.zeros(shape, np.float32), padding=1, mode="reflect")
        assert y.shape == (*shape[:2], 6, 7)
        assert ops.pad_backward(y, shape, padding=1, mode="reflect").shape == shape


def test_layers_take_the_order_of_pytorch_too(rng):
    x = integers(rng, (2, 3, 5, 6), 1)
    expected = reference.pad(x, padding=((3, 4), (1, 2)), mode="reflect")
    for padding in ((1, 2, 3, 4), ((3, 4), (1, 2))):
        y, backward = layers.ReflectionPad2d(padding).forward(x)
        assert_equal(y, expected)
        assert_equal(backward(y), reference.pad_backward(y, x.shape, padding=((3, 4), (1, 2)), mode="reflect"))
    assert_equal(layers.ConstantPad2d(1, 0.5)(x), reference.pad(x, padding=1, value=0.5))
    with pytest.raises(ValueError, match="ZeroPad2d: padding=-1: every padding must be >= 0"):
        layers.ZeroPad2d(-1)
    with pytest.raises(TypeError, match="ConstantPad1d: value='0': must be a number"):
        layers.ConstantPad1d(1, "0")
