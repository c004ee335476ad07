"""Losses against their float64 definitions, at extremes, and on bad arguments."""

import numpy as np
import pytest
import reference
from checks import read_only

from fastconv import losses, runtime
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


OPTIONS = (
    {},
    {"reduction": "sum"},
    {"ignore_index": 1},
    {"label_smoothing": 0.3},
    {"weight": True},
    {"weight": True, "label_smoothing": 0.2, "ignore_index": 0},
    {"label_smoothing": 1.0, "reduction": "sum"},
)


def options_of(options, classes, rng):
    return options | ({"weight": rng.uniform(0.2, 2, classes).astype(np.float32)} if "weight" in options else {})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(37, 2), (19, 5), (33, 21), (18, 25), (17, 128), (9, 129), (3, 1500), (2, 70_001)])
def test_options_of_cross_entropy(shape, options, isa, rng):
    """Rows taken a vector at a time, with labels compared and fetched, and rows by themselves."""
    logits = (4 * rng.standard_normal(shape)).astype(np.float32)
    labels, options = rng.integers(0, shape[1], shape[0]), options_of(options, shape[1], rng)
    labels[0] = 1  # that one at least is ignored, and one is not
    labels[1] = 0
    result = losses.softmax_cross_entropy(logits, labels, **options)
    close(result, reference.softmax_cross_entropy(logits, labels, **options))
    assert not result[1][labels == options.get("ignore_index")].any()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 21, 9, 31), (2, 40, 5, 7), (3, 7, 50)])
def test_cross_entropy_along_an_axis(shape, options, isa, rng):
    channels_first = (4 * rng.standard_normal(shape)).astype(np.float32)
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(channels_first, 1, -1)), -1, 1)
    for axis in range(-1, len(shape) - 1):
        classes = shape[axis]
        rest = np.delete(np.array(shape), axis % len(shape))
        labels, given = rng.integers(0, classes, rest), options_of(options, classes, rng)
        labels.flat[:2] = 1, 0
        expected = reference.softmax_cross_entropy(channels_first, labels, axis=axis, **given)
        for logits in (channels_first, channels_last):
            loss, gradient = losses.softmax_cross_entropy(logits, labels, axis=axis, **given)
            close((loss, gradient), expected)
            assert gradient.strides == logits.strides
            place = logits.copy(order="K")
            again, same = losses.softmax_cross_entropy(place, labels, axis=axis, gradient_out=place, **given)
            assert same is place and again == loss and np.array_equal(place, gradient)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cross_entropy_agrees_with_torch(options, rng):
    torch = pytest.importorskip("torch")
    for shape in ((12, 7), (2, 5, 6, 3), (2, 200, 9)):
        logits, labels = (
            rng.standard_normal(shape).astype(np.float32),
            rng.integers(0, shape[1], (shape[0], *shape[2:])),
        )
        given = options_of(options, shape[1], rng)
        tensor = torch.from_numpy(logits.copy()).requires_grad_()
        theirs = {key: torch.from_numpy(value) if key == "weight" else value for key, value in given.items()}
        expected = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels), **theirs)
        expected.backward()
        loss, gradient = losses.softmax_cross_entropy(logits, labels, axis=1, **given)
        assert loss == pytest.approx(expected.item(), rel=2e-6)
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


def test_gradient_of_cross_entropy_is_the_derivative(rng):
    labels, weight = rng.integers(0, 9, 6), rng.uniform(0.5, 2, 9).astype(np.float32)
    options = {"weight": weight, "label_smoothing": 0.1, "ignore_index": None}
    logits, v = rng.standard_normal((2, 6, 9))
    step = 1e-5
    ahead, behind = (
        reference.softmax_cross_entropy(logits + s * v, labels, weight=weight, label_smoothing=0.1)[0]
        for s in (step, -step)
    )
    _, gradient = losses.softmax_cross_entropy(logits.astype(np.float32), labels, **options)
    assert abs((gradient * v).sum() - (ahead - behind) / (2 * step)) <= 1e-6


@pytest.mark.parametrize("shape", [(900, 10), (700, 60), (90, 1000), (3, 21, 40, 40)])
def test_threads_change_neither_loss_nor_gradient(shape, isa, rng):
    logits = rng.standard_normal(shape).astype(np.float32)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            results.append(losses.softmax_cross_entropy(logits, labels, axis=1))
    for loss, gradient in results[1:]:
        assert loss == results[0][0] and np.array_equal(gradient, results[0][1])


def test_where_the_gradient_goes(rng):
    logits, labels = rng.standard_normal((6, 7)).astype(np.float32), rng.integers(0, 7, 6)
    loss, gradient = losses.softmax_cross_entropy(logits, labels)
    out = np.empty_like(logits)
    assert losses.softmax_cross_entropy(logits, labels, gradient_out=out)[1] is out and np.array_equal(out, gradient)
    turned = np.empty((7, 6), np.float32)
    assert losses.softmax_cross_entropy(logits, labels, gradient_out=turned.T)[0] == loss
    assert np.array_equal(turned.T, gradient)
    memory = np.zeros((8, 7), np.float32)
    memory[1:7] = logits
    losses.softmax_cross_entropy(memory[1:7], labels, gradient_out=memory[:6])
    assert np.array_equal(memory[:6], gradient)
    before = memory.copy()
    for bad, message in ((out[:5], r"gradient_out has shape \(5, 7\)"), (read_only(out), "gradient_out is read-only")):
        with pytest.raises(ValueError, match=message):
            losses.softmax_cross_entropy(logits, labels, gradient_out=bad)
    with pytest.raises(ValueError, match="labels holds 7"):
        losses.softmax_cross_entropy(memory[1:7], np.full(6, 7), gradient_out=memory[1:7])
    assert np.array_equal(memory, before)


def test_ignored_rows(rng):
    logits = rng.standard_normal((4, 3)).astype(np.float32)
    logits[1] = np.nan
    loss, gradient = losses.softmax_cross_entropy(logits, np.array([0, -100, 2, 1]))
    kept = [0, 2, 3]
    close((loss, gradient[kept]), reference.softmax_cross_entropy(logits[kept], np.array([0, 2, 1])))
    assert not gradient[1].any()
    loss, gradient = losses.softmax_cross_entropy(logits, np.full(4, -100))
    assert np.isnan(loss) and not gradient.any()
    assert losses.softmax_cross_entropy(logits, np.full(4, -100), reduction="sum")[0] == 0
    with pytest.raises(ValueError, match="labels holds -100"):
        losses.softmax_cross_entropy(logits, np.full(4, -100), ignore_index=None)


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


FUSED = [losses.mean_squared_error, losses.binary_cross_entropy_with_logits]


@pytest.mark.parametrize("loss", FUSED)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 129, 8193, 70_001])
def test_losses_in_one_pass(loss, size, isa, rng):
    x, targets = (6 * rng.standard_normal(size)).astype(np.float32), rng.random(size, np.float32)
    value, gradient = loss(x, targets)
    close((value, gradient), getattr(reference, loss.__name__)(x, targets))
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            other, same = loss(x, targets)
            assert other == value and np.array_equal(same, gradient)


@pytest.mark.parametrize("loss", FUSED)
def test_where_the_gradient_of_elements_goes(loss, rng):
    x, targets = rng.random((9, 40), np.float32), rng.random((9, 40), np.float32)
    value, gradient = loss(x, targets)
    place = x.copy()
    assert loss(place, targets, gradient_out=place)[1] is place and np.array_equal(place, gradient)
    place = targets.copy()
    assert loss(x, place, gradient_out=place)[0] == value and np.array_equal(place, gradient)
    memory = np.zeros((10, 40), np.float32)
    for first, second in ((memory[1:], targets), (x, memory[1:])):
        memory[1:] = x if second is targets else targets
        assert loss(first, second, gradient_out=memory[:9])[0] == value
        assert np.array_equal(memory[:9], gradient)
    turned = np.zeros((40, 9), np.float32)
    loss(x, targets, gradient_out=turned.T)
    assert np.array_equal(turned.T, gradient)
    with pytest.raises(ValueError, match=r"gradient_out has shape \(40, 9\)"):
        loss(x, targets, gradient_out=turned)


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
        (
            lambda: losses.softmax_cross_entropy(logits, labels.astype(np.uint64) - 1),
            ValueError,
            "labels holds 18446744",
        ),
        (lambda: losses.softmax_cross_entropy(logits, labels, axis=2), ValueError, r"axis=2: must be in \[-2, 2\)"),
        (lambda: losses.softmax_cross_entropy(np.zeros((), np.float32), labels), ValueError, r"logits has shape \(\)"),
        (
            lambda: losses.softmax_cross_entropy(logits, labels, weight=good[0, :2]),
            ValueError,
            r"weight has shape \(2,\)",
        ),
        (lambda: losses.softmax_cross_entropy(logits, labels, weight=[1, 1, 1]), TypeError, "weight is list"),
        (lambda: losses.softmax_cross_entropy(logits, labels, label_smoothing=1.5), ValueError, "label_smoothing=1.5"),
        (lambda: losses.softmax_cross_entropy(logits, labels, label_smoothing="a"), TypeError, "label_smoothing='a'"),
        (lambda: losses.softmax_cross_entropy(logits, labels, ignore_index=0.5), TypeError, "ignore_index=0.5"),
        (lambda: losses.mean_squared_error(good, good[:1]), ValueError, r"targets has shape \(1, 3\)"),
        (lambda: losses.mean_squared_error(good, labels), TypeError, "targets has dtype int64"),
        (lambda: losses.binary_cross_entropy(good + 2, good), ValueError, r"probabilities holds 2.0 to 2.0"),
        (lambda: losses.binary_cross_entropy_with_logits(good, good - 1), ValueError, r"targets holds -1.0"),
    ):
        with pytest.raises(kind, match=message):
            call()
