"""Recurrent layers over whole sequences: one layer, one direction, the time loop in C, or in Python for options.

Shapes: x (T, N, I), y (T, N, H), states h and c (N, H), weight_ih (G*H, I), weight_hh (G*H, H), biases (G*H,), with
G = 4 gates i, f, g, o for the LSTM, 3 gates r, z, n for the GRU, 1 for the plain RNN: PyTorch's shapes and order.
All float32. States and biases may be None: zeros. With reverse=True the recurrence goes from step T-1 to step 0; y
stays indexed by time, and the last states are those after step 0.

lengths (N,), integers from 0 to T, or None for T: sequence n has the steps [0, lengths[n]), and with reverse=True it
begins at its own end. Past the end y and dx are 0, x and dy are not looked at; the last states are those after the last
step, the initial ones where there is none.

`<name>` is for inference and keeps nothing; `<name>_forward` also returns the reserve that `<name>_backward` needs.

Options, the same for all three functions of a name:

- clip > 0: the inputs of the gates' activations are held in [-clip, clip], as ONNX has it and onnxruntime does it (not
  the cell state); the gradient of what was cut is 0.
- activations, one for each of the places said at the op: a name of ops ("relu"), (name, parameter), or those of ONNX:
  ("affine", a, b) is a * x + b, ("scaled_tanh", a, b) a * tanh(b * x), ("hardsigmoid", a, b) a * x + b held in [0, 1].
- what the op says beside these.

With any of them the loop runs in Python, the reserve is an object that only the backward of the same op with the same
options takes. `recurrent_from_onnx` says how ONNX's attributes are said here.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, empty, shaped
from fastconv.runtime import context

__all__ = [
    "lstm", "lstm_forward", "lstm_backward", "gru", "gru_forward", "gru_backward", "rnn", "rnn_forward", "rnn_backward",
]  # fmt: skip

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def _sizes(function, kind, x, weight_hh, options):
    """(T, N, I, H, P, rows of the weights), P being H without a projection; all other shapes follow."""
    array(function, "x", x, 3)
    array(function, "weight_hh", weight_hh, 2)
    gates, outputs = _GATES[kind], weight_hh.shape[1]
    weight_hr = options and options.get("weight_hr")
    hidden = outputs if weight_hr is None else array(function, "weight_hr", weight_hr, 2).shape[1]
    if hidden < 1 or outputs < 1 or weight_hh.shape[0] != gates * hidden:
        rule = "(H, H)" if gates == 1 else f"({gates} * H, H)"
        rule = f"{rule} with H >= 1" if weight_hr is None else f"(4 * H, P), H={hidden} being that of weight_hr (P, H)"
        raise ValueError(f"{function}: weight_hh has shape {weight_hh.shape}: must be {rule}")
    return (*x.shape, hidden, outputs, gates * hidden)


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


def _loop_in_python():
    """The module of options, imported by the first call that has some: few programs do."""
    from fastconv.ops import _recurrent_options

    return _recurrent_options


def _forward(function, kind, keep, scan, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    """(y, h_last, c_last, reserve); c_last is None but for the LSTM, reserve None unless `keep`.

    scan: (reverse, lengths, options), the options None where all are at their default.
    """
    reverse, lengths, options = scan
    steps, batch, features, hidden, outputs, rows = _sizes(function, kind, x, weight_hh, options)
    operands = (
        shaped(function, "x", x, (steps, batch, features)),
        _optional(function, "h", h, (batch, outputs)),
        _optional(function, "c", c, (batch, hidden)),
        shaped(function, "weight_ih", weight_ih, (rows, features)),
        shaped(function, "weight_hh", weight_hh, (rows, outputs)),
        _optional(function, "bias_ih", bias_ih, (rows,)),
        _optional(function, "bias_hh", bias_hh, (rows,)),
    )
    lengths = _lengths(function, lengths, steps, batch)
    if options is not None:
        loop = _loop_in_python()
        options = loop.checked(function, kind, hidden, outputs, **options)
        return loop.forward(kind, keep, (reverse, lengths, options), *operands)
    code = _native.RNN_KINDS[kind]
    y, h_last = empty((steps, batch, hidden)), empty((batch, hidden))
    c_last = empty((batch, hidden)) if kind == "lstm" else None
    reserve = empty((steps, batch, _native.rnn_reserve_size(code, hidden))) if keep else None
    _native.rnn_forward(code, bool(reverse), lengths, *operands, y, h_last, c_last, reserve, context())
    return y, h_last, c_last, reserve


def _backward(function, kind, scan, dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh):
    """(dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh): dc None but for the LSTM, dbias_ih but for the GRU.

    With options both are arrays, and the gradients of peepholes and weight_hr follow.
    """
    reverse, lengths, options = scan
    steps, batch, features, hidden, outputs, rows = _sizes(function, kind, x, weight_hh, options)
    code, state, cell = _native.RNN_KINDS[kind], (batch, outputs), (batch, hidden)
    lengths = _lengths(function, lengths, steps, batch)
    operands = (
        _optional(function, "dy", dy, (steps, batch, outputs)),
        _optional(function, "dh_last", dh_last, state),
        _optional(function, "dc_last", dc_last, cell),
        _without_ends(shaped(function, "x", x, (steps, batch, features)), lengths),
        _optional(function, "h", h, state),
        _optional(function, "c", c, cell),
        shaped(function, "y", y, (steps, batch, outputs)),
        shaped(function, "weight_ih", weight_ih, (rows, features)),
        shaped(function, "weight_hh", weight_hh, (rows, outputs)),
    )
    if options is not None:
        loop = _loop_in_python()
        options = loop.checked(function, kind, hidden, outputs, **options)
        return loop.backward(function, kind, (reverse, lengths, options), *operands, reserve)
    reserve = shaped(function, "reserve", reserve, (steps, batch, _native.rnn_reserve_size(code, hidden)))
    dx = np.empty((steps, batch, features), np.float32)
    dh = np.empty(state, np.float32)
    dc = np.empty(cell, np.float32) if kind == "lstm" else None
    dweight_ih = np.empty((rows, features), np.float32)
    dweight_hh = np.empty((rows, outputs), np.float32)
    dbias_ih = np.empty((rows,), np.float32) if kind == "gru" else None
    dbias_hh = np.empty((rows,), np.float32)
    gradients = (dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    _native.rnn_backward(code, bool(reverse), lengths, *operands, reserve, *gradients, context())
    return gradients


def _lstm_options(peepholes, weight_hr, clip, coupled, activations):
    """The options as a dict, or None where they ask for no more than the loops in C do."""
    if peepholes is None and weight_hr is None and clip is None and activations is None and not coupled:
        return None
    operands = {"peepholes": peepholes, "weight_hr": weight_hr}
    return {**operands, "clip": clip, "coupled": coupled, "activations": activations}


def lstm(
    x, h, c, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None, peepholes=None,
    weight_hr=None, clip=None, coupled=False, activations=None,
):  # fmt: skip
    """LSTM (Hochreiter & Schmidhuber 1997, with forget gates) for inference -> (y, h_last, c_last).

    [i, f, g, o] = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh, and then
    c = sigmoid(f) * c + sigmoid(i) * tanh(g); y_t = h = sigmoid(o) * tanh(c).
    x (T, N, I), h and c (N, H) or None, weight_ih (4H, I), weight_hh (4H, H), biases (4H,) or None, float32 ->
    y (T, N, H), h_last and c_last (N, H).
    peepholes (3H,), of i, f, o (Gers & Schmidhuber 2000): i and f also see peepholes * c before the step, o that after.
    weight_hr (P, H): y_t = h = weight_hr @ (sigmoid(o) * tanh(c)) (Sak et al. 2014); weight_hh (4H, P), y (T, N, P),
    h (N, P). coupled=True: 1 - sigmoid(i) in the place of sigmoid(f). activations=("sigmoid", "tanh", "tanh"): of i, f
    and o, of g, of c. clip and the rest: above.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh, or an option that breaks its rule.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    >>> y, h, c = ops.lstm(np.ones((5, 1, 3), np.float32), None, None, weight_ih, weight_hh)
    >>> y.shape, bool((y[-1] == h).all())
    ((5, 1, 2), True)
    """
    scan = reverse, lengths, _lstm_options(peepholes, weight_hr, clip, coupled, activations)
    return _forward("lstm", "lstm", False, scan, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)[:3]


def lstm_forward(
    x, h, c, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None, peepholes=None,
    weight_hr=None, clip=None, coupled=False, activations=None,
):  # fmt: skip
    """`lstm` for training -> (y, h_last, c_last, reserve); reserve (T, N, 5H) is what `lstm_backward` needs.

    Shapes, formula, options and errors as `lstm`. The reserve holds the activated gates i, f, g, o and the cell state
    of each step; with options it is an object for `lstm_backward` alone.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    >>> ops.lstm_forward(np.ones((5, 1, 3), np.float32), None, None, weight_ih, weight_hh)[3].shape
    (5, 1, 10)
    """
    scan = reverse, lengths, _lstm_options(peepholes, weight_hr, clip, coupled, activations)
    return _forward("lstm_forward", "lstm", True, scan, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)


def lstm_backward(
    dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh, *, reverse=False, lengths=None, peepholes=None,
    weight_hr=None, clip=None, coupled=False, activations=None,
):  # fmt: skip
    """Gradients of `lstm_forward` -> (dx, dh, dc, dweight_ih, dweight_hh, dbias), by backpropagation through time.

    dy (T, N, H), dh_last and dc_last (N, H): gradients of the outputs, None for zeros. x, h, c, weights and reverse as
    given to lstm_forward, y and reserve as returned by it. Each gradient has the shape of its operand; dbias (4H,) is
    that of bias_ih and of bias_hh alike. Options as given to lstm_forward; dpeepholes and dweight_hr follow, in this
    order, where there are such.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((8, 2), np.float32)
    >>> y, h_last, c_last, reserve = ops.lstm_forward(x, None, None, w, w)
    >>> [g.shape for g in ops.lstm_backward(y, None, None, x, None, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (1, 2), (8, 2), (8, 2), (8,)]
    """
    scan = reverse, lengths, _lstm_options(peepholes, weight_hr, clip, coupled, activations)
    operands = dy, dh_last, dc_last, x, h, c, y, reserve, weight_ih, weight_hh
    gradients = _backward("lstm_backward", "lstm", scan, *operands)
    return (*gradients[:5], *gradients[6:])


def _gru_options(reset_after, clip, activations):
    if clip is None and activations is None and reset_after:
        return None
    return {"reset_after": reset_after, "clip": clip, "activations": activations}


def gru(
    x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None, reset_after=True,
    clip=None, activations=None,
):  # fmt: skip
    """GRU (Cho et al. 2014, reset gate after the product as in cuDNN and PyTorch) for inference -> (y, h_last).

    [xr, xz, xn] = x_t @ weight_ih.T + bias_ih, [hr, hz, hn] = h @ weight_hh.T + bias_hh, r = sigmoid(xr + hr),
    z = sigmoid(xz + hz), n = tanh(xn + r * hn); y_t = h = (1 - z) * n + z * h.
    x (T, N, I), h (N, H) or None, weight_ih (3H, I), weight_hh (3H, H), biases (3H,) or None, float32 -> y (T, N, H),
    h_last (N, H).
    reset_after=False: the reset gate before the product, n = tanh(xn + (r * h) @ weight_hn.T + bias_hn), as in the
    paper and by default in ONNX. activations=("sigmoid", "tanh"): of r and z, of n. clip and the rest: above.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh, or an option that breaks its rule.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((6, 3), np.float32), np.ones((6, 2), np.float32)
    >>> ops.gru(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[0].shape
    (5, 1, 2)
    """
    scan = reverse, lengths, _gru_options(reset_after, clip, activations)
    return _forward("gru", "gru", False, scan, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh)[:2]


def gru_forward(
    x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, reverse=False, lengths=None, reset_after=True,
    clip=None, activations=None,
):  # fmt: skip
    """`gru` for training -> (y, h_last, reserve); reserve (T, N, 4H) is what `gru_backward` needs.

    Shapes, formula, options and errors as `gru`. The reserve holds r, z, n and hn of each step; with options it is an
    object for `gru_backward` alone.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((6, 3), np.float32), np.ones((6, 2), np.float32)
    >>> ops.gru_forward(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[2].shape
    (5, 1, 8)
    """
    scan = reverse, lengths, _gru_options(reset_after, clip, activations)
    y, h_last, _, reserve = _forward(
        "gru_forward", "gru", True, scan, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh
    )
    return y, h_last, reserve


def gru_backward(
    dy, dh_last, x, h, y, reserve, weight_ih, weight_hh, *, reverse=False, lengths=None, reset_after=True,
    clip=None, activations=None,
):  # fmt: skip
    """Gradients of `gru_forward` -> (dx, dh, dweight_ih, dweight_hh, dbias_ih, dbias_hh).

    dy (T, N, H), dh_last (N, H): gradients of the outputs, None for zeros. x, h, weights and reverse as given to
    gru_forward, y and reserve as returned by it, options as given to it. Each gradient has the shape of its operand;
    those of the biases, (3H,), differ in n, where the reset gate scales the hidden half alone (reset_after=True).
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((6, 2), np.float32)
    >>> y, h_last, reserve = ops.gru_forward(x, None, w, w)
    >>> [g.shape for g in ops.gru_backward(y, None, x, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (6, 2), (6, 2), (6,), (6,)]
    """
    scan = reverse, lengths, _gru_options(reset_after, clip, activations)
    operands = dy, dh_last, None, x, h, None, y, reserve, weight_ih, weight_hh
    dx, dh, _, *gradients = _backward("gru_backward", "gru", scan, *operands)
    return (dx, dh, *gradients)


def _rnn_options(clip, activations):
    return None if clip is None and activations is None else {"clip": clip, "activations": activations}


def _plain_kind(function, nonlinearity):
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{function}: nonlinearity={nonlinearity!r}: must be 'tanh' or 'relu'")
    return f"rnn_{nonlinearity}"


def rnn(
    x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, nonlinearity="tanh", reverse=False,
    lengths=None, clip=None, activations=None,
):  # fmt: skip
    """Plain recurrent layer (Elman 1990) for inference -> (y, h_last).

    y_t = h = f(x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh) with f tanh or relu.
    x (T, N, I), h (N, H) or None, weight_ih (H, I), weight_hh (H, H), biases (H,) or None, float32 -> y (T, N, H),
    h_last (N, H). activations=(f,): another f than nonlinearity says. clip and the rest: above.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh, or an option that breaks its rule.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    >>> ops.rnn(np.ones((2, 1, 3), np.float32), None, weight_ih, weight_hh, nonlinearity="relu")[0].tolist()
    [[[3.0, 3.0]], [[9.0, 9.0]]]
    """
    kind = _plain_kind("rnn", nonlinearity)
    scan = reverse, lengths, _rnn_options(clip, activations)
    return _forward("rnn", kind, False, scan, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh)[:2]


def rnn_forward(
    x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, nonlinearity="tanh", reverse=False,
    lengths=None, clip=None, activations=None,
):  # fmt: skip
    """`rnn` for training -> (y, h_last, reserve), to go with `rnn_backward`; the reserve is empty: y says all.

    Shapes, formula, options and errors as `rnn`. With options the reserve is an object for `rnn_backward` alone.

    >>> import numpy as np; from fastconv import ops
    >>> weight_ih, weight_hh = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    >>> ops.rnn_forward(np.ones((5, 1, 3), np.float32), None, weight_ih, weight_hh)[2].shape
    (5, 1, 0)
    """
    kind = _plain_kind("rnn_forward", nonlinearity)
    scan = reverse, lengths, _rnn_options(clip, activations)
    y, h_last, _, reserve = _forward(
        "rnn_forward", kind, True, scan, x, h, None, weight_ih, weight_hh, bias_ih, bias_hh
    )
    return y, h_last, reserve


def rnn_backward(
    dy, dh_last, x, h, y, reserve, weight_ih, weight_hh, *, nonlinearity="tanh", reverse=False,
    lengths=None, clip=None, activations=None,
):  # fmt: skip
    """Gradients of `rnn_forward` -> (dx, dh, dweight_ih, dweight_hh, dbias).

    dy (T, N, H), dh_last (N, H): gradients of the outputs, None for zeros. x, h, weights, nonlinearity, options and
    reverse as given to rnn_forward, y and reserve as returned by it. Each gradient has the shape of its operand; dbias
    (H,) is that of bias_ih and of bias_hh alike.
    TypeError: not float32; ValueError: a shape that does not fit x and weight_hh.

    >>> import numpy as np; from fastconv import ops
    >>> x, w = np.ones((5, 1, 2), np.float32), np.ones((2, 2), np.float32)
    >>> y, h_last, reserve = ops.rnn_forward(x, None, w, w)
    >>> [g.shape for g in ops.rnn_backward(y, None, x, None, y, reserve, w, w)]
    [(5, 1, 2), (1, 2), (2, 2), (2, 2), (2,)]
    """
    kind = _plain_kind("rnn_backward", nonlinearity)
    scan = reverse, lengths, _rnn_options(clip, activations)
    operands = dy, dh_last, None, x, h, None, y, reserve, weight_ih, weight_hh
    dx, dh, _, dweight_ih, dweight_hh, _, dbias = _backward("rnn_backward", kind, scan, *operands)
    return dx, dh, dweight_ih, dweight_hh, dbias
