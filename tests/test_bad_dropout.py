"""Wrong calls of dropout: see wrong_calls.py."""

from wrong_calls import BIG, REFUSED, WRONG_OUT_TYPES, Noun, array


def operands():
    return {"x": array(5, 4), "mask": array(5, 4) > 0, "out": array(5, 4), "a": array(3, 4)}


VALID = {
    "dropout": "ops.dropout({x}, 0.5, np.random.default_rng(0))",
    "dropout_backward": "ops.dropout_backward({x}, mask, 0.5)",
}


def refused():
    forward, backward = "ops.dropout(x, {}, np.random.default_rng(0))", "ops.dropout_backward(x, mask, {})"
    for function, call in (("dropout", forward), ("dropout_backward", backward)):
        for value in ("-0.1", "1.5", "float('nan')", "float('inf')", "2"):
            yield function, call.format(value), ValueError, ["p", "[0, 1]"]
        for value in ("None", "'0.5'", "1j", "x"):
            yield function, call.format(value), TypeError, ["p"]
    for value in ("None", "0", "np.random", "np.random.RandomState(0)", "np.random.PCG64(0)"):
        yield "dropout", f"ops.dropout(x, 0.5, {value})", TypeError, ["rng"]
    for value in ("None", "0", "mask.tolist()", "x", "mask.astype(np.uint8)"):
        yield "dropout_backward", f"ops.dropout_backward(x, {value}, 0.5)", TypeError, ["mask"]
    for value in ("mask[1:]", "mask.T", "mask[None]", "mask[:0]", "mask.reshape(-1)"):
        yield "dropout_backward", f"ops.dropout_backward(x, {value}, 0.5)", ValueError, ["dy", "(5, 4)"]
    for value in WRONG_OUT_TYPES:
        yield "dropout", f"ops.dropout(x, 0.5, np.random.default_rng(0), out={value})", TypeError, ["out"]
        yield "dropout_backward", f"ops.dropout_backward(x, mask, 0.5, out={value})", TypeError, ["out"]
    yield "dropout", "ops.dropout(x, 0.5, np.random.default_rng(0), out=a)", ValueError, ["out", "(3, 4)"]
    yield "dropout_backward", "ops.dropout_backward(x, mask, 0.5, out=a)", ValueError, ["out", "(3, 4)"]
    read_only = "np.broadcast_to(f32(0), (5, 4))"
    call = f"ops.dropout(x, 0.5, np.random.default_rng(0), out={read_only})"
    yield "dropout", call, ValueError, ["out", "read-only"]
    yield "dropout", f"ops.dropout({BIG}, 0.5, np.random.default_rng(0))", REFUSED, []


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
