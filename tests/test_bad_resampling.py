"""Wrong calls of interpolation: see wrong_calls.py."""

from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array


def operands():
    return {
        "x": array(2, 4, 5, 6),
        "larger": array(2, 4, 10, 12),
        "sequence": array(2, 4, 5),
        "a": array(3, 4),
        "out": array(2, 4, 10, 12),
        "dout": array(2, 4, 5, 6),
    }


VALID = {
    "interpolate": "ops.interpolate({x}, scale_factor=2, mode='bilinear')",
    "interpolate_backward": "ops.interpolate_backward({larger}, (2, 4, 5, 6), scale_factor=2, mode='bilinear')",
}


def refused():
    forward, backward = "ops.interpolate(x, {})", "ops.interpolate_backward(larger, (2, 4, 5, 6), {})"
    for call, function in ((forward, "interpolate"), (backward, "interpolate_backward")):
        for value in ("0", "-1", "(4,)", "(4, 5, 6)", "(0, 4)", "2**62", "(2**40, 2**40)", "(2**31, 1)"):
            yield function, call.format(f"size={value}"), REFUSED, ["size"]
        for value in ("1.5", "'4'", "(4, 4.0)", "x", "(None, 4)"):
            yield function, call.format(f"size={value}"), TypeError, ["size"]
        for value in ("0", "-2", "(2,)", "(2, 2, 2)", "(2, 0)", "float('nan')", "float('inf')", "1e300", "1e-3", "0.1"):
            yield function, call.format(f"scale_factor={value}"), REFUSED, ["scale_factor" if value != "1e300" else ""]
        for value in ("'2'", "1j", "(2, None)", "x", "(2, [2])"):
            yield function, call.format(f"scale_factor={value}"), TypeError, ["scale_factor"]
        for value in ("'cubic'", "'linear'", "'area'", "''", "None", "0", "[]"):
            yield function, call.format(f"size=4, mode={value}"), ValueError, ["mode", eval(value)]
        yield function, call.format("size=4, align_corners=True"), ValueError, ["align_corners", "nearest"]
        yield function, call.format(""), ValueError, ["size", "scale_factor"]
        yield function, call.format("size=4, scale_factor=2"), ValueError, ["size", "scale_factor"]
    for mode in ("'bilinear'", "'bicubic'"):
        yield "interpolate", f"ops.interpolate(sequence, 4, mode={mode})", ValueError, ["mode", "linear"]
    yield "interpolate", "ops.interpolate(a, 4)", ValueError, ["x", "(3, 4)", "3 or 4"]
    yield "interpolate", "ops.interpolate(x[:, :, :0], 4)", ValueError, ["x", "(2, 4, 0, 6)"]
    for shape in ("(2, 4, 5)", "(2, 4, 5, 7)", "(2, 4, 5, -6)", "(1, 4, 5, 6)", "(2, 4, 0, 6)"):
        yield "interpolate_backward", f"ops.interpolate_backward(larger, {shape}, scale_factor=2)", ValueError, []
    for shape in ("None", "(2, 4, 5, 6.0)"):
        yield "interpolate_backward", f"ops.interpolate_backward(larger, {shape}, 4)", TypeError, ["x_shape"]
    for value in WRONG_OUT_TYPES:
        yield "interpolate", f"ops.interpolate(x, scale_factor=2, out={value})", TypeError, ["out"]
        call = f"ops.interpolate_backward(larger, (2, 4, 5, 6), scale_factor=2, out={value})"
        yield "interpolate_backward", call, TypeError, ["out"]
    yield "interpolate", "ops.interpolate(x, scale_factor=2, out=dout)", ValueError, ["out", "(2, 4, 10, 12)"]
    read_only = "np.broadcast_to(f32(0), (2, 4, 10, 12))"
    yield "interpolate", f"ops.interpolate(x, scale_factor=2, out={read_only})", ValueError, ["out", "read-only"]
    yield "interpolate", f"ops.interpolate({BIG}, 4)", REFUSED, []
    yield "interpolate_backward", f"ops.interpolate_backward({BIG}, (1, 2**12, 4, 4), (2**25, 2**22))", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
