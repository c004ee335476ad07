"""What recurrent layers and cells share: the three kinds of unit, parameters by name, states."""

import math
from collections import namedtuple

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import array

LSTMState = namedtuple("LSTMState", ["h", "c"])
LSTMState.__doc__ = "State of an LSTM, or the gradient of one: h and c, each (num_layers * directions, N, H)."

# One layer in one direction, by kind of unit. State is a tuple of (N, H) arrays, or of None for zeros:
# run(x, state, weights, reverse, lengths) -> (y, state), keeping nothing;
# run_forward(...) -> (y, state, backward), backward(dy, dstate) -> (dx, dstate, gradients of weights).


class RNNUnit:
    gates = 1
    state_size = 1

    def run(self, x, state, weights, reverse, lengths=None):
        y, h = ops.rnn(x, *state, *weights, nonlinearity=self.nonlinearity, reverse=reverse, lengths=lengths)
        return y, (h,)

    def run_forward(self, x, state, weights, reverse, lengths=None):
        options = {"nonlinearity": self.nonlinearity, "reverse": reverse, "lengths": lengths}
        (h,) = state
        y, h_last, reserve = ops.rnn_forward(x, h, *weights, **options)

        def backward(dy, dstate):
            dx, dh, dweight_ih, dweight_hh, dbias = ops.rnn_backward(
                dy, *dstate, x, h, y, reserve, *weights[:2], **options
            )
            return dx, (dh,), (dweight_ih, dweight_hh, dbias, dbias)

        return y, (h_last,), backward


class LSTMUnit:
    gates = 4
    state_size = 2

    def run(self, x, state, weights, reverse, lengths=None):
        y, h, c = ops.lstm(x, *state, *weights, reverse=reverse, lengths=lengths)
        return y, (h, c)

    def run_forward(self, x, state, weights, reverse, lengths=None):
        h, c = state
        y, h_last, c_last, reserve = ops.lstm_forward(x, h, c, *weights, reverse=reverse, lengths=lengths)

        def backward(dy, dstate):
            dx, dh, dc, dweight_ih, dweight_hh, dbias = ops.lstm_backward(
                dy, *dstate, x, h, c, y, reserve, *weights[:2], reverse=reverse, lengths=lengths
            )
            return dx, (dh, dc), (dweight_ih, dweight_hh, dbias, dbias)

        return y, (h_last, c_last), backward


class GRUUnit:
    gates = 3
    state_size = 1

    def run(self, x, state, weights, reverse, lengths=None):
        y, h = ops.gru(x, *state, *weights, reverse=reverse, lengths=lengths)
        return y, (h,)

    def run_forward(self, x, state, weights, reverse, lengths=None):
        (h,) = state
        y, h_last, reserve = ops.gru_forward(x, h, *weights, reverse=reverse, lengths=lengths)

        def backward(dy, dstate):
            dx, dh, *gradients = ops.gru_backward(
                dy, *dstate, x, h, y, reserve, *weights[:2], reverse=reverse, lengths=lengths
            )
            return dx, (dh,), gradients

        return y, (h_last,), backward


class Recurrent(Layer):
    """What sequences and cells share: parameters by suffix, and states."""

    def add_weights(self, inputs, suffix, bias, rng):
        bound = 1.0 / math.sqrt(self.hidden_size)
        rows = self.gates * self.hidden_size
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.hidden_size)}
        if bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(initializers.uniform(shape, rng, low=-bound, high=bound)))

    def weights(self, suffix):
        """The parameters of one layer and direction: weight_ih, weight_hh and, where it has them, the biases."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        return [getattr(self, name + suffix) for name in names]

    def parts(self, name, state, shape):
        """`state` as a tuple of arrays of this shape; None is Nones."""
        if state is None:
            return (None,) * self.state_size
        function = type(self).__name__
        if self.state_size == 1:
            parts = (state,)
        elif isinstance(state, (tuple, list)) and len(state) == self.state_size:
            parts = tuple(state)
        else:
            raise TypeError(f"{function}: {name} is {type(state).__name__}: must be LSTMState(h, c) or None")
        for part in parts:
            if part is not None:
                array(function, name, part)
                if part.shape != shape:
                    raise ValueError(f"{function}: {name} has shape {part.shape}: must be {shape}")
        return parts

    def pack(self, parts):
        return parts[0] if self.state_size == 1 else LSTMState(*parts)

    def check_input(self, x, ndim):
        function = type(self).__name__
        array(function, "x", x, ndim)
        if x.shape[-1] != self.input_size:
            raise ValueError(f"{function}: x has shape {x.shape}: its last dimension must be {self.input_size}")
