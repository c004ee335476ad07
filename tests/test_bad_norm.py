"""Wrong calls of normalisation: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array, f32


def operands():
    return {
        "x": array(2, 4, 5, 6),
        "out": np.zeros((2, 4, 5, 6), f32),
        "four": array(4),
        "ones4": np.ones(4, f32),
        "mean8": array(2, 4),
        "var8": np.ones((2, 4), f32),
        "mean4": array(2, 2),
        "var4": np.ones((2, 2), f32),
        "six": array(6),
        "mean40": array(2, 4, 5),
        "var40": np.ones((2, 4, 5), f32),
    }


VALID = {
    "batch_norm": "ops.batch_norm({x}, {four}, {ones4}, {four}, {four})",
    "batch_norm_training": "ops.batch_norm_training({x}, {four}, {four})",
    "batch_norm_backward": "ops.batch_norm_backward({x}, {x}, {four}, {ones4}, {four})",
    "group_norm": "ops.group_norm({x}, 2, {four}, {four})",
    "group_norm_training": "ops.group_norm_training({x}, 2, {four}, {four})",
    "group_norm_backward": "ops.group_norm_backward({x}, {x}, {mean4}, {var4}, 2, {four})",
    "instance_norm": "ops.instance_norm({x}, {four}, {four})",
    "instance_norm_training": "ops.instance_norm_training({x}, {four}, {four})",
    "instance_norm_backward": "ops.instance_norm_backward({x}, {x}, {mean8}, {var8}, {four})",
    "layer_norm": "ops.layer_norm({x}, 6, {six}, {six})",
    "layer_norm_training": "ops.layer_norm_training({x}, 6, {six}, {six})",
    "layer_norm_backward": "ops.layer_norm_backward({x}, {x}, {mean40}, {var40}, 6, {six})",
    "rms_norm": "ops.rms_norm({x}, 6, {six})",
    "rms_norm_training": "ops.rms_norm_training({x}, 6, {six})",
    "rms_norm_backward": "ops.rms_norm_backward({x}, {x}, {var40}, 6, {six})",
    "local_response_norm": "ops.local_response_norm({x}, 5)",
    "local_response_norm_backward": "ops.local_response_norm_backward({x}, {x}, 5)",
}
FORWARD = {
    "batch_norm": "x, four, ones4",
    "group_norm": "x, 2",
    "instance_norm": "x",
    "layer_norm": "x, 6",
    "rms_norm": "x, 6",
    "local_response_norm": "x, 5",
    "local_response_norm_backward": "x, x, 5",
}


def refused():
    for name in ("mean", "var", "weight", "bias"):
        for value in ("four[:3]", "four[None]", "array(5)"):
            given = {"mean": "four", "var": "ones4", "weight": "None", "bias": "None", name: value}
            yield "batch_norm", f"ops.batch_norm(x, {', '.join(given.values())})", ValueError, [name]
    for function, given in FORWARD.items():
        for value in WRONG_OUT_TYPES:
            yield function, f"ops.{function}({given}, out={value})", TypeError, ["out"]
        for value in ("out[:1]", "out[None]", "out[..., 1:]", "huge(2, 4, 5, 6)"):
            yield function, f"ops.{function}({given}, out={value})", ValueError, ["out"]
        if "response" in function:
            continue
        names = [function] if function == "batch_norm" else [function, f"{function}_training"]
        for name in names:
            for value in ("-1.0", "float('nan')", "float('inf')"):
                yield name, f"ops.{name}({given}, eps={value})", ValueError, ["eps"]
            for value in ("None", "'1'", "1j", "[1]"):
                yield name, f"ops.{name}({given}, eps={value})", TypeError, ["eps"]
    yield "batch_norm", "ops.batch_norm(x[0, 0, 0], four, ones4)", ValueError, ["x"]
    yield "batch_norm_training", "ops.batch_norm_training(x[:0])", ValueError, ["x"]
    yield "batch_norm_training", "ops.batch_norm_training(x, eps=-1)", ValueError, ["eps"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x[:1], x, four, ones4)", ValueError, ["dy"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x, x, four[1:], ones4)", ValueError, ["mean"]
    yield "batch_norm", f"ops.batch_norm({BIG}, huge(2**12), huge(2**12))", REFUSED, []
    for value in ("0", "-1", "3", "5", "8"):
        yield "group_norm", f"ops.group_norm(x, {value})", ValueError, ["num_groups", value]
    for value in ("2.0", "None", "'2'", "(2,)"):
        yield "group_norm", f"ops.group_norm(x, {value})", TypeError, ["num_groups"]
    yield "group_norm", "ops.group_norm(x[:, :, :0], 2)", ValueError, ["x"]
    yield "group_norm_backward", "ops.group_norm_backward(x, x, mean8, var8, 2)", ValueError, ["mean"]
    yield "group_norm_backward", "ops.group_norm_backward(x, x, mean4, var8, 2)", ValueError, ["var"]
    yield "group_norm_backward", "ops.group_norm_backward(x, x, mean8, var8, 3)", ValueError, ["num_groups"]
    yield "instance_norm", "ops.instance_norm(x[0, 0])", ValueError, ["x", "at least one size"]
    yield "instance_norm_backward", "ops.instance_norm_backward(x, x, mean4, var8)", ValueError, ["mean"]
    for value in ("5", "(6, 6)", "()", "(2, 4, 5, 6, 1)", "(1, 2, 4, 5, 6)", "[]", "-6", "(5, -6)"):
        for function in ("layer_norm", "rms_norm"):
            yield function, f"ops.{function}(x, {value})", ValueError, ["normalized_shape"]
    for value in ("6.0", "None", "'6'", "(5, 6.0)", "(None,)", "{6}"):
        for function in ("layer_norm", "rms_norm_training"):
            yield function, f"ops.{function}(x, {value})", TypeError, ["normalized_shape"]
    yield "layer_norm_training", "ops.layer_norm_training(x[..., :0], 0)", ValueError, ["normalized_shape=0"]
    yield "layer_norm_backward", "ops.layer_norm_backward(x, x, mean8, var40, 6)", ValueError, ["mean"]
    yield "layer_norm_backward", "ops.layer_norm_backward(x, x, mean40, var8, 6)", ValueError, ["var"]
    yield "rms_norm_backward", "ops.rms_norm_backward(x, x, var8, 6)", ValueError, ["mean_square"]
    for value in ("0", "-1", "2**31", "2**70"):
        yield "local_response_norm", f"ops.local_response_norm(x, {value})", ValueError, ["size"]
    for value in ("5.0", "None", "'5'"):
        yield "local_response_norm", f"ops.local_response_norm(x, {value})", TypeError, ["size"]
    for name in ("alpha", "beta", "k"):
        for value in ("None", "'1'", "1j", "four"):
            yield "local_response_norm", f"ops.local_response_norm(x, 5, {name}={value})", TypeError, [name]
    yield "local_response_norm", "ops.local_response_norm(x[0, 0], 5)", ValueError, ["x", "at least one size"]
    yield "local_response_norm_backward", "ops.local_response_norm_backward(x[1:], x, 5)", ValueError, ["dy"]


NOUN = Noun(
    __file__,
    operands,
    VALID,
    refused,
    optional=frozenset({"four", "six"}),
    unbounded=frozenset(name for name in VALID if name.endswith("backward") and "response" not in name),
)
test_calls = NOUN.test()
