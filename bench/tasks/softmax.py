"""Softmax, its logarithm, and the losses on it."""

import numpy as np

from bench.tasks.common import Op, reference, reference_ctc, shapes


def rows(size, rng, scale=1.0):
    """Reals of this shape, in its memory order."""
    values = rng.standard_normal(size.shape, np.float32) * np.float32(scale)
    if size.channels_last:
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return values


class Softmax(Op):
    """The backward passes take the result of the forward one."""

    size = shapes.Rows
    passes = ("softmax", "log_softmax", "softmax_backward", "log_softmax_backward")

    @staticmethod
    def operands(size, pass_, rng):
        x = rows(size, rng, 3.0)
        if not pass_.endswith("backward"):
            return {"x": x}
        y = getattr(reference, pass_.removesuffix("_backward"))(x, size.axis)
        return {"dy": rows(size, rng), "y": np.asarray(y, np.float32, order="K")}

    @staticmethod
    def result(size, pass_, operands):
        return getattr(reference, pass_)(*operands.values(), size.axis)


class CrossEntropy(Op):
    """training: the gradient of the mean loss, the loss being computed on the way."""

    size = shapes.Rows
    passes = ("training",)

    @staticmethod
    def operands(size, pass_, rng):
        others = np.delete(np.array(size.shape), size.axis)
        return {"logits": rows(size, rng, 3.0), "labels": rng.integers(0, size.shape[size.axis], others)}

    @staticmethod
    def result(size, pass_, operands):
        return reference.softmax_cross_entropy(operands["logits"], operands["labels"], axis=size.axis)[1]


class Ctc(Op):
    """training: the gradient of the mean loss, the loss being computed on the way."""

    size = shapes.Transcription
    passes = ("training",)

    @staticmethod
    def operands(size, pass_, rng):
        logits = rng.standard_normal((size.steps, size.batch, size.classes), np.float32)
        return {"logits": logits, "targets": rng.integers(1, size.classes, (size.batch, size.labels))}

    @staticmethod
    def result(size, pass_, operands):
        logits, targets = operands.values()
        return reference_ctc.ctc_loss(logits, targets, [size.steps] * size.batch)[1]

    @staticmethod
    def allowed(size, pass_, operands, right):
        """Logarithms in float32, as PyTorch takes them, lose digits as they grow."""
        return 1e-5 * size.steps * float(np.abs(right).max())
