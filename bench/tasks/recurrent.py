"""Recurrent layers over whole sequences."""

import numpy as np

from bench.tasks.common import Op, reference, shapes


class Recurrent(Op):
    """training: forward and all gradients, backward: the gradients alone; dx is what is compared."""

    size = shapes.Recurrent
    passes = ("forward", "training")
    for_marks = ("backward",)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds * {"forward": 1, "backward": 2, "training": 3}[pass_]

    @staticmethod
    def operands(size, pass_, rng):
        rows, bound = size.gates * size.hidden, size.hidden**-0.5
        made = {
            "x": rng.standard_normal((size.steps, size.batch, size.inputs), np.float32),
            "weight_ih": rng.uniform(-bound, bound, (rows, size.inputs)).astype(np.float32),
            "weight_hh": rng.uniform(-bound, bound, (rows, size.hidden)).astype(np.float32),
        }
        dy = rng.standard_normal((size.steps, size.batch, size.hidden), np.float32)
        return made | ({} if pass_ == "forward" else {"dy": dy})

    @staticmethod
    def result(size, pass_, operands):
        weights = operands["weight_ih"], operands["weight_hh"], None, None
        if pass_ == "forward":
            return reference.recurrent(size.kind, operands["x"], None, None, *weights)[0]
        gradients = reference.recurrent_backward(
            size.kind, operands["dy"], None, None, operands["x"], None, None, *weights
        )
        return gradients[0]
