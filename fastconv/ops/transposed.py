"""Transposed convolution of 1-D, 2-D and 3-D maps, forward and backward: the input gradient of a convolution.

Each element of x adds weight, scaled, to the elements of y that a convolution with this geometry would read for it.
Along each spatial axis, with p = i*stride + r*dilation - before:
    y[n, k, p] = activation(bias[k] + sum over c and all i, r that give p of x[n, c, i] * weight[c, k, r])
    dx[n, c, i] = sum over k, r of dy[n, k, p] * weight[c, k, r], the convolution of dy with weight
    dweight[c, k, r] = sum over n, i of x[n, c, i] * dy[n, k, p], dbias[k] = sum over n, p of dy[n, k, p]
Gradients are those without activation. Sizes of y: (size - 1) * stride + dilation * (kernel - 1) + 1 + output_padding -
before - after.

x is (N, C, *sizes) in any memory order, weight (C, K / groups, *kernel), as in PyTorch; results lie in (N, *sizes, K)
memory. Arguments of every op:
    stride, dilation    an int or one an axis
    padding             an int, one an axis, (before, after) an axis, "same" (stride 1: as of a convolution) or "valid".
                        It takes elements away from y
    output_padding      an int or one an axis, below the stride or the dilation: elements that y has more at the end,
                        so that sizes which a convolution's stride has rounded down can be had again
    activation          None, a name ("relu") or (name, parameter), applied before y is stored
    algorithm           one of those of `conv2d`
    out                 where to write the result; of the gradients in weight and bias a pair (dweight, dbias), each an
                        array or None. They are written, not added to
TypeError for a wrong type or dtype, ValueError for sizes that do not fit.
"""

from fastconv.ops import _maps

__all__ = [
    "conv_transpose1d",
    "conv_transpose1d_backward_input",
    "conv_transpose1d_backward_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "conv_transpose3d",
    "conv_transpose3d_backward_input",
    "conv_transpose3d_backward_weight",
]


def conv_transpose1d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    activation=None,
    algorithm="auto",
    out=None,
):
    """1-D transposed convolution: x (N, C, L), weight (C, K / groups, S), bias (K,) -> y (N, K, P).

    Formulas, arguments and errors: see `help(ops.transposed)`.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 3), np.float32)
    >>> ops.conv_transpose1d(x, weight, stride=2).tolist()
    [[[1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 1.0]]]
    """
    return _maps.run_transposed("conv_transpose1d", 1, **locals())


def conv_transpose1d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv_transpose1d` in x: dy (N, K, P), weight -> dx x_shape (N, C, L).

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 1, 7), np.float32), np.ones((1, 1, 3), np.float32)
    >>> ops.conv_transpose1d_backward_input(dy, weight, (1, 1, 3), stride=2).tolist()
    [[[3.0, 3.0, 3.0]]]
    """
    return _maps.run_transposed_backward_input("conv_transpose1d_backward_input", 1, **locals())


def conv_transpose1d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv_transpose1d` in weight and bias: dy (N, K, P), x (N, C, L) -> dweight, dbias (K,).

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 1, 7), np.float32), np.ones((1, 1, 3), np.float32)
    >>> dweight, dbias = ops.conv_transpose1d_backward_weight(dy, x, (1, 1, 3), stride=2)
    >>> dweight.tolist(), float(dbias[0])
    ([[[3.0, 3.0, 3.0]]], 7.0)
    """
    return _maps.run_transposed_backward_weight("conv_transpose1d_backward_weight", 1, **locals())


def conv_transpose2d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    activation=None,
    algorithm="auto",
    out=None,
):
    """2-D transposed convolution: x (N, C, H, W), weight (C, K / groups, R, S), bias (K,) -> y (N, K, P, Q).

    Formulas, arguments and errors: see `help(ops.transposed)`.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.ones((1, 3, 4, 5), np.float32), np.ones((3, 2, 2, 2), np.float32)
    >>> y = ops.conv_transpose2d(x, weight, stride=2)
    >>> y.shape, float(y[0, 0, 0, 0])
    ((1, 2, 8, 10), 3.0)
    """
    return _maps.run_transposed("conv_transpose2d", 2, **locals())


def conv_transpose2d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv_transpose2d` in x: dy (N, K, P, Q), weight -> dx x_shape (N, C, H, W).

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 2, 8, 10), np.float32), np.ones((3, 2, 2, 2), np.float32)
    >>> float(ops.conv_transpose2d_backward_input(dy, weight, (1, 3, 4, 5), stride=2)[0, 0, 0, 0])
    8.0
    """
    return _maps.run_transposed_backward_input("conv_transpose2d_backward_input", 2, **locals())


def conv_transpose2d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv_transpose2d` in weight and bias: dy (N, K, P, Q), x (N, C, H, W) -> dweight, dbias (K,).

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 2, 8, 10), np.float32), np.ones((1, 3, 4, 5), np.float32)
    >>> dweight, dbias = ops.conv_transpose2d_backward_weight(dy, x, (3, 2, 2, 2), stride=2)
    >>> float(dweight[0, 0, 0, 0]), float(dbias[0])
    (20.0, 80.0)
    """
    return _maps.run_transposed_backward_weight("conv_transpose2d_backward_weight", 2, **locals())


def conv_transpose3d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    activation=None,
    algorithm="auto",
    out=None,
):
    """3-D transposed convolution: x (N, C, D, H, W), weight (C, K / groups, T, R, S), bias (K,) -> y (N, K, O, P, Q).

    Formulas, arguments and errors: see `help(ops.transposed)`.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.ones((1, 3, 2, 4, 5), np.float32), np.ones((3, 2, 2, 2, 2), np.float32)
    >>> y = ops.conv_transpose3d(x, weight, stride=2)
    >>> y.shape, float(y[0, 0, 0, 0, 0])
    ((1, 2, 4, 8, 10), 3.0)
    """
    return _maps.run_transposed("conv_transpose3d", 3, **locals())


def conv_transpose3d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv_transpose3d` in x: dy (N, K, O, P, Q), weight -> dx x_shape.

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 2, 4, 8, 10), np.float32), np.ones((3, 2, 2, 2, 2), np.float32)
    >>> float(ops.conv_transpose3d_backward_input(dy, weight, (1, 3, 2, 4, 5), stride=2)[0, 0, 0, 0, 0])
    16.0
    """
    return _maps.run_transposed_backward_input("conv_transpose3d_backward_input", 3, **locals())


def conv_transpose3d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv_transpose3d` in weight and bias: dy as y, x (N, C, D, H, W) -> dweight, dbias (K,).

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 2, 4, 8, 10), np.float32), np.ones((1, 3, 2, 4, 5), np.float32)
    >>> dweight, dbias = ops.conv_transpose3d_backward_weight(dy, x, (3, 2, 2, 2, 2), stride=2)
    >>> float(dweight[0, 0, 0, 0, 0]), float(dbias[0])
    (40.0, 320.0)
    """
    return _maps.run_transposed_backward_weight("conv_transpose3d_backward_weight", 3, **locals())
