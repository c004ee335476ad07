"""Softmax, its logarithm, and the losses on it."""

import torch
from torch.nn import functional

from bench.peers import Unsupported
from bench.peers.torch.memory import in_mode


def softmax(size, pass_, mode, operands):
    """By the ops behind torch.softmax and its gradient, into memory that is there already.

    But for channels-last images, of which out= is written in another order."""
    values, place = list(in_mode(size, mode, operands).values()), f"_{pass_}"
    if mode == "channels_last":
        backward = pass_.endswith("backward")
        function = getattr(torch.ops.aten, f"{place}_data" if backward else place)
        more = [size.axis, torch.float32 if backward else False]
        return lambda: function(*values, *more)
    out = torch.empty_like(values[0])
    if pass_.endswith("backward"):
        function = getattr(torch.ops.aten, f"{place}_data").out
        named = {"out" if pass_.startswith("log") else "grad_input": out}
        return lambda: function(*values, size.axis, torch.float32, **named)
    function = getattr(torch.ops.aten, place).out
    return lambda: function(values[0], size.axis, False, out=out)


def cross_entropy(size, pass_, mode, operands):
    """Classes on the second axis, as torch has them."""
    if size.axis not in (1, len(size.shape) - 1, -1) or (size.axis == -1 and len(size.shape) != 2):
        raise Unsupported("classes on the second axis alone")
    logits, labels = in_mode(size, mode, operands).values()
    logits.requires_grad_(True)

    def training():
        logits.grad = None
        with torch.enable_grad():
            functional.cross_entropy(logits, labels).backward()
        return logits.grad

    return training


def ctc(size, pass_, mode, operands):
    logits, targets = map(torch.from_numpy, operands.values())
    lengths, counts = torch.full((size.batch,), size.steps), torch.full((size.batch,), size.labels)
    logits.requires_grad_(True)

    def training():
        logits.grad = None
        with torch.enable_grad():
            functional.ctc_loss(functional.log_softmax(logits, 2), targets, lengths, counts).backward()
        return logits.grad

    return training
