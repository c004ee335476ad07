"""Wrong options of recurrent ops and layers: see wrong_calls.py."""

import numpy as np
import pytest
from recurrent_option_problems import Problem
from wrong_calls import Noun, array

from fastconv import layers, ops


def operands():
    arrays = {
        "seq": array(3, 2, 4) / 4,
        "h": array(2, 6) / 4,
        "c": array(2, 5) / 4,
        "lstm_ih": array(20, 4) / 8,
        "lstm_hh": array(20, 6) / 8,
        "weight_hr": array(6, 5) / 8,
        "peepholes": array(15) / 8,
        "gru_ih": array(15, 4) / 8,
        "gru_hh": array(15, 5) / 8,
        "gates": array(15) / 8,
        "dseq": array(3, 2, 6) / 4,
        "dgru": array(3, 2, 5) / 4,
    }
    named = {name: arrays[name] for name in ("peepholes", "weight_hr")}
    seq, h, c = arrays["seq"], arrays["h"], arrays["c"]
    y, _, _, kept = ops.lstm_forward(seq, h, c, arrays["lstm_ih"], arrays["lstm_hh"], clip=1.0, **named)
    gru_y, _, gru_kept = ops.gru_forward(seq, c, arrays["gru_ih"], arrays["gru_hh"], reset_after=False)
    return arrays | {"y": y, "gru_y": gru_y, "kept": kept, "gru_kept": gru_kept}


LSTM = "ops.lstm({seq}, {h}, {c}, {lstm_ih}, {lstm_hh}, peepholes={peepholes}, weight_hr={weight_hr}"
GRU = "ops.gru_backward({dgru}, {c}, {seq}, {c}, {gru_y}, gru_kept, {gru_ih}, {gru_hh}"
BACK = "ops.lstm_backward({dseq}, {h}, {c}, {seq}, {h}, {c}, {y}, kept, {lstm_ih}, {lstm_hh}"
BACK += ", peepholes={peepholes}, weight_hr={weight_hr}"
VALID = {
    "lstm": LSTM + ", clip=1.0)",
    "lstm_backward": BACK + ", clip=1.0)",
    "gru": "ops.gru({seq}, {c}, {gru_ih}, {gru_hh}, {gates}, {gates}, reset_after=False)",
    "gru_backward": GRU + ", reset_after=False)",
}


def refused():
    lstm, back, gru = (call.replace("{", "").replace("}", "") for call in (LSTM, BACK, GRU))
    for clip in ("0", "-1.0", "np.nan"):
        yield "lstm", f"{lstm}, clip={clip})", ValueError, ["clip", "must be > 0 or None"]
    for clip in ("'1'", "np.ones(1)", "1j"):
        yield "lstm", f"{lstm}, clip={clip})", TypeError, ["clip", "must be a number"]
    for activations in ("'tanh'", "('tanh', 'tanh')", "()", "5"):
        yield "lstm", f"{lstm}, activations={activations})", ValueError, ["activations=", "3 activations"]
    for f in ("'swish'", "('elu', 1, 2)", "'affine'", "('scaled_tanh', 1)", "('hardsigmoid', 1)", "'threshold'"):
        yield (
            "lstm",
            f"{lstm}, activations=('sigmoid', {f}, 'tanh'))",
            ValueError,
            ["activation", "must be"] if f == "'swish'" else ["activation"],
        )
    for f in ("None", "3", "('affine', 'a', 1)", "('elu', 'x')", "[]"):
        yield (
            "lstm",
            f"{lstm}, activations=('sigmoid', {f}, 'tanh'))",
            TypeError,
            ["activations"] if f in ("None", "3", "[]") else ["activation"],
        )
    plain = lstm.replace("lstm_hh,", "lstm_hh[:, :5],").replace(" h,", " c,")
    yield "lstm", plain + ")", ValueError, ["weight_hr", "(6, 5)", "(5, 5)"]
    yield "lstm", lstm.replace("weight_hr=weight_hr", "weight_hr=weight_hr[:, 1:]") + ")", ValueError, ["weight_hh"]
    yield "lstm", lstm.replace("weight_hr=weight_hr", "weight_hr=weight_hr[0]") + ")", ValueError, ["weight_hr"]
    yield "lstm", lstm.replace("=peepholes", "=peepholes[1:]") + ")", ValueError, ["peepholes", "(15,)"]
    yield "lstm", lstm.replace(" c,", " h,") + ")", ValueError, ["c has shape (2, 6)"]
    yield "lstm", lstm.replace(" h,", " c,") + ")", ValueError, ["h has shape (2, 5)"]
    for change in (", clip=2.0", "", ", clip=1.0, coupled=True", ", clip=1.0, reverse=True"):
        yield "lstm_backward", f"{back}{change})", ValueError, ["reserve", "other sizes or options"]
    yield "lstm_backward", f"{back}, clip=1.0, lengths=[1, 2])", ValueError, ["reserve", "other sizes or options"]
    yield "lstm_backward", back.replace("kept", "y") + ", clip=1.0)", TypeError, ["reserve is ndarray", "lstm_forward"]
    yield "lstm_backward", back.replace("kept", "gru_kept") + ", clip=1.0)", ValueError, ["reserve"]
    without = back[: back.index(", peepholes")].replace("lstm_hh", "lstm_hh[:, :5]")
    without = without.replace("dseq", "dgru").replace(" h,", " c,").replace(" y,", " gru_y,")
    yield "lstm_backward", without + ")", TypeError, ["reserve is Reserve"]
    yield "gru_backward", gru + ")", TypeError, ["reserve is Reserve: must be a NumPy array"]
    yield "gru_backward", gru + ", clip=1)", ValueError, ["reserve", "gru_forward"]


NOUN = Noun(
    __file__,
    operands,
    VALID,
    refused,
    optional=frozenset({"h", "c", "dseq", "dgru", "gates", "peepholes", "weight_hr"}),
)
test_calls = NOUN.test()


@pytest.mark.parametrize("lengths", [[7, 1], [-1, 1], [1.0, 2.0], [1], [[1, 2]], 3])
def test_bad_lengths(rng, lengths):
    problem = Problem(rng, "lstm", {"peepholes": True}, shape=(6, 2, 3, 4))
    problem.options["lengths"] = lengths
    with pytest.raises((TypeError, ValueError), match="^lstm_forward: lengths"):
        problem.forward()


def test_an_option_is_no_operand():
    """All are keyword-only."""
    x, w = np.ones((3, 2, 4), np.float32), np.ones((4, 4), np.float32)
    with pytest.raises(TypeError, match="positional"):
        ops.rnn(x, None, w, w, None, None, 1.0)


def test_bad_arguments_of_layers():
    for call, error, message in (
        (lambda: layers.LSTM(3, 4, proj_size=-1), ValueError, "LSTM: proj_size=-1: must be >= 0"),
        (lambda: layers.LSTMCell(3, 4, proj_size=1.5), TypeError, "LSTMCell: proj_size=1.5: must be an integer"),
        (lambda: layers.LSTM(3, 4, clip=0), ValueError, "LSTM: clip=0: must be > 0 or None"),
        (lambda: layers.GRU(3, 4, clip="1"), TypeError, "GRU: clip='1': must be a number"),
        (lambda: layers.RNNCell(3, 4, clip=-1.0), ValueError, "RNNCell: clip=-1.0: must be > 0 or None"),
        (lambda: layers.GRU(3, 4, proj_size=2), TypeError, "proj_size"),
        (lambda: layers.RNN(3, 4, reset_after=False), TypeError, "reset_after"),
    ):
        with pytest.raises(error, match=message):
            call()
    x = np.ones((5, 2, 3), np.float32)
    h, c = np.ones((1, 2, 2), np.float32), np.ones((1, 2, 4), np.float32)
    lstm = layers.LSTM(3, 4, proj_size=2)
    lstm(x, layers.LSTMState(h, c))
    with pytest.raises(ValueError, match=r"LSTM: state has shape \(1, 2, 4\): must be \(1, 2, 2\)"):
        lstm(x, layers.LSTMState(c, c))
    with pytest.raises(ValueError, match=r"LSTM: state has shape \(1, 2, 2\): must be \(1, 2, 4\)"):
        lstm(x, layers.LSTMState(h, h))
    with pytest.raises(ValueError, match=r"LSTM: dy has time-major shape \(5, 2, 4\): must be \(5, 2, 2\)"):
        lstm.forward(x)[1](np.ones((5, 2, 4), np.float32))
