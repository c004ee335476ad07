"""Wrong calls of matrix products, linear layers and embeddings: see wrong_calls.py."""

import numpy as np
from wrong_calls import REFUSED, WRONG_ACTIVATIONS, WRONG_OUT_TYPES, Noun, array, f32


def operands():
    return {
        "a": array(3, 4),
        "b": array(4, 5),
        "c": np.full((3, 5), 7, f32),
        "five": array(5),
        "rows": array(2, 3, 4),
        "weight": array(5, 4),
        "drows": array(2, 3, 5),
        "table": array(7, 3),
        "ids": np.array([[1, 2, 6]]),
        "dids": array(1, 3, 3),
        "out": np.full((2, 6, 5, 6), 7, f32),
    }


VALID = {
    "gemm": "ops.gemm({a}, {b}, bias={five})",
    "matmul": "ops.matmul({a}, {b})",
    "matmul_backward": "ops.matmul_backward({drows}, {rows}, {b})",
    "linear": "ops.linear({rows}, {weight}, {five})",
    "linear_backward_input": "ops.linear_backward_input({drows}, {weight})",
    "linear_backward_weight": "ops.linear_backward_weight({drows}, {rows})",
    "embedding": "ops.embedding([[1, 2, 6]], {table})",
    "embedding_backward": "ops.embedding_backward({dids}, [[1, 2, 6]], 7)",
}


def refused():
    for value in WRONG_ACTIVATIONS:
        yield "gemm", f"ops.gemm(a, b, activation={value})", (ValueError, TypeError), ["activation"]
    for value in WRONG_OUT_TYPES:
        yield "gemm", f"ops.gemm(a, b, out={value})", TypeError, ["out"]
        yield "matmul", f"ops.matmul(a, b, out={value})", TypeError, ["out"]
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
    yield "matmul", "ops.matmul(rows, b[0])", ValueError, ["b", "2 dimensions"]
    yield "matmul", "ops.matmul(rows, b[:3])", ValueError, ["(2, 3, 4)", "(3, 5)"]
    yield "matmul", "ops.matmul(rows, np.stack([b] * 3))", ValueError, ["(2, 3, 4)", "(3, 4, 5)", "broadcast"]
    yield "matmul", "ops.matmul(rows, b, out=c)", ValueError, ["out", "(2, 3, 5)"]
    yield "matmul", "ops.matmul(rows, rows.swapaxes(1, 2), out=np.zeros((2, 3, 3)))", TypeError, ["out", "float64"]
    yield "matmul_backward", "ops.matmul_backward(drows, rows, b[:3])", ValueError, ["(3, 5)"]
    yield "matmul_backward", "ops.matmul_backward(drows[:1], rows, b)", ValueError, ["dy", "(2, 3, 5)"]
    yield "matmul_backward", "ops.matmul_backward(drows, rows, b[0])", ValueError, ["b", "2 dimensions"]
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
    yield "embedding_backward", "ops.embedding_backward(dids, ids, 2**62)", REFUSED, []
    yield "gemm", "ops.gemm(huge(2**30, 2**29), huge(2**29, 2**30))", REFUSED, []
    yield "gemm", "ops.gemm(huge(2**50, 1), huge(1, 2**50))", REFUSED, []
    yield "matmul", "ops.matmul(huge(2, 2**58), huge(2**58, 2))", REFUSED, []
    yield "linear", "ops.linear(huge(2**58, 4), weight)", REFUSED, []


def extreme():
    yield "embedding", "ops.embedding([-0, 2], table)", "table[[0, 2]]"
    yield "gemm", "ops.gemm(a, b, alpha=1e300)", "np.where(a @ b == 0, np.nan, np.copysign(np.inf, a @ b)).astype(f32)"


NOUN = Noun(__file__, operands, VALID, refused, extreme, optional=frozenset({"five"}))
test_calls = NOUN.test()
