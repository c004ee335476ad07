"""Pooling to a given size, forward and backward, with PyTorch's windows.

Window i of `out` over an axis of `in` elements holds the positions floor(i * in / out) to ceil((i + 1) * in / out) - 1:
they cover the axis, and neighbours share at most one element where out <= in. output_size is an int or (height, width),
of sizes >= 1; None keeps the size of x. Every op takes out=, which may overlap the inputs.
"""

from fastconv.ops import _pooling

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
]


def _plan_of_gradient(function, dy, x_shape):
    """The plan whose output has the height and width of dy."""
    shape = _pooling.image_shape(function, x_shape)
    _pooling.image_array(function, "dy", dy)
    return _pooling.adaptive_plan(function, shape, dy.shape[2:]), shape


def adaptive_avg_pool2d(x, output_size, *, out=None):
    """The mean of each window: x (N, C, H, W) -> y (N, C, *output_size), as torch.nn.functional.adaptive_avg_pool2d.

    >>> import numpy as np; from fastconv import ops
    >>> ops.adaptive_avg_pool2d(np.array([[[[1, 2, 4]]]], np.float32), (None, 2)).tolist()
    [[[[1.5, 3.0]]]]
    """
    x, shape = _pooling.image("adaptive_avg_pool2d", x)
    plan = _pooling.adaptive_plan("adaptive_avg_pool2d", shape, output_size)
    return _pooling.avg_forward("adaptive_avg_pool2d", plan, x, out)


def adaptive_avg_pool2d_backward(dy, x_shape, *, out=None):
    """dx (N, C, H, W) of `adaptive_avg_pool2d`: the sum of dy / size over the windows that hold each position.

    >>> import numpy as np; from fastconv import ops
    >>> ops.adaptive_avg_pool2d_backward(np.ones((1, 1, 1, 2), np.float32), (1, 1, 1, 3)).tolist()
    [[[[0.5, 1.0, 0.5]]]]
    """
    function = "adaptive_avg_pool2d_backward"
    plan, shape = _plan_of_gradient(function, dy, x_shape)
    return _pooling.avg_backward(function, plan, dy, shape, out)


def adaptive_max_pool2d(x, output_size, *, return_indices=False, out=None):
    """The maximum of each window: x (N, C, H, W) -> y (N, C, *output_size), as torch.nn.functional.adaptive_max_pool2d.

    return_indices: also return int32 positions h * W + w, as `max_pool2d`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.adaptive_max_pool2d(np.array([[[[1, 2, 4]]]], np.float32), (None, 2)).tolist()
    [[[[2.0, 4.0]]]]
    """
    x, shape = _pooling.image("adaptive_max_pool2d", x)
    plan = _pooling.adaptive_plan("adaptive_max_pool2d", shape, output_size)
    return _pooling.max_forward("adaptive_max_pool2d", plan, x, return_indices, out)


def adaptive_max_pool2d_backward(dy, indices, x_shape, *, out=None):
    """dx (N, C, H, W) of `adaptive_max_pool2d`: the sum of dy over the windows whose index is that position.

    ValueError where an index lies outside its own window.

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.adaptive_max_pool2d(np.array([[[[1, 5, 4]]]], np.float32), (1, 2), return_indices=True)
    >>> ops.adaptive_max_pool2d_backward(y, indices, (1, 1, 1, 3)).tolist()
    [[[[0.0, 10.0, 0.0]]]]
    """
    function = "adaptive_max_pool2d_backward"
    plan, shape = _plan_of_gradient(function, dy, x_shape)
    return _pooling.max_backward(function, plan, dy, indices, shape, out)
