"""1-D convolution (cross-correlation) of sequences and signals, forward and backward.

x is (N, C, L) in any memory order; results lie in (N, L, C) memory. Geometry, for every op: stride and dilation are an
int or a 1-tuple; padding is an int, (before, after), "same" (stride 1; the odd one after, as in PyTorch) or "valid".
out: where to write the result; of the gradients in weight and bias a pair (dweight, dbias), each an array or None. They
are written, not added to.
TypeError for a wrong type or dtype, ValueError for sizes that do not fit.
"""

from fastconv.ops import _maps

__all__ = ["conv1d", "conv1d_backward_input", "conv1d_backward_weight"]


def conv1d(
    x,
    weight,
    bias=None,
    *,
    residual=None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    activation=None,
    algorithm="auto",
    out=None,
):
    """1-D convolution (cross-correlation) with bias, residual and activation.

    y[n,k,p] = activation(bias[k] + residual[n,k,p] + sum over c,s of x[n, c, p*stride + s*dilation - before] *
    weight[k,c,s]); x is 0 outside.

    x (N, C, L), weight (K, C / groups, S), bias (K,), residual as y -> y (N, K, P), float32, with
    P = (L + before + after - dilation * (S - 1) - 1) // stride + 1. activation and algorithm: see `conv2d`, whose
    kernels run this as an image of height 1. out: an array to write y to.

    >>> import numpy as np; from fastconv import ops
    >>> ops.conv1d(np.ones((1, 2, 5), np.float32), np.ones((1, 2, 3), np.float32), padding=1).tolist()
    [[[4.0, 6.0, 6.0, 6.0, 4.0]]]
    """
    return _maps.run_forward("conv1d", 1, **locals())


def conv1d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv1d` (without activation) in x: dy (N, K, P), weight (K, C / groups, S) -> dx x_shape.

    dx[n,c,l] = sum over k,s of dy[n,k,p] * weight[k,c,s], where p*stride + s*dilation - before = l.

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 1, 5), np.float32), np.ones((1, 2, 3), np.float32)
    >>> ops.conv1d_backward_input(dy, weight, (1, 2, 5), padding=1)[0, 0].tolist()
    [2.0, 3.0, 3.0, 3.0, 2.0]
    """
    return _maps.run_backward_input("conv1d_backward_input", 1, **locals())


def conv1d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv1d` in weight and bias: dy (N, K, P), x (N, C, L) -> dweight, dbias (K,).

    dweight[k,c,s] = sum over n,p of dy[n,k,p] * x[n, c, p*stride + s*dilation - before]; dbias sums dy.

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 1, 5), np.float32), np.ones((1, 2, 5), np.float32)
    >>> dweight, dbias = ops.conv1d_backward_weight(dy, x, (1, 2, 3), padding=1)
    >>> dweight.tolist(), float(dbias[0])
    ([[[4.0, 5.0, 4.0], [4.0, 5.0, 4.0]]], 5.0)
    """
    return _maps.run_backward_weight("conv1d_backward_weight", 1, **locals())
