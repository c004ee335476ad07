"""Recurrent layers with options: against cells, PyTorch's projections and packed sequences, and their ops."""

import numpy as np
import pytest

from fastconv import ops
from fastconv.layers import GRU, LSTM, RNN, GRUCell, LastStep, LSTMCell, LSTMState, Outputs, RNNCell

T, N, I, H, P = 6, 5, 3, 7, 4
LENGTHS = [6, 0, 3, 5, 1]
CASES = [
    (LSTM, LSTMCell, {"proj_size": P}),
    (LSTM, LSTMCell, {"peepholes": True}),
    (LSTM, LSTMCell, {"clip": 0.3}),
    (LSTM, LSTMCell, {"clip": 0.3, "peepholes": True, "proj_size": P, "bias": False}),
    (GRU, GRUCell, {"reset_after": False}),
    (GRU, GRUCell, {"reset_after": False, "clip": 0.3, "bias": False}),
    (GRU, GRUCell, {"clip": 0.3}),
    (RNN, RNNCell, {"clip": 0.3}),
    (RNN, RNNCell, {"clip": 0.3, "nonlinearity": "relu"}),
]
cases = pytest.mark.parametrize(
    ("kind", "cell_kind", "named"), CASES, ids=lambda value: getattr(value, "__name__", value)
)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def h_of(state):
    return state.h if isinstance(state, LSTMState) else state


@cases
def test_a_sequence_is_an_unrolled_cell(kind, cell_kind, named, rng):
    sequence, cell = kind(I, H, rng=0, **named), cell_kind(I, H, **named)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in sequence.state_dict().items()})
    size = named.get("proj_size") or H
    x, dy = normal(rng, T, N, I), normal(rng, T, N, size)
    (y, last), backward = sequence.forward(x)
    np.testing.assert_array_equal(sequence(x)[0], y)
    state, steps = None, []
    for step, want in zip(x, y, strict=True):
        inferred = cell(step, state)[0]
        (output, state), step_backward = cell.forward(step, state)
        np.testing.assert_allclose(output, want, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(output, inferred)
        steps.append(step_backward)
    assert h_of(last).shape == (1, N, size)
    np.testing.assert_allclose(h_of(last)[0], h_of(state), rtol=0, atol=1e-6)
    dx, _ = backward(dy)
    dstate = None
    for t in reversed(range(T)):
        dstep, dstate = steps[t](dy[t], dstate)
        np.testing.assert_allclose(dx[t], dstep, rtol=0, atol=2e-6)
    for name, parameter in sequence.parameters():
        unrolled = dict(cell.parameters())[name.removesuffix("_l0")]
        np.testing.assert_allclose(parameter.grad, unrolled.grad, rtol=1e-4, atol=1e-5)
        assert np.abs(parameter.grad).max() > 1e-3


@cases
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers_and_directions_are_their_ops(kind, cell_kind, named, batch_first, rng):
    layer = kind(I, H, 2, bidirectional=True, batch_first=batch_first, rng=0, **named)
    x, op = normal(rng, T, N, I), getattr(ops, kind.__name__.lower())
    ours = {"proj_size": None, "bias": None, "peepholes": None}
    options = {name: value for name, value in named.items() if name not in ours}
    names = {"weight_ih": "weight_ih", "weight_hh": "weight_hh", "bias_ih": "bias_ih", "bias_hh": "bias_hh",
             "peepholes": "peephole", "weight_hr": "weight_hr"}  # fmt: skip
    values, y, last = layer.state_dict(), x, []
    for level in range(2):
        outputs = []
        for suffix, reverse in (("", False), ("_reverse", True)):
            weights = {n: values.get(f"{name}_l{level}{suffix}") for n, name in names.items()}
            weights = {n: value for n, value in weights.items() if value is not None}
            states = (None, None) if kind is LSTM else (None,)
            output, h, *_ = op(y, *states, **weights, **options, reverse=reverse, lengths=LENGTHS)
            outputs.append(output)
            last.append(h)
        y = np.concatenate(outputs, axis=2)
    given = x.swapaxes(0, 1) if batch_first else x
    got, state = layer(given, lengths=LENGTHS)
    np.testing.assert_array_equal(got.swapaxes(0, 1) if batch_first else got, y)
    np.testing.assert_array_equal(h_of(state), np.stack(last))
    (trained, _), backward = layer.forward(given, lengths=LENGTHS)
    np.testing.assert_array_equal(trained, got)
    dx, dstate = backward(np.ones_like(got))
    assert dx.shape == given.shape and h_of(dstate).shape == h_of(state).shape
    assert all(parameter.grad.shape == parameter.shape for _, parameter in layer.parameters())


def test_adapters_take_projections(rng):
    x, rnn = normal(rng, T, N, I), LSTM(I, H, 2, proj_size=P, bidirectional=True, rng=0)
    (y, _), full = rnn.forward(x)
    np.testing.assert_array_equal(Outputs(rnn)(x), y)
    last, backward = LastStep(rnn).forward(x)
    np.testing.assert_array_equal(last, np.concatenate([y[-1, :, :P], y[0, :, P:]], axis=1))
    dlast, dy = normal(rng, N, 2 * P), np.zeros_like(y)
    dy[-1, :, :P], dy[0, :, P:] = dlast[:, :P], dlast[:, P:]
    np.testing.assert_allclose(backward(dlast), full(dy)[0], rtol=0, atol=1e-6)


def test_standard_layers_are_as_they_were():
    """Names, and first values of a seed, do not depend on the options that are not used."""
    names = [name for name, _ in LSTM(I, H).parameters()]
    assert names == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    extra = LSTM(I, H, peepholes=True, rng=0).state_dict()
    for name, value in LSTM(I, H, rng=0).state_dict().items():
        np.testing.assert_array_equal(extra[name], value)
    assert extra["peephole_l0"].shape == (3 * H,) and np.abs(extra["peephole_l0"]).max() <= H**-0.5


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_truncated_backpropagation_hands_on_the_state_and_drops_its_gradient(rng, kind, clip):
    """dx of the first part does not see the second; the weights' gradients are those of the parts."""
    layer = kind(I, H, rng=0, clip=clip)
    x, dy = normal(rng, T, N, I), normal(rng, T, N, H)
    (_, middle), first = layer.forward(x[:4])
    (y, _), second = layer.forward(x[4:], middle)
    np.testing.assert_allclose(y, layer(x)[0][4:], rtol=0, atol=1e-6)
    dx, dstate = second(dy[4:])
    assert np.abs(h_of(dstate)).max() > 1e-3
    dfirst, _ = first(dy[:4])
    parts = {name: parameter.grad for name, parameter in layer.parameters()}
    layer.zero_grad()
    whole = layer.forward(x)[1](dy)[0]
    np.testing.assert_allclose(dx, whole[4:], rtol=0, atol=1e-6)
    assert np.abs(dfirst - whole[:4]).max() > 1e-4
    assert any(np.abs(parts[name] - parameter.grad).max() > 1e-4 for name, parameter in layer.parameters())


# --------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # which PyTorch runs without oneDNN
@pytest.mark.parametrize("lengths", [None, [6, 2, 3, 5, 1]], ids=["whole", "packed"])
@pytest.mark.parametrize(
    "named",
    [
        {},
        {"num_layers": 2, "bias": False},
        {"num_layers": 2, "bidirectional": True},
        {"bidirectional": True, "batch_first": True},
    ],
    ids=str,
)
def test_projections_against_torch(rng, named, lengths):
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.LSTM(I, H, proj_size=P, **named), LSTM(I, H, proj_size=P, **named)
    state_dict = {name: value.numpy() for name, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state_dict)
    ours.load_state_dict(state_dict)
    rows = named.get("num_layers", 1) * (2 if named.get("bidirectional") else 1)
    x, h, c = normal(rng, T, N, I), normal(rng, rows, N, P), normal(rng, rows, N, H)
    x = x.swapaxes(0, 1).copy() if named.get("batch_first") else x
    (y, last), backward = ours.forward(x, LSTMState(h, c), lengths=lengths)
    dy, dh, dc = normal(rng, *y.shape), normal(rng, rows, N, P), normal(rng, rows, N, H)
    dx, dstate = backward(dy, LSTMState(dh, dc))

    their_x, *state = (torch.from_numpy(a.copy()).requires_grad_() for a in (x, h, c))
    inputs, batch_first = their_x, bool(named.get("batch_first"))
    rnn = torch.nn.utils.rnn
    if lengths:
        inputs = rnn.pack_padded_sequence(their_x, lengths, batch_first=batch_first, enforce_sorted=False)
    want, ends = theirs(inputs, tuple(state))
    if lengths:
        want, _ = rnn.pad_packed_sequence(want, batch_first=batch_first, total_length=T)
    outputs = zip((want, *ends), (dy, dh, dc), strict=True)
    sum((value * torch.from_numpy(d)).sum() for value, d in outputs).backward()
    for got, expected in zip(
        (y, *last, dx, *dstate), (want, *ends, their_x.grad, *(a.grad for a in state)), strict=True
    ):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=0, atol=2e-5)
    for name, parameter in ours.parameters():
        np.testing.assert_allclose(parameter.grad, getattr(theirs, name).grad.numpy(), rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_wide_clip_against_torch(rng, kind):
    """The loop in Python as a standard unit, whole layers with packed sequences."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(I, H, num_layers=2, bidirectional=True)
    ours = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}[kind](I, H, num_layers=2, bidirectional=True, clip=1e6)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    lengths, x = [6, 2, 3, 5, 1], normal(rng, T, N, I)
    (y, state), backward = ours.forward(x, lengths=lengths)
    dx, _ = backward(np.ones_like(y))
    their_x = torch.from_numpy(x).clone().requires_grad_()
    packed = torch.nn.utils.rnn.pack_padded_sequence(their_x, lengths, enforce_sorted=False)
    want, ends = theirs(packed)
    want = torch.nn.utils.rnn.pad_packed_sequence(want)[0]
    want.sum().backward()
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=0, atol=2e-6)
    np.testing.assert_allclose(h_of(state), (ends[0] if kind == "LSTM" else ends).detach().numpy(), rtol=0, atol=2e-6)
    np.testing.assert_allclose(dx, their_x.grad.numpy(), rtol=0, atol=1e-5)
    for name, parameter in ours.parameters():
        np.testing.assert_allclose(parameter.grad, getattr(theirs, name).grad.numpy(), rtol=1e-4, atol=2e-5)
