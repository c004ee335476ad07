"""Elements in another order, forward and backward: pixels and channels, windows and columns.

Images are (N, C, H, W) in any memory order; images that come out lie in (N, H, W, C) memory, columns in C order.
Backward passes are the way back. `out` may share memory with the input.
TypeError for a wrong type or dtype, ValueError for sizes that do not fit.
"""

from functools import lru_cache

from fastconv import _native
from fastconv.ops._arrays import (
    array,
    channels_last,
    contiguous,
    image_target,
    integer,
    nhwc,
    of_shape,
    pair,
    returned,
    sizes,
    target,
)
from fastconv.runtime import context

__all__ = [
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
    "channel_shuffle",
    "channel_shuffle_backward",
    "unfold",
    "unfold_backward",
    "fold",
    "fold_backward",
]


# --------------------------------------------------------------------------------------------- pixels and channels


def _shuffle(function, name, x, factor_name, factor, out):
    """Channels to pixels."""
    usual = _native.shuffled_pixels(x, factor, out, False, context())
    if usual is not NotImplemented:
        return usual
    array(function, name, x, 4)
    factor = integer(function, factor_name, factor, 1)
    batch, channels, height, width = x.shape
    if channels % (factor * factor):
        raise ValueError(
            f"{function}: {factor_name}={factor}: its square must divide {channels}, the channels of {name}"
        )
    shape = (batch, channels // (factor * factor), height * factor, width * factor)
    y, memory = image_target(function, out, shape, x)
    _native.pixel_shuffle_forward(nhwc(x), memory, factor, context())
    return returned(y, out)


def _unshuffle(function, name, x, factor_name, factor, out):
    """Pixels to channels."""
    usual = _native.shuffled_pixels(x, factor, out, True, context())
    if usual is not NotImplemented:
        return usual
    array(function, name, x, 4)
    factor = integer(function, factor_name, factor, 1)
    batch, channels, height, width = x.shape
    if height % factor or width % factor:
        raise ValueError(f"{function}: {factor_name}={factor}: must divide height and width of {name}, {x.shape[2:]}")
    shape = (batch, channels * factor * factor, height // factor, width // factor)
    y, memory = image_target(function, out, shape, x)
    _native.pixel_shuffle_backward(nhwc(x), memory, factor, context())
    return returned(y, out)


def pixel_shuffle(x, upscale_factor, *, out=None):
    """x (N, C * r^2, H, W) -> y (N, C, H * r, W * r), r = upscale_factor, as torch.nn.functional.pixel_shuffle.

    y[n, c, h * r + i, w * r + j] = x[n, (c * r + i) * r + j, h, w] (Shi et al. 2016).

    >>> import numpy as np; from fastconv import ops
    >>> ops.pixel_shuffle(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1), 2).tolist()
    [[[[0.0, 1.0], [2.0, 3.0]]]]
    """
    return _shuffle("pixel_shuffle", "x", x, "upscale_factor", upscale_factor, out)


def pixel_shuffle_backward(dy, upscale_factor, *, out=None):
    """The gradient of `pixel_shuffle`: dy (N, C, H * r, W * r) -> dx (N, C * r^2, H, W).

    >>> import numpy as np; from fastconv import ops
    >>> ops.pixel_shuffle_backward(np.ones((2, 3, 4, 6), np.float32), 2).shape
    (2, 12, 2, 3)
    """
    return _unshuffle("pixel_shuffle_backward", "dy", dy, "upscale_factor", upscale_factor, out)


def pixel_unshuffle(x, downscale_factor, *, out=None):
    """x (N, C, H * r, W * r) -> y (N, C * r^2, H, W), r = downscale_factor: the inverse of `pixel_shuffle`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.pixel_unshuffle(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), 2).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    return _unshuffle("pixel_unshuffle", "x", x, "downscale_factor", downscale_factor, out)


def pixel_unshuffle_backward(dy, downscale_factor, *, out=None):
    """The gradient of `pixel_unshuffle`: dy (N, C * r^2, H, W) -> dx (N, C, H * r, W * r).

    >>> import numpy as np; from fastconv import ops
    >>> ops.pixel_unshuffle_backward(np.ones((2, 12, 2, 3), np.float32), 2).shape
    (2, 3, 4, 6)
    """
    return _shuffle("pixel_unshuffle_backward", "dy", dy, "downscale_factor", downscale_factor, out)


def _shuffle_channels(function, name, x, groups, out, back):
    usual = _native.shuffled_channels(x, groups, out, back, context())
    if usual is not NotImplemented:
        return usual
    array(function, name, x)
    if x.ndim < 3:
        raise ValueError(f"{function}: {name} has shape {x.shape}: must have 3 dimensions or more")
    groups = integer(function, "groups", groups, 1)
    channels = x.shape[1]
    if channels % groups:
        raise ValueError(f"{function}: groups={groups}: must divide {channels}, the channels of {name}")
    y, memory = image_target(function, out, x.shape, x)
    if x.size:
        parts = channels // groups if back else groups
        _native.channel_shuffle(nhwc(x).reshape(-1, channels), memory.reshape(-1, channels), parts, context())
    return returned(y, out)


def channel_shuffle(x, groups, *, out=None):
    """The channels of x (N, C, ...), of each group in turn, as torch.nn.functional.channel_shuffle (Zhang et al. 2018).

    y[n, k * groups + g] = x[n, g * (C / groups) + k]; groups must divide C.

    >>> import numpy as np; from fastconv import ops
    >>> ops.channel_shuffle(np.arange(6, dtype=np.float32).reshape(1, 6, 1), 2).ravel().tolist()
    [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """
    return _shuffle_channels("channel_shuffle", "x", x, groups, out, False)


def channel_shuffle_backward(dy, groups, *, out=None):
    """The gradient of `channel_shuffle`: dx[n, g * (C / groups) + k] = dy[n, k * groups + g].

    >>> import numpy as np; from fastconv import ops
    >>> x = np.arange(6, dtype=np.float32).reshape(1, 6, 1)
    >>> ops.channel_shuffle_backward(ops.channel_shuffle(x, 2), 2).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    return _shuffle_channels("channel_shuffle_backward", "dy", dy, groups, out, True)


# ---------------------------------------------------------------------------------------------- windows and columns


_cached_plan = lru_cache(maxsize=1024)(_native.UnfoldPlan)


def _plan(function, x_shape, kernel_size, dilation, padding, stride):
    return _cached_plan(
        function,
        x_shape,
        pair(function, "kernel_size", kernel_size, 1),
        pair(function, "stride", stride, 1),
        pair(function, "padding", padding, 0),
        pair(function, "dilation", dilation, 1),
    )


def _columns(function, name, x, kernel_size, dilation, padding, stride, out):
    array(function, name, x, 4)
    plan = _plan(function, x.shape, kernel_size, dilation, padding, stride)
    y = target(function, out, plan.columns_shape, x)
    # Planes are what columns are made of: NCHW memory is read as it is.
    planes = x.flags.c_contiguous and x.flags.aligned and not channels_last(x).flags.c_contiguous
    plan.unfold(x if planes else nhwc(x), y, planes, context())
    return returned(y, out)


def _image(function, name, columns, x_shape, plan, out):
    memory = contiguous(of_shape(function, name, columns, plan.columns_shape))
    y, image = image_target(function, out, x_shape, columns)
    plan.fold(memory, image, context())
    return returned(y, out)


def unfold(x, kernel_size, *, dilation=1, padding=0, stride=1, out=None):
    """The windows of x (N, C, H, W) as columns (N, C * R * S, L), as torch.nn.functional.unfold (im2col).

    columns[n, (c * R + r) * S + s, p * Q + q] = x[n, c, h, w], h = p * stride + r * dilation - padding and w likewise,
    0 on the padding; R, S = kernel_size, L = P * Q windows. Columns lie in C order, whatever that of x.
    kernel_size, dilation, padding, stride: an int or (height, width).

    >>> import numpy as np; from fastconv import ops
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> ops.unfold(x, 2).tolist()
    [[[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0], [3.0, 4.0, 6.0, 7.0], [4.0, 5.0, 7.0, 8.0]]]
    """
    return _columns("unfold", "x", x, kernel_size, dilation, padding, stride, out)


def unfold_backward(dcolumns, x_shape, kernel_size, *, dilation=1, padding=0, stride=1, out=None):
    """The gradient of `unfold`: dcolumns (N, C * R * S, L) -> dx x_shape (N, C, H, W), by `fold`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.unfold_backward(np.ones((1, 4, 4), np.float32), (1, 1, 3, 3), 2).tolist()
    [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]
    """
    function = "unfold_backward"
    array(function, "dcolumns", dcolumns, 3)
    x_shape = sizes(function, "x_shape", x_shape, 4)
    plan = _plan(function, x_shape, kernel_size, dilation, padding, stride)
    return _image(function, "dcolumns", dcolumns, x_shape, plan, out)


def fold(columns, output_size, kernel_size, *, dilation=1, padding=0, stride=1, out=None):
    """The sum of windows: columns (N, C * R * S, L) -> y (N, C, H, W), as torch.nn.functional.fold (col2im).

    The adjoint of `unfold`: y[n, c, h, w] sums the columns that `unfold` would copy it to, in ascending order of r, s.
    output_size: H and W. Results lie in (N, H, W, C) memory.

    >>> import numpy as np; from fastconv import ops
    >>> ops.fold(np.ones((1, 4, 4), np.float32), (3, 3), 2).tolist()
    [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]
    """
    array("fold", "columns", columns, 3)
    height, width = pair("fold", "output_size", output_size, 1)
    rows, taps = pair("fold", "kernel_size", kernel_size, 1)
    if columns.shape[1] % (rows * taps):
        raise ValueError(
            f"fold: kernel_size={kernel_size!r}: its {rows * taps} taps must divide {columns.shape[1]}, the second "
            f"dimension of columns"
        )
    x_shape = (columns.shape[0], columns.shape[1] // (rows * taps), height, width)
    plan = _plan("fold", x_shape, kernel_size, dilation, padding, stride)
    return _image("fold", "columns", columns, x_shape, plan, out)


def fold_backward(dy, kernel_size, *, dilation=1, padding=0, stride=1, out=None):
    """The gradient of `fold`: dy (N, C, H, W) -> dcolumns (N, C * R * S, L), by `unfold`.

    >>> import numpy as np; from fastconv import ops
    >>> ops.fold_backward(np.ones((1, 2, 3, 3), np.float32), 2).shape
    (1, 8, 4)
    """
    return _columns("fold_backward", "dy", dy, kernel_size, dilation, padding, stride, out)
