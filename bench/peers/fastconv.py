"""fastconv itself, timed like the others. A mode is an algorithm: "auto" or a forced one."""

import time

import numpy as np

import fastconv
from bench.peers import Unsupported
from fastconv import ops, runtime
from fastconv.ops._arrays import empty_images

VERSION = fastconv.__version__
BEST_ISA = runtime.isa()


def as_an_op_leaves_it(array):
    """An image in memory that fastconv allocated: inside a network, an operand is the result of an op before it."""
    image, memory = empty_images(*array.shape)
    memory[...] = np.moveaxis(array, 1, -1)
    return image


def convolution(size, pass_, geometry, operands):
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
    return convolution(size, pass_, geometry, operands)


def gemm(size, operands):
    a, b, out = operands["a"], operands["b"], np.empty((size.m, size.n), np.float32)
    return lambda: ops.matmul(a, b, out=out)


def pool2d(size, pass_, operands):
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


def recurrent(size, pass_, operands):
    x, weights = operands["x"], (operands["weight_ih"], operands["weight_hh"])
    if size.kind == "lstm":
        if pass_ == "forward":
            return lambda: ops.lstm(x, None, None, *weights)[0]

        def training():
            y, _, _, reserve = ops.lstm_forward(x, None, None, *weights)
            return ops.lstm_backward(operands["dy"], None, None, x, None, None, y, reserve, *weights)[0]

        return training
    if pass_ == "forward":
        return lambda: ops.gru(x, None, *weights)[0]

    def training():
        y, _, reserve = ops.gru_forward(x, None, *weights)
        return ops.gru_backward(operands["dy"], None, x, None, y, reserve, *weights)[0]

    return training


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


def configure(options):
    runtime.set_num_threads(options["threads"])
    runtime.set_isa(options.get("isa") or BEST_ISA)


def prepare(task, mode, options, operands):
    if task.op == "conv2d":
        return conv2d(task.size, task.pass_, mode, operands), np.asarray
    if task.op == "maps":
        return convolution(task.size, task.pass_, task.size.geometry, operands), np.asarray
    if task.op == "gemm":
        return gemm(task.size, operands), np.asarray
    if task.op == "activation":
        function, x, out = getattr(ops, task.pass_), operands["x"], np.empty_like(operands["x"])
        return lambda: function(x, out=out), np.asarray
    return {"pool2d": pool2d, "recurrent": recurrent}[task.op](task.size, task.pass_, operands), np.asarray
