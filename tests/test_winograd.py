"""Winograd convolution: within its own error bounds, and in everything else as the direct algorithm."""

import functools
import math

import numpy as np
import pytest
import reference
import winograd_cases
from checks import UNIT, assert_accurate, bits, integers, reals
from shapes import AWKWARD, REAL
from winograd_cases import ALGORITHMS, case_of

from fastconv import _native, ops, runtime

# Of |x| * |w|, in units of 2**-24, up to 512 channels; and relative to the result in L2. F(2x2) is held to that of a
# plain sum besides.
WORST = {"winograd": 24, "winograd_6x6": 80}
RELATIVE = {"winograd_2x2": 1e-6, "winograd": 3e-6, "winograd_6x6": 1e-5}

CASES = (
    *winograd_cases.CASES,
    case_of(15, 21, 7, 9, n=2, groups=3),
    case_of(66, 34, 5, 9, groups=2),
    case_of(330, 7, 6, 5),
    case_of(33, 512, 7, 7),
    case_of(3, 5, 2, 211),
    case_of(9, 3, 203, 2),
)
BY_NAME = {case.name: case for case in CASES}
ids = lambda case: case.name  # noqa: E731


@functools.cache
def problem(name, seed=7):
    """(x, weight, bias, dy), the exact y and dx, and the same sums of absolute values."""
    case, rng = BY_NAME[name], np.random.default_rng(seed)
    data = [reals(rng, shape) for shape in (case.x_shape, case.weight_shape, (case.k,), case.y_shape)]

    def results(x, weight, bias, dy):
        y = reference.conv2d(x, weight, bias, **case.geometry)
        return y, reference.conv2d_backward_input(dy, weight, x.shape, **case.geometry)

    return data, results(*data), results(*map(np.abs, data))


def assert_within_bounds(algorithm, actual, exact, magnitude, terms, channels, what):
    assert actual.shape == exact.shape
    error = np.abs(actual - exact)
    relative = np.linalg.norm(error) / np.linalg.norm(exact)
    assert relative <= RELATIVE[algorithm], f"{what}: relative L2 error {relative:.2e}"
    if algorithm == "winograd_2x2":
        # Its tile reads pixels that an output does not, so the magnitude is that of the largest output.
        assert_accurate(actual, exact, np.full_like(magnitude, magnitude.max()), terms, what)
        return
    worst = error.max() / magnitude.max() / UNIT
    allowed = WORST[algorithm] * max(1.0, math.sqrt(channels / 512))
    assert worst <= allowed, f"{what}: error {worst:.1f} u of max(|x| * |w|), allowed {allowed:.1f}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_accuracy(case, algorithm, isa):
    (x, weight, bias, dy), exact, magnitudes = problem(case.name)
    forward, backward, _ = case.terms
    y = ops.conv2d(x, weight, bias, algorithm=algorithm, **case.geometry)
    assert_within_bounds(algorithm, y, exact[0], magnitudes[0], forward + 1, case.c // case.groups, "y")
    dx = ops.conv2d_backward_input(dy, weight, case.x_shape, algorithm=algorithm, **case.geometry)
    assert_within_bounds(algorithm, dx, exact[1], magnitudes[1], backward, case.k // case.groups, "dx")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "name", ["1x33x6x14_1_1", "2x33x15x17_65_1", "1x66x5x9_34_2", "1x512x7x7_33_1", "1x64x56x56_64_1"]
)
def test_bits_depend_on_neither_threads_nor_what_was_in_memory(name, algorithm, isa):
    case = BY_NAME[name]
    (x, weight, bias, dy), _, _ = problem(name)
    x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, dy))
    plan = ops.conv2d_plan(case.x_shape, case.weight_shape, algorithm=algorithm, **case.geometry)
    first = None
    for threads in (1, 2, 3, 5, 16):
        context = _native.Context(isa, threads)
        y, dx = np.full(plan.y_shape, np.nan, np.float32), np.full(plan.x_shape, np.nan, np.float32)
        size = max(plan.plain_workspace_bytes(context), plan.workspace_bytes(1, context))
        _native.poison_workspace(size, 0xFF)
        plan.forward(x, weight, bias, None, y, context)
        _native.poison_workspace(size, 0xFF)
        plan.backward_input(dy, weight, dx, context)
        assert np.isfinite(y).all()
        assert np.isfinite(dx).all()
        first = first or (bits(y), bits(dx))
        assert (bits(y), bits(dx)) == first, f"{threads} threads"


@pytest.mark.parametrize("groups", [1, 3])
def test_images_of_a_large_batch_are_as_each_alone(groups, isa, rng):
    """Maps beyond the cache, 10 MB here, are fetched ahead."""
    case = case_of(33, 51, 37, 43, n=20, groups=groups)
    x, weight, bias = reals(rng, case.x_shape), reals(rng, case.weight_shape), reals(rng, (case.k,))
    together = ops.conv2d(x, weight, bias, algorithm="winograd", **case.geometry)
    for image, result in zip(x, together, strict=True):
        alone = ops.conv2d(image[None], weight, bias, algorithm="winograd", **case.geometry)
        np.testing.assert_array_equal(bits(alone[0]), bits(result))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_gradient_is_the_adjoint(algorithm, isa, rng):
    """<dy, conv(x, w)> = <backward_input(dy, w), x>, to the accuracy of the two."""
    case = case_of(32, 48, 28, 28, n=2)
    x, weight, dy = (reals(rng, shape) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    y = ops.conv2d(x, weight, algorithm=algorithm, **case.geometry)
    dx = ops.conv2d_backward_input(dy, weight, case.x_shape, algorithm=algorithm, **case.geometry)
    left, right = (np.vdot(a.astype(np.float64), b.astype(np.float64)) for a, b in ((dy, y), (dx, x)))
    scale = np.linalg.norm(dy) * np.linalg.norm(y.astype(np.float64)) + np.linalg.norm(dx) * np.linalg.norm(x)
    assert abs(left - right) <= RELATIVE[algorithm] * scale
    assert abs(left) > 1e-4 * scale


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "tanh"])
@pytest.mark.parametrize("name", ["1x33x6x14_1_1", "2x33x15x17_65_1", "1x66x5x9_34_2"])
def test_bias_residual_and_activation(name, activation, algorithm, isa, rng):
    case = BY_NAME[name]
    (x, weight, bias, _), _, _ = problem(name)
    residual = reals(rng, case.y_shape)
    x[0, 0, 0, 0], residual[0, 0, -1, -1] = np.nan, np.nan  # tiles computed again take them too
    plain = ops.conv2d(x, weight, algorithm=algorithm, **case.geometry) + bias[:, None, None] + residual
    y = ops.conv2d(x, weight, bias, residual=residual, activation=activation, algorithm=algorithm, **case.geometry)
    x[0, 0, 0, 0] = 1.0
    with np.errstate(invalid="ignore"):
        expected = {
            None: lambda v: v,
            "relu": lambda v: np.maximum(v, np.float32(0)),
            "relu6": lambda v: np.minimum(np.maximum(v, np.float32(0)), np.float32(6)),
            "tanh": ops.tanh,
        }[activation](plain)
    assert np.isnan(y).any()
    # Where the tile was computed again, the sums were carried in y and the bias added to the last of them.
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * np.nanmax(np.abs(plain)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["1x66x5x9_34_2", "1x512x7x7_33_1", "2x33x15x17_65_1", "1x64x56x56_64_1"])
def test_packed_weights_give_the_same_bits(name, algorithm, isa):
    case = BY_NAME[name]
    (x, weight, bias, _), _, _ = problem(case.name)
    packed = ops.conv2d_pack(weight, groups=case.groups, algorithm=algorithm)
    x = x.copy()
    for value in (1.0, np.inf):
        x[0, 0, 0, 0] = value
        y = ops.conv2d(x, packed, bias, algorithm=algorithm, **case.geometry)
        assert bits(y) == bits(ops.conv2d(x, weight, bias, algorithm=algorithm, **case.geometry))


# ------------------------------------------------------------------------------------------------- special values

SPECIAL = (
    case_of(9, 17, 11, 14),
    case_of(33, 33, 7, 8, ((0, 2), (2, 1)), 2),
    case_of(12, 10, 13, 9, groups=2),
    case_of(64, 40, 14, 14),
)


def close(actual, expected):
    """The same up to rounding, NaN and infinities alike."""
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(actual), finite)
    scale = np.abs(expected[finite]).max()
    assert np.abs(actual[finite] - expected[finite]).max() <= 1e-5 * scale
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert np.array_equal(actual[np.isinf(expected)], expected[np.isinf(expected)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_a_special_value_reaches_exactly_its_receptive_field(case, algorithm, value, isa, rng):
    """NaN and infinities come out where, and as, the direct algorithm has them."""
    x, weight, dy = (reals(rng, shape) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    for seed in range(6):
        at = tuple(np.random.default_rng(seed).integers(0, case.x_shape)) if seed > 1 else (0, 0, -seed, -seed)
        spoiled = x.copy()
        spoiled[at] = value
        expected = ops.conv2d(spoiled, weight, algorithm="direct", **case.geometry)
        assert not np.isfinite(expected).all()
        close(ops.conv2d(spoiled, weight, algorithm=algorithm, **case.geometry), expected)
        at = tuple(np.random.default_rng(seed).integers(0, case.y_shape)) if seed > 1 else (0, 0, -seed, -seed)
        spoiled = dy.copy()
        spoiled[at] = value
        expected = ops.conv2d_backward_input(spoiled, weight, case.x_shape, algorithm="direct", **case.geometry)
        actual = ops.conv2d_backward_input(spoiled, weight, case.x_shape, algorithm=algorithm, **case.geometry)
        close(actual, expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", SPECIAL, ids=ids)
def test_special_weights(case, algorithm, isa, rng):
    """As the direct algorithm has them, but for taps on the padding: there any algorithm may multiply or skip."""
    x, weight, dy = (reals(rng, shape) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    weight[-1, 0, 1, 1], weight[0, -1, 0, 2] = np.nan, np.inf
    ones = np.ones(case.weight_shape)
    met = reference.conv2d(np.ones(case.x_shape), ones, **case.geometry)
    y, direct = (ops.conv2d(x, weight, algorithm=name, **case.geometry) for name in (algorithm, "direct"))
    close(y[met == met.max()], direct[met == met.max()])
    close(y[:, 1:-1], direct[:, 1:-1])
    met = reference.conv2d_backward_input(np.ones(case.y_shape), ones, case.x_shape, **case.geometry)
    dx, direct = (
        ops.conv2d_backward_input(dy, weight, case.x_shape, algorithm=name, **case.geometry)
        for name in (algorithm, "direct")
    )
    close(dx[met == met.max()], direct[met == met.max()])
    spoiled = case.c // case.groups - 1, case.c - case.c // case.groups
    rest = [channel for channel in range(case.c) if channel not in spoiled]
    close(dx[:, rest], direct[:, rest])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sums_that_only_the_transforms_overflow(algorithm, isa, rng):
    """A finite result stays finite: 2e38 is below the largest float, twice that is not."""
    case = case_of(5, 18, 9, 10)
    x, weight = reals(rng, case.x_shape), reals(rng, case.weight_shape) / 100
    x[0, :, 4, 4] = 3e38
    x[0, :, 4, 6] = -3e38
    expected = ops.conv2d(x, weight, algorithm="direct", **case.geometry)
    assert np.isfinite(expected).all()
    close(ops.conv2d(x, weight, algorithm=algorithm, **case.geometry), expected)


def test_everything_special(isa):
    """An input of nothing but NaN, on several threads."""
    case = case_of(64, 64, 30, 30)
    x, weight = np.full(case.x_shape, np.nan, np.float32), np.ones(case.weight_shape, np.float32)
    with runtime.options(num_threads=3):
        assert np.isnan(ops.conv2d(x, weight, algorithm="winograd", **case.geometry)).all()


# ------------------------------------------------------------------------------------------------------- the plan


def applies(case):
    """3x3, stride and dilation 1, and more than a channel of x for a channel of y."""
    depthwise = case.groups > 1 and case.c == case.k == case.groups
    return (case.kernel, case.stride, case.dilation) == ((3, 3), (1, 1), (1, 1)) and not depthwise


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_supported_geometry(algorithm):
    for case in (*AWKWARD, *REAL):
        if applies(case):
            plan = ops.conv2d_plan(case.x_shape, case.weight_shape, algorithm=algorithm, **case.geometry)
            assert plan.algorithms == (algorithm,) * 3
        else:
            with pytest.raises(ValueError, match="does not support"):
                ops.conv2d_plan(case.x_shape, case.weight_shape, algorithm=algorithm, **case.geometry)


SUPPORTED = [case for case in (*AWKWARD, *REAL) if applies(case) and case.multiply_adds < 300e6]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", SUPPORTED, ids=ids)
def test_integers_are_nearly_exact(case, algorithm, isa, rng):
    """On the shapes of the other algorithms, at full size: an index that is off by one would be off by integers."""
    x, weight, dy = (integers(rng, shape, 64) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    y = ops.conv2d(x, weight, algorithm=algorithm, **case.geometry)
    expected = ops.conv2d(x, weight, algorithm="direct", **case.geometry)
    assert np.abs(y - expected).max() <= 5e-5 * np.abs(expected).max()
    dx = ops.conv2d_backward_input(dy, weight, case.x_shape, algorithm=algorithm, **case.geometry)
    expected = ops.conv2d_backward_input(dy, weight, case.x_shape, algorithm="direct", **case.geometry)
    assert np.abs(dx - expected).max() <= 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_scratch_is_bounded(algorithm):
    """A block of tiles a thread, whatever the image, and transformed weights if they come plain to many tiles."""
    weight_bytes = 4 * 8 * 8 * 256 * 256 * 1.05
    for n, size in ((1, 14), (1, 56), (16, 56), (1, 224)):
        for isa in _native.ISAS_DETECTED:
            plan = ops.conv2d_plan((n, 256, size, size), (256, 256, 3, 3), padding=1, algorithm=algorithm)
            for threads in (1, 8):
                context = _native.Context(isa, threads)
                block_bytes = threads * 1.6e6 + 1e5
                assert plan.workspace_bytes(0, context) <= block_bytes
                few_tiles = (n, size) == (1, 14)
                assert plan.plain_workspace_bytes(context) <= block_bytes + (0 if few_tiles else weight_bytes)
                assert plan.workspace_bytes(1, context) <= block_bytes + weight_bytes
