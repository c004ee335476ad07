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
]


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels(isa, rng, channels):
    for (batch, height, width), kernel, geometry in SHAPES:
        x = integers(rng, (batch, channels, height, width))
        check_max(rng, x, kernel, geometry)
        check_avg(rng, x, kernel, geometry)


@pytest.mark.parametrize("channels", [1, 3, 65, 200])
def test_threads_give_the_same_bits(isa, rng, channels):
    """Also where there are fewer rows than threads, and channels are shared out."""
    for shape, kernel, stride, padding in [
        ((3, channels, 41, 43), 3, 2, 1),
        ((1, channels, 40, 41), (40, 41), None, 0),
        ((5, channels, 31, 37), 3, 1, 1),
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
            plan.max_backward(y, indices, dx, runtime.context())
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
