"""2-D convolution (cross-correlation, as in every deep-learning library), forward and backward."""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import (
    array,
    contiguous,
    hashable,
    image_target,
    integer,
    map_of_shape,
    nhwc,
    outs,
    pair,
    returned,
    shaped,
    sides,
    sizes,
    target,
)
from fastconv.ops._fused import activation_code
from fastconv.runtime import context

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weight", "conv2d_pack", "conv2d_plan"]


_plans = {}  # by what was asked for; emptied when it is full
_MOST_PLANS = 4096


def _plan(function, x_shape, weight_shape, stride, padding, dilation, groups, activation, algorithm, exact, constant):
    stride = pair(function, "stride", stride, 1)
    dilation = pair(function, "dilation", dilation, 1)
    groups = integer(function, "groups", groups, 1)
    pads = sides(function, padding, weight_shape[2:], stride, dilation)
    if algorithm not in _native.CONV2D_ALGORITHMS:
        names = ", ".join(_native.CONV2D_ALGORITHMS)
        raise ValueError(f"{function}: algorithm={algorithm!r}: must be one of {names}")
    code = activation_code(function, activation)
    try:
        return _native.Conv2dPlan(
            x_shape, weight_shape, stride, pads, dilation, groups, code, algorithm, exact, constant
        )
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def _cached_plan(
    function, x_shape, weight_shape, stride, padding, dilation, groups, activation, algorithm, constant=False
):
    """The plan of this geometry, as the caller gave it. constant: weights are packed once."""
    exact = not context().winograd
    geometry = stride, padding, dilation, groups
    key = x_shape, weight_shape, geometry, activation, algorithm, exact, constant
    kept = _native.is_exact(geometry)  # no lists, and no wrong types, which fail with their own message
    if kept:
        try:
            return _plans[key]
        except KeyError:
            pass
        except TypeError:  # an activation or algorithm that has no hash
            kept = False
    given = map(hashable, (*geometry, activation, algorithm))
    plan = _plan(function, x_shape, weight_shape, *given, exact, constant)
    if kept:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        _plans[key] = plan
    return plan


def conv2d_plan(
    x_shape,
    weight_shape,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    activation=None,
    algorithm="auto",
    constant_weights=False,
):
    """The plan behind `conv2d` for these shapes: its output shape, algorithms and scratch memory.

    x_shape (N, C, H, W), weight_shape (K, C / groups, R, S). constant_weights: for weights that `conv2d_pack` packs
    once, so that "auto" need not count their packing. ValueError for a geometry that conv2d would refuse.

    >>> from fastconv import ops
    >>> ops.conv2d_plan((1, 3, 8, 8), (4, 3, 3, 3), padding=1).y_shape     # (N, H, W, K)
    (1, 8, 8, 4)
    """
    x_shape = sizes("conv2d_plan", "x_shape", x_shape, 4)
    weight_shape = sizes("conv2d_plan", "weight_shape", weight_shape, 4)
    geometry = stride, padding, dilation, groups, activation, algorithm
    return _cached_plan("conv2d_plan", x_shape, weight_shape, *geometry, constant=constant_weights)


def conv2d_pack(weight, x_shape=None, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto"):
    """The weights (K, C / groups, R, S) in the kernels' own order, to pass to `conv2d` in place of the array.

    Worth it where the same weights are used again and again: conv2d packs an array at every call. Bound to the
    instruction set and the algorithm it was packed for. "auto" is the algorithm that conv2d would choose for x_shape
    (N, C, H, W) and this geometry; without x_shape one that takes any size and stride.

    >>> import numpy as np; from fastconv import ops
    >>> packed = ops.conv2d_pack(np.ones((4, 3, 3, 3), np.float32))
    >>> ops.conv2d(np.ones((1, 3, 8, 8), np.float32), packed).shape
    (1, 4, 6, 6)
    """
    function = "conv2d_pack"
    weight = contiguous(array(function, "weight", weight, 4))
    groups = integer(function, "groups", groups, 1)
    if x_shape is None:
        x_shape = (1, weight.shape[1] * groups, weight.shape[2], weight.shape[3])
        stride, padding, dilation = 1, 0, 1
    else:
        x_shape = sizes(function, "x_shape", x_shape, 4)
    geometry = stride, padding, dilation, groups, None, algorithm
    return _cached_plan(function, x_shape, weight.shape, *geometry, constant=True).pack(weight, context())


def conv2d(
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
    """2-D convolution (cross-correlation) with bias, residual and activation.

    y[n,k,p,q] = activation(bias[k] + residual[n,k,p,q] + sum over c,r,s of x[n,c,h,w] * weight[k,c,r,s]), where
    h = p*sh + r*dh - top and w = q*sw + s*dw - left; x is 0 outside the image.

    x (N, C, H, W), weight (K, C / groups, R, S) or what `conv2d_pack` made of it, bias (K,), residual as
    y -> y (N, K, P, Q) with P = (H + top + bottom - dh * (R - 1) - 1) // sh + 1, Q likewise. All float32.

    stride, dilation: int or (h, w). padding: int, (h, w), ((top, bottom), (left, right)), "same" or "valid".
    activation: None, a name ("relu") or (name, parameter), applied before y is stored.
    algorithm: "auto", the fastest by measured rules; "direct", "im2col", "depthwise" (one channel a group); for 3x3
    with stride 1 "winograd", "winograd_2x2" (more exact) and "winograd_6x6" (less), whose relative errors are about
    2e-6, 5e-7 and 6e-6 beside 3e-7, and "winograd_depthwise". `runtime.options(winograd=False)` keeps "auto" off them.
    out: where to write y.

    TypeError for a wrong type or dtype, ValueError for sizes that do not fit.

    >>> import numpy as np; from fastconv import ops
    >>> x, weight = np.ones((1, 3, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    >>> float(ops.conv2d(x, weight, padding=1)[0, 0, 2, 2])
    27.0
    """
    function = "conv2d"
    array(function, "x", x, 4)
    if not isinstance(weight, _native.PackedConv2dWeight):
        array(function, "weight", weight, 4)
    elif algorithm == "auto":
        algorithm = weight.algorithm
    plan = _cached_plan(function, x.shape, weight.shape, stride, padding, dilation, groups, activation, algorithm)
    y = plan.convolve(x, weight, bias, residual, out, context())
    if y is not NotImplemented:
        return y
    if isinstance(weight, np.ndarray):
        weight = contiguous(weight)
    if bias is not None:
        bias = shaped(function, "bias", bias, weight.shape[:1])
    batch, height, width, channels = plan.y_shape
    shape = (batch, channels, height, width)
    if residual is not None:
        residual = array(function, "residual", residual, 4)
        if residual.shape != shape:
            raise ValueError(f"{function}: residual has shape {residual.shape}: must be {shape}")
        residual = nhwc(residual)
    y, memory = image_target(function, out, shape, x, weight, bias, residual)
    try:
        plan.forward(nhwc(x), weight, bias, residual, memory, context())
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None
    return returned(y, out)


def conv2d_backward_input(
    dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradient of `conv2d` (without activation) in x: dy (N, K, P, Q), weight (K, C / groups, R, S) -> dx x_shape.

    dx[n,c,h,w] = sum over k,r,s of dy[n,k,p,q] * weight[k,c,r,s], where p*sh + r*dh - top = h, q*sw + s*dw - left = w.
    out: where to write dx.

    >>> import numpy as np; from fastconv import ops
    >>> dy, weight = np.ones((1, 2, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    >>> float(ops.conv2d_backward_input(dy, weight, (1, 3, 5, 5), padding=1)[0, 0, 2, 2])
    18.0
    """
    function = "conv2d_backward_input"
    array(function, "dy", dy, 4)
    array(function, "weight", weight, 4)
    x_shape = sizes(function, "x_shape", x_shape, 4)
    plan = _cached_plan(function, x_shape, weight.shape, stride, padding, dilation, groups, None, algorithm)
    dx = plan.input_gradient(dy, weight, out, context())
    if dx is not NotImplemented:
        return dx
    gradient = _gradient(function, dy, plan)
    dx, memory = image_target(function, out, x_shape, dy, weight)
    plan.backward_input(gradient, contiguous(weight), memory, context())
    return returned(dx, out)


def conv2d_backward_weight(
    dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", out=None
):
    """The gradients of `conv2d` in weight and bias: dy (N, K, P, Q), x (N, C, H, W) -> dweight, dbias (K,).

    dweight[k,c,r,s] = sum over n,p,q of dy[n,k,p,q] * x[n, c, p*sh + r*dh - top, q*sw + s*dw - left]; dbias sums dy.
    out: (dweight, dbias), each an array to write to or None. They are written, not added to.

    >>> import numpy as np; from fastconv import ops
    >>> dy, x = np.ones((1, 2, 3, 3), np.float32), np.ones((1, 3, 5, 5), np.float32)
    >>> dweight, dbias = ops.conv2d_backward_weight(dy, x, (2, 3, 3, 3))
    >>> float(dweight[0, 0, 0, 0]), float(dbias[0])
    (9.0, 9.0)
    """
    function = "conv2d_backward_weight"
    array(function, "dy", dy, 4)
    array(function, "x", x, 4)
    weight_shape = sizes(function, "weight_shape", weight_shape, 4)
    plan = _cached_plan(function, x.shape, weight_shape, stride, padding, dilation, groups, None, algorithm)
    out = outs(function, out, weight_shape, weight_shape[:1])
    gradients = plan.weight_gradients(dy, x, *out, context())
    if gradients is not NotImplemented:
        return gradients
    gradient = _gradient(function, dy, plan)
    dweight = target(function, out[0], weight_shape, dy, x, name="out[0]")
    dbias = target(function, out[1], weight_shape[:1], dy, x, name="out[1]")
    plan.backward_weight(gradient, nhwc(x), dweight, dbias, context())
    return returned(dweight, out[0]), returned(dbias, out[1])


def _gradient(function, dy, plan):
    """The (N, P, Q, K) memory of dy, of the shape of y."""
    batch, height, width, channels = plan.y_shape
    return map_of_shape(function, "dy", dy, (batch, channels, height, width))
