"""Matrix products, beside NumPy's BLAS."""

import numpy as np
import pytest

from fastconv import ops

SIZES = [
    (64, 64, 64),
    (128, 128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (32, 1024, 1024),
    (49, 512, 4608),
    (64, 3136, 576),
]


@pytest.mark.parametrize("library", ["fastconv", "numpy"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def bench_gemm(timed, size, library, request):
    if library == "numpy" and request.config.getoption("threads") != 1:
        pytest.skip("NumPy's threads are set outside the process")
    rows, columns, depth = size
    rng = np.random.default_rng(0)
    a = rng.integers(-4, 5, (rows, depth)).astype(np.float32)
    b = rng.integers(-4, 5, (depth, columns)).astype(np.float32)
    out = np.empty((rows, columns), np.float32)
    multiply = ops.matmul if library == "fastconv" else np.matmul
    multiply(a, b, out=out)
    np.testing.assert_array_equal(out, a.astype(np.float64) @ b.astype(np.float64))
    timed(lambda: multiply(a, b, out=out), 2 * rows * columns * depth)
