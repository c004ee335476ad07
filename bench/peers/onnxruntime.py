"""onnxruntime: a model of one node, weights as initialisers, in- and output bound to memory beforehand."""

import numpy as np
import onnxruntime

from bench.peers import Unsupported

VERSION = onnxruntime.__version__


def model(nodes, inputs, y_shape, constants, opset=17):
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise Unsupported("needs the package onnx to write a model") from None
    graph = helper.make_graph(
        nodes if isinstance(nodes, list) else [nodes],
        "one_node",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 20 else 9).SerializeToString()


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


def interpolate(size, pass_, operands, threads):
    from onnx import helper

    rules = {
        "nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"coordinate_transformation_mode": "pytorch_half_pixel"},
        "bicubic": {"coordinate_transformation_mode": "pytorch_half_pixel", "cubic_coeff_a": -0.75},
    }[pass_]
    mode = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}[pass_]
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, **rules)
    scales = np.array([1, 1, size.factor, size.factor], np.float32)
    serialized = model(node, {"x": size.x_shape}, size.y_shape, {"scales": scales})
    return bound(serialized, operands, size.y_shape, threads)


def rearrange(size, pass_, operands, threads):
    from onnx import helper

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
    return bound(model(nodes, {"x": (n, c, h, w)}, shape, constants), operands, shape, threads)


def norm(size, operands, threads):
    from onnx import helper

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
    return bound(model(node, {"x": size.shape}, size.shape, constants), {"x": operands["x"]}, size.shape, threads)


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
        node = (
            helper.make_node("Gemm", ["a", "b"], ["y"], transB=1)
            if size.linear
            else helper.make_node("MatMul", ["a", "b"], ["y"])
        )
        # A batch has no weights: both sides are given anew, as in attention.
        inputs = {"a": size.a_shape} | ({"b": size.b_shape} if size.batch > 1 else {})
        constants = {} if size.batch > 1 else {"b": operands["b"]}
        serialized = model(node, inputs, size.c_shape, constants)
        return bound(serialized, {name: operands[name] for name in inputs}, size.c_shape, options["threads"])
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
    if task.op in ("interpolate", "rearrange"):
        kind = {"interpolate": interpolate, "rearrange": rearrange}[task.op]
        return kind(size, task.pass_, operands, options["threads"])
    if task.op == "activation":
        if task.pass_ == "silu":
            node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft", alpha=1.0)
        elif task.pass_ in ("logsigmoid", "hardtanh"):
            raise Unsupported(f"the operator set has no {task.pass_}")
        else:
            name = {"prelu": "PRelu"}.get(task.pass_, task.pass_.capitalize())
            node = helper.make_node(name, list(operands), ["y"])
        constants = {name: value for name, value in operands.items() if name != "x"}
        serialized = model(node, {"x": (size.count,)}, (size.count,), constants, opset=20)
        return bound(serialized, {"x": operands["x"]}, (size.count,), options["threads"])
    if task.op == "elementwise":
        node = helper.make_node("Mul" if task.pass_ in ("mul", "gate") else "Add", ["a", "b"], ["y"])
        serialized = model(node, {name: value.shape for name, value in operands.items()}, size.shape, {})
        return bound(serialized, operands, size.shape, options["threads"])
    if task.op == "softmax":
        kind = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[task.pass_]
        serialized = model(helper.make_node(kind, ["x"], ["y"], axis=size.axis), {"x": size.shape}, size.shape, {})
        return bound(serialized, operands, size.shape, options["threads"])
    if task.op == "norm":
        return norm(size, operands, options["threads"])
    return recurrent(size, operands, options["threads"])
