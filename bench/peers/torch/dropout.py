"""Random masks."""

import torch
from torch.nn import functional

from bench import tasks


def dropout(size, pass_, mode, operands):
    x, p = torch.from_numpy(operands["x"]), tasks.OPS["dropout"].p
    if pass_ == "forward":
        return lambda: functional.dropout(x, p)
    x.requires_grad_(True)
    dy = torch.from_numpy(operands["dy"])

    def training():
        x.grad = None
        with torch.enable_grad():
            y = functional.dropout(x, p)
            y.backward(dy)
        return y, x.grad

    return training
