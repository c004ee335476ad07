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


def conv2d_model(size, mode, weight):
    n, c, h, w = size.x_shape
    x = opset13.parameter((n, h, w, c) if mode == "nhwc" else (n, c, h, w), np.float32)
    node = opset13.transpose(x, [0, 3, 1, 2]) if mode == "nhwc" else x
    begins, ends = ([pad[i] for pad in size.padding] for i in range(2))
    geometry = list(size.stride), begins, ends, list(size.dilation)
    if size.groups == 1:
        y = opset13.convolution(node, opset13.constant(weight), *geometry)
    else:
        grouped = weight.reshape(size.groups, size.k // size.groups, *weight.shape[1:])
        y = opset13.group_convolution(node, opset13.constant(grouped), *geometry)
    return x, opset13.transpose(y, [0, 2, 3, 1]) if mode == "nhwc" else y


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
    if task.op == "conv2d":
        if task.pass_ != "forward":
            raise Unsupported("inference with constant weights alone")
        x, y = conv2d_model(task.size, mode, operands["weight"])
        value = operands["x"].transpose(0, 2, 3, 1) if mode == "nhwc" else operands["x"]
        back = (0, 3, 1, 2) if mode == "nhwc" else (0, 1, 2, 3)
    elif task.op == "gemm":
        x = opset13.parameter(operands["a"].shape, np.float32)
        y = opset13.matmul(x, opset13.constant(operands["b"]), False, False)
        value, back = operands["a"], (0, 1)
    else:
        raise Unsupported(f"no {task.op}")
    call = runner(compiled(y, [x], options["threads"]), value)
    return call, lambda request: np.array(request.get_output_tensor(0).data).transpose(back)
