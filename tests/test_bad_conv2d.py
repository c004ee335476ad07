"""Wrong calls of 2-D convolution: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, WRONG_ACTIVATIONS, WRONG_OUT_TYPES, Noun, array, f32

from fastconv import ops


def operands():
    arrays = {
        "x": array(2, 4, 5, 6),
        "w": array(6, 4, 3, 3),
        "bias": array(6),
        "dy": array(2, 6, 5, 6),
        "out": np.full((2, 6, 5, 6), 7, f32),
        "depthwise": array(4, 1, 3, 3),
        "read_only": array(2, 6, 5, 6),
    }
    arrays["read_only"].flags.writeable = False
    return arrays | {"packed": ops.conv2d_pack(arrays["w"])}


VALID = {
    "conv2d": "ops.conv2d({x}, {w}, {bias}, padding=1)",
    "conv2d_pack": "ops.conv2d_pack({w}).shape",
    "conv2d_plan": "ops.conv2d_plan((2, 4, 5, 6), (6, 4, 3, 3), padding=1).y_shape",
    "conv2d_backward_input": "ops.conv2d_backward_input({dy}, {w}, (2, 4, 5, 6), padding=1)",
    "conv2d_backward_weight": "ops.conv2d_backward_weight({dy}, {x}, (6, 4, 3, 3), padding=1)",
}

CONV = "ops.conv2d(x, w, bias, {})"
CONV_INPUT = "ops.conv2d_backward_input(dy, w, (2, 4, 5, 6), {})"
CONV_WEIGHT = "ops.conv2d_backward_weight(dy, x, (6, 4, 3, 3), {})"


def refused():
    yield from wrong_geometry()
    yield from wrong_operands()
    yield from shapes_that_do_not_fit()
    yield from huge_sizes()


def wrong_geometry():
    for function, call in (
        ("conv2d", CONV),
        ("conv2d_backward_input", CONV_INPUT),
        ("conv2d_backward_weight", CONV_WEIGHT),
    ):
        for name in ("stride", "dilation"):
            for value in ("0", "-1", "(1, 0)", "(-3, 1)", "-(2**63)"):
                yield function, call.format(f"{name}={value}, padding=1"), ValueError, [name, str(eval(value)), ">= 1"]
            for value in ("1.5", "None", "'1'", "(1.0, 1.5)", "(None, 1)", "f32(2)", "{}", "[[1, 1], 1]"):
                yield function, call.format(f"{name}={value}, padding=1"), TypeError, [name]
            for value in ("(1,)", "(1, 2, 3)", "()"):
                yield function, call.format(f"{name}={value}, padding=1"), ValueError, [name, value]
            for value in ("2**63", "2**64", "(1, 10**30)"):
                yield function, call.format(f"{name}={value}, padding=1"), ValueError, [name]
        yield function, call.format("stride=[0, 1], padding=1"), ValueError, ["stride=(0, 1)"]
        yield function, call.format("stride=1.0, padding=1"), TypeError, ["stride=1.0"]  # equal to a stride seen before
        for value in ("-1", "(0, -1)", "((0, 0), (0, -1))", "-2**62"):
            yield (
                function,
                call.format(f"padding={value}"),
                ValueError,
                ["padding", value.strip("()").split(" ")[-1].replace("2**62", "")],
            )
        for value in ("1.5", "None", "((0, 1.5), (0, 0))", "f32(1)"):
            yield function, call.format(f"padding={value}"), TypeError, ["padding"]
        for value in (
            "(1, 2, 3)",
            "(1,)",
            "((0, 0),)",
            "((0, 0), 1)",
            "((1, 2, 3), (0, 0))",
            "'full'",
            "''",
            "b'same'",
        ):
            yield function, call.format(f"padding={value}"), (ValueError, TypeError), ["padding"]
        for value in ("2**62", "2**63", "2**61", "10**40", "((0, 2**62), (2**62, 0))"):
            yield function, call.format(f"padding={value}"), REFUSED, []
        yield function, call.format("padding='same', stride=2"), ValueError, ["padding='same'", "stride"]
        yield function, call.format("dilation=3"), ValueError, ["fit"]
        yield function, call.format("dilation=2**62"), ValueError, ["fit"]
        for value in ("0", "-1", "-2**63"):
            yield function, call.format(f"groups={value}"), ValueError, ["groups", ">= 1"]
        for value in ("3", "4", "2", "2**62", "2**63", "2**70"):
            yield function, call.format(f"groups={value}"), ValueError, ["groups"]
        for value in ("1.0", "None", "'1'", "(1, 1)"):
            yield function, call.format(f"groups={value}"), TypeError, ["groups"]
        for value in ("'fft'", "''", "None", "1", "'Direct'"):
            yield (
                function,
                call.format(f"algorithm={value}, padding=1"),
                (ValueError, TypeError),
                ["algorithm", eval(value)],
            )
        yield function, call.format("algorithm=[], padding=1"), (ValueError, TypeError), ["algorithm"]
        yield function, call.format("algorithm='depthwise', padding=1"), ValueError, ["algorithm", "depthwise"]
    for value in WRONG_ACTIVATIONS:
        yield "conv2d", CONV.format(f"activation={value}, padding=1"), (ValueError, TypeError), ["activation"]


def wrong_operands():
    yield "conv2d", "ops.conv2d(x, w, bias)", None, []
    yield "conv2d", "ops.conv2d(x, w[:, :3])", ValueError, ["weight", "(6, 3, 3, 3)"]
    yield "conv2d", "ops.conv2d(x[:, :3], w)", ValueError, ["weight"]
    yield "conv2d", "ops.conv2d(x, w, bias[:5])", ValueError, ["bias", "(5,)", "(6,)"]
    yield "conv2d", "ops.conv2d(x, w, bias[None])", ValueError, ["bias", "(1, 6)"]
    yield "conv2d", "ops.conv2d(x, depthwise, groups=2)", ValueError, ["weight"]
    yield "conv2d", "ops.conv2d(x, w, residual=dy[:, :5], padding=1)", ValueError, ["residual", "(2, 6, 5, 6)"]
    yield "conv2d", "ops.conv2d(x, w, residual=dy[0], padding=1)", ValueError, ["residual", "4 dimensions"]
    yield "conv2d", "ops.conv2d(x, w, residual=1.0, padding=1)", TypeError, ["residual"]
    yield "conv2d", "ops.conv2d(x[0], w)", ValueError, ["x", "(4, 5, 6)", "4 dimensions"]
    yield "conv2d", "ops.conv2d(x[:, :, :0], w)", ValueError, []
    yield "conv2d", "ops.conv2d(x, w[:0])", ValueError, ["weight"]
    yield "conv2d", "ops.conv2d(x[:, :, :2], w)", ValueError, ["fit"]
    yield "conv2d", "ops.conv2d(x, packed, groups=2, padding=1)", ValueError, []
    yield "conv2d", "ops.conv2d(x[:, :3], packed, padding=1)", ValueError, ["weight"]
    yield "conv2d", "ops.conv2d(x, packed, padding=1, algorithm='im2col')", ValueError, ["weight", "packed"]
    yield "conv2d", "ops.conv2d(packed, w)", TypeError, ["x"]
    for value, words in (
        ("out[:1]", ["out", "(1, 6, 5, 6)", "(2, 6, 5, 6)"]),
        ("out.transpose(0, 2, 3, 1)", ["out"]),
        ("out[0]", ["out"]),
        ("read_only", ["out", "read-only"]),
        ("np.broadcast_to(f32(0), out.shape)", ["out", "read-only"]),
    ):
        yield "conv2d", f"ops.conv2d(x, w, padding=1, out={value})", ValueError, words
    for value in WRONG_OUT_TYPES:
        yield "conv2d", f"ops.conv2d(x, w, padding=1, out={value})", TypeError, ["out"]
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=0)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=5)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=2**62)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w[:0])", ValueError, ["weight"]
    yield "conv2d_pack", "ops.conv2d_pack(w[0])", ValueError, ["weight"]
    yield "conv2d_pack", "ops.conv2d_pack(w, algorithm='fft')", ValueError, ["algorithm"]


def shapes_that_do_not_fit():
    """The shape of a second tensor, where the field's crashes come from."""
    for dy in ("dy[:1]", "dy[:, :5]", "dy[:, :, :4]", "dy[..., 1:]", "dy[0]", "dy.repeat(2, axis=1)", "dy.T", "dy[:0]"):
        for algorithm in ("auto", "im2col"):
            end = f"padding=1, algorithm={algorithm!r})"
            call = f"ops.conv2d_backward_input({dy}, w, (2, 4, 5, 6), {end}"
            yield "conv2d_backward_input", call, ValueError, ["dy"]
            call = f"ops.conv2d_backward_weight({dy}, x, (6, 4, 3, 3), {end}"
            yield "conv2d_backward_weight", call, ValueError, ["dy"]
    shapes = [
        "(2, 4, 5)",
        "()",
        "(2, 4, 5, -6)",
        "(2, 3, 5, 6)",
        "(2, 4, 2**62, 6)",
        "(2**63, 4, 5, 6)",
        "(2, 0, 5, 6)",
    ]
    for shape in (*shapes, "(2, 4, 1, 6)", "(2, 4, 50, 6)", "(2, 4, 5, 0)", "(2, 4, 5, 6, 1)", "(2**61, 4, 5, 6)"):
        yield "conv2d_backward_input", f"ops.conv2d_backward_input(dy, w, {shape}, padding=1)", ValueError, []
    for shape in ("None", "5", "(2, 4, 5, 6.5)", "(2, 4, 5, None)", "(2, 4, 5, '6')", "{2, 4}", "'abcd'"):
        call = f"ops.conv2d_backward_input(dy, w, {shape}, padding=1)"
        yield "conv2d_backward_input", call, (TypeError, ValueError), ["x_shape"]
    shapes = [
        "(6, 4, 3)",
        "(6, 4, 3, -3)",
        "(6, 3, 3, 3)",
        "(5, 4, 3, 3)",
        "(6, 4, 0, 3)",
        "(0, 4, 3, 3)",
        "(6, 4, 1, 1)",
    ]
    for shape in (*shapes, "(2**62, 4, 3, 3)", "(6, 2**62, 3, 3)", "(6, 4, 2**63, 3)", "(6, 4, 2**40, 2**40)"):
        yield "conv2d_backward_weight", f"ops.conv2d_backward_weight(dy, x, {shape}, padding=1)", ValueError, []
    for shape in ("None", "5", "(6, 4, 3, 3.5)", "(6, 4, 3, None)"):
        call = f"ops.conv2d_backward_weight(dy, x, {shape}, padding=1)"
        yield "conv2d_backward_weight", call, TypeError, ["weight_shape"]
    for shape in ("(2, 4, 5)", "(2, 4, 5, -1)", "(2**62, 2**62, 2**62, 4)", "(2, 4, 5, 6)[::-1]"):
        yield "conv2d_plan", f"ops.conv2d_plan({shape}, (6, 4, 3, 3), padding=1)", ValueError, []


def huge_sizes():
    for call in (
        f"ops.conv2d({BIG}, huge(1, 2**12, 1, 1))",
        f"ops.conv2d({BIG}, w)",
        "ops.conv2d(x, huge(2**59, 4, 1, 1))",
        "ops.conv2d(huge(2**57, 4, 2, 2), w, padding=1)",
        "ops.conv2d(huge(1, 1, 2**30, 2**29), huge(1, 1, 2**30, 2**29))",
        "ops.conv2d(x, w, padding=((2**40, 2**40), (2**18, 0)))",
        "ops.conv2d(huge(1, 1, 1, 1), huge(1, 1, 1, 1), padding=2**30)",
    ):
        yield "conv2d", call, REFUSED, []
    yield "conv2d_backward_input", "ops.conv2d_backward_input(dy, w, (2, 4, 2**58, 6), padding=1)", REFUSED, []
    call = "ops.conv2d_backward_input(huge(1, 1, 1, 1), huge(1, 1, 1, 1), (1, 1, 2**30, 2**30), stride=2**30)"
    yield "conv2d_backward_input", call, REFUSED, []
    call = "ops.conv2d_backward_weight(huge(1, 2**29, 1, 1), huge(1, 2**30, 1, 1), (2**29, 2**30, 1, 1))"
    yield "conv2d_backward_weight", call, REFUSED, []


def extreme():
    for stride in ("2**31", "2**62", "2**63 - 1"):
        for algorithm in ("auto", "im2col"):
            end = f"stride={stride}, algorithm={algorithm!r})"
            yield "conv2d", f"ops.conv2d(x, w, {end}", "ops.conv2d(x[:, :, :3, :3], w)"
            call = f"ops.conv2d_backward_input(dy[:, :, :1, :1], w, (2, 4, 5, 6), {end}"
            same = (
                "np.pad(ops.conv2d_backward_input(dy[:, :, :1, :1], w, (2, 4, 3, 3)), ((0, 0), (0, 0), (0, 2), (0, 3)))"
            )
            yield "conv2d_backward_input", call, same
            call = f"ops.conv2d_backward_weight(dy[:, :, :1, :1], x, (6, 4, 3, 3), {end}[0]"
            same = "ops.conv2d_backward_weight(dy[:, :, :1, :1], x[:, :, :3, :3], (6, 4, 3, 3))[0]"
            yield "conv2d_backward_weight", call, same
        call = f"ops.conv2d(x, depthwise, groups=4, stride={stride})"
        yield "conv2d", call, "ops.conv2d(x[:, :, :3, :3], depthwise, groups=4)"
        call = f"ops.conv2d_backward_input(x[:, :, :1, :1], depthwise, (2, 4, 3, 3), groups=4, stride={stride})"
        same = "ops.conv2d_backward_input(x[:, :, :1, :1], depthwise, (2, 4, 3, 3), groups=4)"
        yield "conv2d_backward_input", call, same
        call = f"ops.conv2d_backward_weight(x[:, :, :1, :1], x, (4, 1, 3, 3), groups=4, stride={stride})[0]"
        same = "ops.conv2d_backward_weight(x[:, :, :1, :1], x[:, :, :3, :3], (4, 1, 3, 3), groups=4)[0]"
        yield "conv2d_backward_weight", call, same
        call = f"ops.conv2d(x, w[:, :, :1, :1], dilation={stride})"
        yield "conv2d", call, "ops.conv2d(x, w[:, :, :1, :1])"


NOUN = Noun(__file__, operands, VALID, refused, extreme, optional=frozenset({"bias"}))
test_calls = NOUN.test()
