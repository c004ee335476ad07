"""Convolutions of 1-D and 3-D maps, and transposed ones: against the float64 definition, and as 2-D ones are tested."""

import functools

import numpy as np
import pytest
import reference
from checks import ORDERS, UNIT, assert_accurate, assert_equal, bits, integers, reals
from map_shapes import MAPS, REAL_MAPS

from fastconv import ops, runtime
from fastconv.ops import _maps

BY_NAME = {case.name: case for case in MAPS}
NAMES = ("y", "dx", "dweight", "dbias")
ids = lambda case: case.name  # noqa: E731


def channels_last(array):
    """(N, C, *sizes) on (N, *sizes, C) memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


MAP_ORDERS = {"channels last": channels_last, **ORDERS}
pytestmark = pytest.mark.usefixtures("sums_as_written")


class Problem:
    """A case with data, and all results of a module that has the ops: fastconv.ops or reference."""

    def __init__(self, case, fill):
        rng = np.random.default_rng(17)
        terms = 1 + int(np.prod(case.weight_shape)) + case.n * int(np.prod(case.sizes)) * int(np.prod(case.kernel))
        self.case = case
        self.x, self.weight = fill(rng, case.x_shape, terms), fill(rng, case.weight_shape, terms)
        self.bias = fill(rng, (case.k,), terms)
        self.dy = fill(rng, case.y_shape, terms)

    def results(self, module, **named):
        case, geometry = self.case, self.case.geometry | named
        y = getattr(module, case.op)(self.x, self.weight, self.bias, **geometry)
        dx = getattr(module, f"{case.op}_backward_input")(self.dy, self.weight, case.x_shape, **geometry)
        return y, dx, *getattr(module, f"{case.op}_backward_weight")(self.dy, self.x, case.weight_shape, **geometry)


@functools.cache
def integer_problem(name):
    problem = Problem(BY_NAME[name], integers)
    return problem, problem.results(reference)


def real_problem(name):
    return Problem(BY_NAME[name], lambda rng, shape, terms: reals(rng, shape))


@pytest.mark.parametrize("fold_bytes", [1, _maps.FOLD_BYTES], ids=["slice by slice", "at once"])
@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_integers_are_exact(case, fold_bytes, isa, monkeypatch):
    monkeypatch.setattr(_maps, "FOLD_BYTES", fold_bytes)
    problem, expected = integer_problem(case.name)
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            for name, actual, wanted in zip(NAMES, problem.results(ops), expected, strict=True):
                assert_equal(actual, wanted, f"{name}, {threads} threads")


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_every_algorithm_agrees(case, algorithm):
    problem, expected = integer_problem(case.name)
    for name, actual, wanted in zip(NAMES, problem.results(ops, algorithm=algorithm), expected, strict=True):
        assert_equal(actual, wanted, name)


def test_the_data_proves_something():
    for case in MAPS:
        assert integer_problem(case.name)[1][0].shape == case.y_shape
        for name, array in zip(NAMES, integer_problem(case.name)[1], strict=True):
            assert np.count_nonzero(array) > 0, f"{case.name}: {name} is all zero"
            assert np.abs(array).max() < 2**24, f"{case.name}: {name} is not exact in float32"


@pytest.mark.parametrize("name", ["sequence_asymmetric", "volume", "volume_depthwise", "up_3x3", "up_volume_odd"])
def test_accuracy_on_reals(name, isa):
    problem = real_problem(name)
    expected = problem.results(reference)
    positive = real_problem(name)
    for field in ("x", "weight", "bias", "dy"):
        setattr(positive, field, np.abs(getattr(problem, field)))
    magnitudes = positive.results(reference)
    case = problem.case
    terms = case.c * case.k * int(np.prod(case.kernel)) + case.n * problem.dy[0, 0].size
    for name, actual, wanted, magnitude in zip(NAMES, problem.results(ops), expected, magnitudes, strict=True):
        assert_accurate(actual, wanted, magnitude, terms, name)


@pytest.mark.parametrize("name", ["volume", "up_stride_1"])
def test_winograd_serves_too(name, isa):
    """Slices of 3 x 3 kernels with stride 1 are what it takes."""
    problem = real_problem(name)
    for actual, wanted in zip(problem.results(ops, algorithm="winograd"), problem.results(reference), strict=True):
        assert np.abs(actual - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["sequence", "volume", "volume_strided", "volume_depthwise", "up_4x4", "up_volume"])
def test_bits_do_not_depend_on_threads(name, isa):
    problem = real_problem(name)
    first = None
    for threads in (1, 2, 3, 2):
        with runtime.options(num_threads=threads):
            results = [bits(array) for array in problem.results(ops)]
        first = first or results
        assert results == first, f"{threads} threads"


@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_adjoint_identity(case, rng):
    """<dy, conv(x, w)> = <backward_input(dy, w), x> = <backward_weight(dy, x), w>, exactly, on integers."""
    problem, _ = integer_problem(case.name)
    y = getattr(ops, case.op)(problem.x, problem.weight, **case.geometry)
    _, dx, dweight, _ = problem.results(ops)
    dot = lambda a, b: np.vdot(a.astype(np.float64), b.astype(np.float64))  # noqa: E731
    assert dot(problem.dy, y) == dot(dx, problem.x) == dot(dweight, problem.weight)


@pytest.mark.parametrize("case", REAL_MAPS, ids=ids)
def test_adjoint_identity_at_full_size(case, rng):
    x, weight, dy = (integers(rng, shape, 1 << 19) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    y = getattr(ops, case.op)(x, weight, **case.geometry)
    dx = getattr(ops, f"{case.op}_backward_input")(dy, weight, case.x_shape, **case.geometry)
    dweight, dbias = getattr(ops, f"{case.op}_backward_weight")(dy, x, case.weight_shape, **case.geometry)
    dot = lambda a, b: np.vdot(a.astype(np.float64), b.astype(np.float64))  # noqa: E731
    assert np.count_nonzero(y) > 0.5 * y.size
    assert dot(dy, y) == dot(dx, x) == dot(dweight, weight)
    assert_equal(dbias, dy.sum(axis=(0, *range(2, dy.ndim)), dtype=np.float64), "dbias")


@pytest.mark.parametrize("order", MAP_ORDERS)
@pytest.mark.parametrize("name", ["sequence", "volume", "volume_depthwise", "up_sequence_odd", "up_4x4", "up_volume"])
def test_memory_orders(name, order):
    problem, expected = integer_problem(name)
    reordered = Problem.__new__(Problem)
    reordered.case = problem.case
    for field in ("x", "weight", "bias", "dy"):
        reorder = MAP_ORDERS[order] if field in ("x", "dy") else ORDERS.get(order, np.ascontiguousarray)
        setattr(reordered, field, reorder(getattr(problem, field)))
    before = [bits(getattr(reordered, field)) for field in ("x", "weight", "bias", "dy")]
    for name, actual, wanted in zip(NAMES, reordered.results(ops), expected, strict=True):
        assert_equal(actual, wanted, name)
        if name in ("y", "dx"):
            assert np.moveaxis(actual, 1, -1).flags.c_contiguous, f"{name} does not lie channels last"
    assert before == [bits(getattr(reordered, field)) for field in ("x", "weight", "bias", "dy")]


@pytest.mark.parametrize("order", ["channels last", "C", "strided", "negative strides", "misaligned"])
@pytest.mark.parametrize("name", ["sequence", "volume", "volume_depthwise", "up_4x4", "up_volume"])
def test_out(name, order):
    problem, (expected, *_) = integer_problem(name)
    out = MAP_ORDERS[order](np.full(expected.shape, np.nan, np.float32))
    y = getattr(ops, problem.case.op)(problem.x, problem.weight, problem.bias, out=out, **problem.case.geometry)
    assert y is out
    assert_equal(out, expected)


@pytest.mark.parametrize(
    ("op", "weight_shape"),
    [
        ("conv1d", (3, 3, 3)),
        ("conv3d", (3, 3, 3, 3, 3)),
        ("conv3d", (3, 1, 3, 3, 3)),
        ("conv_transpose2d", (3, 3, 3, 3)),
    ],
)
def test_out_may_be_the_input(op, weight_shape, rng):
    x, weight = integers(rng, (2, 3, *weight_shape[2:]), 100), integers(rng, weight_shape, 100)
    geometry = {"padding": 1, "groups": 3 // weight_shape[1]}
    expected = getattr(ops, op)(x, weight, **geometry)
    out = channels_last(x)
    getattr(ops, op)(out, weight, out=out, **geometry)
    assert_equal(out, expected)


@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_activation_and_residual_come_last(case, isa):
    problem, (expected, *_) = integer_problem(case.name)
    named = case.geometry | {"activation": "relu"}
    if case.op in ("conv1d", "conv3d"):
        named["residual"] = problem.dy
        expected = expected + problem.dy
    for threads in (1, 2):
        with runtime.options(num_threads=threads):
            y = getattr(ops, case.op)(problem.x, problem.weight, problem.bias, **named)
        assert_equal(y, np.maximum(expected, 0))


@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_empty_batch(case):
    empty = Problem.__new__(Problem)
    problem, (y, *_) = integer_problem(case.name)
    empty.case = case._replace(n=0)
    empty.x, empty.weight, empty.bias, empty.dy = problem.x[:0], problem.weight, problem.bias, problem.dy[:0]
    results = empty.results(ops)
    assert [array.shape for array in results] == [(0, *y.shape[1:]), empty.x.shape, case.weight_shape, (case.k,)]
    assert not results[2].any() and not results[3].any()


@pytest.mark.parametrize("case", MAPS, ids=ids)
def test_a_nan_reaches_exactly_its_receptive_field(case):
    problem, _ = integer_problem(case.name)
    rng = np.random.default_rng(3)
    op, ones = getattr(ops, case.op), np.ones(case.weight_shape, np.float32)
    clean = op(problem.x, problem.weight, **case.geometry)
    for _ in range(3):
        at = tuple(rng.integers(0, size) for size in case.x_shape)
        mark, spoiled = np.zeros(case.x_shape), problem.x.copy()
        mark[at], spoiled[at] = 1.0, np.nan
        field = getattr(reference, case.op)(mark, ones, **case.geometry) != 0
        y = op(spoiled, problem.weight, **case.geometry)
        assert np.isnan(y[field]).all()
        assert np.array_equal(y[~field], clean[~field])
        at = tuple(rng.integers(0, size) for size in problem.dy.shape)
        mark, spoiled = np.zeros(problem.dy.shape), problem.dy.copy()
        mark[at], spoiled[at] = 1.0, np.nan
        field = getattr(reference, f"{case.op}_backward_input")(mark, ones, case.x_shape, **case.geometry) != 0
        dx = getattr(ops, f"{case.op}_backward_input")(spoiled, problem.weight, case.x_shape, **case.geometry)
        assert np.isnan(dx[field]).all()
        assert np.isfinite(dx[~field]).all()


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_and_valid_padding(kernel, dilation, rng):
    total = dilation * (kernel - 1)
    for rank in (1, 2, 3):
        sizes, weight_shape = (7, 6, 5)[:rank], (3, 2, *[kernel] * rank)
        pads = ((total // 2, total - total // 2),) * rank
        x, weight = integers(rng, (2, 2, *sizes), 400), integers(rng, weight_shape, 400)
        if dilation * (kernel - 1) < 5:
            y = getattr(ops, f"conv{rank}d")(x, weight, padding="valid", dilation=dilation)
            assert_equal(y, reference.conv(x, weight, dilation=dilation))
        y = getattr(ops, f"conv{rank}d")(x, weight, padding="same", dilation=dilation)
        assert y.shape == (2, 3, *sizes)
        assert_equal(y, reference.conv(x, weight, padding=pads, dilation=dilation))
        x = integers(rng, (2, 3, *sizes), 400)
        y = getattr(ops, f"conv_transpose{rank}d")(x, weight, padding="same", dilation=dilation)
        assert y.shape == (2, 2, *sizes)
        assert_equal(y, reference.conv_transpose(x, weight, padding=pads, dilation=dilation))


def test_pads_of_a_sequence_may_stand_alone(rng):
    x, weight = integers(rng, (2, 3, 9), 50), integers(rng, (4, 3, 3), 50)
    expected = reference.conv(x, weight, padding=((2, 1),))
    for padding in ((2, 1), [2, 1], ((2, 1),), [[2, 1]]):
        assert_equal(ops.conv1d(x, weight, padding=padding), expected)
    assert_equal(ops.conv1d(x, weight, padding=(1,), stride=[2]), reference.conv(x, weight, padding=1, stride=2))


def test_a_transposed_convolution_undoes_the_shape(rng):
    """output_padding gives back every size that a stride has rounded to one."""
    weight = reals(rng, (5, 3, 3, 3))
    for height in range(5, 12):
        y = ops.conv2d(reals(rng, (1, 3, height, 8)), weight, stride=3, padding=1)
        more = (height + 2 - 3) % 3
        back = ops.conv_transpose2d(y, weight, stride=3, padding=1, output_padding=(more, 1))
        assert back.shape == (1, 3, height, 8)


def test_a_volume_of_one_slice_is_an_image(isa, rng):
    x, weight, bias = reals(rng, (2, 17, 9, 8)), reals(rng, (9, 17, 3, 3)), reals(rng, (9,))
    image = ops.conv2d(x, weight, bias, padding=1)
    volume = ops.conv3d(x[:, :, None], weight[:, :, None], bias, padding=(0, 1, 1))
    assert bits(volume[:, :, 0]) == bits(image)
    sequence = ops.conv2d(x[:, :, :1], weight[:, :, :1], bias, padding=(0, 1))
    assert bits(ops.conv1d(x[:, :, 0], weight[:, :, 0], bias, padding=1)) == bits(sequence[:, :, 0])


def test_dbias_of_a_transposed_convolution_is_a_careful_sum(rng):
    """10^6 elements: a sum in one go would be off by hundreds of u."""
    dy, x = rng.random((1, 2, 1000, 1000), np.float32), np.zeros((1, 1, 500, 500), np.float32)
    _, dbias = ops.conv_transpose2d_backward_weight(dy, x, (1, 2, 2, 2), stride=2)
    expected = dy.sum(axis=(0, 2, 3), dtype=np.float64)
    assert np.all(np.abs(dbias - expected) <= 500 * UNIT * expected)
