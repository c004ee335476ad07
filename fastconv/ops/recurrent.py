"""Recurrent layers over whole sequences: one layer, one direction, the time loop in C.

Shapes: x (T, N, I), y (T, N, H), states h and c (N, H), weight_ih (G*H, I), weight_hh (G*H, H), biases (G*H,), with
G = 4 gates i, f, g, o for the LSTM, 3 gates r, z, n for the GRU, 1 for the plain RNN: PyTorch's shapes and order.
All float32. States and biases may be None: zeros. With reverse=True the recurrence goes from step T-1 to step 0; y
stays indexed by time, and the last states are those after step 0.

lengths (N,), integers from 0 to T, or None for T: sequence n has the steps [0, lengths[n]), and with reverse=True it
begins at its own end. Past the end y and dx are 0, x and dy are not looked at; the last states are those after the last
step, the initial ones where there is none.

`<name>` is for inference and keeps nothing; `<name>_forward` also returns the reserve that `<name>_backward` needs.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, shaped
from fastconv.runtime import context

__all__ = [
    "lstm", "lstm_forward", "lstm_backward", "gru", "gru_forward", "gru_backward", "rnn", "rnn_forward", "rnn_backward",
]  # fmt: skip

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def _sizes(function, kind, x, weight_hh):
    """(T, N, I, H, rows of the weights), from x and weight_hh alone; all other shapes follow."""
    array(function, "x", x, 3)
    array(function, "weight_hh", weight_hh, 2)
    gates, hidden = _GATES[kind], weight_hh.shape[1]
    if hidden < 1 or weight_hh.shape[0] != gates * hidden:
        rule = "(H, H)" if gates == 1 else f"({gates} * H, H)"
        raise ValueError(f"{function}: weight_hh has shape {weight_hh.shape}: must be {rule} with H >= 1")
    return (*x.shape, hidden, gates * hidden)


def _optional(function, name, value, shape):
    return None if value is None else shaped(function, name, value, shape)


def _lengths(function, lengths, steps, batch):
    """lengths as int64, or None where every sequence has all steps."""
    if lengths is None:
        return None
    lengths = np.asarray(lengths)
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{function}: lengths has dtype {lengths.dtype}: must be an integer type")
    if lengths.shape != (batch,):
        raise ValueError(f"{function}: lengths has shape {lengths.shape}: must be {(batch,)}, one for each sequence")
    if batch and not 0 <= lengths.min() <= lengths.max() <= steps:
        raise ValueError(f"{function}: lengths holds {lengths.min()} to {lengths.max()}: must be in [0, {steps}]")
    return np.ascontiguousarray(lengths, np.int64) if batch and lengths.min() < steps else None


def _without_ends(x, lengths):
    """x with zeros past the ends: what stands there, NaN perhaps, must not reach the gradients of the weights."""
    if lengths is None:
        return x
    return np.where((np.arange(len(x))[:, None] < lengths)[..., None], x, np.float32(0.0))


def _forward(function, kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, keep):
    """(y, h_last, c_last, reserve); c_last is None but for the LSTM, reserve None unless `keep`."""
    steps, batch, features, hidden, rows = _sizes(function, kind, x, weight_hh)
    operands = (
        shaped(function, "x", x, (steps, batch, features)),
        _optional(function, "h", h, (batch, hidden)),
        _optional(function, "c", c, (batch, hidden)),
        shaped(function, "weight_ih", weight_ih, (rows, features)),
        shaped(function, "weight_hh", weight_hh, (rows, hidden)),
        _optional(function, "bias_ih", bias_ih, (rows,)),
        _optional(function, "bias_hh", bias_hh, (rows,)),
    )
    lengths = _lengths(function, lengths, steps, batch)
    code = _native.RNN_KINDS[kind]
    y = np.empty((steps, batch, hidden), np.float32)
    h_last = np.empty((batch, hidden), np.float32)
    c_last = np.empty((batch, hidden), np.float32) if kind == "lstm" else None
    reserve = np.empty((steps, batch, _native.rnn_reserve_size(code, hidden)), np.float32) if keep else None
    _native.rnn_forward(code, bool(reverse), lengths, *operands, y, h_last, c_last, reserve, context())
    return y, h_last, c_last, reserve


def _backward(function, kind, dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh, reverse, lengths):
    """(dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh): dc None but for the LSTM, dbias_ih but for the GRU."""
    steps, batch, features, hidden, rows = _sizes(function, kind, x, weight_hh)
    code, state, outputs = _native.RNN_KINDS[kind], (batch, hidden), (steps, batch, hidden)
    lengths = _lengths(function, lengths, steps, batch)
    operands = (
        _optional(function, "dy", dy, outputs),
        _optional(function, "dh_last", dh_last, state),
        _optional(function, "dc_last", dc_last, state),
        _without_ends(shaped(function, "x", x, (steps, batch, features)), lengths),
        _optional(function, "h", h, state),
        _optional(function, "c", c, state),
        shaped(function, "y", y, outputs),
        shaped(function, "weight_ih", weight_ih, (rows, features)),
        shaped(function, "weight_hh", weight_hh, (rows, hidden)),
        shaped(function, "reserve", reserve, (steps, batch, _native.rnn_reserve_size(code, hidden))),
    )
    dx = np.empty((steps, batch, features), np.float32)
    dh = np.empty(state, np.float32)
    dc = np.empty(state, np.float32) if kind == "lstm" else None
    dweight_ih = np.empty((rows, features), np.float32)
    dweight_hh = np.empty((rows, hidden), np.float32)
    dbias_ih = np.empty((rows,), np.float32) if kind == "gru" else None
    dbias_hh = np.empty((rows,), np.float32)
    gradients = (dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    _native.rnn_backward(code, bool(reverse), lengths, *operands, *gradients, context())
    return gradients


def lstm(x, h, c, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None):
    """LSTM (Hochreiter & Schmidhuber 1997, with forget gates) for inference -> (y, h_last, c_last).

    [i, f, g, o] = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh, and then
    c = sigmoid(f) * c + sigmoid(i) * tanh(g); y_t = h = sigmoid(o) * tanh(c).
    x (T, N, I), h and c (N, H) or None, weight_ih (4H, I), weight_hh (4H, H), biases (4H,) or None, float32 ->
    y (T, N, H), h_last and c_last (N, H).
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    >>> y, h, c = ops.lstm(np.ones((5, 1, 3), np.float32), None, None, weight_ih, weight_hh)
    >>> y.shape, bool((y[-1] == h).all())
    ((5, 1, 2), True)
    """
    return _forward("lstm", "lstm", x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, False)[:3]


def lstm_forward(x, h, c, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None):
    """`lstm` for training -> (y, h_last, c_last, reserve); reserve (T, N, 5H) is what `lstm_backward` needs.

    Shapes, formula and errors as `lstm`. The reserve holds the activated gates i, f, g, o and the cell state of each
    step.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    >>> ops.lstm_forward(np.ones((5, 1, 3), np.float32), None, None, weight_ih, weight_hh)[3].shape
    (5, 1, 10)
    """
    return _forward("lstm_forward", "lstm", x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, True)


def lstm_backward(dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh, *, reverse=False, lengths=None):
    """Gradients of `lstm_forward` -> (dx, dh, dc, dweight_ih, dweight_hh, dbias), by backpropagation through time.

    dy (T, N, H), dh_last and dc_last (N, H): gradients of the outputs, None for zeros. x, h, c, weights and reverse as
    given to lstm_forward, y and reserve as returned by it. Each gradient has the shape of its operand; dbias (4H,) is
    that of bias_ih and of bias_hh alike.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((8, 2), np.float32)
    >>> y, h_last, c_last, reserve = ops.lstm_forward(x, None, None, w, w)
    >>> [g.shape for g in ops.lstm_backward(y, None, None, x, None, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (1, 2), (8, 2), (8, 2), (8,)]
    """
    gradients = _backward(
        "lstm_backward", "lstm", dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh, reverse, lengths
    )
    return (*gradients[:5], gradients[6])


def gru(x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None):
    """GRU (Cho et al. 2014, reset gate after the product as in cuDNN and PyTorch) for inference -> (y, h_last).

    [xr, xz, xn] = x_t @ weight_ih.T + bias_ih, [hr, hz, hn] = h @ weight_hh.T + bias_hh, r = sigmoid(xr + hr),
    z = sigmoid(xz + hz), n = tanh(xn + r * hn); y_t = h = (1 - z) * n + z * h.
    x (T, N, I), h (N, H) or None, weight_ih (3H, I), weight_hh (3H, H), biases (3H,) or None, float32 -> y (T, N, H),
    h_last (N, H). TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((6, 3), np.float32), np.ones((6, 2), np.float32)
    >>> ops.gru(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[0].shape
    (5, 1, 2)
    """
    return _forward("gru", "gru", x, h, None, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, False)[:2]


def gru_forward(x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None):
    """`gru` for training -> (y, h_last, reserve); reserve (T, N, 4H) is what `gru_backward` needs.

    Shapes, formula and errors as `gru`. The reserve holds r, z, n and hn of each step.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((6, 3), np.float32), np.ones((6, 2), np.float32)
    >>> ops.gru_forward(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[2].shape
    (5, 1, 8)
    """
    y, h_last, _, reserve = _forward(
        "gru_forward", "gru", x, h, None, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, True
    )
    return y, h_last, reserve


def gru_backward(dy, dh_last, x, h, y, reserve, weight_ih, weight_hh, *, reverse=False, lengths=None):
    """Gradients of `gru_forward` -> (dx, dh, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    dy (T, N, H), dh_last (N, H): gradients of the outputs, None for zeros. x, h, weights and reverse as given to
    gru_forward, y and reserve as returned by it. Each gradient has the shape of its operand; those of the biases,
    (3H,), differ in n, where the reset gate scales the hidden half alone.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((6, 2), np.float32)
    >>> y, h_last, reserve = ops.gru_forward(x, None, w, w)
    >>> [g.shape for g in ops.gru_backward(y, None, x, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (6, 2), (6, 2), (6,), (6,)]
    """
    dx, dh, _, *gradients = _backward(
        "gru_backward", "gru", dy, dh_last, None, x, h, None, y, reserve, weight_ih, weight_hh, reverse, lengths
    )
    return (dx, dh, *gradients)


def _plain_kind(function, nonlinearity):
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{function}: nonlinearity={nonlinearity!r}: must be 'tanh' or 'relu'")
    return f"rnn_{nonlinearity}"


def rnn(x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, nonlinearity="tanh", reverse=False, lengths=None):
    """Plain recurrent layer (Elman 1990) for inference -> (y, h_last).

    y_t = h = f(x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh) with f tanh or relu.
    x (T, N, I), h (N, H) or None, weight_ih (H, I), weight_hh (H, H), biases (H,) or None, float32 -> y (T, N, H),
    h_last (N, H). TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    >>> ops.rnn(np.ones((2, 1, 3), np.float32), None, weight_ih, weight_hh, nonlinearity="relu")[0].tolist()
    [[[3.0, 3.0]], [[9.0, 9.0]]]
    """
    kind = _plain_kind("rnn", nonlinearity)
    return _forward("rnn", kind, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, False)[:2]


def rnn_forward(
    x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, nonlinearity="tanh", reverse=False, lengths=None
):
    """`rnn` for training -> (y, h_last, reserve), to go with `rnn_backward`; the reserve is empty: y says all.

    Shapes, formula and errors as `rnn`.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    >>> ops.rnn_forward(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[2].shape
    (5, 1, 0)
    """
    kind = _plain_kind("rnn_forward", nonlinearity)
    y, h_last, _, reserve = _forward(
        "rnn_forward", kind, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh, reverse, lengths, True
    )
    return y, h_last, reserve


def rnn_backward(
    dy, dh_last, x, h, y, reserve, weight_ih, weight_hh, *, nonlinearity="tanh", reverse=False, lengths=None
):
    """Gradients of `rnn_forward` -> (dx, dh, dweight_ih, dweight_hh, dbias).

    dy (T, N, H), dh_last (N, H): gradients of the outputs, None for zeros. x, h, weights, nonlinearity and reverse as
    given to rnn_forward, y and reserve as returned by it. Each gradient has the shape of its operand; dbias (H,) is
    that of bias_ih and of bias_hh alike.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((2, 2), np.float32)
    >>> y, h_last, reserve = ops.rnn_forward(x, None, w, w)
    >>> [g.shape for g in ops.rnn_backward(y, None, x, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (2, 2), (2, 2), (2,)]
    """
    kind = _plain_kind("rnn_backward", nonlinearity)
    dx, dh, _, dweight_ih, dweight_hh, _, dbias = _backward(
        "rnn_backward", kind, dy, dh_last, None, x, h, None, y, reserve, weight_ih, weight_hh, reverse, lengths
    )
    return dx, dh, dweight_ih, dweight_hh, dbias
