"""What is timed: an operation, its pass and a problem size, with its data, its right result and what it costs.

Data are small integers, for which every method that only multiplies and adds is exact in float32, so that a result can
be compared with no debate about tolerance. Transforms (Winograd, activations) are allowed the error of NUMERICS.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

TESTS = str(Path(__file__).resolve().parent.parent / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)  # the shapes and the float64 reference are the tests'

import reference  # noqa: E402
import shapes  # noqa: E402

# forward: weights are constant and may be prepared beforehand, as in inference. forward_unpacked: they are given anew
# with every call, as in training.
CONV2D_PASSES = ("forward", "forward_unpacked", "backward_input", "backward_weight")
SIZES = {"conv2d": shapes.Conv, "gemm": shapes.Gemm}
# Largest error of a result: of an element, as a share of the largest sum of the absolute values of its terms.
# 80 u is what Winograd's F(6x6) is allowed, which some libraries choose by themselves.
TOLERANCE = 80 * 2.0**-24


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
        return cls(op, pass_, SIZES[op](**{name: _tuples(value) for name, value in size.items()}))

    @property
    def name(self):
        return f"{self.op} {self.size.name} {self.pass_}"

    @property
    def flops(self):
        """Floating-point operations by the direct algorithm."""
        return 2 * self.size.multiply_adds

    @property
    def bytes(self):
        """Bytes of all operands, each read or written once."""
        return 4 * sum(int(np.prod(array.shape)) for array in (*arrays(self).values(), expected(self)))


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def images(rng, shape):
    """Integers from -4 to 4 of an NCHW shape in NHWC memory."""
    n, c, h, w = shape
    return rng.integers(-4, 5, (n, h, w, c)).astype(np.float32).transpose(0, 3, 1, 2)


def arrays(task):
    """The operands: the same for every library."""
    rng, size = np.random.default_rng(20), task.size
    if task.op == "conv2d":
        operands = {
            "x": images(rng, size.x_shape),
            "weight": rng.integers(-4, 5, size.weight_shape).astype(np.float32),
            "dy": images(rng, size.y_shape),
        }
        left_out = {"backward_input": "x", "backward_weight": "weight"}.get(task.pass_, "dy")
        return {name: value for name, value in operands.items() if name != left_out}
    return {
        "a": rng.integers(-4, 5, (size.m, size.k)).astype(np.float32),
        "b": rng.integers(-4, 5, (size.k, size.n)).astype(np.float32),
    }


def define(task, operands):
    """The result in float64, by tests/reference.py."""
    size = task.size
    if task.op == "gemm":
        return reference.gemm(operands["a"], operands["b"])
    if task.pass_ == "backward_input":
        return reference.conv2d_backward_input(operands["dy"], operands["weight"], size.x_shape, **size.geometry)
    if task.pass_ == "backward_weight":
        return reference.conv2d_backward_weight(operands["dy"], operands["x"], size.weight_shape, **size.geometry)[0]
    return reference.conv2d(operands["x"], operands["weight"], **size.geometry)


def expected(task):
    """The right result, float32."""
    return define(task, arrays(task)).astype(np.float32)


def scale(task):
    """The largest sum of the absolute values of the terms of an element of the result: what rounding is relative to."""
    return float(define(task, {name: np.abs(value) for name, value in arrays(task).items()}).max())
