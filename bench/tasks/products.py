"""Products of matrices."""

import numpy as np

from bench.tasks.common import Op, shapes


class Gemm(Op):
    size = shapes.Gemm
    passes = ("forward",)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds

    @staticmethod
    def operands(size, pass_, rng):
        a, b = rng.integers(-4, 5, size.a_shape), rng.integers(-4, 5, size.b_shape)
        return {"a": a.astype(np.float32), "b": b.astype(np.float32)}

    @staticmethod
    def result(size, pass_, operands):
        b = operands["b"].swapaxes(-1, -2) if size.linear else operands["b"]
        return operands["a"].astype(np.float64) @ b.astype(np.float64)

    @staticmethod
    def allowed(size, pass_, operands, right):
        return 0.0
