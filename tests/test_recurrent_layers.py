"""Recurrent layers: sequences against unrolled cells, adapters, dropout between layers, arguments."""

import numpy as np
import pytest

from fastconv import layers
from fastconv.layers import GRU, LSTM, RNN, GRUCell, LastStep, Linear, LSTMCell, LSTMState, Outputs, RNNCell


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def copy_cell(sequence, cell):
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in sequence.state_dict().items()})
    return cell


@pytest.mark.parametrize("kinds", [(LSTM, LSTMCell), (GRU, GRUCell), (RNN, RNNCell)], ids=["LSTM", "GRU", "RNN"])
def test_a_sequence_is_an_unrolled_cell(kinds, rng):
    sequence = kinds[0](3, 5, rng=0)
    cell = copy_cell(sequence, kinds[1](3, 5))
    x, dy = normal(rng, 6, 2, 3), normal(rng, 6, 2, 5)
    (y, last), backward = sequence.forward(x)
    state, outputs, steps = None, [], []
    for step in x:
        (output, state), step_backward = cell.forward(step, state)
        outputs.append(output)
        steps.append(step_backward)
    np.testing.assert_allclose(y, np.stack(outputs), atol=1e-6)
    np.testing.assert_allclose(last[0] if isinstance(last, np.ndarray) else last.c[0],
                               state if isinstance(state, np.ndarray) else state.c, atol=1e-6)  # fmt: skip
    dx, _ = backward(dy)
    dstate, dsteps = None, []
    for step_backward, dstep in zip(reversed(steps), reversed(dy), strict=True):
        dstep, dstate = step_backward(dstep, dstate)
        dsteps.append(dstep)
    np.testing.assert_allclose(dx, np.stack(dsteps[::-1]), atol=2e-6)
    for name, parameter in sequence.parameters():
        unrolled = dict(cell.parameters())[name.removesuffix("_l0")]
        np.testing.assert_allclose(parameter.grad, unrolled.grad, atol=1e-5)
        assert np.abs(parameter.grad).max() > 1e-2


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_step_on_usual_arrays_is_that_on_any(rng, kind, bias):
    """Usual arrays take a shorter way to the kernels: same bits, own arrays."""
    cell, x = getattr(layers, kind)(5, 19, bias=bias, rng=0), normal(rng, 3, 5)
    unusual = np.asfortranarray(x)
    state, other = None, None
    for _ in range(3):
        (y, state), (y_other, other) = cell(x, state), cell(unusual, other)
        parts, others = (state, other) if kind == "LSTMCell" else ((state,), (other,))
        assert type(state) is type(other)
        for a, b in zip((y, *parts), (y_other, *others), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(y, parts[0]) and np.array_equal(y, parts[0])
    partial = layers.LSTMState(None, parts[-1]) if kind == "LSTMCell" else None
    np.testing.assert_array_equal(cell(x, partial)[0], cell(unusual, partial)[0])


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_wrong_step_is_refused(rng, kind):
    cell = getattr(layers, kind)(5, 7)
    with pytest.raises(ValueError, match=rf"^{kind}: x has shape \(3, 4\)"):
        cell(normal(rng, 3, 4))
    with pytest.raises(TypeError, match=f"^{kind}: x"):
        cell(normal(rng, 3, 5).astype(float))
    wrong = normal(rng, 2, 7)
    with pytest.raises(ValueError, match=rf"^{kind}: state has shape \(2, 7\): must be \(3, 7\)"):
        cell(normal(rng, 3, 5), layers.LSTMState(wrong, None) if kind == "LSTMCell" else wrong)


def test_last_step_and_outputs(rng):
    x = normal(rng, 6, 2, 3)
    for kind in (LSTM, GRU, RNN):
        rnn = kind(3, 4, num_layers=2, bidirectional=True, rng=0)
        (y, _), full = rnn.forward(x)
        np.testing.assert_array_equal(Outputs(rnn)(x), y)
        last, backward = LastStep(rnn).forward(x)
        np.testing.assert_array_equal(last, LastStep(rnn)(x))
        np.testing.assert_array_equal(last, np.concatenate([y[-1, :, :4], y[0, :, 4:]], axis=1))
        dlast, dy = normal(rng, 2, 8), np.zeros_like(y)
        dy[-1, :, :4], dy[0, :, 4:] = dlast[:, :4], dlast[:, 4:]
        np.testing.assert_allclose(backward(dlast), full(dy)[0], atol=1e-6)
        assert [name for name, _ in LastStep(rnn).parameters()][0] == "rnn.weight_ih_l0"
    with pytest.raises(TypeError, match="must be an RNN, LSTM or GRU"):
        LastStep(Linear(2, 2))


def test_recurrent_dropout_acts_between_layers_in_training(rng):
    x = normal(rng, 5, 2, 3)
    rnn = LSTM(3, 4, num_layers=2, dropout=1.0, rng=0)
    single = LSTM(3, 4, rng=0)
    single.load_state_dict({name: value for name, value in rnn.state_dict().items() if "l0" in name})
    (kept, _), _ = rnn.forward(x, training=False)
    np.testing.assert_array_equal(kept, rnn(x)[0])
    (dropped, state), backward = rnn.forward(x, training=True)
    assert np.abs(dropped - kept).max() > 1e-3
    np.testing.assert_array_equal(state.h[0], single(x)[1].h[0])  # the first layer's input is not dropped
    dx, _ = backward(np.ones_like(dropped))
    assert not dx.any()  # nothing passes a dropout of 1


def test_recurrent_arguments(rng):
    rnn = LSTM(3, 4)
    x = normal(rng, 5, 2, 3)
    with pytest.raises(ValueError, match=r"LSTM: x has shape \(5, 2, 4\): its last dimension must be 3"):
        rnn(normal(rng, 5, 2, 4))
    with pytest.raises(TypeError, match=r"LSTM: state is ndarray: must be LSTMState\(h, c\) or None"):
        rnn.forward(x, normal(rng, 1, 2, 4))
    with pytest.raises(ValueError, match=r"LSTM: state has shape \(1, 3, 4\): must be \(1, 2, 4\)"):
        rnn.forward(x, LSTMState(normal(rng, 1, 2, 4), normal(rng, 1, 3, 4)))
    (y, _), backward = rnn.forward(x)
    with pytest.raises(ValueError, match="dy has time-major shape"):
        backward(y[1:])
    with pytest.raises(ValueError, match='nonlinearity="sine"|nonlinearity=.sine.'):
        RNN(3, 4, nonlinearity="sine")
    with pytest.raises(ValueError, match="num_layers=0: must be >= 1"):
        GRU(3, 4, 0)
