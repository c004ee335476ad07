"""Recurrent layers and cells. State is data: it goes in and comes out, and nothing is kept between calls."""

import numpy as np

from fastconv.layers._units import GRUUnit, LSTMState, LSTMUnit, Recurrent, RNNUnit
from fastconv.layers.base import Layer
from fastconv.layers.dropout import Dropout
from fastconv.ops._arrays import array, integer

__all__ = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "LSTMState", "LastStep", "Outputs"]


class _Sequence(Recurrent):
    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        *,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        rng=None,
    ):
        function = type(self).__name__
        self.input_size = integer(function, "input_size", input_size, 1)
        self.hidden_size = integer(function, "hidden_size", hidden_size, 1)
        self.num_layers = integer(function, "num_layers", num_layers, 1)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.bidirectional = bool(bidirectional)
        self._suffixes = ("", "_reverse") if bidirectional else ("",)
        rng = np.random.default_rng(rng)
        self._dropout = Dropout(dropout, rng=rng)
        inputs = self.input_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes:
                self.add_weights(inputs, f"_l{layer}{suffix}", bias, rng)
            inputs = self.output_size * len(self._suffixes)

    def _scans(self):
        """(index into the state, parameters, reverse) of each direction, a list a layer."""
        directions = len(self._suffixes)
        return [
            [
                (layer * directions + i, self.weights(f"_l{layer}{suffix}"), i == 1)
                for i, suffix in enumerate(self._suffixes)
            ]
            for layer in range(self.num_layers)
        ]

    def _in(self, x):
        return x.transpose(1, 0, 2) if self.batch_first and x is not None else x

    def _prepare(self, x, state):
        """(x (T, N, I), state parts)."""
        self.check_input(x, 3)
        x = self._in(x)
        return x, self.parts("state", state, self.num_layers * len(self._suffixes), x.shape[1])

    def __call__(self, x, state=None, *, lengths=None):
        """(y, state) of x, as forward; keeps nothing."""
        y, parts = self._prepare(x, state)
        last = [[] for _ in parts]
        for scans in self._scans():
            outputs = []
            for index, weights, reverse in scans:
                scan = {"reverse": reverse, "lengths": lengths}
                output, ends = self.run(y, _at(parts, index), _values(weights), scan)
                outputs.append(output)
                for ending, end in zip(last, ends, strict=True):
                    ending.append(end)
            y = _side_by_side(outputs)
        return self._in(y), self.pack([np.stack(ending) for ending in last])

    def forward(self, x, state=None, *, lengths=None, training=True):
        """((y, state), backward); backward(dy, dstate=None) -> (dx, dstate). dy may be None: only the state counts."""
        y, parts = self._prepare(x, state)
        shape = (*y.shape[:2], self.output_size * len(self._suffixes))
        last = [[] for _ in parts]
        steps = []
        for layer, scans in enumerate(self._scans()):
            drop = None
            if layer and training and self._dropout.p:
                y, drop = self._dropout.forward(y, training=True)
            outputs, backwards = [], []
            for index, weights, reverse in scans:
                scan = {"reverse": reverse, "lengths": lengths}
                output, ends, backward = self.run_forward(y, _at(parts, index), _values(weights), scan)
                outputs.append(output)
                backwards.append((index, weights, backward))
                for ending, end in zip(last, ends, strict=True):
                    ending.append(end)
            steps.append((backwards, drop))
            y = _side_by_side(outputs)

        def recurrent_backward(dy, dstate=None):
            return self._backward(steps, shape, dy, dstate)

        return (self._in(y), self.pack([np.stack(ending) for ending in last])), recurrent_backward

    def _backward(self, steps, shape, dy, dstate):
        function = type(self).__name__
        dparts = self.parts("dstate", dstate, self.num_layers * len(self._suffixes), shape[1])
        if dy is not None:
            dy = self._in(array(function, "dy", dy, 3))
            if dy.shape != shape:
                raise ValueError(f"{function}: dy has time-major shape {dy.shape}: must be {shape}")
        first = [[None] * (self.num_layers * len(self._suffixes)) for _ in dparts]
        for backwards, drop in reversed(steps):
            dx = None
            for direction, (index, weights, backward) in enumerate(backwards):
                columns = slice(direction * self.output_size, (direction + 1) * self.output_size)
                part = None if dy is None else dy[..., columns]
                dpart, dbegins, gradients = backward(part, _at(dparts, index))
                self.add_grads(weights, gradients)
                for beginning, dbegin in zip(first, dbegins, strict=True):
                    beginning[index] = dbegin
                dx = dpart if dx is None else dx + dpart
            dy = dx if drop is None else drop(dx)
        return self._in(dy), self.pack([np.stack(beginning) for beginning in first])


def _at(parts, index):
    return tuple(None if part is None else part[index] for part in parts)


def _values(weights):
    return {name: weight.value for name, weight in weights.items()}


def _side_by_side(outputs):
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=2)


class LSTM(LSTMUnit, _Sequence):
    """Long short-term memory over a sequence, as torch.nn.LSTM (Hochreiter and Schmidhuber, 1997).

    x (T, N, I), or (N, T, I) with batch_first -> y (T, N, D*H), D = 2 if bidirectional; state LSTMState(h, c), each
    (num_layers*D, N, H), None for zeros; weight_ih_l0 (4H, I), weight_hh_l0 (4H, H), gates in the order i, f, g, o:
    i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh), g = tanh(same); c = f*c + i*g; h = o*tanh(c).
    lengths (N,), integers: the steps of each sequence, None for T. The reverse direction begins at a sequence's end;
    past the end y is 0, and the state is that after its last step. To train on parts of a long sequence (truncated
    backpropagation), give the state on and drop its gradient; steps one at a time give the results of the whole
    (to the bit from five sequences on, with fewer but for rounding).
    proj_size=P > 0: weight_hr_l0 (P, H) projects h; y and h have size P, as in torch. peepholes=True: peephole_l0 (3H).
    clip: what the gates' activations see is held in [-clip, clip]. `ops.lstm` has the formulas.
    dropout acts between layers in training. First values: uniform within 1/sqrt(H), from rng, as are the masks.

    >>> from fastconv.layers import LSTM
    >>> (y, state), backward = LSTM(3, 5, num_layers=2).forward(np.ones((7, 2, 3), np.float32))
    >>> dx, dstate = backward(np.ones_like(y)); y.shape, state.h.shape, dx.shape, dstate.c.shape
    ((7, 2, 5), (2, 2, 5), (7, 2, 3), (2, 2, 5))
    """


class GRU(GRUUnit, _Sequence):
    """Gated recurrent unit over a sequence, as torch.nn.GRU (Cho et al., 2014).

    Shapes and arguments as LSTM; the state is h alone; weight_ih_l0 (3H, I), gates in the order r, z, n:
    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh); n = tanh(W_in x + b_in + r*(W_hn h + b_hn)); h = (1-z)*n + z*h.
    reset_after=False: n = tanh(W_in x + b_in + W_hn (r*h) + b_hn). clip as LSTM.

    >>> from fastconv.layers import GRU
    >>> (y, state), backward = GRU(3, 5, bidirectional=True).forward(np.ones((7, 2, 3), np.float32))
    >>> y.shape, state.shape
    ((7, 2, 10), (2, 2, 5))
    """


class RNN(RNNUnit, _Sequence):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh) over a sequence, as torch.nn.RNN; relu with nonlinearity="relu".

    Shapes, clip and other arguments as LSTM; the state is h alone; weight_ih_l0 (H, I), weight_hh_l0 (H, H).

    >>> from fastconv.layers import RNN
    >>> y, state = RNN(3, 5, batch_first=True)(np.ones((2, 7, 3), np.float32))
    >>> y.shape, state.shape
    ((2, 7, 5), (1, 2, 5))
    """


class _Cell(Recurrent):
    def __init__(self, input_size, hidden_size, *, bias=True, rng=None):
        function = type(self).__name__
        self.input_size = integer(function, "input_size", input_size, 1)
        self.hidden_size = integer(function, "hidden_size", hidden_size, 1)
        self.bias = bool(bias)
        self.add_weights(self.input_size, "", bias, np.random.default_rng(rng))

    def _prepare(self, x, state):
        self.check_input(x, 2)
        return x[None], self.parts("state", state, x.shape[0])

    def __call__(self, x, state=None):
        """(y, state) of x (N, I), y (N, H) being h; keeps nothing."""
        step = self.quick_step(x, state)
        if step is not None:
            return step
        x, parts = self._prepare(x, state)
        y, ends = self.run(x, parts, _values(self.weights("")), {})
        return y[0], self.pack(ends)

    def forward(self, x, state=None, *, training=True):
        """((y, state), backward); backward(dy, dstate=None) -> (dx, dstate). dy may be None: only the state counts."""
        x, parts = self._prepare(x, state)
        weights = self.weights("")
        y, ends, backward = self.run_forward(x, parts, _values(weights), {})
        shape = y.shape[1:]

        def cell_backward(dy, dstate=None):
            dparts = self.parts("dstate", dstate, shape[0])
            if dy is not None:
                array(type(self).__name__, "dy", dy)
                if dy.shape != shape:
                    raise ValueError(f"{type(self).__name__}: dy has shape {dy.shape}: must be {shape}")
                dy = dy[None]
            dx, dbegins, gradients = backward(dy, dparts)
            self.add_grads(weights, gradients)
            return dx[0], self.pack(dbegins)

        return (y[0], self.pack(ends)), cell_backward


class LSTMCell(LSTMUnit, _Cell):
    """One step of an LSTM, as torch.nn.LSTMCell: x (N, I), LSTMState(h, c) of (N, H) -> (h, LSTMState).

    proj_size, peepholes and clip as LSTM.

    >>> from fastconv.layers import LSTMCell
    >>> (y, state), backward = LSTMCell(3, 5).forward(np.ones((2, 3), np.float32))
    >>> y.shape, state.c.shape
    ((2, 5), (2, 5))
    """


class GRUCell(GRUUnit, _Cell):
    """One step of a GRU, as torch.nn.GRUCell: x (N, I), h (N, H) -> (h, h). reset_after and clip as GRU.

    >>> from fastconv.layers import GRUCell
    >>> y, state = GRUCell(3, 5)(np.ones((2, 3), np.float32))
    >>> y.shape
    (2, 5)
    """


class RNNCell(RNNUnit, _Cell):
    """One step of an RNN, as torch.nn.RNNCell: x (N, I), h (N, H) -> (h, h). nonlinearity and clip as RNN.

    >>> from fastconv.layers import RNNCell
    >>> y, state = RNNCell(3, 5, nonlinearity="relu")(np.ones((2, 3), np.float32))
    >>> y.shape
    (2, 5)
    """


class Outputs(Layer):
    """A recurrent layer as a layer of one input and one output: y of every step, from a zero state.

    >>> from fastconv.layers import GRU, Outputs
    >>> Outputs(GRU(3, 5))(np.ones((7, 2, 3), np.float32)).shape
    (7, 2, 5)
    """

    def __init__(self, rnn):
        if not isinstance(rnn, _Sequence):
            raise TypeError(f"Outputs: {rnn!r}: must be an RNN, LSTM or GRU")
        self.rnn = rnn

    def __call__(self, x):
        return self.rnn(x)[0]

    def forward(self, x, *, training=True):
        (y, _), backward = self.rnn.forward(x, training=training)
        return y, lambda dy: backward(dy)[0]


class LastStep(Layer):
    """The last layer's final h of a recurrent layer, from a zero state: (N, D*H).

    For one direction this is y of the last step; the reverse direction ends at the first step.

    >>> from fastconv.layers import GRU, LastStep
    >>> LastStep(GRU(3, 5))(np.ones((7, 2, 3), np.float32)).shape
    (2, 5)
    """

    def __init__(self, rnn):
        if not isinstance(rnn, _Sequence):
            raise TypeError(f"LastStep: {rnn!r}: must be an RNN, LSTM or GRU")
        self.rnn = rnn

    def _last(self, state):
        h = state.h if isinstance(state, LSTMState) else state
        directions = 2 if self.rnn.bidirectional else 1
        return h[-directions:]

    def __call__(self, x):
        return np.concatenate(self._last(self.rnn(x)[1]), axis=1)

    def forward(self, x, *, training=True):
        (_, state), backward = self.rnn.forward(x, training=training)
        last = self._last(state)
        directions, batch, hidden = last.shape
        state_shape = (self.rnn.num_layers * directions, batch, hidden)

        def last_backward(dy):
            array("LastStep", "dy", dy)
            if dy.shape != (batch, directions * hidden):
                raise ValueError(f"LastStep: dy has shape {dy.shape}: must be {(batch, directions * hidden)}")
            dh = np.zeros(state_shape, np.float32)
            dh[-directions:] = dy.reshape(batch, directions, hidden).transpose(1, 0, 2)
            dstate = LSTMState(dh, None) if isinstance(state, LSTMState) else dh
            return backward(None, dstate)[0]

        return np.concatenate(last, axis=1), last_backward
