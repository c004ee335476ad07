"""What the tests of recurrent ops with options share: problems, and how to run them forward and backward by name."""

import itertools

import numpy as np
import reference_recurrent
from recurrent_problems import GATES, relative_error

from fastconv import ops

STEPS, BATCH, FEATURES, HIDDEN, OUTPUTS = 6, 5, 3, 7, 4
LENGTHS = {"whole": None, "ragged": [6, 0, 3, 5, 1], "short": [2, 1, 2, 0, 2]}


def _named(**options):
    return "-".join(f"{name}={value}" for name, value in options.items())


# Every combination of options but the standard unit; arrays stand as True.
LSTMS = [
    {"peepholes": a, "weight_hr": b, "clip": c, "coupled": d}
    for a, b, c, d in itertools.product([False, True], [False, True], [None, 0.6], [False, True])
][1:]
GRUS = [{"reset_after": a, "clip": c} for a, c in itertools.product([True, False], [None, 0.6])][1:]
COMBINATIONS = [("lstm", each) for each in LSTMS] + [("gru", each) for each in GRUS]
COMBINATIONS += [("rnn_tanh", {"clip": 0.6}), ("rnn_relu", {"clip": 0.6})]
NAMES = [f"{kind}-{_named(**options)}" for kind, options in COMBINATIONS]

ACTIVATIONS = [
    "relu", "tanh", "sigmoid", ("leaky_relu", 0.2), ("elu", 0.7), "softsign", "softplus", "hardsigmoid",
    ("hardsigmoid", 0.3, 0.4), ("threshold", 0.1, 0.0), ("affine", 0.5, 0.1), ("scaled_tanh", 0.8, 1.2), "gelu", "silu",
    ("affine", 1.0, 0.0), ("scaled_tanh", 1, 1), ("hardsigmoid", 1, 0), ("hardtanh", -0.5, 0.75),
]  # fmt: skip


class Problem:
    """Operands and options of one call; `options` with arrays in the place of True."""

    def __init__(self, rng, kind, options=None, lengths=None, reverse=False, shape=(STEPS, BATCH, FEATURES, HIDDEN)):
        steps, batch, features, hidden = shape
        options = dict(options or {})
        self.kind, self.name = kind, kind.partition("_")[0]
        outputs = OUTPUTS if options.get("weight_hr") else hidden

        def uniform(*size):
            return rng.uniform(-1, 1, size).astype(np.float32)

        rows = GATES[kind] * hidden
        self.x, self.h = uniform(steps, batch, features), uniform(batch, outputs)
        self.c = uniform(batch, hidden) if kind == "lstm" else None
        self.weights = [uniform(rows, features), uniform(rows, outputs) * 0.7, uniform(rows) * 0.3, uniform(rows) * 0.3]
        for name, array in (("peepholes", uniform(3 * hidden)), ("weight_hr", uniform(outputs, hidden))):
            if name in options:
                options[name] = array if options[name] else None
        self.options = {**options, "reverse": reverse}
        if lengths is not None:
            self.options["lengths"] = np.array(lengths, np.int64)
        self.dy, self.dh = uniform(steps, batch, outputs), uniform(batch, outputs)
        self.dc = uniform(batch, hidden) if kind == "lstm" else None

    @property
    def states(self):
        return (self.h, self.c) if self.kind == "lstm" else (self.h,)

    def _of_the_op(self):
        if self.name == "rnn":
            return {**self.options, "nonlinearity": self.kind.partition("_")[2]}
        return self.options

    def forward(self, training=True):
        """(y, h_last, c_last or None, reserve or None)"""
        op = getattr(ops, self.name + ("_forward" if training else ""))
        y, *states = op(self.x, *self.states, *self.weights, **self._of_the_op())
        reserve = states.pop() if training else None
        return y, states[0], states[1] if self.kind == "lstm" else None, reserve

    def backward(self, y, reserve):
        """{name: gradient}"""
        lasts = (self.dh, self.dc) if self.kind == "lstm" else (self.dh,)
        op = getattr(ops, f"{self.name}_backward")
        operands = self.dy, *lasts, self.x, *self.states, y, reserve, *self.weights[:2]
        names = ["dx", "dh", *(["dc"] if self.kind == "lstm" else []), "dweight_ih", "dweight_hh"]
        names += ["dbias_ih", "dbias_hh"] if self.kind == "gru" else ["dbias_hh"]
        names += [f"d{name}" for name in ("peepholes", "weight_hr") if self.options.get(name) is not None]
        return dict(zip(names, op(*operands, **self._of_the_op()), strict=True))

    def wanted(self):
        return reference_recurrent.recurrent(self.kind, self.x, self.h, self.c, *self.weights, **self.options)

    def wanted_gradients(self):
        gradients = self.dy, self.dh, self.dc
        return reference_recurrent.recurrent_backward(
            self.kind, *gradients, self.x, self.h, self.c, *self.weights, **self.options
        )

    def arrays(self):
        """{name: operand that a gradient belongs to}"""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        arrays = {"x": self.x, "h": self.h, "c": self.c, **dict(zip(names, self.weights, strict=True))}
        arrays.update({name: self.options.get(name) for name in ("peepholes", "weight_hr")})
        return {name: array for name, array in arrays.items() if array is not None}

    def check(self):
        """Forward, inference and backward against the float64 definition."""
        *outputs, reserve = self.forward()
        for got, want in zip(outputs, self.wanted(), strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                tolerance = 1e-6 * max(1.0, np.abs(want).max(initial=0.0))
                np.testing.assert_allclose(got, want, rtol=0, atol=2 * tolerance)
        for got, trained in zip(self.forward(training=False)[:3], outputs, strict=True):
            assert trained is None or np.array_equal(got, trained)
        want = self.wanted_gradients()
        for name, got in self.backward(outputs[0], reserve).items():
            assert got.dtype == np.float32 and got.shape == want[name].shape, name
            assert relative_error(got, want[name]) < 1e-5, name
