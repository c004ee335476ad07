"""Normalisation: by the native ops where there are any, which training calls, else by autograd."""

import numpy as np
import torch
from torch.nn import functional

from bench.peers.torch.memory import in_mode


def differentiated(function, dy, *operands):
    """A call that gives all gradients of function(*operands) by autograd, and returns the first."""
    given = [value.detach().requires_grad_() for value in operands]
    with torch.enable_grad():
        y = function(*given)
    return lambda: torch.autograd.grad(y, given, dy, retain_graph=True)[0]


def batch(size, held):
    """(forward, gradients of what forward keeps) by the ops that training calls; so too below."""
    x, dy, weight, bias = map(held.get, ("x", "dy", "weight", "bias"))
    aten, rest = torch.ops.aten, (None, None, True, 0.1, 1e-5)
    backward = lambda *kept: aten.native_batch_norm_backward(dy, x, weight, None, None, *kept, True, 1e-5, [True] * 3)
    return lambda: aten.native_batch_norm(x, weight, bias, *rest), backward


def layer(size, held):
    x, dy, weight, bias = map(held.get, ("x", "dy", "weight", "bias"))
    aten, last = torch.ops.aten, list(size.shape[-1:])
    backward = lambda *kept: aten.native_layer_norm_backward(dy, x, last, *kept, weight, bias, [True] * 3)
    return lambda: aten.native_layer_norm(x, last, weight, bias, 1e-5), backward


def group(size, held):
    x, dy, weight, bias = map(held.get, ("x", "dy", "weight", "bias"))
    aten, counts = torch.ops.aten, (size.shape[0], size.shape[1], int(np.prod(size.shape[2:])), size.groups)
    backward = lambda *kept: aten.native_group_norm_backward(dy, x, *kept, weight, *counts, [True] * 3)
    return lambda: aten.native_group_norm(x, weight, bias, *counts, 1e-5), backward


NATIVE = {"batch": batch, "layer": layer, "group": group}


def function_of(size):
    """The function of (x, weight, bias) of a kind without native ops, or of as many of them as it has."""
    return {
        "instance": lambda x, weight, bias: functional.instance_norm(x, weight=weight, bias=bias),
        "rms": lambda x, weight: functional.rms_norm(x, list(size.shape[-1:]), weight),
        "response": lambda x: functional.local_response_norm(x, size.window),
    }[size.kind]


def norm(size, pass_, mode, operands):
    held = in_mode(size, mode, operands)
    if size.kind == "batch" and pass_ == "forward":
        return lambda: functional.batch_norm(held["x"], held["mean"], held["var"], held["weight"], held["bias"])
    if size.kind not in NATIVE:
        function, dy = function_of(size), held.pop("dy", None)
        given = held.values()
        return (lambda: function(*given)) if dy is None else differentiated(function, dy, *given)
    forward, gradients = NATIVE[size.kind](size, held)
    if pass_ != "backward":
        return lambda: forward()[0]
    kept = forward()[1:]
    return lambda: gradients(*kept)[0]
