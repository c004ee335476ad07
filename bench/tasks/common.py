"""What all operations share: the tests' shapes and float64 definitions, operands, the error that is allowed."""

import sys
from pathlib import Path

import numpy as np

TESTS = str(Path(__file__).resolve().parents[2] / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)  # the shapes and the float64 reference are the tests'

import map_shapes  # noqa: E402, F401
import reference  # noqa: E402, F401
import reference_ctc  # noqa: E402, F401
import shapes  # noqa: E402, F401

UNIT_ROUNDOFF = 2.0**-24


class Op:
    """One operation. A class of it says its kind of `size`, its `passes`, its `operands` and its right `result`."""

    size: type
    passes: tuple
    for_marks = ()  # passes that bench.marks alone times

    @staticmethod
    def flops(size, pass_):
        """Floating-point operations; 0 where it moves more than it computes."""
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        """{name: array}, in the order of the op's arguments."""
        raise NotImplementedError

    @staticmethod
    def result(size, pass_, operands):
        """The right result, in float64."""
        raise NotImplementedError

    @staticmethod
    def compared(operands, result):
        """What of a library's result is compared with the right one."""
        return result

    @staticmethod
    def allowed(size, pass_, operands, right):
        """The largest error that is rounding: 1e-5 of the largest result."""
        return 1e-5 * float(np.abs(right).max())


def integers(rng, shape):
    """Integers from -4 to 4; maps (N, C, *sizes) in (N, *sizes, C) memory."""
    if len(shape) < 3:
        return rng.integers(-4, 5, shape).astype(np.float32)
    n, c, *sizes = shape
    return np.moveaxis(rng.integers(-4, 5, (n, *sizes, c)).astype(np.float32), -1, 1)
