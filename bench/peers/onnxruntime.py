"""onnxruntime: a model of one node, weights as initialisers, in- and output bound to memory beforehand."""

import numpy as np
import onnxruntime

from bench.peers import Unsupported

VERSION = onnxruntime.__version__


def model(node, inputs, y_shape, constants):
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise Unsupported("needs the package onnx to write a model") from None
    graph = helper.make_graph(
        [node],
        "one_node",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def session(serialized, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])


def bound(serialized, inputs, y_shape, threads):
    runner = session(serialized, threads)
    binding = runner.io_binding()
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)) for value in inputs.values()]
    for name, value in zip(inputs, held, strict=True):
        binding.bind_ortvalue_input(name, value)
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(y_shape), np.float32)
    binding.bind_ortvalue_output("y", y)

    def call():
        runner.run_with_iobinding(binding)
        return y

    return call, lambda value: value.numpy()


def convolution_node(size):
    from onnx import helper

    begins, ends = zip(*size.sides, strict=True)
    geometry = {"strides": size.each("stride"), "dilations": size.each("dilation"), "pads": (*begins, *ends)}
    if size.transposed:
        geometry["output_padding"] = size.each("output_padding")
    kind = "ConvTranspose" if size.transposed else "Conv"
    return helper.make_node(kind, ["x", "weight"], ["y"], kernel_shape=size.kernel, group=size.groups, **geometry)


# In which order onnx keeps the gates, by their place in PyTorch's: i, f, g, o and r, z, n.
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def recurrent(size, operands, threads):
    from onnx import helper

    constants = {}
    for part, name in (("ih", "w"), ("hh", "r")):
        gates = operands[f"weight_{part}"].reshape(size.gates, size.hidden, -1)
        constants[name] = gates[list(GATES[size.kind])].reshape(1, size.gates * size.hidden, -1)
    settings = {"hidden_size": size.hidden} | ({"linear_before_reset": 1} if size.kind == "gru" else {})
    node = helper.make_node(size.kind.upper(), ["x", "w", "r"], ["y"], **settings)
    shape = (size.steps, 1, size.batch, size.hidden)
    serialized = model(node, {"x": operands["x"].shape}, shape, constants)
    call, fetch = bound(serialized, {"x": operands["x"]}, shape, threads)
    return call, lambda value: fetch(value)[:, 0]


def configure(options):
    """Nothing: threads belong to a session."""


def prepare(task, mode, options, operands):
    size = task.size
    try:
        from onnx import helper
    except ImportError:
        raise Unsupported("needs the package onnx to write a model") from None
    if task.op in ("conv2d", "maps"):
        if task.pass_ != "forward":
            raise Unsupported("inference with constant weights alone")
        serialized = model(convolution_node(size), {"x": size.x_shape}, size.y_shape, {"weight": operands["weight"]})
        return bound(serialized, {"x": operands["x"]}, size.y_shape, options["threads"])
    if task.op == "gemm":
        node, shape = helper.make_node("MatMul", ["a", "b"], ["y"]), (size.m, size.n)
        serialized = model(node, {"a": (size.m, size.k)}, shape, {"b": operands["b"]})
        return bound(serialized, {"a": operands["a"]}, shape, options["threads"])
    if task.op == "pool2d":
        node, pads = {"max": "MaxPool", "avg": "AveragePool"}[task.pass_], [size.padding] * 4
        counting = {"count_include_pad": 1} if task.pass_ == "avg" else {}
        if size.output > 1:
            raise Unsupported("there is no adaptive pooling")
        if size.output == 1:
            node = helper.make_node(f"Global{node}", ["x"], ["y"])
            return bound(model(node, {"x": size.x_shape}, size.y_shape, {}), operands, size.y_shape, options["threads"])
        window = {"kernel_shape": [size.kernel] * 2, "strides": [size.stride] * 2, "pads": pads}
        node = helper.make_node(node, ["x"], ["y"], **window, **counting)
        serialized = model(node, {"x": size.x_shape}, size.y_shape, {})
        return bound(serialized, operands, size.y_shape, options["threads"])
    if task.op == "activation":
        node = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}.get(task.pass_)
        if node is None:
            raise Unsupported(f"operator set 17 has no {task.pass_}")
        serialized = model(helper.make_node(node, ["x"], ["y"]), {"x": (size.count,)}, (size.count,), {})
        return bound(serialized, operands, (size.count,), options["threads"])
    return recurrent(size, operands, options["threads"])
