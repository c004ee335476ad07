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


def softmax_cross_entropy(logits, labels):
    """(mean of -log softmax(logits)[label], its gradient): logits (N, C), labels (N,)."""
    logits = logits.astype(np.float64)
    count = len(labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[labels]
    loss = -np.sum(onehot * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))) / count
    return loss, (probabilities - onehot) / count


def mean_squared_error(prediction, targets):
    difference = prediction.astype(np.float64) - targets
    return np.mean(difference**2), 2.0 * difference / difference.size


def binary_cross_entropy_with_logits(logits, targets):
    logits, targets = logits.astype(np.float64), targets.astype(np.float64)
    loss = np.mean(targets * np.logaddexp(0.0, -logits) + (1.0 - targets) * np.logaddexp(0.0, logits))
    return loss, (1.0 / (1.0 + np.exp(-logits)) - targets) / logits.size


def binary_cross_entropy(probabilities, targets):
    p, t = probabilities.astype(np.float64), targets.astype(np.float64)
    return -np.mean(t * np.log(p) + (1.0 - t) * np.log(1.0 - p)), (p - t) / (p * (1.0 - p)) / p.size


def sgd(value, grads, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """value after a step for each of grads."""
    value, velocity = value.astype(np.float64), None
    for grad in grads:
        g = grad + weight_decay * value
        if momentum:
            velocity = g if velocity is None else momentum * velocity + g
            g = g + momentum * velocity if nesterov else velocity
        value = value - lr * g
    return value


def adam(value, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """value after a step for each of grads."""
    value = value.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, grad in enumerate(grads, 1):
        g = grad if decoupled else grad + weight_decay * value
        if decoupled:
            value = value * (1.0 - lr * weight_decay)
        mean = betas[0] * mean + (1.0 - betas[0]) * g
        square = betas[1] * square + (1.0 - betas[1]) * g * g
        value = value - lr * (mean / (1.0 - betas[0] ** step)) / (np.sqrt(square / (1.0 - betas[1] ** step)) + eps)
    return value
