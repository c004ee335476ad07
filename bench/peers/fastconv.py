"""fastconv itself, timed like the others. A mode is an algorithm: "auto" or a forced one."""

import time

import numpy as np

import fastconv
from bench.peers import Unsupported
from fastconv import ops, runtime

VERSION = fastconv.__version__
BEST_ISA = runtime.isa()


def conv2d(size, pass_, algorithm, operands):
    geometry = size.geometry | {"algorithm": algorithm}
    try:
        plan = ops.conv2d_plan(size.x_shape, size.weight_shape, **geometry)
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if pass_ == "backward_input":
        dy, weight = operands["dy"], operands["weight"]
        return lambda: ops.conv2d_backward_input(dy, weight, size.x_shape, **geometry)
    if pass_ == "backward_weight":
        dy, x = operands["dy"], operands["x"]
        return lambda: ops.conv2d_backward_weight(dy, x, size.weight_shape, **geometry)[0]
    x, weight = operands["x"], operands["weight"]
    if pass_ == "forward":
        weight = plan.pack(weight, runtime.context())
    y = ops.conv2d(x, weight, **geometry)
    return lambda: ops.conv2d(x, weight, out=y, **geometry)


def gemm(size, operands):
    a, b, out = operands["a"], operands["b"], np.empty((size.m, size.n), np.float32)
    return lambda: ops.matmul(a, b, out=out)


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
    return gemm(task.size, operands), np.asarray
