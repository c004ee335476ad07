"""Nothing outside the operands is touched: each lies flush against an inaccessible page, inputs in read-only pages.

A stray read or write kills the process, so each instruction set runs in one of its own: this file as a program. Results
must also equal, bit for bit, those of ordinary arrays: the placements differ in alignment.
"""

import sys

import numpy as np
import pytest
from checks import bits, reals
from shapes import AWKWARD, AWKWARD_GEMMS, Gemm

from fastconv import _native, ops

if __name__ != "__main__":
    from subprocesses import check, python

NAN = np.float32("nan")
GEMMS = (*AWKWARD_GEMMS, Gemm("strips_of_a_transpose", 100, 9, 70))
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65)

# Every generator yields (name, call, inputs, outputs): inputs are arrays or None, outputs are shapes or (shape, dtype),
# and call(*inputs, *outputs, context) runs it.


def gemm_calls(rng):
    for case in GEMMS:
        for transpose_a, transpose_b in ((False, False), (True, False), (False, True), (True, True)):
            a = reals(rng, (case.k, case.m) if transpose_a else (case.m, case.k))
            b = reals(rng, (case.n, case.k) if transpose_b else (case.k, case.n))
            for kind in ("identity", "relu"):
                flags = (transpose_a, transpose_b, 0.5, 0.0, _native.ACTIVATIONS[kind], 0.0, 0.0)

                def call(a, b, bias, c, context, flags=flags):
                    _native.gemm(a, b, bias, c, *flags, context)

                name = f"gemm {case.name} {transpose_a} {transpose_b} {kind}"
                yield name, call, [a, b, reals(rng, (case.n,))], [(case.m, case.n)]


def conv2d_calls(rng):
    for case in AWKWARD:
        for algorithm in _native.CONV2D_ALGORITHMS:
            try:
                plan = ops.conv2d_plan(
                    case.x_shape, case.weight_shape, **case.geometry, activation="relu", algorithm=algorithm
                )
            except ValueError:
                continue
            x, dy = reals(rng, plan.x_shape), reals(rng, plan.y_shape)
            weight, bias, residual = reals(rng, case.weight_shape), reals(rng, (case.k,)), reals(rng, plan.y_shape)
            name = f"conv2d {case.name} {algorithm}"
            yield f"{name} forward", plan.forward, [x, weight, bias, residual], [plan.y_shape]
            yield f"{name} without bias", plan.forward, [x, weight, None, None], [plan.y_shape]
            yield f"{name} backward input", plan.backward_input, [dy, weight], [plan.x_shape]
            yield f"{name} backward weight", plan.backward_weight, [dy, x], [case.weight_shape, (case.k,)]
            transposed = [dy, weight, reals(rng, (case.c,)), reals(rng, plan.x_shape)]
            yield f"{name} transposed", plan.transposed_forward, transposed, [plan.x_shape]
            yield f"{name} transposed, plain", plan.transposed_forward, [dy, weight, None, None], [plan.x_shape]


def pool2d_calls(rng):
    pools = [
        # kernel, stride, pads, dilation, ceil
        ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), True),
        ((3, 2), (1, 3), (0, 2, 1, 0), (2, 1), False),
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), False),
        ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), False),
        ((5, 5), (1, 1), (2, 2, 2, 2), (1, 1), False),
        ((4, 7), (1, 1), (1, 2, 3, 3), (1, 1), False),
    ]
    for channels in SIZES:
        for kernel, stride, pads, dilation, ceil in pools:
            for height, width in ((7, 9), (16, 5)):
                shape = (2, channels, height, width)
                plan = _native.Pool2dPlan("pool", shape, kernel, stride, pads, dilation, ceil, True)
                n, c, p, q = plan.y_shape
                x, dy = reals(rng, (2, height, width, channels)), reals(rng, (n, p, q, c))
                y, indices = np.empty((n, p, q, c), np.float32), np.empty((n, p, q, c), np.int32)
                plan.max_forward(x, y, indices, _native.Context("baseline", 1))
                name = f"pool {shape} {kernel} {stride}"

                def max_forward(x, y, indices, context, plan=plan):
                    plan.max_forward(x, y, indices, context)

                def indices_ok(indices, context, plan=plan):
                    assert plan.indices_ok(indices, context)

                yield f"max {name}", max_forward, [x], [y.shape, (y.shape, np.int32)]
                yield f"max {name} backward", plan.max_backward, [dy, indices], [x.shape]
                yield f"max {name} indices", indices_ok, [indices], []
                if dilation == (1, 1):
                    yield f"avg {name}", plan.avg_forward, [x], [y.shape]
                    yield f"avg {name} backward", plan.avg_backward, [dy], [x.shape]


def elementwise_calls(rng):
    for name, kind in _native.ACTIVATIONS.items():
        for size in (*SIZES, 4099):
            x, dy = 4 * reals(rng, (size,)), reals(rng, (size,))

            def forward(x, y, context, kind=kind):
                _native.activation_forward(x, y, kind, 1.0, 20.0, context)

            def backward(dy, x, dx, context, kind=kind):
                _native.activation_backward(dy, x, dx, kind, 1.0, 20.0, context)

            yield f"{name} {size}", forward, [x], [(size,)]
            yield f"{name} {size} backward", backward, [dy, x], [(size,)]
    for columns in SIZES:
        for log in (False, True):
            x, dy = 4 * reals(rng, (3, columns)), reals(rng, (3, columns))
            y = np.exp(x - x.max(axis=1, keepdims=True))

            def forward(x, y, context, log=log):
                _native.softmax_forward(x, y, log, context)

            def backward(dy, y, dx, context, log=log):
                _native.softmax_backward(dy, y, dx, log, context)

            yield f"softmax {columns} {log}", forward, [x], [(3, columns)]
            yield f"softmax {columns} {log} backward", backward, [dy, y], [(3, columns)]


def batch_norm_calls(rng):
    for channels in SIZES:
        for rows in (1, 2, 7, 130):
            x, dy = reals(rng, (rows, channels)), reals(rng, (rows, channels))
            mean, inv_std, weight, bias = (reals(rng, (channels,)) for _ in range(4))
            name = f"batch_norm ({rows}, {channels})"
            yield f"{name} statistics", _native.batch_norm_statistics, [x], [(channels,), (channels,)]
            yield name, _native.batch_norm_forward, [x, mean, inv_std, weight, bias], [x.shape]
            yield f"{name} plain", _native.batch_norm_forward, [x, mean, inv_std, None, None], [x.shape]
            outputs = [x.shape, (channels,), (channels,)]
            yield f"{name} backward", _native.batch_norm_backward, [dy, x, mean, inv_std, weight], outputs


def rnn_calls(rng):
    for kind_name, kind in _native.RNN_KINDS.items():
        gates = {"lstm": 4, "gru": 3}.get(kind_name, 1)
        for steps, batch, inputs, hidden in ((1, 1, 1, 1), (3, 2, 5, 7), (2, 9, 17, 15), (4, 3, 8, 33), (2, 5, 31, 16)):
            state, lstm = (batch, hidden), kind_name == "lstm"
            x, h = reals(rng, (steps, batch, inputs)), reals(rng, state)
            c = reals(rng, state) if lstm else None
            weight_ih, weight_hh = reals(rng, (gates * hidden, inputs)), reals(rng, (gates * hidden, hidden))
            bias_ih, bias_hh = reals(rng, (gates * hidden,)), reals(rng, (gates * hidden,))
            kept = (steps, batch, _native.rnn_reserve_size(kind, hidden))
            y, reserve = np.empty((steps, batch, hidden), np.float32), np.empty(kept, np.float32)
            ends = np.empty(state, np.float32), np.empty(state, np.float32) if lstm else None
            weights = [weight_ih, weight_hh]
            for reverse in (False, True):
                before = [x, h, c, *weights, bias_ih, bias_hh]
                _native.rnn_forward(kind, reverse, *before, y, *ends, reserve, _native.Context("baseline", 1))

                def forward(*arrays, kind=kind, reverse=reverse):
                    _native.rnn_forward(kind, reverse, *arrays)

                def backward(*arrays, kind=kind, reverse=reverse):
                    _native.rnn_backward(kind, reverse, *arrays)

                name = f"{kind_name} {(steps, batch, inputs, hidden)} {reverse}"
                outputs = [y.shape, state, state if lstm else None, kept]
                yield f"{name} forward", forward, before, outputs
                yield f"{name} plain", forward, [x, None, None, *weights, None, None], outputs
                dy, dh, dc = reals(rng, y.shape), reals(rng, state), reals(rng, state) if lstm else None
                given = [dy, dh, dc, x, h, c, y.copy(), *weights, reserve.copy()]
                outputs = [x.shape, state, state if lstm else None, weight_ih.shape, weight_hh.shape]
                yield f"{name} backward", backward, given, [*outputs, bias_ih.shape, bias_hh.shape]


def pad_calls(rng):
    for mode in _native.PAD_MODES:
        for channels in SIZES:
            for sizes, pads in (
                ((1, 1, 5), (0, 0, 0, 0, 2, 3)),
                ((1, 4, 3), (0, 0, 3, 0, 1, 2)),
                ((3, 2, 7), (1, 2, 0, 1, 4, 1)),
            ):
                x = reals(rng, (2, *sizes, channels))
                padded = [size + pads[2 * i] + pads[2 * i + 1] for i, size in enumerate(sizes)]
                dy = reals(rng, (2, *padded, channels))

                def forward(x, y, context, pads=pads, mode=mode):
                    _native.pad_forward(x, y, pads, mode, 0.5, context)

                def backward(dy, dx, context, pads=pads, mode=mode):
                    _native.pad_backward(dy, dx, pads, mode, context)

                yield f"pad {mode} {x.shape} {pads}", forward, [x], [dy.shape]
                yield f"pad {mode} {x.shape} {pads} backward", backward, [dy], [x.shape]
    for channels in SIZES:
        for pixels in (1, 2, 130, 1000):
            call = _native.conv_transpose2d_backward_bias
            yield f"bias {pixels} {channels}", call, [reals(rng, (pixels, channels))], [(channels,)]


def layout_calls(rng):
    for rows in SIZES:
        for columns in SIZES:
            x = reals(rng, (2, rows, columns))
            yield f"transpose {rows} {columns}", _native.transpose, [x], [(2, columns, rows)]


CALLS = {
    "gemm": gemm_calls,
    "conv2d": conv2d_calls,
    "pool2d": pool2d_calls,
    "elementwise": elementwise_calls,
    "batch_norm": batch_norm_calls,
    "rnn": rnn_calls,
    "pad": pad_calls,
    "layout": layout_calls,
}


@pytest.mark.parametrize("group", CALLS)
def test_nothing_outside_the_operands_is_touched(group, isa):
    assert "calls passed" in check(python(__file__, group, isa))


def test_the_guard_catches():
    """A read one element past the end, and a write to an input, really kill the process."""
    for crime in ("read after", "read before", "write"):
        process = python(__file__, "crime", crime)
        assert process.returncode < 0, f"{crime}: {process.stdout} {process.stderr}"


def run(group, isa):
    from fastconv.testing import guarded_copy, guarded_empty

    def allocate(make, specification):
        if specification is None:
            return None
        shape, dtype = specification if isinstance(specification[0], tuple) else (specification, np.float32)
        return make(shape, dtype)

    count = 0
    for name, call, inputs, outputs in CALLS[group](np.random.default_rng(13)):
        print(name, flush=True)
        _native.poison_workspace(1 << 16, 0xFF)
        fill = lambda shape, dtype: np.full(shape, NAN if dtype == np.float32 else -1, dtype)  # noqa: E731
        expected = [allocate(fill, output) for output in outputs]
        call(*inputs, *expected, _native.Context(isa, 1))
        for threads, flush in ((1, "end"), (2, "start")):
            guarded = [None if array is None else guarded_copy(array, flush=flush) for array in inputs]
            results = [allocate(lambda *a, flush=flush: guarded_empty(*a, flush=flush), output) for output in outputs]
            call(*guarded, *results, _native.Context(isa, threads))
            for result, wanted in zip(results, expected, strict=True):
                if wanted is not None:
                    assert bits(result) == bits(wanted), f"{name}: {threads} threads, flush with the {flush}"
                    assert wanted.dtype == np.int32 or not np.isnan(wanted).any(), name
        count += 1
    assert count > 0
    print(count, "calls passed")


def commit(crime):
    import ctypes

    from fastconv.testing import guarded_copy

    array = guarded_copy(np.ones(17, np.float32), flush="start" if crime == "read before" else "end")
    if crime == "write":
        ctypes.memset(array.ctypes.data, 0, 4)
    else:
        ctypes.string_at(array.ctypes.data + (-4 if crime == "read before" else array.nbytes), 4)


if __name__ == "__main__":
    commit(sys.argv[2]) if sys.argv[1] == "crime" else run(*sys.argv[1:])
