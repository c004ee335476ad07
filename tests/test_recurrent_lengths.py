"""Sequences of different lengths in one batch: each against the definition, alone."""

import numpy as np
import pytest
import reference
from recurrent_problems import (
    KINDS,
    backward,
    forward,
    gradients_in,
    options_of,
    problem,
    reference_gradients,
    relative_error,
)

from fastconv import layers, ops, runtime

WEIGHTS = ["dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"]


def alone(array, n, length=None):
    """Sequence n of (T, N, ...) up to its length, or row n of a state; None stays."""
    if array is None:
        return None
    return array[n : n + 1] if length is None else array[:length, n : n + 1]


def with_ends_spoilt(x, lengths, value):
    x = x.copy()
    x[np.arange(len(x))[:, None] >= lengths] = value
    return x


def check(kind, operands, gradients, lengths, reverse):
    x, h, c, *weights = operands
    spoilt = [with_ends_spoilt(x, lengths, np.nan), h, c, *weights]
    y, h_last, c_last, reserve = forward(kind, spoilt, reverse, lengths=lengths)
    dy, dh_last, dc_last = gradients
    spoilt_gradients = [None if dy is None else with_ends_spoilt(dy, lengths, np.nan), dh_last, dc_last]
    got = backward(kind, spoilt_gradients, spoilt, y, reserve, reverse, lengths=lengths)
    sums = {name: 0.0 for name in WEIGHTS}
    for n, length in enumerate(lengths):
        own = [alone(x, n, length), alone(h, n), alone(c, n), *weights]
        y_want, h_want, c_want, _ = reference.recurrent(kind, *own, reverse=reverse)
        np.testing.assert_allclose(y[:length, n : n + 1], y_want, rtol=0, atol=2e-6)
        np.testing.assert_allclose(alone(h_last, n), h_want, rtol=0, atol=2e-6)
        if kind == "lstm":
            np.testing.assert_allclose(alone(c_last, n), c_want, rtol=2e-6, atol=2e-6)
        assert not y[length:, n].any() and not got["dx"][length:, n].any()
        own_gradients = [alone(dy, n, length), alone(dh_last, n), alone(dc_last, n)]
        want = reference_gradients(kind, own_gradients, own, reverse)
        assert relative_error(got["dx"][:length, n : n + 1], want["dx"]) < 1e-5
        for name in ("dh", "dc") if kind == "lstm" else ("dh",):
            assert relative_error(alone(got[name], n), want[name]) < 1e-5, name
        for name in WEIGHTS:
            sums[name] = sums[name] + want[name]
    for name in WEIGHTS:
        if name in got:
            assert relative_error(got[name], sums[name]) < 1e-5, name


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_sequence_is_alone(isa, rng, kind, reverse):
    lengths = np.array([5, 0, 7, 1, 7, 3])
    operands = problem(rng, kind, 7, len(lengths), 5, 19)
    check(kind, operands, gradients_in(rng, kind, 7, len(lengths), 19), lengths, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_without_states_and_without_dy(rng, kind, reverse):
    lengths = np.array([2, 4, 0])
    x, _, _, *weights = problem(rng, kind, 4, 3, 2, 6)
    _, dh, dc = gradients_in(rng, kind, 4, 3, 6)
    check(kind, [x, None, None, *weights], [None, dh, dc], lengths, reverse)


# More rows than a strip; more rows than a chunk, so that sequences begin and end in different ones.
@pytest.mark.parametrize("shape", [(9, 131, 6, 34), (700, 3, 2, 6)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_strips_and_chunks(rng, kind, reverse, shape):
    steps, batch, _, hidden = shape
    lengths = rng.integers(0, steps + 1, batch)
    check(kind, problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden), lengths, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_inference_threads_and_full_lengths(isa, rng, kind, reverse):
    """Inference has the bits of training, any number of threads those of one, whole lengths those of none."""
    steps, batch, hidden = 6, 5, 70
    operands = problem(rng, kind, steps, batch, 3, hidden)
    lengths = np.array([6, 2, 5, 0, 6])
    wanted = forward(kind, operands, reverse, lengths=lengths)[:3]
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            got = forward(kind, operands, reverse, training=False, lengths=lengths)[:3]
        for a, b in zip(got, wanted, strict=True):
            assert a is None and b is None or a.tobytes() == b.tobytes()
    whole = forward(kind, operands, reverse)[:3]
    got = forward(kind, operands, reverse, lengths=np.full(batch, steps))[:3]
    assert all(a is None or a.tobytes() == b.tobytes() for a, b in zip(got, whole, strict=True))
    # A whole sequence has the same bits beside shorter ones.
    np.testing.assert_array_equal(wanted[0][:, 0], whole[0][:, 0])


BAD = {
    "floats": (np.ones(3, np.float32), TypeError, "lengths has dtype float32: must be an integer type"),
    "too few": (np.ones(2, int), ValueError, r"lengths has shape \(2,\): must be \(3,\)"),
    "negative": (np.array([1, -1, 2]), ValueError, r"lengths holds -1 to 2: must be in \[0, 4\]"),
    "too long": ([1, 5, 2], ValueError, r"lengths holds 1 to 5: must be in \[0, 4\]"),
}


@pytest.mark.parametrize("case", list(BAD))
@pytest.mark.parametrize("kind", KINDS)
def test_bad_lengths(rng, kind, case):
    lengths, error, message = BAD[case]
    operands = problem(rng, kind, 4, 3, 2, 6)
    name, _ = options_of(kind, False)
    for training in (False, True):
        with pytest.raises(error, match=f"^{name}{'_forward' if training else ''}: {message}"):
            forward(kind, operands, training=training, lengths=lengths)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_against_packed_sequences_of_torch(rng, kind, batch_first):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(3, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
    ours = getattr(layers, kind)(3, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.state_dict().items()})
    lengths = np.array([4, 7, 1, 5])
    x = rng.standard_normal((4, 7, 3) if batch_first else (7, 4, 3), np.float32)
    x_torch = torch.from_numpy(x.copy()).requires_grad_(True)
    options = {"batch_first": batch_first}
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x_torch, torch.from_numpy(lengths), enforce_sorted=False, **options
    )
    y_packed, state_want = theirs(packed)
    y_want, _ = torch.nn.utils.rnn.pad_packed_sequence(y_packed, total_length=7, **options)
    (y, state), backward = ours.forward(x, lengths=lengths)
    h, h_want = (state.h, state_want[0]) if kind == "LSTM" else (state, state_want)
    np.testing.assert_allclose(y, y_want.detach(), atol=2e-6)
    np.testing.assert_allclose(h, h_want.detach(), atol=2e-6)
    np.testing.assert_array_equal(ours(x, lengths=lengths)[0], y)
    dy = rng.standard_normal(y.shape, np.float32)
    y_want.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(backward(dy)[0], x_torch.grad, atol=1e-5)
    for name, parameter in ours.parameters():
        np.testing.assert_allclose(parameter.grad, dict(theirs.named_parameters())[name].grad, atol=2e-5, rtol=1e-4)


def test_lengths_of_any_integer_type():
    x, weights = np.ones((3, 2, 2), np.float32), (np.ones((6, 2), np.float32),) * 2
    results = [ops.gru(x, None, *weights, lengths=lengths)[0] for lengths in ([3, 1], np.array([3, 1], np.uint8))]
    np.testing.assert_array_equal(*results)
