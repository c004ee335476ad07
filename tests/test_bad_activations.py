"""Wrong calls of activations and softmax: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array, f32


def operands():
    arrays = {
        "x": array(2, 4, 5, 6),
        "dy": array(2, 6, 5, 6),
        "out": np.full((2, 6, 5, 6), 7, f32),
        "read_only": array(2, 6, 5, 6),
    }
    arrays["read_only"].flags.writeable = False
    return arrays


VALID = {
    "relu": "ops.relu({x})",
    "relu_backward": "ops.relu_backward({x}, {x})",
    "leaky_relu": "ops.leaky_relu({x}, 0.5)",
    "exp": "ops.exp({x})",
    "exp_backward": "ops.exp_backward({x}, {x})",
    "sigmoid": "ops.sigmoid({x})",
    "sigmoid_backward": "ops.sigmoid_backward({x}, {x})",
    "gelu": "ops.gelu({x})",
    "softplus": "ops.softplus({x})",
    "mish": "ops.mish({x})",
    "mish_backward": "ops.mish_backward({x}, {x})",
    "selu": "ops.selu({x})",
    "celu": "ops.celu({x}, 0.5)",
    "celu_backward": "ops.celu_backward({x}, {x}, 0.5)",
    "softsign": "ops.softsign({x})",
    "logsigmoid": "ops.logsigmoid({x})",
    "hardtanh": "ops.hardtanh({x}, -1, 2)",
    "hardtanh_backward": "ops.hardtanh_backward({x}, {x}, -1, 2)",
    "threshold": "ops.threshold({x}, 1, 2)",
    "threshold_backward": "ops.threshold_backward({x}, {x}, 1)",
    "softmax": "ops.softmax({x}, 1)",
    "softmax_backward": "ops.softmax_backward({x}, {x}, 1)",
    "log_softmax": "ops.log_softmax({x})",
    "log_softmax_backward": "ops.log_softmax_backward({x}, {x})",
}


def refused():
    for value in WRONG_OUT_TYPES:
        yield "relu", f"ops.relu(dy, out={value})", TypeError, ["out"]
        yield "exp", f"ops.exp(dy, out={value})", TypeError, ["out"]
        yield "exp_backward", f"ops.exp_backward(dy, dy, out={value})", TypeError, ["out"]
        yield "softmax", f"ops.softmax(dy, out={value})", TypeError, ["out"]
    for value in ("out[0]", "out[:1]", "read_only", "out.ravel()"):
        yield "relu", f"ops.relu(dy, out={value})", ValueError, ["out"]
        yield "exp", f"ops.exp(dy, out={value})", ValueError, ["out"]
        yield "exp_backward", f"ops.exp_backward(dy, dy, out={value})", ValueError, ["out"]
        yield "softmax", f"ops.softmax(dy, out={value})", ValueError, ["out"]
    for name in ("relu_backward", "exp_backward", "sigmoid_backward", "softmax_backward", "mish_backward"):
        for dy in ("x[:1]", "x[..., 1:]", "x[0]", "x[None]", "x.T"):
            yield name, f"ops.{name}({dy}, x)", ValueError, ["dy"]
    for value in ("4", "-5", "2**62", "2**70"):
        yield "softmax", f"ops.softmax(x, {value})", ValueError, ["axis"]
    for value in ("1.0", "None", "'1'", "(0, 1)"):
        yield "softmax", f"ops.softmax(x, {value})", TypeError, ["axis"]
    for value in ("None", "'a'", "x", "1j"):
        yield "leaky_relu", f"ops.leaky_relu(x, {value})", TypeError, ["negative_slope"]
    for value in ("'erf'", "None", "True"):
        yield "gelu", f"ops.gelu(x, {value})", (ValueError, TypeError), ["approximate"]
    yield "softplus", "ops.softplus(x, beta=0.0)", ValueError, ["beta"]
    for value in ("None", "'a'", "x", "1j"):
        yield "celu", f"ops.celu(x, {value})", TypeError, ["alpha"]
        yield "threshold", f"ops.threshold(x, {value}, 0)", TypeError, ["threshold"]
        yield "threshold", f"ops.threshold(x, 0, {value})", TypeError, ["value"]
        yield "hardtanh", f"ops.hardtanh(x, {value}, 0)", TypeError, ["min_val"]
        yield "hardtanh", f"ops.hardtanh(x, 0, {value})", TypeError, ["max_val"]
    for value in ("0", "-1.0", "1e-40", "np.inf", "np.nan"):
        yield "celu", f"ops.celu(x, {value})", ValueError, ["alpha", eval(value, {"np": np})]
        yield "celu_backward", f"ops.celu_backward(x, x, {value})", ValueError, ["alpha"]
    for limits in ("2, 1", "np.nan, 1", "1, np.nan"):
        yield "hardtanh", f"ops.hardtanh(x, {limits})", ValueError, ["min_val", "max_val"]
        yield "hardtanh_backward", f"ops.hardtanh_backward(x, x, {limits})", ValueError, ["min_val", "max_val"]
    yield "relu", f"ops.relu({BIG})", REFUSED, []
    yield "exp", f"ops.exp({BIG})", REFUSED, []
    yield "softmax", f"ops.softmax({BIG}, 1)", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
