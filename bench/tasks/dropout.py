"""Random masks."""

import numpy as np

from bench.tasks.common import Op, shapes


class Dropout(Op):
    """p = 0.3. training: forward and backward. Masks are random: what is compared is x, recovered from the result by
    `compared`."""

    size = shapes.Elementwise
    passes = ("forward", "training")
    p = 0.3

    @staticmethod
    def operands(size, pass_, rng):
        x = rng.integers(1, 5, size.count).astype(np.float32)
        return {"x": x} | ({"dy": rng.integers(1, 5, size.count).astype(np.float32)} if pass_ == "training" else {})

    @staticmethod
    def result(size, pass_, operands):
        return operands["x"]

    @classmethod
    def compared(cls, operands, result):
        """x, where the result y is it dropped out as it should be (in training (y, dx), and dx is dy dropped out by
        the same mask); NaN where it is not."""
        y, dx = result if isinstance(result, tuple) else (result, None)
        kept = y != 0
        x = np.where(kept, y * (1 - cls.p), operands["x"])
        if abs(kept.mean() - (1 - cls.p)) > 5 * np.sqrt(cls.p * (1 - cls.p) / y.size):
            x[:] = np.nan
        if dx is not None:
            right = np.where(kept, operands["dy"] / (1 - cls.p), 0)
            x[abs(dx - right) > 1e-5 * np.abs(right)] = np.nan
        return x.astype(np.float32)
