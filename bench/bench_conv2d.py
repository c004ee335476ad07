"""Convolution: every algorithm and pass on the named layers. Forward also with weights packed once."""

import numpy as np
import pytest
from shapes import REAL

from fastconv import _native, ops

ALGORITHMS = [name for name in _native.CONV2D_ALGORITHMS if name != "auto"]
PASSES = ["forward", "forward_packed", "backward_input", "backward_weight"]


def calls(layer, algorithm):
    """(flops, {pass: call}) of a layer; skips where the algorithm does not apply."""
    geometry = layer.geometry | {"algorithm": algorithm}
    try:
        plan = ops.conv2d_plan(layer.x_shape, layer.weight_shape, **geometry)
    except ValueError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (layer.n, layer.h, layer.w, layer.c)).astype(np.float32).transpose(0, 3, 1, 2)
    weight = rng.integers(-4, 5, layer.weight_shape).astype(np.float32)
    packed = ops.conv2d_pack(weight, groups=layer.groups, algorithm=algorithm)
    y = ops.conv2d(x, weight, **geometry)
    dy = np.ones_like(y)
    return 2 * plan.multiply_adds, {
        "forward": lambda: ops.conv2d(x, weight, out=y, **geometry),
        "forward_packed": lambda: ops.conv2d(x, packed, out=y, **geometry),
        "backward_input": lambda: ops.conv2d_backward_input(dy, weight, x.shape, **geometry),
        "backward_weight": lambda: ops.conv2d_backward_weight(dy, x, weight.shape, **geometry)[0],
    }


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("layer", REAL, ids=lambda layer: layer.name)
def bench_conv2d(timed, layer, algorithm, which):
    flops, passes = calls(layer, algorithm)
    oracle = "im2col" if algorithm != "im2col" else "direct"
    np.testing.assert_array_equal(passes[which](), calls(layer, oracle)[1][which]())  # integers: exact
    timed(passes[which], flops)
