"""Batch norm: inference, training statistics and backward."""

import numpy as np
import pytest
import reference

from fastconv import _native, ops, runtime, testing

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


@pytest.mark.parametrize("shape", [(40, 3), (30000, 3), (9001, 40), (3000, 131)])
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


@pytest.mark.parametrize("rows, channels", [(1, 1), (37, 3), (70, 17), (50, 70)])
def test_touches_only_its_operands(isa, rng, rows, channels):
    for flush in ("end", "start"):
        x, dy = (
            testing.guarded_copy(rng.standard_normal((rows, channels)).astype(np.float32), flush=flush) for _ in "xd"
        )
        weight, bias = (testing.guarded_copy(value, flush=flush) for value in affine(rng, channels))
        mean, var, dweight, dbias = (testing.guarded_empty(channels, flush=flush) for _ in range(4))
        y, dx = (testing.guarded_empty(x.shape, flush=flush) for _ in range(2))
        _native.batch_norm_statistics(x, mean, var, runtime.context())
        inv_std = testing.guarded_copy((1 / np.sqrt(var + 1)).astype(np.float32), flush=flush)
        _native.batch_norm_forward(x, mean, inv_std, weight, bias, y, runtime.context())
        _native.batch_norm_backward(dy, x, mean, inv_std, weight, dx, dweight, dbias, runtime.context())
        assert not any(np.isnan(each).any() for each in (mean, var, y, dx, dweight, dbias))
        close(dbias, reference.batch_norm_backward(dy, x, mean, var)[2], 1e-5)


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
            r"batch_norm: x has shape \(3,\): must be \(N, C\) or",
        ),
        (lambda: ops.batch_norm(x, four, three), ValueError, r"batch_norm: mean has shape \(4,\): must be \(3,\)"),
        (lambda: ops.batch_norm(x, three, four), ValueError, r"batch_norm: var has shape \(4,\): must be \(3,\)"),
        (lambda: ops.batch_norm(x, three, three, four), ValueError, "batch_norm: weight has shape"),
        (lambda: ops.batch_norm(x, three, three, three, [0] * 3), TypeError, "batch_norm: bias is list"),
        (lambda: ops.batch_norm(x, three, three, eps=-1), ValueError, "batch_norm: eps=-1.0: must be >= 0 and finite"),
        (lambda: ops.batch_norm(x, three, three, eps=float("nan")), ValueError, "batch_norm: eps=nan"),
        (lambda: ops.batch_norm_training(x, four), ValueError, "batch_norm_training: weight has shape"),
        (lambda: ops.batch_norm_training(x, three, four), ValueError, "batch_norm_training: bias has shape"),
        (lambda: ops.batch_norm_training(x[None]), ValueError, "batch_norm_training: x has shape"),
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
