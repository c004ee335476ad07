"""Recurrent layers with options: the time loop in Python, of the units in `_recurrent_units.py`.

The standard units run in C (`csrc/rnn_forward.c`). `forward` and `backward` take operands that are checked, and options
as `checked` makes them. With lengths, x past the end of a sequence is taken as 0 and such a step hands the state on.
"""

from collections import namedtuple

import numpy as np

from fastconv.ops._arrays import empty, number, shaped
from fastconv.ops._gate_activations import gate_activations
from fastconv.ops._recurrent_units import BACKWARD, FORWARD
from fastconv.ops.products import linear, linear_backward_input, linear_backward_weight

_ACTIVATIONS = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "rnn_tanh": ("tanh",),
    "rnn_relu": ("relu",),
}


Options = namedtuple(
    "Options",
    ["activations", "clip", "coupled", "reset_after", "peepholes", "weight_hr", "bias_hh"],
    defaults=[None],
)
Options.__doc__ = """What a unit does beyond the standard one, arrays and None as the ops take them.

bias_hh is set where it may not be added to that of the input: where a reset gate scales it.
"""


def checked(
    function, kind, hidden, outputs, *, clip=None, activations=None, coupled=False, reset_after=True, peepholes=None,
    weight_hr=None,
):  # fmt: skip
    """Options from the arguments of an op, of a unit of this kind, H = hidden and P = outputs."""
    if clip is not None:
        clip = number(function, "clip", clip)
        if not clip > 0.0:
            raise ValueError(f"{function}: clip={clip!r}: must be > 0 or None")
    return Options(
        gate_activations(function, activations, _ACTIVATIONS[kind]),
        clip,
        bool(coupled),
        bool(reset_after),
        None if peepholes is None else shaped(function, "peepholes", peepholes, (3 * hidden,)),
        None if weight_hr is None else shaped(function, "weight_hr", weight_hr, (outputs, hidden)),
    )


def _settings(reverse, lengths, options):
    """All that a backward must have in common with its forward and that is no array, comparable."""
    specifications = tuple(each.specification for each in options.activations)
    present = options.peepholes is not None, options.weight_hr is not None
    lengths = None if lengths is None else tuple(lengths.tolist())
    return specifications, options.clip, options.coupled, options.reset_after, *present, bool(reverse), lengths


class Reserve:
    """What a forward with options keeps for its backward."""

    def __init__(self, kind, settings, shape, unit, h_before, c_before):
        self.kind, self.settings, self.shape = kind, settings, shape
        self.unit, self.h_before, self.c_before = unit, h_before, c_before


def _order(steps, reverse):
    return reversed(range(steps)) if reverse else range(steps)


def _ended(lengths, steps):
    """(T, N): which steps lie past the end; None where none does."""
    if lengths is None:
        return None
    ended = np.arange(steps)[:, None] >= lengths
    return ended if ended.any() else None


def _until_the_end(values, ended):
    """`values` (T, N, ...), a copy with 0 past the end where that is needed."""
    return values if ended is None else np.where(ended[..., None], np.float32(0.0), values)


def _initial(value, batch, size):
    return np.zeros((batch, size), np.float32) if value is None else value


def _biases(kind, options, bias_ih, bias_hh):
    """(bias of the input half, options): both biases in one but where a reset gate scales that of the hidden half."""
    if kind == "gru" and options.reset_after:
        return bias_ih, options._replace(bias_hh=bias_hh)
    return (bias_ih if bias_hh is None else bias_hh if bias_ih is None else bias_ih + bias_hh), options


def forward(kind, keep, scan, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    """(y, h_last, c_last, reserve); c_last is None but for the LSTM, reserve None unless `keep`.

    scan: (reverse, lengths (N,) or None, Options), as for `backward`.
    """
    reverse, lengths, options = scan
    kind = kind.partition("_")[0]
    (steps, batch, _), (rows, outputs) = x.shape, weight_hh.shape
    bias, options = _biases(kind, options, bias_ih, bias_hh)
    unit = FORWARD[kind](options, weight_hh, steps if keep else 1, batch)
    h, c = _initial(h, batch, outputs), _initial(c, batch, unit.hidden) if kind == "lstm" else None
    ended = _ended(lengths, steps)
    from_x = linear(_until_the_end(x, ended), weight_ih, bias)
    y = empty((steps, batch, outputs))
    h_before = empty((steps, batch, outputs)) if keep else None
    c_before = empty((steps, batch, unit.hidden)) if keep and kind == "lstm" else None
    for t in _order(steps, reverse):
        if keep:
            h_before[t] = h
            if c is not None:
                c_before[t] = c
        h_new, c_new = unit.step(t if keep else 0, from_x[t], h, c)
        if ended is not None and ended[t].any():
            past = ended[t][:, None]
            h_new, c_new = np.where(past, h, h_new), None if c is None else np.where(past, c, c_new)
        h, c = h_new, c_new
        y[t] = h
    if ended is not None:
        y[ended] = 0.0
    shape = (steps, batch, rows, outputs)
    reserve = Reserve(kind, _settings(*scan), shape, unit, h_before, c_before) if keep else None
    return y, _own(h), _own(c), reserve


def _own(state):
    """No array of the caller's, which it is where there are no steps."""
    return None if state is None else np.array(state, order="C")


def _check_reserve(function, kind, scan, reserve, x, weight_hh):
    """Refuse what the forward of this unit with the same options did not return."""
    name = function.replace("backward", "forward")
    if not isinstance(reserve, Reserve):
        rule = f"must be what {name} returned with the same options"
        raise TypeError(f"{function}: reserve is {type(reserve).__name__}: {rule}")
    expected = kind, (*x.shape[:2], *weight_hh.shape), _settings(*scan)
    if expected != (reserve.kind, reserve.shape, reserve.settings):
        raise ValueError(f"{function}: reserve is of a call of {name} with other sizes or options: must be the same")


def backward(function, kind, scan, dy, dh, dc, x, h, c, y, weight_ih, weight_hh, reserve):
    """(dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh, those of peepholes and weight_hr where given).

    dc is None but for the LSTM. x is 0 past the ends; h, c and y are in the reserve, too.
    """
    kind = kind.partition("_")[0]
    _check_reserve(function, kind, scan, reserve, x, weight_hh)
    reverse, lengths, options = scan
    (steps, batch, _), outputs = x.shape, weight_hh.shape[1]
    ended = _ended(lengths, steps)
    dy = None if dy is None else _until_the_end(dy, ended)
    unit = BACKWARD[kind](reserve.unit, options, weight_hh, ended, reserve.h_before, reserve.c_before)
    dh = _initial(dh, batch, outputs)
    dc = _initial(dc, batch, reserve.unit.hidden) if kind == "lstm" else None
    for t in _order(steps, not reverse):
        if dy is not None:
            dh = dh + dy[t]
        before, dc = unit.step(t, dh, dc)
        if ended is not None:
            np.add(before, dh, out=before, where=ended[t][:, None])
        dh = before
    from_x = unit.input_gradients()
    dx = linear_backward_input(from_x, weight_ih)
    dweight_ih, dbias_ih = linear_backward_weight(from_x, x)
    dweight_hh, dbias_hh = unit.hidden_gradients(reserve.h_before)
    return dx, _own(dh), _own(dc), dweight_ih, dweight_hh, dbias_ih, dbias_hh, *unit.extra_gradients()
