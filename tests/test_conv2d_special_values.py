"""NaN, infinities and denormals in conv2d and its gradients (Winograd's: also tests/test_winograd.py)."""

import numpy as np
import pytest
import reference
from checks import integers
from conv2d_problems import ALGORITHMS, EXACT, ids, plan_or_skip
from shapes import Conv

from fastconv import ops

pytestmark = pytest.mark.usefixtures("sums_as_written")


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
