"""Convolutions of every rank, transposed ones too: sums of products of integers."""

import numpy as np

from bench.tasks.common import UNIT_ROUNDOFF, Op, integers, map_shapes, reference, shapes


class Conv2d(Op):
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
