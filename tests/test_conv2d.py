"""conv2d and its gradients: every algorithm, instruction set and thread count against the float64 definition."""

import functools
import itertools
import math

import numpy as np
import pytest
import reference
from checks import (
    IMAGE_ORDERS,
    ORDERS,
    assert_accurate,
    assert_equal,
    bits,
    channels_last,
    integers,
    reals,
)
from shapes import AWKWARD, REAL, Conv

from fastconv import _native, ops, runtime

ALGORITHMS = tuple(name for name in _native.CONV2D_ALGORITHMS if name != "auto")
# Sums of products as they are written: exact on integers. The others, test_winograd.py holds to bounds of their own.
EXACT = tuple(name for name in ALGORITHMS if not name.startswith("winograd"))
PASSES = (0, 1, 2)
BY_NAME = {case.name: case for case in (*AWKWARD, *REAL)}
ids = lambda case: case.name  # noqa: E731


@pytest.fixture(autouse=True)
def products_alone():
    """Integers are exact here: "auto" keeps off Winograd (tests/test_winograd.py), unless a test asks for it."""
    with runtime.options(winograd=False):
        yield


def make_plan(case, algorithm="auto", activation=None):
    return ops.conv2d_plan(case.x_shape, case.weight_shape, **case.geometry, algorithm=algorithm, activation=activation)


def plan_or_skip(case, algorithm):
    try:
        return make_plan(case, algorithm)
    except ValueError as error:
        if "does not support" not in str(error):
            raise
        pytest.skip(f"{algorithm} does not support {case.name}")


class Problem:
    """A case with data and the expected results of all passes."""

    def __init__(self, case, fill, seed=7):
        rng = np.random.default_rng(seed)
        forward, backward_input, backward_weight = case.terms
        terms = max(forward + 1, backward_input, backward_weight)
        self.case = case
        self.x = fill(rng, case.x_shape, terms)
        self.weight = fill(rng, case.weight_shape, terms)
        self.bias = fill(rng, (case.k,), terms)
        self.dy = fill(rng, case.y_shape, terms)

    def expected(self, absolute=False):
        x, weight, bias, dy = (np.abs(a) if absolute else a for a in (self.x, self.weight, self.bias, self.dy))
        geometry = self.case.geometry
        y = reference.conv2d(x, weight, bias, **geometry)
        dx = reference.conv2d_backward_input(dy, weight, x.shape, **geometry)
        return y, dx, *reference.conv2d_backward_weight(dy, x, weight.shape, **geometry)


@functools.cache
def integer_problem(name):
    problem = Problem(BY_NAME[name], integers)
    return problem, problem.expected()


@functools.cache
def real_problem(name):
    problem = Problem(BY_NAME[name], lambda rng, shape, terms: reals(rng, shape))
    return problem, problem.expected(), problem.expected(absolute=True)


def ops_results(problem, algorithm):
    """(y, dx, dweight, dbias) as a user gets them."""
    case = problem.case
    geometry = dict(case.geometry, algorithm=algorithm)
    y = ops.conv2d(problem.x, problem.weight, problem.bias, **geometry)
    dx = ops.conv2d_backward_input(problem.dy, problem.weight, case.x_shape, **geometry)
    return y, dx, *ops.conv2d_backward_weight(problem.dy, problem.x, case.weight_shape, **geometry)


def plan_results(problem, plan, context):
    """The same from the binding, into outputs full of NaN, with a workspace full of NaN."""
    nhwc = lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1))  # noqa: E731
    nan = lambda shape: np.full(shape, np.nan, np.float32)  # noqa: E731
    x, dy = nhwc(problem.x), nhwc(problem.dy)
    y, dx, dweight, dbias = nan(plan.y_shape), nan(plan.x_shape), nan(problem.case.weight_shape), nan(problem.case.k)
    # The forward pass packs the weights into the workspace too, a group's channels padded to whole tiles.
    size = max(plan.workspace_bytes(pass_, context) for pass_ in PASSES)
    size += 4 * (max(problem.case.k, 32 * problem.case.groups) * 2 * problem.weight[0].size)
    _native.poison_workspace(size, 0xFF)
    plan.forward(x, problem.weight, problem.bias, None, y, context)
    _native.poison_workspace(size, 0xFF)
    plan.backward_input(dy, problem.weight, dx, context)
    _native.poison_workspace(size, 0xFF)
    plan.backward_weight(dy, x, dweight, dbias, context)
    return y.transpose(0, 3, 1, 2), dx.transpose(0, 3, 1, 2), dweight, dbias


NAMES = ("y", "dx", "dweight", "dbias")


# ------------------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("case", AWKWARD, ids=ids)
def test_integers_are_exact(case, algorithm, isa):
    plan = plan_or_skip(case, algorithm)
    problem, expected = integer_problem(case.name)
    assert plan.algorithms == (algorithm,) * 3
    with runtime.options(num_threads=1):
        for name, actual, wanted in zip(NAMES, ops_results(problem, algorithm), expected, strict=True):
            assert_equal(actual, wanted, name)
    for threads in (1, 2, 3):
        results = plan_results(problem, plan, _native.Context(isa, threads))
        for name, actual, wanted in zip(NAMES, results, expected, strict=True):
            assert_equal(actual, wanted, f"{name} into NaN, {threads} threads")


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("case", AWKWARD, ids=ids)
def test_the_input_gradient_has_the_whole_epilogue(case, algorithm, isa):
    """Bias, residual and activation of the transposed convolution, in each algorithm and where no tap reaches."""
    plan_or_skip(case, algorithm)
    plan = make_plan(case, algorithm, activation="relu")
    problem, (_, dx, *_) = integer_problem(case.name)
    rng = np.random.default_rng(3)
    bias, residual = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((case.c,), plan.x_shape))
    dy, y = np.ascontiguousarray(problem.dy.transpose(0, 2, 3, 1)), np.full(plan.x_shape, np.nan, np.float32)
    for added in (None, residual):
        plan.transposed_forward(dy, problem.weight, bias, added, y, _native.Context(isa, 2))
        sums = dx.transpose(0, 2, 3, 1) + bias + (0 if added is None else added)
        assert_equal(y, np.maximum(sums, 0), "y")


def test_the_data_proves_something():
    """An expected result of zeros or constants would hide errors."""
    for case in AWKWARD:
        for name, array in zip(NAMES, integer_problem(case.name)[1], strict=True):
            # Outputs (or gradients) of nothing but padding are rightly zero; in no case are all.
            assert np.count_nonzero(array) > 0, f"{case.name}: {name} is all zero"
            assert np.abs(array).max() < 2**24, f"{case.name}: {name} is not exact in float32"
    total = sum(array.size for case in AWKWARD for array in integer_problem(case.name)[1])
    nonzero = sum(np.count_nonzero(array) for case in AWKWARD for array in integer_problem(case.name)[1])
    assert nonzero > 0.8 * total


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize(
    "case",
    [
        BY_NAME[name]
        for name in (
            "resnet50_stem",
            "resnet50_conv3_3x3_s2",
            "resnet50_conv5_3x3",
            "resnet50_conv4_reduce",
            "alexnet_conv2",
            "mobilenet_depthwise_s1",
            "mobilenet_depthwise_s2",
            "mobilenet_v3_depthwise_5x5",
            "mobilenet_v3_depthwise_5x5_s2",
            "convnext_depthwise_7x7",
            "lenet_conv2",
            "inception_1x7",
        )
    ],
    ids=ids,
)
def test_adjoint_identity_at_full_size(case, algorithm):
    """<dy, conv(x, w)> = <backward_input(dy, w), x> = <backward_weight(dy, x), w>, exactly, on integers."""
    plan_or_skip(case, algorithm)
    if algorithm == "im2col" and case.multiply_adds > 60e6:
        pytest.skip("im2col takes seconds here; the smaller layers cover it")
    rng = np.random.default_rng(3)
    geometry = dict(case.geometry, algorithm=algorithm)
    terms = max(case.terms)
    x, weight = integers(rng, case.x_shape, terms), integers(rng, case.weight_shape, terms)
    dy = integers(rng, case.y_shape, terms)
    y = ops.conv2d(x, weight, **geometry)
    dx = ops.conv2d_backward_input(dy, weight, case.x_shape, **geometry)
    dweight, dbias = ops.conv2d_backward_weight(dy, x, case.weight_shape, **geometry)
    dot = lambda a, b: np.vdot(a.astype(np.float64), b.astype(np.float64))  # noqa: E731
    assert np.count_nonzero(y) > 0.5 * y.size
    assert dot(dy, y) == dot(dx, x) == dot(dweight, weight)
    assert_equal(dbias, dy.sum(axis=(0, 2, 3), dtype=np.float64), "dbias")


# ------------------------------------------------------------------------------------------------------- accuracy

ACCURACY = [
    BY_NAME[name]
    for name in (
        "same_3x3_threads",
        "stem_7x7",
        "stem_11x11",
        "pointwise_wide",
        "dilated_strided",
        "grouped_wide",
        "depthwise_threads",
        "deep",
        "deep_pointwise",
        "one_of_everything",
        "wide_map",
    )
]


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("case", ACCURACY, ids=ids)
def test_accuracy_on_reals(case, algorithm, isa):
    plan_or_skip(case, algorithm)
    problem, exact, magnitudes = real_problem(case.name)
    forward, backward_input, backward_weight = case.terms
    terms = (forward + 1, backward_input, backward_weight, backward_weight)
    results = ops_results(problem, algorithm)
    for name, actual, expected, magnitude, count in zip(NAMES, results, exact, magnitudes, terms, strict=True):
        assert_accurate(actual, expected, magnitude, count, f"{name} of {case.name}")


def test_accuracy_of_a_long_reduction(isa):
    """10^5 products a weight: a sum in one go would be off by hundreds of u."""
    case = Conv("long", 2, 3, 224, 224, 4, (3, 3), (1, 1), ((1, 1), (1, 1)))
    rng = np.random.default_rng(5)
    x, dy = rng.random(case.x_shape, np.float32), rng.random(case.y_shape, np.float32)  # all positive
    for algorithm in ("direct", "im2col"):
        dweight, dbias = ops.conv2d_backward_weight(dy, x, case.weight_shape, **case.geometry, algorithm=algorithm)
        expected = reference.conv2d_backward_weight(dy, x, case.weight_shape, **case.geometry)
        for name, actual, wanted in zip(("dweight", "dbias"), (dweight, dbias), expected, strict=True):
            assert_accurate(actual, wanted, wanted, case.terms[2], f"{algorithm} {name}")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "name", ["same_3x3_threads", "stem_7x7", "dilated_strided", "depthwise_threads", "slide_many_channels", "deep"]
)
def test_bits_do_not_depend_on_threads_or_repetition(name, algorithm, isa):
    case = BY_NAME[name]
    plan_or_skip(case, algorithm)
    problem, _, _ = real_problem(name)
    first = None
    for threads in (1, 2, 3, 7, 2):
        with runtime.options(num_threads=threads):
            results = [bits(array) for array in ops_results(problem, algorithm)]
        first = first or results
        assert results == first, f"{threads} threads"


# ---------------------------------------------------------------------------------------------------- metamorphic


def test_groups_are_stacked_convolutions(isa, rng):
    x, weight, dy = (integers(rng, shape, 500) for shape in ((2, 12, 9, 7), (15, 4, 3, 3), (2, 15, 5, 7)))
    geometry = {"stride": (2, 1), "padding": 1}
    parts = [(slice(4 * g, 4 * g + 4), slice(5 * g, 5 * g + 5)) for g in range(3)]
    y = ops.conv2d(x, weight, groups=3, **geometry)
    stacked = [ops.conv2d(x[:, c], weight[k], **geometry) for c, k in parts]
    assert_equal(y, np.concatenate(stacked, axis=1), "y")
    dx = ops.conv2d_backward_input(dy, weight, x.shape, groups=3, **geometry)
    stacked = [ops.conv2d_backward_input(dy[:, k], weight[k], (2, 4, 9, 7), **geometry) for c, k in parts]
    assert_equal(dx, np.concatenate(stacked, axis=1), "dx")
    dweight, _ = ops.conv2d_backward_weight(dy, x, weight.shape, groups=3, **geometry)
    stacked = [ops.conv2d_backward_weight(dy[:, k], x[:, c], (5, 4, 3, 3), **geometry)[0] for c, k in parts]
    assert_equal(dweight, np.concatenate(stacked, axis=0), "dweight")


def test_pointwise_is_a_matrix_product(isa, rng):
    x, weight = integers(rng, (2, 17, 5, 7), 17), integers(rng, (33, 17, 1, 1), 17)
    product = ops.matmul(x.transpose(0, 2, 3, 1).reshape(-1, 17), weight.reshape(33, 17).T)
    assert_equal(ops.conv2d(x, weight), product.reshape(2, 5, 7, 33).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_dilation_is_a_kernel_with_zeros_between(algorithm, isa, rng):
    x, weight = integers(rng, (1, 9, 15, 16), 100), integers(rng, (7, 9, 3, 2), 100)
    sparse = np.zeros((7, 9, 5, 4), np.float32)
    sparse[:, :, ::2, ::3] = weight
    dilated = ops.conv2d(x, weight, dilation=(2, 3), padding=2, algorithm=algorithm)
    assert_equal(dilated, ops.conv2d(x, sparse, padding=2, algorithm=algorithm))


def test_permuted_channels_permute_nothing_else(isa, rng):
    x, weight = integers(rng, (1, 15, 7, 9), 200), integers(rng, (17, 15, 3, 3), 200)
    inside, outside = rng.permutation(15), rng.permutation(17)
    y = ops.conv2d(x, weight, padding=1)
    assert_equal(ops.conv2d(x[:, inside], weight[:, inside], padding=1), y)
    assert_equal(ops.conv2d(x, weight[outside], padding=1), y[:, outside])


def test_padding_is_a_border_of_zeros(isa, rng):
    x, weight = integers(rng, (2, 5, 7, 6), 100), integers(rng, (9, 5, 3, 4), 100)
    bordered = np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 3)))
    assert_equal(ops.conv2d(x, weight, padding=((2, 1), (0, 3))), ops.conv2d(bordered, weight))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_images_of_a_batch_do_not_mix(algorithm, isa, rng):
    x, weight = reals(rng, (5, 16, 9, 7)), reals(rng, (16, 1 if algorithm == "depthwise" else 16, 3, 3))
    geometry = {"padding": 1, "groups": 16 if algorithm == "depthwise" else 1, "algorithm": algorithm}
    y = ops.conv2d(x, weight, **geometry)
    for i in range(5):
        assert bits(ops.conv2d(x[i : i + 1], weight, **geometry)) == bits(y[i : i + 1])


# ------------------------------------------------------------------------------------------------- special values

SPECIAL = [
    Conv("plain", 1, 9, 8, 9, 17, (3, 3), (1, 1), ((1, 1), (1, 1))),
    Conv("strided", 1, 9, 9, 8, 17, (3, 3), (2, 3), ((1, 0), (1, 1))),
    Conv("dilated", 1, 9, 9, 9, 5, (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    Conv("few_channels", 1, 3, 9, 8, 9, (5, 5), (2, 2), ((2, 2), (2, 2))),
    Conv("depthwise", 1, 17, 9, 8, 17, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 17),
    Conv("depthwise_strided", 1, 17, 9, 8, 17, (5, 5), (2, 2), ((2, 1), (1, 2)), (1, 1), 17),
    Conv("depthwise_7x7", 1, 9, 9, 10, 9, (7, 7), (1, 1), ((3, 2), (2, 3)), (1, 1), 9),
    Conv("grouped", 1, 12, 7, 9, 10, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
]


def reached(case, at):
    """Which outputs read input element `at` through a tap inside the image."""
    x = np.zeros(case.x_shape, np.float32)
    x[at] = 1.0
    return reference.conv2d(x, np.ones(case.weight_shape), **case.geometry) != 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_a_special_value_reaches_exactly_its_receptive_field(case, algorithm, value, isa, rng):
    plan_or_skip(case, algorithm)
    geometry = dict(case.geometry, algorithm=algorithm)
    x, weight = integers(rng, case.x_shape, 300), integers(rng, case.weight_shape, 300)
    clean = ops.conv2d(x, weight, **geometry)
    for at in ((0, 0, 0, 0), (0, case.c - 1, case.h - 1, case.w - 1), (0, case.c // 2, case.h // 2, case.w // 2)):
        spoiled = x.copy()
        spoiled[at] = value
        y, field = ops.conv2d(spoiled, weight, **geometry), reached(case, at)
        assert field.any() or at[2] == case.h - 1  # strides leave the last rows or columns unread
        assert not field.all()
        assert not np.isfinite(y[field]).any()
        assert np.array_equal(y[~field], clean[~field])
        if np.isinf(value):
            # One infinity among finite terms stays an infinity: no 0 * inf is made up.
            assert not np.isnan(y).any()
        dy = integers(rng, case.y_shape, 300)
        dweight, dbias = ops.conv2d_backward_weight(dy, spoiled, case.weight_shape, **geometry)
        good = np.ones(case.c, bool)
        good[at[1]] = False
        channel = np.arange(case.k)[:, None] // (case.k // case.groups) * (case.c // case.groups)
        channel = channel + np.arange(case.c // case.groups)
        assert np.isfinite(dweight[good[channel]]).all()
        assert np.isfinite(dbias).all()


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_a_special_gradient_reaches_exactly_the_inputs_of_its_pixel(case, algorithm, isa, rng):
    plan_or_skip(case, algorithm)
    geometry = dict(case.geometry, algorithm=algorithm)
    weight, dy = integers(rng, case.weight_shape, 300), integers(rng, case.y_shape, 300)
    clean = ops.conv2d_backward_input(dy, weight, case.x_shape, **geometry)
    _, k, p, q = case.y_shape
    for at in ((0, 0, 0, 0), (0, k - 1, p - 1, q - 1), (0, k // 2, p // 2, q // 2)):
        mark = np.zeros(case.y_shape)
        mark[at] = 1.0
        field = reference.conv2d_backward_input(mark, np.ones(case.weight_shape), case.x_shape, **case.geometry) != 0
        spoiled = dy.copy()
        spoiled[at] = np.nan
        dx = ops.conv2d_backward_input(spoiled, weight, case.x_shape, **geometry)
        assert np.isnan(dx[field]).all()
        assert np.array_equal(dx[~field], clean[~field])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_special_weights_reach_every_output_they_meet_and_no_other_channel(case, algorithm, isa, rng):
    """Where the tap of a NaN weight lies in the padding, an algorithm may multiply (0 * NaN) or skip."""
    plan_or_skip(case, algorithm)
    geometry = dict(case.geometry, algorithm=algorithm)
    x, dy, weight = (integers(rng, shape, 300) for shape in (case.x_shape, case.y_shape, case.weight_shape))
    spoiled = weight.copy()
    spoiled[-1, 0, 0, 0] = np.nan
    only = np.zeros(case.weight_shape)
    only[-1, 0, 0, 0] = 1.0
    first = case.c - case.c // case.groups  # the input channel of that weight

    y = np.isnan(ops.conv2d(x, spoiled, **geometry))
    assert y[reference.conv2d(np.ones(case.x_shape), only, **case.geometry) != 0].all()
    assert not y[:, :-1].any()

    dx = np.isnan(ops.conv2d_backward_input(dy, spoiled, case.x_shape, **geometry))
    assert dx[reference.conv2d_backward_input(np.ones(case.y_shape), only, case.x_shape, **case.geometry) != 0].all()
    assert not dx[:, :first].any()
    assert not dx[:, first + 1 :].any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_special_gradients_reach_every_weight_they_meet_and_no_other_channel(case, algorithm, isa, rng):
    plan_or_skip(case, algorithm)
    x, dy = integers(rng, case.x_shape, 300), integers(rng, case.y_shape, 300)
    mark = np.zeros(case.y_shape)
    dy[0, 0, 0, 0], mark[0, 0, 0, 0] = np.nan, 1.0
    geometry = dict(case.geometry, algorithm=algorithm)
    dweight, dbias = ops.conv2d_backward_weight(dy, x, case.weight_shape, **geometry)
    met, _ = reference.conv2d_backward_weight(mark, np.ones(case.x_shape), case.weight_shape, **case.geometry)
    assert (met != 0).any()
    assert np.isnan(dweight[met != 0]).all()
    assert not np.isnan(dweight[1:]).any()
    assert np.isnan(dbias).tolist() == [True] + [False] * (case.k - 1)


def test_denormals_are_kept(isa):
    tiny = np.float32(1e-40)
    x = np.full((1, 16, 3, 3), tiny, np.float32)
    weight = np.ones((16, 1, 1, 1), np.float32)
    for algorithm in EXACT:
        y = ops.conv2d(x, weight, groups=16, algorithm=algorithm)
        assert np.array_equal(y, x), algorithm


# ----------------------------------------------------------------------------------------------------- memory orders


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_memory_orders(order, isa):
    problem, expected = integer_problem("same_3x3_ragged")
    case, reorder = problem.case, IMAGE_ORDERS[order]
    reordered = Problem.__new__(Problem)
    reordered.case = case
    reordered.x, reordered.dy = reorder(problem.x), reorder(problem.dy)
    reordered.weight = ORDERS.get(order, np.ascontiguousarray)(problem.weight)
    reordered.bias = ORDERS.get(order, np.ascontiguousarray)(problem.bias)
    before = [bits(array) for array in (reordered.x, reordered.dy, reordered.weight, reordered.bias)]
    for name, actual, wanted in zip(NAMES, ops_results(reordered, "auto"), expected, strict=True):
        assert_equal(actual, wanted, name)
    assert before == [bits(array) for array in (reordered.x, reordered.dy, reordered.weight, reordered.bias)]


def test_results_lie_in_channels_last_memory(rng):
    y = ops.conv2d(reals(rng, (2, 3, 8, 9)), reals(rng, (5, 3, 3, 3)))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("order", ["channels last", "C", "Fortran", "strided", "negative strides", "misaligned"])
def test_out(order, isa):
    problem, (expected, *_) = integer_problem("same_3x3_ragged")
    out = IMAGE_ORDERS[order](np.full(expected.shape, np.nan, np.float32))
    y = ops.conv2d(problem.x, problem.weight, problem.bias, out=out, **problem.case.geometry)
    assert y is out
    assert_equal(out, expected)


@pytest.mark.parametrize("name", ["depthwise_3x3", "pointwise_wide", "same_3x3"])
def test_out_may_overlap_the_operands(name, isa):
    problem, (expected, *_) = integer_problem(name)
    case = problem.case
    sizes = [math.prod(shape) for shape in (case.x_shape, case.y_shape)]
    for shift in (0, 1, 5):
        memory = np.zeros(max(sizes) + shift, np.float32)
        n, c, h, w = case.x_shape
        x = memory[: sizes[0]].reshape(n, h, w, c).transpose(0, 3, 1, 2)
        n, k, p, q = case.y_shape
        out = memory[shift : shift + sizes[1]].reshape(n, p, q, k).transpose(0, 3, 1, 2)
        x[...] = problem.x
        ops.conv2d(x, problem.weight, problem.bias, out=out, **case.geometry)
        assert_equal(out, expected, f"out {shift} floats after x")


def test_out_may_be_weight_or_bias(isa, rng):
    weight = integers(rng, (3, 3, 3, 3), 30)
    x = integers(rng, (3, 3, 5, 5), 30)
    expected = reference.conv2d(x, weight)
    assert_equal(ops.conv2d(x, weight, out=weight), expected)
    weight, bias = integers(rng, (3, 3, 5, 5), 100), integers(rng, (3,), 100)
    expected = reference.conv2d(x[:1], weight, bias)
    assert_equal(ops.conv2d(x[:1], weight, bias, out=bias.reshape(1, 3, 1, 1)), expected)


# ------------------------------------------------------------------------------------------------- what else it takes

ACTIVATIONS = [name for name in _native.ACTIVATIONS if name != "identity"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_activation_is_convolution_then_activation(activation, algorithm, isa, rng):
    """Only for the activations that ops has: others are not fused yet."""
    separate = getattr(ops, "gelu" if activation == "gelu_tanh" else activation, None)
    if separate is None:
        pytest.skip(f"ops has no {activation}")
    groups = 17 if algorithm == "depthwise" else 1
    # Deeper than one block of depth, so that the activation must wait for the last.
    depth = 1 if algorithm == "depthwise" else 323
    x, weight = reals(rng, (2, depth * groups, 5, 7)), reals(rng, (17, depth, 3, 3)) / math.sqrt(depth)
    bias = reals(rng, (17,))
    geometry = {"padding": 1, "groups": groups, "algorithm": algorithm}
    fused = ops.conv2d(x, weight, bias, activation=activation, **geometry)
    plain = ops.conv2d(x, weight, bias, **geometry)
    expected = separate(plain, "tanh") if activation == "gelu_tanh" else separate(plain)
    assert not np.array_equal(fused, plain)
    assert bits(fused) == bits(expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["same_3x3_threads", "deep", "grouped_3_ragged", "depthwise_threads", "image_rgb"])
def test_fused_residual_is_added_before_the_activation(name, algorithm, isa, rng):
    case = BY_NAME[name]
    plan_or_skip(case, algorithm)
    terms = case.terms[0] + 2
    x, weight = integers(rng, case.x_shape, terms), integers(rng, case.weight_shape, terms)
    bias, residual = integers(rng, (case.k,), terms), integers(rng, case.y_shape, terms)
    expected = ops.relu(ops.conv2d(x, weight, bias, algorithm=algorithm, **case.geometry) + residual)
    for order in ("channels last", "C", "negative strides"):
        given = IMAGE_ORDERS[order](residual)
        for threads in (1, 3):
            with runtime.options(num_threads=threads):
                y = ops.conv2d(x, weight, bias, residual=given, activation="relu", algorithm=algorithm, **case.geometry)
            assert_equal(y, expected, f"{name} {algorithm} {order} {threads} threads")
    out = residual.copy()
    ops.conv2d(x, weight, bias, residual=out, activation="relu", algorithm=algorithm, out=out, **case.geometry)
    assert_equal(out, expected, f"{name} {algorithm}: out is the residual")


def test_fused_activation_takes_a_parameter(isa, rng):
    x, weight = reals(rng, (1, 9, 5, 7)), reals(rng, (17, 9, 3, 3))
    if not hasattr(ops, "leaky_relu"):
        pytest.skip("ops has no leaky_relu")
    fused = ops.conv2d(x, weight, activation=("leaky_relu", 0.3))
    assert bits(fused) == bits(ops.leaky_relu(ops.conv2d(x, weight), 0.3))


def test_fused_relu_keeps_nan(isa, rng):
    x, weight = reals(rng, (1, 9, 5, 7)), reals(rng, (17, 9, 3, 3))
    x[0, 0, 0, 0] = np.nan
    for activation in ("relu", "relu6"):
        y = ops.conv2d(x, weight, activation=activation)
        assert np.isnan(y[0, :, 0, 0]).all()
        assert (y[0, :, 1:, 1:] >= 0).all()
        assert (y[0, :, 1:, 1:] > 0).any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["same_3x3_ragged", "stem_7x7", "grouped_3_ragged", "depthwise_3x3_strided", "deep"])
def test_packed_weights_give_the_same_bits(name, algorithm, isa):
    case = BY_NAME[name]
    plan_or_skip(case, algorithm)
    problem = Problem(case, lambda rng, shape, terms: reals(rng, shape))
    geometry = dict(case.geometry, algorithm=algorithm)
    packed = ops.conv2d_pack(problem.weight, groups=case.groups, algorithm=algorithm)
    assert packed.shape == case.weight_shape
    for x in (problem.x, problem.x[:1], problem.x[:0]):
        y = ops.conv2d(x, packed, problem.bias, **geometry)
        assert bits(y) == bits(ops.conv2d(x, problem.weight, problem.bias, **geometry))
    relu = ops.conv2d(problem.x, packed, problem.bias, activation="relu", **geometry)
    y = ops.conv2d(problem.x, problem.weight, problem.bias, **geometry)
    assert_equal(relu, np.maximum(y, 0))


def test_packed_weights_refuse_another_instruction_set(rng):
    others = [name for name in _native.ISAS_DETECTED if name != "baseline"]
    if not others:
        pytest.skip("this CPU runs one instruction set")
    with runtime.options(isa="baseline"):
        packed = ops.conv2d_pack(reals(rng, (4, 3, 3, 3)))
    with runtime.options(isa=others[0]), pytest.raises(ValueError, match="conv2d: weight was packed for"):
        ops.conv2d(reals(rng, (1, 3, 8, 8)), packed)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty_batch(algorithm, isa):
    groups = 3 if algorithm == "depthwise" else 1
    geometry = {"padding": 1, "groups": groups, "algorithm": algorithm}
    x, weight = np.zeros((0, 3, 8, 9), np.float32), np.ones((3, 3 // groups, 3, 3), np.float32)
    y = ops.conv2d(x, weight, np.ones(3, np.float32), **geometry)
    assert y.shape == (0, 3, 8, 9)
    assert ops.conv2d_backward_input(y, weight, x.shape, **geometry).shape == x.shape
    dweight, dbias = ops.conv2d_backward_weight(y, x, weight.shape, **geometry)
    assert_equal(dweight, np.zeros(weight.shape))
    assert_equal(dbias, np.zeros(3))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
def test_same_and_valid_padding(kernel, dilation, rng):
    x, weight = integers(rng, (1, 3, 9, 10), 100), integers(rng, (5, 3, *kernel), 100)
    dilations = (dilation, dilation) if isinstance(dilation, int) else dilation
    same = ops.conv2d(x, weight, padding="same", dilation=dilation)
    totals = [d * (size - 1) for d, size in zip(dilations, kernel, strict=True)]
    pads = [(total // 2, total - total // 2) for total in totals]
    assert same.shape == (1, 5, 9, 10)
    assert_equal(same, reference.conv2d(x, weight, padding=pads, dilation=dilation))
    valid = ops.conv2d(x, weight, padding="valid", dilation=dilation)
    assert_equal(valid, reference.conv2d(x, weight, dilation=dilation))
    dy = integers(rng, same.shape, 100)
    dx = ops.conv2d_backward_input(dy, weight, x.shape, padding="same", dilation=dilation)
    assert_equal(dx, reference.conv2d_backward_input(dy, weight, x.shape, padding=pads, dilation=dilation))


def test_geometry_may_be_numbers_pairs_or_lists(rng):
    x, weight = reals(rng, (1, 4, 9, 9)), reals(rng, (6, 4, 3, 3))
    y = ops.conv2d(x, weight, stride=2, padding=1, dilation=1)
    for two, one in (((2, 2), (1, 1)), ([2, 2], [1, 1]), (np.int64(2), np.int32(1)), ((2, 2), ((1, 1), (1, 1)))):
        assert bits(ops.conv2d(x, weight, stride=two, padding=one, dilation=1)) == bits(y)


def test_bias_alone_and_no_bias(isa, rng):
    x, weight, bias = integers(rng, (1, 7, 5, 5), 100), integers(rng, (9, 7, 3, 3), 100), integers(rng, (9,), 100)
    zero = np.zeros_like(weight)
    assert_equal(ops.conv2d(x, zero, bias), np.broadcast_to(bias[:, None, None], (1, 9, 3, 3)))
    assert_equal(ops.conv2d(x, weight), reference.conv2d(x, weight))


# ------------------------------------------------------------------------------------------------------- the plan


def test_chosen_algorithm():
    square = {"padding": 1}
    with runtime.options(winograd=True):
        large = ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), **square)
        assert large.algorithms == ("winograd",) * 3
        assert ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), stride=2).algorithms == ("direct",) * 3
        assert ops.conv2d_plan((1, 64, 56, 56), (64, 64, 5, 5)).algorithms == ("direct",) * 3
        assert ops.conv2d_plan((1, 3, 56, 56), (64, 3, 3, 3)).algorithms[:2] == ("direct",) * 2
        assert ops.conv2d_plan((1, 64, 56, 56), (64, 1, 3, 3), groups=64).algorithms == ("depthwise",) * 3
        # Packing 9 MB of weights for one image of 7 x 7 takes longer than direct products.
        tiny = (1, 512, 7, 7), (512, 512, 3, 3)
        assert ops.conv2d_plan(*tiny, **square).algorithms[0] == "direct"
        assert ops.conv2d_plan(*tiny, **square, constant_weights=True).algorithms[0] != "direct"
        with runtime.options(winograd=False):
            assert ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), **square).algorithms == ("direct",) * 3
            forced = ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), **square, algorithm="winograd")
            assert forced.algorithms == ("winograd",) * 3
    with pytest.raises(TypeError, match="winograd"), runtime.options(winograd=1):
        pass


def test_plan_knows_shapes_and_work():
    for case in (*AWKWARD, *REAL):
        plan = make_plan(case)
        n, k, p, q = case.y_shape
        assert plan.y_shape == (n, p, q, k)
        assert plan.x_shape == (case.n, case.h, case.w, case.c)
        assert plan.multiply_adds == case.multiply_adds


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_workspace_is_bounded(algorithm):
    """9 x 9 over 64 channels of 224 x 224: unfolded whole, the columns alone would take 1 GB."""
    case = Conv("wide", 1, 64, 224, 224, 64, (9, 9), (1, 1), ((4, 4), (4, 4)))
    plan = make_plan(case, algorithm)
    for isa, pass_ in itertools.product(_native.ISAS_DETECTED, PASSES):
        packed = _native.Conv2dPlan.pack(plan, np.zeros(case.weight_shape, np.float32), _native.Context(isa, 1)).nbytes
        for threads in (1, 8):
            size = plan.workspace_bytes(pass_, _native.Context(isa, threads)) + (packed if pass_ == 0 else 0)
            assert size < 64e6, f"pass {pass_}, {isa}, {threads} threads: {size / 1e6:.1f} MB"


def test_a_large_call_leaves_a_bounded_workspace(rng):
    before = _native.workspace_bytes()
    x = np.zeros((1, 64, 112, 112), np.float32)
    ops.conv2d(x, np.zeros((64, 64, 3, 3), np.float32), padding=1)
    assert _native.workspace_bytes() <= max(before, 8 << 20)


def test_operands_are_not_written(isa, rng):
    case = BY_NAME["same_3x3_ragged"]
    problem = Problem(case, lambda rng, shape, terms: reals(rng, shape))
    problem.x, problem.dy = channels_last(problem.x), channels_last(problem.dy)
    before = [bits(a) for a in (problem.x, problem.weight, problem.bias, problem.dy)]
    ops_results(problem, "auto")
    assert before == [bits(a) for a in (problem.x, problem.weight, problem.bias, problem.dy)]
