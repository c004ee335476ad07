"""Pooling of sequences, forward and backward: x (N, C, L) as images of one row.

kernel_size, stride, dilation: an int or (length,); stride defaults to kernel_size. padding: an int or (before, after).
For rules and errors see `fastconv.ops.pooling`. Results lie in (N, L, C) memory. Every op takes out=, which may overlap
the inputs.
"""

from fastconv.ops import _pooling
from fastconv.ops._arrays import extents, pads, sizes

__all__ = [
    "max_pool1d",
    "max_pool1d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
]


def _image(function, name, value):
    """The sequences as images of one row."""
    return _pooling.image_array(function, name, value, 3)[:, :, None, :]


def _row(out):
    """out as images of one row; what is no array is refused where it is checked."""
    return out[:, :, None, :] if getattr(out, "ndim", 0) == 3 else out


def _sequence(y, out):
    return y[:, :, 0, :] if out is None else out


def _checked(function, out, shape):
    _pooling.check_target(function, out, shape)
    return _row(out)


def _plan(function, x_shape, kernel_size, stride, padding, dilation, *flags):
    kernel = extents(function, "kernel_size", kernel_size, 1, 1)
    steps = kernel if stride is None else extents(function, "stride", stride, 1, 1)
    taps = extents(function, "dilation", dilation, 1, 1)
    around = ((0, 0), pads(function, padding, 1))
    return _pooling.plan(function, x_shape, (1, *kernel), (1, *steps), around, (1, *taps), *flags)


def _shape(function, x_shape):
    batch, channels, length = sizes(function, "x_shape", x_shape, 3)
    return batch, channels, 1, length


def _dropped(shape):
    """(N, C, L) of (N, C, 1, L)."""
    return (*shape[:2], shape[3])


def max_pool1d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, out=None):
    """The maximum of each window: x (N, C, L) -> y (N, C, Q), as torch.nn.functional.max_pool1d.

    return_indices: also return int32 (N, C, Q), the position of the first maximum, or of the last NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.max_pool1d(np.array([[[1, 5, 2, 4]]], np.float32), 2).tolist()
    [[[5.0, 4.0]]]
    """
    x4 = _image("max_pool1d", "x", x)
    plan = _plan("max_pool1d", x4.shape, kernel_size, stride, padding, dilation, ceil_mode)
    target = _checked("max_pool1d", out, _dropped(plan.y_shape))
    result = _pooling.max_forward("max_pool1d", plan, x4, return_indices, target)
    y, indices = result if return_indices else (result, None)
    y = _sequence(y, out)
    return (y, indices[:, :, 0, :]) if return_indices else y


def max_pool1d_backward(
    dy, indices, x_shape, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, out=None
):
    """dx (N, C, L) of `max_pool1d`: the sum of dy over the windows whose index is that position; dy, indices (N, C, Q).

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.max_pool1d(np.array([[[1, 5, 2, 4]]], np.float32), 2, return_indices=True)
    >>> ops.max_pool1d_backward(y, indices, (1, 1, 4), 2).tolist()
    [[[0.0, 5.0, 0.0, 4.0]]]
    """
    function = "max_pool1d_backward"
    shape = _shape(function, x_shape)
    plan = _plan(function, shape, kernel_size, stride, padding, dilation, ceil_mode)
    target = _checked(function, out, _dropped(shape))
    chosen = indices[:, :, None, :] if getattr(indices, "ndim", 0) == 3 else indices
    dx = _pooling.max_backward(function, plan, _image(function, "dy", dy), chosen, shape, target)
    return _sequence(dx, out)


def avg_pool1d(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, out=None):
    """The mean of each window: x (N, C, L) -> y (N, C, Q), as torch.nn.functional.avg_pool1d.

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool1d(np.array([[[1, 5, 2, 4]]], np.float32), 2).tolist()
    [[[3.0, 3.0]]]
    """
    x4 = _image("avg_pool1d", "x", x)
    plan = _plan("avg_pool1d", x4.shape, kernel_size, stride, padding, 1, ceil_mode, count_include_pad)
    target = _checked("avg_pool1d", out, _dropped(plan.y_shape))
    return _sequence(_pooling.avg_forward("avg_pool1d", plan, x4, target), out)


def avg_pool1d_backward(
    dy, x_shape, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, out=None
):
    """dx (N, C, L) of `avg_pool1d`: the sum of dy / size over the windows that hold a position; dy (N, C, Q).

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool1d_backward(np.ones((1, 1, 1), np.float32), (1, 1, 2), 2).tolist()
    [[[0.5, 0.5]]]
    """
    function = "avg_pool1d_backward"
    shape = _shape(function, x_shape)
    plan = _plan(function, shape, kernel_size, stride, padding, 1, ceil_mode, count_include_pad)
    target = _checked(function, out, _dropped(shape))
    return _sequence(_pooling.avg_backward(function, plan, _image(function, "dy", dy), shape, target), out)


def adaptive_avg_pool1d(x, output_size, *, out=None):
    """The mean of each of output_size windows: x (N, C, L) -> (N, C, output_size); windows of `adaptive_avg_pool2d`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.adaptive_avg_pool1d(np.array([[[1, 2, 4]]], np.float32), 2).tolist()
    [[[1.5, 3.0]]]
    """
    x4 = _image("adaptive_avg_pool1d", "x", x)
    size = extents("adaptive_avg_pool1d", "output_size", output_size, 1, 1)
    plan = _pooling.adaptive_plan("adaptive_avg_pool1d", x4.shape, (1, *size))
    target = _checked("adaptive_avg_pool1d", out, _dropped(plan.y_shape))
    return _sequence(_pooling.avg_forward("adaptive_avg_pool1d", plan, x4, target), out)


def adaptive_avg_pool1d_backward(dy, x_shape, *, out=None):
    """dx (N, C, L) of `adaptive_avg_pool1d`: the sum of dy / size over the windows that hold a position.

    >>> import numpy as np; from fastconv import ops
    >>> ops.adaptive_avg_pool1d_backward(np.ones((1, 1, 2), np.float32), (1, 1, 3)).tolist()
    [[[0.5, 1.0, 0.5]]]
    """
    function = "adaptive_avg_pool1d_backward"
    shape = _shape(function, x_shape)
    gradient = _image(function, "dy", dy)
    plan = _pooling.adaptive_plan(function, shape, gradient.shape[2:])
    target = _checked(function, out, _dropped(shape))
    return _sequence(_pooling.avg_backward(function, plan, gradient, shape, target), out)
