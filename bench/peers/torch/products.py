"""Products of matrices."""

import torch
from torch.nn import functional


def gemm(size, pass_, mode, operands):
    a, b = (torch.from_numpy(operands[name]) for name in "ab")
    if size.linear:
        return lambda: functional.linear(a, b)
    out = torch.empty(size.c_shape)
    return lambda: torch.matmul(a, b, out=out)
