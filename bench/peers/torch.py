"""PyTorch: NCHW, channels-last, and oneDNN's own weight format prepared beforehand (what its compiler calls)."""

import numpy as np
import torch
from torch.nn import functional

from bench.peers import Unsupported

VERSION = torch.__version__


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def tensor(array, mode):
    result = torch.from_numpy(np.ascontiguousarray(array))
    if mode == "nchw" or result.dim() not in CHANNELS_LAST:
        return result
    return result.to(memory_format=CHANNELS_LAST[result.dim()])


def prepacked(size, operands, pads):
    """forward on channels-last images with weights in the blocked format oneDNN asks for."""
    x, weight = (tensor(operands[name], "channels_last") for name in ("x", "weight"))
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        weight, pads, list(size.stride), list(size.dilation), size.groups, list(size.x_shape)
    )
    rest = pads, list(size.stride), list(size.dilation), size.groups, "none", [], ""
    return lambda: torch.ops.mkldnn._convolution_pointwise(x, packed, None, *rest)


def convolution(size, pass_, mode, operands):
    """By aten::convolution, the op behind all of torch.nn.functional's."""
    if any(first != last for first, last in size.sides):
        raise Unsupported("asymmetric padding is a copy of its own")
    if mode == "channels_last" and len(size.x_shape) not in CHANNELS_LAST:
        raise Unsupported("there is no channels-last memory of sequences")
    pads = [first for first, _ in size.sides]
    if mode == "prepacked":
        return prepacked(size, operands, pads)
    output_pads = size.each("output_padding") if size.transposed else [0] * len(pads)
    geometry = size.each("stride"), pads, size.each("dilation"), size.transposed, output_pads, size.groups
    held = {name: tensor(value, mode) for name, value in operands.items()}
    if pass_.startswith("forward"):
        return lambda: torch.convolution(held["x"], held["weight"], None, *geometry)
    x = held.get("x", torch.empty(0))
    weight = held.get("weight", torch.empty(0))
    if pass_ == "backward_input":
        x = tensor(np.empty(size.x_shape, np.float32), mode)  # its shape alone is used
        mask, index = (True, False, False), 0
    else:
        weight = tensor(np.empty(size.weight_shape, np.float32), mode)
        mask, index = (False, True, True), 1
    return lambda: torch.ops.aten.convolution_backward(held["dy"], x, weight, [size.k], *geometry, mask)[index]


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


def recurrent(size, pass_, operands):
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[size.kind]
    layer = kind(size.inputs, size.hidden, bias=False)
    layer.load_state_dict({f"weight_{part}_l0": torch.from_numpy(operands[f"weight_{part}"]) for part in ("ih", "hh")})
    x = torch.from_numpy(operands["x"])
    if pass_ == "forward":
        layer.eval()
        return lambda: layer(x)[0]
    x.requires_grad_(True)
    dy = torch.from_numpy(operands["dy"])

    def training():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        with torch.enable_grad():
            layer(x)[0].backward(dy)
        return x.grad

    return training


def configure(options):
    torch.set_num_threads(options["threads"])
    torch.set_grad_enabled(False)


def prepare(task, mode, options, operands):
    if task.op in ("conv2d", "maps"):
        call = convolution(task.size, task.pass_, mode, operands)
    elif task.op == "gemm":
        a, b = (torch.from_numpy(operands[name]) for name in "ab")
        out = torch.empty(task.size.m, task.size.n)
        call = lambda: torch.mm(a, b, out=out)
    elif task.op == "pool2d":
        call = pool2d(task.size, task.pass_, mode, operands)
    elif task.op == "activation":
        x = torch.from_numpy(operands["x"])
        function = getattr(torch, task.pass_, None) or getattr(functional, task.pass_)
        call = lambda: function(x)
    else:
        call = recurrent(task.size, task.pass_, operands)
    return call, lambda result: result.detach().numpy()
