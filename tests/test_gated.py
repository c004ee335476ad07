"""PReLU and gated linear units: against their definitions, against PyTorch, threads, memory orders, special values."""

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, UNIT, assert_equal, bits, channels_last, integers, reals

from fastconv import layers, ops, runtime
from fastconv.testing import check_vjp

SHAPES = [(7,), (5, 17), (33, 3), (2, 9, 31), (2, 16, 5, 7), (3, 33, 9, 8), (2, 5, 3, 2, 4), (0, 3), (2, 3, 0, 4)]
LARGE = [(3, 31, 40, 33), (2000, 65), (1, 2, 300, 301)]


def slopes_of(shape):
    """Lengths of weight."""
    return (1, shape[1]) if len(shape) > 1 else (1,)


def orders_of(array):
    yield array
    if array.ndim > 2:
        yield np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


# --------------------------------------------------------------------------------------------------------------- prelu


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE], ids=str)
def test_prelu(shape, isa, rng):
    terms = max(1, int(np.prod(shape)))
    first, gradient = integers(rng, shape, terms), integers(rng, shape, terms)
    first.reshape(-1)[::5] = 0
    for length in slopes_of(shape):
        weight = integers(rng, (length,), terms)
        expected = reference.prelu_backward(gradient, first, weight)
        for x in orders_of(first):
            for dy in orders_of(gradient):
                for threads in (1, 2, 3):
                    with runtime.options(num_threads=threads):
                        y = ops.prelu(x, weight)
                        assert_equal(y, reference.prelu(first, weight))
                        assert y.strides == x.strides or not y.size
                        dx, dweight = ops.prelu_backward(dy, x, weight)
                        assert_equal(dx, expected[0])
                        assert_equal(dweight, expected[1])
                        assert dx.strides == x.strides or not y.size


@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_prelu_sums_are_accurate_and_the_same_for_any_number_of_threads(shape, isa, rng):
    x, dy, weight = reals(rng, shape), reals(rng, shape), reals(rng, shape[1:2])
    right, size = reference.prelu_backward(dy, x, weight)[1], reference.prelu_backward(-abs(dy), -abs(x), weight)[1]
    for order in orders_of(x):
        found = set()
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                dx, dweight = ops.prelu_backward(dy, order, weight)
                found.add((bits(dx), bits(dweight)))
        assert len(found) == 1
        assert (np.abs(dweight - right) <= 30 * UNIT * size).all()


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_prelu_memory_orders(order, rng):
    x, dy, weight = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 4, 3), 1), integers(rng, (5,), 1)
    given = IMAGE_ORDERS[order](x)
    assert_equal(ops.prelu(given, weight), reference.prelu(x, weight))
    for result, right in zip(
        ops.prelu_backward(IMAGE_ORDERS[order](dy), given, weight), reference.prelu_backward(dy, x, weight), strict=True
    ):
        assert_equal(result, right)
    assert_equal(given, x)
    out = IMAGE_ORDERS["strided"](np.zeros_like(x))
    assert ops.prelu(given, weight, out=out) is out
    assert_equal(np.array(out), reference.prelu(x, weight))
    place = x.copy()
    assert_equal(ops.prelu(place, weight, out=place), reference.prelu(x, weight))
    place = x.copy()
    assert_equal(ops.prelu(place, place[0, :, 0, 0], out=place), reference.prelu(x, x[0, :, 0, 0]))


def test_prelu_special_values(isa):
    x = np.array([[np.nan, np.inf, -np.inf, -0.0, 0.0, -(2.0**-140)]] * 3, np.float32)
    for weight in (np.array([0.5], np.float32), np.full(6, 0.5, np.float32)):
        y = ops.prelu(x, weight)
        assert_equal(y, reference.prelu(x, weight))
        dx, dweight = ops.prelu_backward(np.ones_like(x), x, weight)
        assert_equal(dx, np.where(x > 0, 1, 0.5).astype(np.float32))
        assert np.isnan(dweight).any() and np.isnan(dweight).all() == (weight.size == 1)


def test_prelu_against_torch(rng):
    torch = pytest.importorskip("torch")
    for shape in ((4, 3), (2, 3, 5), (2, 3, 4, 5)):
        x, dy, weight = reals(rng, shape), reals(rng, shape), reals(rng, (3,))
        tensors = [torch.from_numpy(each.copy()).requires_grad_() for each in (x, weight)]
        y = torch.nn.functional.prelu(*tensors)
        y.backward(torch.from_numpy(dy))
        assert_equal(ops.prelu(x, weight), y.detach().numpy())
        dx, dweight = ops.prelu_backward(dy, x, weight)
        assert_equal(dx, tensors[0].grad.numpy())
        np.testing.assert_allclose(dweight, tensors[1].grad.numpy(), rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------------- glu

HALVED = [((2,), 0), ((5, 34), 1), ((5, 34), -1), ((6, 7), 0), ((2, 18, 31), 1), ((2, 9, 30), -1), ((2, 33, 4, 6), 2)]
HALVED += [((2, 34, 5, 7), 1), ((3, 66, 9, 8), -3), ((2, 5, 3, 8), 3), ((4, 5, 3, 7), 0), ((2, 4, 3, 2, 5), 1)]
HALVED += [((0, 4), 1), ((3, 0), 1), ((2, 34, 40, 33), 1), ((1, 20002), 1)]


@pytest.mark.parametrize("shape, axis", HALVED, ids=str)
def test_glu(shape, axis, isa, rng):
    first = 4 * reals(rng, shape)
    right = reference.glu(first, axis)
    gradient = reals(rng, right.shape)
    expected = reference.glu_backward(gradient, first, axis)
    for x in orders_of(first):
        found = set()
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                y, dx = ops.glu(x, axis), ops.glu_backward(gradient, x, axis)
                found.add((bits(y), bits(dx)))
        assert len(found) == 1 and y.shape == right.shape and dx.shape == shape
        assert (np.abs(y - right) <= 4 * 2.0**-23 * np.abs(right) + 1e-44).all()
        assert (np.abs(dx - expected) <= 6 * 2.0**-23 * np.abs(expected) + 1e-44).all()
        if x.ndim > 2 and not x.flags.c_contiguous and x.size:
            assert np.moveaxis(y, 1, -1).flags.c_contiguous and dx.strides == x.strides


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_glu_memory_orders(order, rng):
    x = integers(rng, (2, 6, 4, 3), 1)
    y, dy = ops.glu(x, 1), integers(rng, (2, 3, 4, 3), 1)
    dx = ops.glu_backward(dy, x, 1)
    given = IMAGE_ORDERS[order](x)
    assert_equal(ops.glu(given, 1), y)
    assert_equal(ops.glu_backward(IMAGE_ORDERS[order](dy), given, 1), dx)
    out = IMAGE_ORDERS["strided"](np.zeros_like(y))
    assert ops.glu(given, 1, out=out) is out
    assert_equal(np.array(out), y)


def test_glu_out_may_overlap_x(isa, rng):
    x, dy = reals(rng, (3, 34)), reals(rng, (3, 17))
    y, dx = ops.glu(x), ops.glu_backward(dy, x)
    place = x.copy()
    assert_equal(ops.glu(place, out=place[:, :17]), y)
    place = x.copy()
    assert_equal(ops.glu(place, out=place.reshape(-1)[7:58].reshape(3, 17)), y)
    place = x.copy()
    assert ops.glu_backward(dy, place, out=place) is place
    assert_equal(place, dx)
    place = np.concatenate([dy.ravel(), np.zeros(60, np.float32)])
    assert_equal(ops.glu_backward(place[:51].reshape(3, 17), x, out=place[5:107].reshape(3, 34)), dx)


def test_glu_special_values(isa):
    a = np.array([1, -1, 2, np.nan, np.inf, 1, 0], np.float32)
    b = np.array([-1000, np.inf, -np.inf, 0, 0, np.nan, -np.inf], np.float32)
    y = ops.glu(np.concatenate([a, b]))
    assert_equal(y, np.array([0, -1, 0, np.nan, np.inf, np.nan, 0], np.float32))


def test_glu_against_torch(rng):
    torch = pytest.importorskip("torch")
    x = 3 * reals(rng, (2, 8, 6, 4))
    for axis in range(-4, 4):
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        y = torch.nn.functional.glu(tensor, axis)
        dy = reals(rng, tuple(y.shape))
        y.backward(torch.from_numpy(dy))
        np.testing.assert_allclose(ops.glu(x, axis), y.detach().numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ops.glu_backward(dy, x, axis), tensor.grad.numpy(), rtol=1e-6, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------- layers


def test_gradients_by_differences(rng):
    x = reals(rng, (2, 4, 3, 5))
    for layer in (layers.PReLU(4), layers.PReLU(init=-0.5), layers.GLU(1), layers.GLU(-3)):
        for order in (x, channels_last(x)):
            _, backward = layer.forward(order)
            assert check_vjp(layer, backward, order, rng, step=1e-3) < 1e-2
    layer = layers.PReLU(4)
    _, backward = layer.forward(x)
    weight = layer.weight.value.copy()

    def by_weight(value):
        layer.weight.value[...] = value
        return layer(x)

    def weight_gradient(dy):
        layer.zero_grad()
        backward(dy)
        return layer.weight.grad

    assert check_vjp(by_weight, weight_gradient, weight, rng) < 1e-2
