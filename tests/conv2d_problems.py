"""What the tests of conv2d share: the algorithms, cases with data and expected results, and how to run them."""

import functools

import numpy as np
import pytest
import reference
from checks import integers, reals
from shapes import AWKWARD, REAL

from fastconv import _native, ops

ALGORITHMS = tuple(name for name in _native.CONV2D_ALGORITHMS if name != "auto")
# Sums of products as they are written: exact on integers. The others, test_winograd.py holds to bounds of their own.
EXACT = tuple(name for name in ALGORITHMS if not name.startswith("winograd"))
PASSES = (0, 1, 2)
BY_NAME = {case.name: case for case in (*AWKWARD, *REAL)}
ids = lambda case: case.name  # noqa: E731


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
    size = max(plan.plain_workspace_bytes(context), *(plan.workspace_bytes(pass_, context) for pass_ in PASSES))
    _native.poison_workspace(size, 0xFF)
    plan.forward(x, problem.weight, problem.bias, None, y, context)
    _native.poison_workspace(size, 0xFF)
    plan.backward_input(dy, problem.weight, dx, context)
    _native.poison_workspace(size, 0xFF)
    plan.backward_weight(dy, x, dweight, dbias, context)
    return y.transpose(0, 3, 1, 2), dx.transpose(0, 3, 1, 2), dweight, dbias


NAMES = ("y", "dx", "dweight", "dbias")
