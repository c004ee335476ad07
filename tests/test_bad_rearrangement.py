"""Wrong calls of permutations, unfold and fold: see wrong_calls.py."""

from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array


def operands():
    return {
        "x": array(2, 12, 4, 6),
        "columns": array(2, 108, 24),
        "a": array(3, 4),
        "out": array(2, 12, 4, 6),
    }


VALID = {
    "pixel_shuffle": "ops.pixel_shuffle({x}, 2)",
    "pixel_shuffle_backward": "ops.pixel_shuffle_backward({x}, 2)",
    "pixel_unshuffle": "ops.pixel_unshuffle({x}, 2)",
    "pixel_unshuffle_backward": "ops.pixel_unshuffle_backward({x}, 2)",
    "channel_shuffle": "ops.channel_shuffle({x}, 4)",
    "channel_shuffle_backward": "ops.channel_shuffle_backward({x}, 4)",
    "unfold": "ops.unfold({x}, 3, padding=1)",
    "unfold_backward": "ops.unfold_backward({columns}, (2, 12, 4, 6), 3, padding=1)",
    "fold": "ops.fold({columns}, (4, 6), 3, padding=1)",
    "fold_backward": "ops.fold_backward({x}, 3, padding=1)",
}
WINDOWS = {
    "unfold": "ops.unfold(x, {})",
    "unfold_backward": "ops.unfold_backward(columns, (2, 12, 4, 6), {})",
    "fold": "ops.fold(columns, (4, 6), {})",
    "fold_backward": "ops.fold_backward(x, {})",
}
FACTORS = [name for name in VALID if name.startswith("pixel")]


def refused():
    for function in FACTORS:
        name = "downscale_factor" if "unshuffle" in function else "upscale_factor"
        for value in ("0", "-2", "5", "2**40", "2**70"):
            yield function, f"ops.{function}(x, {value})", ValueError, [name, eval(value)]
        for value in ("2.0", "None", "'2'", "(2, 2)", "x"):
            yield function, f"ops.{function}(x, {value})", TypeError, [name]
    for function in ("channel_shuffle", "channel_shuffle_backward"):
        for value in ("0", "-2", "5", "13", "2**70"):
            yield function, f"ops.{function}(x, {value})", ValueError, ["groups", eval(value)]
        for value in ("2.0", "None", "'2'", "(2, 2)"):
            yield function, f"ops.{function}(x, {value})", TypeError, ["groups"]
        yield function, f"ops.{function}(a, 2)", ValueError, ["(3, 4)"]
    for function, call in WINDOWS.items():
        for value in ("0", "-3", "(3,)", "(3, 3, 3)", "9", "(1, 2**31)", "2**62", "2**70"):
            yield function, call.format(value), REFUSED, []
        for name in ("dilation", "stride"):
            for value in ("0", "-1", "(1,)", "(1, 0)"):
                yield function, call.format(f"3, padding=1, {name}={value}"), ValueError, [name]
            for value in ("1.5", "None", "'1'"):
                yield function, call.format(f"3, {name}={value}"), TypeError, [name]
        for value in ("-1", "(1,)", "((1, 1), (1, 1), (1, 1))", "2**62"):
            yield function, call.format(f"3, padding={value}"), (ValueError, TypeError), []
        for value in ("1.5", "None", "'same'"):
            yield function, call.format(f"3, padding={value}"), TypeError, ["padding"]
        for value in ("2.0", "None", "'3'"):
            yield function, call.format(value), TypeError, ["kernel_size"]
    yield "unfold", "ops.unfold(x, 3, dilation=3)", ValueError, ["kernel_size=(3, 3)", "fit"]
    yield "unfold", "ops.unfold(x, 3, padding=1, stride=2**62)", REFUSED, []
    yield "fold", "ops.fold(columns, (4, 6), (5, 1))", ValueError, ["kernel_size=(5, 1)", "108"]
    for value in ("(4, 7)", "(3, 6)", "4", "(0, 6)", "(4,)", "(4, 6, 1)", "2**62"):
        yield "fold", f"ops.fold(columns, {value}, 3, padding=1)", REFUSED, []
    for value in ("4.0", "None", "'4'"):
        yield "fold", f"ops.fold(columns, {value}, 3)", TypeError, ["output_size"]
    for shape in (
        "(2, 12, 4)",
        "(2, 12, 4, 7)",
        "(2, 12, 4, -6)",
        "(1, 12, 4, 6)",
        "(2, 0, 4, 6)",
        "(2, 12, 2**40, 2**40)",
    ):
        yield "unfold_backward", f"ops.unfold_backward(columns, {shape}, 3, padding=1)", ValueError, []
    for shape in ("None", "(2, 12, 4, 6.0)"):
        yield "unfold_backward", f"ops.unfold_backward(columns, {shape}, 3)", TypeError, ["x_shape"]
    for function, call in VALID.items():
        for value in WRONG_OUT_TYPES:
            given = call.replace("{", "").replace("}", "")[:-1] + f", out={value})"
            yield function, given, TypeError, ["out"]
        yield function, call.replace("{", "").replace("}", "")[:-1] + ", out=a)", ValueError, ["out", "(3, 4)"]
    yield "pixel_shuffle", f"ops.pixel_shuffle({BIG}, 2)", REFUSED, []
    yield "pixel_unshuffle", f"ops.pixel_unshuffle({BIG}, 2)", REFUSED, []
    yield "channel_shuffle", f"ops.channel_shuffle({BIG}, 2)", REFUSED, []
    yield "unfold", f"ops.unfold({BIG}, 3)", REFUSED, []
    yield "fold", "ops.fold(huge(1, 9 * 2**20, 2**40), (2**20 + 2, 2**20 + 2), 3)", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
