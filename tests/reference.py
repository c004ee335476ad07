"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations


# ----------------------------------------------------------------------------------------------- matrix products


# ---------------------------------------------------------------------------------------------------- convolution


# -------------------------------------------------------------------------------------------------------- pooling


# -------------------------------------------------------------------------------------------------- normalisation


# ------------------------------------------------------------------------------------------------------ recurrence


def sigmoid_of(a):
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def recurrent_cell(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    """One step of "lstm", "gru", "rnn_tanh" or "rnn_relu": (h, c, saved) with saved for recurrent_cell_backward."""
    from_x, from_h = x @ weight_ih.T + bias_ih, h @ weight_hh.T + bias_hh
    if kind == "lstm":
        i, f, g, o = np.split(from_x + from_h, 4, axis=1)
        i, f, g, o = sigmoid_of(i), sigmoid_of(f), np.tanh(g), sigmoid_of(o)
        c_new = f * c + i * g
        return o * np.tanh(c_new), c_new, (i, f, g, o, c, c_new)
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
        r, z = sigmoid_of(xr + hr), sigmoid_of(xz + hz)
        n = np.tanh(xn + r * hn)
        return (1 - z) * n + z * h, None, (r, z, n, hn, h)
    y = np.tanh(from_x + from_h) if kind == "rnn_tanh" else np.maximum(from_x + from_h, 0)
    return y, None, (y,)


def recurrent_cell_backward(kind, dh, dc, saved):
    """(gradient of the input half before activation, of the hidden half, of h past the product, of c)."""
    if kind == "lstm":
        i, f, g, o, c, c_new = saved
        t = np.tanh(c_new)
        dc = dc + dh * o * (1 - t * t)
        gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
        return np.hstack(gates), np.hstack(gates), 0.0, dc * f
    if kind == "gru":
        r, z, n, hn, h = saved
        dn = dh * (1 - z) * (1 - n * n)
        dr, dz = dn * hn * r * (1 - r), dh * (h - n) * z * (1 - z)
        return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), dh * z, None
    (y,) = saved
    gate = dh * (1 - y * y) if kind == "rnn_tanh" else dh * (y > 0)
    return gate, gate, 0.0, None


def recurrent(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False):
    """(y, h_last, c_last, saved of every step) over a sequence x (T, N, I); c for "lstm" alone. None: zeros."""
    x, weight_ih, weight_hh = (np.asarray(a, np.float64) for a in (x, weight_ih, weight_hh))
    state, rows = (x.shape[1], weight_hh.shape[1]), len(weight_hh)
    h, c = (np.zeros(state) if a is None else np.asarray(a, np.float64) for a in (h, c))
    bias_ih, bias_hh = (np.zeros(rows) if a is None else np.asarray(a, np.float64) for a in (bias_ih, bias_hh))
    y, saved = np.zeros((len(x), *state)), [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        h, c, saved[t] = recurrent_cell(kind, x[t], h, c, weight_ih, weight_hh, bias_ih, bias_hh)
        y[t] = h
    return y, h, c, saved


def recurrent_backward(kind, dy, dh, dc, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False):
    """(dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh) for the gradients dy, dh, dc of y, h_last, c_last."""
    x, weight_ih, weight_hh = (np.asarray(a, np.float64) for a in (x, weight_ih, weight_hh))
    y, _, _, saved = recurrent(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse)
    steps, state, rows = len(x), (x.shape[1], weight_hh.shape[1]), len(weight_hh)
    first = np.zeros(state) if h is None else np.asarray(h, np.float64)
    dy = np.zeros_like(y) if dy is None else np.asarray(dy, np.float64)
    dh, dc = (np.zeros(state) if a is None else np.asarray(a, np.float64) for a in (dh, dc))
    dx, dweight_ih, dweight_hh = np.zeros_like(x), np.zeros_like(weight_ih), np.zeros_like(weight_hh)
    dbias_ih, dbias_hh = np.zeros(rows), np.zeros(rows)
    order = list(reversed(range(steps))) if reverse else list(range(steps))
    for position in reversed(range(steps)):
        t = order[position]
        before = first if position == 0 else y[order[position - 1]]
        from_x, from_h, past, dc = recurrent_cell_backward(kind, dh + dy[t], dc, saved[t])
        dx[t], dh = from_x @ weight_ih, from_h @ weight_hh + past
        dweight_ih += from_x.T @ x[t]
        dweight_hh += from_h.T @ before
        dbias_ih += from_x.sum(axis=0)
        dbias_hh += from_h.sum(axis=0)
    return dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh


# ------------------------------------------------------------------------------------------- losses and optimisers
