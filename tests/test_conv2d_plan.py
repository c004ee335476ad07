"""The plan behind conv2d: the algorithm it chooses, shapes, work, and scratch memory."""

import itertools

import numpy as np
import pytest
from conv2d_problems import PASSES, make_plan
from shapes import AWKWARD, REAL, Conv

from fastconv import _native, ops, runtime

pytestmark = pytest.mark.usefixtures("sums_as_written")


def test_chosen_algorithm():
    square = {"padding": 1}
    with runtime.options(winograd=True):
        large = ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), **square)
        assert large.algorithms == ("winograd",) * 3
        assert ops.conv2d_plan((1, 64, 56, 56), (64, 64, 3, 3), stride=2).algorithms == ("direct",) * 3
        assert ops.conv2d_plan((1, 64, 56, 56), (64, 64, 5, 5)).algorithms == ("direct",) * 3
        assert ops.conv2d_plan((1, 3, 56, 56), (64, 3, 3, 3)).algorithms[:2] == ("direct",) * 2
        depthwise = ops.conv2d_plan((1, 64, 56, 56), (64, 1, 3, 3), groups=64)
        assert depthwise.algorithms == ("winograd_depthwise", "winograd_depthwise", "depthwise")
        # For one image of 7 x 7, 9 MB of weights are transformed as they are used, 1.5 times as fast as direct;
        # the transformed weights of smaller tiles are fewer to read where they are made beforehand.
        tiny = (1, 512, 7, 7), (512, 512, 3, 3)
        assert ops.conv2d_plan(*tiny, **square).algorithms[0] == "winograd"
        assert ops.conv2d_plan(*tiny, **square, constant_weights=True).algorithms[0] == "winograd_2x2"
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
