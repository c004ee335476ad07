"""Max and average pooling, forward and backward."""

import itertools

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS

from fastconv import ops, runtime, testing

CHANNELS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33]
MAX_ONLY, AVG_ONLY = ("dilation",), ("count_include_pad",)


def keep(geometry, dropped):
    return {name: value for name, value in geometry.items() if name not in dropped}


def windows(x_shape, kernel_size, geometry):
    """reference.pool_windows of both dimensions."""
    pair = lambda value: value if isinstance(value, tuple) else (value, value)
    kernel = pair(kernel_size)
    stride = kernel if geometry.get("stride") is None else pair(geometry["stride"])
    sides, dilation = geometry.get("padding", 0), pair(geometry.get("dilation", 1))
    sides = (
        sides if isinstance(sides, tuple) and isinstance(sides[0], tuple) else [(side, side) for side in pair(sides)]
    )
    flags = {"ceil_mode": geometry.get("ceil_mode", False), "include_pad": geometry.get("count_include_pad", True)}
    return [
        reference.pool_windows(x_shape[2 + i], kernel[i], stride[i], *sides[i], dilation[i], **flags) for i in range(2)
    ]


def integers(rng, shape, low=-32, high=33):
    return rng.integers(low, high, shape).astype(np.float32)


def check_max(rng, x, kernel_size, geometry):
    geometry = keep(geometry, AVG_ONLY)
    y, indices = ops.max_pool2d(x, kernel_size, return_indices=True, **geometry)
    expected, expected_indices = reference.max_pool2d(x, *windows(x.shape, kernel_size, geometry))
    assert np.array_equal(y, expected)
    assert np.array_equal(indices, expected_indices)
    assert np.array_equal(ops.max_pool2d(x, kernel_size, **geometry), expected)
    dy = integers(rng, y.shape)
    dx = ops.max_pool2d_backward(dy, indices, x.shape, kernel_size, **geometry)
    assert np.array_equal(dx, reference.max_pool2d_backward(dy, indices, x.shape))


def check_avg(rng, x, kernel_size, geometry):
    geometry = keep(geometry, MAX_ONLY)
    rows, columns = windows(x.shape, kernel_size, geometry)
    y = ops.avg_pool2d(x, kernel_size, **geometry)
    # The sums are exact: one rounding, of the division.
    assert np.array_equal(y, reference.avg_pool2d(x, rows, columns).astype(np.float32))
    dy = integers(rng, y.shape)
    dx = ops.avg_pool2d_backward(dy, x.shape, kernel_size, **geometry)
    expected = reference.avg_pool2d_backward(dy, x.shape, rows, columns)
    # Each factor, product and sum over the windows covering an element rounds once.
    covering = reference.avg_pool2d_backward(np.abs(dy), x.shape, rows, columns)
    terms = np.prod(np.broadcast_to(kernel_size, 2)) + 2
    assert np.all(np.abs(dx - expected) <= terms * 2.0**-24 * covering)


# ------------------------------------------------------------------------------------------------- geometry grids

PADS = [(0, 0), (1, 1), (0, 1), (1, 0), (2, 1), (0, 3)]
GRID = list(itertools.product([1, 2, 3, 4, 5, 7], [1, 2, 3, 4], [1, 2, 3], PADS, [1, 2, 3], [False, True]))


def valid(size, kernel, stride, sides, dilation, ceil_mode):
    found = reference.pool_windows(size, kernel, stride, *sides, dilation, ceil_mode)
    if found is None or max(sides) > (kernel - 1) * dilation or (sides[0] > 0 and dilation > size):
        return False
    assert all(positions for positions, _ in found)  # what the rules are for
    return True


def grid_case(height, width):
    """Geometry whose height is one entry of the grid and whose width is another."""
    shape, kernel = (2, 3, height[0], width[0]), (height[1], width[1])
    return shape, kernel, {
        "stride": (height[2], width[2]), "padding": (height[3], width[3]), "dilation": (height[4], width[4]),
        "ceil_mode": height[5],
    }  # fmt: skip


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("op", ["max", "avg"])
def test_every_small_geometry(rng, op, ceil_mode):
    """Every size, kernel, stride, padding and dilation of the grid, once as height and once as width."""
    grid = [entry for entry in GRID if entry[5] == ceil_mode and valid(*entry) and (op == "max" or entry[4] == 1)]
    others = [grid[i] for i in rng.permutation(len(grid))]
    for height, width in zip(grid, others, strict=True):
        shape, kernel, geometry = grid_case(height, width)
        if op == "max":
            check_max(rng, integers(rng, shape, -3, 4), kernel, geometry)  # few values: ties
        else:
            geometry["count_include_pad"] = bool(rng.integers(2))
            check_avg(rng, integers(rng, shape), kernel, geometry)


def test_every_small_geometry_without_windows_is_refused(rng):
    """What has a window without an element of the input, or no window, raises; nothing else does."""
    fine = [entry for entry in GRID if valid(*entry)][0]
    refused = [entry for entry in GRID if not valid(*entry)]
    assert len(refused) > 200
    for entry in refused:
        shape, kernel, geometry = grid_case(entry, (*fine[:5], entry[5]))
        with pytest.raises(ValueError, match="max_pool2d: (padding|kernel_size|dilation)="):
            ops.max_pool2d(np.zeros(shape, np.float32), kernel, **geometry)


SHAPES = [
    ((2, 6, 11), 3, {"stride": 2, "padding": 1}),
    ((2, 9, 8), 2, {"stride": 2}),
    ((1, 7, 13), 3, {"stride": 1, "padding": 1}),
    ((1, 9, 10), (2, 3), {"stride": (3, 2), "padding": ((1, 0), (0, 2)), "ceil_mode": True}),
    ((2, 10, 9), 3, {"stride": 2, "dilation": 2, "padding": 2, "count_include_pad": False}),
    ((2, 7, 9), (7, 9), {}),
    ((1, 6, 40), (1, 35), {"stride": 4}),
    # Rows first and columns then: whole blocks of four rows, and some left over.
    ((2, 9, 70), 3, {"stride": 1, "padding": 1}),
    ((1, 8, 67), 3, {"stride": 2}),
    ((1, 10, 12), 5, {"stride": 1, "padding": 2}),
    ((1, 7, 9), 5, {"stride": 1, "padding": 2, "count_include_pad": False}),
    ((1, 6, 9), (4, 3), {"stride": 1, "padding": ((2, 0), (0, 1)), "count_include_pad": False}),
    ((1, 13, 11), 9, {"stride": 1, "padding": 4}),
    ((1, 13, 13), 13, {"stride": 1, "padding": 6}),
    ((1, 6, 7), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
]
# Where channels are taken a block at a time, or not a few columns as channels.
MANY_CHANNELS = [100, 300, 520]


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels(isa, rng, channels):
    for (batch, height, width), kernel, geometry in SHAPES:
        x = integers(rng, (batch, channels, height, width))
        check_max(rng, x, kernel, geometry)
        check_avg(rng, x, kernel, geometry)


@pytest.mark.parametrize("channels", MANY_CHANNELS)
def test_many_channels(isa, rng, channels):
    for shape, kernel, padding in [((1, 9, 14), 3, 1), ((1, 6, 7), 5, 2), ((1, 8, 9), (4, 7), (2, 3))]:
        x = integers(rng, (shape[0], channels, *shape[1:]))
        check_max(rng, x, kernel, {"stride": 1, "padding": padding})
        check_avg(rng, x, kernel, {"stride": 1, "padding": padding})


@pytest.mark.parametrize("channels", [1, 3, 65, 200])
def test_threads_give_the_same_bits(isa, rng, channels):
    """Also where there are fewer rows than threads, and channels are shared out."""
    for shape, kernel, stride, padding in [
        ((3, channels, 41, 43), 3, 2, 1),
        ((1, channels, 40, 41), (40, 41), None, 0),
        ((5, channels, 31, 37), 3, 1, 1),
        ((2, channels, 30, 33), 5, 1, 2),
        ((2, channels, 22, 29), 7, 1, 3),
    ]:
        x = rng.standard_normal(shape).astype(np.float32)
        geometry = {"stride": stride, "padding": padding}
        results = []
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                y, indices = ops.max_pool2d(x, kernel, return_indices=True, **geometry)
                mean = ops.avg_pool2d(x, kernel, **geometry)
                results.append(
                    (
                        y,
                        indices,
                        ops.max_pool2d(x, kernel, **geometry),
                        mean,
                        ops.max_pool2d_backward(y, indices, shape, kernel, **geometry),
                        ops.avg_pool2d_backward(mean, shape, kernel, **geometry),
                    )
                )
        for other in results[1:]:
            for first, second in zip(results[0], other, strict=True):
                assert first.tobytes() == second.tobytes()


def test_memory_orders(isa, rng):
    x = integers(rng, (2, 5, 8, 9))
    y, indices = ops.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    mean = ops.avg_pool2d(x, 3, stride=2, padding=1)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert indices.transpose(0, 2, 3, 1).flags.c_contiguous
    dx = ops.max_pool2d_backward(y, indices, x.shape, 3, stride=2, padding=1)
    dx_mean = ops.avg_pool2d_backward(y, x.shape, 3, stride=2, padding=1)

    def orders(value):
        return (order(value) for order in IMAGE_ORDERS.values())

    for other in orders(x):
        assert np.array_equal(ops.max_pool2d(other, 3, stride=2, padding=1), y)
        assert np.array_equal(ops.avg_pool2d(other, 3, stride=2, padding=1), mean)
    for dy, at in zip(orders(np.array(y)), orders(np.array(indices)), strict=True):
        assert np.array_equal(ops.max_pool2d_backward(dy, at, x.shape, 3, stride=2, padding=1), dx)
        assert np.array_equal(ops.avg_pool2d_backward(dy, x.shape, 3, stride=2, padding=1), dx_mean)


def test_geometry_forms_agree(rng):
    x = integers(rng, (1, 4, 9, 9))
    y = ops.max_pool2d(x, 3, stride=2, padding=1)
    for kernel, stride, padding in [([3, 3], [2, 2], [1, 1]), ((3, 3), np.int64(2), ((1, 1), (1, 1)))]:
        assert np.array_equal(ops.max_pool2d(x, kernel, stride=stride, padding=padding), y)
    assert np.array_equal(ops.avg_pool2d(x, 3), ops.avg_pool2d(x, 3, stride=3))


@pytest.mark.parametrize("shape", [(0, 3, 6, 7), (2, 0, 6, 7)])
def test_empty(shape):
    x = np.zeros(shape, np.float32)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (*shape[:2], 3, 3)
    assert ops.max_pool2d_backward(y, indices, shape, 2).shape == shape
    assert ops.avg_pool2d_backward(ops.avg_pool2d(x, 2), shape, 2).shape == shape
    assert ops.global_avg_pool2d_backward(ops.global_avg_pool2d(x), shape).shape == shape


# ------------------------------------------------------------------------------------------------- special values


@pytest.mark.parametrize("kernel", [2, 3, (2, 4)])
@pytest.mark.parametrize("channels", [3, 33])
def test_max_of_special_values(isa, rng, kernel, channels):
    choices = np.array([np.nan, -np.inf, np.inf, 0.0, 1.0, -1.0, 1e-42], np.float32)
    x = rng.choice(choices, (3, channels, 9, 10), p=[0.08, 0.5, 0.02, 0.1, 0.1, 0.1, 0.1])
    expected, expected_indices = reference.max_pool2d(x, *windows(x.shape, kernel, {"stride": 1}))
    y, indices = ops.max_pool2d(x, kernel, stride=1, return_indices=True)
    assert np.isnan(expected).any() and np.isneginf(expected).any() and (expected == np.float32(1e-42)).any()
    assert np.array_equal(y, expected, equal_nan=True)
    assert np.array_equal(ops.max_pool2d(x, kernel, stride=1), expected, equal_nan=True)
    assert np.array_equal(indices, expected_indices)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (3, 2, 1), (5, 1, 2), (7, 1, 3), (2, 2, 0)])
@pytest.mark.parametrize("channels", [5, 64, 530])
def test_one_nan_in_any_place_reaches_its_windows(isa, rng, kernel, stride, padding, channels):
    """Rows and blocks without one go another way than those with one."""
    geometry = {"stride": stride, "padding": padding}
    for h, w in [(0, 0), (9, 21), (4, 11), (0, 21), (9, 0), *rng.integers(0, (10, 22), (5, 2)).tolist()]:
        x = integers(rng, (1, channels, 10, 22))
        x[0, int(rng.integers(channels)), h, w] = np.nan
        expected, indices = reference.max_pool2d(x, *windows(x.shape, kernel, geometry))
        assert np.isnan(expected).any()
        assert np.array_equal(ops.max_pool2d(x, kernel, **geometry), expected, equal_nan=True)
        y, at = ops.max_pool2d(x, kernel, return_indices=True, **geometry)
        assert np.array_equal(y, expected, equal_nan=True)
        assert np.array_equal(at, indices)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (3, 2, 1), (5, 1, 2), (7, 1, 3)])
def test_infinities_reach_their_windows(isa, kernel, stride, padding):
    """Also as means, whose divisions are products with a reciprocal."""
    x = np.ones((1, 18, 12, 13), np.float32)
    x[0, 2, 5, 6], x[0, 3, 5, 6], x[0, 4, 5, 5:7] = np.inf, -np.inf, (np.inf, -np.inf)
    rows, columns = windows(x.shape, kernel, {"stride": stride, "padding": padding})
    with np.errstate(invalid="ignore"):
        expected = reference.avg_pool2d(x, rows, columns).astype(np.float32)
    y = ops.avg_pool2d(x, kernel, stride=stride, padding=padding)
    assert np.isinf(expected).any() and np.isnan(expected).any()
    assert np.array_equal(y, expected, equal_nan=True)


def test_window_of_minus_infinity_beside_padding(isa):
    x = np.full((1, 17, 4, 4), -np.inf, np.float32)
    y, indices = ops.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    assert np.all(np.isneginf(y))
    assert np.array_equal(indices[0, 16], [[0, 1], [4, 5]])
    dx = ops.max_pool2d_backward(np.ones_like(y), indices, x.shape, 3, stride=2, padding=1)
    assert dx.sum() == y.size


def test_global_average_of_special_values(isa):
    x = np.ones((1, 5, 20, 20), np.float32)
    x[0, 1, 7, 7], x[0, 2, 19, 19], x[0, 3, 0, :2] = np.inf, np.nan, (np.inf, -np.inf)
    assert np.array_equal(ops.global_avg_pool2d(x).ravel(), [1, np.inf, np.nan, np.nan, 1], equal_nan=True)


def test_nan_and_infinity_reach_their_windows_alone(isa):
    x = np.ones((1, 18, 7, 7), np.float32)
    x[0, 5, 3, 3] = np.nan
    y = ops.avg_pool2d(x, 3, stride=2, padding=1)
    hit = np.zeros(y.shape, bool)
    hit[0, 5, 1:3, 1:3] = True
    assert np.array_equal(np.isnan(y), hit)
    assert np.array_equal(np.isnan(ops.max_pool2d(x, 3, stride=2, padding=1)), hit)
    dy, indices = np.ones(y.shape, np.float32), ops.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)[1]
    dy[0, 2, 0, 0] = np.nan
    dx = ops.max_pool2d_backward(dy, indices, x.shape, 3, stride=2, padding=1)
    assert np.argwhere(np.isnan(dx)).tolist() == [[0, 2, 0, 0]]


# -------------------------------------------------------------------------------------------------------- average


@pytest.mark.parametrize("geometry", [{}, {"stride": 1}, {"stride": 2, "padding": 1}, {"stride": 3, "ceil_mode": True}])
def test_adjoint(isa, rng, geometry):
    """<dy, pool(x)> = <pool_backward(dy), x>, exactly: windows of 4 x 2 divide by a power of two."""
    x = integers(rng, (2, 19, 10, 11))
    shape = x.shape
    testing.check_adjoint(
        lambda x: ops.avg_pool2d(x, (4, 2), **geometry),
        lambda dy: ops.avg_pool2d_backward(dy, shape, (4, 2), **geometry),
        x,
        rng,
        tolerance=0 if "ceil_mode" not in geometry else 1e-6,
    )
    _, indices = ops.max_pool2d(x, (4, 2), return_indices=True, **geometry)
    flat = indices.reshape(2, 19, -1).astype(np.int64)
    testing.check_adjoint(
        lambda x: np.take_along_axis(x.reshape(2, 19, -1), flat, 2).reshape(indices.shape),
        lambda dy: ops.max_pool2d_backward(dy, indices, shape, (4, 2), **geometry),
        x,
        rng,
        tolerance=0,
    )


def test_global_pooling_of_long_pixels(isa, rng):
    """All channels together, more than the scratch of a sweep holds; few and many taps a row, whose sums are exact."""
    for shape in [(3, 128, 7, 7), (2, 192, 9, 20), (2, 2112, 3, 7), (1, 256, 1, 33)]:
        x = np.moveaxis(integers(rng, (shape[0], *shape[2:], shape[1])), -1, 1)
        mean = (x.astype(np.float64).sum((2, 3)) / (shape[2] * shape[3])).astype(np.float32)
        np.testing.assert_array_equal(ops.adaptive_avg_pool2d(x, 1)[:, :, 0, 0], mean)
        np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, 1)[:, :, 0, 0], x.max((2, 3)))
        x[-1, 77, -1, -1] = np.nan
        right = x.max((2, 3))  # NaN where there is one
        np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, 1)[:, :, 0, 0], right)


@pytest.mark.parametrize("shape", [(2, 3, 224, 224), (1, 40, 1, 30000), (1, 70, 7, 7), (3, 1, 5, 1)])
def test_global_average(isa, rng, shape):
    x = (rng.standard_normal(shape) + 1.0).astype(np.float32)
    y = ops.global_avg_pool2d(x)
    assert y.shape == (*shape[:2], 1, 1)
    # The roundings of sums of 16, which average out, whatever the size of the plane.
    exact = x.astype(np.float64).mean(axis=(2, 3), keepdims=True)
    bound = np.abs(x).astype(np.float64).mean(axis=(2, 3), keepdims=True)
    assert np.max(np.abs(y - exact) / bound) <= 2.5e-7
    dy = integers(rng, y.shape)
    dx = ops.global_avg_pool2d_backward(dy, shape)
    assert dx.shape == shape
    expected = np.broadcast_to(dy.astype(np.float64) / (shape[2] * shape[3]), shape)
    assert np.all(np.abs(dx - expected) <= 2.0**-23 * np.abs(expected))


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (3, 2, 1), (5, 1, 2), (9, 1, 4), (13, 1, 6)])
def test_means_are_accurate(isa, rng, kernel, stride, padding):
    """Sums of rows and then of columns: two short sums, whose error is below that of one long one."""
    x = (rng.standard_normal((2, 37, 20, 23)) + 0.5).astype(np.float32)
    sides = windows(x.shape, kernel, {"stride": stride, "padding": padding})
    y = ops.avg_pool2d(x, kernel, stride=stride, padding=padding)
    error = np.abs(y - reference.avg_pool2d(x, *sides))
    assert np.all(error <= (2 * kernel + 1) * 2.0**-24 * reference.avg_pool2d(np.abs(x), *sides))
    tiny = np.full((1, 4, 20, 20), 3e-44, np.float32)  # denormals are kept
    assert np.all(ops.avg_pool2d(tiny, kernel, stride=stride) == np.float32(3e-44))


@pytest.mark.parametrize("stride, padding, ceil_mode", [(1, 1, False), (2, 1, True), (3, 0, False), (1, 0, False)])
def test_divisor_override(isa, rng, stride, padding, ceil_mode):
    x = integers(rng, (2, 19, 8, 9))
    geometry = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    rows, columns = ([(taps, 1) for taps, _ in axis] for axis in windows(x.shape, 3, geometry))
    y = ops.avg_pool2d(x, 3, divisor_override=8, **geometry)
    assert np.array_equal(y, reference.avg_pool2d(x, rows, columns) / 8)
    dy = integers(rng, y.shape)
    dx = ops.avg_pool2d_backward(dy, x.shape, 3, divisor_override=8, **geometry)
    assert np.array_equal(dx, reference.avg_pool2d_backward(dy, x.shape, rows, columns) / 8)


# ------------------------------------------------------------------------------------------- adaptive, global, others

ADAPTIVE = [
    ((7, 9), (3, 4)),
    ((8, 12), (4, 3)),
    ((5, 6), (7, 11)),
    ((13, 5), (13, 2)),
    ((6, 10), (1, 1)),
    ((4, 1), (3, 3)),
]


@pytest.mark.parametrize("channels", [1, 3, 16, 37])
def test_adaptive(isa, rng, channels):
    for size, out in ADAPTIVE:
        x = integers(rng, (2, channels, *size))
        rows, columns = (reference.adaptive_windows(a, b) for a, b in zip(size, out, strict=True))
        expected, expected_indices = reference.max_pool2d(x, rows, columns)
        y, indices = ops.adaptive_max_pool2d(x, out, return_indices=True)
        assert np.array_equal(y, expected)
        assert np.array_equal(indices, expected_indices)
        assert np.array_equal(ops.adaptive_max_pool2d(x, out), expected)
        mean = ops.adaptive_avg_pool2d(x, out)
        assert np.array_equal(mean, reference.avg_pool2d(x, rows, columns).astype(np.float32))
        dy = integers(rng, y.shape)
        dx = ops.adaptive_max_pool2d_backward(dy, indices, x.shape)
        assert np.array_equal(dx, reference.max_pool2d_backward(dy, indices, x.shape))
        dx = ops.adaptive_avg_pool2d_backward(dy, x.shape)
        share = reference.avg_pool2d_backward(np.abs(dy), x.shape, rows, columns)
        error = np.abs(dx - reference.avg_pool2d_backward(dy, x.shape, rows, columns))
        assert np.all(error <= 16 * 2.0**-24 * share)


def test_adaptive_sizes(rng):
    x = integers(rng, (2, 3, 6, 8))
    assert np.array_equal(ops.adaptive_avg_pool2d(x, None), x)
    assert np.array_equal(ops.adaptive_avg_pool2d(x, (3, None)), ops.avg_pool2d(x, (2, 1)))
    assert np.array_equal(ops.adaptive_max_pool2d(x, 2), ops.max_pool2d(x, (3, 4)))
    assert np.array_equal(ops.adaptive_avg_pool2d(x, [1, 1]), ops.global_avg_pool2d(x))
    wrong = np.zeros((2, 3, 4, 3), np.int32)
    with pytest.raises(ValueError, match="adaptive_max_pool2d_backward: indices: every index must be"):
        ops.adaptive_max_pool2d_backward(np.ones(wrong.shape, np.float32), wrong, x.shape)


def test_global_max(isa, rng):
    x = integers(rng, (2, 35, 6, 7))
    y, indices = ops.global_max_pool2d(x, return_indices=True)
    assert np.array_equal(y, x.max(axis=(2, 3), keepdims=True))
    assert np.array_equal(indices[..., 0, 0], x.reshape(2, 35, 42).argmax(axis=2))
    assert np.array_equal(ops.global_max_pool2d(x), y)
    dx = ops.global_max_pool2d_backward(y, indices, x.shape)
    assert np.array_equal(dx, reference.max_pool2d_backward(y, indices, x.shape))


@pytest.mark.parametrize("norm_type", [1, 2, 3, 0.5, 2.5])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_lp_pool2d(isa, rng, norm_type, ceil_mode):
    x = rng.uniform(0.1, 2, (2, 7, 9, 10)).astype(np.float32)
    geometry = {"stride": 2, "ceil_mode": ceil_mode}
    sides = windows(x.shape, (3, 2), geometry)
    y = ops.lp_pool2d(x, norm_type, (3, 2), **geometry)
    np.testing.assert_allclose(y, reference.lp_pool2d(x, norm_type, *sides, 6), rtol=1e-5)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = ops.lp_pool2d_backward(dy, x, norm_type, (3, 2), **geometry)
    expected = reference.lp_pool2d_backward(dy, x, norm_type, *sides, 6)
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_lp_pool2d_of_special_values(rng):
    x = integers(rng, (2, 7, 8, 8))
    assert np.array_equal(ops.lp_pool2d(x, np.inf, 2), ops.max_pool2d(x, 2))
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    dx = ops.lp_pool2d_backward(y, x, np.inf, 2)
    assert np.array_equal(dx, ops.max_pool2d_backward(y, indices, x.shape, 2))
    assert np.isnan(ops.lp_pool2d(np.full((1, 1, 2, 2), -1, np.float32), 3, 2)).all()  # as PyTorch's
    zeros = np.zeros((1, 3, 4, 4), np.float32)
    assert not ops.lp_pool2d_backward(np.ones((1, 3, 2, 2), np.float32), zeros, 2, 2).any()


def test_max_unpool2d(rng):
    x = integers(rng, (2, 19, 6, 7))
    y, indices = ops.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    chosen = integers(rng, y.shape)  # overlapping windows choose a position twice: the last counts
    expected = reference.max_unpool2d(chosen, indices, (6, 7))
    assert np.array_equal(ops.max_unpool2d(chosen, indices, (6, 7)), expected)
    dy = integers(rng, x.shape)
    dx = ops.max_unpool2d_backward(dy, indices)
    assert np.array_equal(dx, reference.max_unpool2d_backward(dy, indices))
    for order in IMAGE_ORDERS.values():
        assert np.array_equal(ops.max_unpool2d(order(np.array(chosen)), order(np.array(indices)), (6, 7)), expected)
        assert np.array_equal(ops.max_unpool2d_backward(order(dy), order(np.array(indices))), dx)
    with runtime.options(num_threads=3):
        big = integers(rng, (5, 64, 30, 31))
        at = rng.integers(0, 30 * 31, big.shape).astype(np.int32)
        many = ops.max_unpool2d(big, at, (30, 31))
        with runtime.options(num_threads=1):
            assert many.tobytes() == ops.max_unpool2d(big, at, (30, 31)).tobytes()
    once = ops.max_pool2d(x, 2, return_indices=True)
    testing.check_adjoint(
        lambda v: ops.max_unpool2d(v, once[1], (6, 7)),
        lambda dy: ops.max_unpool2d_backward(dy, once[1]),
        integers(rng, once[0].shape),
        rng,
        tolerance=0,
    )


def test_pooling_of_sequences(isa, rng):
    """Those of one row of pixels."""
    x = integers(rng, (3, 19, 23))
    row = x[:, :, None, :]
    geometry = {"stride": 2, "padding": 1, "ceil_mode": True}
    around = {**geometry, "stride": (1, 2), "padding": ((0, 0), (1, 1))}
    y, indices = ops.max_pool1d(x, 4, dilation=2, return_indices=True, **geometry)
    expected = ops.max_pool2d(row, (1, 4), dilation=(1, 2), return_indices=True, **around)
    assert np.array_equal(y, expected[0][:, :, 0])
    assert np.array_equal(indices, expected[1][:, :, 0])
    assert np.array_equal(ops.max_pool1d(x, 4, dilation=2, **geometry), y)
    dx = ops.max_pool1d_backward(y, indices, x.shape, 4, dilation=2, **geometry)
    assert np.array_equal(dx[:, :, None], reference.max_pool2d_backward(y[:, :, None], indices[:, :, None], row.shape))
    mean = ops.avg_pool1d(x, 4, count_include_pad=False, **geometry)
    assert np.array_equal(mean[:, :, None], ops.avg_pool2d(row, (1, 4), count_include_pad=False, **around))
    dx = ops.avg_pool1d_backward(mean, x.shape, 4, **geometry)
    assert np.array_equal(dx[:, :, None], ops.avg_pool2d_backward(mean[:, :, None], row.shape, (1, 4), **around))
    mean = ops.adaptive_avg_pool1d(x, 5)
    rows, columns = reference.adaptive_windows(1, 1), reference.adaptive_windows(23, 5)
    assert np.array_equal(mean[:, :, None], reference.avg_pool2d(row, rows, columns).astype(np.float32))
    dx = ops.adaptive_avg_pool1d_backward(mean, x.shape)
    assert np.array_equal(dx[:, :, None], ops.adaptive_avg_pool2d_backward(mean[:, :, None], row.shape))
    assert np.array_equal(ops.max_pool1d(x, 3, padding=(1, 0)), ops.max_pool1d(x, (3,), padding=((1, 0),)))


# ------------------------------------------------------------------------------------------------------------- out

X = np.arange(2 * 3 * 6 * 6, dtype=np.float32).reshape(2, 3, 6, 6) % 11
SAME = {"stride": 1, "padding": 1}
INDICES = ops.max_pool2d(X, 3, return_indices=True, **SAME)[1]
# Each returns an array of the shape of its first argument.
WITH_OUT = {
    "max_pool2d": lambda v, out=None: ops.max_pool2d(v, 3, out=out, **SAME),
    "max_pool2d_backward": lambda v, out=None: ops.max_pool2d_backward(v, INDICES, X.shape, 3, out=out, **SAME),
    "avg_pool2d": lambda v, out=None: ops.avg_pool2d(v, 3, out=out, **SAME),
    "avg_pool2d_backward": lambda v, out=None: ops.avg_pool2d_backward(v, X.shape, 3, out=out, **SAME),
    "global_avg_pool2d": lambda v, out=None: ops.global_avg_pool2d(v, out=out),
    "global_avg_pool2d_backward": lambda v, out=None: ops.global_avg_pool2d_backward(v[..., :1, :1], X.shape, out=out),
    "global_max_pool2d": lambda v, out=None: ops.global_max_pool2d(v, out=out),
    "global_max_pool2d_backward": lambda v, out=None: ops.global_max_pool2d_backward(
        v[..., :1, :1], INDICES[..., :1, :1], X.shape, out=out
    ),
    "adaptive_avg_pool2d": lambda v, out=None: ops.adaptive_avg_pool2d(v, (6, 6), out=out),
    "adaptive_avg_pool2d_backward": lambda v, out=None: ops.adaptive_avg_pool2d_backward(v[..., :4], X.shape, out=out),
    "adaptive_max_pool2d": lambda v, out=None: ops.adaptive_max_pool2d(v, (6, 6), out=out),
    "adaptive_max_pool2d_backward": lambda v, out=None: ops.adaptive_max_pool2d_backward(
        v, ops.adaptive_max_pool2d(X, 6, return_indices=True)[1], X.shape, out=out
    ),
    "lp_pool2d": lambda v, out=None: ops.lp_pool2d(v, 2, 1, out=out),
    "lp_pool2d_backward": lambda v, out=None: ops.lp_pool2d_backward(v, X, 2, 1, out=out),
    "max_unpool2d": lambda v, out=None: ops.max_unpool2d(v, INDICES, (6, 6), out=out),
    "max_unpool2d_backward": lambda v, out=None: ops.max_unpool2d_backward(v, INDICES, out=out),
}


@pytest.mark.parametrize("name", sorted(WITH_OUT))
def test_out(rng, name):
    """In any memory order, and also where it is the input itself, or lies across it."""
    call = WITH_OUT[name]
    expected = call(X.copy())
    for order in IMAGE_ORDERS.values():
        out = order(np.full(expected.shape, np.nan, np.float32))
        if not out.flags.writeable:
            continue
        assert call(X.copy(), out) is out
        assert np.array_equal(out, expected)
    if expected.shape == X.shape:
        for x in (X.copy(), np.array(X.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)):
            assert call(x, x) is x
            assert np.array_equal(x, expected)
        room = np.zeros((2, 6, 6, 4), np.float32)
        x, out = (room[..., i : i + 3].transpose(0, 3, 1, 2) for i in (0, 1))
        x[...] = X
        call(x, out)
        assert np.array_equal(out, expected)
        memory = np.zeros(X.size + 6 * 3, np.float32)  # one image row further on
        first, second = (memory[at : at + X.size].reshape(2, 6, 6, 3).transpose(0, 3, 1, 2) for at in (0, 18))
        first[...] = X
        call(first, second)
        assert np.array_equal(second, expected)
    with pytest.raises(ValueError, match=f"{name}: out has shape"):
        call(X, np.zeros((1, 2, 3, 4), np.float32))
    with pytest.raises(TypeError, match=f"{name}: out has dtype float64"):
        call(X, np.zeros(expected.shape))
    frozen = np.zeros(expected.shape, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=f"{name}: out is read-only"):
        call(X, frozen)


def test_out_of_sequences(rng):
    x = integers(rng, (2, 5, 9))
    y, indices = ops.max_pool1d(x, 3, stride=1, padding=1, return_indices=True)
    for call in (
        lambda v, out=None: ops.max_pool1d(v, 3, stride=1, padding=1, out=out),
        lambda v, out=None: ops.max_pool1d_backward(v, indices, x.shape, 3, stride=1, padding=1, out=out),
        lambda v, out=None: ops.avg_pool1d(v, 3, stride=1, padding=1, out=out),
        lambda v, out=None: ops.avg_pool1d_backward(v, x.shape, 3, stride=1, padding=1, out=out),
        lambda v, out=None: ops.adaptive_avg_pool1d(v, 9, out=out),
        lambda v, out=None: ops.adaptive_avg_pool1d_backward(v, x.shape, out=out),
    ):
        expected, v = call(x.copy()), x.copy()
        assert call(v, v) is v
        assert np.array_equal(v, expected)
        with pytest.raises(ValueError, match="pool1d.*: out has shape"):
            call(x, np.zeros((2, 5), np.float32))


def test_results_larger_than_the_caches(isa, rng):
    """They bypass them: 17 MB, aligned, whole cache lines of channels. Against a few rows of their own."""
    x = integers(rng, (1, 258, 256, 64)).transpose(0, 3, 1, 2)
    dy = integers(rng, (1, 258, 256, 64)).transpose(0, 3, 1, 2)
    for kernel, padding in ((3, 1), (1, 0)):
        part = {"stride": 1, "padding": padding}
        y, indices = ops.max_pool2d(x, kernel, return_indices=True, **part)
        for got, of in ((y, ops.max_pool2d), (ops.avg_pool2d(x, kernel, **part), ops.avg_pool2d)):
            assert np.array_equal(got[:, :, 100:110], of(x[:, :, 98:112], kernel, **part)[:, :, 2:12])
        dx = ops.max_pool2d_backward(dy, indices, x.shape, kernel, **part)
        assert dx.sum(dtype=np.float64) == dy.sum(dtype=np.float64)
        mean = ops.avg_pool2d_backward(dy, x.shape, kernel, **part)
        few = ops.avg_pool2d_backward(dy[:, :, 98:112], (1, 64, 14, 256), kernel, **part)
        assert np.array_equal(mean[:, :, 100:110], few[:, :, 2:12])
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    dx = ops.max_pool2d_backward(y, indices, x.shape, 2)
    assert np.array_equal(ops.max_pool2d(np.where(dx != 0, dx, -99).astype(np.float32), 2), np.where(y == 0, -99, y))


# ---------------------------------------------------------------------------------------------------------- indices


@pytest.mark.parametrize("channels, dilation", [(3, 1), (300, 1), (20, 2)])
def test_indices_must_lie_in_their_windows(rng, channels, dilation):
    x = integers(rng, (2, channels, 9, 11))
    geometry = {"stride": 2, "padding": 1, "dilation": dilation}
    y, indices = ops.max_pool2d(x, 3, return_indices=True, **geometry)
    rows, columns = windows(x.shape, 3, geometry)
    n, c, p, q = 1, channels - 1, 1, 2
    inside = {h * 11 + w for h in rows[p][0] for w in columns[q][0]}
    for index in [*range(-12, 120), 2**31 - 1, -(2**31)]:
        indices[n, c, p, q] = index
        if index in inside:
            dx = ops.max_pool2d_backward(y, indices, x.shape, 3, **geometry)
            assert np.array_equal(dx, reference.max_pool2d_backward(y, indices, x.shape))
        else:
            with pytest.raises(ValueError, match="max_pool2d_backward: indices: every index must be"):
                ops.max_pool2d_backward(y, indices, x.shape, 3, **geometry)


# --------------------------------------------------------------------------------------------------- stray accesses


@pytest.mark.parametrize("channels", [1, 3, 17, 37])
def test_touches_only_its_operands(isa, rng, channels):
    from fastconv import _native

    for kernel, stride, sides in [
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((2, 2), (2, 2), (0,) * 4),
        ((3, 2), (1, 1), (0,) * 4),
    ]:
        for flush in ("end", "start"):
            shape = (1, channels, 7, 6)
            plan = _native.Pool2dPlan("test", shape, kernel, stride, sides, (1, 1), False, True)
            x = testing.guarded_copy(integers(rng, (1, 7, 6, channels)), flush=flush)
            memory = tuple(plan.y_shape[i] for i in (0, 2, 3, 1))
            y, mean, dx, dx_mean = (
                testing.guarded_empty(size, flush=flush) for size in (memory, memory, x.shape, x.shape)
            )
            indices = testing.guarded_empty(memory, np.int32, flush=flush)
            plan.max_forward(x, y, indices, runtime.context())
            plan.max_forward(x, y, None, runtime.context())
            plan.avg_forward(x, mean, runtime.context())
            assert plan.max_backward(y, indices, dx, True, runtime.context())
            plan.avg_backward(y, dx_mean, runtime.context())
            assert not any(np.isnan(each).any() for each in (y, mean, dx, dx_mean))
            assert dx.sum() == y.sum()


# ---------------------------------------------------------------------------------------------------- against torch

TORCH_GRID = list(itertools.product([(7, 9), (8, 12)], [2, 3, (3, 2)], [1, 2, 3], [0, 1], [False, True]))


@pytest.mark.parametrize("dilation", [1, 2])
def test_max_pool_is_that_of_torch(rng, dilation):
    torch = pytest.importorskip("torch")
    for (height, width), kernel, stride, padding, ceil_mode in TORCH_GRID:
        x = rng.choice(
            np.array([np.nan, -np.inf, 0, 1, 2, 3], np.float32), (2, 5, height, width), p=[0.05, *[0.19] * 5]
        )
        theirs = torch.from_numpy(x).requires_grad_()
        arguments = (kernel, stride, padding, dilation, ceil_mode)
        expected, at = torch.nn.functional.max_pool2d(theirs, *arguments, return_indices=True)
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
        y, indices = ops.max_pool2d(x, kernel, return_indices=True, **geometry)
        assert np.array_equal(y, expected.detach().numpy(), equal_nan=True)
        assert np.array_equal(indices, at.numpy())
        dy = integers(rng, y.shape)
        expected.backward(torch.from_numpy(dy))
        dx = ops.max_pool2d_backward(dy, indices, x.shape, kernel, **geometry)
        assert np.array_equal(dx, theirs.grad.numpy())


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool_is_that_of_torch(rng, count_include_pad):
    torch = pytest.importorskip("torch")
    for (height, width), kernel, stride, padding, ceil_mode in TORCH_GRID:
        x = rng.standard_normal((2, 5, height, width)).astype(np.float32)
        theirs = torch.from_numpy(x).requires_grad_()
        expected = torch.nn.functional.avg_pool2d(theirs, kernel, stride, padding, ceil_mode, count_include_pad)
        geometry = {
            "stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad,
        }  # fmt: skip
        y = ops.avg_pool2d(x, kernel, **geometry)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-6)
        expected.backward(torch.from_numpy(y))
        dx = ops.avg_pool2d_backward(y, x.shape, kernel, **geometry)
        np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 1, 70, 300), (2, 8, 67, 65)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (9, 1, 4)])
def test_gradients_of_few_channels_in_several_blocks(shape, kernel, stride, padding, isa, rng):
    """Images of more than one block of rows, shared by threads: an output may reach into the next block."""
    x = rng.permutation(np.prod(shape)).astype(np.float32).reshape(shape)  # no ties
    geometry = {"stride": stride, "padding": padding}
    rows, columns = (reference.pool_windows(side, kernel, stride, padding, padding) for side in shape[2:])
    y, wanted_indices = reference.max_pool2d(x, rows, columns)
    dy = rng.integers(-4, 5, y.shape).astype(np.float32)
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            _, indices = ops.max_pool2d(x, kernel, return_indices=True, **geometry)
            assert np.array_equal(indices, wanted_indices)
            dx = ops.max_pool2d_backward(dy, indices, shape, kernel, **geometry)
            assert np.array_equal(dx, reference.max_pool2d_backward(dy, wanted_indices, shape))
            average = ops.avg_pool2d_backward(dy, shape, kernel, **geometry)
            wanted = reference.avg_pool2d_backward(dy, shape, rows, columns)
            assert np.abs(average - wanted).max() <= 1e-5 * np.abs(wanted).max()
    wrong = indices.copy()
    for value in (-1, np.iinfo(np.int32).max, np.iinfo(np.int32).min, shape[2] * shape[3]):
        wrong[-1, -1, -1, -1] = value
        with pytest.raises(ValueError, match="indices"):
            ops.max_pool2d_backward(dy, wrong, shape, kernel, **geometry)
