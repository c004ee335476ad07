"""Wrong calls of PReLU and gated linear units: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array, f32


def operands():
    arrays = {
        "x": array(2, 4, 5, 6),
        "dy": array(2, 4, 5, 6),
        "half": array(2, 2, 5, 6),
        "weight": array(4),
        "out": np.full((2, 4, 5, 6), 7, f32),
        "read_only": array(2, 4, 5, 6),
    }
    arrays["read_only"].flags.writeable = False
    return arrays


VALID = {
    "prelu": "ops.prelu({x}, {weight})",
    "prelu_backward": "ops.prelu_backward({dy}, {x}, {weight})",
    "glu": "ops.glu({x}, 1)",
    "glu_backward": "ops.glu_backward({half}, {x}, 1)",
}


def refused():
    for value in WRONG_OUT_TYPES:
        yield "prelu", f"ops.prelu(x, weight, out={value})", TypeError, ["out"]
        yield "glu", f"ops.glu(x, 1, out={value})", TypeError, ["out"]
        yield "glu_backward", f"ops.glu_backward(half, x, 1, out={value})", TypeError, ["out"]
    for value in ("out[0]", "out[:1]", "read_only", "out.ravel()"):
        yield "prelu", f"ops.prelu(x, weight, out={value})", ValueError, ["out"]
        yield "glu_backward", f"ops.glu_backward(half, x, 1, out={value})", ValueError, ["out"]
    yield "glu", "ops.glu(x, 1, out=out)", ValueError, ["out", "(2, 4, 5, 6)", "(2, 2, 5, 6)"]
    for weight in ("weight[:3]", "weight[:2]", "weight[:0]", "weight[None]", "weight[0, ...]", "weight[:, None, None]"):
        yield "prelu", f"ops.prelu(x, {weight})", ValueError, ["weight", "(4,)", "(1,)"]
        yield "prelu_backward", f"ops.prelu_backward(dy, x, {weight})", ValueError, ["weight", "(4,)", "(1,)"]
    yield "prelu", "ops.prelu(x[0, 0, 0], weight)", ValueError, ["weight", "(4,)", "(1,)"]
    for dy in ("dy[0]", "dy[:1]", "dy[..., 1:]", "dy.T"):
        yield "prelu_backward", f"ops.prelu_backward({dy}, x, weight)", ValueError, ["dy"]
        yield "glu_backward", f"ops.glu_backward({dy}, x, 1)", ValueError, ["dy", "(2, 2, 5, 6)"]
    for value in ("4", "-5", "2**62", "2**70"):
        yield "glu", f"ops.glu(x, {value})", ValueError, ["axis"]
        yield "glu_backward", f"ops.glu_backward(half, x, {value})", ValueError, ["axis"]
    for value in ("1.0", "None", "'1'", "(0, 1)"):
        yield "glu", f"ops.glu(x, {value})", TypeError, ["axis"]
    yield "glu", "ops.glu(x, 2)", ValueError, ["(2, 4, 5, 6)", "even", "axis 2"]
    yield "glu", "ops.glu(np.array(1, f32))", ValueError, ["axis"]
    yield "prelu", f"ops.prelu({BIG}, weight[:1])", REFUSED, []
    yield "glu", f"ops.glu({BIG}, 1)", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
