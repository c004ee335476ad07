"""OpenVINO: a compiled model of one node with constant weights, its tensors set beforehand; images as NCHW or NHWC."""

import numpy as np
import openvino
from openvino import opset13

from bench.peers import Unsupported

VERSION = openvino.__version__.split("-")[0]


def compiled(result, parameters, threads):
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
    }
    return core.compile_model(openvino.Model([result], parameters), "CPU", settings)


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


def in_layout(shape, mode, node):
    """(parameter, result) of node(x) for maps of this shape (N, C, *sizes), in memory (N, *sizes, C) with "nhwc"."""
    if mode == "nchw":
        x = opset13.parameter(shape, np.float32)
        return x, node(x)
    axes = list(range(len(shape)))
    x = opset13.parameter((shape[0], *shape[2:], shape[1]), np.float32)
    y = node(opset13.transpose(x, [0, axes[-1], *axes[1:-1]]))
    return x, opset13.transpose(y, [0, *axes[2:], 1])


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


def runner(model, *values):
    request = model.create_infer_request()
    for index, value in enumerate(values):
        request.set_input_tensor(index, openvino.Tensor(np.ascontiguousarray(value)))

    def call():
        request.start_async()
        request.wait()
        return request

    return call


def elementwise(task, mode, options, operands):
    values, back = list(operands.values()), (0, 1, 2, 3)
    if mode == "nhwc":
        values, back = [value.transpose(0, 2, 3, 1) for value in values], (0, 3, 1, 2)
    parameters = [opset13.parameter(value.shape, np.float32) for value in values]
    node = opset13.multiply if task.pass_ in ("mul", "gate") else opset13.add
    call = runner(compiled(node(*parameters), parameters, options["threads"]), *values)
    return call, lambda request: np.array(request.get_output_tensor(0).data).transpose(back)


def configure(options):
    """Nothing: threads belong to a compiled model."""


def prepare(task, mode, options, operands):
    size = task.size
    if task.op in ("conv2d", "maps"):
        if task.pass_ != "forward":
            raise Unsupported("inference with constant weights alone")
        value, weight = operands["x"], np.ascontiguousarray(operands["weight"])
        x, y = in_layout(size.x_shape, mode, lambda x: convolution_node(size, x, weight))
        back = tuple(range(value.ndim))
        if mode == "nhwc":
            value, back = np.moveaxis(value, 1, -1), (0, back[-1], *back[1:-1])
    elif task.op in ("interpolate", "rearrange"):
        kind = {"interpolate": interpolate_node, "rearrange": rearrange_node}[task.op]
        value = operands["x"]
        x, y = in_layout(value.shape, mode, lambda x: kind(size, task.pass_, x))
        back = tuple(range(4))
        if mode == "nhwc":
            value, back = np.moveaxis(value, 1, -1), (0, 3, 1, 2)
    elif task.op == "norm":
        x = opset13.parameter(size.shape, np.float32)
        y, value = norm_node(size, x, operands), operands["x"]
        back = tuple(range(value.ndim))
    elif task.op == "pool2d":
        x, y = in_layout(size.x_shape, mode, lambda x: pool_node(size, task.pass_, x))
        value, back = operands["x"], (0, 1, 2, 3)
        if mode == "nhwc":
            value, back = value.transpose(0, 2, 3, 1), (0, 3, 1, 2)
    elif task.op == "gemm":
        if size.batch > 1:
            raise Unsupported("a model of one input has weights")
        x = opset13.parameter(operands["a"].shape, np.float32)
        y = opset13.matmul(x, opset13.constant(operands["b"]), False, size.linear)
        value, back = operands["a"], (0, 1)
    elif task.op == "elementwise":
        return elementwise(task, mode, options, operands)
    elif task.op == "activation":
        value, back = operands["x"], (0,)
        x = opset13.parameter(value.shape, np.float32)
        function = getattr(opset13, {"silu": "swish"}.get(task.pass_, task.pass_))
        y = function(x, "erf") if task.pass_ == "gelu" else function(x)
    elif task.op == "softmax":
        x = opset13.parameter(size.shape, np.float32)
        node = opset13.softmax if task.pass_ == "softmax" else opset13.log_softmax
        y = node(x, size.axis % len(size.shape) if task.pass_ == "softmax" else size.axis)
        value, back = operands["x"], tuple(range(len(size.shape)))
    else:
        raise Unsupported(f"no {task.op}")
    call = runner(compiled(y, [x], options["threads"]), value)
    return call, lambda request: np.array(request.get_output_tensor(0).data).transpose(back)
