"""What recurrent layers and cells share: the three kinds of unit, parameters by name, states."""

import math
from collections import namedtuple

from fastconv import initializers, ops
from fastconv._native import RNN_KINDS, is_plain_of, rnn_step
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import array, integer, number, of_shape
from fastconv.runtime import context

LSTMState = namedtuple("LSTMState", ["h", "c"])
LSTMState.__doc__ = "State of an LSTM, or the gradient of one: h and c, each (num_layers * directions, N, H)."

_REPORTED = hasattr(ops.lstm, "__wrapped__")  # FASTCONV_VERBOSE: every op is to print a line

# One layer in one direction, by kind of unit. State is a tuple of (N, H) arrays, or of None for zeros; weights are
# arrays by the names that the op has for them; scan is a dict of reverse and lengths, where these are not the default:
# run(x, state, weights, scan) -> (y, state), keeping nothing;
# run_forward(...) -> (y, state, backward), backward(dy, dstate) -> (dx, dstate, gradients of weights by name, also of
# biases that are not there).


def _clip(function, clip):
    if clip is not None and not number(function, "clip", clip) > 0.0:
        raise ValueError(f"{function}: clip={clip!r}: must be > 0 or None")
    return clip


def _without_biases(weights):
    return {name: value for name, value in weights.items() if not name.startswith("bias")}


class RNNUnit:
    gates = 1
    state_size = 1

    @property
    def kind(self):
        return f"rnn_{self.nonlinearity}"

    def __init__(self, *arguments, nonlinearity="tanh", clip=None, **named):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'{type(self).__name__}: nonlinearity={nonlinearity!r}: must be "tanh" or "relu"')
        self.nonlinearity, self.clip = nonlinearity, _clip(type(self).__name__, clip)
        super().__init__(*arguments, **named)

    def run(self, x, state, weights, scan):
        y, h = ops.rnn(x, *state, **weights, nonlinearity=self.nonlinearity, clip=self.clip, **scan)
        return y, (h,)

    def run_forward(self, x, state, weights, scan):
        options = {"nonlinearity": self.nonlinearity, "clip": self.clip, **scan}
        (h,) = state
        y, h_last, reserve = ops.rnn_forward(x, h, **weights, **options)

        def backward(dy, dstate):
            dx, dh, dweight_ih, dweight_hh, dbias = ops.rnn_backward(
                dy, *dstate, x, h, y, reserve, **_without_biases(weights), **options
            )
            return dx, (dh,), {"weight_ih": dweight_ih, "weight_hh": dweight_hh, "bias_ih": dbias, "bias_hh": dbias}

        return y, (h_last,), backward


class LSTMUnit:
    gates = 4
    state_size = 2
    kind = "lstm"

    def __init__(self, *arguments, proj_size=0, peepholes=False, clip=None, **named):
        self.proj_size = integer(type(self).__name__, "proj_size", proj_size, 0)
        self.peepholes, self.clip = bool(peepholes), _clip(type(self).__name__, clip)
        super().__init__(*arguments, **named)

    def run(self, x, state, weights, scan):
        y, h, c = ops.lstm(x, *state, **weights, clip=self.clip, **scan)
        return y, (h, c)

    def run_forward(self, x, state, weights, scan):
        h, c = state
        options = {"clip": self.clip, **scan}
        y, h_last, c_last, reserve = ops.lstm_forward(x, h, c, **weights, **options)

        def backward(dy, dstate):
            dx, dh, dc, dweight_ih, dweight_hh, dbias, *extra = ops.lstm_backward(
                dy, *dstate, x, h, c, y, reserve, **_without_biases(weights), **options
            )
            gradients = {"weight_ih": dweight_ih, "weight_hh": dweight_hh, "bias_ih": dbias, "bias_hh": dbias}
            given = [name for name in ("peepholes", "weight_hr") if name in weights]
            return dx, (dh, dc), {**gradients, **dict(zip(given, extra, strict=True))}

        return y, (h_last, c_last), backward


class GRUUnit:
    gates = 3
    state_size = 1
    kind = "gru"

    def __init__(self, *arguments, reset_after=True, clip=None, **named):
        self.reset_after, self.clip = bool(reset_after), _clip(type(self).__name__, clip)
        super().__init__(*arguments, **named)

    def run(self, x, state, weights, scan):
        y, h = ops.gru(x, *state, **weights, reset_after=self.reset_after, clip=self.clip, **scan)
        return y, (h,)

    def run_forward(self, x, state, weights, scan):
        (h,) = state
        options = {"reset_after": self.reset_after, "clip": self.clip, **scan}
        y, h_last, reserve = ops.gru_forward(x, h, **weights, **options)

        def backward(dy, dstate):
            dx, dh, *gradients = ops.gru_backward(dy, *dstate, x, h, y, reserve, **_without_biases(weights), **options)
            return dx, (dh,), dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), gradients, strict=True))

        return y, (h_last,), backward


class Recurrent(Layer):
    """What sequences and cells share: parameters by suffix, and states."""

    proj_size, peepholes, reset_after = 0, False, True  # some units have them of their own

    @property
    def output_size(self):
        """The size of y and h in one direction: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    def add_weights(self, inputs, suffix, bias, rng):
        bound = 1.0 / math.sqrt(self.hidden_size)
        rows = self.gates * self.hidden_size
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.output_size)}
        if bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        if self.peepholes:
            shapes["peephole"] = (3 * self.hidden_size,)
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(initializers.uniform(shape, rng, low=-bound, high=bound)))

    def weights(self, suffix):
        """The parameters of one layer and direction by the names that the op has for them."""
        weights = {"weight_ih": getattr(self, "weight_ih" + suffix), "weight_hh": getattr(self, "weight_hh" + suffix)}
        if self.bias:
            weights["bias_ih"] = getattr(self, "bias_ih" + suffix)
            weights["bias_hh"] = getattr(self, "bias_hh" + suffix)
        if self.proj_size:
            weights["weight_hr"] = getattr(self, "weight_hr" + suffix)
        if self.peepholes:
            weights["peepholes"] = getattr(self, "peephole" + suffix)
        return weights

    def parts(self, name, state, *leading):
        """`state` as a tuple of arrays of the shapes (*leading, size of h) and (*leading, H) of c; None is Nones."""
        if state is None:
            return (None,) * self.state_size
        if self.state_size == 1:
            parts = (state,)
        elif isinstance(state, (tuple, list)) and len(state) == 2:
            parts = tuple(state)
            self._check_part(name, parts[1], (*leading, self.hidden_size))
        else:
            function = type(self).__name__
            raise TypeError(f"{function}: {name} is {type(state).__name__}: must be LSTMState(h, c) or None")
        self._check_part(name, parts[0], (*leading, self.proj_size or self.hidden_size))
        return parts

    def quick_step(self, x, state):
        """(y, state) after one step of a cell without options on usual arrays; None for others and for wrong ones."""
        lstm = self.state_size == 2
        if _REPORTED or self.clip is not None or self.proj_size or self.peepholes or not self.reset_after:
            return None
        if state is None or not lstm:
            h, c = state, None
        elif type(state) is LSTMState:
            h, c = state
        else:
            return None
        biases = (self.bias_ih.value, self.bias_hh.value) if self.bias else (None, None)
        step = rnn_step(RNN_KINDS[self.kind], x, h, c, self.weight_ih.value, self.weight_hh.value, *biases, context())
        if step is None:
            return None
        y, h, c = step
        return y, LSTMState(h, c) if lstm else h

    def _check_part(self, name, part, shape):
        if part is not None and not is_plain_of(part, shape):
            of_shape(type(self).__name__, name, part, shape)

    def pack(self, parts):
        return parts[0] if self.state_size == 1 else LSTMState(*parts)

    def add_grads(self, weights, gradients):
        """Add to the parameters of one layer and direction what the backward of the unit returns."""
        for name, weight in weights.items():
            weight.add_grad(gradients[name])

    def check_input(self, x, ndim):
        function = type(self).__name__
        array(function, "x", x, ndim)
        if x.shape[-1] != self.input_size:
            raise ValueError(f"{function}: x has shape {x.shape}: its last dimension must be {self.input_size}")
