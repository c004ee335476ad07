"""Pooling with windows, global and adaptive."""

import torch
from torch.nn import functional

from bench.peers.torch.memory import tensor


def adaptive_pool2d(size, pass_, mode, operands):
    x, output, aten = tensor(operands["x"], mode), (size.output, size.output), torch.ops.aten
    if pass_ == "max":
        return lambda: functional.adaptive_max_pool2d(x, output)
    if pass_ == "avg":
        return lambda: functional.adaptive_avg_pool2d(x, output)
    dy = tensor(operands["dy"], mode)
    if pass_ == "avg_backward":
        return lambda: aten._adaptive_avg_pool2d_backward(dy, x)
    _, indices = aten.adaptive_max_pool2d(x, output)
    return lambda: aten.adaptive_max_pool2d_backward(dy, x, indices)


def pool2d(size, pass_, mode, operands):
    if size.output:
        return adaptive_pool2d(size, pass_, mode, operands)
    x, window = tensor(operands["x"], mode), (size.kernel, size.stride, size.padding)
    if pass_ == "max":
        return lambda: functional.max_pool2d(x, *window)
    if pass_ == "avg":
        return lambda: functional.avg_pool2d(x, *window)
    dy, pairs = tensor(operands["dy"], mode), [(value, value) for value in window]
    if pass_ == "avg_backward":
        return lambda: torch.ops.aten.avg_pool2d_backward(dy, x, *pairs, False, True, None)
    _, indices = torch.ops.aten.max_pool2d_with_indices(x, *pairs)
    return lambda: torch.ops.aten.max_pool2d_with_indices_backward(dy, x, *pairs, (1, 1), False, indices)
