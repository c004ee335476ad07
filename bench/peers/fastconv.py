"""fastconv itself, timed like the others. A mode is an algorithm: "auto" or a forced one.

Each function takes (size, pass, mode, operands) and returns the call that is timed.
"""

import time

import numpy as np

import fastconv
from bench import tasks
from bench.peers import Unsupported
from fastconv import losses, ops, runtime
from fastconv.ops._arrays import empty_images, empty_like

VERSION = fastconv.__version__
BEST_ISA = runtime.isa()


def as_an_op_leaves_it(array):
    """An image in memory that fastconv allocated: inside a network, an operand is the result of an op before it."""
    image, memory = empty_images(*array.shape)
    memory[...] = np.moveaxis(array, 1, -1)
    return image


def run_convolution(size, pass_, geometry, operands):
    """Of any rank, transposed or not."""
    operands = operands | {key: as_an_op_leaves_it(operands[key]) for key in ("x", "dy") if key in operands}
    x, weight, dy = map(operands.get, ("x", "weight", "dy"))
    if pass_.startswith("forward"):
        function = getattr(ops, size.op)
        y = function(x, weight, **geometry)
        return lambda: function(x, weight, out=y, **geometry)
    backward = getattr(ops, f"{size.op}_{pass_}")
    if pass_ == "backward_input":
        return lambda: backward(dy, weight, size.x_shape, **geometry)
    return lambda: backward(dy, x, size.weight_shape, **geometry)[0]


def conv2d(size, pass_, algorithm, operands):
    geometry = size.geometry | {"algorithm": algorithm}
    try:
        ops.conv2d_plan(size.x_shape, size.weight_shape, **geometry)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if pass_ == "forward":
        packed = ops.conv2d_pack(operands["weight"], size.x_shape, **geometry)
        operands = operands | {"weight": packed}
    return run_convolution(size, pass_, geometry, operands)


def maps(size, pass_, mode, operands):
    return run_convolution(size, pass_, size.geometry, operands)


def gemm(size, pass_, mode, operands):
    a, b, out = operands["a"], operands["b"], np.empty(size.c_shape, np.float32)
    if size.linear:
        return lambda: ops.linear(a, b)
    return lambda: ops.matmul(a, b, out=out)


def pool2d(size, pass_, mode, operands):
    """Into memory of an earlier result, as inside a network's step."""
    x, geometry = as_an_op_leaves_it(operands["x"]), {"stride": size.stride, "padding": size.padding}
    prefix, window = ("adaptive_", (size.output,)) if size.output else ("", (size.kernel,))
    geometry = {} if size.output else geometry
    if not pass_.endswith("backward"):
        function = getattr(ops, f"{prefix}{pass_}_pool2d")
        y = function(x, *window, **geometry)
        return lambda: function(x, *window, out=y, **geometry)
    dy, rest = as_an_op_leaves_it(operands["dy"]), (x.shape, *(() if size.output else window))
    if pass_ == "max_backward":
        _, indices = getattr(ops, f"{prefix}max_pool2d")(x, *window, **geometry, return_indices=True)
        rest = indices, *rest
    backward = getattr(ops, f"{prefix}{pass_.removesuffix('_backward')}_pool2d_backward")
    dx = backward(dy, *rest, **geometry)
    return lambda: backward(dy, *rest, out=dx, **geometry)


def softmax(size, pass_, mode, operands):
    function, values = getattr(ops, pass_), [empty_like(value) for value in operands.values()]
    for place, value in zip(values, operands.values(), strict=True):
        place[...] = value
    out = empty_like(values[0])
    return lambda: function(*values, size.axis, out=out)


def cross_entropy(size, pass_, mode, operands):
    logits, labels = empty_like(operands["logits"]), operands["labels"]
    logits[...] = operands["logits"]
    out = empty_like(logits)
    return lambda: losses.softmax_cross_entropy(logits, labels, axis=size.axis, gradient_out=out)[1]


def ctc(size, pass_, mode, operands):
    logits, targets = empty_like(operands["logits"]), operands["targets"]
    logits[...] = operands["logits"]
    out = empty_like(logits)
    return lambda: losses.ctc_loss(logits, targets, gradient_out=out)[1]


def interpolate(size, pass_, mode, operands):
    named = {"scale_factor": size.factor, "mode": pass_.removesuffix("_backward")}
    if pass_.endswith("backward"):
        dy = as_an_op_leaves_it(operands["dy"])
        dx = ops.interpolate_backward(dy, size.x_shape, **named)
        return lambda: ops.interpolate_backward(dy, size.x_shape, out=dx, **named)
    x = as_an_op_leaves_it(operands["x"])
    y = ops.interpolate(x, **named)
    return lambda: ops.interpolate(x, out=y, **named)


def rearrange(size, pass_, mode, operands):
    if pass_ == "fold":
        columns = operands["x"]
        y = ops.fold(columns, size.x_shape[2:], **size.windows)
        return lambda: ops.fold(columns, size.x_shape[2:], out=y, **size.windows)
    x = as_an_op_leaves_it(next(iter(operands.values())))
    border = {"padding": size.padding, "mode": "reflect"}
    call = {
        "pixel_shuffle": lambda out: ops.pixel_shuffle(x, size.factor, out=out),
        "pixel_unshuffle": lambda out: ops.pixel_unshuffle(x, size.factor, out=out),
        "channel_shuffle": lambda out: ops.channel_shuffle(x, size.groups, out=out),
        "unfold": lambda out: ops.unfold(x, out=out, **size.windows),
        "pad": lambda out: ops.pad(x, out=out, **border),
        "pad_backward": lambda out: ops.pad_backward(x, size.x_shape, out=out, **border),
    }[pass_]
    y = call(None)
    return lambda: call(y)


def dropout(size, pass_, mode, operands):
    x, dy, p, rng = operands["x"], operands.get("dy"), tasks.OPS["dropout"].p, np.random.default_rng(0)
    y, dx = np.empty_like(x), np.empty_like(x)
    if pass_ == "forward":
        return lambda: ops.dropout(x, p, rng, out=y)[0]

    def training():
        _, mask = ops.dropout(x, p, rng, out=y)
        return y, ops.dropout_backward(dy, mask, p, out=dx)

    return training


def activation(size, pass_, mode, operands):
    function, given, out = getattr(ops, pass_), tuple(operands.values()), np.empty(size.count, np.float32)
    return lambda: function(*given, out=out)


def elementwise(size, pass_, mode, operands):
    a, b = map(as_an_op_leaves_it, operands.values())
    function, out = ops.mul if pass_ in ("mul", "gate") else ops.add, as_an_op_leaves_it(operands["a"])
    return lambda: function(a, b, out=out)


def norm(size, pass_, mode, operands):
    """As a layer calls it: forward writes to memory it is given, the other passes return arrays of their own."""
    operands = {
        key: as_an_op_leaves_it(value) if value.ndim > 2 else np.ascontiguousarray(value)
        for key, value in operands.items()
    }
    x, dy, weight, bias = map(operands.get, ("x", "dy", "weight", "bias"))
    name = "local_response_norm" if size.kind == "response" else f"{size.kind}_norm"
    about = {"group": (size.groups,), "response": (size.window,), "layer": size.shape[-1:], "rms": size.shape[-1:]}
    about, given = about.get(size.kind, ()), [value for value in (weight, bias) if value is not None]
    forward, training = getattr(ops, name), getattr(ops, f"{name}_training", None)
    if pass_ == "forward" or training is None and pass_ == "training":
        statistics = [operands[key] for key in ("mean", "var") if key in operands]
        y = forward(x, *statistics, *about, *given)
        return lambda: forward(x, *statistics, *about, *given, out=y)
    if pass_ == "training":
        return lambda: training(x, *about, *given)[0]
    backward = getattr(ops, f"{name}_backward")
    if training is None:
        return lambda: backward(dy, x, *about)
    kept = training(x, *about, *given)[1:]
    return lambda: backward(dy, x, *kept, *about, weight)[0]


def recurrent(size, pass_, mode, operands):
    x, weights = operands["x"], (operands["weight_ih"], operands["weight_hh"])
    name = size.kind.partition("_")[0]
    infer, forward, gradients = (getattr(ops, name + suffix) for suffix in ("", "_forward", "_backward"))
    states = (None, None) if name == "lstm" else (None,)

    def backward(y, *_, reserve):
        return gradients(operands["dy"], *states, x, *states, y, reserve, *weights)[0]

    if pass_ == "forward":
        return lambda: infer(x, *states, *weights)[0]
    if pass_ == "backward":
        *outputs, reserve = forward(x, *states, *weights)
        return lambda: backward(*outputs, reserve=reserve)

    def training():
        *outputs, reserve = forward(x, *states, *weights)
        return backward(*outputs, reserve=reserve)

    return training


def tiny(size, op, mode, operands):
    """With the arguments written out, as in a program."""
    x, *weight = operands.values()
    if op in ("relu", "softmax"):
        function = getattr(ops, op)
        return lambda: function(x)
    if op == "max_pool2d":
        return lambda: ops.max_pool2d(x, 2)
    (weight,) = weight
    if op == "linear":
        return lambda: ops.linear(x, weight)
    return lambda: ops.conv2d(x, weight, padding=1)


def first_calls(task, operands, count=20):
    """Seconds of each of the first calls with these sizes, the plan included."""
    x, weight, times = operands["x"], operands["weight"], []
    n, k, p, q = task.size.y_shape
    y = np.ones((n, p, q, k), np.float32).transpose(0, 3, 1, 2)  # written once: no fresh pages are met
    for _ in range(count):
        start = time.perf_counter()
        ops.conv2d(x, weight, out=y, **task.size.geometry)
        times.append(time.perf_counter() - start)
    return times


OPS = {
    "conv2d": conv2d,
    "maps": maps,
    "gemm": gemm,
    "pool2d": pool2d,
    "interpolate": interpolate,
    "rearrange": rearrange,
    "dropout": dropout,
    "activation": activation,
    "elementwise": elementwise,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "ctc": ctc,
    "norm": norm,
    "recurrent": recurrent,
    "call": tiny,
}


def configure(options):
    runtime.set_num_threads(options["threads"])
    runtime.set_isa(options.get("isa") or BEST_ISA)


def fetch(result):
    """An array, or several, as NumPy's."""
    return tuple(map(np.asarray, result)) if isinstance(result, tuple) else np.asarray(result)


def prepare(task, mode, options, operands):
    return OPS[task.op](task.size, task.pass_, mode, operands), fetch
