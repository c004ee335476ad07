"""Depthwise convolution by Winograd's F(2, 3): accurate, and in everything else as the window that slides."""

import numpy as np
import pytest
import reference
from shapes import Conv

from fastconv import _native, ops, runtime

CASES = (
    *(Conv(f"channels_{c}", 1, c, 7, 9, c, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), c) for c in (2, 15, 16, 17, 33)),
    *(Conv(f"size_{n}", 2, 18, n, 14 - n, 18, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 18) for n in range(1, 13)),
    Conv("no_padding", 1, 34, 8, 7, 34, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 34),
    Conv("wide_padding", 1, 34, 5, 6, 34, (3, 3), (1, 1), ((2, 2), (2, 2)), (1, 1), 34),
    Conv("uneven_padding", 1, 34, 6, 5, 34, (3, 3), (1, 1), ((0, 2), (2, 1)), (1, 1), 34),
    Conv("dilated", 1, 18, 13, 11, 18, (3, 3), (1, 1), ((2, 2), (3, 3)), (2, 3), 18),
    Conv("many_items", 2, 67, 31, 17, 67, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 67),
)
ALGORITHM = "winograd_depthwise"


def operands(case, seed=3):
    rng = np.random.default_rng(seed)
    shapes = (case.x_shape, case.weight_shape, (case.k,), case.y_shape)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_accuracy(case, isa):
    """An error (2.3 u at worst seen) of at most 4 u of the largest sum of absolute values."""
    x, weight, bias, dy = operands(case)
    geometry = case.geometry
    exact = reference.conv2d(x, weight, bias, **geometry)
    magnitude = reference.conv2d(abs(x), abs(weight), abs(bias), **geometry).max()
    y = ops.conv2d(x, weight, bias, algorithm=ALGORITHM, **geometry)
    assert np.abs(y - exact).max() <= 4 * 2.0**-24 * magnitude
    exact = reference.conv2d_backward_input(dy, weight, x.shape, **geometry)
    magnitude = reference.conv2d_backward_input(abs(dy), abs(weight), x.shape, **geometry).max()
    dx = ops.conv2d_backward_input(dy, weight, x.shape, algorithm=ALGORITHM, **geometry)
    assert np.abs(dx - exact).max() <= 4 * 2.0**-24 * magnitude


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("case", CASES[-3:], ids=lambda case: case.name)
def test_residual_and_activation(case, activation, isa):
    x, weight, bias, residual = operands(case)
    pair = [
        ops.conv2d(x, weight, bias, residual=residual, activation=activation, algorithm=name, **case.geometry)
        for name in (ALGORITHM, "depthwise")
    ]
    np.testing.assert_allclose(*pair, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("case", CASES[-3:], ids=lambda case: case.name)
def test_special_values_are_those_of_the_window(case, value, isa):
    x, weight, bias, dy = operands(case)
    weight[:, :, 1] = 0
    for array in (x, dy):
        array.reshape(-1)[:: array.size // 5] = value
    for function, data in ((ops.conv2d, (x, weight, bias)), (ops.conv2d_backward_input, (dy, weight, x.shape))):
        actual = function(*data, algorithm=ALGORITHM, **case.geometry)
        wanted = function(*data, algorithm="depthwise", **case.geometry)
        odd = ~np.isfinite(wanted)
        np.testing.assert_array_equal(np.isfinite(actual), ~odd)
        np.testing.assert_array_equal(actual[odd], wanted[odd])


@pytest.mark.parametrize("case", CASES[-2:], ids=lambda case: case.name)
def test_bits_do_not_depend_on_threads(case, isa):
    x, weight, bias, dy = operands(case)
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y = ops.conv2d(x, weight, bias, algorithm=ALGORITHM, **case.geometry)
            dx = ops.conv2d_backward_input(dy, weight, x.shape, algorithm=ALGORITHM, **case.geometry)
        results.append((y.tobytes(), dx.tobytes()))
    assert results[0] == results[1] == results[2]


def test_chosen_where_rows_are_long():
    assert ALGORITHM in _native.CONV2D_ALGORITHMS
    wide, narrow = (1, 32, 56, 56), (1, 32, 14, 14)
    with runtime.options(winograd=True):
        chosen = ops.conv2d_plan(wide, (32, 1, 3, 3), padding=1, groups=32).algorithms
        assert chosen == (ALGORITHM, ALGORITHM, "depthwise")
        assert ops.conv2d_plan(narrow, (32, 1, 3, 3), padding=1, groups=32).algorithms == ("depthwise",) * 3
    with runtime.options(winograd=False):
        assert ops.conv2d_plan(wide, (32, 1, 3, 3), padding=1, groups=32).algorithms == ("depthwise",) * 3
