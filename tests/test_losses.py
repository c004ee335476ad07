"""Losses against their float64 definitions, at extremes, and on bad arguments."""

import numpy as np
import pytest
import reference

from fastconv import losses
from fastconv.testing import check_vjp


def close(result, expected):
    loss, gradient = result
    assert isinstance(loss, float) and gradient.dtype == np.float32
    np.testing.assert_allclose(loss, expected[0], rtol=2e-6)
    np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=2e-6 * np.abs(expected[1]).max())


@pytest.mark.parametrize("rows", [1, 7, 33])
@pytest.mark.parametrize("classes", [1, 2, 10, 17])
def test_softmax_cross_entropy(rows, classes, isa, rng):
    logits = (5 * rng.standard_normal((rows, classes))).astype(np.float32)
    labels = rng.integers(0, classes, rows)
    expected = reference.softmax_cross_entropy(logits, labels)
    if classes == 1:
        expected = (0.0, np.zeros((rows, 1)))
        loss, gradient = losses.softmax_cross_entropy(logits, labels)
        assert loss == 0 and not gradient.any()
        return
    close(losses.softmax_cross_entropy(logits, labels), expected)
    close(losses.softmax_cross_entropy(np.asfortranarray(logits), labels.astype(np.int8)), expected)
    total, gradient = losses.softmax_cross_entropy(logits, labels, reduction="sum")
    close((total / rows, gradient / np.float32(rows)), expected)


def test_softmax_cross_entropy_of_sequences(rng):
    logits, labels = rng.standard_normal((4, 3, 6)).astype(np.float32), rng.integers(0, 6, (4, 3))
    loss, gradient = losses.softmax_cross_entropy(logits, labels)
    expected = reference.softmax_cross_entropy(logits.reshape(12, 6), labels.reshape(12))
    assert gradient.shape == logits.shape
    close((loss, gradient.reshape(12, 6)), expected)


@pytest.mark.parametrize(
    "loss", [losses.mean_squared_error, losses.binary_cross_entropy_with_logits, losses.binary_cross_entropy]
)
def test_elementwise_losses(loss, rng):
    prediction, targets = rng.uniform(0.01, 0.99, (7, 5)).astype(np.float32), rng.random((7, 5), np.float32)
    expected = getattr(reference, loss.__name__)(prediction, targets)
    close(loss(prediction, targets), expected)
    close(loss(np.asfortranarray(prediction), targets), expected)
    total, gradient = loss(prediction, targets, reduction="sum")
    close((total / 35, gradient / np.float32(35)), expected)

    def values(x):
        return np.array([loss(x, targets, reduction="sum")[0]])

    assert check_vjp(values, lambda dy: dy[0] * loss(prediction, targets, reduction="sum")[1],
                     prediction, rng, step=1e-3) < 1e-2  # fmt: skip


def test_extremes_stay_finite_and_right():
    logits = np.array([[1e4, -1e4, 0.0], [3e38, 0.0, -3e38]], np.float32)
    loss, gradient = losses.softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == 0.0 and not gradient.any()
    loss, gradient = losses.softmax_cross_entropy(logits[:1], np.array([1]))
    assert loss == 2e4 and gradient.tolist() == [[1.0, -1.0, 0.0]]
    logits = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    loss, gradient = losses.binary_cross_entropy_with_logits(logits, np.array([1, 0, 0, 1], np.float32))
    assert loss == 5e3 and gradient.tolist() == [0, 0, 0.25, -0.25]


def test_nan_reaches_the_loss():
    bad = np.array([[np.nan, 0.0]], np.float32)
    assert np.isnan(losses.softmax_cross_entropy(bad, np.array([1]))[0])
    zeros = np.zeros_like(bad)
    for loss in (losses.mean_squared_error, losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits):
        value, gradient = loss(bad, zeros)
        assert np.isnan(value) and np.isnan(gradient[0, 0]) and not np.isnan(gradient[0, 1])


def test_the_loss_is_summed_in_float64():
    prediction = np.array([4096, 1], np.float32)  # 2**24 + 1 has no float32
    assert losses.mean_squared_error(prediction, np.zeros_like(prediction), reduction="sum")[0] == 2**24 + 1


def test_empty_batches():
    empty = np.zeros((0, 3), np.float32)
    for loss, target in (
        (losses.softmax_cross_entropy, np.zeros(0, int)),
        (losses.mean_squared_error, empty),
        (losses.binary_cross_entropy, empty),
        (losses.binary_cross_entropy_with_logits, empty),
    ):
        value, gradient = loss(empty, target)
        assert np.isnan(value) and gradient.shape == (0, 3)
        assert loss(empty, target, reduction="sum")[0] == 0.0


def test_bad_arguments():
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, 1])
    good = np.zeros((2, 3), np.float32)
    for call, kind, message in (
        (lambda: losses.softmax_cross_entropy(logits, np.array([0, 3])), ValueError, r"labels holds 3: .*\[0, 3\)"),
        (lambda: losses.softmax_cross_entropy(logits, np.array([-1, 0])), ValueError, r"labels holds -1"),
        (lambda: losses.softmax_cross_entropy(logits, np.array([0.0, 1.0])), TypeError, "labels has dtype float64"),
        (lambda: losses.softmax_cross_entropy(logits, np.array([0])), ValueError, r"labels has shape \(1,\)"),
        (lambda: losses.softmax_cross_entropy(logits.astype(float), labels), TypeError, "logits has dtype float64"),
        (lambda: losses.softmax_cross_entropy(logits, labels, reduction="max"), ValueError, "reduction='max'"),
        (lambda: losses.mean_squared_error(good, good[:1]), ValueError, r"targets has shape \(1, 3\)"),
        (lambda: losses.mean_squared_error(good, labels), TypeError, "targets has dtype int64"),
        (lambda: losses.binary_cross_entropy(good + 2, good), ValueError, r"probabilities holds 2.0 to 2.0"),
        (lambda: losses.binary_cross_entropy_with_logits(good, good - 1), ValueError, r"targets holds -1.0"),
    ):
        with pytest.raises(kind, match=message):
            call()
