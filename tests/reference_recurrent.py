"""The float64 definition of recurrent layers with options: one sequence and one step at a time, as the papers write it.

Imports nothing from fastconv; names, shapes and gate orders are those of fastconv.ops.
"""

import numpy as np
from reference import activation, activation_derivative

DEFAULTS = {
    "lstm": ("sigmoid", "tanh", "tanh"),
    "gru": ("sigmoid", "tanh"),
    "rnn_tanh": ("tanh",),
    "rnn_relu": ("relu",),
}


def value(specification, a):
    name, *parameters = (specification,) if isinstance(specification, str) else specification
    if name == "affine":
        return parameters[0] * a + parameters[1]
    if name == "scaled_tanh":
        return parameters[0] * np.tanh(parameters[1] * a)
    if name == "hardsigmoid" and parameters:
        return np.clip(parameters[0] * a + parameters[1], 0, 1)
    return activation(name, a, *parameters)


def derivative(specification, a):
    name, *parameters = (specification,) if isinstance(specification, str) else specification
    if name == "affine":
        return np.full_like(a, parameters[0])
    if name == "scaled_tanh":
        return parameters[0] * parameters[1] / np.cosh(parameters[1] * a) ** 2
    if name == "hardsigmoid" and parameters:
        return parameters[0] * (np.abs(2 * (parameters[0] * a + parameters[1]) - 1) < 1)
    return activation_derivative(name, a, *parameters)


class Gate:
    """y = f(clip(a)) and, given dy, da: 0 where it was clipped."""

    def __init__(self, f, a, clip=None):
        held = a if clip is None else np.clip(a, -clip, clip)
        self.y, self.slope = value(f, held), derivative(f, held)
        if clip is not None:
            self.slope = self.slope * (np.abs(a) < clip)

    def back(self, dy):
        return dy * self.slope


class Step:
    """One step of one sequence: h and c after it; `back` gives the gradients and adds up those of the weights."""

    def __init__(self, kind, x, h, c, p, options):
        self.x, self.h_before, self.c_before, self.p = x, h, c, p
        self.clip, self.coupled = options.get("clip"), options.get("coupled", False)
        self.after = options.get("reset_after", True)
        self.f = options.get("activations") or DEFAULTS[kind]
        self.kind = kind.partition("_")[0]
        self.from_x, self.from_h = p["weight_ih"] @ x + p["bias_ih"], p["weight_hh"] @ h + p["bias_hh"]
        getattr(self, self.kind)()

    def gate(self, f, a):
        return Gate(f, a, self.clip)

    def rnn(self):
        self.y = self.gate(self.f[0], self.from_x + self.from_h)
        self.h, self.c = self.y.y, None

    def gru(self):
        (xr, xz, xn), (hr, hz, hn) = np.split(self.from_x, 3), np.split(self.from_h, 3)
        self.r, self.z = self.gate(self.f[0], xr + hr), self.gate(self.f[0], xz + hz)
        self.hn = hn
        if not self.after:
            size = len(hn)
            hn = self.p["weight_hh"][2 * size :] @ (self.r.y * self.h_before) + self.p["bias_hh"][2 * size :]
        self.n = self.gate(self.f[1], xn + (self.r.y * hn if self.after else hn))
        self.h, self.c = (1 - self.z.y) * self.n.y + self.z.y * self.h_before, None

    def lstm(self):
        p_i, p_f, p_o = np.split(self.p["peepholes"], 3)
        i, f, g, o = np.split(self.from_x + self.from_h, 4)
        self.i = self.gate(self.f[0], i + p_i * self.c_before)
        self.forget = self.gate(self.f[0], f + p_f * self.c_before)
        self.g = self.gate(self.f[1], g)
        self.kept = 1 - self.i.y if self.coupled else self.forget.y
        self.c = self.kept * self.c_before + self.i.y * self.g.y
        self.o = self.gate(self.f[0], o + p_o * self.c)
        self.squashed = Gate(self.f[2], self.c)
        self.m = self.o.y * self.squashed.y
        self.h = self.p["weight_hr"] @ self.m

    def back(self, dh, dc, d):
        """(dx, dh, dc); adds to the gradients d of the parameters p."""
        from_x, from_h, dh, dc = getattr(self, f"{self.kind}_back")(dh, dc, d)
        d["weight_ih"] += np.outer(from_x, self.x)
        d["weight_hh"] += np.outer(from_h, self.h_before)
        d["bias_ih"] += from_x
        return self.p["weight_ih"].T @ from_x, self.p["weight_hh"].T @ from_h + dh, dc

    def rnn_back(self, dh, dc, d):
        da = self.y.back(dh)
        d["bias_hh"] += da
        return da, da, 0.0, None

    def gru_back(self, dh, dc, d):
        r, z, n = self.r.y, self.z.y, self.n.y
        dn, dz = self.n.back(dh * (1 - z)), self.z.back(dh * (self.h_before - n))
        if self.after:
            dr, dhn, past = self.r.back(dn * self.hn), dn * r, dh * z
            d["bias_hh"] += np.hstack([dr, dz, dhn])
            return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dhn]), past, None
        size = len(n)
        d_product = self.p["weight_hh"][2 * size :].T @ dn
        dr = self.r.back(d_product * self.h_before)
        d["weight_hh"][2 * size :] += np.outer(dn, r * self.h_before)
        d["bias_hh"] += np.hstack([dr, dz, dn])
        return np.hstack([dr, dz, dn]), np.hstack([dr, dz, 0 * dn]), dh * z + d_product * r, None

    def lstm_back(self, dh, dc, d):
        p_i, p_f, p_o = np.split(self.p["peepholes"], 3)
        d["weight_hr"] += np.outer(dh, self.m)
        dm = self.p["weight_hr"].T @ dh
        do = self.o.back(dm * self.squashed.y)
        dc = dc + self.squashed.back(dm * self.o.y) + do * p_o
        di = self.i.back(dc * (self.g.y - (self.c_before if self.coupled else 0)))
        df = 0 * di if self.coupled else self.forget.back(dc * self.c_before)
        da = np.hstack([di, df, self.g.back(dc * self.i.y), do])
        d["peepholes"] += np.hstack([di * self.c_before, df * self.c_before, do * self.c])
        d["bias_hh"] += da
        return da, da, 0.0, dc * self.kept + di * p_i + df * p_f


def _float64(a):
    return None if a is None else np.asarray(a, np.float64)


def _problem(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, options):
    """(x, h, c, parameters), all float64, zeros and the unit matrix for what is absent."""
    rows, outputs = np.shape(weight_hh)
    hidden = rows // {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}[kind]
    p = {
        "weight_ih": _float64(weight_ih),
        "weight_hh": _float64(weight_hh),
        "bias_ih": np.zeros(rows) if bias_ih is None else _float64(bias_ih),
        "bias_hh": np.zeros(rows) if bias_hh is None else _float64(bias_hh),
        "peepholes": np.zeros(3 * hidden) if options.get("peepholes") is None else _float64(options["peepholes"]),
        "weight_hr": np.eye(hidden) if options.get("weight_hr") is None else _float64(options["weight_hr"]),
    }
    batch = np.shape(x)[1]
    h = np.zeros((batch, outputs)) if h is None else _float64(h)
    c = np.zeros((batch, hidden)) if c is None else _float64(c)
    return _float64(x), h, c, p


def _run(kind, x, h, c, p, reverse, lengths, options):
    """(y, h_last, c_last, steps): the steps of each sequence in the order they are taken, with their times."""
    total, batch, _ = x.shape
    lengths = [total] * batch if lengths is None else lengths
    y, h_last, c_last, runs = np.zeros((total, *h.shape)), h.copy(), c.copy(), []
    for n in range(batch):
        times = range(int(lengths[n]))
        run = []
        for t in reversed(times) if reverse else times:
            step = Step(kind, x[t, n], h_last[n].copy(), c_last[n].copy(), p, options)
            y[t, n] = h_last[n] = step.h
            if kind == "lstm":
                c_last[n] = step.c
            run.append((t, step))
        runs.append(run)
    return y, h_last, c_last, runs


def recurrent(kind, x, h, c, *weights, reverse=False, lengths=None, **options):
    """(y, h_last, c_last): as fastconv.ops.lstm, gru and rnn; c_last None but for "lstm"."""
    x, h, c, p = _problem(kind, x, h, c, *weights, options)
    y, h, c, _ = _run(kind, x, h, c, p, reverse, lengths, options)
    return y, h, c if kind == "lstm" else None


def recurrent_backward(kind, dy, dh, dc, x, h, c, *weights, reverse=False, lengths=None, **options):
    """{name: gradient} of x, h, c and all parameters."""
    x, h, c, p = _problem(kind, x, h, c, *weights, options)
    y, _, _, runs = _run(kind, x, h, c, p, reverse, lengths, options)
    dy = np.zeros_like(y) if dy is None else _float64(dy)
    dh = np.zeros_like(h) if dh is None else _float64(dh).copy()
    dc = np.zeros_like(c) if dc is None else _float64(dc).copy()
    dx, d = np.zeros_like(x), {name: np.zeros_like(array) for name, array in p.items()}
    for n, run in enumerate(runs):
        state, cell = dh[n], dc[n]
        for t, step in reversed(run):
            dx[t, n], state, cell = step.back(state + dy[t, n], cell, d)
        dh[n] = state
        dc[n] = 0.0 if cell is None else cell
    return {"dx": dx, "dh": dh, "dc": dc, **{f"d{name}": gradient for name, gradient in d.items()}}
