"""onnxruntime: a model of one node, weights as initialisers, in- and output bound to memory beforehand.

Each function takes (size, pass, operands) and returns the Model that is timed.
"""

from typing import NamedTuple

import numpy as np
import onnxruntime

from bench.peers import Unsupported

try:
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    helper = None

VERSION = onnxruntime.__version__


class Model(NamedTuple):
    """nodes from the inputs {name: array} and constants to "y" of y_shape."""

    nodes: list
    inputs: dict
    y_shape: tuple
    constants: dict = {}
    opset: int = 17


def serialized(model):
    graph = helper.make_graph(
        model.nodes,
        "one_node",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in model.inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, model.y_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in model.constants.items()],
    )
    opsets = [helper.make_opsetid("", model.opset), helper.make_opsetid("com.microsoft", 1)]
    version = 8 if model.opset < 20 else 9
    return helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString()


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(serialized(model), options, providers=["CPUExecutionProvider"])


def bound(model, threads):
    """The call that runs it."""
    runner = session(model, threads)
    binding = runner.io_binding()
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)) for value in model.inputs.values()]
    for name, value in zip(model.inputs, held, strict=True):
        binding.bind_ortvalue_input(name, value)
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(model.y_shape), np.float32)
    binding.bind_ortvalue_output("y", y)

    def call():
        runner.run_with_iobinding(binding)
        return y

    return call


def convolution(size, pass_, operands):
    begins, ends = zip(*size.sides, strict=True)
    geometry = {"strides": size.each("stride"), "dilations": size.each("dilation"), "pads": (*begins, *ends)}
    if size.transposed:
        geometry["output_padding"] = size.each("output_padding")
    kind = "ConvTranspose" if size.transposed else "Conv"
    node = helper.make_node(kind, ["x", "weight"], ["y"], kernel_shape=size.kernel, group=size.groups, **geometry)
    return Model([node], {"x": operands["x"]}, size.y_shape, {"weight": operands["weight"]})


def gemm(size, pass_, operands):
    """A batch has no weights: both sides are given anew, as in attention."""
    kind, settings = ("Gemm", {"transB": 1}) if size.linear else ("MatMul", {})
    node = helper.make_node(kind, ["a", "b"], ["y"], **settings)
    if size.batch > 1:
        return Model([node], operands, size.c_shape)
    return Model([node], {"a": operands["a"]}, size.c_shape, {"b": operands["b"]})


def pool2d(size, pass_, operands):
    kind = {"max": "MaxPool", "avg": "AveragePool"}[pass_]
    if size.output > 1:
        raise Unsupported("there is no adaptive pooling")
    if size.output == 1:
        node = helper.make_node(f"Global{kind}", ["x"], ["y"])
        return Model([node], operands, size.y_shape)
    counting = {"count_include_pad": 1} if pass_ == "avg" else {}
    window = {"kernel_shape": [size.kernel] * 2, "strides": [size.stride] * 2, "pads": [size.padding] * 4}
    return Model([helper.make_node(kind, ["x"], ["y"], **window, **counting)], operands, size.y_shape)


def activation(size, pass_, operands):
    if pass_ == "silu":
        node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft", alpha=1.0)
    elif pass_ in ("logsigmoid", "hardtanh") or pass_.endswith("backward"):
        raise Unsupported(f"the operator set has no {pass_}")
    else:
        node = helper.make_node({"prelu": "PRelu"}.get(pass_, pass_.capitalize()), list(operands), ["y"])
    constants = {name: value for name, value in operands.items() if name != "x"}
    return Model([node], {"x": operands["x"]}, (size.count,), constants, opset=20)


def elementwise(size, pass_, operands):
    node = helper.make_node("Mul" if pass_ in ("mul", "gate") else "Add", ["a", "b"], ["y"])
    return Model([node], operands, size.shape)


def softmax(size, pass_, operands):
    kind = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[pass_]
    return Model([helper.make_node(kind, ["x"], ["y"], axis=size.axis)], operands, size.shape)


# In which order onnx keeps the gates, by their place in PyTorch's: i, f, g, o and r, z, n.
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,)}


def recurrent(size, pass_, operands):
    constants = {}
    for part, name in (("ih", "w"), ("hh", "r")):
        gates = operands[f"weight_{part}"].reshape(size.gates, size.hidden, -1)
        constants[name] = gates[list(GATES[size.kind])].reshape(1, size.gates * size.hidden, -1)
    settings = {"hidden_size": size.hidden} | ({"linear_before_reset": 1} if size.kind == "gru" else {})
    node = helper.make_node(size.kind.partition("_")[0].upper(), ["x", "w", "r"], ["y"], **settings)
    directions = 1
    return Model([node], {"x": operands["x"]}, (size.steps, directions, size.batch, size.hidden), constants)


def interpolate(size, pass_, operands):
    rules = {
        "nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"coordinate_transformation_mode": "pytorch_half_pixel"},
        "bicubic": {"coordinate_transformation_mode": "pytorch_half_pixel", "cubic_coeff_a": -0.75},
    }[pass_]
    mode = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}[pass_]
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, **rules)
    scales = np.array([1, 1, size.factor, size.factor], np.float32)
    return Model([node], operands, size.y_shape, {"scales": scales})


def rearrange(size, pass_, operands):
    n, c, h, w = operands["x"].shape
    constants, shape = {}, (n, c, h, w)
    if pass_ == "pixel_shuffle":
        nodes = [helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=size.factor, mode="CRD")]
        shape = (n, c // size.factor**2, h * size.factor, w * size.factor)
    elif pass_ == "channel_shuffle":
        constants = {"parts": np.array([n, size.groups, c // size.groups, h, w]), "whole": np.array(shape)}
        nodes = [
            helper.make_node("Reshape", ["x", "parts"], ["split"]),
            helper.make_node("Transpose", ["split"], ["turned"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["turned", "whole"], ["y"]),
        ]
    else:
        constants = {"pads": np.array([0, 0, size.padding, size.padding] * 2)}
        nodes = [helper.make_node("Pad", ["x", "pads"], ["y"], mode="reflect")]
        shape = (n, c, h + 2 * size.padding, w + 2 * size.padding)
    return Model(nodes, operands, shape, constants)


def norm(size, pass_, operands):
    constants = {name: operands[name] for name in ("weight", "bias", "mean", "var") if name in operands}
    kinds = {
        "batch": ("BatchNormalization", {"epsilon": 1e-5}),
        "instance": ("InstanceNormalization", {"epsilon": 1e-5}),
        "layer": ("LayerNormalization", {"epsilon": 1e-5}),
        "response": ("LRN", {"size": size.window, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}),
    }
    if size.kind not in kinds:
        raise Unsupported(f"operator set 17 has no {size.kind} norm")
    kind, settings = kinds[size.kind]
    node = helper.make_node(kind, ["x", *constants], ["y"], **settings)
    return Model([node], {"x": operands["x"]}, size.shape, constants)


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
    "recurrent": recurrent,
}


def configure(options):
    """Nothing: threads belong to a session."""


def prepare(task, mode, options, operands):
    if helper is None:
        raise Unsupported("needs the package onnx to write a model")
    model = OPS[task.op](task.size, task.pass_, operands)
    fetch = (lambda value: value.numpy()[:, 0]) if task.op == "recurrent" else (lambda value: value.numpy())
    return bound(model, options["threads"]), fetch
