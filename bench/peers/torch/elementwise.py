"""Functions of one number, and sums and products of images."""

import torch
from torch.nn import functional

from bench.peers.torch.memory import tensor


def activation(size, name, mode, operands):
    """The backward passes by the operators that autograd calls."""
    arrays = [torch.from_numpy(value) for value in operands.values()]
    if name == "relu_backward":
        return lambda: torch.ops.aten.threshold_backward(*arrays, 0)
    if "dy" in operands:
        function = getattr(torch.ops.aten, name)
        return lambda: function(*arrays)
    function = getattr(torch, name, None) or getattr(functional, name)
    return lambda: function(*arrays)


def elementwise(size, pass_, mode, operands):
    a, b = (tensor(operands[name], mode) for name in "ab")
    function, out = torch.mul if pass_ in ("mul", "gate") else torch.add, torch.empty_like(a)
    return lambda: function(a, b, out=out)
