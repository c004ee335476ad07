"""conv2d and its gradients: every algorithm, instruction set and thread count against the float64 definition."""

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, ORDERS, assert_accurate, assert_equal, bits, channels_last, integers, reals
from conv2d_problems import (
    ALGORITHMS,
    BY_NAME,
    EXACT,
    NAMES,
    Problem,
    ids,
    integer_problem,
    make_plan,
    ops_results,
    plan_or_skip,
    plan_results,
    real_problem,
)
from shapes import AWKWARD, Conv

from fastconv import _native, ops, runtime

pytestmark = pytest.mark.usefixtures("sums_as_written")


# ------------------------------------------------------------------------------------------------------------ exactness


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


# ------------------------------------------------------------------------------------------------------------- accuracy

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


# ---------------------------------------------------------------------------------------------------------- metamorphic


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
    x, weight = reals(rng, (5, 16, 9, 7)), reals(rng, (16, 1 if algorithm.endswith("depthwise") else 16, 3, 3))
    geometry = {"padding": 1, "groups": 16 if algorithm.endswith("depthwise") else 1, "algorithm": algorithm}
    y = ops.conv2d(x, weight, **geometry)
    for i in range(5):
        assert bits(ops.conv2d(x[i : i + 1], weight, **geometry)) == bits(y[i : i + 1])


# -------------------------------------------------------------------------------------------------------- what it takes


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


def test_operands_are_not_written(isa, rng):
    case = BY_NAME["same_3x3_ragged"]
    problem = Problem(case, lambda rng, shape, terms: reals(rng, shape))
    problem.x, problem.dy = channels_last(problem.x), channels_last(problem.dy)
    before = [bits(a) for a in (problem.x, problem.weight, problem.bias, problem.dy)]
    ops_results(problem, "auto")
    assert before == [bits(a) for a in (problem.x, problem.weight, problem.bias, problem.dy)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty_batch(algorithm, isa):
    groups = 3 if algorithm.endswith("depthwise") else 1
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
