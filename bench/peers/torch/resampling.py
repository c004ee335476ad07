"""Images made larger, and numbers moved to other places."""

import numpy as np
import torch
from torch.nn import functional

from bench.peers import Unsupported
from bench.peers.torch.memory import tensor


def interpolate(size, pass_, mode, operands):
    kind = pass_.removesuffix("_backward")
    if pass_ == kind:
        x = tensor(operands["x"], mode)
        return lambda: functional.interpolate(x, scale_factor=size.factor, mode=kind)
    dy, sides = tensor(operands["dy"], mode), list(size.y_shape[2:])
    backward = getattr(torch.ops.aten, f"upsample_{kind}2d_backward")
    corners = () if kind == "nearest" else (False,)
    return lambda: backward(dy, sides, size.x_shape, *corners, float(size.factor), float(size.factor))


def rearrange(size, pass_, mode, operands):
    x = tensor(next(iter(operands.values())), mode)
    if pass_ in ("pixel_shuffle", "pixel_unshuffle"):
        # Without a copy some results are views of what another op would have to copy.
        function = getattr(functional, pass_)
        return lambda: function(x, size.factor)
    if pass_ == "channel_shuffle":
        return lambda: torch.channel_shuffle(x, size.groups)
    if pass_ == "unfold":
        return lambda: functional.unfold(x, **size.windows)
    if pass_ == "fold":
        if mode == "channels_last":
            raise Unsupported("columns have one memory order")
        return lambda: functional.fold(x, size.x_shape[2:], **size.windows)
    sides = [size.padding] * 4
    if pass_ == "pad":
        return lambda: functional.pad(x, sides, mode="reflect")
    like = tensor(np.empty(size.x_shape, np.float32), mode)  # its shape alone is used
    return lambda: torch.ops.aten.reflection_pad2d_backward(x, like, sides)
