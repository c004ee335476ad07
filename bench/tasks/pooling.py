"""Pooling with windows, global and adaptive."""

import numpy as np

from bench.tasks.common import Op, integers, reference, shapes


class Pool2d(Op):
    size = shapes.Pool
    passes = ("max", "avg", "max_backward", "avg_backward")

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
