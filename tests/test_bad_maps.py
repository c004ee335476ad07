"""Wrong calls of 1-D, 3-D and transposed convolution: see wrong_calls.py."""

from wrong_calls import REFUSED, Noun, array

from fastconv import ops


def operands():
    arrays = {
        "x": array(2, 4, 5, 6),
        "w": array(6, 4, 3, 3),
        "bias": array(6),
        "dy": array(2, 6, 5, 6),
        "line": array(2, 4, 9),
        "line_w": array(6, 4, 3),
        "line_dy": array(2, 6, 9),
        "volume": array(2, 4, 3, 4, 5),
        "volume_w": array(6, 4, 3, 3, 3),
        "volume_dy": array(2, 6, 3, 4, 5),
        "up1_w": array(4, 6, 3),
        "up1_dy": array(2, 6, 19),
        "up2_w": array(4, 6, 3, 3),
        "up2_dy": array(2, 6, 10, 12),
        "up3_w": array(4, 6, 2, 2, 2),
        "up3_dy": array(2, 6, 6, 8, 10),
        "read_only": array(2, 6, 5, 6),
    }
    arrays["read_only"].flags.writeable = False
    return arrays | {"packed": ops.conv2d_pack(arrays["w"])}


VALID = {
    "conv1d": "ops.conv1d({line}, {line_w}, {bias}, padding=1)",
    "conv1d_backward_input": "ops.conv1d_backward_input({line_dy}, {line_w}, (2, 4, 9), padding=1)",
    "conv1d_backward_weight": "ops.conv1d_backward_weight({line_dy}, {line}, (6, 4, 3), padding=1)",
    "conv3d": "ops.conv3d({volume}, {volume_w}, {bias}, padding=1)",
    "conv3d_backward_input": "ops.conv3d_backward_input({volume_dy}, {volume_w}, (2, 4, 3, 4, 5), padding=1)",
    "conv3d_backward_weight": "ops.conv3d_backward_weight({volume_dy}, {volume}, (6, 4, 3, 3, 3), padding=1)",
    "conv_transpose1d": "ops.conv_transpose1d({line}, {up1_w}, {bias}, stride=2)",
    "conv_transpose1d_backward_input": "ops.conv_transpose1d_backward_input({up1_dy}, {up1_w}, (2, 4, 9), stride=2)",
    "conv_transpose1d_backward_weight": "ops.conv_transpose1d_backward_weight({up1_dy}, {line}, (4, 6, 3), stride=2)",
    "conv_transpose2d": "ops.conv_transpose2d({x}, {up2_w}, {bias}, stride=2, padding=1, output_padding=1)",
    "conv_transpose2d_backward_input": "ops.conv_transpose2d_backward_input({up2_dy}, {up2_w}, (2, 4, 5, 6), stride=2, "
    "padding=1, output_padding=1)",
    "conv_transpose2d_backward_weight": "ops.conv_transpose2d_backward_weight({up2_dy}, {x}, (4, 6, 3, 3), stride=2, "
    "padding=1, output_padding=1)",
    "conv_transpose3d": "ops.conv_transpose3d({volume}, {up3_w}, {bias}, stride=2)",
    "conv_transpose3d_backward_input": "ops.conv_transpose3d_backward_input({up3_dy}, {up3_w}, (2, 4, 3, 4, 5), "
    "stride=2)",
    "conv_transpose3d_backward_weight": "ops.conv_transpose3d_backward_weight({up3_dy}, {volume}, (4, 6, 2, 2, 2), "
    "stride=2)",
}


def refused():
    line, volume = "ops.conv1d(line, line_w, bias, {})", "ops.conv3d(volume, volume_w, bias, {})"
    up1, up2 = "ops.conv_transpose1d(line, up1_w, bias, {})", "ops.conv_transpose2d(x, up2_w, bias, {})"
    up3 = "ops.conv_transpose3d(volume, up3_w, bias, {})"
    up_input = "ops.conv_transpose2d_backward_input(up2_dy, up2_w, (2, 4, 5, 6), {})"
    up_weight = "ops.conv_transpose2d_backward_weight(up2_dy, x, (4, 6, 3, 3), {})"
    for function, call, rank in (
        ("conv1d", line, 1),
        ("conv1d_backward_input", "ops.conv1d_backward_input(line_dy, line_w, (2, 4, 9), {})", 1),
        ("conv1d_backward_weight", "ops.conv1d_backward_weight(line_dy, line, (6, 4, 3), {})", 1),
        ("conv3d", volume, 3),
        ("conv3d_backward_input", "ops.conv3d_backward_input(volume_dy, volume_w, (2, 4, 3, 4, 5), {})", 3),
        ("conv3d_backward_weight", "ops.conv3d_backward_weight(volume_dy, volume, (6, 4, 3, 3, 3), {})", 3),
        ("conv_transpose1d", up1, 1),
        ("conv_transpose2d", up2, 2),
        ("conv_transpose2d_backward_input", up_input, 2),
        ("conv_transpose2d_backward_weight", up_weight, 2),
        ("conv_transpose3d", up3, 3),
    ):
        for name in ("stride", "dilation", "output_padding") if "transpose" in function else ("stride", "dilation"):
            for value in ("-1", str((-1,) * rank), "-(2**63)", str((1,) * (rank + 1)), "()"):
                yield function, call.format(f"{name}={value}"), ValueError, [name, str(eval(value))]
            for value in ("1.5", "None", "'1'", str(("1",) * rank), "f32(2)", "{}"):
                yield function, call.format(f"{name}={value}"), TypeError, [name]
        for value in ("0", str((0,) * rank)):
            yield function, call.format(f"stride={value}"), ValueError, ["stride", ">= 1"]
        for value in ("2**62", "2**63", "2**70"):
            yield function, call.format(f"padding={value}"), REFUSED, []
            yield function, call.format(f"dilation={value}"), REFUSED, []
            yield function, call.format(f"groups={value}"), ValueError, ["groups"]
        for value in ("-1", "'full'", "((1, 2, 3),)", str(((1, -1),) * rank), "(1, 2, 3, 4)"):
            yield function, call.format(f"padding={value}"), ValueError, ["padding"]
        for value in ("1.5", "None", "b'same'", str(((1, 1.5),) * rank)):
            yield function, call.format(f"padding={value}"), TypeError, ["padding"]
        yield function, call.format("padding='same', stride=2"), ValueError, ["padding='same'", "stride"]
        for value in ("0", "-1", "3", "5"):
            yield function, call.format(f"groups={value}"), ValueError, ["groups"]
        for value in ("1.0", "None", "'1'"):
            yield function, call.format(f"groups={value}"), TypeError, ["groups"]
        end = {"conv_transpose2d": "stride=2, padding=1, output_padding=1"}.get(function.split("_back")[0])
        end = end or ("stride=2" if "transpose" in function else "padding=1")
        for value in ("'fft'", "''", "None", "1", "'depthwise'"):
            yield function, call.format(f"algorithm={value}, {end}"), (ValueError, TypeError), ["algorithm"]
    for function, call in (("conv1d", line), ("conv3d", volume), ("conv_transpose2d", up2)):
        for value in ("'swish'", "()", "1", "('relu', 1.0)"):
            yield function, call.format(f"activation={value}, padding=1"), (ValueError, TypeError), ["activation"]
        for value in ("line", "dy[0]", "read_only", "np.broadcast_to(f32(0), (2, 6, 9))"):
            yield function, call.format(f"padding=1, out={value}"), ValueError, ["out"]
        yield function, call.format("padding=1, out=1.0"), TypeError, ["out"]
    for function, call in (("conv_transpose1d", up1), ("conv_transpose2d", up2), ("conv_transpose3d", up3)):
        for value, end in (("1", ""), ("2", ", stride=2"), ("3", ", stride=2, dilation=3"), ("2**62", "")):
            yield function, call.format(f"output_padding={value}{end}"), ValueError, ["output_padding"]
        yield function, call.format("padding=100"), ValueError, ["padding=100", ">= 1"]
        yield function, call.format("stride=2**62"), REFUSED, []
    yield "conv1d", "ops.conv1d(line, line_w[:, :3])", ValueError, ["weight", "(6, 3, 3)", "4"]
    yield "conv1d", "ops.conv1d(x, line_w)", ValueError, ["x", "3 dimensions"]
    yield "conv1d", "ops.conv1d(line, w)", ValueError, ["weight", "3 dimensions"]
    yield "conv1d", "ops.conv1d(line, packed)", TypeError, ["weight"]
    yield "conv1d", "ops.conv1d(line[..., :2], line_w)", ValueError, ["weight", "(3,)", "fit", "(2,)"]
    yield "conv1d", "ops.conv1d(line, line_w, residual=line_dy)", ValueError, ["residual", "(2, 6, 7)"]
    yield "conv1d", "ops.conv1d(line[..., :0], line_w, padding=5)", ValueError, ["x", "(2, 4, 0)"]
    yield "conv3d", "ops.conv3d(volume, volume_w[..., :0], padding=5)", ValueError, ["weight", "(6, 4, 3, 3, 0)"]
    yield "conv3d", "ops.conv3d(volume, volume_w, bias[:5], padding=1)", ValueError, ["bias", "(5,)"]
    yield "conv_transpose2d", "ops.conv_transpose2d(x, w)", ValueError, ["weight", "(6, 4, 3, 3)", "4"]
    yield "conv_transpose2d", "ops.conv_transpose2d(x, up2_w, bias, groups=2)", ValueError, ["bias", "(12,)"]
    for dy in ("line_dy[:1]", "line_dy[:, :5]", "line_dy[..., 1:]", "line_dy[0]", "line_dy.T"):
        call = f"ops.conv1d_backward_input({dy}, line_w, (2, 4, 9), padding=1)"
        yield "conv1d_backward_input", call, ValueError, ["dy"]
        call = f"ops.conv1d_backward_weight({dy}, line, (6, 4, 3), padding=1)"
        yield "conv1d_backward_weight", call, ValueError, ["dy"]
    for dy in ("up2_dy[:1]", "up2_dy[:, :5]", "up2_dy[..., 1:]", "up2_dy[0]"):
        yield "conv_transpose2d_backward_input", up_input.replace("up2_dy", dy).format("stride=2"), ValueError, ["dy"]
        yield "conv_transpose2d_backward_weight", up_weight.replace("up2_dy", dy).format("stride=2"), ValueError, ["dy"]
    for shape in ("None", "5", "(2, 4, 9.0)", "'abc'"):
        call = f"ops.conv1d_backward_input(line_dy, line_w, {shape}, padding=1)"
        yield "conv1d_backward_input", call, TypeError, ["x_shape"]
    for shape in ("(2, 4)", "(2, 4, -9)", "(2, 4, 8)", "(2, 4, 2**62)", "(2, 4, 9, 1)", "(2**63, 4, 9)"):
        call = f"ops.conv1d_backward_input(line_dy, line_w, {shape}, padding=1)"
        yield "conv1d_backward_input", call, ValueError, []
    # Sizes that no machine has.
    yield "conv1d", "ops.conv1d(huge(1, 2**20, 2**38), huge(1, 2**20, 1))", REFUSED, []
    yield "conv3d", "ops.conv3d(huge(1, 1, 2**20, 2**20, 2**20), huge(1, 1, 2, 1, 1))", REFUSED, []
    call = "ops.conv3d_backward_input(huge(1, 1, 1, 1, 1), huge(1, 1, 1, 1, 1), (1, 1, 2**58, 1, 1), stride=2**58)"
    yield "conv3d_backward_input", call, REFUSED, []
    yield "conv_transpose2d", "ops.conv_transpose2d(huge(1, 1, 2**29, 2**29), huge(1, 1, 1, 1))", REFUSED, []
    yield "conv_transpose2d", "ops.conv_transpose2d(x, huge(4, 2**57, 1, 1))", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused, optional=frozenset({"bias"}))
test_calls = NOUN.test()
