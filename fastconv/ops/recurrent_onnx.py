"""Weights of the recurrent operators of ONNX as operands of lstm, gru and rnn, and back."""

import numpy as np

from fastconv.ops._arrays import array, of_shape

__all__ = ["recurrent_from_onnx", "recurrent_to_onnx"]

# Which gate of ONNX stands at each place of ours, and at each place of its own which of ours.
_GATES = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}  # of i, o, f, c; of z, r, h
_PEEPHOLES = (0, 2, 1)  # of i, o, f


def _gates(function, kind):
    if kind not in _GATES:
        raise ValueError(f"{function}: kind={kind!r}: must be 'lstm', 'gru' or 'rnn'")
    return _GATES[kind]


def _reordered(blocks, order):
    """Equal blocks of rows in another order, copied."""
    return np.concatenate([np.split(blocks, len(order))[block] for block in order])


def recurrent_from_onnx(kind, w, r, b=None, p=None):
    """Operands of `lstm`, `gru` or `rnn` from the inputs W, R, B and P of ONNX's LSTM, GRU or RNN, a dict a direction.

    kind "lstm", "gru" or "rnn" with G = 4, 3 or 1 gates; w (D, G*H, I), r (D, G*H, H), b (D, 2*G*H) or None,
    p (D, 3*H) or None (LSTM alone), float32 -> a list of D dicts of weight_ih, weight_hh and, where they are given,
    bias_ih, bias_hh and peepholes. ONNX has its gates in the order i, o, f, c or z, r, h. Of direction="bidirectional"
    the first dict is that of the forward direction; the other, like that of "reverse", is for reverse=True. The rest:

    ===================================  =============================================================================
    ONNX                                 here
    ===================================  =============================================================================
    X, Y, initial_h, initial_c           x, y (T, N, ...), one direction a call: initial_h[d] is h; layout=1: transpose
    sequence_lens                        lengths
    clip                                 clip
    input_forget=1                       coupled=True
    linear_before_reset=0 (the default)  reset_after=False
    linear_before_reset=1                reset_after=True (the default)
    activations, of each direction       activations: (f, g, h) of LSTM, (f, g) of GRU, (f,) of RNN
    Relu, Tanh, Sigmoid, Softsign        "relu", "tanh", "sigmoid", "softsign"
    Softplus, Elu, LeakyRelu             "softplus", ("elu", alpha), ("leaky_relu", alpha)
    ThresholdedRelu                      ("threshold", alpha, 0.0)
    Affine, ScaledTanh                   ("affine", alpha, beta), ("scaled_tanh", alpha, beta)
    HardSigmoid                          ("hardsigmoid", alpha, beta)
    ===================================  =============================================================================

    TypeError: not float32; ValueError: a shape that does not fit.

    >>> import numpy as np; from fastconv import ops
    >>> w, r = np.ones((1, 8, 3), np.float32), np.ones((1, 8, 2), np.float32)
    >>> (operands,) = ops.recurrent_from_onnx("lstm", w, r)
    >>> ops.lstm(np.ones((5, 1, 3), np.float32), None, None, **operands)[0].shape
    (5, 1, 2)
    """
    function = "recurrent_from_onnx"
    order = _gates(function, kind)
    array(function, "w", w, 3)
    array(function, "r", r, 3)
    directions, rows, hidden = r.shape
    if directions not in (1, 2) or rows != len(order) * hidden:
        raise ValueError(f"{function}: r has shape {r.shape}: must be (1 or 2, {len(order)} * H, H)")
    of_shape(function, "w", w, (directions, rows, w.shape[2]))
    if b is not None:
        of_shape(function, "b", b, (directions, 2 * rows))
    if p is not None:
        if kind != "lstm":
            raise ValueError(f"{function}: p is given: must be None but for kind='lstm'")
        of_shape(function, "p", p, (directions, 3 * hidden))
    result = []
    for d in range(directions):
        operands = {"weight_ih": _reordered(w[d], order), "weight_hh": _reordered(r[d], order)}
        if b is not None:
            bias_ih, bias_hh = np.split(b[d], 2)
            operands.update(bias_ih=_reordered(bias_ih, order), bias_hh=_reordered(bias_hh, order))
        if p is not None:
            operands["peepholes"] = _reordered(p[d], _PEEPHOLES)
        result.append(operands)
    return result


def recurrent_to_onnx(kind, directions):
    """(w, r, b, p) as ONNX has them, of the operands of one direction or two: what `recurrent_from_onnx` undoes.

    directions: a list of one or two dicts as `recurrent_from_onnx` returns; absent biases beside present ones are
    zeros; b or p is None where no direction has such. TypeError: not float32; ValueError: a name or a shape that does
    not fit.

    >>> import numpy as np; from fastconv import ops
    >>> operands = {"weight_ih": np.ones((6, 3), np.float32), "weight_hh": np.ones((6, 2), np.float32)}
    >>> w, r, b, p = ops.recurrent_to_onnx("gru", [operands])
    >>> w.shape, r.shape, b, p
    ((1, 6, 3), (1, 6, 2), None, None)
    """
    function = "recurrent_to_onnx"
    order = _gates(function, kind)
    inverse = tuple(order.index(block) for block in range(len(order)))
    if not isinstance(directions, (list, tuple)) or len(directions) not in (1, 2):
        found = f"{type(directions).__name__} of {len(directions)}" if hasattr(directions, "__len__") else directions
        raise ValueError(f"{function}: directions is {found}: must be a list of one or two dicts")
    checked = [_checked(function, kind, operands, len(order)) for operands in directions]
    w, r = (np.stack([_reordered(each[name], inverse) for each in checked]) for name in ("weight_ih", "weight_hh"))
    b = p = None
    if any(each[name] is not None for each in checked for name in ("bias_ih", "bias_hh")):
        zeros = np.zeros(r.shape[1], np.float32)
        b = [[zeros if each[name] is None else each[name] for name in ("bias_ih", "bias_hh")] for each in checked]
        b = np.stack([np.concatenate([_reordered(bias, inverse) for bias in pair]) for pair in b])
    if any(each["peepholes"] is not None for each in checked):
        zeros = np.zeros(3 * r.shape[2], np.float32)
        p = [zeros if each["peepholes"] is None else each["peepholes"] for each in checked]
        p = np.stack([_reordered(peepholes, _PEEPHOLES) for peepholes in p])
    return w, r, b, p


def _checked(function, kind, operands, gates):
    """The operands by name, None where absent, all of the shapes that weight_ih and weight_hh ask for."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "peepholes")
    if not isinstance(operands, dict) or not {"weight_ih", "weight_hh"} <= set(operands) <= set(names):
        found = list(operands) if isinstance(operands, dict) else type(operands).__name__
        rule = "must be a dict of weight_ih, weight_hh and perhaps bias_ih, bias_hh and peepholes"
        raise ValueError(f"{function}: directions holds {found}: {rule}")
    weight_ih = array(function, "weight_ih", operands["weight_ih"], 2)
    weight_hh = array(function, "weight_hh", operands["weight_hh"], 2)
    rows, hidden = weight_hh.shape
    if rows != gates * hidden:
        raise ValueError(f"{function}: weight_hh has shape {weight_hh.shape}: must be ({gates} * H, H)")
    of_shape(function, "weight_ih", weight_ih, (rows, weight_ih.shape[1]))
    result = {name: operands.get(name) for name in names}
    for name, size in (("bias_ih", rows), ("bias_hh", rows), ("peepholes", 3 * hidden)):
        if result[name] is not None:
            of_shape(function, name, result[name], (size,))
    if kind != "lstm" and result["peepholes"] is not None:
        raise ValueError(f"{function}: peepholes is given: must be absent but for kind='lstm'")
    return result
