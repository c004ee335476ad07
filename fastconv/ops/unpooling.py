"""Max unpooling: values back to where they were the maxima of, forward and backward."""

from fastconv import _native
from fastconv.ops import _pooling
from fastconv.ops._arrays import extents, image_target, map_of_shape
from fastconv.runtime import context

__all__ = ["max_unpool2d", "max_unpool2d_backward"]


def _pixels(memory):
    """(N, P * Q, C) of (N, P, Q, C)."""
    batch, height, width, channels = memory.shape
    return memory.reshape(batch, height * width, channels)


def _check(function, indices, plane):
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < plane:
        raise ValueError(f"{function}: indices: every index must be a position h * W + w in the output's plane")


def max_unpool2d(x, indices, output_size, *, out=None):
    """y (N, C, H, W) that is x at its indices and 0 elsewhere, as torch.nn.functional.max_unpool2d.

    x (N, C, P, Q); indices int32 (N, C, P, Q), positions h * W + w in the output, as `max_pool2d` returns them for x of
    output_size (H, W). Of equal indices of a channel the last one, by row and column of x, counts: always the same
    result, where PyTorch's may be any of them. ValueError for an index outside of the plane.

    >>> import numpy as np; from fastconv import ops
    >>> y, indices = ops.max_pool2d(np.array([[[[1, 5], [2, 3]]]], np.float32), 2, return_indices=True)
    >>> ops.max_unpool2d(y, indices, (2, 2)).tolist()
    [[[[0.0, 5.0], [0.0, 0.0]]]]
    """
    function = "max_unpool2d"
    x, shape = _pooling.image(function, x)
    size = extents(function, "output_size", output_size, 1, 2)
    if size[0] * size[1] >= 2**31:
        raise ValueError(f"{function}: output_size={size}: height * width must be < 2**31")
    chosen = _pooling.checked_indices(function, indices, shape)
    _check(function, chosen, size[0] * size[1])
    source = map_of_shape(function, "x", x, shape)
    y, memory = image_target(function, out, (*shape[:2], *size), x, indices)
    _native.max_unpool2d_forward(_pixels(source), _pixels(chosen), _pixels(memory), context())
    return _pooling.delivered(out, y)


def max_unpool2d_backward(dy, indices, *, out=None):
    """dx (N, C, P, Q) of `max_unpool2d`: dx = dy (N, C, H, W) at the indices (N, C, P, Q), also where they are equal.

    >>> import numpy as np; from fastconv import ops
    >>> dy, indices = np.array([[[[1, 5], [2, 3]]]], np.float32), np.array([[[[2]]]], np.int32)
    >>> ops.max_unpool2d_backward(dy, indices).tolist()
    [[[[2.0]]]]
    """
    function = "max_unpool2d_backward"
    _pooling.image_array(function, "dy", dy)
    chosen = _pooling.checked_indices(function, indices, getattr(indices, "shape", None))
    if chosen.ndim != 4 or indices.shape[:2] != dy.shape[:2]:
        raise ValueError(f"{function}: indices has shape {indices.shape}: must be (*{dy.shape[:2]}, height, width)")
    _check(function, chosen, dy.shape[2] * dy.shape[3])
    gradient = map_of_shape(function, "dy", dy, dy.shape)
    dx, memory = image_target(function, out, indices.shape, dy, indices)
    _native.max_unpool2d_backward(_pixels(gradient), _pixels(chosen), _pixels(memory), context())
    return _pooling.delivered(out, dx)
