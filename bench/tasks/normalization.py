"""Normalisation by statistics of batches, channels, groups, rows and neighbours."""

import numpy as np

from bench.tasks.common import Op, reference, shapes


class Norm(Op):
    """forward: inference, of batch norm with given statistics. training: with those of x, which are kept for backward:
    dx, and the gradients of weight and bias, of which dx alone is compared."""

    size = shapes.Norm
    passes = ("forward", "training", "backward")

    @staticmethod
    def operands(size, pass_, rng):
        def normal():
            n, c, *sizes = size.shape
            return np.moveaxis(rng.standard_normal((n, *sizes, c), np.float32), -1, 1)

        made = {"x": normal()} | ({"dy": normal()} if pass_ == "backward" else {})
        if size.kind == "response":
            return made
        parameters = size.shape[-1] if size.kind in ("layer", "rms") else size.shape[1]
        for name in ("weight",) if size.kind == "rms" else ("weight", "bias"):
            made[name] = rng.standard_normal(parameters, np.float32)
        if size.kind == "batch" and pass_ == "forward":
            made["mean"] = rng.standard_normal(parameters, np.float32)
            made["var"] = rng.uniform(0.5, 2.0, parameters).astype(np.float32)
        return made

    @staticmethod
    def result(size, pass_, operands):
        given = [operands[name] for name in ("weight", "bias") if name in operands]
        x, dy = operands["x"], operands.get("dy")
        if size.kind == "response":
            function = reference.local_response_norm if dy is None else reference.local_response_norm_backward
            return function(*([x] if dy is None else [dy, x]), size.window)
        if size.kind == "batch":
            statistics = [operands[name] for name in ("mean", "var")] if pass_ == "forward" else None
            statistics = statistics or reference.batch_norm_statistics(x)
            if dy is None:
                return reference.batch_norm(x, *statistics, *given)
            return reference.batch_norm_backward(dy, x, *statistics, given[0])[0]
        if size.kind in ("layer", "rms"):
            last = size.shape[-1:]
            if dy is None:
                return getattr(reference, f"{size.kind}_norm")(x, last, *given)
            if size.kind == "rms":
                return reference.rms_norm_backward(dy, x, (x.astype(float) ** 2).mean(axis=-1), last, *given)[0]
            return reference.layer_norm_backward(dy, x, *reference.row_statistics(x, 1), last, given[0])[0]
        groups = size.groups or size.shape[1]
        if dy is None:
            return reference.group_norm(x, groups, *given)
        return reference.group_norm_backward(dy, x, *reference.group_statistics(x, groups), groups, given[0])[0]
