"""Wrong calls of recurrent layers: see wrong_calls.py."""

import numpy as np
import pytest
from recurrent_problems import gradients_in, problem
from wrong_calls import REFUSED, Noun, array

from fastconv import _native, ops, runtime


def operands():
    arrays = {
        "seq": array(3, 2, 4),
        "h": array(2, 5),
        "lstm_ih": array(20, 4) / 8,
        "lstm_hh": array(20, 5) / 8,
        "gates": array(20) / 8,
        "gru_ih": array(15, 4) / 8,
        "gru_hh": array(15, 5) / 8,
        "rnn_ih": array(5, 4) / 8,
        "rnn_hh": array(5, 5) / 8,
        "dseq": array(3, 2, 5),
    }
    seq, h = arrays["seq"], arrays["h"]
    lstm_y, _, _, kept = ops.lstm_forward(seq, h, h, arrays["lstm_ih"], arrays["lstm_hh"])
    gru_y, _, gru_kept = ops.gru_forward(seq, h, arrays["gru_ih"], arrays["gru_hh"])
    rnn_y, _, rnn_kept = ops.rnn_forward(seq, h, arrays["rnn_ih"], arrays["rnn_hh"])
    reserves = {"kept": kept, "gru_kept": gru_kept, "rnn_kept": rnn_kept}
    return arrays | {"lstm_y": lstm_y, "gru_y": gru_y, "rnn_y": rnn_y} | reserves


VALID = {
    "lstm": "ops.lstm({seq}, {h}, {h}, {lstm_ih}, {lstm_hh}, {gates}, {gates})",
    "lstm_forward": "ops.lstm_forward({seq}, {h}, {h}, {lstm_ih}, {lstm_hh}, {gates}, {gates})",
    "lstm_backward": "ops.lstm_backward({dseq}, {h}, {h}, {seq}, {h}, {h}, {lstm_y}, {kept}, {lstm_ih}, {lstm_hh})",
    "gru": "ops.gru({seq}, {h}, {gru_ih}, {gru_hh})",
    "gru_backward": "ops.gru_backward({dseq}, {h}, {seq}, {h}, {gru_y}, {gru_kept}, {gru_ih}, {gru_hh})",
    "rnn": "ops.rnn({seq}, {h}, {rnn_ih}, {rnn_hh})",
    "rnn_backward": "ops.rnn_backward({dseq}, {h}, {seq}, {h}, {rnn_y}, {rnn_kept}, {rnn_ih}, {rnn_hh})",
}


def refused():
    rest = "lstm_ih, lstm_hh, gates, gates)"
    for state in ("h[:1]", "h[:, 1:]", "h[None]", "h.T"):
        yield "lstm", f"ops.lstm(seq, {state}, h, {rest}", ValueError, ["h"]
        yield "lstm", f"ops.lstm(seq, h, {state}, {rest}", ValueError, ["c"]
        yield "gru", f"ops.gru(seq, {state}, gru_ih, gru_hh)", ValueError, ["h"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih[:19], lstm_hh)", ValueError, ["weight_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih[:, :3], lstm_hh)", ValueError, ["weight_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh[:, :4])", ValueError, ["weight_hh"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh, gates[:5])", ValueError, ["bias_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh, gates, gates[:5])", ValueError, ["bias_hh"]
    yield "lstm", "ops.lstm(seq[0], h, h, lstm_ih, lstm_hh)", ValueError, ["x"]
    yield "gru", "ops.gru(seq, h, lstm_ih, lstm_hh)", ValueError, ["weight_hh"]
    yield "rnn", "ops.rnn(seq, h, rnn_ih, rnn_hh, nonlinearity='sigmoid')", ValueError, ["nonlinearity"]
    yield "rnn", "ops.rnn(seq, h, rnn_ih, rnn_hh[:4])", ValueError, ["weight_hh"]
    back = "ops.lstm_backward({}, {}, {}, seq, h, h, {}, {}, lstm_ih, lstm_hh)"
    for at, name in enumerate(("dy", "dh_last", "dc_last", "y", "reserve")):
        for change in ("[:1]", "[..., 1:]", "[None]", ".T"):
            operands = ["dseq", "h", "h", "lstm_y", "kept"]
            operands[at] += change
            yield "lstm_backward", back.format(*operands), ValueError, [name]
    yield "gru_backward", "ops.gru_backward(dseq, h, seq, h, gru_y, kept[..., 1:], gru_ih, gru_hh)", ValueError, []
    yield "lstm", "ops.lstm(huge(2**56, 2, 4), h, h, lstm_ih, lstm_hh)", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused, optional=frozenset({"gates", "h", "dseq"}))
test_calls = NOUN.test()


# -------------------------------------------------------------------------------------------------- whole messages


def lstm_arguments(rng):
    names = ["x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return dict(zip(names, problem(rng, "lstm", 4, 2, 3, 5), strict=True))


BAD = [
    ("x", lambda a: a[0], ValueError, r"x has shape \(2, 3\): must have 3 dimensions"),
    ("x", lambda a: a.astype(np.float64), TypeError, "x has dtype float64: must be float32"),
    ("x", lambda a: a.tolist(), TypeError, "x is list: must be a NumPy array"),
    ("x", lambda a: None, TypeError, "x is NoneType"),
    ("h", lambda a: a[:1], ValueError, r"h has shape \(1, 5\): must be \(2, 5\)"),
    ("h", lambda a: a[None], ValueError, r"h has shape \(1, 2, 5\): must be \(2, 5\)"),
    ("c", lambda a: a[:, :4], ValueError, r"c has shape \(2, 4\): must be \(2, 5\)"),
    ("weight_ih", lambda a: a[:, :2], ValueError, r"weight_ih has shape \(20, 2\): must be \(20, 3\)"),
    ("weight_ih", lambda a: a[:15], ValueError, r"weight_ih has shape \(15, 3\): must be \(20, 3\)"),
    ("weight_hh", lambda a: a[:15], ValueError, r"weight_hh has shape \(15, 5\): must be \(4 \* H, H\) with H >= 1"),
    ("weight_hh", lambda a: a[:0, :0], ValueError, r"weight_hh has shape \(0, 0\): must be \(4 \* H, H\) with H >= 1"),
    ("weight_hh", lambda a: a.reshape(-1), ValueError, r"weight_hh has shape \(100,\): must have 2 dimensions"),
    ("weight_hh", lambda a: None, TypeError, "weight_hh is NoneType"),
    ("bias_ih", lambda a: a[:5], ValueError, r"bias_ih has shape \(5,\): must be \(20,\)"),
    ("bias_hh", lambda a: a[None], ValueError, r"bias_hh has shape \(1, 20\): must be \(20,\)"),
    ("bias_hh", lambda a: a.astype(np.int32), TypeError, "bias_hh has dtype int32"),
]


@pytest.mark.parametrize("name, change, error, message", BAD, ids=[f"{b[0]}-{i}" for i, b in enumerate(BAD)])
@pytest.mark.parametrize("function", ["lstm", "lstm_forward"])
def test_bad_forward_arguments(rng, function, name, change, error, message):
    arguments = lstm_arguments(rng)
    arguments[name] = change(arguments[name])
    with pytest.raises(error, match=rf"^{function}: {message}"):
        getattr(ops, function)(**arguments)


BAD_BACKWARD = [
    ("dy", lambda a: a[:3], r"dy has shape \(3, 2, 5\): must be \(4, 2, 5\)"),
    ("dh_last", lambda a: a[:1], r"dh_last has shape \(1, 5\): must be \(2, 5\)"),
    ("dc_last", lambda a: a.T, r"dc_last has shape \(5, 2\): must be \(2, 5\)"),
    ("x", lambda a: a[:, :1], r"dy has shape \(4, 2, 5\): must be \(4, 1, 5\)"),
    ("h", lambda a: a[0], r"h has shape \(5,\): must be \(2, 5\)"),
    ("c", lambda a: a[0], r"c has shape \(5,\): must be \(2, 5\)"),
    ("y", lambda a: a[..., :4], r"y has shape \(4, 2, 4\): must be \(4, 2, 5\)"),
    ("reserve", lambda a: a[..., :20], r"reserve has shape \(4, 2, 20\): must be \(4, 2, 25\)"),
    ("weight_ih", lambda a: a[:, :1], r"weight_ih has shape \(20, 1\): must be \(20, 3\)"),
    ("weight_hh", lambda a: a[:16, :4], r"dy has shape \(4, 2, 5\): must be \(4, 2, 4\)"),
]


@pytest.mark.parametrize("name, change, message", BAD_BACKWARD, ids=[b[0] for b in BAD_BACKWARD])
def test_bad_backward_arguments(rng, name, change, message):
    forward_arguments = lstm_arguments(rng)
    y, _, _, reserve = ops.lstm_forward(**forward_arguments)
    arguments = {key: forward_arguments[key] for key in ("x", "h", "c", "weight_ih", "weight_hh")}
    dy, dh_last, dc_last = gradients_in(rng, "lstm", 4, 2, 5)
    arguments.update(dy=dy, dh_last=dh_last, dc_last=dc_last, y=y, reserve=reserve)
    good = ops.lstm_backward(**arguments)
    with pytest.raises(ValueError, match=f"^lstm_backward: {message}"):
        ops.lstm_backward(**{**arguments, name: change(arguments[name])})
    with pytest.raises(TypeError, match=f"^lstm_backward: {name} has dtype float64"):
        ops.lstm_backward(**{**arguments, name: arguments[name].astype(np.float64)})
    assert all(np.array_equal(a, b) for a, b in zip(good, ops.lstm_backward(**arguments), strict=True))


@pytest.mark.parametrize("function", ["rnn", "rnn_forward"])
@pytest.mark.parametrize("value", ["sigmoid", None, 1])
def test_bad_nonlinearity(rng, function, value):
    x, h, _, *weights = problem(rng, "rnn_tanh", 3, 2, 4, 5)
    with pytest.raises(ValueError, match=rf"^{function}: nonlinearity={value!r}: must be 'tanh' or 'relu'"):
        getattr(ops, function)(x, h, *weights, nonlinearity=value)


def test_bad_weights_of_the_other_kinds(rng):
    x, h, _, weight_ih, weight_hh, *_ = problem(rng, "gru", 3, 2, 4, 5)
    with pytest.raises(ValueError, match=r"^gru: weight_hh has shape \(14, 5\): must be \(3 \* H, H\)"):
        ops.gru(x, h, weight_ih, weight_hh[:14])
    with pytest.raises(ValueError, match=r"^rnn: weight_hh has shape \(15, 5\): must be \(H, H\)"):
        ops.rnn(x, h, weight_ih, weight_hh)


def test_the_binding_checks_buffers_itself(rng):
    x, h, c, *weights = problem(rng, "lstm", 3, 2, 4, 5)
    y, state = np.empty((3, 2, 5), np.float32), np.empty((2, 5), np.float32)
    code, context = _native.RNN_KINDS["lstm"], runtime.context()
    with pytest.raises(ValueError, match="reserve: expected shape"):
        _native.rnn_forward(code, False, None, x, h, c, *weights, y, state, state.copy(), y, context)
    with pytest.raises(ValueError, match="kind=9"):
        _native.rnn_forward(9, False, None, x, h, c, *weights, y, state, state.copy(), None, context)
    y.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        _native.rnn_forward(code, False, None, x, h, c, *weights, y, state, state.copy(), None, context)
