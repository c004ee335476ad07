"""Wrong calls of borders: see wrong_calls.py."""

from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array


def operands():
    return {
        "x": array(2, 4, 5, 6),
        "padded": array(2, 4, 7, 8),
        "a": array(3, 4),
        "out": array(2, 4, 7, 8),
    }


VALID = {
    "pad": "ops.pad({x}, padding=1, mode='reflect')",
    "pad_backward": "ops.pad_backward({padded}, (2, 4, 5, 6), padding=1, mode='reflect')",
}


def refused():
    border = "ops.pad(x, {})"
    for value in ("-1", "(1,)", "(1, 2, 3)", "((1, 2), 3)", "((0, 0), (0, -1))", "2**62", "(2**40, 2**40)"):
        yield "pad", border.format(f"padding={value}"), REFUSED, []
        call = f"ops.pad_backward(padded, (2, 4, 5, 6), padding={value})"
        yield "pad_backward", call, REFUSED, []
    for value in ("1.5", "None", "'same'", "((1, 1), (1, None))"):
        yield "pad", border.format(f"padding={value}"), TypeError, ["padding"]
    for value in ("'edge'", "''", "None", "0", "[]"):
        yield "pad", border.format(f"padding=1, mode={value}"), ValueError, ["mode", eval(value)]
    for value in ("None", "'0'", "1j", "x"):
        yield "pad", border.format(f"padding=1, value={value}"), TypeError, ["value"]
    yield "pad", border.format("padding=5, mode='reflect'"), ValueError, ["padding=5", "reflect", "5", "<"]
    yield "pad", border.format("padding=6, mode='circular'"), ValueError, ["padding=6", "circular", "5", "<="]
    yield "pad", "ops.pad(a, padding=1)", ValueError, ["x", "(3, 4)", "3, 4 or 5"]
    yield "pad", "ops.pad(x[:, :, :0], padding=1)", ValueError, ["x", "(2, 4, 0, 6)"]
    for shape in ("(2, 4, 5)", "(2, 4, 5, 7)", "(2, 4, 5, -6)", "(1, 4, 5, 6)"):
        yield "pad_backward", f"ops.pad_backward(padded, {shape}, padding=1)", ValueError, []
    for shape in ("None", "(2, 4, 5, 6.0)"):
        yield "pad_backward", f"ops.pad_backward(padded, {shape}, padding=1)", TypeError, ["x_shape"]
    for value in WRONG_OUT_TYPES:
        yield "pad", border.format(f"padding=1, out={value}"), TypeError, ["out"]
        call = f"ops.pad_backward(padded, (2, 4, 5, 6), padding=1, out={value})"
        yield "pad_backward", call, TypeError, ["out"]
    yield "pad", border.format("padding=1, out=x"), ValueError, ["out", "(2, 4, 7, 8)"]
    yield "pad_backward", "ops.pad_backward(padded, (2, 4, 5, 6), padding=1, out=a)", ValueError, ["out", "(3, 4)"]
    yield "pad", f"ops.pad({BIG}, padding=1)", REFUSED, []
    yield "pad_backward", f"ops.pad_backward({BIG}, (1, 2**12, 2**25, 2**22), padding=0)", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
