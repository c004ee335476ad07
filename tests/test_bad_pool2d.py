"""Wrong calls of pooling: see wrong_calls.py."""

import numpy as np
import pytest
from wrong_calls import BIG, REFUSED, Noun, array

from fastconv import ops, runtime


def operands():
    arrays = {"x": array(2, 4, 5, 6), "dglobal": array(2, 4, 1, 1)}
    _, indices = ops.max_pool2d(arrays["x"], (3, 2), stride=2, return_indices=True)
    arrays["sequence"] = array(2, 4, 9)
    arrays["dsequence"], arrays["dadaptive"] = array(2, 4, 3), array(2, 4, 2, 3)
    _, three = ops.max_pool1d(arrays["sequence"], 3, return_indices=True)
    _, adaptive = ops.adaptive_max_pool2d(arrays["x"], (2, 3), return_indices=True)
    arrays |= {"three": np.ascontiguousarray(three), "adaptive": np.ascontiguousarray(adaptive)}
    arrays["one"] = np.zeros((2, 4, 1, 1), np.int32)
    return arrays | {"dpool": array(*indices.shape), "indices": np.ascontiguousarray(indices)}


VALID = {
    "max_pool2d": "ops.max_pool2d({x}, (3, 2), stride=2)",
    "max_pool2d_backward": "ops.max_pool2d_backward({dpool}, indices, (2, 4, 5, 6), (3, 2), stride=2)",
    "avg_pool2d": "ops.avg_pool2d({x}, (3, 2), stride=2)",
    "avg_pool2d_backward": "ops.avg_pool2d_backward({dpool}, (2, 4, 5, 6), (3, 2), stride=2)",
    "global_avg_pool2d": "ops.global_avg_pool2d({x})",
    "global_avg_pool2d_backward": "ops.global_avg_pool2d_backward({dglobal}, (2, 4, 5, 6))",
    "global_max_pool2d": "ops.global_max_pool2d({x})",
    "global_max_pool2d_backward": "ops.global_max_pool2d_backward({dglobal}, one, (2, 4, 5, 6))",
    "adaptive_avg_pool2d": "ops.adaptive_avg_pool2d({x}, (2, 3))",
    "adaptive_avg_pool2d_backward": "ops.adaptive_avg_pool2d_backward({dadaptive}, (2, 4, 5, 6))",
    "adaptive_max_pool2d": "ops.adaptive_max_pool2d({x}, (2, 3))",
    "adaptive_max_pool2d_backward": "ops.adaptive_max_pool2d_backward({dadaptive}, adaptive, (2, 4, 5, 6))",
    "lp_pool2d": "ops.lp_pool2d({x}, 2, (3, 2), stride=2)",
    "lp_pool2d_backward": "ops.lp_pool2d_backward({dpool}, {x}, 2, (3, 2), stride=2)",
    "max_unpool2d": "ops.max_unpool2d({dpool}, indices, (5, 6))",
    "max_unpool2d_backward": "ops.max_unpool2d_backward({x}, indices)",
    "max_pool1d": "ops.max_pool1d({sequence}, 3)",
    "max_pool1d_backward": "ops.max_pool1d_backward({dsequence}, three, (2, 4, 9), 3)",
    "avg_pool1d": "ops.avg_pool1d({sequence}, 3)",
    "avg_pool1d_backward": "ops.avg_pool1d_backward({dsequence}, (2, 4, 9), 3)",
    "adaptive_avg_pool1d": "ops.adaptive_avg_pool1d({sequence}, 3)",
    "adaptive_avg_pool1d_backward": "ops.adaptive_avg_pool1d_backward({dsequence}, (2, 4, 9))",
}

MAX = "ops.max_pool2d(x, {})"
AVG_BACK = "ops.avg_pool2d_backward(dpool, (2, 4, 5, 6), {})"
MAX_BACK = "ops.max_pool2d_backward(dpool, indices, (2, 4, 5, 6), {})"


def refused():
    for function, call in (("max_pool2d", MAX), ("max_pool2d_backward", MAX_BACK), ("avg_pool2d_backward", AVG_BACK)):
        for value in ("0", "-1", "(2, 0)", "2**62", "2**63", "(3,)", "(1, 2, 3)", "()", "-2**63"):
            yield function, call.format(value), ValueError, []
        for value in ("1.5", "None", "'2'", "(2, None)"):
            yield function, call.format(value), TypeError, ["kernel_size"]
        for value in ("0", "-1", "(0, 1)", "2**31", "2**62", "2**63", "(1,)"):
            yield function, call.format(f"2, stride={value}"), ValueError, ["stride"]
        for value in ("1.5", "'2'"):
            yield function, call.format(f"2, stride={value}"), TypeError, ["stride"]
        for value in ("-1", "2", "5", "2**62", "2**63", "((0, 0), (0, 2))", "(1, 2, 3)"):
            yield function, call.format(f"2, padding={value}"), ValueError, []
        if not function.startswith("avg"):
            for value in ("0", "-1", "9", "2**62", "2**63"):
                yield function, call.format(f"2, dilation={value}"), ValueError, []
    back = "ops.max_pool2d_backward({}, {}, (2, 4, 5, 6), (3, 2), stride=2)"
    for dy in ("dpool[:1]", "dpool[:, :3]", "dpool[..., :2]", "dpool[0]", "dpool.T", "dpool[:0]"):
        yield "max_pool2d_backward", back.format(dy, "indices"), ValueError, ["dy"]
        call = f"ops.avg_pool2d_backward({dy}, (2, 4, 5, 6), (3, 2), stride=2)"
        yield "avg_pool2d_backward", call, ValueError, ["dy"]
    for indices in ("indices[:1]", "indices[:, :3]", "indices[0]", "indices.T"):
        yield "max_pool2d_backward", back.format("dpool", indices), ValueError, ["indices"]
    for indices in (
        "indices + 30",
        "indices - 30",
        "indices * 0 - 1",
        "indices * 0 + (2**31 - 1)",
        "~indices * 0 - (2**31 - 1)",
    ):
        yield "max_pool2d_backward", back.format("dpool", f"({indices}).astype(np.int32)"), ValueError, ["indices"]
    for indices in (
        "indices.astype(np.int64)",
        "indices.astype(f32)",
        "None",
        "indices.tolist()",
        "indices.astype('>i4')",
    ):
        yield "max_pool2d_backward", back.format("dpool", indices), TypeError, ["indices"]
    for shape in ("(2, 4, 5)", "(2, 4, 5, -6)", "(2, 4, 5, 2**62)", "(2, 4, 5, 2**63)", "(2, 4, 9, 9)", "(3, 4, 5, 6)"):
        call = f"ops.max_pool2d_backward(dpool, indices, {shape}, (3, 2), stride=2)"
        yield "max_pool2d_backward", call, ValueError, []
        yield "avg_pool2d_backward", f"ops.avg_pool2d_backward(dpool, {shape}, (3, 2), stride=2)", ValueError, []
    for shape in ("(2, 4, 5, 6.0)", "(2, 4, 5, None)"):
        yield (
            "avg_pool2d_backward",
            f"ops.avg_pool2d_backward(dpool, {shape}, (3, 2), stride=2)",
            TypeError,
            ["x_shape"],
        )
    for shape in ("(2, 4, 0, 6)", "(2, 5, 5, 6)", "(1, 4, 5, 6)", "(2, 4, 5)"):
        call = f"ops.global_avg_pool2d_backward(dglobal, {shape})"
        yield "global_avg_pool2d_backward", call, ValueError, []
    yield "global_avg_pool2d", "ops.global_avg_pool2d(x[:, :, :0])", ValueError, []
    yield "max_pool2d", f"ops.max_pool2d({BIG}, 2)", REFUSED, []
    yield "global_avg_pool2d_backward", "ops.global_avg_pool2d_backward(dglobal, (2, 4, 2**29, 2**29))", REFUSED, []

    yield from refused_others()


def refused_others():
    for function in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for value in ("0", "-1", "(2, 0)", "2**31", "2**62", "2**63", "(3,)", "(1, 2, 3)", "()", "(2**30, 2**30)"):
            yield function, f"ops.{function}(x, {value})", REFUSED, []
        for value in ("1.5", "'2'", "(2, 2.0)"):
            yield function, f"ops.{function}(x, {value})", TypeError, ["output_size"]
        yield function, f"ops.{function}(x[:, :, :0], 1)", ValueError, []
    for shape in ("(2, 4, 0, 6)", "(2, 5, 5, 6)", "(1, 4, 5, 6)", "(2, 4, 5)", "(2, 4, 5, -6)", "(2, 4, 5, 2**63)"):
        call = f"ops.adaptive_avg_pool2d_backward(dadaptive, {shape})"
        yield "adaptive_avg_pool2d_backward", call, ValueError, []
        call = f"ops.adaptive_max_pool2d_backward(dadaptive, adaptive, {shape})"
        yield "adaptive_max_pool2d_backward", call, ValueError, []
    for indices in ("(adaptive + 30).astype(np.int32)", "(~adaptive).astype(np.int32)", "adaptive[:1]"):
        call = f"ops.adaptive_max_pool2d_backward(dadaptive, {indices}, (2, 4, 5, 6))"
        yield "adaptive_max_pool2d_backward", call, ValueError, ["indices"]
        call = f"ops.max_unpool2d(dadaptive, {indices}, (5, 6))"
        yield "max_unpool2d", call, ValueError, ["indices"]
    for indices in ("(adaptive + 30).astype(np.int32)", "(~adaptive).astype(np.int32)", "adaptive[:1]", "adaptive[0]"):
        yield "max_unpool2d_backward", f"ops.max_unpool2d_backward(x, {indices})", ValueError, ["indices"]
    yield "max_unpool2d_backward", "ops.max_unpool2d_backward(x, None)", TypeError, ["indices"]
    for value in ("0", "-1", "(5, 0)", "(2**16, 2**16)", "2**63", "(5,)"):
        yield "max_unpool2d", f"ops.max_unpool2d(dpool, indices, {value})", ValueError, []
    yield "max_unpool2d", "ops.max_unpool2d(dpool, indices, (1.5, 2))", TypeError, ["output_size"]
    for value in ("0", "-1", "float('nan')", "-float('inf')"):
        yield "lp_pool2d", f"ops.lp_pool2d(x, {value}, 2)", ValueError, ["norm_type"]
        yield "lp_pool2d_backward", f"ops.lp_pool2d_backward(dpool, x, {value}, (3, 2), stride=2)", ValueError, []
    yield "lp_pool2d", "ops.lp_pool2d(x, '2', 2)", TypeError, ["norm_type"]
    for value in ("0", "-1", "2**63"):
        yield "avg_pool2d", f"ops.avg_pool2d(x, 2, divisor_override={value})", ValueError, ["divisor_override"]
    yield "avg_pool2d", "ops.avg_pool2d(x, 2, divisor_override=1.5)", TypeError, ["divisor_override"]
    for function in ("max_pool1d", "avg_pool1d"):
        for value in ("0", "-1", "(1, 2)", "10", "2**63"):
            yield function, f"ops.{function}(sequence, {value})", ValueError, []
        yield function, f"ops.{function}(sequence, 1.5)", TypeError, ["kernel_size"]
        yield function, f"ops.{function}(sequence, 2, stride=0)", ValueError, ["stride"]
        yield function, f"ops.{function}(sequence, 2, padding=2)", ValueError, ["padding"]
        yield function, f"ops.{function}(x, 2)", ValueError, ["x"]
    for shape in ("(2, 4)", "(2, 4, 5)", "(2, 4, -9)", "(2, 4, 2**63)"):
        yield "max_pool1d_backward", f"ops.max_pool1d_backward(dsequence, three, {shape}, 3)", ValueError, []
        yield "avg_pool1d_backward", f"ops.avg_pool1d_backward(dsequence, {shape}, 3)", ValueError, []
    for shape in ("(2, 4)", "(2, 5, 9)", "(2, 4, 0)"):
        call = f"ops.adaptive_avg_pool1d_backward(dsequence, {shape})"
        yield "adaptive_avg_pool1d_backward", call, ValueError, []
    yield "adaptive_avg_pool1d", "ops.adaptive_avg_pool1d(sequence, 0)", ValueError, ["output_size"]
    yield "adaptive_avg_pool1d", "ops.adaptive_avg_pool1d(sequence, None)", TypeError, ["output_size"]


def extreme():
    yield "max_pool2d", "ops.max_pool2d(x, 2, stride=2**31 - 1)", "ops.max_pool2d(x[:, :, :2, :2], 2)"
    yield "avg_pool2d", "ops.avg_pool2d(x, 2, stride=2**31 - 1)", "ops.avg_pool2d(x[:, :, :2, :2], 2)"
    call = "ops.avg_pool2d_backward(dglobal, (2, 4, 2, 2), 2, stride=2**31 - 1)"
    yield "avg_pool2d_backward", call, "ops.avg_pool2d_backward(dglobal, (2, 4, 2, 2), 2)"


NOUN = Noun(__file__, operands, VALID, refused, extreme)
test_calls = NOUN.test()


# -------------------------------------------------------------------------------------------------- whole messages


def test_bad_indices_and_gradients():
    x = np.zeros((1, 2, 4, 4), np.float32)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    for wrong, error, message in [
        (indices.astype(np.int64), TypeError, "indices is int64: must be a NumPy array of int32"),
        (indices.tolist(), TypeError, "indices is list: must be"),
        (indices[:, :1], ValueError, r"indices has shape \(1, 1, 2, 2\): must be \(1, 2, 2, 2\)"),
    ]:
        with pytest.raises(error, match=f"max_pool2d_backward: {message}"):
            ops.max_pool2d_backward(y, wrong, x.shape, 2)
    for backward in (
        lambda dy, shape: ops.max_pool2d_backward(dy, indices, shape, 2),
        lambda dy, shape: ops.avg_pool2d_backward(dy, shape, 2),
    ):
        with pytest.raises(ValueError, match=r"_backward: dy has shape \(1, 2, 2, 1\): must be \(1, 2, 2, 2\)"):
            backward(y[..., :1], x.shape)
        with pytest.raises(TypeError, match="dy has dtype float64: must be float32"):
            backward(y.astype(np.float64), x.shape)
        with pytest.raises(ValueError, match=r"x_shape=\(1, 2, 4\): must be 4 sizes >= 0"):
            backward(y, (1, 2, 4))
        with pytest.raises(ValueError, match=r"x_shape=-1: must be >= 0"):
            backward(y, (-1, 2, 4, 4))
        with pytest.raises(TypeError, match=r"x_shape=4.0: must be an integer"):
            backward(y, (1, 2, 4, 4.0))


@pytest.mark.parametrize("channels", [3, 33, 70])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 1, 1), (3, 2, 1), (5, 1, 2), (9, 1, 4)])
def test_one_index_outside_its_window_is_found(isa, rng, kernel, stride, padding, channels):
    """Beside the window to any side, in any row, and far from the plane; for one thread and for more."""
    shape, geometry = (2, channels, 11, 13), {"stride": stride, "padding": padding}
    x = rng.standard_normal(shape).astype(np.float32)
    y, indices = ops.max_pool2d(x, kernel, return_indices=True, **geometry)
    for wrong in (-1, -(2**31), 2**31 - 1, 11 * 13, "left", "right", "above", "below"):
        n, c, p, q = (int(rng.integers(size)) for size in y.shape)
        top, left = p * stride - padding, q * stride - padding
        row, column = min(max(top, 0), 10), min(max(left, 0), 12)
        if wrong in ("left", "right"):
            column = left - 1 if wrong == "left" else left + kernel
        elif wrong in ("above", "below"):
            row = top - 1 if wrong == "above" else top + kernel
        if not (0 <= row < 11 and 0 <= column < 13):
            continue
        bad = indices.copy()
        bad[n, c, p, q] = row * 13 + column if isinstance(wrong, str) else wrong
        for threads in (1, 2):
            with (
                runtime.options(num_threads=threads),
                pytest.raises(ValueError, match="indices: every index must be a position"),
            ):
                ops.max_pool2d_backward(y, bad, shape, kernel, **geometry)


BAD = [
    ({"kernel_size": 0}, ValueError, "kernel_size=0: every kernel_size must be >= 1"),
    ({"kernel_size": 2.0}, TypeError, "kernel_size=2.0: must be an integer"),
    ({"kernel_size": (2, 2, 2)}, ValueError, r"kernel_size=\(2, 2, 2\): must be an integer or \(height, width\)"),
    ({"kernel_size": 7}, ValueError, r"kernel_size=\(7, 7\): the dilated kernel must fit in the padded input"),
    ({"kernel_size": 2**31}, ValueError, r"every kernel_size must be >= 1 and < 2\*\*31"),
    ({"stride": (0, 1)}, ValueError, r"stride=\(0, 1\): every stride must be >= 1"),
    ({"stride": 2**40}, ValueError, r"stride=\(1099511627776, 1099511627776\): every stride must be"),
    ({"stride": 2**70}, ValueError, "every value must fit 64 bits"),
    ({"stride": "2"}, TypeError, "stride='2': must be an integer"),
    ({"padding": -1}, ValueError, "padding=-1: every padding must be >= 0"),
    ({"padding": 2}, ValueError, r"padding=\(2, 2, 2, 2\): every pad must be smaller than the dilated kernel"),
    ({"padding": ((0, 0), (0, 2**62))}, ValueError, r"every pad must be >= 0 and < 2\*\*31"),
    ({"padding": ((0, 0), 1)}, ValueError, r"must be \(before, after\) for each of \(height, width\)"),
]


@pytest.mark.parametrize("change, error, message", BAD)
def test_bad_geometry(change, error, message):
    arguments = {"kernel_size": 2, "stride": 2, **change}
    x = np.zeros((1, 2, 5, 6), np.float32)
    with pytest.raises(error, match=f"max_pool2d: .*{message}"):
        ops.max_pool2d(x, **arguments)
    with pytest.raises(error, match=f"avg_pool2d: .*{message}"):
        ops.avg_pool2d(x, **arguments)
    with pytest.raises(error, match=f"avg_pool2d_backward: .*{message}"):
        ops.avg_pool2d_backward(x, x.shape, **arguments)
    assert np.array_equal(ops.max_pool2d(x, 2, stride=2), np.zeros((1, 2, 2, 3)))


def test_bad_inputs():
    x = np.zeros((1, 2, 5, 6), np.float32)
    for op in (lambda x: ops.max_pool2d(x, 2), lambda x: ops.avg_pool2d(x, 2), ops.global_avg_pool2d):
        with pytest.raises(TypeError, match="pool2d: x has dtype float64: must be float32"):
            op(x.astype(np.float64))
        with pytest.raises(TypeError, match="pool2d: x is list: must be a NumPy array"):
            op(x.tolist())
        with pytest.raises(ValueError, match=r"pool2d: x has shape \(1, 2, 5\): must have 4 dimensions"):
            op(x[..., 0])
        with pytest.raises(ValueError, match=r"pool2d: x_shape=\(1, 2, 0, 6\): height and width must be >= 1"):
            op(x[:, :, :0])
    with pytest.raises(ValueError, match=r"max_pool2d: dilation=\(0, 1\): every dilation must be >= 1"):
        ops.max_pool2d(x, 2, dilation=(0, 1))
    with pytest.raises(ValueError, match=r"max_pool2d: dilation=\(7, 7\): must be at most the input's size"):
        ops.max_pool2d(x, 2, dilation=7, padding=4)
    with pytest.raises(ValueError, match=r"height \* width < 2\*\*31"):
        ops.avg_pool2d_backward(x, (1, 1, 2**16, 2**16), 2)
    with pytest.raises(ValueError, match="fit 64 bits"):
        ops.avg_pool2d_backward(x, (1, 1, 1, 2**70), 2)
