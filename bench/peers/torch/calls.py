"""Calls on operands of a few numbers."""

import torch
from torch.nn import functional


def tiny(size, op, mode, operands):
    """With the arguments written out, as in a program."""
    x, *weight = map(torch.from_numpy, operands.values())
    if op == "relu":
        return lambda: torch.relu(x)
    if op == "softmax":
        return lambda: torch.softmax(x, -1)
    if op == "max_pool2d":
        return lambda: functional.max_pool2d(x, 2)
    (weight,) = weight
    if op == "linear":
        return lambda: functional.linear(x, weight)
    return lambda: functional.conv2d(x, weight, padding=1)
