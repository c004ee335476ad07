"""The CTC loss against the sum over all alignments, float64 forward and backward probabilities, and bad arguments."""

import itertools

import numpy as np
import pytest
import reference_ctc
from checks import ORDERS, bits, read_only

from fastconv import losses, ops, runtime


def close(result, expected, tolerance=1e-6):
    loss, gradient = result
    assert isinstance(loss, float) and gradient.dtype == np.float32
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        gradient, expected[1], rtol=0, atol=tolerance * np.nanmax(np.abs(expected[1]), initial=0)
    )


def sequences(rng, steps, classes, counts, scale=3.0, blank=0):
    """logits, and labels of these numbers a sequence, about every fourth one equal to the one before."""
    logits = (scale * rng.standard_normal((steps, len(counts), classes))).astype(np.float32)
    targets = []
    for count in counts:
        labels = rng.integers(0, classes - 1, count)
        for i in range(1, count):
            if rng.random() < 0.25:
                labels[i] = labels[i - 1]
        targets.append(labels + (labels >= blank))
    return logits, targets


def padded(targets, width=None, fill=-7):
    """(N, S), filled up with what is no label."""
    rows = np.full((len(targets), width or max(map(len, targets), default=0)), fill)
    for row, labels in zip(rows, targets, strict=True):
        row[: len(labels)] = labels
    return rows


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("steps", range(6))
def test_all_alignments(steps, blank, isa, rng):
    labels = [label for label in range(3) if label != blank]
    for count in range(4):
        for target in itertools.product(labels, repeat=count):
            logits = rng.standard_normal((steps, 1, 3)).astype(np.float32)
            options = {"blank": blank, "reduction": "sum"}
            expected = reference_ctc.ctc_loss(
                logits, [target], [steps], one=reference_ctc.loss_by_alignments, **options
            )
            close(losses.ctc_loss(logits, np.array([target], int), **options), expected, 2e-6)
            again = reference_ctc.ctc_loss(logits, [target], [steps], **options)
            np.testing.assert_allclose(again[0], expected[0], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(again[1], expected[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("classes", [2, 3, 5, 17, 80, 130, 300])
def test_states_and_classes_of_any_number(classes, reduction, isa, rng):
    counts = [0, 1, 6, 7, 8, 14, 15, 16, 17, 31, 32, 33, 0]
    logits, targets = sequences(rng, 90, classes, counts)
    lengths = [90, 89, 50, 33, 17, 90, 60, 61, 62, 90, 90, 90, 0]
    given = padded(targets), np.array(lengths), np.array(counts)
    result = losses.ctc_loss(logits, *given, reduction=reduction)
    close(result, reference_ctc.ctc_loss(logits, targets, lengths, reduction=reduction))
    together = losses.ctc_loss(logits, np.concatenate(targets), *given[1:], reduction=reduction)
    assert together[0] == result[0] and bits(together[1]) == bits(result[1])
    for n, length in enumerate(lengths):
        assert not result[1][length:, n].any()


@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0, 30.0])
@pytest.mark.parametrize(("steps", "classes", "count"), [(2000, 30, 300), (600, 100, 290)])
def test_long_sequences_lose_no_digits(steps, classes, count, scale, isa, rng):
    """Logarithms in float32 would be wrong by 5e-3 to 0.15 here, floats scaled by the step would vanish."""
    logits, targets = sequences(rng, steps, classes, [count], scale)
    loss, gradient = losses.ctc_loss(logits, padded(targets), reduction="sum")
    expected, derivative = reference_ctc.ctc_loss(logits, targets, [steps], reduction="sum")
    assert abs(loss - expected) <= 1e-8 * expected
    assert np.abs(gradient - derivative).max() <= 2e-6


def test_sure_and_wrong(isa):
    """A network that is sure of other labels: probabilities down to exp(-9000) a step."""
    for size in (60.0, 300.0, 4000.0, 9000.0):
        logits = np.zeros((40, 1, 5), np.float32)
        logits[:, :, 4] = size
        targets = [[1, 2, 2, 3] * 4]
        close(losses.ctc_loss(logits, np.array(targets)), reference_ctc.ctc_loss(logits, targets, [40]), 3e-6)


def test_logits_of_any_size(isa, rng):
    for offset in (-1e30, -1e6, -5000.0, 4000.0, 1e5, 3e38):
        logits = rng.integers(-3, 4, (12, 2, 6)).astype(np.float32)
        logits += np.float32(offset)
        targets = [[1, 2, 2], [5, 1]]
        expected = reference_ctc.ctc_loss(logits, targets, [12, 12])
        close(losses.ctc_loss(logits, padded(targets), None, [3, 2]), expected, 2e-6)


def test_masked_classes(isa, rng):
    """-inf and large negative logits: classes that do not come, and targets that need them."""
    logits = rng.standard_normal((9, 3, 5)).astype(np.float32)
    for mask in (-np.inf, np.float32(-1e9)):
        logits[:, :, 3] = mask
        given = np.array([[1, 2], [4, 4], [2, 1]])
        close(losses.ctc_loss(logits, given), reference_ctc.ctc_loss(logits, given, [9] * 3), 2e-6)
    logits[:, :, 3] = -np.inf
    loss, gradient = losses.ctc_loss(logits, np.array([[1, 2], [3, 4], [2, 1]]))
    assert loss == np.inf and np.isnan(gradient[:, 1]).all() and np.isfinite(gradient[:, [0, 2]]).all()
    logits[:, :, 3] = -1e9
    loss, gradient = losses.ctc_loss(logits, np.array([[1, 2], [3, 4], [2, 1]]), reduction="sum")
    assert loss == pytest.approx(1e9, rel=1e-6) and np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(axis=2), 0, atol=1e-5)


def test_impossible_targets(isa, rng):
    logits = rng.standard_normal((4, 4, 3)).astype(np.float32)
    targets = [[1, 2, 1, 2, 1], [1, 2], [1, 1, 1], []]
    given = padded(targets), None, [5, 2, 3, 0]
    loss, gradient = losses.ctc_loss(logits, *given)
    assert loss == np.inf and np.isnan(gradient[:, [0, 2]]).all() and np.isfinite(gradient[:, [1, 3]]).all()
    result = losses.ctc_loss(logits, *given, zero_infinity=True)
    close(result, reference_ctc.ctc_loss(logits, targets, [4] * 4, zero_infinity=True))
    assert not result[1][:, [0, 2]].any() and bits(result[1][:, 1]) == bits(gradient[:, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_special_values_stay_in_their_sequence(bad, isa, rng):
    logits, targets = sequences(rng, 30, 7, [4, 5, 3])
    clean_loss, clean = losses.ctc_loss(logits, padded(targets), None, [4, 5, 3])
    logits[20, 1, 6] = bad
    for zero_infinity in (False, True):
        loss, gradient = losses.ctc_loss(logits, padded(targets), None, [4, 5, 3], zero_infinity=zero_infinity)
        assert np.isnan(loss) and np.isnan(gradient[:, 1]).all()
        assert bits(gradient[:, [0, 2]]) == bits(clean[:, [0, 2]])
    loss, gradient = losses.ctc_loss(logits, padded(targets), [30, 20, 30], [4, 5, 3])
    assert np.isfinite(loss) and np.isfinite(gradient).all() and not gradient[20:, 1].any()
    assert np.isfinite(clean_loss)
    assert np.isnan(losses.ctc_loss(np.full((3, 1, 4), -np.inf, np.float32), np.array([[1]]))[0])


def test_probabilities_do_as_well(rng):
    logits, targets = sequences(rng, 40, 9, [6, 8])
    loss, gradient = losses.ctc_loss(logits, padded(targets), None, [6, 8])
    other, same = losses.ctc_loss(ops.log_softmax(logits), padded(targets), None, [6, 8])
    assert other == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(same, gradient, rtol=0, atol=1e-7)


def test_a_certain_alignment_costs_nothing(isa):
    logits = np.full((5, 1, 4), -200.0, np.float32)
    logits[range(5), 0, [0, 1, 0, 1, 3]] = 0.0
    assert losses.ctc_loss(logits, np.array([[1, 1, 3]]))[0] == 0.0


def test_gradient_is_the_derivative(rng):
    logits, targets = sequences(rng, 25, 6, [7, 3], 1.0)
    v, step = rng.standard_normal(logits.shape), 1e-5
    ahead, behind = (reference_ctc.ctc_loss(logits + s * v, targets, [25, 20])[0] for s in (step, -step))
    gradient = losses.ctc_loss(logits, padded(targets), [25, 20], [7, 3])[1]
    assert abs((gradient * v).sum() - (ahead - behind) / (2 * step)) <= 2e-6


@pytest.mark.parametrize("shape", [(60, 7, 40), (33, 2, 300), (5, 40, 200)])
def test_threads_change_no_bit(shape, isa, rng):
    steps, batch, classes = shape
    counts = rng.integers(0, steps // 2, batch)
    logits, targets = sequences(rng, steps, classes, counts)
    given = padded(targets), rng.integers(0, steps + 1, batch), counts
    results = []
    for threads in (1, 2, 3, 8):
        with runtime.options(num_threads=threads):
            results.append(losses.ctc_loss(logits, *given, zero_infinity=True))
    for loss, gradient in results[1:]:
        assert loss == results[0][0] and bits(gradient) == bits(results[0][1])


def test_where_the_gradient_goes(isa, rng):
    logits, targets = sequences(rng, 20, 9, [3, 6])
    given = padded(targets), [20, 15], [3, 6]
    loss, gradient = losses.ctc_loss(logits, *given)
    out = np.full_like(logits, np.nan)
    assert losses.ctc_loss(logits, *given, gradient_out=out)[1] is out and bits(out) == bits(gradient)
    place = logits.copy()
    assert losses.ctc_loss(place, *given, gradient_out=place)[0] == loss and bits(place) == bits(gradient)
    place = 5000 + logits
    expected = losses.ctc_loss(place, *given)[1]
    assert bits(losses.ctc_loss(place, *given, gradient_out=place)[1]) == bits(expected)
    memory = np.zeros((21, 2, 9), np.float32)
    memory[1:] = logits
    losses.ctc_loss(memory[1:], *given, gradient_out=memory[:20])
    assert bits(memory[:20]) == bits(gradient)
    turned = np.zeros((9, 2, 20), np.float32)
    losses.ctc_loss(logits, *given, gradient_out=turned.T)
    assert np.array_equal(turned.T, gradient)
    for bad, message in (
        (out[:5], r"gradient_out has shape \(5, 2, 9\)"),
        (read_only(out), "gradient_out is read-only"),
    ):
        with pytest.raises(ValueError, match=message):
            losses.ctc_loss(logits, *given, gradient_out=bad)
    memory = np.zeros(9, np.float64)  # labels on the memory of the gradient
    labels, out = memory.view(np.int64)[:1].reshape(1, 1), memory.view(np.float32).reshape(2, 1, 9)
    labels[...] = 1
    logits = logits[:2, :1].copy()
    assert bits(losses.ctc_loss(logits, labels, gradient_out=out)[1]) == bits(losses.ctc_loss(logits, [[1]])[1])


@pytest.mark.parametrize("order", ORDERS)
def test_memory_orders_and_integer_types(order, rng):
    logits, targets = sequences(rng, 14, 5, [3, 4])
    given = padded(targets, fill=1), np.array([14, 13]), np.array([3, 4])
    loss, gradient = losses.ctc_loss(logits, *given)
    view = ORDERS[order]
    again, same = losses.ctc_loss(view(logits), *map(view, given))
    assert again == loss and np.array_equal(same, gradient)
    for dtype in (np.int8, np.uint8, np.int32, np.uint64):
        again, same = losses.ctc_loss(logits, *(value.astype(dtype) for value in given))
        assert again == loss and np.array_equal(same, gradient)
    assert losses.ctc_loss(logits, given[0].tolist(), [14, 13], (3, 4))[0] == loss


def test_empty_batches_and_sequences():
    for shape in ((5, 0, 3), (0, 0, 3)):
        loss, gradient = losses.ctc_loss(np.zeros(shape, np.float32), np.zeros((0, 2), int))
        assert np.isnan(loss) and gradient.shape == shape
        assert losses.ctc_loss(np.zeros(shape, np.float32), np.zeros((0, 2), int), reduction="sum")[0] == 0.0
    logits = np.zeros((0, 2, 3), np.float32)
    assert losses.ctc_loss(logits, [[], []])[0] == 0.0
    assert losses.ctc_loss(logits, [[1], [1]])[0] == np.inf
    assert losses.ctc_loss(logits, [1], target_lengths=[0, 1], zero_infinity=True)[0] == 0.0


def test_bad_arguments(rng):
    logits, targets = np.zeros((6, 2, 4), np.float32), np.array([[1, 2, 3], [3, 1, 1]])
    out = np.full_like(logits, 7.0)

    def call(logits=logits, targets=targets, *lengths, **options):
        losses.ctc_loss(logits, targets, *lengths, gradient_out=out, **options)

    huge = np.array([[2**63, 1, 1], [1, 1, 1]], np.uint64)
    for arguments, options, kind, message in (
        ((logits.astype(float),), {}, TypeError, "ctc_loss: logits has dtype float64"),
        ((logits[0],), {}, ValueError, r"logits has shape \(2, 4\): must have 3 dimensions"),
        ((logits, targets.astype(float)), {}, TypeError, "targets has dtype float64: must be an integer type"),
        ((logits, targets[:1]), {}, ValueError, r"targets has shape \(1, 3\): must be \(2, S\)"),
        ((logits, targets[None]), {}, ValueError, r"targets has shape \(1, 2, 3\): must have 1 or 2 dimensions"),
        ((logits, targets.ravel()), {}, ValueError, "target_lengths is None"),
        ((logits, targets.ravel(), None, [3, 2]), {}, ValueError, r"targets has shape \(6,\): must be \(5,\)"),
        ((logits, targets, [6, 7]), {}, ValueError, r"logit_lengths holds 7: every length must be in \[0, 6\]"),
        ((logits, targets, [-1, 6]), {}, ValueError, "logit_lengths holds -1"),
        ((logits, targets, [6.0, 6.0]), {}, TypeError, "logit_lengths has dtype float64"),
        ((logits, targets, [6]), {}, ValueError, r"logit_lengths has shape \(1,\): must be \(2,\)"),
        ((logits, targets, [[6, 6]]), {}, ValueError, r"logit_lengths has shape \(1, 2\): must have 1 dimension"),
        ((logits, targets, None, [3, 4]), {}, ValueError, "target_lengths holds 4"),
        ((logits, targets + 1), {}, ValueError, r"targets holds 4: every label must be in \[0, 4\) and not blank=0"),
        ((logits, targets - 1), {}, ValueError, "targets holds 0"),
        ((logits, targets - 2), {}, ValueError, "targets holds -1"),
        ((logits, huge), {}, ValueError, "targets holds 9223372036854775808"),
        ((), {"blank": 4}, ValueError, r"blank=4: must be in \[0, 4\)"),
        ((), {"blank": -1}, ValueError, "blank=-1: must be >= 0"),
        ((), {"blank": 0.5}, TypeError, "blank=0.5: must be an integer"),
        ((), {"blank": 1}, ValueError, "targets holds 1: .* not blank=1"),
        ((), {"reduction": "none"}, ValueError, "reduction='none'"),
        ((np.zeros((6, 2, 0), np.float32),), {}, ValueError, r"blank=0: must be in \[0, 0\)"),
    ):
        with pytest.raises(kind, match=message):
            call(*arguments, **options)
    assert (out == 7.0).all()
    call(logits, targets + [[0, 0, 100], [0, 0, 100]], None, [2, 2])  # what lies beyond a length is no label
