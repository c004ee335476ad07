"""PyTorch: NCHW, channels-last, and oneDNN's own weight format prepared beforehand (what its compiler calls)."""

import numpy as np
import torch
from torch.nn import functional

from bench import tasks
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


def interpolate(size, pass_, mode, operands):
    kind = pass_.removesuffix("_backward")
    if pass_ == kind:
        x = tensor(operands["x"], mode)
        return lambda: functional.interpolate(x, scale_factor=size.factor, mode=kind)
    dy, sides = tensor(operands["dy"], mode), list(size.y_shape[2:])
    backward = getattr(torch.ops.aten, f"upsample_{kind}2d_backward")
    corners = () if kind == "nearest" else (False,)
    return lambda: backward(dy, sides, size.x_shape, *corners, float(size.factor), float(size.factor))


def rearrange(size, pass_, mode, operands):
    x = tensor(next(iter(operands.values())), mode)
    if pass_ in ("pixel_shuffle", "pixel_unshuffle"):
        # Without a copy some results are views of what another op would have to copy.
        function = getattr(functional, pass_)
        return lambda: function(x, size.factor)
    if pass_ == "channel_shuffle":
        return lambda: torch.channel_shuffle(x, size.groups)
    if pass_ == "unfold":
        return lambda: functional.unfold(x, **size.windows)
    if pass_ == "fold":
        if mode == "channels_last":
            raise Unsupported("columns have one memory order")
        return lambda: functional.fold(x, size.x_shape[2:], **size.windows)
    sides = [size.padding] * 4
    if pass_ == "pad":
        return lambda: functional.pad(x, sides, mode="reflect")
    like = tensor(np.empty(size.x_shape, np.float32), mode)  # its shape alone is used
    return lambda: torch.ops.aten.reflection_pad2d_backward(x, like, sides)


def dropout(pass_, operands):
    """(call, fetch)"""
    x, p = torch.from_numpy(operands["x"]), tasks.Dropout.p
    if pass_ == "forward":
        return lambda: functional.dropout(x, p), lambda y: tasks.Dropout.recovered(operands, y.numpy())
    x.requires_grad_(True)
    dy = torch.from_numpy(operands["dy"])

    def training():
        x.grad = None
        with torch.enable_grad():
            y = functional.dropout(x, p)
            y.backward(dy)
        return y, x.grad

    def fetch(result):
        return tasks.Dropout.recovered(operands, *(part.detach().numpy() for part in result))

    return training, fetch


def tiny(op, operands):
    """With the arguments written out, as in a program."""
    if op == "relu":
        (x,) = operands
        return lambda: torch.relu(x)
    if op == "softmax":
        (x,) = operands
        return lambda: torch.softmax(x, -1)
    if op == "max_pool2d":
        (x,) = operands
        return lambda: functional.max_pool2d(x, 2)
    x, weight = operands
    if op == "linear":
        return lambda: functional.linear(x, weight)
    return lambda: functional.conv2d(x, weight, padding=1)


def activation(name, operands):
    """The backward passes by the operators that autograd calls."""
    arrays = [torch.from_numpy(value) for value in operands.values()]
    if name == "relu_backward":
        return lambda: torch.ops.aten.threshold_backward(*arrays, 0)
    if "dy" in operands:
        function = getattr(torch.ops.aten, name)
        return lambda: function(*arrays)
    function = getattr(torch, name, None) or getattr(functional, name)
    return lambda: function(*arrays)


def in_mode(size, mode, operands):
    if mode == "channels_last" and len(size.shape) not in CHANNELS_LAST:
        raise Unsupported("images alone have channels-last memory")
    return [tensor(value, mode if value.ndim == len(size.shape) else "nchw") for value in operands.values()]


def softmax(size, pass_, mode, operands):
    """By the ops behind torch.softmax and its gradient, into memory that is there already.

    But for channels-last images, of which out= is written in another order."""
    values, place = in_mode(size, mode, operands), f"_{pass_}"
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


def cross_entropy(size, mode, operands):
    """Classes on the second axis, as torch has them."""
    if size.axis not in (1, len(size.shape) - 1, -1) or (size.axis == -1 and len(size.shape) != 2):
        raise Unsupported("classes on the second axis alone")
    logits, labels = in_mode(size, mode, operands)
    logits.requires_grad_(True)

    def training():
        logits.grad = None
        with torch.enable_grad():
            functional.cross_entropy(logits, labels).backward()
        return logits.grad

    return training


def differentiated(function, dy, *operands):
    """A call that gives all gradients of function(*operands) by autograd, and returns the first."""
    given = [value.detach().requires_grad_() for value in operands]
    with torch.enable_grad():
        y = function(*given)
    return lambda: torch.autograd.grad(y, given, dy, retain_graph=True)[0]


def norm(size, pass_, mode, operands):
    """By the native ops where there are any, which training calls, else by autograd."""
    if mode == "channels_last" and len(size.shape) not in CHANNELS_LAST:
        raise Unsupported("there is no channels-last memory of rows")
    held = {key: tensor(value, mode if value.ndim > 2 else "nchw") for key, value in operands.items()}
    x, dy, weight, bias = map(held.get, ("x", "dy", "weight", "bias"))
    aten, last, forward = torch.ops.aten, list(size.shape[-1:]), pass_ != "backward"
    if size.kind == "batch":
        if pass_ == "forward":
            return lambda: functional.batch_norm(x, held["mean"], held["var"], weight, bias)
        run = lambda: aten.native_batch_norm(x, weight, bias, None, None, True, 0.1, 1e-5)
        gradients = lambda *kept: aten.native_batch_norm_backward(
            dy, x, weight, None, None, *kept, True, 1e-5, [True] * 3
        )
    elif size.kind == "layer":
        run = lambda: aten.native_layer_norm(x, last, weight, bias, 1e-5)
        gradients = lambda *kept: aten.native_layer_norm_backward(dy, x, last, *kept, weight, bias, [True] * 3)
    elif size.kind == "group":
        counts = size.shape[0], size.shape[1], int(np.prod(size.shape[2:])), size.groups
        run = lambda: aten.native_group_norm(x, weight, bias, *counts, 1e-5)
        gradients = lambda *kept: aten.native_group_norm_backward(dy, x, *kept, weight, *counts, [True] * 3)
    else:
        function, parameters = {
            "instance": (lambda x, weight, bias: functional.instance_norm(x, weight=weight, bias=bias), (weight, bias)),
            "rms": (lambda x, weight: functional.rms_norm(x, last, weight), (weight,)),
            "response": (lambda x: functional.local_response_norm(x, size.window), ()),
        }[size.kind]
        return (lambda: function(x, *parameters)) if forward else differentiated(function, dy, x, *parameters)
    if forward:
        return lambda: run()[0]
    kept = run()[1:]
    return lambda: gradients(*kept)[0]


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
        out = torch.empty(task.size.c_shape)
        call = (lambda: functional.linear(a, b)) if task.size.linear else (lambda: torch.matmul(a, b, out=out))
    elif task.op == "pool2d":
        call = pool2d(task.size, task.pass_, mode, operands)
    elif task.op in ("interpolate", "rearrange"):
        kind = {"interpolate": interpolate, "rearrange": rearrange}[task.op]
        call = kind(task.size, task.pass_, mode, operands)
    elif task.op == "dropout":
        return dropout(task.pass_, operands)
    elif task.op == "norm":
        call = norm(task.size, task.pass_, mode, operands)
    elif task.op == "activation":
        call = activation(task.pass_, operands)
    elif task.op == "elementwise":
        a, b = (tensor(operands[name], mode) for name in "ab")
        function, out = torch.mul if task.pass_ in ("mul", "gate") else torch.add, torch.empty_like(a)
        call = lambda: function(a, b, out=out)
    elif task.op == "call":
        call = tiny(task.pass_, [torch.from_numpy(operand) for operand in operands.values()])
    elif task.op == "softmax":
        call = softmax(task.size, task.pass_, mode, operands)
    elif task.op == "cross_entropy":
        call = cross_entropy(task.size, mode, operands)
    else:
        call = recurrent(task.size, task.pass_, operands)
    return call, lambda result: result.detach().numpy()
