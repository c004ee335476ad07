"""One step, forward and backward, of recurrent units with options: what the C loops of the standard units leave out.

A forward unit writes what its backward needs to arrays with a slot a step (one slot in all where nothing is kept). Its
inputs of activations are kept as clipped. A backward unit first turns what was kept into one factor a gate, for all
steps at once: slope of the activation times what the gate is multiplied by. Where a sequence has ended, factors are 0,
so that nothing comes from such a step.
"""

import numpy as np

from fastconv.ops._arrays import empty
from fastconv.ops.products import linear, linear_backward_input, linear_backward_weight
from fastconv.ops.rectifiers import hardtanh


def _gates(rows, count):
    """The view (count, N, H) of a product's (N, count * H)."""
    batch, columns = rows.shape
    return rows.reshape(batch, count, columns // count).transpose(1, 0, 2)


def _rows(gates):
    """The gates (..., N, G, H) as rows (..., N, G * H)."""
    *leading, count, hidden = gates.shape
    return gates.reshape(*leading, count * hidden)


class _Forward:
    """step(slot, what comes of x, h, c) -> (h, c), new arrays."""

    def __init__(self, options, weight_hh, slots, batch):
        self.options, self.weight_hh, self.batch = options, weight_hh, batch
        self.rows = len(weight_hh)
        self.hidden = self.rows // self.gates
        self.inputs = empty((slots, self.gates, batch, self.hidden))
        self.values = empty((slots, self.gates, batch, self.hidden))
        self.product = empty((batch, self.rows))

    def clip(self, a):
        if self.options.clip is not None:
            hardtanh(a, -self.options.clip, self.options.clip, out=a)


class _Backward:
    """step(t, dh, dc) -> (dh, dc) of the step before, new arrays; `dgates` (T, N, G, H) fills on the way."""

    def __init__(self, kept, options, weight_hh, ended):
        """kept: the forward unit; ended (T, N): which steps lie past the end of their sequence, or None."""
        self.kept, self.options, self.weight_hh, self.ended = kept, options, weight_hh, ended
        steps = len(kept.inputs)
        self.dgates = empty((steps, kept.batch, kept.gates, kept.hidden))

    def slope(self, activation, gate):
        """The derivative of a gate of every step in its input before it was clipped."""
        a, y = self.kept.inputs[:, gate], self.kept.values[:, gate]
        slope = activation.slope(a, y)
        if self.options.clip is not None:
            slope[np.abs(a) >= np.float32(self.options.clip)] = 0.0
        return slope

    def until_the_end(self, factor, past=0.0):
        if self.ended is not None:
            factor[self.ended] = past
        return factor

    def input_gradients(self):
        """Those of what comes of x, (T, N, G * H)."""
        return _rows(self.dgates)

    def hidden_gradients(self, h_before):
        """(dweight_hh, dbias_hh)"""
        return linear_backward_weight(_rows(self.dgates), h_before)


class RNNForward(_Forward):
    gates = 1

    def step(self, slot, from_x, h, c):
        a = self.inputs[slot, 0]
        np.add(from_x, linear(h, self.weight_hh, out=self.product), out=a)
        self.clip(a)
        y = self.options.activations[0](a, out=empty(a.shape))
        self.values[slot, 0] = y
        return y, None


class RNNBackward(_Backward):
    def __init__(self, kept, options, weight_hh, ended, h_before, c_before):
        super().__init__(kept, options, weight_hh, ended)
        self.factor = self.until_the_end(self.slope(options.activations[0], 0))

    def step(self, t, dh, dc):
        gate = np.multiply(dh, self.factor[t], out=self.dgates[t, :, 0])
        return linear_backward_input(gate, self.weight_hh), None

    def extra_gradients(self):
        return ()


class GRUForward(_Forward):
    """Gates r, z, n; `reset`: hn, which the reset gate multiplies, or its product with h."""

    gates = 3

    def __init__(self, options, weight_hh, slots, batch):
        super().__init__(options, weight_hh, slots, batch)
        self.reset = empty((slots, batch, self.hidden))
        self.by_gates, self.by_n = weight_hh[: 2 * self.hidden], weight_hh[2 * self.hidden :]

    def step(self, slot, from_x, h, c):
        a, v, reset, from_x = self.inputs[slot], self.values[slot], self.reset[slot], _gates(from_x, 3)
        f, g = self.options.activations
        after = self.options.reset_after
        if after:
            from_h = _gates(linear(h, self.weight_hh, self.options.bias_hh, out=self.product), 3)
        else:
            from_h = _gates(linear(h, self.by_gates), 2)
        np.add(from_x[:2], from_h[:2], out=a[:2])
        self.clip(a[:2])
        r, z = f(a[:2], out=v[:2])
        if after:
            reset[...] = from_h[2]
            np.multiply(r, reset, out=a[2])
        else:
            linear(np.multiply(r, h, out=reset), self.by_n, out=a[2])
        a[2] += from_x[2]
        self.clip(a[2])
        n = g(a[2], out=v[2])
        return (1.0 - z) * n + z * h, None


class GRUBackward(_Backward):
    def __init__(self, kept, options, weight_hh, ended, h_before, c_before):
        super().__init__(kept, options, weight_hh, ended)
        f, g = options.activations
        r, z, n = (kept.values[:, gate] for gate in range(3))
        self.by_z = self.until_the_end(z.copy())
        self.of_n = self.until_the_end(self.slope(g, 2) * (1.0 - z))
        self.of_z = self.until_the_end(self.slope(f, 1) * (h_before - n))
        self.of_r = self.until_the_end(self.slope(f, 0) * (kept.reset if options.reset_after else h_before))
        self.from_h = empty(self.dgates.shape) if options.reset_after else self.dgates
        self.by_gates, self.by_n = weight_hh[: 2 * kept.hidden], weight_hh[2 * kept.hidden :]

    def step(self, t, dh, dc):
        dgates, from_h, r = self.dgates[t], self.from_h[t], self.kept.values[t, 0]
        dn = dh * self.of_n[t]
        dgates[:, 2] = dn
        np.multiply(dh, self.of_z[t], out=dgates[:, 1])
        if self.options.reset_after:
            np.multiply(dn, self.of_r[t], out=dgates[:, 0])
            from_h[:, :2] = dgates[:, :2]
            np.multiply(dn, r, out=from_h[:, 2])
            before = linear_backward_input(_rows(from_h), self.weight_hh)
        else:
            dreset = linear_backward_input(dn, self.by_n)
            np.multiply(dreset, self.of_r[t], out=dgates[:, 0])
            before = linear_backward_input(_rows(dgates[:, :2]), self.by_gates)
            before += dreset * r
        before += dh * self.by_z[t]
        return before, None

    def hidden_gradients(self, h_before):
        if self.options.reset_after:
            return linear_backward_weight(_rows(self.from_h), h_before)
        by_gates, dbias = linear_backward_weight(_rows(self.dgates[:, :, :2]), h_before)
        by_n, dbias_n = linear_backward_weight(self.dgates[:, :, 2], self.kept.reset)
        return np.concatenate([by_gates, by_n]), np.concatenate([dbias, dbias_n])

    def extra_gradients(self):
        return ()


def _peepholes(options):
    return None if options.peepholes is None else options.peepholes.reshape(3, -1)


class LSTMForward(_Forward):
    """Gates i, f, g, o; `cells`: the cell state after each step, `squashed`: its activation."""

    gates = 4

    def __init__(self, options, weight_hh, slots, batch):
        super().__init__(options, weight_hh, slots, batch)
        self.cells, self.squashed = empty((slots, batch, self.hidden)), empty((slots, batch, self.hidden))
        self.peepholes = _peepholes(options)

    def step(self, slot, from_x, h, c):
        a, v = self.inputs[slot], self.values[slot]
        f, g, of_cell = self.options.activations
        np.add(_gates(from_x, 4), _gates(linear(h, self.weight_hh, out=self.product), 4), out=a)
        if self.peepholes is not None:
            a[0] += self.peepholes[0] * c
            a[1] += self.peepholes[1] * c
        self.clip(a[:3])
        i, forget = f(a[:2], out=v[:2])
        if self.options.coupled:
            np.subtract(1.0, i, out=forget)
        cell = forget * c
        cell += i * g(a[2], out=v[2])
        self.cells[slot] = cell
        if self.peepholes is not None:
            a[3] += self.peepholes[2] * cell
        self.clip(a[3])
        hidden = f(a[3], out=v[3]) * of_cell(cell, out=self.squashed[slot])
        return hidden if self.options.weight_hr is None else linear(hidden, self.options.weight_hr), cell


class LSTMBackward(_Backward):
    def __init__(self, kept, options, weight_hh, ended, h_before, c_before):
        super().__init__(kept, options, weight_hh, ended)
        f, g, of_cell = options.activations
        i, forget, candidate, o = (kept.values[:, gate] for gate in range(4))
        self.c_before = c_before
        with_i = candidate - c_before if options.coupled else candidate
        self.of_i = self.until_the_end(self.slope(f, 0) * with_i)
        self.of_f = self.until_the_end(self.slope(f, 1) * c_before) if not options.coupled else None
        self.of_g = self.until_the_end(self.slope(g, 2) * i)
        self.of_o = self.until_the_end(self.slope(f, 3) * kept.squashed)
        self.of_cell = self.until_the_end(of_cell.slope(kept.cells, kept.squashed) * o)
        self.by_f = self.until_the_end(forget.copy(), 1.0)
        self.dh = None if options.weight_hr is None else empty(h_before.shape)
        self.peepholes = _peepholes(options)

    def step(self, t, dh, dc):
        di, df, dg, do = self.dgates[t].transpose(1, 0, 2)
        if self.dh is not None:
            self.dh[t] = dh
            dh = linear_backward_input(dh, self.options.weight_hr)
        np.multiply(dh, self.of_o[t], out=do)
        dc = dc + dh * self.of_cell[t]
        if self.peepholes is not None:
            dc += do * self.peepholes[2]
        np.multiply(dc, self.of_i[t], out=di)
        if self.of_f is None:
            df[...] = 0.0
        else:
            np.multiply(dc, self.of_f[t], out=df)
        np.multiply(dc, self.of_g[t], out=dg)
        dc = dc * self.by_f[t]
        if self.peepholes is not None:
            dc += di * self.peepholes[0]
            dc += df * self.peepholes[1]
        return linear_backward_input(_rows(self.dgates[t]), self.weight_hh), dc

    def extra_gradients(self):
        """Those of peepholes and weight_hr, where there are such."""
        extra = []
        if self.peepholes is not None:
            seen = ((0, self.c_before), (1, self.c_before), (3, self.kept.cells))
            sums = [(self.dgates[:, :, gate] * cell).sum(axis=(0, 1), dtype=np.float64) for gate, cell in seen]
            extra.append(np.concatenate(sums).astype(np.float32))
        if self.dh is not None:
            hidden = self.kept.values[:, 3] * self.kept.squashed
            extra.append(linear_backward_weight(self.until_the_end(self.dh), hidden)[0])
        return tuple(extra)


FORWARD = {"lstm": LSTMForward, "gru": GRUForward, "rnn": RNNForward}
BACKWARD = {"lstm": LSTMBackward, "gru": GRUBackward, "rnn": RNNBackward}
