"""Greedy and beam decoding of CTC against the probabilities of all labellings."""

import numpy as np
import pytest
import reference_ctc
from checks import ORDERS, reals

from fastconv import decoding, losses, ops, runtime


def best(logits, count, blank=0):
    """The most probable labellings of one sequence and their logarithms, by all alignments."""
    sums = reference_ctc.labelling_probabilities(np.asarray(logits, np.float64), blank)
    ranked = sorted(sums.items(), key=lambda pair: -pair[1])
    return [(list(labels), np.log(p)) for labels, p in ranked[:count] if p > 0]


def agree(found, expected):
    assert [labels.tolist() for labels, _ in found] == [labels for labels, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("steps", "classes"), [(0, 3), (1, 2), (1, 4), (4, 2), (5, 3), (6, 3), (4, 4), (3, 6)])
@pytest.mark.parametrize("blank", [0, 1])
def test_a_beam_as_wide_as_all_prefixes_is_exact(steps, classes, blank, rng):
    logits = 2 * reals(rng, (steps, 3, classes))
    decoded = decoding.ctc_beam_decode(logits, blank=blank, beam_width=2000, top=2000)
    for n, found in enumerate(decoded):
        expected = best(logits[:, n], None, blank)
        agree(found, expected)
        assert np.exp([score for _, score in found]).sum() == pytest.approx(1.0, abs=1e-6)
        assert all(labels.dtype == np.int64 and isinstance(score, float) for labels, score in found)
    for n, found in enumerate(decoding.ctc_beam_decode(logits, blank=blank, beam_width=2000)):
        agree(found, best(logits[:, n], 1, blank))


def test_where_greedy_is_wrong():
    logits = np.log(np.array([[[0.6, 0.4]], [[0.6, 0.4]]], np.float32))
    ((labels, score),) = decoding.ctc_greedy_decode(logits)
    assert labels.tolist() == [] and score == pytest.approx(np.log(0.36), rel=1e-6)
    (((labels, score),),) = decoding.ctc_beam_decode(logits)
    assert labels.tolist() == [1] and score == pytest.approx(np.log(0.64), rel=1e-6)


def test_repetitions_need_a_blank():
    path = [1, 1, 0, 1, 2, 2, 0, 0, 2, 3]
    logits = np.full((10, 1, 4), -20.0, np.float32)
    logits[range(10), 0, path] = 0.0
    for decode in (decoding.ctc_greedy_decode, lambda x: [pairs[0] for pairs in decoding.ctc_beam_decode(x)]):
        ((labels, score),) = decode(logits)
        assert labels.tolist() == [1, 1, 2, 2, 3] and score == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("steps", "classes"), [(60, 80), (100, 5), (40, 300)])
def test_beam_is_no_worse_than_greedy(steps, classes, rng):
    """And its scores are at most the labels' probabilities, which ctc_loss knows."""
    logits = 3 * reals(rng, (steps, 6, classes))
    lengths = np.array([steps, steps - 1, 7, 1, 0, steps])
    greedy, beams = decoding.ctc_greedy_decode(logits, lengths), decoding.ctc_beam_decode(logits, lengths, top=3)

    def probability(n, labels):
        return -losses.ctc_loss(logits[: lengths[n], n : n + 1].copy(), labels[None], reduction="sum")[0]

    for n, ((labels, score), found) in enumerate(zip(greedy, beams, strict=True)):
        assert probability(n, found[0][0]) >= probability(n, labels) - 1e-4 >= score - 2e-4
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(labels.tolist()) for labels, _ in found}) == len(found)
        for labels, score in found:
            assert score <= probability(n, labels) + 1e-4


def test_a_pruned_prefix_that_comes_back_is_the_same_prefix(rng):
    """Narrow beams over few classes, where prefixes go and return while those they are extended to stay."""
    for seed in range(200):
        logits = 2 * reals(np.random.default_rng(seed), (12, 1, 3))
        for width in (2, 3, 5):
            (found,) = decoding.ctc_beam_decode(logits, beam_width=width, top=width)
            assert len({tuple(labels.tolist()) for labels, _ in found}) == len(found)


def test_wider_beams_find_more(rng):
    logits = 2 * reals(rng, (7, 20, 3))
    scores = [
        [pairs[0][1] for pairs in decoding.ctc_beam_decode(logits, beam_width=width)] for width in (1, 2, 4, 16, 2000)
    ]
    exact = [best(logits[:, n], 1)[0][1] for n in range(20)]
    np.testing.assert_allclose(scores[-1], exact, rtol=1e-6)
    assert np.sum(scores, axis=1).tolist() == sorted(np.sum(scores, axis=1))


def test_special_values(rng):
    logits = reals(rng, (6, 3, 4))
    clean = decoding.ctc_beam_decode(logits)
    logits[2, 1, 3] = np.nan
    ((_, greedy, _), (first, second, third)) = decoding.ctc_greedy_decode(logits), decoding.ctc_beam_decode(logits)
    assert np.isnan(greedy[1]) and len(second) == 1
    assert second[0][0].size == 0 and np.isnan(second[0][1])
    agree(first, [(labels.tolist(), score) for labels, score in clean[0]])
    agree(third, [(labels.tolist(), score) for labels, score in clean[2]])
    (found,) = decoding.ctc_beam_decode(logits[:, 1:2], [2])  # not read
    assert np.isfinite(found[0][1])
    logits = np.zeros((3, 1, 4), np.float32)
    logits[:, :, 1:3] = -np.inf
    (found,) = decoding.ctc_beam_decode(logits, beam_width=100, top=100)
    assert sorted(tuple(labels.tolist()) for labels, _ in found) == [(), (3,), (3, 3)]


def test_threads_and_memory_orders_change_nothing(rng):
    logits, lengths = 2 * reals(rng, (30, 9, 40)), rng.integers(0, 31, 9)
    expected = str(decoding.ctc_beam_decode(logits, lengths, top=4))
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            assert str(decoding.ctc_beam_decode(logits, lengths, top=4)) == expected
    greedy = str(decoding.ctc_greedy_decode(logits, lengths))
    for view in ORDERS.values():
        assert str(decoding.ctc_beam_decode(view(logits), view(lengths), top=4)) == expected
        assert str(decoding.ctc_greedy_decode(view(logits), view(lengths))) == greedy
    same = decoding.ctc_beam_decode(ops.log_softmax(logits), lengths, top=4)
    assert [str(pairs[0][0]) for pairs in same] == [str(p[0][0]) for p in decoding.ctc_beam_decode(logits, lengths)]


def test_empty_batches():
    for decode in (decoding.ctc_greedy_decode, decoding.ctc_beam_decode):
        assert decode(np.zeros((5, 0, 3), np.float32)) == []
    (((labels, score),),) = decoding.ctc_beam_decode(np.zeros((0, 1, 3), np.float32))
    assert labels.size == 0 and score == 0.0
    ((labels, score),) = decoding.ctc_greedy_decode(np.zeros((0, 1, 3), np.float32))
    assert labels.size == 0 and score == 0.0
    (((labels, score),),) = decoding.ctc_beam_decode(np.zeros((4, 1, 1), np.float32))  # nothing but blanks
    assert labels.size == 0 and score == 0.0


def test_bad_arguments():
    logits = np.zeros((4, 2, 3), np.float32)
    for decode in (decoding.ctc_greedy_decode, decoding.ctc_beam_decode):
        for arguments, options, kind, message in (
            ((logits[0],), {}, ValueError, rf"{decode.__name__}: logits has shape \(2, 3\): must have 3 dimensions"),
            ((logits.tolist(),), {}, TypeError, "logits is list"),
            ((logits, [4, 5]), {}, ValueError, "lengths holds 5"),
            ((logits, [4]), {}, ValueError, r"lengths has shape \(1,\)"),
            ((logits, [4.0, 4.0]), {}, TypeError, "lengths has dtype float64"),
            ((logits,), {"blank": 3}, ValueError, r"blank=3: must be in \[0, 3\)"),
        ):
            with pytest.raises(kind, match=message):
                decode(*arguments, **options)
    for options, kind, message in (
        ({"beam_width": 0}, ValueError, "beam_width=0: must be >= 1"),
        ({"beam_width": 2.0}, TypeError, "beam_width=2.0: must be an integer"),
        ({"top": 0}, ValueError, "top=0: must be >= 1"),
        ({"top": 5, "beam_width": 4}, ValueError, "top=5: must be at most beam_width=4"),
        ({"beam_width": 2**30}, ValueError, "beam_width=1073741824"),
    ):
        with pytest.raises(kind, match=message):
            decoding.ctc_beam_decode(logits, **options)
