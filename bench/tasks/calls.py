"""What a call costs beside its work."""

import numpy as np

from bench.tasks.common import Op, reference, shapes


class Call(Op):
    """A call from Python as a user writes it, without `out=`, on arrays in C order; the pass is the op."""

    size = shapes.Tiny
    passes = ("relu", "softmax", "linear", "conv2d", "max_pool2d")

    @staticmethod
    def operands(size, pass_, rng):
        listed = size.shapes(pass_)
        return {name: rng.standard_normal(shape, np.float32) for name, shape in zip("xw", listed, strict=False)}

    @staticmethod
    def result(size, pass_, operands):
        x, weight = operands["x"], operands.get("w")
        if pass_ == "relu":
            return reference.activation("relu", x)
        if pass_ == "softmax":
            return reference.softmax(x)
        if pass_ == "linear":
            return reference.gemm(x, weight.T)
        if pass_ == "conv2d":
            return reference.conv2d(x, weight, padding=((1, 1), (1, 1)))
        windows = [reference.pool_windows(side, 2, 2, 0, 0) for side in x.shape[2:]]
        return reference.max_pool2d(x, *windows)[0]
