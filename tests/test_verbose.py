"""FASTCONV_VERBOSE=1: a line for every op called, and nothing otherwise."""

import re

from subprocesses import check, python

PROGRAM = """
import numpy as np
from fastconv import layers, ops, runtime
x, weight = np.ones((2, 3, 6, 7), np.float32), np.ones((4, 3, 3, 3), np.float32)
with runtime.options(num_threads=1):
    y = ops.conv2d(x, weight, padding=1)
    ops.conv2d(x, ops.conv2d_pack(weight, algorithm="im2col"), padding=1)
    ops.conv2d_backward_input(y, weight, x.shape, padding=1, algorithm="im2col")
    ops.conv2d_backward_weight(y, x, weight.shape, padding=1)
    ops.linear(np.ones((3, 4), np.float32), np.ones((5, 4), np.float32))
    layers.ReLU()(x)
    z = ops.conv1d(x[:, :, 0], weight[:, :, 0], padding=1)
    ops.conv1d_backward_weight(z, x[:, :, 0], weight[:, :, 0].shape, padding=1)
    ops.conv_transpose2d(y, weight, padding=1)
    try:
        ops.relu(3)
    except TypeError:
        pass
"""
LINES = [
    r"conv2d \w+ x\(2, 3, 6, 7\) weight\(4, 3, 3, 3\) -> \(2, 4, 6, 7\) \w+ x1 [\d.]+ ms [\d.]+ GFLOP/s",
    r"conv2d_pack weight\(4, 3, 3, 3\) -> \w+ x1 [\d.]+ ms",
    r"conv2d im2col x\(2, 3, 6, 7\) weight\(4, 3, 3, 3\) -> \(2, 4, 6, 7\) \w+ x1 [\d.]+ ms [\d.]+ GFLOP/s",
    r"conv2d_backward_input im2col dy.* -> \(2, 3, 6, 7\) \w+ x1 [\d.]+ ms [\d.]+ GFLOP/s",
    r"conv2d_backward_weight \w+ dy.* x.* -> \(4, 3, 3, 3\) \(4,\) \w+ x1 [\d.]+ ms [\d.]+ GFLOP/s",
    r"linear x\(3, 4\) weight\(5, 4\) -> \(3, 5\) \w+ x1 [\d.]+ ms [\d.]+ GFLOP/s",
    r"relu x\(2, 3, 6, 7\) -> \(2, 3, 6, 7\) \w+ x1 [\d.]+ ms",
    r"conv1d x\(2, 3, 7\) weight\(4, 3, 3\) -> .* [\d.]+ GFLOP/s",
    r"conv1d_backward_weight dy.* [\d.]+ GFLOP/s",
    r"conv_transpose2d x.* weight.* [\d.]+ GFLOP/s",
]


def test_a_line_for_every_call_that_returned():
    lines = check(python("-c", PROGRAM, FASTCONV_VERBOSE="1")).splitlines()
    assert len(lines) == len(LINES), lines
    for line, expected in zip(lines, LINES, strict=True):
        assert re.fullmatch(f"fastconv {expected}", line), line


def test_silent_by_default():
    assert check(python("-c", PROGRAM, FASTCONV_VERBOSE="")) == ""
    assert check(python("-c", PROGRAM, FASTCONV_VERBOSE="0")) == ""


def test_flops_are_those_of_the_definition():
    program = """
import numpy as np
from fastconv.ops import _verbose
a, b, x = np.ones((3, 4)), np.ones((4, 5)), np.ones((2, 7, 4))
print(_verbose._work("gemm", {"a": a, "b": b}, np.ones((3, 5))))
print(_verbose._work("linear", {"x": x, "weight": np.ones((9, 4))}, np.ones((2, 7, 9))))
print(_verbose._work("linear_backward_weight", {"dy": np.ones((2, 7, 9)), "x": x}, (np.ones((9, 4)), np.ones(9))))
"""
    assert check(python("-c", program)) == f"('', {2 * 3 * 4 * 5})\n" + 2 * f"('', {2 * 14 * 4 * 9})\n"
