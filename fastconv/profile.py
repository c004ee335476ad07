"""How long layers take, and how that compares with what the processor can do at most.

>>> from fastconv import profile
>>> from fastconv.layers import Linear
>>> row = profile.measure("fc", Linear(256, 128, rng=0), (64, 256), seconds=0.01)
>>> row.flops, row.forward.seconds > 0
(4194304, True)
"""

import time
from collections import namedtuple

import numpy as np

from fastconv import _native, layers, runtime

__all__ = ["Row", "Time", "best_time", "fma_peak", "flops", "measure", "table"]

# seconds: of the fastest call. flops: floating-point operations of a call, 0 where it only moves and compares data.
Time = namedtuple("Time", ["seconds", "flops"])
Row = namedtuple("Row", ["name", "input_shape", "output_shape", "flops", "forward", "backward"])


def best_time(call, seconds=0.1, calls=5):
    """Seconds of the fastest call, of at least `calls` and for at least `seconds` in all, after one to warm up."""
    call()
    best, spent, count = float("inf"), 0.0, 0
    while spent < seconds or count < calls:
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
        best, spent, count = min(best, taken), spent + taken, count + 1
    return best


def fma_peak(num_threads=None, seconds=0.2, patience=2.0):
    """Floating-point operations a second of a loop that does nothing but multiply-add in registers, best of many.

    With the current instruction set, on `num_threads` threads (default: the current number). No program does more.
    Several threads are given up to `patience` seconds to come near as many times one thread's peak: some systems let
    them share a core for the first second before they spread them.
    """
    with runtime.options(num_threads=num_threads):
        context = runtime.context()
    if context.num_threads == 1:
        return _fma_peak(context, seconds)
    with runtime.options(num_threads=1):
        enough = 0.9 * context.num_threads * _fma_peak(runtime.context(), min(seconds, 0.05))
    peak, end = _fma_peak(context, seconds), time.perf_counter() + patience
    while peak < enough and time.perf_counter() < end:
        peak = max(peak, _fma_peak(context, 0.1))
    return peak


def _fma_peak(context, seconds):
    # About 0.3 ms a call: long enough to hide the start of the threads, short enough to fit between interruptions.
    iterations = 100_000
    count = _native.fma_peak(iterations, context)
    return count / best_time(lambda: _native.fma_peak(iterations, context), seconds)


def flops(layer, x_shape, y_shape):
    """Floating-point operations of a layer's forward pass, a multiply-add counted as 2; 0 for elementwise layers."""
    layer = getattr(layer, "convolution", layer)  # a convolution that is wrapped
    if isinstance(layer, (layers.Conv1d, layers.Conv2d, layers.Conv3d)):
        return 2 * int(np.prod(y_shape)) * int(np.prod(layer.weight.shape[1:]))
    if isinstance(layer, (layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d)):
        return 2 * int(np.prod(x_shape)) * int(np.prod(layer.weight.shape[1:]))
    if isinstance(layer, layers.Linear):
        return 2 * int(np.prod(x_shape)) * layer.out_features
    if isinstance(layer, (layers.LSTM, layers.GRU, layers.RNN)):
        matrices = sum(p.value.size for name, p in layer.parameters() if name.startswith("weight"))
        return 2 * x_shape[0] * x_shape[1] * matrices
    return 0


def _backward_flops(layer, forward):
    """The gradients in the input and in the weights cost as much as the forward pass each."""
    return forward * (2 if getattr(layer, "input_grad", True) else 1)


def measure(name, layer, x, *, backward=True, seconds=0.05):
    """A Row of a layer run on x (an array, or the shape of one of float32): forward as in inference, and backward.

    The time of backward is that of the closure alone, without the forward pass that must precede it.
    """
    if not isinstance(x, np.ndarray):
        x = np.random.default_rng(0).standard_normal(x, np.float32)
    y = layer(x)
    state = y[1:] if isinstance(y, tuple) else None
    y = y[0] if isinstance(y, tuple) else y
    count = flops(layer, x.shape, y.shape)
    forward = Time(best_time(lambda: layer(x), seconds), count)
    back = None
    if backward:
        run = layer.forward(x)[1]
        dy = np.ones_like(y)
        arguments = (dy, None) if state else (dy,)
        back = Time(best_time(lambda: run(*arguments), seconds), _backward_flops(layer, count))
        layer.zero_grad()
    return Row(name, x.shape, y.shape, count, forward, back)


def _cells(timed, peak):
    if timed is None:
        return ["", "", ""]
    cells = [f"{timed.seconds * 1e3:.3f}"]
    if not timed.flops:
        return [*cells, "-", "-"]
    rate = timed.flops / timed.seconds
    return [*cells, f"{rate / 1e9:.1f}", f"{100 * rate / peak:.0f}%"]


def table(rows, peak):
    """Rows as text: milliseconds, GFLOP/s and share of `peak` (operations a second), forward and backward.

    Text among the rows becomes a heading.
    """
    heads = ["layer", "input", "output", "ms", "GFLOP/s", "peak", "ms", "GFLOP/s", "peak"]
    lines = [
        row
        if isinstance(row, str)
        else [
            row.name,
            "x".join(map(str, row.input_shape)),
            "x".join(map(str, row.output_shape)),
            *_cells(row.forward, peak),
            *_cells(row.backward, peak),
        ]
        for row in rows
    ]
    cells = [line for line in [heads, *lines] if isinstance(line, list)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]

    def text(line):
        left = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        return "  ".join([*left, *right[:3], "|", *right[3:]]).rstrip()

    passes = [sum(widths[first : first + 3]) + 4 for first in (0, 3, 6)]
    groups = "  ".join([" " * passes[0], "forward".center(passes[1], "-"), "|", "backward".center(passes[2], "-")])
    body = [text(line) if isinstance(line, list) else line for line in lines]
    return "\n".join([groups, text(heads), *body])
