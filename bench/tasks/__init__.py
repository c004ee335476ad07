"""What is timed: an operation, its pass and a problem size, with its data, its right result and what it costs.

Where an operation only multiplies and adds, data are small integers: every method that does so too is then exact in
float32, and a result can be compared with no debate about tolerance. Transforms are allowed their rounding.
A new operation is a class of a module here, and a line of OPS.
"""

import json
from typing import NamedTuple

import numpy as np

from bench.tasks.calls import Call
from bench.tasks.common import TESTS, map_shapes, reference, shapes
from bench.tasks.convolution import Conv2d, Maps
from bench.tasks.dropout import Dropout
from bench.tasks.elementwise import Activation, Elementwise
from bench.tasks.normalization import Norm
from bench.tasks.pooling import Pool2d
from bench.tasks.products import Gemm
from bench.tasks.recurrent import Recurrent
from bench.tasks.resampling import Interpolate, Rearrange
from bench.tasks.softmax import CrossEntropy, Ctc, Softmax

__all__ = ["OPS", "TESTS", "Task", "map_shapes", "reference", "shapes"]

OPS = {
    "conv2d": Conv2d,
    "maps": Maps,
    "gemm": Gemm,
    "pool2d": Pool2d,
    "interpolate": Interpolate,
    "rearrange": Rearrange,
    "dropout": Dropout,
    "activation": Activation,
    "elementwise": Elementwise,
    "softmax": Softmax,
    "cross_entropy": CrossEntropy,
    "ctc": Ctc,
    "norm": Norm,
    "recurrent": Recurrent,
    "call": Call,
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

    def compared(self, operands, result):
        """What of a library's result (an array or several) is compared with the right one."""
        return OPS[self.op].compared(operands, result)

    def allowed(self, operands, right):
        """The largest error of an element that is rounding, for any method."""
        return OPS[self.op].allowed(self.size, self.pass_, operands, right)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
