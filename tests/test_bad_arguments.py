"""Wrong calls: the right exception, naming function, argument and value; nothing written; the next call normal.

All calls run in one process of their own, this file as a program: death by a signal or a hang is a failure too.
"""

import json
import sys

import numpy as np
import pytest

from fastconv import ops, runtime  # noqa: F401  (used by the calls)

if __name__ != "__main__":
    from subprocesses import python

f32 = np.float32


def array(*shape):
    return (np.arange(np.prod(shape, dtype=int), dtype=f32) % 7 - 3).reshape(shape)


def huge(*shape):
    """An array of any size that takes four bytes."""
    return np.broadcast_to(f32(1), shape)


def wrong(array, kind):
    """`array` with another type, byte order or number of dimensions."""
    return {
        "None": lambda: None,
        "list": lambda: array.tolist(),
        "number": lambda: 1.0,
        "string": lambda: "array",
        "float64": lambda: array.astype(np.float64),
        "float16": lambda: array.astype(np.float16),
        "int32": lambda: array.astype(np.int32),
        "bool": lambda: array.astype(bool),
        "complex64": lambda: array.astype(np.complex64),
        ">f4": lambda: array.astype(">f4"),
        "object": lambda: array.astype(object),
        "memoryview": lambda: memoryview(array),
    }[kind]()


WRONG_TYPES = {
    "None": "NoneType",
    "list": "list",
    "number": "float",
    "string": "str",
    "float64": "float64",
    "float16": "float16",
    "int32": "int32",
    "bool": "bool",
    "complex64": "complex64",
    ">f4": ">f4",
    "object": "object",
    "memoryview": "memoryview",
}


RESHAPED = {
    "one more dimension": lambda a: a[None],
    "first dimension gone": lambda a: a[0, ...],
    "last dimension gone": lambda a: a[..., :1].sum(axis=-1),
    "empty first": lambda a: a[:0],
    "empty last": lambda a: a[..., :0],
    "flat": lambda a: a.reshape(-1),
    "twice the first": lambda a: a.repeat(2, axis=0),
    "three times the last": lambda a: a.repeat(3, axis=-1),
    "twice the second": lambda a: a.repeat(2, axis=min(1, a.ndim - 1)),
    "first shorter": lambda a: a[1:],
    "last shorter": lambda a: a[..., 1:],
    "second shorter": lambda a: a[(slice(None), slice(None, -1))[-a.ndim :]],
    "transposed": lambda a: a.T,
    "one element": lambda a: a.reshape(-1)[:1],
}


def reshaped(array, change):
    return RESHAPED[change](array)


class Namespace(dict):
    """The names that the calls below use."""

    def __init__(self):
        super().__init__(np=np, ops=ops, runtime=runtime, huge=huge, array=array, wrong=wrong, f32=f32)
        self.update(reshaped=reshaped)
        self.update(
            x=array(2, 4, 5, 6),
            w=array(6, 4, 3, 3),
            bias=array(6),
            dy=array(2, 6, 5, 6),
            out=np.full((2, 6, 5, 6), 7, f32),
            depthwise=array(4, 1, 3, 3),
            line=array(2, 4, 9),
            line_w=array(6, 4, 3),
            line_dy=array(2, 6, 9),
            volume=array(2, 4, 3, 4, 5),
            volume_w=array(6, 4, 3, 3, 3),
            volume_dy=array(2, 6, 3, 4, 5),
            up1_w=array(4, 6, 3),
            up1_dy=array(2, 6, 19),
            up2_w=array(4, 6, 3, 3),
            up2_dy=array(2, 6, 10, 12),
            up3_w=array(4, 6, 2, 2, 2),
            up3_dy=array(2, 6, 6, 8, 10),
            padded=array(2, 4, 7, 8),
            a=array(3, 4),
            b=array(4, 5),
            c=np.full((3, 5), 7, f32),
            five=array(5),
            rows=array(2, 3, 4),
            weight=array(5, 4),
            drows=array(2, 3, 5),
            table=array(7, 3),
            ids=np.array([[1, 2, 6]]),
            dids=array(1, 3, 3),
            dpool=array(2, 4, 2, 3),
            dglobal=array(2, 4, 1, 1),
            four=array(4),
            ones4=np.ones(4, f32),
            read_only=array(2, 6, 5, 6),
            seq=array(3, 2, 4),
            h=array(2, 5),
            lstm_ih=array(20, 4) / 8,
            lstm_hh=array(20, 5) / 8,
            gates=array(20) / 8,
            gru_ih=array(15, 4) / 8,
            gru_hh=array(15, 5) / 8,
            rnn_ih=array(5, 4) / 8,
            rnn_hh=array(5, 5) / 8,
            dseq=array(3, 2, 5),
        )
        self["read_only"].flags.writeable = False
        _, self["indices"] = ops.max_pool2d(self["x"], (3, 2), stride=2, return_indices=True)
        self["dpool"] = array(*self["indices"].shape)
        self["indices"] = np.ascontiguousarray(self["indices"])
        self["lstm_y"], _, _, self["kept"] = ops.lstm_forward(
            self["seq"], self["h"], self["h"], self["lstm_ih"], self["lstm_hh"]
        )
        self["gru_y"], _, self["gru_kept"] = ops.gru_forward(self["seq"], self["h"], self["gru_ih"], self["gru_hh"])
        self["rnn_y"], _, self["rnn_kept"] = ops.rnn_forward(self["seq"], self["h"], self["rnn_ih"], self["rnn_hh"])
        self["packed"] = ops.conv2d_pack(self["w"])


# A valid call of every op: what must still give the same result after each error. Arrays stand as {name}.
VALID = {
    "conv2d": "ops.conv2d({x}, {w}, {bias}, padding=1)",
    "conv2d_pack": "ops.conv2d_pack({w}).shape",
    "conv2d_plan": "ops.conv2d_plan((2, 4, 5, 6), (6, 4, 3, 3), padding=1).y_shape",
    "conv2d_backward_input": "ops.conv2d_backward_input({dy}, {w}, (2, 4, 5, 6), padding=1)",
    "conv2d_backward_weight": "ops.conv2d_backward_weight({dy}, {x}, (6, 4, 3, 3), padding=1)",
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
    "pad": "ops.pad({x}, padding=1, mode='reflect')",
    "pad_backward": "ops.pad_backward({padded}, (2, 4, 5, 6), padding=1, mode='reflect')",
    "gemm": "ops.gemm({a}, {b}, bias={five})",
    "matmul": "ops.matmul({a}, {b})",
    "linear": "ops.linear({rows}, {weight}, {five})",
    "linear_backward_input": "ops.linear_backward_input({drows}, {weight})",
    "linear_backward_weight": "ops.linear_backward_weight({drows}, {rows})",
    "embedding": "ops.embedding([[1, 2, 6]], {table})",
    "embedding_backward": "ops.embedding_backward({dids}, [[1, 2, 6]], 7)",
    "max_pool2d": "ops.max_pool2d({x}, (3, 2), stride=2)",
    "max_pool2d_backward": "ops.max_pool2d_backward({dpool}, indices, (2, 4, 5, 6), (3, 2), stride=2)",
    "avg_pool2d": "ops.avg_pool2d({x}, (3, 2), stride=2)",
    "avg_pool2d_backward": "ops.avg_pool2d_backward({dpool}, (2, 4, 5, 6), (3, 2), stride=2)",
    "global_avg_pool2d": "ops.global_avg_pool2d({x})",
    "global_avg_pool2d_backward": "ops.global_avg_pool2d_backward({dglobal}, (2, 4, 5, 6))",
    "batch_norm": "ops.batch_norm({x}, {four}, {ones4}, {four}, {four})",
    "batch_norm_training": "ops.batch_norm_training({x}, {four}, {four})",
    "batch_norm_backward": "ops.batch_norm_backward({x}, {x}, {four}, {ones4}, {four})",
    "relu": "ops.relu({x})",
    "relu_backward": "ops.relu_backward({x}, {x})",
    "leaky_relu": "ops.leaky_relu({x}, 0.5)",
    "sigmoid": "ops.sigmoid({x})",
    "sigmoid_backward": "ops.sigmoid_backward({x}, {x})",
    "gelu": "ops.gelu({x})",
    "softplus": "ops.softplus({x})",
    "softmax": "ops.softmax({x}, 1)",
    "softmax_backward": "ops.softmax_backward({x}, {x}, 1)",
    "log_softmax": "ops.log_softmax({x})",
    "log_softmax_backward": "ops.log_softmax_backward({x}, {x})",
    "lstm": "ops.lstm({seq}, {h}, {h}, {lstm_ih}, {lstm_hh}, {gates}, {gates})",
    "lstm_forward": "ops.lstm_forward({seq}, {h}, {h}, {lstm_ih}, {lstm_hh}, {gates}, {gates})",
    "lstm_backward": "ops.lstm_backward({dseq}, {h}, {h}, {seq}, {h}, {h}, {lstm_y}, {kept}, {lstm_ih}, {lstm_hh})",
    "gru": "ops.gru({seq}, {h}, {gru_ih}, {gru_hh})",
    "gru_backward": "ops.gru_backward({dseq}, {h}, {seq}, {h}, {gru_y}, {gru_kept}, {gru_ih}, {gru_hh})",
    "rnn": "ops.rnn({seq}, {h}, {rnn_ih}, {rnn_hh})",
    "rnn_backward": "ops.rnn_backward({dseq}, {h}, {seq}, {h}, {rnn_y}, {rnn_kept}, {rnn_ih}, {rnn_hh})",
    "options": "runtime.num_threads()",
}
OPTIONAL = {"bias", "five", "gates", "h", "dseq", "four"}  # operands that may be None in some of the calls above


def plain(call):
    return call.replace("{", "").replace("}", "")


def wrong_type_calls():
    """Every array of every valid call, replaced by everything that is no float32 array."""
    for function, call in VALID.items():
        pieces = call.split("{")
        for i, piece in enumerate(pieces[1:], 1):
            name, rest = piece.split("}", 1)
            for kind, shown in WRONG_TYPES.items():
                if kind == "None" and name in OPTIONAL:
                    continue
                changed = [*pieces[:i], f"wrong({name}, {kind!r})" + rest, *pieces[i + 1 :]]
                yield function, plain("".join(changed)), TypeError, [shown, "float32"]


def wrong_shape_calls():
    """Every array of every valid call, one longer or shorter in one dimension, or with another number of them.

    Some are valid calls of another size: those must give a finite result."""
    for function, call in VALID.items():
        pieces = call.split("{")
        for i, piece in enumerate(pieces[1:], 1):
            name, rest = piece.split("}", 1)
            for change in RESHAPED:
                changed = f"reshaped({name}, {change!r})"
                yield function, plain("".join([*pieces[:i], changed + rest, *pieces[i + 1 :]]))


CONV = "ops.conv2d(x, w, bias, {})"
CONV_INPUT = "ops.conv2d_backward_input(dy, w, (2, 4, 5, 6), {})"
CONV_WEIGHT = "ops.conv2d_backward_weight(dy, x, (6, 4, 3, 3), {})"
MAX = "ops.max_pool2d(x, {})"
AVG_BACK = "ops.avg_pool2d_backward(dpool, (2, 4, 5, 6), {})"
MAX_BACK = "ops.max_pool2d_backward(dpool, indices, (2, 4, 5, 6), {})"


def geometry_calls():
    """(function, call, exceptions, words)"""
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
            yield function, call.format(f"padding={value}"), (ValueError, MemoryError), []
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
    for value in (
        "'swish'",
        "'identity'",
        "''",
        "('relu', 1.0)",
        "('leaky_relu', 1, 2)",
        "()",
        "1",
        "[[]]",
        "('elu', 'x')",
    ):
        yield "conv2d", CONV.format(f"activation={value}, padding=1"), (ValueError, TypeError), ["activation"]
        yield "gemm", f"ops.gemm(a, b, activation={value})", (ValueError, TypeError), ["activation"]


def map_calls():
    """The same of 1-D and 3-D convolutions, transposed ones and borders."""
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
            yield function, call.format(f"padding={value}"), (ValueError, MemoryError), []
            yield function, call.format(f"dilation={value}"), (ValueError, MemoryError), []
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
        yield function, call.format("stride=2**62"), (ValueError, MemoryError), []
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

    border = "ops.pad(x, {})"
    for value in ("-1", "(1,)", "(1, 2, 3)", "((1, 2), 3)", "((0, 0), (0, -1))", "2**62", "(2**40, 2**40)"):
        yield "pad", border.format(f"padding={value}"), (ValueError, MemoryError), []
        call = f"ops.pad_backward(padded, (2, 4, 5, 6), padding={value})"
        yield "pad_backward", call, (ValueError, MemoryError), []
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


def operand_calls():
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
    for value in ("out.astype(float)", "out.tolist()", "out.astype('>f4')", "out.astype(np.int32)", "0"):
        yield "conv2d", f"ops.conv2d(x, w, padding=1, out={value})", TypeError, ["out"]
        yield "gemm", f"ops.gemm(a, b, out={value})", TypeError, ["out"]
        yield "matmul", f"ops.matmul(a, b, out={value})", TypeError, ["out"]
        yield "relu", f"ops.relu(dy, out={value})", TypeError, ["out"]
        yield "softmax", f"ops.softmax(dy, out={value})", TypeError, ["out"]
    for value in ("out[0]", "out[:1]", "read_only", "out.ravel()"):
        yield "relu", f"ops.relu(dy, out={value})", ValueError, ["out"]
        yield "softmax", f"ops.softmax(dy, out={value})", ValueError, ["out"]

    # The shape of a second tensor, where the field's crashes come from.
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
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=0)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=5)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w, groups=2**62)", ValueError, ["groups"]
    yield "conv2d_pack", "ops.conv2d_pack(w[:0])", ValueError, ["weight"]
    yield "conv2d_pack", "ops.conv2d_pack(w[0])", ValueError, ["weight"]
    yield "conv2d_pack", "ops.conv2d_pack(w, algorithm='fft')", ValueError, ["algorithm"]

    yield "gemm", "ops.gemm(a, b[:3])", ValueError, ["(3, 4)", "(3, 5)"]
    yield "gemm", "ops.gemm(a, b, transpose_a=True)", ValueError, ["(4, 3)"]
    yield "gemm", "ops.gemm(a, b, bias=five[:4])", ValueError, ["bias", "(4,)"]
    yield "gemm", "ops.gemm(a, b, beta=1.0)", ValueError, ["beta", "out"]
    yield "gemm", "ops.gemm(a, b, out=c.T)", ValueError, ["out", "(5, 3)", "(3, 5)"]
    yield "gemm", "ops.gemm(a, b, out=np.broadcast_to(f32(0), (3, 5)))", ValueError, ["out", "read-only"]
    for value in ("None", "'1'", "1j", "a"):
        yield "gemm", f"ops.gemm(a, b, alpha={value})", TypeError, ["alpha"]
        yield "gemm", f"ops.gemm(a, b, beta={value}, out=c)", TypeError, ["beta"]
    yield "matmul", "ops.matmul(a, a)", ValueError, ["(3, 4)"]
    yield "matmul", "ops.matmul(a[0], b)", ValueError, ["a", "2 dimensions"]
    yield "matmul", "ops.matmul(a, b[None])", ValueError, ["b", "2 dimensions"]
    yield "linear", "ops.linear(rows[..., :3], weight)", ValueError, ["x", "(2, 3, 3)", "4"]
    yield "linear", "ops.linear(f32(1)[None][0:1].sum(keepdims=True)[0], weight)", TypeError, ["x"]
    yield "linear", "ops.linear(rows, weight, five[:2])", ValueError, ["bias"]
    yield "linear", "ops.linear(rows, weight[0])", ValueError, ["weight"]
    yield "linear_backward_input", "ops.linear_backward_input(drows[..., :4], weight)", ValueError, ["dy"]
    yield "linear_backward_weight", "ops.linear_backward_weight(drows[:1], rows)", ValueError, ["dy", "x"]
    yield "linear_backward_weight", "ops.linear_backward_weight(drows[0], rows)", ValueError, ["dy"]

    for ids, shown in (("[7]", "7"), ("[-1]", "-1"), ("[2**62]", str(2**62)), ("np.array([2**64 - 1], np.uint64)", "")):
        yield "embedding", f"ops.embedding({ids}, table)", ValueError, ["ids", shown]
        yield "embedding_backward", f"ops.embedding_backward(dids[0, :1], {ids}, 7)", ValueError, ["ids", shown]
    for ids in ("[1.0]", "['a']", "None", "[None]", "[True]", "[2**70]", "[1j]"):
        yield "embedding", f"ops.embedding({ids}, table)", TypeError, ["ids"]
    yield "embedding", "ops.embedding([[1, 2], [3]], table)", (TypeError, ValueError), []
    yield "embedding", "ops.embedding([0], table[:0])", ValueError, ["ids"]
    yield "embedding_backward", "ops.embedding_backward(dids, [1, 2], 7)", ValueError, ["dy"]
    for count in ("-1", "2", "-2**63"):
        yield "embedding_backward", f"ops.embedding_backward(dids, ids, {count})", ValueError, []
    for count in ("7.0", "None", "'7'"):
        yield "embedding_backward", f"ops.embedding_backward(dids, ids, {count})", TypeError, ["num_embeddings"]
    for padding in ("7", "-8", "2**62"):
        call = f"ops.embedding_backward(dids, ids, 7, padding_idx={padding})"
        yield "embedding_backward", call, ValueError, ["padding_idx"]
    yield "embedding_backward", "ops.embedding_backward(dids, ids, 2**62)", (MemoryError, ValueError), []


def pooling_calls():
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


def other_calls():
    for name in ("mean", "var", "weight", "bias"):
        for value in ("four[:3]", "four[None]", "array(5)"):
            operands = {"mean": "four", "var": "ones4", "weight": "None", "bias": "None", name: value}
            yield "batch_norm", f"ops.batch_norm(x, {', '.join(operands.values())})", ValueError, [name]
    for value in ("-1.0", "float('nan')", "float('inf')"):
        yield "batch_norm", f"ops.batch_norm(x, four, ones4, eps={value})", ValueError, ["eps"]
        yield "batch_norm_training", f"ops.batch_norm_training(x, eps={value})", ValueError, ["eps"]
    for value in ("None", "'1'", "1j"):
        yield "batch_norm", f"ops.batch_norm(x, four, ones4, eps={value})", TypeError, ["eps"]
    yield "batch_norm", "ops.batch_norm(x[0], four, ones4)", ValueError, ["x"]
    yield "batch_norm_training", "ops.batch_norm_training(x[:0])", ValueError, ["x"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x[:1], x, four, ones4)", ValueError, ["dy"]
    yield "batch_norm_backward", "ops.batch_norm_backward(x, x, four[1:], ones4)", ValueError, ["mean"]
    for name in ("relu_backward", "sigmoid_backward", "softmax_backward"):
        for dy in ("x[:1]", "x[..., 1:]", "x[0]", "x[None]", "x.T"):
            yield name, f"ops.{name}({dy}, x)", ValueError, ["dy"]
    for value in ("4", "-5", "2**62", "2**70"):
        yield "softmax", f"ops.softmax(x, {value})", ValueError, ["axis"]
    for value in ("1.0", "None", "'1'", "(0, 1)"):
        yield "softmax", f"ops.softmax(x, {value})", TypeError, ["axis"]
    for value in ("None", "'a'", "x", "1j"):
        yield "leaky_relu", f"ops.leaky_relu(x, {value})", TypeError, ["negative_slope"]
    for value in ("'erf'", "None", "True"):
        yield "gelu", f"ops.gelu(x, {value})", (ValueError, TypeError), ["approximate"]
    yield "softplus", "ops.softplus(x, beta=0.0)", ValueError, ["beta"]

    rest = "lstm_ih, lstm_hh, gates, gates)"
    for state in ("h[:1]", "h[:, 1:]", "h[None]", "h.T"):
        yield "lstm", f"ops.lstm(seq, {state}, h, {rest}", ValueError, ["h"]
        yield "lstm", f"ops.lstm(seq, h, {state}, {rest}", ValueError, ["c"]
        yield "gru", f"ops.gru(seq, {state}, gru_ih, gru_hh)", ValueError, ["h"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih[:19], lstm_hh)", ValueError, ["weight_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih[:, :3], lstm_hh)", ValueError, ["weight_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh[:, :4])", ValueError, ["weight_hh"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh, gates[:5])", ValueError, ["bias_ih"]
    yield "lstm", "ops.lstm(seq, h, h, lstm_ih, lstm_hh, gates, gates[:5])", ValueError, ["bias_hh"]
    yield "lstm", "ops.lstm(seq[0], h, h, lstm_ih, lstm_hh)", ValueError, ["x"]
    yield "gru", "ops.gru(seq, h, lstm_ih, lstm_hh)", ValueError, ["weight_hh"]
    yield "rnn", "ops.rnn(seq, h, rnn_ih, rnn_hh, nonlinearity='sigmoid')", ValueError, ["nonlinearity"]
    yield "rnn", "ops.rnn(seq, h, rnn_ih, rnn_hh[:4])", ValueError, ["weight_hh"]
    back = "ops.lstm_backward({}, {}, {}, seq, h, h, {}, {}, lstm_ih, lstm_hh)"
    for at, name in enumerate(("dy", "dh_last", "dc_last", "y", "reserve")):
        for change in ("[:1]", "[..., 1:]", "[None]", ".T"):
            operands = ["dseq", "h", "h", "lstm_y", "kept"]
            operands[at] += change
            yield "lstm_backward", back.format(*operands), ValueError, [name]
    yield "gru_backward", "ops.gru_backward(dseq, h, seq, h, gru_y, kept[..., 1:], gru_ih, gru_hh)", ValueError, []

    for value in ("0", "-1", "-2**31"):
        yield "options", f"runtime.set_num_threads({value})", ValueError, ["num_threads", value.replace("2**31", "")]
    for value in ("1.5", "'2'", "True", "None"):
        yield "options", f"runtime.set_num_threads({value})", TypeError, ["num_threads"]
    yield "options", "runtime.set_num_threads(2**62)", (ValueError, OverflowError), []
    yield "options", "runtime.set_isa('sse9')", ValueError, ["isa", "sse9"]
    yield "options", "runtime.options(isa='sse9').__enter__()", ValueError, ["isa", "sse9"]
    yield "options", "runtime.options(num_threads=0).__enter__()", ValueError, ["num_threads=0"]
    yield "options", "runtime.options(num_threads='4').__enter__()", TypeError, ["num_threads"]


def huge_calls():
    """Sizes that no machine has: refused, or out of memory; without a crash, and at once."""
    refused = (ValueError, MemoryError)
    big = "huge(1, 2**12, 2**25, 2**22)"  # 2**61 bytes
    for call in (
        f"ops.conv2d({big}, huge(1, 2**12, 1, 1))",
        f"ops.conv2d({big}, w)",
        "ops.conv2d(x, huge(2**59, 4, 1, 1))",
        "ops.conv2d(huge(2**57, 4, 2, 2), w, padding=1)",
        "ops.conv2d(huge(1, 1, 2**30, 2**29), huge(1, 1, 2**30, 2**29))",
        "ops.conv2d(x, w, padding=((2**40, 2**40), (2**18, 0)))",
        "ops.conv2d(huge(1, 1, 1, 1), huge(1, 1, 1, 1), padding=2**30)",
    ):
        yield "conv2d", call, refused, []
    yield "conv2d_backward_input", "ops.conv2d_backward_input(dy, w, (2, 4, 2**58, 6), padding=1)", refused, []
    call = "ops.conv2d_backward_input(huge(1, 1, 1, 1), huge(1, 1, 1, 1), (1, 1, 2**30, 2**30), stride=2**30)"
    yield "conv2d_backward_input", call, refused, []
    call = "ops.conv2d_backward_weight(huge(1, 2**29, 1, 1), huge(1, 2**30, 1, 1), (2**29, 2**30, 1, 1))"
    yield "conv2d_backward_weight", call, refused, []
    yield "conv1d", "ops.conv1d(huge(1, 2**20, 2**38), huge(1, 2**20, 1))", refused, []
    yield "conv3d", "ops.conv3d(huge(1, 1, 2**20, 2**20, 2**20), huge(1, 1, 2, 1, 1))", refused, []
    call = "ops.conv3d_backward_input(huge(1, 1, 1, 1, 1), huge(1, 1, 1, 1, 1), (1, 1, 2**58, 1, 1), stride=2**58)"
    yield "conv3d_backward_input", call, refused, []
    yield "conv_transpose2d", "ops.conv_transpose2d(huge(1, 1, 2**29, 2**29), huge(1, 1, 1, 1))", refused, []
    yield "conv_transpose2d", "ops.conv_transpose2d(x, huge(4, 2**57, 1, 1))", refused, []
    yield "pad", f"ops.pad({big}, padding=1)", refused, []
    yield "pad_backward", f"ops.pad_backward({big}, (1, 2**12, 2**25, 2**22), padding=0)", refused, []
    yield "gemm", "ops.gemm(huge(2**30, 2**29), huge(2**29, 2**30))", refused, []
    yield "gemm", "ops.gemm(huge(2**50, 1), huge(1, 2**50))", refused, []
    yield "matmul", "ops.matmul(huge(2, 2**58), huge(2**58, 2))", refused, []
    yield "linear", "ops.linear(huge(2**58, 4), weight)", refused, []
    yield "max_pool2d", f"ops.max_pool2d({big}, 2)", refused, []
    yield "batch_norm", f"ops.batch_norm({big}, huge(2**12), huge(2**12))", refused, []
    yield "relu", f"ops.relu({big})", refused, []
    yield "softmax", f"ops.softmax({big}, 1)", refused, []
    yield "lstm", "ops.lstm(huge(2**56, 2, 4), h, h, lstm_ih, lstm_hh)", refused, []
    yield "global_avg_pool2d_backward", "ops.global_avg_pool2d_backward(dglobal, (2, 4, 2**29, 2**29))", refused, []


def extreme_calls():
    """Absurd, and yet valid."""
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
    yield "max_pool2d", "ops.max_pool2d(x, 2, stride=2**31 - 1)", "ops.max_pool2d(x[:, :, :2, :2], 2)"
    yield "avg_pool2d", "ops.avg_pool2d(x, 2, stride=2**31 - 1)", "ops.avg_pool2d(x[:, :, :2, :2], 2)"
    call = "ops.avg_pool2d_backward(dglobal, (2, 4, 2, 2), 2, stride=2**31 - 1)"
    yield "avg_pool2d_backward", call, "ops.avg_pool2d_backward(dglobal, (2, 4, 2, 2), 2)"
    yield "embedding", "ops.embedding([-0, 2], table)", "table[[0, 2]]"
    yield "gemm", "ops.gemm(a, b, alpha=1e300)", "np.where(a @ b == 0, np.nan, np.copysign(np.inf, a @ b)).astype(f32)"


def table():
    """(kind, function, call, exception names or the call that gives the same, words)"""
    rows = []
    for calls in (wrong_type_calls, geometry_calls, map_calls, operand_calls, pooling_calls, other_calls, huge_calls):
        for function, call, errors, words in calls():
            errors = errors if isinstance(errors, tuple) else (errors,) if errors else ()
            names = [error.__name__ for error in errors]
            rows.append(("refused" if errors else "accepted", function, call, names, list(map(str, words))))
    rows += [("extreme", function, call, same, []) for function, call, same in extreme_calls()]
    rows += [("either", function, call, ["ValueError", "TypeError"], []) for function, call in wrong_shape_calls()]
    return rows


# --------------------------------------------------------------------------------------------------- in the process


def frozen(value):
    """Everything in a result, comparable."""
    if isinstance(value, (tuple, list)):
        return [frozen(item) for item in value]
    return (value.shape, str(value.dtype), value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def is_finite(value):
    if isinstance(value, (tuple, list)):
        return all(map(is_finite, value))
    return not isinstance(value, np.ndarray) or bool(np.isfinite(value).all())


def outcome(kind, call, names, errors):
    """What one call does: (what is wrong, the exception's text)."""
    try:
        result = eval(call, names)
    except Exception as error:
        chain = [cls.__name__ for cls in type(error).__mro__]
        if kind in ("accepted", "extreme"):
            return f"raised {chain[0]}: {error}", ""
        return ("" if set(chain) & set(errors) else f"raised {chain[0]}: {error}"), str(error)
    if kind == "refused":
        return f"was accepted, expected {' or '.join(errors)}", ""
    if kind == "extreme":
        same = eval(errors, names)
        equal = result.shape == same.shape and np.array_equal(result, same, equal_nan=True)
        return "" if equal else f"gave another result than {errors}", ""
    return "" if is_finite(result) else "gave NaN or Inf", ""


def main():
    np.seterr(all="ignore")
    names = Namespace()
    arrays = {name: value for name, value in names.items() if isinstance(value, np.ndarray)}
    before = {name: frozen(value) for name, value in arrays.items()}
    kept = {name: value.copy() for name, value in arrays.items()}
    right = {function: frozen(eval(plain(call), names)) for function, call in VALID.items()}
    threads = runtime.num_threads()
    for number, (kind, function, call, errors, words) in enumerate(table()):
        print(json.dumps({"number": number}), flush=True)
        wrong, message = outcome(kind, call, names, errors)
        if not wrong and message and "MemoryError" not in errors:
            missing = [word for word in (f"{function}:", *words) if word not in message]
            wrong = f"says {message!r}: without {missing}" if missing else ""
        if kind == "either" and wrong.startswith("gave") and function == "batch_norm_backward":
            wrong = ""  # the statistics no longer belong to x
        changed = [name for name, value in arrays.items() if frozen(value) != before[name]]
        if changed and kind == "refused":
            wrong += f"; changed {changed}"
        for name in changed:
            arrays[name][...] = kept[name]
        if frozen(eval(plain(VALID[function]), names)) != right[function] or runtime.num_threads() != threads:
            wrong += "; the next valid call is off"
        print(json.dumps({"number": number, "wrong": wrong}), flush=True)


# -------------------------------------------------------------------------------------------------------- in pytest


@pytest.fixture(scope="module")
def outcomes():
    process = python(__file__, timeout=120)
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    found = {line["number"]: line["wrong"] for line in lines if "wrong" in line}
    if lines and lines[-1]["number"] not in found:
        found[lines[-1]["number"]] = f"ended the process ({process.returncode}):\n{process.stderr[-3000:]}"
    elif process.returncode:
        raise AssertionError(process.stderr[-3000:])
    return found


GROUPS = sorted({(kind, function) for kind, function, *_ in table()})


@pytest.mark.parametrize(("kind", "function"), GROUPS, ids=["-".join(group) for group in GROUPS])
def test_calls(kind, function, outcomes):
    failures, ran = [], 0
    for number, (row_kind, row_function, call, _, _) in enumerate(table()):
        if (row_kind, row_function) == (kind, function):
            wrong = outcomes.get(number, "did not run: an earlier call ended the process")
            ran += 1
            if wrong:
                failures.append(f"{call}\n    {wrong}")
    assert ran > 0
    assert not failures, f"{len(failures)} of {ran} calls:\n" + "\n".join(failures)


if __name__ == "__main__":
    sys.exit(main())
