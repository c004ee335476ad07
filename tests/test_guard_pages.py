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


def gemm_batch_calls(rng):
    for case in GEMMS:
        for transpose_a, transpose_b in ((False, False), (True, False), (False, True), (True, True)):
            a = reals(rng, (3, case.k, case.m) if transpose_a else (3, case.m, case.k))
            b = reals(rng, (1, case.n, case.k) if transpose_b else (1, case.k, case.n))

            def call(a, b, c, context, flags=(transpose_a, transpose_b)):
                _native.gemm_batch(a, b, c, *flags, context)

            yield f"gemm_batch {case.name} {transpose_a} {transpose_b}", call, [a, b], [(3, case.m, case.n)]


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

                def max_backward(dy, indices, dx, context, plan=plan):
                    assert plan.max_backward(dy, indices, dx, True, context)

                yield f"max {name}", max_forward, [x], [y.shape, (y.shape, np.int32)]
                yield f"max {name} backward", max_backward, [dy, indices], [x.shape]
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


def softmax_calls(rng):
    shapes = [(3, columns) for columns in (*SIZES, 129, 1000)]
    shapes += [(rows, columns) for columns in (2, 3, 4) for rows in SIZES]
    shapes += [(2, columns, inner) for columns in (1, 2, 3, 4, 5, 21, 130) for inner in SIZES]
    shapes += [
        (5, 20, 1030),
        (2, 2, 1_100_032),
        (2, 4100, 3),
        (33, 130_001),
        (70_000, 61),
        (3, 45, 33_001),
    ]  # some beyond caches
    for shape in shapes:
        for log in (False, True):
            x, dy = 4 * reals(rng, shape), reals(rng, shape)
            y = np.exp(x - x.max(axis=1, keepdims=True))

            def forward(x, y, context, log=log):
                assert _native.softmax_forward(x, y, 1, log, context)

            def backward(dy, y, dx, context, log=log):
                assert _native.softmax_backward(dy, y, dx, 1, log, context)

            yield f"softmax {shape} {log}", forward, [x], [shape]
            yield f"softmax {shape} {log} backward", backward, [dy, y], [shape]


def cross_entropy_calls(rng):
    shapes = [(19, columns) for columns in (*SIZES, 129, 1000)]
    shapes += [(2, columns, inner) for columns in (1, 2, 5, 21, 130) for inner in SIZES]
    shapes += [(33, 130_001), (70_000, 61), (3, 45, 33_001)]
    for shape in shapes:
        labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        labels.flat[-1] = -100
        for smoothing in (0.0, 0.25):
            x, weight = 4 * reals(rng, shape), np.abs(reals(rng, (shape[1],)))

            def call(x, labels, weight, gradient, context, smoothing=smoothing):
                loss, divisor = _native.cross_entropy(x, labels, weight, gradient, 1, smoothing, True, -100, context)
                assert np.isfinite(loss) and divisor is not None

            yield f"cross_entropy {shape} {smoothing}", call, [x, labels, weight], [shape]
    for name, kind in _native.LOSSES.items():
        for size in (*SIZES, 9001):

            def compare(x, targets, gradient, context, kind=kind):
                assert np.isfinite(_native.loss(x, targets, gradient, kind, 0.5, context))

            yield f"{name} {size}", compare, [4 * reals(rng, (size,)), reals(rng, (size,))], [(size,)]


def ctc_calls(rng):
    for classes in (*SIZES[1:], 129, 300):
        for count in (0, 1, 2, 7, 8, 15, 16, 17, 31, 33):
            steps, batch = 2 * count + 2, 3
            x, targets = 4 * reals(rng, (steps, batch, classes)), rng.integers(1, classes, batch * count)
            counts = np.array([count, count // 2, 0])
            lengths = np.array([steps, steps // 2, steps - 1])

            def call(x, targets, starts, lengths, counts, gradient, context):
                loss, bad = _native.ctc_loss(x, targets, starts, lengths, counts, 0, True, True, gradient, context)
                assert np.isfinite(loss) and bad is None

            starts = np.array([0, count, 2 * count])
            yield f"ctc {classes} {count}", call, [x, targets, starts, lengths, counts], [x.shape]


def embedding_calls(rng):
    for columns in SIZES:
        for count in (1, 2, 9, 300):
            dy, ids = reals(rng, (count, columns)), rng.integers(0, 7, count)
            yield f"embedding {columns} {count}", _native.embedding_backward, [dy, ids], [(7, columns)]


def broadcast_calls(rng):
    """y = a op b and the sums of the backward passes, at the level of the binding."""
    has = {"alike": (True,) * 4, "number": (False,) * 4, "rows": (False, False, False, True)}
    has |= {"columns": (False, True, True, False), "gates": (True, True, False, True)}
    for op in _native.ELEMENTWISE_OPS:
        for pattern, b_has in has.items():
            for columns in (*SIZES, 70, 300):
                size = (2, 2, 3, columns)
                a = reals(rng, size)
                b = reals(rng, tuple(n for n, mine in zip(size, b_has, strict=True) if mine))
                for kind in ("identity", "gelu"):
                    fused = (_native.ACTIVATIONS[kind], 0.0, 0.0)
                    plan = _native.ElementwisePlan(op, size, (True,) * 4, b_has, fused)

                    def call(a, b, gate, y, context, plan=plan):
                        plan.forward(a, b, gate, y, context)

                    gate = reals(rng, size) if op == "prelu_backward" else None
                    yield f"{op} {pattern} {columns} {kind}", call, [a, b, gate], [size]
    for kind in _native.SUM_KINDS:
        for columns in (*SIZES, 140):
            for rows in (1, 7, 9, 130, 300):
                dy, x = reals(rng, (2, rows, columns)), reals(rng, (2, rows, columns))

                def by_column(dy, x, sums, context, kind=kind):
                    _native.column_sums(kind, dy, x, sums, context)

                def by_row(dy, x, sums, context, kind=kind):
                    _native.row_sums(kind, dy, x, sums, context)

                second = None if kind == "sum" else x
                yield f"{kind} {dy.shape}", by_column, [dy, second], [(2, columns)]
                second = None if kind == "sum" else x[1]
                yield f"{kind} {dy[1].shape}", by_row, [dy[1], second], [(rows,)]
    for inner in (*SIZES, 2049):
        x, dy = 4 * reals(rng, (3, 2, inner)), reals(rng, (3, inner))
        yield f"glu {inner}", _native.glu_forward, [x], [(3, inner)]
        yield f"glu {inner} backward", _native.glu_backward, [dy, x], [(3, 2, inner)]


def norm_calls(rng):
    for channels in SIZES:
        for images, rows in ((1, 1), (1, 2), (2, 7), (1, 130), (1, 300)):
            shape = (images, rows, channels)
            for groups in {1, channels}:
                x, dy = reals(rng, shape), reals(rng, shape)
                mean, var = reals(rng, (images, groups)), reals(rng, (images, groups)) ** 2 + 1
                weight, bias = (reals(rng, (channels,)) for _ in range(2))

                def training(x, weight, bias, y, mean, var, context, groups=groups):
                    _native.norm_training(x, groups, weight, bias, 1e-3, y, mean, var, context)

                def inference(x, mean, var, weight, bias, y, context):
                    _native.norm_inference(x, mean, var, weight, bias, 1e-3, y, context)

                def backward(dy, x, mean, var, weight, dx, dweight, dbias, context):
                    _native.norm_backward(dy, x, mean, var, weight, 1e-3, dx, dweight, dbias, context)

                name = f"norm {shape} {groups}"
                yield f"{name} training", training, [x, weight, bias], [shape, mean.shape, mean.shape]
                yield name, inference, [x, mean, var, weight, bias], [shape]
                yield f"{name} plain", inference, [x, mean, var, None, None], [shape]
                outputs = [shape, (channels,), (channels,)]
                yield f"{name} backward", backward, [dy, x, mean, var, weight], outputs


def layer_norm_calls(rng):
    for columns in (*SIZES, 1024, 1025, 2100):
        for rows in (1, 3, 4, 5, 9):
            x, dy = reals(rng, (rows, columns)), reals(rng, (rows, columns))
            mean, var = reals(rng, (rows,)), reals(rng, (rows,)) ** 2 + 1
            weight, bias = reals(rng, (columns,)), reals(rng, (columns,))
            for rms in (False, True):

                def forward(x, weight, bias, y, mean, var, context, rms=rms):
                    _native.layer_norm_forward(rms, x, weight, bias, 1e-3, y, mean, var, context)

                def backward(dy, x, mean, var, weight, dx, dweight, dbias, context, rms=rms):
                    _native.layer_norm_backward(rms, dy, x, mean, var, weight, 1e-3, dx, dweight, dbias, context)

                name, kept = f"layer_norm {(rows, columns)} {rms}", None if rms else (rows,)
                yield name, forward, [x, weight, None if rms else bias], [x.shape, kept, (rows,)]
                yield f"{name} plain", forward, [x, None, None], [x.shape, None, None]
                given = [dy, x, None if rms else mean, var]
                outputs = [x.shape, (columns,), None if rms else (columns,)]
                yield f"{name} backward", backward, [*given, weight], outputs
                yield f"{name} backward plain", backward, [*given, None], [x.shape, None, None]


def response_norm_calls(rng):
    for channels in SIZES:
        for size, beta in ((1, 0.75), (2, 0.5), (5, 0.75), (5, 0.6), (40, 0.75)):
            x, dy = reals(rng, (7, channels)), reals(rng, (7, channels))

            def forward(x, y, context, size=size, beta=beta):
                _native.response_norm_forward(x, size, 0.5, beta, 1.0, y, context)

            def backward(dy, x, dx, context, size=size, beta=beta):
                _native.response_norm_backward(dy, x, size, 0.5, beta, 1.0, dx, context)

            yield f"response_norm {channels} {size} {beta}", forward, [x], [x.shape]
            yield f"response_norm {channels} {size} {beta} backward", backward, [dy, x], [x.shape]


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
                _native.rnn_forward(kind, reverse, None, *before, y, *ends, reserve, _native.Context("baseline", 1))

                def forward(*arrays, kind=kind, reverse=reverse):
                    _native.rnn_forward(kind, reverse, None, *arrays)

                def backward(*arrays, kind=kind, reverse=reverse):
                    _native.rnn_backward(kind, reverse, None, *arrays)

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


def interpolate_calls(rng):
    for mode in _native.INTERPOLATION_MODES:
        for number, channels in enumerate(SIZES):
            for x_size, size, factors in (
                ((3, 5), (6, 10), (0.0, 0.0)),
                ((4, 3), (9, 2), (0.0, 0.0)),
                ((1, 7), (1, 11), (0.0, 1.7)),
                ((5, 4), (5, 9), (0.0, 0.0)),
                ((2, 3), (7, 3), (3.6, 1.0)),
            ):
                corners = mode.startswith("bi") and number % 2 == 0
                shape = (2, channels, *x_size)
                plan = _native.InterpolatePlan("interpolate", shape, size, factors, mode, corners)
                x, dy = reals(rng, (2, *x_size, channels)), reals(rng, (2, *size, channels))
                name = f"interpolate {mode} {shape} {size}"
                yield name, plan.forward, [x], [dy.shape]
                yield f"{name} backward", plan.backward, [dy], [x.shape]


def rearrange_calls(rng):
    for channels in SIZES:
        for factor in (1, 2, 3, 4, 5):
            for height, width in ((1, 1), (2, 2), (2, 7)):
                x = reals(rng, (2, height, width, channels * factor**2))
                dy = reals(rng, (2, height * factor, width * factor, channels))

                def forward(x, y, context, factor=factor):
                    _native.pixel_shuffle_forward(x, y, factor, context)

                def backward(dy, dx, context, factor=factor):
                    _native.pixel_shuffle_backward(dy, dx, factor, context)

                yield f"pixel_shuffle {x.shape} {factor}", forward, [x], [dy.shape]
                yield f"pixel_shuffle {x.shape} {factor} backward", backward, [dy], [x.shape]
        for groups in (1, 2, 3, 5, 8):
            x = reals(rng, (7, channels * groups))
            for parts in (groups, channels):

                def shuffle(x, y, context, parts=parts):
                    _native.channel_shuffle(x, y, parts, context)

                yield f"channel_shuffle {x.shape} {parts}", shuffle, [x], [x.shape]
        for kernel, stride, pads, dilation in (
            ((3, 3), (1, 1), (1, 1), (1, 1)),
            ((2, 3), (2, 3), (1, 2), (2, 1)),
            ((3, 5), (3, 5), (0, 0), (1, 1)),
            ((1, 4), (1, 6), (0, 3), (1, 2)),
        ):
            for height, width in ((3, 10), (7, 17)):
                geometry = kernel, stride, pads, dilation
                plan = _native.UnfoldPlan("unfold", (2, channels, height, width), *geometry)
                x, columns = reals(rng, (2, height, width, channels)), reals(rng, plan.columns_shape)
                for planes in (False, True):
                    given = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if planes else x

                    def unfold(x, columns, context, plan=plan, planes=planes):
                        plan.unfold(x, columns, planes, context)

                    yield f"unfold {x.shape} {geometry} {planes}", unfold, [given], [columns.shape]
                yield f"fold {x.shape} {geometry}", plan.fold, [columns], [x.shape]


def dropout_calls(rng):
    for size in (*SIZES, 16400, 40001):
        x, keep = reals(rng, (size,)), rng.random(size) < 0.5

        def forward(x, y, keep, context):
            _native.dropout_forward(x, y, keep, (1, 2**63 + 5), 2**31, 2.0, context)

        def backward(dy, keep, dx, context):
            _native.dropout_backward(dy, keep, dx, 2.0, context)

        yield f"dropout {size}", forward, [x], [(size,), ((size,), np.bool_)]
        yield f"dropout {size} backward", backward, [x, keep], [(size,)]


def layout_calls(rng):
    for rows in SIZES:
        for columns in SIZES:
            x = reals(rng, (2, rows, columns))
            yield f"transpose {rows} {columns}", _native.transpose, [x], [(2, columns, rows)]


CALLS = {
    "gemm": gemm_calls,
    "gemm_batch": gemm_batch_calls,
    "conv2d": conv2d_calls,
    "pool2d": pool2d_calls,
    "elementwise": elementwise_calls,
    "broadcast": broadcast_calls,
    "softmax": softmax_calls,
    "cross_entropy": cross_entropy_calls,
    "ctc": ctc_calls,
    "embedding": embedding_calls,
    "norm": norm_calls,
    "layer_norm": layer_norm_calls,
    "response_norm": response_norm_calls,
    "rnn": rnn_calls,
    "pad": pad_calls,
    "interpolate": interpolate_calls,
    "rearrange": rearrange_calls,
    "dropout": dropout_calls,
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
                    assert wanted.dtype != np.float32 or not np.isnan(wanted).any(), name
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
