"""What the tests of recurrent ops share: data of every kind of unit, and how to run it forward and backward."""

import numpy as np
import reference

from fastconv import ops

KINDS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def problem(rng, kind, steps, batch, features, hidden):
    """x, h, c, weight_ih, weight_hh, bias_ih, bias_hh; weights as PyTorch draws them, so that states stay moderate."""
    rows, bound = GATES[kind] * hidden, hidden**-0.5
    sizes = [(rows, features), (rows, hidden), (rows,), (rows,)]
    weights = [rng.uniform(-bound, bound, size).astype(np.float32) for size in sizes]
    x = rng.standard_normal((steps, batch, features)).astype(np.float32)
    h, c = (rng.uniform(-1, 1, (batch, hidden)).astype(np.float32) for _ in range(2))
    return [x, h, c if kind == "lstm" else None, *weights]


def gradients_in(rng, kind, steps, batch, hidden):
    """dy, dh_last, dc_last"""
    dy = rng.standard_normal((steps, batch, hidden)).astype(np.float32)
    dh, dc = (rng.standard_normal((batch, hidden)).astype(np.float32) for _ in range(2))
    return [dy, dh, dc if kind == "lstm" else None]


def options_of(kind, reverse):
    name, _, nonlinearity = kind.partition("_")
    return name, {"reverse": reverse, **({"nonlinearity": nonlinearity} if nonlinearity else {})}


def forward(kind, operands, reverse=False, training=True, lengths=None):
    """(y, h_last, c_last or None, reserve or None)"""
    name, options = options_of(kind, reverse)
    options["lengths"] = lengths
    x, h, c, *weights = operands
    states = (h, c) if kind == "lstm" else (h,)
    outputs = getattr(ops, name + ("_forward" if training else ""))(x, *states, *weights, **options)
    reserve = outputs[-1] if training else None
    return outputs[0], outputs[1], outputs[2] if kind == "lstm" else None, reserve


def backward(kind, gradients, operands, y, reserve, reverse=False, lengths=None):
    """{name of the gradient: array}"""
    name, options = options_of(kind, reverse)
    options["lengths"] = lengths
    (dy, dh, dc), (x, h, c, weight_ih, weight_hh, *_) = gradients, operands
    lstm = kind == "lstm"
    states, last = ((h, c), (dh, dc)) if lstm else ((h,), (dh,))
    result = getattr(ops, f"{name}_backward")(dy, *last, x, *states, y, reserve, weight_ih, weight_hh, **options)
    names = ["dx", "dh", *(["dc"] if lstm else []), "dweight_ih", "dweight_hh"]
    names += ["dbias_ih", "dbias_hh"] if kind == "gru" else ["dbias_hh"]
    return dict(zip(names, result, strict=True))


def reference_gradients(kind, gradients, operands, reverse=False):
    names = ["dx", "dh", "dc", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"]
    return dict(zip(names, reference.recurrent_backward(kind, *gradients, *operands, reverse=reverse), strict=True))


def relative_error(got, want):
    norm = np.linalg.norm(want)
    return np.linalg.norm(got - want) / norm if norm > 0 else np.abs(got).max(initial=0.0)


def check(kind, operands, gradients, reverse=False):
    """Forward and backward against the float64 definition."""
    y, h_last, c_last, reserve = forward(kind, operands, reverse)
    y_want, h_want, c_want, _ = reference.recurrent(kind, *operands, reverse=reverse)
    tolerance = 1e-6 * max(1.0, np.abs(y_want).max(initial=0.0))  # the outputs of relu have no bound
    np.testing.assert_allclose(y, y_want, rtol=0, atol=tolerance)
    np.testing.assert_allclose(h_last, h_want, rtol=0, atol=tolerance)
    if kind == "lstm":
        np.testing.assert_allclose(c_last, c_want, rtol=1e-6, atol=1e-6)
    want = reference_gradients(kind, gradients, operands, reverse)
    for name, got in backward(kind, gradients, operands, y, reserve, reverse).items():
        assert got.dtype == np.float32 and got.shape == want[name].shape
        assert relative_error(got, want[name]) < 1e-5, name
