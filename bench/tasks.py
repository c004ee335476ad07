"""What is timed: an operation, its pass and a problem size, with its data, its right result and what it costs.

Where an operation only multiplies and adds, data are small integers: every method that does so too is then exact in
float32, and a result can be compared with no debate about tolerance. Transforms are allowed their rounding.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

TESTS = str(Path(__file__).resolve().parent.parent / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)  # the shapes and the float64 reference are the tests'

import map_shapes  # noqa: E402
import reference  # noqa: E402
import shapes  # noqa: E402

UNIT_ROUNDOFF = 2.0**-24


def integers(rng, shape):
    """Integers from -4 to 4; maps (N, C, *sizes) in (N, *sizes, C) memory."""
    if len(shape) < 3:
        return rng.integers(-4, 5, shape).astype(np.float32)
    n, c, *sizes = shape
    return np.moveaxis(rng.integers(-4, 5, (n, *sizes, c)).astype(np.float32), -1, 1)


class Conv2d:
    """forward: the weights are constant and may be prepared beforehand, as in inference. forward_unpacked: they are
    given anew with every call, as in training."""

    size = shapes.Conv
    passes = ("forward", "forward_unpacked", "backward_input", "backward_weight")

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds

    @staticmethod
    def operands(size, pass_, rng):
        made = {
            "x": integers(rng, size.x_shape),
            "weight": np.ascontiguousarray(integers(rng, size.weight_shape)),
            "dy": integers(rng, size.y_shape),
        }
        del made[{"backward_input": "x", "backward_weight": "weight"}.get(pass_, "dy")]
        return made

    @staticmethod
    def result(size, pass_, operands):
        if pass_.startswith("forward"):
            return getattr(reference, size.op)(operands["x"], operands["weight"], **size.geometry)
        backward = getattr(reference, f"{size.op}_{pass_}")
        if pass_ == "backward_input":
            return backward(operands["dy"], operands["weight"], size.x_shape, **size.geometry)
        return backward(operands["dy"], operands["x"], size.weight_shape, **size.geometry)[0]

    @classmethod
    def allowed(cls, size, pass_, operands, right):
        """160 u of the largest sum of absolute values: twice what Winograd's F(6x6) may have, which some
        libraries choose by themselves. A wrong index is off by thousands."""
        sums = cls.result(size, pass_, {name: np.abs(value) for name, value in operands.items()})
        return 160 * UNIT_ROUNDOFF * float(sums.max())


class Maps(Conv2d):
    """Convolutions of 1-D and 3-D maps, and transposed ones: fastconv packs their weights at every call."""

    size = map_shapes.Maps
    passes = ("forward", "backward_input", "backward_weight")


class Gemm:
    size = shapes.Gemm
    passes = ("forward",)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds

    @staticmethod
    def operands(size, pass_, rng):
        return {"a": integers(rng, (size.m, size.k)), "b": integers(rng, (size.k, size.n))}

    @staticmethod
    def result(size, pass_, operands):
        return reference.gemm(operands["a"], operands["b"])

    @staticmethod
    def allowed(size, pass_, operands, right):
        return 0.0


def relative(size, pass_, operands, right):
    """1e-5 of the largest result."""
    return 1e-5 * float(np.abs(right).max())


class Pool2d:
    size = shapes.Pool
    passes = ("max", "avg", "max_backward", "avg_backward")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        made = {"x": rng.standard_normal(size.x_shape, np.float32)}  # no ties
        return made | ({"dy": integers(rng, size.y_shape)} if pass_.endswith("backward") else {})

    @staticmethod
    def result(size, pass_, operands):
        rows, columns = (
            reference.adaptive_windows(side, size.output)
            if size.output
            else reference.pool_windows(side, size.kernel, size.stride, size.padding, size.padding)
            for side in (size.h, size.w)
        )
        if pass_ == "avg":
            return reference.avg_pool2d(operands["x"], rows, columns)
        if pass_ == "avg_backward":
            return reference.avg_pool2d_backward(operands["dy"], size.x_shape, rows, columns)
        y, indices = reference.max_pool2d(operands["x"], rows, columns)
        return y if pass_ == "max" else reference.max_pool2d_backward(operands["dy"], indices, size.x_shape)


class Activation:
    size = shapes.Elementwise
    passes = ("relu", "sigmoid", "tanh", "gelu", "silu")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        return {"x": rng.standard_normal(size.count, np.float32) * 3}

    @staticmethod
    def result(size, pass_, operands):
        return reference.activation(pass_, operands["x"])


class Recurrent:
    """training: forward and all gradients; dx is what is compared."""

    size = shapes.Recurrent
    passes = ("forward", "training")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds * (3 if pass_ == "training" else 1)

    @staticmethod
    def operands(size, pass_, rng):
        rows, bound = size.gates * size.hidden, size.hidden**-0.5
        made = {
            "x": rng.standard_normal((size.steps, size.batch, size.inputs), np.float32),
            "weight_ih": rng.uniform(-bound, bound, (rows, size.inputs)).astype(np.float32),
            "weight_hh": rng.uniform(-bound, bound, (rows, size.hidden)).astype(np.float32),
        }
        dy = rng.standard_normal((size.steps, size.batch, size.hidden), np.float32)
        return made | ({"dy": dy} if pass_ == "training" else {})

    @staticmethod
    def result(size, pass_, operands):
        weights = operands["weight_ih"], operands["weight_hh"], None, None
        if pass_ == "forward":
            return reference.recurrent(size.kind, operands["x"], None, None, *weights)[0]
        gradients = reference.recurrent_backward(
            size.kind, operands["dy"], None, None, operands["x"], None, None, *weights
        )
        return gradients[0]


OPS = {
    "conv2d": Conv2d,
    "maps": Maps,
    "gemm": Gemm,
    "pool2d": Pool2d,
    "activation": Activation,
    "recurrent": Recurrent,
}


class Task(NamedTuple):
    """One call to be timed: op, pass and a size from tests/shapes.py."""

    op: str
    pass_: str
    size: tuple

    def dumps(self):
        return json.dumps([self.op, self.pass_, self.size._asdict()])

    @classmethod
    def loads(cls, text):
        op, pass_, size = json.loads(text)
        return cls(op, pass_, OPS[op].size(**{name: _tuples(value) for name, value in size.items()}))

    @property
    def name(self):
        return f"{self.op} {self.size.name} {self.pass_}"

    @property
    def flops(self):
        """Floating-point operations by the direct algorithm; 0 where an op moves more than it computes."""
        return OPS[self.op].flops(self.size, self.pass_)

    def operands(self):
        """The arrays it is given: the same for every library."""
        return OPS[self.op].operands(self.size, self.pass_, np.random.default_rng(20))

    def expected(self, operands):
        """The right result, by tests/reference.py, rounded to float32."""
        return OPS[self.op].result(self.size, self.pass_, operands).astype(np.float32)

    def allowed(self, operands, right):
        """The largest error of an element that is rounding, for any method."""
        return OPS[self.op].allowed(self.size, self.pass_, operands, right)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
