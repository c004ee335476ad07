"""The gradient in the weights by Winograd's algorithm: within its own error bounds, in all else as the direct one."""

import functools

import numpy as np
import pytest
import reference
import winograd_cases
from checks import UNIT, bits, reals
from winograd_cases import ALGORITHMS, case_of

from fastconv import _native, ops, runtime

# Of the largest sum of |dy| |x|, in units of 2**-24; and relative to the gradient in L2.
WORST = {"winograd_2x2": 12, "winograd": 24, "winograd_6x6": 24}
RELATIVE = {"winograd_2x2": 1e-6, "winograd": 3e-6, "winograd_6x6": 3e-6}


# Several panels, one chunk of tiles and several, one part of the channels and several.
CASES = (
    *winograd_cases.CASES,
    case_of(47, 49, 6, 9),
    case_of(49, 71, 9, 6),
    case_of(73, 129, 7, 5),
    case_of(66, 34, 45, 29, n=2, groups=2),
    case_of(3, 5, 2, 811),
    case_of(9, 3, 803, 2),
    case_of(257, 9, 33, 47),
    case_of(9, 300, 47, 33),
)
BY_NAME = {case.name: case for case in CASES}
THREADS = (case_of(33, 65, 15, 17, n=2), case_of(257, 9, 33, 47), case_of(66, 34, 45, 29, n=2, groups=2))
ids = lambda case: case.name  # noqa: E731


def expected(case, dy, x):
    return reference.conv2d_backward_weight(dy, x, case.weight_shape, **case.geometry)


@functools.cache
def problem(name, seed=7):
    """(dy, x), the exact gradients, and the same sums of absolute values."""
    case, rng = BY_NAME[name], np.random.default_rng(seed)
    dy, x = reals(rng, case.y_shape), reals(rng, case.x_shape)
    return (dy, x), expected(case, dy, x), expected(case, np.abs(dy), np.abs(x))


def gradient(case, dy, x, algorithm):
    return ops.conv2d_backward_weight(dy, x, case.weight_shape, algorithm=algorithm, **case.geometry)


def assert_within_bounds(algorithm, actual, exact, magnitude, what):
    assert actual.shape == exact.shape
    error = np.abs(actual - exact)
    relative = np.linalg.norm(error) / np.linalg.norm(exact)
    worst = error.max() / magnitude.max() / UNIT
    assert relative <= RELATIVE[algorithm], f"{what}: relative L2 error {relative:.2e}"
    assert worst <= WORST[algorithm], f"{what}: error {worst:.1f} u of max(sum |dy| |x|)"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_accuracy(case, algorithm, isa):
    (dy, x), exact, magnitudes = problem(case.name)
    for what, *arrays in zip(("dweight", "dbias"), gradient(case, dy, x, algorithm), exact, magnitudes, strict=True):
        assert_within_bounds(algorithm, *arrays, f"{what} of {case.name}")


@pytest.mark.parametrize("algorithm", ["winograd_2x2", "winograd"])
def test_accuracy_of_a_long_reduction(algorithm, isa):
    """10^5 products a weight, all positive."""
    case, rng = case_of(3, 4, 224, 224, n=2), np.random.default_rng(5)
    dy, x = rng.random(case.y_shape, np.float32), rng.random(case.x_shape, np.float32)
    exact = expected(case, dy, x)
    for what, actual, wanted in zip(("dweight", "dbias"), gradient(case, dy, x, algorithm), exact, strict=True):
        assert_within_bounds(algorithm, actual, wanted, wanted, what)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", THREADS, ids=ids)
def test_bits_depend_on_neither_threads_nor_what_was_in_memory(case, algorithm, isa):
    (dy, x), _, _ = problem(case.name)
    dy, x = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (dy, x))
    plan = ops.conv2d_plan(case.x_shape, case.weight_shape, algorithm=algorithm, **case.geometry)
    first = None
    for threads in (1, 2, 3, 5, 16):
        context = _native.Context(isa, threads)
        dweight, dbias = np.full(case.weight_shape, np.nan, np.float32), np.full(case.k, np.nan, np.float32)
        _native.poison_workspace(plan.workspace_bytes(2, context), 0xFF)
        plan.backward_weight(dy, x, dweight, dbias, context)
        first = first or (bits(dweight), bits(dbias))
        assert (bits(dweight), bits(dbias)) == first, f"{threads} threads"
        assert np.isfinite(dweight).all()
        plan.backward_weight(dy, x, dweight, None, context)
        assert bits(dweight) == first[0], "without a bias"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", THREADS, ids=ids)
def test_special_values_are_the_direct_algorithms_and_touch_no_other_filter(case, algorithm, value, isa):
    """Each weight that is not finite is so in the direct algorithm, and every other filter keeps its bits."""
    (dy, x), _, _ = problem(case.name)
    clean, clean_bias = gradient(case, dy, x, algorithm)
    middle = (case.n - 1, case.h // 2, case.w // 2)
    for spoiled_x, spoiled_dy in (((0, 0, 0), None), (middle, None), (None, (0, 0, 0)), (middle, middle)):
        spoiled = x.copy(), dy.copy()
        met = np.zeros(case.weight_shape, bool)
        if spoiled_x:
            spoiled[0][spoiled_x[0], 5, spoiled_x[1], spoiled_x[2]] = value
            met[: case.k // case.groups, 5] = True
        if spoiled_dy:
            spoiled[1][spoiled_dy[0], 2, spoiled_dy[1], spoiled_dy[2]] = value
            met[2] = True
        dweight, dbias = gradient(case, spoiled[1], spoiled[0], algorithm)
        direct, direct_bias = gradient(case, spoiled[1], spoiled[0], "direct")
        assert not np.isfinite(direct).all()
        assert np.array_equal(np.isnan(dweight), np.isnan(direct))
        assert np.array_equal(np.isinf(dweight), np.isinf(direct))
        assert np.array_equal(dweight[np.isinf(direct)], direct[np.isinf(direct)])
        assert np.array_equal(dweight[~met], clean[~met])
        assert np.array_equal(np.isfinite(dbias), np.isfinite(direct_bias))
        assert np.array_equal(dbias[np.isfinite(dbias)], clean_bias[np.isfinite(dbias)])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_numbers_whose_transforms_overflow_are_summed_directly(algorithm, isa, rng):
    case = case_of(9, 17, 9, 11)
    dy, x = reals(rng, case.y_shape) * np.float32(1e-3), reals(rng, case.x_shape)
    x[:, 4] = np.float32(2e38) * np.sign(x[:, 4])
    exact, _ = expected(case, dy, x)
    dweight, _ = gradient(case, dy, x, algorithm)
    assert np.isfinite(dweight).all()
    assert np.allclose(dweight[:, 4], exact[:, 4], rtol=1e-4, atol=1e33)
    rest = np.arange(9) != 4
    assert np.allclose(dweight[:, rest], exact[:, rest], atol=1e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty_batch(algorithm, isa):
    case = case_of(3, 5, 8, 9, n=0)
    dweight, dbias = gradient(case, np.ones(case.y_shape, np.float32), np.ones(case.x_shape, np.float32), algorithm)
    assert not dweight.any()
    assert not dbias.any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "case",
    [
        case_of(64, 64, 224, 224, n=16),
        case_of(512, 512, 14, 14, n=32),
        case_of(2048, 2048, 7, 7),
        case_of(1024, 2048, 28, 28, n=64),
        case_of(3000, 5, 56, 56),
    ],
    ids=ids,
)
def test_the_workspace_is_bounded(case, algorithm):
    """12 MB of transformed tiles, or 4 MB and the sums of 256 x 256 channels; a few panels more a thread.

    Of two threads each has transformed tiles of dy of its own."""
    plan = ops.conv2d_plan(case.x_shape, case.weight_shape, algorithm=algorithm, **case.geometry)
    for isa in _native.ISAS_DETECTED:
        sizes = [plan.workspace_bytes(2, _native.Context(isa, threads)) for threads in (1, 9, 2)]
        assert sizes[0] <= 16e6, f"{isa}: {sizes[0] / 1e6:.1f} MB"
        assert sizes[1] - sizes[0] <= 8 * 0.4e6
        assert sizes[2] <= 28e6


def test_threads_share_the_work(isa):
    """The gradient is the same where threads outnumber the items of work."""
    case, rng = case_of(4, 4, 9, 9, n=40), np.random.default_rng(1)
    dy, x = reals(rng, case.y_shape), reals(rng, case.x_shape)
    results = []
    for threads in (1, 7):
        with runtime.options(num_threads=threads):
            results.append([bits(array) for array in gradient(case, dy, x, "winograd")])
    assert results[0] == results[1]
