"""Softmax and log-softmax against float64: accuracy, rows with NaN or inf, axes and memory orders, gradients."""

import numpy as np
import pytest
import reference

from fastconv import ops, runtime

EPS = 2.0**-23
COLUMNS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 24, 25, 31, 32, 33, 63, 65, 100, 127, 128, 129, 1000, 1025, 3001)


def max_error(y, exact):
    """The largest relative error, denormal results apart."""
    normal = exact > 2.0**-126
    return (np.abs(y - exact)[normal] / exact[normal]).max()


@pytest.mark.parametrize("columns", COLUMNS)
def test_softmax_accuracy(isa, rng, columns):
    x = np.clip(rng.standard_normal((7, columns)) * 4, -16, 16).astype(np.float32)
    y = ops.softmax(x)
    assert (reference.softmax(x) < 2.0**-20).any() or columns < 100
    assert max_error(y, reference.softmax(x)) <= 10 * EPS
    assert np.abs(y.sum(axis=-1, dtype=np.float64) - 1).max() <= max(4, columns**0.5) * EPS
    # a result near 0 is a difference: its error is that of the logarithm, at most log(columns)
    np.testing.assert_allclose(ops.log_softmax(x), reference.log_softmax(x), rtol=4 * EPS, atol=4 * EPS)


@pytest.mark.parametrize("scale", [30, 300, 3000])
def test_large_inputs(isa, rng, scale):
    x = np.clip(rng.standard_normal((7, 500)) * scale / 3, -scale, scale).astype(np.float32)
    assert max_error(ops.softmax(x), reference.softmax(x)) <= 10 * EPS


@pytest.mark.parametrize("value", [0.1, 1e30, -1e30])
def test_long_row_of_equal_terms(isa, value):
    """One running sum would be wrong by hundreds of eps."""
    x = np.full((2, 50_000), value, np.float32)
    x[1, 1::2] -= np.float32(1.3)
    assert max_error(ops.softmax(x), reference.softmax(x)) <= 10 * EPS


def test_shifts_do_not_matter(isa):
    x = np.array([[1000, 1001, 999], [-1000, -1001, -999], [3e38, -3e38, 0]], np.float32)
    np.testing.assert_allclose(ops.softmax(x), reference.softmax(x), rtol=4 * EPS)
    np.testing.assert_allclose(ops.log_softmax(x)[:2], reference.log_softmax(x)[:2], rtol=4 * EPS)
    assert ops.log_softmax(x)[2, 0] == 0 and ops.log_softmax(x)[2, 1] == -np.inf


@pytest.mark.parametrize("columns", [1, 3, 8, 10, 17, 40, 2000])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_stay_in_their_row(isa, rng, columns, value):
    x = rng.standard_normal((5, columns)).astype(np.float32)
    clean = {op: getattr(ops, op)(x) for op in ("softmax", "log_softmax")}
    for column in {0, columns // 2, columns - 1}:
        bad = x.copy()
        bad[2, column] = value
        for op, exact in clean.items():
            y = getattr(ops, op)(bad)
            assert np.isnan(y[2]).all()
            assert np.array_equal(np.delete(y, 2, 0), np.delete(exact, 2, 0))


def test_masked_columns(isa, rng):
    x = rng.standard_normal((3, 21)).astype(np.float32)
    x[:, 4:9] = -np.inf
    y = ops.softmax(x)
    assert (y[:, 4:9] == 0).all()
    np.testing.assert_allclose(y, reference.softmax(x), rtol=8 * EPS)
    assert (ops.log_softmax(x)[:, 4:9] == -np.inf).all()
    x[1] = -np.inf
    assert np.isnan(ops.softmax(x)[1]).all() and np.array_equal(ops.softmax(x)[0], y[0])


@pytest.mark.parametrize("columns", COLUMNS)
def test_gradients(isa, rng, columns):
    x = (rng.standard_normal((6, columns)) * 3).astype(np.float32)
    dy = rng.standard_normal((6, columns)).astype(np.float32)
    y, log_y = ops.softmax(x), ops.log_softmax(x)
    dx = ops.softmax_backward(dy, y)
    scale = (np.abs(dy) * y).sum(axis=-1, keepdims=True) + np.abs(dy)
    assert (np.abs(dx - reference.softmax_backward(dy, y)) <= 10 * EPS * y * scale).all()
    dx = ops.log_softmax_backward(dy, log_y)
    scale = np.abs(dy).sum(axis=-1, keepdims=True) * np.exp(log_y) + np.abs(dy)
    assert (np.abs(dx - reference.log_softmax_backward(dy, log_y)) <= 10 * EPS * scale).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("columns", [1, 2, 5, 8, 15, 16, 17, 21, 31, 48, 63, 64, 65, 128])
def test_short_rows(isa, rng, name, columns):
    """Many rows share vectors: each is its own, in place too, and what is not finite stays in its row."""
    function, gradient = getattr(ops, name), getattr(ops, f"{name}_backward")
    for rows in (1, 2, 7, 16, 17, 40):
        x, dy = 3 * rng.standard_normal((2, rows, columns)).astype(np.float32)
        x[rows // 2] += 5000  # beyond what exponents hold
        y = function(x)
        np.testing.assert_allclose(y, getattr(reference, name)(x), rtol=10 * EPS, atol=4 * EPS)
        dx = gradient(dy, y)
        exact = getattr(reference, f"{name}_backward")(dy, y)
        assert np.abs(dx - exact).max() <= 10 * EPS * np.abs(dy).sum(axis=1).max()
        for i in range(rows):
            assert np.array_equal(function(x[i]), y[i]) and np.array_equal(gradient(dy[i], y[i]), dx[i])
        assert np.array_equal(function(x, out=x), y)
        for operands in ((dy.copy(), y), (dy, y.copy())):
            for out in operands:
                if out is not dy and out is not y:
                    assert np.array_equal(gradient(*operands, out=out), dx)
        for value in (np.nan, np.inf):
            bad = dy.copy()
            bad[rows // 2, columns // 2] = value
            broken = gradient(bad, y)
            assert not np.isfinite(broken[rows // 2]).all()
            assert np.array_equal(np.delete(broken, rows // 2, 0), np.delete(dx, rows // 2, 0))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradient_is_the_derivative(rng, name):
    """<dy, df(x) v> along a random direction v, by central differences of the float64 definition."""
    x, v, dy = rng.standard_normal((3, 4, 11))
    step = 1e-5
    function = getattr(reference, name)
    slope = (dy * (function(x + step * v) - function(x - step * v))).sum() / (2 * step)
    y = getattr(ops, name)(x.astype(np.float32))
    dx = getattr(ops, f"{name}_backward")(dy.astype(np.float32), y)
    assert abs((dx * v).sum() - slope) <= 1e-5


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(4, 10), (2, 7, 3, 5), (3, 50)])
def test_agrees_with_torch(rng, name, shape):
    torch = pytest.importorskip("torch")
    for axis in range(-1, len(shape) - 1):
        x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        result = getattr(torch, name)(tensor, axis)
        result.backward(torch.from_numpy(dy))
        y = getattr(ops, name)(x, axis)
        np.testing.assert_allclose(y, result.detach().numpy(), rtol=2e-6, atol=1e-6)
        dx = getattr(ops, f"{name}_backward")(dy, y, axis)
        np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(50, 10), (3, 5000), (1, 90, 70)])
def test_threads_change_nothing(isa, rng, shape):
    x = rng.standard_normal((40 * shape[0], *shape[1:])).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y, log_y = ops.softmax(x, 1), ops.log_softmax(x, 1)
            results.append((y, log_y, ops.softmax_backward(dy, y, 1), ops.log_softmax_backward(dy, log_y, 1)))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))
    assert np.ptp(results[0][2]) > 0


def test_a_row_is_its_own(isa, rng):
    """Neither neighbours nor alignment change a row."""
    x = rng.standard_normal((9, 13)).astype(np.float32)
    whole = ops.softmax(x)
    for row in range(9):
        assert np.array_equal(ops.softmax(x[row]), whole[row])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_axes_and_memory_orders(rng, name):
    channels_first = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)
    channels_last = np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    function, gradient = getattr(ops, name), getattr(ops, f"{name}_backward")
    for axis in (-4, -3, -2, -1, 0, 1, 2, 3):
        exact = getattr(reference, name)(channels_first, axis)
        for x in (channels_first, channels_last, channels_first[::-1, :, :, ::-1]):
            if x is not channels_first and x is not channels_last:
                exact = getattr(reference, name)(x, axis)
            y = function(x, axis)
            np.testing.assert_allclose(y, exact, rtol=1e-6, atol=1e-6)
            dx = gradient(channels_first, y, axis)
            backward = getattr(reference, f"{name}_backward")(channels_first, y, axis)
            np.testing.assert_allclose(dx, backward, rtol=1e-5, atol=1e-6)
            assert dx.strides == y.strides
        assert function(channels_last, axis).strides == channels_last.strides
        assert function(channels_first, axis).strides == channels_first.strides


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_out_may_be_an_input_or_overlap_it(rng, axis):
    x = rng.standard_normal((6, 7, 8)).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    y = ops.softmax(x, axis)
    dx = ops.softmax_backward(dy, y, axis)
    place = x.copy()
    assert ops.softmax(place, axis, out=place) is place and np.array_equal(place, y)
    place = y.copy()
    assert np.array_equal(ops.softmax_backward(dy, place, axis, out=place), dx)
    place = dy.copy()
    assert np.array_equal(ops.softmax_backward(place, y, axis, out=place), dx)
    memory = np.zeros((8, 7, 8), np.float32)
    memory[1:7] = x
    ops.softmax(memory[1:7], axis, out=memory[:6])
    assert np.array_equal(memory[:6], y)
    memory[1:7] = dy
    ops.softmax_backward(memory[1:7], y, axis, out=memory[:6])
    assert np.array_equal(memory[:6], dx)
    turned = np.zeros((8, 7, 6), np.float32)
    ops.softmax(x, axis, out=turned.T)
    assert np.array_equal(turned.T, y)


INNER = (2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 300, 1100)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("columns", [1, 2, 3, 21, 40, 4100])
def test_axis_that_is_not_the_last(isa, rng, name, columns):
    """Neighbours side by side: in scratch that fits L1, in more, and (4100 columns) where they lie."""
    function, gradient = getattr(ops, name), getattr(ops, f"{name}_backward")
    for inner in INNER if columns < 100 else INNER[:9]:
        x = np.clip(4 * rng.standard_normal((2, columns, inner)), -16, 16).astype(np.float32)
        dy = rng.standard_normal(x.shape).astype(np.float32)
        y, exact = function(x, 1), getattr(reference, name)(x, 1)
        if name == "softmax":
            assert max_error(y, exact) <= 10 * EPS
            assert np.abs(y.sum(axis=1, dtype=np.float64) - 1).max() <= max(4, columns**0.5) * EPS
        else:
            np.testing.assert_allclose(y, exact, rtol=4 * EPS, atol=4 * EPS)
        place = x.copy()
        assert function(place, 1, out=place) is place and np.array_equal(place, y)
        share = y if name == "softmax" else np.exp(y)
        scale = (np.abs(dy) * (y if name == "softmax" else 1)).sum(axis=1, keepdims=True) + np.abs(dy)
        bound = 10 * EPS * scale * (share if name == "softmax" else np.maximum(share, np.abs(dy) / scale))
        dx = gradient(dy, y, 1)
        assert (np.abs(dx - getattr(reference, f"{name}_backward")(dy, y, 1)) <= bound + 1e-30).all()
        for target in (dy.copy(), y.copy()):
            operands = (target, y) if np.array_equal(target, dy) else (dy, target)
            assert np.array_equal(gradient(*operands, 1, out=target), dx)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("columns", [2, 3, 4])
def test_few_columns(isa, rng, name, columns):
    """Any number of rows of two to four columns, classes of a mask: bits as along the other axis, in place too."""
    function, gradient = getattr(ops, name), getattr(ops, f"{name}_backward")
    for rows in (*range(1, 36), 5000):
        x, dy = 4 * rng.standard_normal((2, rows, columns)).astype(np.float32)
        x[rows // 2] += 5000  # beyond what exponents hold
        y = function(x)
        np.testing.assert_allclose(y, getattr(reference, name)(x), rtol=10 * EPS, atol=4 * EPS)
        across = function(np.ascontiguousarray(x.T), 0)
        assert np.array_equal(across.T, y)
        dx = gradient(dy, y)
        assert np.abs(dx - getattr(reference, f"{name}_backward")(dy, y)).max() <= 40 * EPS * np.abs(dy).max()
        assert np.array_equal(gradient(np.ascontiguousarray(dy.T), across, 0).T, dx)
        place, place_y = x.copy(), y.copy()
        assert np.array_equal(function(place, out=place), y)
        assert np.array_equal(gradient(dy, place_y, out=place_y), dx)
        x[-1, 0] = np.nan
        broken = function(x)
        assert np.isnan(broken[-1]).all() and np.array_equal(broken[:-1], y[:-1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_stays_with_its_neighbours(isa, rng, value):
    x = rng.standard_normal((2, 6, 37)).astype(np.float32)
    clean = ops.softmax(x, 1), ops.log_softmax(x, 1)
    x[1, 4, 20] = value
    for y, exact in zip((ops.softmax(x, 1), ops.log_softmax(x, 1)), clean, strict=True):
        assert np.isnan(y[1, :, 20]).all()
        y[1, :, 20] = exact[1, :, 20]
        assert np.array_equal(y, exact)


@pytest.mark.parametrize("payload", [1, 0x1FF, 0x3FFFFF])
def test_any_nan_is_one(isa, payload):
    """Its low bits meet the exponents of others."""
    x = np.zeros((2, 300), np.float32)
    x[1, 7] = np.array([0x7FC00000 | payload, 0xFFC00000 | payload], np.uint32).view(np.float32)[payload & 1]
    for view, axis in ((x, 1), (x[:, :20], 1), (x.T, 0)):
        for y in (ops.softmax(view.copy(), axis), ops.log_softmax(view.copy(), axis)):
            bad = y[1] if axis else y[:, 1]
            good = y[0] if axis else y[:, 0]
            assert np.isnan(bad).all() and not np.isnan(good).any()
        dx = ops.log_softmax_backward(np.ones_like(view), view.copy(), axis)
        assert np.isnan(dx).sum() == 1


def test_masked_columns_have_no_gradient(isa, rng):
    for columns in (9, 40, 300):
        y = np.full((3, columns), -np.inf, np.float32)
        y[:, :2] = np.log(0.5)
        dy = np.zeros_like(y)
        dy[:, 0] = 1e10
        dx = ops.log_softmax_backward(dy, y)
        assert (dx[:, 2:] == 0).all() and np.allclose(dx[:, :2], [5e9, -5e9])


@pytest.mark.parametrize("shape", [(35, 130_001), (66_000, 65), (200_003, 21), (3, 40, 35_001)])
def test_results_that_go_past_the_caches(isa, rng, shape):
    """Beyond 32 MB, but not in place: the same bits."""
    axis = len(shape) - 2 if len(shape) == 3 else 1
    x = rng.standard_normal(shape, np.float32)
    assert 2 * x.nbytes > 32 * 2**20
    few = x[:, :, :64] if axis == 1 and len(shape) == 3 else x[:3]
    for name in ("softmax", "log_softmax"):
        y = getattr(ops, name)(x, axis)
        place = x.copy()
        assert np.array_equal(getattr(ops, name)(place, axis, out=place), y)
        near = y[:, :, :64] if few.shape[0] == len(x) and len(shape) == 3 else y[:3]
        np.testing.assert_allclose(near, getattr(reference, name)(few, axis), rtol=1e-5, atol=1e-6)
        dx = getattr(ops, f"{name}_backward")(x, y, axis)
        assert np.array_equal(getattr(ops, f"{name}_backward")(x, y, axis, out=y), dx)


def test_stays_inside_its_operands(isa, rng):
    for columns in COLUMNS:
        x = rng.standard_normal((3, columns)).astype(np.float32)
        guarded = np.full(3 * columns + 40, 7, np.float32)
        out = guarded[20:-20].reshape(3, columns)
        for function in (ops.softmax, ops.log_softmax):
            assert np.array_equal(function(x, out=out), function(x))
        for function in (ops.softmax_backward, ops.log_softmax_backward):
            assert np.array_equal(function(x, x, out=out), function(x, x))
        for inner in (3, 16, 21):
            x = rng.standard_normal((1, columns, inner)).astype(np.float32)
            padded = np.full(columns * inner + 40, 7, np.float32)
            out = padded[20:-20].reshape(x.shape)
            assert np.array_equal(ops.softmax(x, 1, out=out), ops.softmax(x, 1))
            assert np.array_equal(ops.log_softmax_backward(x, x, 1, out=out), ops.log_softmax_backward(x, x, 1))
            assert (padded[:20] == 7).all() and (padded[-20:] == 7).all()
        assert (guarded[:20] == 7).all() and (guarded[-20:] == 7).all()


def test_numbers_and_empty_arrays():
    assert ops.softmax(np.array(3, np.float32)) == 1 and ops.log_softmax(np.array(3, np.float32)).shape == ()
    assert ops.softmax_backward(np.array(3, np.float32), np.array(1, np.float32)) == 0
    for shape in ((0,), (3, 0), (0, 3), (0, 2, 4, 4), (2, 0, 4, 4)):
        x = np.ones(shape, np.float32)
        for axis in range(len(shape)):
            assert ops.softmax(x, axis).shape == shape and ops.log_softmax_backward(x, x, axis).shape == shape


def test_bad_arguments():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"softmax: axis=2: must be in \[-2, 2\)"):
        ops.softmax(x, 2)
    with pytest.raises(ValueError, match=r"log_softmax_backward: axis=-3"):
        ops.log_softmax_backward(x, x, -3)
    with pytest.raises(TypeError, match="softmax: axis=None: must be an integer"):
        ops.softmax(x, None)
    with pytest.raises(TypeError, match="log_softmax: x has dtype float64"):
        ops.log_softmax(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"softmax_backward: dy has shape \(3,\)"):
        ops.softmax_backward(np.ones(3, np.float32), x)
    with pytest.raises(ValueError, match="softmax: out has shape"):
        ops.softmax(x, out=np.ones((3, 2), np.float32))
