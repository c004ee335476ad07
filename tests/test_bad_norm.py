"""Wrong calls of batch normalisation: see wrong_calls.py."""

import numpy as np
from wrong_calls import BIG, REFUSED, Noun, array, f32


def operands():
    return {
        "x": array(2, 4, 5, 6),
        "four": array(4),
        "ones4": np.ones(4, f32),
    }


VALID = {
    "batch_norm": "ops.batch_norm({x}, {four}, {ones4}, {four}, {four})",
    "batch_norm_training": "ops.batch_norm_training({x}, {four}, {four})",
    "batch_norm_backward": "ops.batch_norm_backward({x}, {x}, {four}, {ones4}, {four})",
}


def refused():
    for name in ("mean", "var", "weight", "bias"):
        for value in ("four[:3]", "four[None]", "array(5)"):
            given = {"mean": "four", "var": "ones4", "weight": "None", "bias": "None", name: value}
            yield "batch_norm", f"ops.batch_norm(x, {', '.join(given.values())})", ValueError, [name]
    for value in ("-1.0", "float('nan')", "float('inf')"):
        yield "batch_norm", f"ops.batch_norm(x, four, ones4, eps={value})", ValueError, ["eps"]
        yield "batch_norm_training", f"ops.batch_norm_training(x, eps={value})", ValueError, ["eps"]
    for value in ("None", "'1'", "1j"):
        yield "batch_norm", f"ops.batch_norm(x, four, ones4, eps={value})", TypeError, ["eps"]
    yield "batch_norm", "ops.batch_norm(x[0], four, ones4)", ValueError, ["x"]
    yield "batch_norm_training", "ops.batch_norm_training(x[:0])", ValueError, ["x"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x[:1], x, four, ones4)", ValueError, ["dy"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x, x, four[1:], ones4)", ValueError, ["mean"]
    yield "batch_norm", f"ops.batch_norm({BIG}, huge(2**12), huge(2**12))", REFUSED, []


NOUN = Noun(
    __file__, operands, VALID, refused, optional=frozenset({"four"}), unbounded=frozenset({"batch_norm_backward"})
)
test_calls = NOUN.test()
