"""Wrong calls of sums and products: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, WRONG_ACTIVATIONS, WRONG_OUT_TYPES, Noun, array, f32


def operands():
    arrays = {
        "a": array(2, 4, 5, 6),
        "b": array(4, 1, 1),
        "dy": array(2, 4, 5, 6),
        "out": np.full((2, 4, 5, 6), 7, f32),
        "read_only": array(2, 4, 5, 6),
    }
    arrays["read_only"].flags.writeable = False
    return arrays


VALID = {
    "add": "ops.add({a}, {b}, activation='mish')",
    "add_backward": "ops.add_backward({dy}, (2, 4, 5, 6), (4, 1, 1))",
    "mul": "ops.mul({a}, {b})",
    "mul_backward": "ops.mul_backward({dy}, {a}, {b})",
}


def refused():
    for name in ("add", "mul"):
        for value in WRONG_OUT_TYPES:
            yield name, f"ops.{name}(a, b, out={value})", TypeError, ["out"]
        for value in ("out[0]", "out[:1]", "read_only", "out.ravel()", "b"):
            yield name, f"ops.{name}(a, b, out={value})", ValueError, ["out"]
        yield name, f"ops.{name}(b, b, out=out)", ValueError, ["out", "(2, 4, 5, 6)", "(4, 1, 1)"]
        yield name, f"ops.{name}(a, b[:3])", ValueError, ["(2, 4, 5, 6)", "(3, 1, 1)", "broadcast"]
        yield name, f"ops.{name}(a, 1.0)", TypeError, ["b is float"]
        yield name, f"ops.{name}({BIG}, b[:1])", REFUSED, []
        yield name, f"ops.{name}(huge(2**40, 1), huge(1, 2**40))", REFUSED, []
    for value in WRONG_ACTIVATIONS:
        yield "add", f"ops.add(a, b, activation={value})", (ValueError, TypeError), ["activation"]
    for dy in ("dy[0]", "dy[:1]", "dy[..., 1:]", "dy[None]"):
        yield "add_backward", f"ops.add_backward({dy}, (2, 4, 5, 6), (4, 1, 1))", ValueError, ["dy"]
        yield "mul_backward", f"ops.mul_backward({dy}, a, b)", ValueError, ["dy"]
    for shape in ("(4, 5)", "(3, 1, 1)", "(2, 4, 5, -6)", "(2, 2, 4, 5, 6)"):
        yield "add_backward", f"ops.add_backward(dy, (2, 4, 5, 6), {shape})", ValueError, []
        yield "add_backward", f"ops.add_backward(dy, {shape}, (2, 4, 5, 6))", ValueError, []
    for shape in ("None", "4", "(4, 1.0, 1)", "'ab'"):
        yield "add_backward", f"ops.add_backward(dy, (2, 4, 5, 6), {shape})", TypeError, ["b_shape"]
    yield "add_backward", "ops.add_backward(dy, (2**40, 1), (1, 2**40))", ValueError, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
