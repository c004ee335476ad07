"""Recurrent ops with options (peepholes, projections, clipping, activations, lengths) against their definition."""

import numpy as np
import pytest
import reference
import reference_recurrent
from checks import ORDERS
from recurrent_option_problems import ACTIVATIONS, COMBINATIONS, LENGTHS, NAMES, OUTPUTS, Problem

from fastconv import ops, runtime

combinations = pytest.mark.parametrize(("kind", "options"), COMBINATIONS, ids=NAMES)
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
ends = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def float64(problem):
    for name in ("x", "h", "c", "dy", "dh", "dc"):
        value = getattr(problem, name)
        setattr(problem, name, value if value is None else value.astype(np.float64))
    problem.weights = [weight.astype(np.float64) for weight in problem.weights]
    for name in ("peepholes", "weight_hr"):
        if problem.options.get(name) is not None:
            problem.options[name] = problem.options[name].astype(np.float64)
    return problem


# ------------------------------------------------------------------------------------------------- the reference


def check_reference_gradients(problem, rng):
    float64(problem)

    def loss():
        gradients = problem.dy, problem.dh, problem.dc
        return sum((d * v).sum() for d, v in zip(gradients, problem.wanted(), strict=True) if d is not None)

    want, step = problem.wanted_gradients(), 1e-6
    for name, operand in problem.arrays().items():
        direction = rng.standard_normal(operand.shape)
        operand += step * direction
        above = loss()
        operand -= 2 * step * direction
        below = loss()
        operand += step * direction
        slope = (want[f"d{name}"] * direction).sum()
        np.testing.assert_allclose((above - below) / (2 * step), slope, rtol=1e-6, atol=1e-7, err_msg=name)


@combinations
@directions
@pytest.mark.parametrize("lengths", ["whole", "ragged"])
def test_reference_gradients_are_finite_differences(rng, kind, options, reverse, lengths):
    check_reference_gradients(Problem(rng, kind, options, LENGTHS[lengths], reverse), rng)


@pytest.mark.parametrize("f", ACTIVATIONS, ids=str)
def test_reference_gradients_of_activations_are_finite_differences(rng, f):
    check_reference_gradients(Problem(rng, "lstm", {"activations": (f, f, f), "clip": 3.0}), rng)
    check_reference_gradients(Problem(rng, "gru", {"activations": (f, f), "clip": 3.0, "reset_after": False}), rng)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@directions
def test_both_references_agree_on_standard_units(rng, kind, reverse):
    problem = float64(Problem(rng, kind, {}, None, reverse))
    operands = problem.x, problem.h, problem.c, *problem.weights
    want = reference.recurrent(kind, *operands, reverse=reverse)[:3]
    for got, other in zip(problem.wanted()[: 3 if kind == "lstm" else 2], want, strict=False):
        np.testing.assert_allclose(got, other, rtol=0, atol=1e-12)
    want = reference.recurrent_backward(kind, problem.dy, problem.dh, problem.dc, *operands, reverse=reverse)
    names = ["dx", "dh", "dc", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"]
    got = problem.wanted_gradients()
    for name, other in zip(names, want, strict=True):
        if other is not None:
            np.testing.assert_allclose(got[name], other, rtol=0, atol=1e-11, err_msg=name)


# ------------------------------------------------------------------------------------------------------- accuracy


@combinations
@directions
@ends
def test_against_reference(rng, kind, options, reverse, lengths):
    Problem(rng, kind, options, lengths, reverse).check()


@pytest.mark.parametrize("shape", [(9, 3, 5, 17), (3, 70, 2, 33), (2, 1, 40, 1), (40, 1, 1, 8)], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh"])
def test_sizes(isa, rng, kind, shape):
    options = {"lstm": {"peepholes": True, "weight_hr": True}, "gru": {"reset_after": False}, "rnn_tanh": {"clip": 2.0}}
    lengths = rng.integers(0, shape[0] + 1, shape[1])
    Problem(rng, kind, options[kind], lengths, shape=shape).check()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("f", ACTIVATIONS, ids=str)
def test_activations(rng, f, place):
    shape, standard = (4, 3, 3, 5), ["sigmoid", "tanh", "tanh"]
    standard[place] = f
    Problem(rng, "lstm", {"activations": standard, "clip": 2.0}, shape=shape).check()
    Problem(rng, "lstm", {"activations": tuple(standard), "peepholes": True}, [4, 0, 2], True, shape).check()
    if place < 2:
        for after in (True, False):
            Problem(rng, "gru", {"activations": standard[:2], "reset_after": after, "clip": 1.5}, shape=shape).check()
    else:
        Problem(rng, "rnn_tanh", {"activations": [f]}, shape=shape).check()


def test_activations_take_the_place_of_nonlinearity(rng):
    problem = Problem(rng, "rnn_tanh", {"activations": ("relu",)})
    same = problem.forward()
    problem.kind = "rnn_relu"
    assert np.array_equal(problem.forward()[0], same[0])


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@directions
def test_a_clip_that_cuts_nothing_gives_the_standard_unit(rng, kind, reverse):
    with_clip, without = (Problem(np.random.default_rng(0), kind, o, None, reverse) for o in ({"clip": np.inf}, {}))
    (y, h, c, reserve), (y_want, h_want, c_want, kept) = with_clip.forward(), without.forward()
    assert not isinstance(reserve, np.ndarray) and isinstance(kept, np.ndarray)
    for got, want in ((y, y_want), (h, h_want), (c, c_want)):
        assert want is None or np.abs(got - want).max() < 2e-6
    want = without.backward(y_want, kept)
    for name, got in with_clip.backward(y, reserve).items():
        np.testing.assert_allclose(got, want[name], rtol=1e-4, atol=1e-5, err_msg=name)


def integers(rng, problem):
    """Small whole numbers in every array, so that nothing is rounded."""
    for name in ("x", "h", "c", "dy", "dh", "dc"):
        value = getattr(problem, name)
        if value is not None:
            value[...] = rng.integers(-2, 3, value.shape)
    for array in (*problem.weights, *(problem.options.get(n) for n in ("peepholes", "weight_hr"))):
        if array is not None:
            array[...] = rng.integers(-1, 2, array.shape)
    return problem


@pytest.mark.parametrize("lengths", [None, [3, 0, 2, 1, 3]], ids=["whole", "ragged"])
@directions
def test_integers_are_exact(isa, rng, lengths, reverse):
    clips = {"lstm": 3, "gru": 2, "rnn_relu": 4}
    options = {
        "lstm": {"peepholes": True, "weight_hr": True, "activations": ("relu", ("leaky_relu", 2), "relu")},
        "gru": {"reset_after": False, "activations": ("relu", ("affine", 2, 1))},
        "rnn_relu": {},
    }
    for kind, clip in clips.items():
        named = {**options[kind], "clip": clip}
        problem = integers(rng, Problem(rng, kind, named, lengths, reverse, (3, 5, 4, 6)))
        y, h_last, c_last, reserve = problem.forward()
        want = problem.wanted()
        assert (want[0] != 0).mean() > 0.05 and np.abs(want[0]).max() < 2**20
        for got, wanted in zip((y, h_last, c_last), want, strict=True):
            assert wanted is None or np.array_equal(got, wanted)
        gradients = problem.wanted_gradients()
        for name, got in problem.backward(y, reserve).items():
            assert np.abs(gradients[name]).max() < 2**23
            assert np.array_equal(got, gradients[name]), (kind, name)


# ------------------------------------------------------------------------------------------------------- operands


@combinations
def test_absent_operands_are_zeros(rng, kind, options):
    problem = Problem(rng, kind, options)
    for name in ("h", "c", "dh", "dc", "dy"):
        setattr(problem, name, None)
        problem.check()
    for absent in ([2], [3], [2, 3]):
        problem = Problem(rng, kind, options, LENGTHS["ragged"])
        problem.weights = [None if i in absent else weight for i, weight in enumerate(problem.weights)]
        problem.check()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (4, 0, 3, 5), (4, 3, 0, 5), (0, 0, 0, 1)], ids=str)
@combinations
def test_empty(rng, kind, options, shape):
    Problem(rng, kind, options, [0] * shape[1], True, shape=shape).check()
    problem = Problem(rng, kind, options, None, shape=shape)
    problem.check()
    y, h_last, c_last, reserve = problem.forward()
    gradients = problem.backward(y, reserve)
    for given, got in ((problem.h, h_last), (problem.c, c_last), (problem.dh, gradients["dh"])):
        assert given is None or not np.shares_memory(given, got)


@pytest.mark.parametrize("layout", ["misaligned", "strided", "Fortran", "negative strides"])
@combinations
def test_any_memory(rng, kind, options, layout):
    problem, layout = Problem(rng, kind, options, LENGTHS["ragged"]), ORDERS[layout]
    y, h_last, _, reserve = problem.forward()
    want = problem.backward(y, reserve)
    for name in ("x", "h", "c", "dy", "dh", "dc"):
        value = getattr(problem, name)
        setattr(problem, name, value if value is None else layout(value))
    problem.weights = [layout(weight) for weight in problem.weights]
    for name in ("peepholes", "weight_hr"):
        if problem.options.get(name) is not None:
            problem.options[name] = layout(problem.options[name])
    again = problem.forward()
    assert np.array_equal(again[0], y) and np.array_equal(again[1], h_last)
    for name, got in problem.backward(layout(y), again[3]).items():
        assert np.array_equal(got, want[name]), name


@combinations
@directions
def test_what_lies_past_the_end_is_never_used(rng, kind, options, reverse):
    problem = Problem(rng, kind, options, LENGTHS["ragged"], reverse)
    y, h_last, c_last, reserve = problem.forward()
    want = problem.backward(y, reserve)
    ended = np.arange(len(problem.x))[:, None] >= problem.options["lengths"]
    for value in (np.nan, np.inf):
        problem.x[ended] = problem.dy[ended] = value
        again = problem.forward()
        assert np.array_equal(again[0], y) and np.array_equal(again[1], h_last) and not y[ended].any()
        assert c_last is None or np.array_equal(again[2], c_last)
        for name, got in problem.backward(y, again[3]).items():
            assert np.array_equal(got, want[name]), name
    assert not want["dx"][ended].any() and np.array_equal(h_last[1], problem.h[1])
    assert np.array_equal(want["dh"][1], problem.dh[1])


@pytest.mark.parametrize("shape", [(6, 5, 3, 7), (6, 5, 40, 70)], ids=str)
@combinations
@directions
def test_a_batch_is_its_sequences(rng, kind, options, reverse, shape):
    problem = Problem(rng, kind, options, LENGTHS["ragged"], reverse, shape)
    y, h_last, c_last, _ = problem.forward()
    lengths = problem.options.pop("lengths")
    x, h, c = problem.x, problem.h, problem.c
    for n, length in enumerate(lengths):
        problem.x, problem.h = x[:length, n : n + 1], h[n : n + 1]
        problem.c = None if c is None else c[n : n + 1]
        alone = problem.forward()
        np.testing.assert_allclose(y[:length, n], alone[0][:, 0], rtol=0, atol=2e-5)
        np.testing.assert_allclose(h_last[n], alone[1][0], rtol=0, atol=2e-5)
        assert c is None or np.allclose(c_last[n], alone[2][0], rtol=0, atol=2e-5)


# ---------------------------------------------------------------------------------------------------- metamorphic


@combinations
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_are_the_whole_sequence(isa, rng, kind, options, chunk):
    """With the state handed on, forward and backward."""
    problem = Problem(rng, kind, options)
    y, h_last, c_last, reserve = problem.forward()
    want = problem.backward(y, reserve)
    x, dy, runs, sums = problem.x, problem.dy, [], {}
    for first in range(0, len(x), chunk):
        problem.x = x[first : first + chunk]
        part, h, c, kept = problem.forward()
        np.testing.assert_allclose(part, y[first : first + chunk], rtol=0, atol=1e-6)
        runs.append((first, problem.h, problem.c, part, kept))
        problem.h, problem.c = h, c
    np.testing.assert_allclose(problem.h, h_last, rtol=0, atol=1e-6)
    assert c_last is None or np.allclose(problem.c, c_last, rtol=0, atol=1e-6)
    for first, problem.h, problem.c, part, kept in reversed(runs):
        problem.x, problem.dy = x[first : first + chunk], dy[first : first + chunk]
        gradients = problem.backward(part, kept)
        problem.dh, problem.dc = gradients["dh"], gradients.get("dc")
        np.testing.assert_allclose(gradients["dx"], want["dx"][first : first + chunk], rtol=0, atol=1e-5)
        for name in set(want) - {"dx", "dh", "dc"}:
            sums[name] = sums.get(name, 0) + gradients[name]
    for name in sums:
        np.testing.assert_allclose(sums[name], want[name], rtol=1e-4, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(problem.dh, want["dh"], rtol=1e-4, atol=1e-5)


@combinations
def test_reverse_is_a_flipped_sequence_to_the_bit(rng, kind, options):
    problem = Problem(rng, kind, options, None, True)
    y, h_last, _, reserve = problem.forward()
    dx = problem.backward(y, reserve)["dx"]
    problem.x, problem.dy, problem.options["reverse"] = problem.x[::-1], problem.dy[::-1], False
    flipped, h_flipped, _, reserve = problem.forward()
    assert np.array_equal(y, flipped[::-1]) and np.array_equal(h_last, h_flipped)
    assert np.array_equal(dx, problem.backward(flipped, reserve)["dx"][::-1])


@pytest.mark.parametrize("shape", [(4, 40, 9, 70), (3, 1, 5, 301)], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh"])
def test_threads_do_not_change_a_bit(rng, kind, shape):
    options = {"lstm": {"peepholes": True, "weight_hr": True}, "gru": {"reset_after": False}, "rnn_tanh": {"clip": 2.0}}
    problem, results = Problem(rng, kind, options[kind], shape=shape), []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y, h_last, _, reserve = problem.forward()
            results.append([y, h_last, *problem.backward(y, reserve).values()])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@combinations
def test_nan_stays_in_its_row(rng, kind, options):
    problem = Problem(rng, kind, options)
    clean = problem.forward()[0]
    problem.x[2, 3, 1] = np.nan
    y, _, _, reserve = problem.forward()
    assert np.array_equal(y[:2], clean[:2]) and np.isnan(y[2:, 3]).all()
    assert np.array_equal(np.delete(y, 3, axis=1), np.delete(clean, 3, axis=1))
    dx = problem.backward(y, reserve)["dx"]
    assert np.isfinite(np.delete(dx, 3, axis=1)).all()


@combinations
def test_a_reserve_serves_any_number_of_backwards(rng, kind, options):
    problem = Problem(rng, kind, options, LENGTHS["ragged"])
    y, _, _, reserve = problem.forward()
    first, again = problem.backward(y, reserve), problem.backward(y, reserve)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_projections_have_any_size(rng):
    problem = Problem(rng, "lstm", {"weight_hr": True}, shape=(3, 2, 5, OUTPUTS - 2))
    assert problem.forward()[0].shape == (3, 2, OUTPUTS)
    problem.check()


def test_reference_knows_all_units():
    assert set(reference_recurrent.DEFAULTS) == {"lstm", "gru", "rnn_tanh", "rnn_relu"}
    assert all(hasattr(ops, name) for name in ("recurrent_from_onnx", "recurrent_to_onnx"))
