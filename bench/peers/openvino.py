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


def runner(model, x):
    request = model.create_infer_request()
    tensor = openvino.Tensor(np.ascontiguousarray(x))
    request.set_input_tensor(tensor)

    def call():
        request.start_async()
        request.wait()
        return request

    return call


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
    elif task.op == "pool2d":
        x, y = in_layout(size.x_shape, mode, lambda x: pool_node(size, task.pass_, x))
        value, back = operands["x"], (0, 1, 2, 3)
        if mode == "nhwc":
            value, back = value.transpose(0, 2, 3, 1), (0, 3, 1, 2)
    elif task.op == "gemm":
        x = opset13.parameter(operands["a"].shape, np.float32)
        y = opset13.matmul(x, opset13.constant(operands["b"]), False, False)
        value, back = operands["a"], (0, 1)
    else:
        raise Unsupported(f"no {task.op}")
    call = runner(compiled(y, [x], options["threads"]), value)
    return call, lambda request: np.array(request.get_output_tensor(0).data).transpose(back)
