"""Max and average pooling of images, forward and backward.

x is (N, C, H, W) in any memory order; results lie in (N, H, W, C) memory. Geometry, for every op:
    kernel_size, stride, dilation   an int or (height, width); stride defaults to kernel_size
    padding                         an int, (height, width) or ((top, bottom), (left, right)). Every pad must be smaller
                                    than the dilated kernel, and with padding the dilation at most the size of x, so
                                    that every window holds an element of x: padding is never a maximum (PyTorch
                                    allows half a kernel at most)
    ceil_mode                       a last window may hang over the end of the padded input (PyTorch's rule: unless it
                                    would start in the padding after the input)
Output sizes: floor((size + pads - dilation * (kernel - 1) - 1) / stride) + 1, or ceil of it. A geometry that leaves no
window raises ValueError; an empty batch or no channels give an empty result.

Every op takes out=, a float32 array of the result's shape, in any memory order, which may overlap the inputs.
"""

from fastconv.ops import _pooling

__all__ = [
    "max_pool2d",
    "max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
]


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, out=None):
    """The maximum of each window: x (N, C, H, W) -> y (N, C, P, Q), float32, as torch.nn.functional.max_pool2d.

    y[n, c, p, q] = max over r, s of x[n, c, p * stride + r * dilation - top, q * stride + s * dilation - left].
    A NaN in a window gives NaN; padding is never selected; of 0 and -0 either is given. For geometry and errors see the
    module's text.

    return_indices: also return int32 (N, C, P, Q), the position h * W + w of the first maximum, or of the last NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.max_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    x, shape = _pooling.image("max_pool2d", x)
    plan = _pooling.plan("max_pool2d", shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.max_forward("max_pool2d", plan, x, return_indices, out)


def max_pool2d_backward(
    dy, indices, x_shape, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, out=None
):
    """dx (N, C, H, W) of `max_pool2d`: dx[position] = sum of dy over the windows whose index is that position.

    dy, indices (int32, from return_indices=True): (N, C, P, Q); x_shape and geometry: those of the forward call.
    ValueError where an index lies outside its own window.

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.max_pool2d(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), 2, return_indices=True)
    >>> ops.max_pool2d_backward(y, indices, (1, 1, 2, 2), 2).tolist()
    [[[[0.0, 0.0], [0.0, 3.0]]]]
    """
    function = "max_pool2d_backward"
    x_shape = _pooling.image_shape(function, x_shape)
    plan = _pooling.plan(function, x_shape, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.max_backward(function, plan, dy, indices, x_shape, out)


def avg_pool2d(
    x,
    kernel_size,
    *,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    out=None,
):
    """The mean of each window: x (N, C, H, W) -> y (N, C, P, Q), float32, as torch.nn.functional.avg_pool2d.

    y = sum of the window's elements / size; the size counts padding where count_include_pad, and never what ceil_mode
    adds beyond it. divisor_override: what sums are divided by instead, an integer >= 1. For geometry and errors see the
    module's text.

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    x, shape = _pooling.image("avg_pool2d", x)
    rest = ceil_mode, count_include_pad, divisor_override
    plan = _pooling.plan("avg_pool2d", shape, kernel_size, stride, padding, 1, *rest)
    return _pooling.avg_forward("avg_pool2d", plan, x, out)


def avg_pool2d_backward(
    dy,
    x_shape,
    kernel_size,
    *,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    out=None,
):
    """dx (N, C, H, W) of `avg_pool2d`: dx[position] = sum of dy / size over the windows that hold that position.

    dy (N, C, P, Q); x_shape and geometry: those of the forward call.

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), (1, 1, 2, 2), 2).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    function = "avg_pool2d_backward"
    shape = _pooling.image_shape(function, x_shape)
    rest = ceil_mode, count_include_pad, divisor_override
    plan = _pooling.plan(function, shape, kernel_size, stride, padding, 1, *rest)
    return _pooling.avg_backward(function, plan, dy, shape, out)


def global_avg_pool2d(x, *, out=None):
    """The mean of each channel over its plane: x (N, C, H, W) -> y (N, C, 1, 1); H and W >= 1.

    >>> import numpy as np; from fastconv import ops
    >>> ops.global_avg_pool2d(np.ones((2, 3, 4, 5), np.float32)).shape
    (2, 3, 1, 1)
    """
    x, shape = _pooling.image("global_avg_pool2d", x)
    return _pooling.avg_forward("global_avg_pool2d", _pooling.plane_plan("global_avg_pool2d", shape), x, out)


def global_avg_pool2d_backward(dy, x_shape, *, out=None):
    """dx (N, C, H, W) of `global_avg_pool2d`: dx[n, c, h, w] = dy[n, c, 0, 0] / (H * W); dy (N, C, 1, 1).

    >>> import numpy as np; from fastconv import ops
    >>> ops.global_avg_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), (1, 1, 2, 2)).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    function = "global_avg_pool2d_backward"
    shape = _pooling.image_shape(function, x_shape)
    return _pooling.avg_backward(function, _pooling.plane_plan(function, shape), dy, shape, out)


def global_max_pool2d(x, *, return_indices=False, out=None):
    """The maximum of each channel over its plane: x (N, C, H, W) -> y (N, C, 1, 1); H and W >= 1.

    return_indices: also return int32 (N, C, 1, 1), as `max_pool2d`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.global_max_pool2d(np.arange(4, dtype=np.float32).reshape(1, 2, 1, 2)).tolist()
    [[[[1.0]], [[3.0]]]]
    """
    x, shape = _pooling.image("global_max_pool2d", x)
    plan = _pooling.plane_plan("global_max_pool2d", shape)
    return _pooling.max_forward("global_max_pool2d", plan, x, return_indices, out)


def global_max_pool2d_backward(dy, indices, x_shape, *, out=None):
    """dx (N, C, H, W) of `global_max_pool2d`: dy at the index of each channel, else 0; dy, indices (N, C, 1, 1).

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.global_max_pool2d(np.array([[[[1, 5, 2]]]], np.float32), return_indices=True)
    >>> ops.global_max_pool2d_backward(y, indices, (1, 1, 1, 3)).tolist()
    [[[[0.0, 5.0, 0.0]]]]
    """
    function = "global_max_pool2d_backward"
    shape = _pooling.image_shape(function, x_shape)
    return _pooling.max_backward(function, _pooling.plane_plan(function, shape), dy, indices, shape, out)
