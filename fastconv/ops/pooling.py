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
"""

from functools import lru_cache

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, empty_images, map_of_shape, nhwc, pads, pair, sizes
from fastconv.runtime import context

__all__ = [
    "max_pool2d",
    "max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
]


_cached_plan = lru_cache(maxsize=1024)(_native.Pool2dPlan)


def _plan(function, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad=True):
    """The plan of this geometry. Normalised before it is looked up: to a cache 2.0 and True are 2 and 1."""
    kernel = pair(function, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(function, "stride", stride, 1)
    taps = pair(function, "dilation", dilation, 1)
    flags = bool(ceil_mode), bool(count_include_pad)
    return _cached_plan(function, x_shape, kernel, steps, pads(function, padding), taps, *flags)


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The maximum of each window: x (N, C, H, W) -> y (N, C, P, Q), float32, as torch.nn.functional.max_pool2d.

    y[n, c, p, q] = max over r, s of x[n, c, p * stride + r * dilation - top, q * stride + s * dilation - left].
    A NaN in a window gives NaN; padding is never selected. For geometry and errors see the module's text.

    return_indices: also return int32 (N, C, P, Q), the position h * W + w of the first maximum, or of the last NaN.

    >>> import numpy as np; from fastconv import ops
    >>> ops.max_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    array("max_pool2d", "x", x, 4)
    plan = _plan("max_pool2d", x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y, memory = empty_images(*plan.y_shape)
    indices = np.empty(memory.shape, np.int32) if return_indices else None
    plan.max_forward(nhwc(x), memory, indices, context())
    return (y, indices.transpose(0, 3, 1, 2)) if return_indices else y


def max_pool2d_backward(dy, indices, x_shape, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    """dx (N, C, H, W) of `max_pool2d`: dx[position] = sum of dy over the windows whose index is that position.

    dy, indices (int32, from return_indices=True): (N, C, P, Q); x_shape and geometry: those of the forward call.
    ValueError where an index lies outside its own window.

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.max_pool2d(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), 2, return_indices=True)
    >>> ops.max_pool2d_backward(y, indices, (1, 1, 2, 2), 2).tolist()
    [[[[0.0, 0.0], [0.0, 3.0]]]]
    """
    function = "max_pool2d_backward"
    x_shape = sizes(function, "x_shape", x_shape, 4)
    plan = _plan(function, x_shape, kernel_size, stride, padding, dilation, ceil_mode)
    gradient = map_of_shape(function, "dy", dy, plan.y_shape)
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int32:
        kind = indices.dtype if isinstance(indices, np.ndarray) else type(indices).__name__
        raise TypeError(f"{function}: indices is {kind}: must be a NumPy array of int32, as max_pool2d returns it")
    if indices.shape != plan.y_shape:
        raise ValueError(f"{function}: indices has shape {indices.shape}: must be {plan.y_shape}")
    # The layout kernel moves 32-bit elements, whatever they mean.
    chosen = nhwc(indices.view(np.float32)).view(np.int32)
    if not plan.indices_ok(chosen, context()):
        raise ValueError(f"{function}: indices: every index must be a position h * W + w in its own window")
    dx, memory = empty_images(*x_shape)
    plan.max_backward(gradient, chosen, memory, context())
    return dx


def avg_pool2d(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window: x (N, C, H, W) -> y (N, C, P, Q), float32, as torch.nn.functional.avg_pool2d.

    y = sum of the window's elements / size; the size counts padding where count_include_pad, and never what ceil_mode
    adds beyond it. For geometry and errors see the module's text.

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool2d(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), 2).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    array("avg_pool2d", "x", x, 4)
    plan = _plan("avg_pool2d", x.shape, kernel_size, stride, padding, 1, ceil_mode, count_include_pad)
    y, memory = empty_images(*plan.y_shape)
    plan.avg_forward(nhwc(x), memory, context())
    return y


def avg_pool2d_backward(dy, x_shape, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """dx (N, C, H, W) of `avg_pool2d`: dx[position] = sum of dy / size over the windows that hold that position.

    dy (N, C, P, Q); x_shape and geometry: those of the forward call.

    >>> import numpy as np; from fastconv import ops
    >>> ops.avg_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), (1, 1, 2, 2), 2).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    function = "avg_pool2d_backward"
    shape = sizes(function, "x_shape", x_shape, 4)
    plan = _plan(function, shape, kernel_size, stride, padding, 1, ceil_mode, count_include_pad)
    gradient = map_of_shape(function, "dy", dy, plan.y_shape)
    dx, memory = empty_images(*shape)
    plan.avg_backward(gradient, memory, context())
    return dx


def global_avg_pool2d(x):
    """The mean of each channel over its plane: x (N, C, H, W) -> y (N, C, 1, 1); H and W >= 1.

    >>> import numpy as np; from fastconv import ops
    >>> ops.global_avg_pool2d(np.ones((2, 3, 4, 5), np.float32)).shape
    (2, 3, 1, 1)
    """
    array("global_avg_pool2d", "x", x, 4)
    plan = _plan("global_avg_pool2d", x.shape, _plane("global_avg_pool2d", x.shape), None, 0, 1, False)
    y, memory = empty_images(*plan.y_shape)
    plan.avg_forward(nhwc(x), memory, context())
    return y


def global_avg_pool2d_backward(dy, x_shape):
    """dx (N, C, H, W) of `global_avg_pool2d`: dx[n, c, h, w] = dy[n, c, 0, 0] / (H * W); dy (N, C, 1, 1).

    >>> import numpy as np; from fastconv import ops
    >>> ops.global_avg_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), (1, 1, 2, 2)).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    function = "global_avg_pool2d_backward"
    shape = sizes(function, "x_shape", x_shape, 4)
    plan = _plan(function, shape, _plane(function, shape), None, 0, 1, False)
    gradient = map_of_shape(function, "dy", dy, plan.y_shape)
    dx, memory = empty_images(*shape)
    plan.avg_backward(gradient, memory, context())
    return dx


def _plane(function, x_shape):
    if min(x_shape[2:]) < 1:
        raise ValueError(f"{function}: x_shape={tuple(x_shape)}: height and width must be >= 1")
    return x_shape[2:]
