"""3-D convolution (cross-correlation) of volumes and videos, forward and backward.

x is (N, C, D, H, W) in any memory order; results lie in (N, D, H, W, C) memory. Geometry, for every op: stride and
dilation are an int or (d, h, w); padding is an int, (d, h, w), a pair (before, after) for each of the three, "same"
(stride 1; the odd one after, as in PyTorch) or "valid". out: where to write the result; of the gradients in weight and
bias a pair (dweight, dbias), each an array or None. They are written, not added to.
TypeError for a wrong type or dtype, ValueError for sizes that do not fit.

It runs as 2-D convolution of slices (see ops/_maps.py), so algorithm is one of those of `conv2d`.
"""

from fastconv.ops import _maps

__all__ = ["conv3d", "conv3d_backward_input", "conv3d_backward_weight"]


def conv3d(
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
    """3-D convolution (cross-correlation) with bias, residual and activation.

    y[n,k,o,p,q] = activation(bias[k] + residual[n,k,o,p,q] + sum over c,t,r,s of x[n,c,d,h,w] * weight[k,c,t,r,s]),
    where d = o*sd + t*dd - front, h = p*sh + r*dh - top and w = q*sw + s*dw - left; x is 0 outside the volume.

    x (N, C, D, H, W), weight (K, C / groups, T, R, S), bias (K,), residual as y -> y (N, K, O, P, Q), float32.
    activation and algorithm: see `conv2d`. out: an array to write y to.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.ones((1, 2, 4, 5, 6), np.float32), np.ones((3, 2, 3, 3, 3), np.float32)
    >>> y = ops.conv3d(x, weight, padding=1)
    >>> y.shape, float(y[0, 0, 0, 0, 0]), float(y[0, 0, 1, 1, 1])
    ((1, 3, 4, 5, 6), 16.0, 54.0)
    """
    return _maps.run_forward("conv3d", 3, **locals())


def conv3d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv3d` (without activation) in x: dy as y, weight (K, C / groups, T, R, S) -> dx x_shape.

    dx[n,c,d,h,w] = sum over k,t,r,s of dy[n,k,o,p,q] * weight[k,c,t,r,s], where o*sd + t*dd - front = d, p*sh + r*dh -
    top = h and q*sw + s*dw - left = w.

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 3, 4, 5, 6), np.float32), np.ones((3, 2, 3, 3, 3), np.float32)
    >>> float(ops.conv3d_backward_input(dy, weight, (1, 2, 4, 5, 6), padding=1)[0, 0, 1, 1, 1])
    81.0
    """
    return _maps.run_backward_input("conv3d_backward_input", 3, **locals())


def conv3d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv3d` in weight and bias: dy as y, x (N, C, D, H, W) -> dweight, dbias (K,).

    dweight[k,c,t,r,s] = sum over n,o,p,q of dy[n,k,o,p,q] * x[n, c, o*sd + t*dd - front, p*sh + r*dh - top, q*sw + s*dw
    - left]; dbias sums dy.

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 3, 2, 3, 4), np.float32), np.ones((1, 2, 4, 5, 6), np.float32)
    >>> dweight, dbias = ops.conv3d_backward_weight(dy, x, (3, 2, 3, 3, 3))
    >>> dweight.shape, float(dweight[0, 0, 0, 0, 0]), float(dbias[0])
    ((3, 2, 3, 3, 3), 24.0, 24.0)
    """
    return _maps.run_backward_weight("conv3d_backward_weight", 3, **locals())
