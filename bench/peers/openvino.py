"""OpenVINO: a compiled model of one node with constant weights, its tensors set beforehand; images as NCHW or NHWC.

Each function takes (size, pass, mode, operands) and returns the Graph that is timed.
"""

from typing import NamedTuple

import numpy as np
import openvino
from openvino import opset13

from bench.peers import Unsupported

VERSION = openvino.__version__.split("-")[0]


class Graph(NamedTuple):
    """A node of parameters, which are given values; back: the axes that make the result fastconv's shape."""

    node: object
    parameters: list
    values: list
    back: tuple


def compiled(graph, threads):
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
    }
    return core.compile_model(openvino.Model([graph.node], graph.parameters), "CPU", settings)


def convolution_node(size, x, weight):
    begins, ends = map(list, zip(*size.sides, strict=True))
    stride, dilation = list(size.each("stride")), list(size.each("dilation"))
    if size.transposed and size.groups == 1:
        more = {"dilations": dilation, "output_padding": list(size.each("output_padding"))}
        constant = opset13.constant(weight)
        return opset13.convolution_backprop_data(x, constant, stride, pads_begin=begins, pads_end=ends, **more)
    if size.transposed:
        raise Unsupported("transposed convolution without groups alone")
    if size.groups == 1:
        return opset13.convolution(x, opset13.constant(weight), stride, begins, ends, dilation)
    grouped = weight.reshape(size.groups, size.k // size.groups, *weight.shape[1:])
    return opset13.group_convolution(x, opset13.constant(grouped), stride, begins, ends, dilation)


def interpolate_node(size, pass_, x):
    rules = {
        "nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"coordinate_transformation_mode": "pytorch_half_pixel"},
        "bicubic": {"coordinate_transformation_mode": "pytorch_half_pixel", "cube_coeff": -0.75},
    }[pass_]
    mode = {"nearest": "nearest", "bilinear": "linear_onnx", "bicubic": "cubic"}[pass_]
    sides, axes = (opset13.constant(np.array(value, np.int64)) for value in (size.y_shape[2:], (2, 3)))
    return opset13.interpolate(x, sides, mode, "sizes", axes=axes, **rules)


def rearrange_node(size, pass_, x):
    if pass_ == "pixel_shuffle":
        return opset13.depth_to_space(x, "depth_first", size.factor)
    if pass_ == "channel_shuffle":
        return opset13.shuffle_channels(x, 1, size.groups)
    sides = opset13.constant(np.array([0, 0, size.padding, size.padding], np.int64))
    return opset13.pad(x, sides, sides, "reflect")


def pool_node(size, pass_, x):
    if size.output:
        node = {"max": opset13.adaptive_max_pool, "avg": opset13.adaptive_avg_pool}[pass_]
        index = {"index_element_type": "i32"} if pass_ == "max" else {}
        return node(x, opset13.constant(np.array([size.output] * 2, np.int32)), **index).output(0)
    kernel, stride, pads = ([value] * 2 for value in (size.kernel, size.stride, size.padding))
    if pass_ == "max":
        return opset13.max_pool(x, stride, [1, 1], pads, pads, kernel).output(0)
    return opset13.avg_pool(x, stride, pads, pads, kernel, False).output(0)


def of_one(value, node):
    """node(x) of an array, as it is."""
    x = opset13.parameter(value.shape, np.float32)
    return Graph(node(x), [x], [value], tuple(range(value.ndim)))


def in_layout(value, mode, node):
    """node(x) of maps (N, C, *sizes), with "nhwc" in memory (N, *sizes, C)."""
    if mode == "nchw":
        return of_one(value, node)
    value, axes = np.moveaxis(value, 1, -1), list(range(value.ndim))
    x = opset13.parameter(value.shape, np.float32)
    back = 0, axes[-1], *axes[1:-1]
    y = opset13.transpose(node(opset13.transpose(x, list(back))), [0, *axes[2:], 1])
    return Graph(y, [x], [value], back)


def convolution(size, pass_, mode, operands):
    weight = np.ascontiguousarray(operands["weight"])
    return in_layout(operands["x"], mode, lambda x: convolution_node(size, x, weight))


def interpolate(size, pass_, mode, operands):
    return in_layout(operands["x"], mode, lambda x: interpolate_node(size, pass_, x))


def rearrange(size, pass_, mode, operands):
    return in_layout(operands["x"], mode, lambda x: rearrange_node(size, pass_, x))


def pool2d(size, pass_, mode, operands):
    return in_layout(operands["x"], mode, lambda x: pool_node(size, pass_, x))


def gemm(size, pass_, mode, operands):
    if size.batch > 1:
        raise Unsupported("a model of one input has weights")
    return of_one(operands["a"], lambda a: opset13.matmul(a, opset13.constant(operands["b"]), False, size.linear))


def activation(size, pass_, mode, operands):
    function, more = getattr(opset13, {"silu": "swish"}.get(pass_, pass_)), ("erf",) if pass_ == "gelu" else ()
    return of_one(operands["x"], lambda x: function(x, *more))


def softmax(size, pass_, mode, operands):
    axis = size.axis % len(size.shape) if pass_ == "softmax" else size.axis
    return of_one(operands["x"], lambda x: getattr(opset13, pass_)(x, axis))


def norm(size, pass_, mode, operands):
    return of_one(operands["x"], lambda x: norm_node(size, x, operands))


def norm_node(size, x, operands):
    """As the front ends write it: patterns of several nodes become one when the model is compiled."""
    constants = [operands[name] for name in ("weight", "bias", "mean", "var") if name in operands]
    if size.kind == "batch":
        return opset13.batch_norm_inference(x, *map(opset13.constant, constants), 1e-5)
    if size.kind == "group":
        return opset13.group_normalization(x, *map(opset13.constant, constants), size.groups, 1e-5)
    if size.kind == "response":
        return opset13.lrn(x, opset13.constant(np.array([1])), 1e-4, 0.75, 1.0, size.window)
    if size.kind == "rms":
        raise Unsupported("operator set 13 has no rms norm")
    axes = list(range(2, len(size.shape))) if size.kind == "instance" else [len(size.shape) - 1]
    y = opset13.mvn(x, opset13.constant(np.array(axes)), True, 1e-5, "inside_sqrt")
    shape = (1, -1, *[1] * len(axes)) if size.kind == "instance" else (-1,)
    return opset13.add(opset13.multiply(y, constants[0].reshape(shape)), constants[1].reshape(shape))


def runner(graph, threads):
    """The call that runs it."""
    request = compiled(graph, threads).create_infer_request()
    for index, value in enumerate(graph.values):
        request.set_input_tensor(index, openvino.Tensor(np.ascontiguousarray(value)))

    def call():
        request.start_async()
        request.wait()
        return request

    return call


def elementwise(size, pass_, mode, operands):
    values, back = list(operands.values()), (0, 1, 2, 3)
    if mode == "nhwc":
        values, back = [value.transpose(0, 2, 3, 1) for value in values], (0, 3, 1, 2)
    parameters = [opset13.parameter(value.shape, np.float32) for value in values]
    node = opset13.multiply if pass_ in ("mul", "gate") else opset13.add
    return Graph(node(*parameters), parameters, values, back)


OPS = {
    "conv2d": convolution,
    "maps": convolution,
    "gemm": gemm,
    "pool2d": pool2d,
    "interpolate": interpolate,
    "rearrange": rearrange,
    "activation": activation,
    "elementwise": elementwise,
    "softmax": softmax,
    "norm": norm,
}


def configure(options):
    """Nothing: threads belong to a compiled model."""


def prepare(task, mode, options, operands):
    graph = OPS[task.op](task.size, task.pass_, mode, operands)
    fetch = lambda request: np.array(request.get_output_tensor(0).data).transpose(graph.back)
    return runner(graph, options["threads"]), fetch
