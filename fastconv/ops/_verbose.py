"""FASTCONV_VERBOSE=1: one line on standard output for every op called, as oneDNN and MKL print them.

fastconv conv2d direct x(1, 64, 56, 56) weight(64, 64, 3, 3) -> (1, 64, 56, 56) avx512 x1 2.101 ms 110.0 GFLOP/s

Op, algorithm (of 2-D convolutions), shapes of the arrays that go in and out, instruction set and threads, time, speed
by the flops of the definition, whatever the algorithm (convolutions and products). The wrappers exist only where the
variable is set.
"""

import functools
import inspect
import math
import time

import numpy as np

from fastconv.ops.convolution import conv2d_plan
from fastconv.runtime import context

_PASSES = {"conv2d": 0, "conv2d_backward_input": 1, "conv2d_backward_weight": 2}
_GEOMETRY = ("stride", "padding", "dilation", "groups")
_PRODUCTS = {"gemm": ("a", "b"), "matmul": ("a", "b"), "linear": ("x", "weight")}
_PRODUCTS |= {"linear_backward_input": ("dy", "weight"), "linear_backward_weight": ("dy", "x")}


def _plan(arguments, result):
    """The plan a 2-D convolution used."""
    weight = arguments.get("weight")
    x_shape = arguments["x"].shape if "x" in arguments else result.shape
    weight_shape = arguments["weight_shape"] if weight is None else weight.shape
    algorithm = arguments["algorithm"]
    if algorithm == "auto":
        algorithm = getattr(weight, "algorithm", "auto")  # of packed weights
    geometry = {key: arguments[key] for key in _GEOMETRY}
    return conv2d_plan(x_shape, tuple(weight_shape), **geometry, algorithm=algorithm)


def _map_flops(name, arguments, result):
    """Of a 1-D, 3-D or transposed convolution: each element of y (of x, where transposed) meets a filter."""
    transposed, forward = name.startswith("conv_transpose"), "backward" not in name
    weight_shape = arguments["weight"].shape if "weight" in arguments else arguments["weight_shape"]
    if transposed:
        pixels = arguments["x"].shape if "x" in arguments else result.shape
    else:
        pixels = result.shape if forward else arguments["dy"].shape
    return 2 * math.prod(pixels) * math.prod(weight_shape[1:])


def _work(name, arguments, result):
    """(algorithm, floating-point operations) of a call that succeeded; "" and 0 where there is nothing to say."""
    if name in _PASSES:
        plan = _plan(arguments, result)
        return plan.algorithms[_PASSES[name]], 2 * plan.multiply_adds
    if name.startswith("conv") and not name.endswith("_pack"):
        return "", _map_flops(name, arguments, result)
    if name in _PRODUCTS:
        first, second = (arguments[operand].shape for operand in _PRODUCTS[name])
        # Each dimension of the product (rows, columns, depth) belongs to two of the three arrays.
        return "", 2 * math.isqrt(math.prod(first) * math.prod(second) * math.prod(_shapes(result)[0]))
    return "", 0


def _shapes(result):
    """Shapes of the arrays in a result, which may be a tuple of tuples."""
    if isinstance(result, (tuple, list)):
        return [shape for item in result for shape in _shapes(item)]
    return [result.shape] if isinstance(result, np.ndarray) else []


def _line(name, arguments, result, seconds):
    algorithm, flops = _work(name, arguments, result)
    words = [f"fastconv {name}", algorithm]
    words += [f"{key}{tuple(value.shape)}" for key, value in arguments.items() if hasattr(value, "shape")]
    words += ["->", *map(str, _shapes(result)), f"{context().isa} x{context().num_threads}", f"{seconds * 1e3:.3f} ms"]
    words += [f"{flops / seconds / 1e9:.1f} GFLOP/s" if flops else ""]
    return " ".join(word for word in words if word)


def reported(op):
    """The op, printing a line after each call."""
    signature = inspect.signature(op)

    @functools.wraps(op)
    def call(*args, **kwargs):
        start = time.perf_counter()
        result = op(*args, **kwargs)
        seconds = time.perf_counter() - start
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        print(_line(op.__name__, bound.arguments, result, seconds), flush=True)
        return result

    return call
