"""Batch norm: inference, training statistics and backward. Group, instance, layer, RMS and local response norm.

The other norms follow below, with what they share: memory orders, out, threads, torch.
"""

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, ORDERS, bits

from fastconv import ops, runtime, testing

CHANNELS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]
# One row, few rows, and several chunks with a ragged last one.
ROWS = [1, 2, 15, 17, 33, 1500]


def affine(rng, channels):
    return tuple(rng.standard_normal(channels).astype(np.float32) for _ in range(2))


def close(got, expected, bound):
    """Within `bound` times the largest of the expected values."""
    assert got.shape == expected.shape and got.dtype == np.float32
    scale = np.max(np.abs(expected), initial=0.0)
    assert np.max(np.abs(got - expected), initial=0.0) <= bound * max(scale, 1e-30)


@pytest.mark.parametrize("channels", CHANNELS)
def test_forward_and_backward(isa, rng, channels):
    for rows in ROWS:
        x = (rng.standard_normal((rows, channels)) * 3 + 1).astype(np.float32)
        dy = rng.standard_normal(x.shape).astype(np.float32)
        weight, bias = affine(rng, channels)
        y, mean, var = ops.batch_norm_training(x, weight, bias)
        exact_mean, exact_var = reference.batch_norm_statistics(x)
        close(mean, exact_mean, 1e-6)
        close(var, exact_var, 1e-6)
        close(y, reference.batch_norm(x, exact_mean, exact_var, weight, bias), 2e-6 if rows > 2 else 1e-4)
        assert np.array_equal(ops.batch_norm(x, mean, var, weight, bias), y)
        # Given the same (rounded) statistics, so that the bound is that of the arithmetic.
        expected = reference.batch_norm_backward(dy, x, mean, var, weight)
        if rows == 1:
            assert np.all(y == bias) and np.all(var == 0.0)
            continue
        dx, dweight, dbias = ops.batch_norm_backward(dy, x, mean, var, weight)
        # The terms of dx may cancel (they do where there are two rows): the bound is relative to them.
        terms = np.abs(weight) / np.sqrt(var + 1e-5) * np.max(np.abs(dy), axis=0) * 4
        assert np.max(np.abs(dx - expected[0]) / terms) <= 5e-7
        close(dweight, expected[1], 3e-6)
        close(dbias, expected[2], 3e-6)


@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (1, 16, 3, 3), (3, 1, 4, 5)])
def test_images_of_any_memory_order(isa, rng, shape):
    x, dy = ((rng.standard_normal(shape) + 2).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    y, mean, var = ops.batch_norm_training(x, weight, bias)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    exact = reference.batch_norm_statistics(x)
    close(y, reference.batch_norm(x, *exact, weight, bias), 2e-6)
    rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, shape[1])
    assert np.array_equal(
        ops.batch_norm_training(rows, weight, bias)[0].reshape(-1), y.transpose(0, 2, 3, 1).reshape(-1)
    )
    gradients = ops.batch_norm_backward(dy, x, mean, var, weight)
    for got, expected in zip(gradients, reference.batch_norm_backward(dy, x, mean, var, weight), strict=True):
        close(got, expected, 3e-6)
    for change in (
        lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    ):
        assert np.array_equal(ops.batch_norm_training(change(x), weight, bias)[0], y)
        for got, first in zip(
            ops.batch_norm_backward(change(dy), change(x), mean, var, weight), gradients, strict=True
        ):
            assert np.array_equal(got, first)


def test_without_weight_and_bias(isa, rng):
    x = rng.standard_normal((40, 19)).astype(np.float32)
    ones, zeros = np.ones(19, np.float32), np.zeros(19, np.float32)
    y, mean, var = ops.batch_norm_training(x)
    assert np.array_equal(y, ops.batch_norm_training(x, ones, zeros)[0])
    assert np.array_equal(y, ops.batch_norm(x, mean, var))
    for got, expected in zip(
        ops.batch_norm_backward(x, x, mean, var), ops.batch_norm_backward(x, x, mean, var, ones), strict=True
    ):
        assert np.array_equal(got, expected)


# ------------------------------------------------------------------------------------------------------- accuracy


@pytest.mark.parametrize("ratio", [0, 1, 10, 100, 1000])
@pytest.mark.parametrize("rows, channels", [(50, 3), (5000, 16), (40000, 5)])
def test_statistics_far_from_zero(isa, rng, ratio, rows, channels):
    """|mean| / std up to 1000: the variance of a one-pass sum of float32 squares would be off by percents."""
    x = (rng.standard_normal((rows, channels)) + ratio).astype(np.float32)
    exact_mean, exact_var = reference.batch_norm_statistics(x)
    _, mean, var = ops.batch_norm_training(x)
    assert np.max(np.abs(mean - exact_mean) / (np.abs(exact_mean) + np.sqrt(exact_var))) <= 2e-7
    assert np.max(np.abs(var - exact_var) / exact_var) <= 1e-6


def test_statistics_of_sorted_and_lopsided_data(isa, rng):
    """The shift is taken from the first rows of a chunk: here those are far from its mean."""
    ramp = np.linspace(-50, 50, 3000, dtype=np.float32)
    step = np.where(np.arange(3000) < 32, 0.0, 1000.0) + rng.standard_normal(3000)
    outlier = np.where(np.arange(3000) == 0, 1e4, 0.0) + rng.standard_normal(3000)
    x = np.stack([ramp, step, outlier], axis=1).astype(np.float32)
    exact_mean, exact_var = reference.batch_norm_statistics(x)
    _, mean, var = ops.batch_norm_training(x)
    assert np.max(np.abs(mean - exact_mean) / np.sqrt(exact_var)) <= 2e-6
    assert np.max(np.abs(var - exact_var) / exact_var) <= 2e-6


def test_constant_channels_have_no_variance(isa):
    x = np.broadcast_to(np.float32([0.1, -1e20, 3.0, 0.0]), (777, 4))
    y, mean, var = ops.batch_norm_training(x)
    assert np.array_equal(mean, x[0])
    assert np.array_equal(var, np.zeros(4))
    assert np.array_equal(y, np.zeros(x.shape))


def test_nan_and_infinity_stay_in_their_channel(isa, rng):
    x = rng.standard_normal((300, 21)).astype(np.float32)
    _, clean_mean, clean_var = ops.batch_norm_training(x)
    x[200, 4], x[100, 20] = np.nan, np.inf
    y, mean, var = ops.batch_norm_training(x)
    bad = np.isin(np.arange(21), [4, 20])
    assert np.array_equal(np.isnan(var), bad)
    assert np.array_equal(np.isnan(y).all(axis=0), bad) and np.array_equal(np.isnan(y).any(axis=0), bad)
    assert np.array_equal(mean[~bad], clean_mean[~bad]) and np.array_equal(var[~bad], clean_var[~bad])


def test_gradient_is_that_of_the_forward_pass(isa, rng):
    x = rng.standard_normal((3, 5, 4, 6)).astype(np.float32)
    weight, bias = affine(rng, 5)
    _, mean, var = ops.batch_norm_training(x, weight, bias)
    testing.check_vjp(
        lambda x: ops.batch_norm_training(x, weight, bias)[0],
        lambda dy: ops.batch_norm_backward(dy, x, mean, var, weight)[0],
        x,
        rng,
        tolerance=2e-3,
    )


# ------------------------------------------------------------------------------------------------ threads and memory


@pytest.mark.parametrize("shape", [(40, 3), (30000, 3), (9001, 40), (3000, 131), (70001, 64)])
def test_threads_give_the_same_bits(isa, rng, shape):
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y, mean, var = ops.batch_norm_training(x)
            results.append((y, mean, var, *ops.batch_norm_backward(dy, x, mean, var)))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert first.tobytes() == second.tobytes()


# --------------------------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0, 4), (2, 0), (2, 0, 4, 4)])
def test_empty(shape):
    x, channels = np.zeros(shape, np.float32), np.ones(shape[1], np.float32)
    assert ops.batch_norm(x, channels, channels).shape == shape
    dx, dweight, dbias = ops.batch_norm_backward(x, x, channels, channels)
    assert dx.shape == shape and np.array_equal(dweight, 0 * channels) and np.array_equal(dbias, 0 * channels)
    if shape[1]:
        with pytest.raises(ValueError, match="batch_norm_training: x has shape .* at least one value per channel"):
            ops.batch_norm_training(x)
    else:
        assert ops.batch_norm_training(x)[0].shape == shape


def test_bad_arguments():
    x, three, four = np.zeros((2, 3), np.float32), np.ones(3, np.float32), np.ones(4, np.float32)
    for call, error, message in [
        (lambda: ops.batch_norm(x.astype(float), three, three), TypeError, "batch_norm: x has dtype float64"),
        (
            lambda: ops.batch_norm(x[0], three, three),
            ValueError,
            r"batch_norm: x has shape \(3,\): must be \(N, C, \*sizes\)",
        ),
        (lambda: ops.batch_norm(x, four, three), ValueError, r"batch_norm: mean has shape \(4,\): must be \(3,\)"),
        (lambda: ops.batch_norm(x, three, four), ValueError, r"batch_norm: var has shape \(4,\): must be \(3,\)"),
        (lambda: ops.batch_norm(x, three, three, four), ValueError, "batch_norm: weight has shape"),
        (lambda: ops.batch_norm(x, three, three, three, [0] * 3), TypeError, "batch_norm: bias is list"),
        (lambda: ops.batch_norm(x, three, three, eps=-1), ValueError, "batch_norm: eps=-1.0: must be >= 0 and finite"),
        (lambda: ops.batch_norm(x, three, three, eps=float("nan")), ValueError, "batch_norm: eps=nan"),
        (lambda: ops.batch_norm_training(x, four), ValueError, "batch_norm_training: weight has shape"),
        (lambda: ops.batch_norm_training(x, three, four), ValueError, "batch_norm_training: bias has shape"),
        (lambda: ops.batch_norm_training(x[0]), ValueError, "batch_norm_training: x has shape"),
        (
            lambda: ops.batch_norm_backward(x[:1], x, three, three),
            ValueError,
            r"dy has shape \(1, 3\): must be \(2, 3\)",
        ),
        (lambda: ops.batch_norm_backward(x, x, four, three), ValueError, "batch_norm_backward: mean has shape"),
        (
            lambda: ops.batch_norm_backward(x, x, three, three, four),
            ValueError,
            "batch_norm_backward: weight has shape",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


# ---------------------------------------------------------------------------------------------------- against torch


@pytest.mark.parametrize("shape", [(8, 6), (3, 17, 5, 4)])
def test_is_that_of_torch(rng, shape):
    torch = pytest.importorskip("torch")
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    theirs = [torch.from_numpy(value.copy()).requires_grad_() for value in (x, weight, bias)]
    expected = torch.nn.functional.batch_norm(theirs[0], None, None, *theirs[1:], training=True, eps=1e-3)
    expected.backward(torch.from_numpy(dy))
    y, mean, var = ops.batch_norm_training(x, weight, bias, eps=1e-3)
    close(y, expected.detach().numpy(), 2e-6)
    for got, tensor in zip(ops.batch_norm_backward(dy, x, mean, var, weight, eps=1e-3), theirs, strict=True):
        close(got, tensor.grad.numpy(), 1e-5)
    running = torch.from_numpy(mean), torch.from_numpy(var)
    inference = torch.nn.functional.batch_norm(theirs[0], *running, *theirs[1:], eps=1e-3)
    close(ops.batch_norm(x, mean, var, weight, bias, eps=1e-3), inference.detach().numpy(), 2e-6)


# ------------------------------------------------------------------------------------------- maps of any rank, and out


@pytest.mark.parametrize("shape", [(6, 3), (3, 5, 7), (2, 3, 4, 5), (2, 17, 2, 3, 4)])
def test_batch_norm_of_any_rank(isa, rng, shape):
    x, dy = ((rng.standard_normal(shape) + 2).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    y, mean, var = ops.batch_norm_training(x, weight, bias)
    close(y, reference.batch_norm(x, *reference.batch_norm_statistics(x), weight, bias), 3e-6)
    assert np.array_equal(ops.batch_norm(x, mean, var, weight, bias), y)
    expected = reference.batch_norm_backward(dy, x, mean, var, weight)
    for got, right in zip(ops.batch_norm_backward(dy, x, mean, var, weight), expected, strict=True):
        close(got, right, 5e-6)


FOLDED = [(1, 3, 4 * 64), (1, 3, 4 * 64 - 1), (2, 3, 4001), (1, 1, 5000), (3, 6, 2049), (1, 40, 1031), (1, 12, 99991)]


@pytest.mark.parametrize("shape", FOLDED)
def test_few_channels(isa, rng, shape):
    """Neighbouring pixels go together, and some are left over."""
    x, dy = ((rng.standard_normal(shape) + 10).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    y, mean, var = ops.batch_norm_training(x, weight, bias)
    exact_mean, exact_var = reference.batch_norm_statistics(x)
    close(mean, exact_mean, 2e-7)
    assert np.max(np.abs(var - exact_var) / exact_var) <= 1e-6
    close(y, reference.batch_norm(x, mean, var, weight, bias), 1e-6)
    dx, dweight, dbias = ops.batch_norm_backward(dy, x, mean, var, weight)
    expected = reference.batch_norm_backward(dy, x, mean, var, weight)
    close(dx, expected[0], 3e-6)
    # The sums of dy * xhat cancel: relative to the sum of their absolute values.
    assert np.max(np.abs(dweight - expected[1])) <= 1e-6 * np.abs(dy).sum() / shape[1]
    close(dbias, expected[2], 1e-6)


def test_large_results_are_written_past_the_caches(isa, rng):
    """24 MB and more: the same bits as row by row, where the two ways of writing meet the same arithmetic."""
    x, dy = (rng.standard_normal((1, 64, 70001)).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, 64)
    y, mean, var = ops.batch_norm_training(x, weight, bias)
    dx = ops.batch_norm_backward(dy, x, mean, var, weight)[0]
    assert x.nbytes + y.nbytes >= 24 << 20
    some = slice(34000, 34100)
    assert bits(ops.batch_norm(np.ascontiguousarray(x[:, :, some]), mean, var, weight, bias)) == bits(y[:, :, some])
    close(y, reference.batch_norm(x, mean, var, weight, bias), 1e-6)
    close(dx, reference.batch_norm_backward(dy, x, mean, var, weight)[0], 1e-6)
    rows, drows = (np.ascontiguousarray(value[0].T) for value in (x, dy))
    y, mean, var = ops.layer_norm_training(rows, 64, weight, bias)
    close(y, reference.layer_norm(rows, (64,), weight, bias), 1e-6)
    got = ops.layer_norm_backward(drows, rows, mean, var, 64, weight)
    for value, right in zip(got, reference.layer_norm_backward(drows, rows, mean, var, (64,), weight), strict=True):
        close(value, right, 2e-6)


# ------------------------------------------------------------------------------------------------ group and instance


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((1, 1, 1), 1),
        ((2, 6, 5), 3),
        ((3, 7, 3, 3), 7),
        ((2, 9, 4, 2), 1),
        ((2, 16), 4),
        ((2, 15, 9, 8), 5),
        ((2, 33, 17), 11),
        ((5, 64, 31), 8),
        ((2, 96, 2, 3, 40), 6),
        ((2, 256, 30, 31), 32),
        ((2, 192, 40, 41), 3),
    ],
)
def test_group_norm(isa, rng, shape, groups):
    x, dy = ((rng.standard_normal(shape) * 2 + 3).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    y, mean, var = ops.group_norm_training(x, groups, weight, bias, eps=1e-3)
    exact_mean, exact_var = reference.group_statistics(x, groups)
    close(mean, exact_mean, 2e-7)
    close(var, exact_var, 1e-6)
    close(y, reference.group_norm(x, groups, weight, bias, 1e-3), 2e-6)
    assert bits(ops.group_norm(x, groups, weight, bias, eps=1e-3)) == bits(y)
    got = ops.group_norm_backward(dy, x, mean, var, groups, weight, eps=1e-3)
    expected = reference.group_norm_backward(dy, x, mean, var, groups, weight, 1e-3)
    if x.size > 1:
        terms = np.max(np.abs(weight)) / np.sqrt(np.min(var, initial=1) + 1e-3) * np.max(np.abs(dy), initial=0) * 4
        assert np.max(np.abs(got[0] - expected[0]), initial=0) <= 5e-7 * terms
    close(got[1], expected[1], 3e-6)
    close(got[2], expected[2], 3e-6)


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 17, 4, 5), (2, 64, 2, 9, 9)])
def test_instance_norm_is_batch_norm_of_each_image(isa, rng, shape):
    x, dy = ((rng.standard_normal(shape) + 1).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    y, mean, var = ops.instance_norm_training(x, weight, bias)
    dx, dweight, dbias = ops.instance_norm_backward(dy, x, mean, var, weight)
    close(y, reference.group_norm(x, shape[1], weight, bias), 2e-6)
    sums = np.zeros((2, shape[1]))
    for i in range(shape[0]):
        one, one_mean, one_var = ops.batch_norm_training(x[i : i + 1], weight, bias)
        assert bits(one[0]) == bits(y[i]) and bits(one_mean) == bits(mean[i]) and bits(one_var) == bits(var[i])
        one_dx, *gradients = ops.batch_norm_backward(dy[i : i + 1], x[i : i + 1], one_mean, one_var, weight)
        assert bits(one_dx[0]) == bits(dx[i])
        sums += gradients
    close(dweight, sums[0], 1e-6)
    close(dbias, sums[1], 1e-6)


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_maps_of_any_memory_order(isa, rng, order):
    x, dy = (rng.standard_normal((2, 6, 5, 7)).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, 6)
    change = IMAGE_ORDERS[order]
    y, mean, var = ops.group_norm_training(x, 3, weight, bias)
    assert bits(ops.group_norm(change(x), 3, ORDERS["strided"](weight), bias)) == bits(y)
    expected = ops.group_norm_backward(dy, x, mean, var, 3, weight)
    for got, right in zip(
        ops.group_norm_backward(change(dy), change(x), ORDERS["strided"](mean), var, 3, weight), expected, strict=True
    ):
        assert bits(got) == bits(right)
    y = ops.local_response_norm(x, 3)
    assert bits(ops.local_response_norm(change(x), 3)) == bits(y)
    assert bits(ops.local_response_norm_backward(change(dy), change(x), 3)) == bits(
        ops.local_response_norm_backward(dy, x, 3)
    )


# -------------------------------------------------------------------------------------------------------------- rows

COLUMNS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 768, 1024, 1025, 3001]


@pytest.mark.parametrize("columns", COLUMNS)
def test_layer_norm(isa, rng, columns):
    weight, bias = affine(rng, columns)
    for rows in (1, 2, 3, 4, 5, 8, 33, 130):
        x = (rng.standard_normal((rows, columns)) * 2 + 3).astype(np.float32)
        dy = rng.standard_normal(x.shape).astype(np.float32)
        y, mean, var = ops.layer_norm_training(x, columns, weight, bias)
        exact_mean, exact_var = reference.row_statistics(x, 1)
        close(mean, exact_mean, 1.5e-7)
        if columns > 2:
            assert np.max(np.abs(var - exact_var) / exact_var) <= 1e-6
            close(y, reference.layer_norm(x, (columns,), weight, bias), 1e-6)
        assert bits(ops.layer_norm(x, (columns,), weight, bias)) == bits(y)
        got = ops.layer_norm_backward(dy, x, mean, var, columns, weight)
        expected = reference.layer_norm_backward(dy, x, mean, var, (columns,), weight)
        terms = np.max(np.abs(weight)) / np.sqrt(var + 1e-5) * np.max(np.abs(dy), axis=1) * 4
        assert np.max(np.abs(got[0] - expected[0]) / terms[:, None]) <= 5e-7
        if columns > 2:
            close(got[1], expected[1], 2e-6)
        close(got[2], expected[2], 1e-6)


@pytest.mark.parametrize("columns", COLUMNS)
def test_rms_norm(isa, rng, columns):
    weight, _ = affine(rng, columns)
    for rows in (1, 2, 3, 4, 5, 8, 33, 130):
        x, dy = (rng.standard_normal((rows, columns)).astype(np.float32) for _ in range(2))
        y, mean_square = ops.rms_norm_training(x, columns, weight)
        exact = (x.astype(np.float64) ** 2).mean(axis=1)
        assert np.max(np.abs(mean_square - exact) / exact) <= 6e-7
        close(y, reference.rms_norm(x, (columns,), weight), 6e-7)
        assert bits(ops.rms_norm(x, (columns,), weight)) == bits(y)
        got = ops.rms_norm_backward(dy, x, mean_square, columns, weight)
        expected = reference.rms_norm_backward(dy, x, mean_square, (columns,), weight)
        terms = np.max(np.abs(weight)) / np.sqrt(mean_square) * np.max(np.abs(dy), axis=1) * 4
        assert np.max(np.abs(got[0] - expected[0]) / terms[:, None]) <= 5e-7
        close(got[1], expected[1], 2e-6)


def test_rows_of_several_axes(isa, rng):
    x, dy = (rng.standard_normal((2, 3, 4, 5)).astype(np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal((4, 5)).astype(np.float32) for _ in range(2))
    y, mean, var = ops.layer_norm_training(x, (4, 5), weight, bias)
    assert mean.shape == var.shape == (2, 3)
    close(y, reference.layer_norm(x, (4, 5), weight, bias), 1e-6)
    gradients = ops.layer_norm_backward(dy, x, mean, var, (4, 5), weight)
    for got, right in zip(gradients, reference.layer_norm_backward(dy, x, mean, var, (4, 5), weight), strict=True):
        close(got, right, 2e-6)
    for change in ORDERS.values():
        assert bits(ops.layer_norm(change(x), (4, 5), change(weight), bias)) == bits(y)
        for got, right in zip(
            ops.layer_norm_backward(change(dy), change(x), change(mean), var, (4, 5), weight), gradients, strict=True
        ):
            assert bits(got) == bits(right)
    y, mean, var = ops.layer_norm_training(x, x.shape)
    assert mean.shape == () and abs(float(mean) - x.mean(dtype=float)) < 1e-7
    close(y, reference.layer_norm(x, x.shape), 1e-6)


@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
@pytest.mark.parametrize("columns", [64, 768, 5000])
def test_rows_far_from_zero(isa, rng, ratio, columns):
    """The mean is not rounded before it is taken off: only the variance loses digits, to those of x itself."""
    x = (rng.standard_normal((6, columns)) + ratio).astype(np.float32)
    y, mean, var = ops.layer_norm_training(x, columns)
    exact_mean, exact_var = reference.row_statistics(x, 1)
    assert np.max(np.abs(mean - exact_mean) / ratio) <= 1.2e-7
    assert np.max(np.abs(var - exact_var) / exact_var) <= 2e-6
    close(y, reference.layer_norm(x, (columns,)), 1.5e-6)


def test_constant_rows_and_not_finite_ones(isa, rng):
    x = rng.standard_normal((9, 50)).astype(np.float32)
    x[1], x[4], x[7, 3], x[8, 49] = 0.1, 1e20, np.nan, np.inf
    for columns in (50, 25):
        y, mean, var = ops.layer_norm_training(x.reshape(-1, columns), columns)
        rows = 50 // columns
        bad = np.isin(np.arange(len(y)), [7 * rows, 9 * rows - 1])
        assert np.array_equal(np.isnan(y).all(axis=1), bad) and np.array_equal(np.isnan(y).any(axis=1), bad)
        flat = np.isin(np.arange(len(y)) // rows, [1, 4])
        assert np.all(np.abs(y[flat & (mean < 1)]) <= 1e-5)
        assert np.all(np.isfinite(y[flat]))
        y = ops.rms_norm(x.reshape(-1, columns), columns)
        assert np.array_equal(np.isnan(y).any(axis=1), bad)


# ------------------------------------------------------------------------------------------------------ local response

RESPONSES = [
    {"size": 5},
    {"size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0},
    {"size": 1, "alpha": 1.0, "beta": 0.6},
    {"size": 2, "alpha": 0.7},
    {"size": 3, "alpha": 2.0, "beta": 1.0, "k": 0.5},
    {"size": 4, "alpha": 0.3, "beta": 0.5},
    {"size": 40, "alpha": 1.0, "beta": 0.75, "k": 0.25},
    {"size": 7, "alpha": 0.2, "beta": 0.0},
    {"size": 5, "alpha": 0.2, "beta": -0.5},
]


@pytest.mark.parametrize("numbers", RESPONSES, ids=str)
def test_local_response_norm(isa, rng, numbers):
    for channels in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 96):
        for shape in ((3, channels, 2), (2, channels, 3, 3), (1, channels, 1, 1, 1)):
            x, dy = ((rng.standard_normal(shape) * 2).astype(np.float32) for _ in range(2))
            close(ops.local_response_norm(x, **numbers), reference.local_response_norm(x, **numbers), 5e-7)
            expected = reference.local_response_norm_backward(dy, x, **numbers)
            close(ops.local_response_norm_backward(dy, x, **numbers), expected, 4e-6)  # the terms cancel in part


def test_local_response_norm_of_extreme_values(isa):
    """d of zero, negative, denormal, huge and not finite, by both ways to the power."""
    x = np.array([0.0, 1.0, 1e-20, 1e15, np.inf, np.nan], np.float32)[None, :, None] * np.ones((1, 6, 2), np.float32)
    with np.errstate(all="ignore"):
        for beta in (0.75, 0.7):
            for k in (0.0, 1.0, -1.0):
                y = ops.local_response_norm(x, 1, 1.0, beta, k)
                d = np.float32(k) + x * x
                right = (x / d.astype(np.float64) ** beta).astype(np.float32)
                assert np.array_equal(np.isnan(y), np.isnan(right)), (beta, k)
                finite = np.isfinite(right)
                np.testing.assert_allclose(y[finite], right[finite], rtol=6e-6)


# ---------------------------------------------------------------------------------------------------- what they share


def gradients(rng, name, x, training, backward):
    testing.check_vjp(lambda x: training(x)[0], lambda dy: backward(dy, x, *training(x)[1:]), x, rng, tolerance=2e-3)


def test_gradients_are_those_of_the_forward_passes(isa, rng):
    x = rng.standard_normal((3, 6, 4, 5)).astype(np.float32)
    weight, bias = affine(rng, 6)
    last = rng.standard_normal((4, 5)).astype(np.float32)
    gradients(
        rng, "group", x, lambda x: ops.group_norm_training(x, 2, weight, bias),
        lambda dy, x, mean, var: ops.group_norm_backward(dy, x, mean, var, 2, weight)[0],
    )  # fmt: skip
    gradients(
        rng, "instance", x, lambda x: ops.instance_norm_training(x, weight, bias),
        lambda dy, x, mean, var: ops.instance_norm_backward(dy, x, mean, var, weight)[0],
    )  # fmt: skip
    gradients(
        rng, "layer", x, lambda x: ops.layer_norm_training(x, (4, 5), last, last),
        lambda dy, x, mean, var: ops.layer_norm_backward(dy, x, mean, var, (4, 5), last)[0],
    )  # fmt: skip
    gradients(
        rng, "rms", x, lambda x: ops.rms_norm_training(x, (4, 5), last),
        lambda dy, x, square: ops.rms_norm_backward(dy, x, square, (4, 5), last)[0],
    )  # fmt: skip
    gradients(
        rng, "response", x, lambda x: (ops.local_response_norm(x, 3, 0.5),),
        lambda dy, x: ops.local_response_norm_backward(dy, x, 3, 0.5),
    )  # fmt: skip


THREADED = {
    "batch": lambda x, dy: ops.batch_norm_backward(dy, x, *ops.batch_norm_training(x)[1:]),
    "group": lambda x, dy: ops.group_norm_backward(dy, x, *ops.group_norm_training(x, 2)[1:], 2),
    "instance": lambda x, dy: ops.instance_norm_backward(dy, x, *ops.instance_norm_training(x)[1:]),
    "layer": lambda x, dy: ops.layer_norm_backward(dy, x, *ops.layer_norm_training(x, x.shape[2:])[1:], x.shape[2:]),
    "channels": lambda x, dy: ops.layer_norm_backward(dy, x, *ops.layer_norm_training(x, x.shape[-1])[1:], x.shape[-1]),
    "rms": lambda x, dy: ops.rms_norm_backward(dy, x, ops.rms_norm_training(x, x.shape[-1])[1], x.shape[-1]),
    "response": lambda x, dy: [ops.local_response_norm(x, 5), ops.local_response_norm_backward(dy, x, 5)],
}


@pytest.mark.parametrize("name", THREADED)
@pytest.mark.parametrize("shape", [(1, 6, 90, 91), (5, 20, 33, 40), (7, 256, 31, 30), (2, 64, 70, 70), (12, 2, 64, 64)])
def test_threads_give_the_same_bits_in_all_norms(isa, rng, name, shape):
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            results.append([bits(value) for value in THREADED[name](x, dy)])
    assert results[0] == results[1] == results[2]


FORWARD = {
    "batch_norm": lambda x, out: ops.batch_norm(x, *np.float32([[1, 2, 3, 4], [4, 3, 2, 1]]), out=out),
    "group_norm": lambda x, out: ops.group_norm(x, 2, out=out),
    "instance_norm": lambda x, out: ops.instance_norm(x, out=out),
    "layer_norm": lambda x, out: ops.layer_norm(x, x.shape[-1], out=out),
    "rms_norm": lambda x, out: ops.rms_norm(x, x.shape[2:], out=out),
    "local_response_norm": lambda x, out: ops.local_response_norm(x, 3, out=out),
    "local_response_norm_backward": lambda x, out: ops.local_response_norm_backward(x[::-1], x, 3, out=out),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("order", ["C", "channels last", "strided", "misaligned", "Fortran"])
def test_out(isa, rng, name, order):
    call, x = FORWARD[name], rng.standard_normal((3, 4, 5, 6)).astype(np.float32)
    expected = call(x, None)
    out = IMAGE_ORDERS[order](np.full(x.shape, np.nan, np.float32))
    assert call(IMAGE_ORDERS[order](x), out) is out
    assert bits(out) == bits(expected)
    if name != "local_response_norm_backward":
        for own in (IMAGE_ORDERS[order](x), IMAGE_ORDERS["channels last"](x)):
            assert call(own, own) is own
            assert bits(own) == bits(expected)
    base = np.zeros(2 * x.size, np.float32)  # out lies half over x
    both = [base[at : at + x.size].reshape(3, 5, 6, 4).transpose(0, 3, 1, 2) for at in (0, x.size // 2)]
    if name in ("layer_norm", "rms_norm"):
        both = [base[at : at + x.size].reshape(x.shape) for at in (0, x.size // 2)]
    both[0][...] = x
    assert bits(call(*both)) == bits(expected)
    read_only = np.zeros_like(x)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=f"{name}: out is read-only"):
        call(x, read_only)


@pytest.mark.parametrize("which", [0, 1])
def test_gradient_in_place(isa, rng, which):
    operands = [rng.standard_normal((2, 9, 5, 4)).astype(np.float32) for _ in range(2)]
    expected = ops.local_response_norm_backward(*operands, 5, alpha=0.5)
    for order in ("C", "channels last"):
        given = [IMAGE_ORDERS[order](value) for value in operands]
        assert ops.local_response_norm_backward(*given, 5, alpha=0.5, out=given[which]) is given[which]
        assert bits(given[which]) == bits(expected)


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3), (2, 0, 3, 3), (0, 0, 3)])
def test_nothing_to_normalise(shape):
    x = np.zeros(shape, np.float32)
    assert ops.local_response_norm(x, 3).shape == ops.local_response_norm_backward(x, x, 3).shape == shape
    assert ops.layer_norm(x, shape[-1]).shape == ops.rms_norm(x, shape[1:]).shape == shape
    if x.shape[0] and x.shape[1]:
        with pytest.raises(ValueError, match="group_norm: x has shape .* at least one value per channel"):
            ops.group_norm(x, 2)
        return
    if shape[1]:
        assert ops.group_norm(x, 2).shape == shape
    y, mean, var = ops.instance_norm_training(x)
    assert y.shape == shape and mean.shape == var.shape == shape[:2]
    dx, dweight, dbias = ops.instance_norm_backward(x, x, mean, var)
    assert dx.shape == shape and not dweight.any() and not dbias.any()


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (2, 12, 33), (3, 12)])
def test_group_layer_and_response_norm_are_those_of_torch(rng, shape):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    weight, bias = affine(rng, shape[1])
    last = tuple(rng.standard_normal(shape[-1]).astype(np.float32) for _ in range(2))

    def compare(theirs, y, gradients, *operands):
        given = [torch.from_numpy(value.copy()).requires_grad_() for value in operands]
        expected = theirs(*given)
        close(y, expected.detach().numpy(), 2e-6)
        expected.backward(torch.from_numpy(dy))
        for got, tensor in zip(gradients, given, strict=True):
            close(got, tensor.grad.numpy(), 1e-5)

    y, *kept = ops.group_norm_training(x, 3, weight, bias)
    grads = ops.group_norm_backward(dy, x, *kept, 3, weight)
    compare(lambda *a: functional.group_norm(a[0], 3, *a[1:]), y, grads, x, weight, bias)
    y, *kept = ops.layer_norm_training(x, shape[-1], *last)
    grads = ops.layer_norm_backward(dy, x, *kept, shape[-1], last[0])
    compare(lambda *a: functional.layer_norm(a[0], shape[-1:], *a[1:]), y, grads, x, *last)
    y, *kept = ops.rms_norm_training(x, shape[-1], last[0])
    grads = ops.rms_norm_backward(dy, x, *kept, shape[-1], last[0])
    compare(lambda *a: functional.rms_norm(a[0], shape[-1:], a[1]), y, grads, x, last[0])
    if len(shape) == 2:
        return
    y, *kept = ops.instance_norm_training(x, weight, bias)
    grads = ops.instance_norm_backward(dy, x, *kept, weight)
    compare(lambda *a: functional.instance_norm(a[0], weight=a[1], bias=a[2]), y, grads, x, weight, bias)
    for numbers in RESPONSES:
        grads = [ops.local_response_norm_backward(dy, x, **numbers)]
        compare(
            lambda a, n=numbers: functional.local_response_norm(a, **n), ops.local_response_norm(x, **numbers), grads, x
        )


def every_other(values):
    """The same values in memory that is not contiguous: no usual array to the binding."""
    apart = np.zeros(2 * values.size, np.float32)
    apart[::2] = values
    return apart[::2]


@pytest.mark.parametrize("order", ["C", "channels last"])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 5)])
def test_usual_and_other_arrays_give_the_same_bits(rng, shape, order):
    """The one call of the binding for usual arrays, and the way through Python for others."""
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    if order != "C" and x.ndim > 2:
        x, dy = (np.ascontiguousarray(value.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for value in (x, dy))
    weight, bias = affine(rng, 4)
    last = affine(rng, shape[-1])
    mean, var = weight, np.abs(bias)
    pairs = [
        (ops.batch_norm, (x, mean, var), (weight, bias)),
        (ops.batch_norm_training, (x,), (weight, bias)),
        (ops.batch_norm_backward, (dy, x, *ops.batch_norm_training(x)[1:]), (weight,)),
        (ops.group_norm, (x, 2), (weight, bias)),
        (ops.group_norm_training, (x, 2), (weight, bias)),
        (ops.group_norm_backward, (dy, x, *ops.group_norm_training(x, 2)[1:], 2), (weight,)),
        (ops.layer_norm, (x, shape[-1]), last),
        (ops.layer_norm_training, (x, shape[-1]), last),
        (ops.layer_norm_backward, (dy, x, *ops.layer_norm_training(x, shape[-1])[1:], shape[-1]), last[:1]),
        (ops.rms_norm, (x, (shape[-1],)), last[:1]),
        (ops.rms_norm_training, (x, (shape[-1],)), last[:1]),
        (ops.rms_norm_backward, (dy, x, ops.rms_norm_training(x, shape[-1])[1], shape[-1]), last[:1]),
    ]
    if x.ndim > 2:
        pairs += [
            (ops.instance_norm, (x,), (weight, bias)),
            (ops.instance_norm_training, (x,), (weight, bias)),
            (ops.instance_norm_backward, (dy, x, *ops.instance_norm_training(x)[1:]), (weight,)),
        ]
    for function, operands, parameters in pairs:
        usual, other = function(*operands, *parameters), function(*operands, *map(every_other, parameters))
        if isinstance(usual, np.ndarray):
            usual, other = (usual,), (other,)
        assert len(usual) == len(other)
        for a, b in zip(usual, other, strict=True):
            assert a.shape == b.shape and a.strides == b.strides and np.array_equal(a, b), function.__name__


def test_out_on_parameters_is_right(rng):
    """`out` that lies on the weight, or on a part of x, is written after all is read."""
    memory = rng.standard_normal(64).astype(np.float32)
    statistics = np.zeros(8, np.float32), np.ones(8, np.float32)
    for function, middle in ((ops.batch_norm, statistics), (ops.layer_norm, (8,)), (ops.rms_norm, (8,))):
        for start in (4, 24):  # on rows of x; on the weight
            own = memory.copy()
            x, weight, out = own[:24].reshape(3, 8), own[24:32], own[start : start + 24].reshape(3, 8)
            expected = function(x.copy(), *middle, weight.copy())
            assert function(x, *middle, weight, out=out) is out and np.array_equal(out, expected)
