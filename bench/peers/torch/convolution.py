"""Convolutions of every rank, transposed ones too."""

import numpy as np
import torch

from bench.peers import Unsupported
from bench.peers.torch.memory import CHANNELS_LAST, tensor


def prepacked(size, operands, pads):
    """forward on channels-last images with weights in the blocked format oneDNN asks for."""
    x, weight = (tensor(operands[name], "channels_last") for name in ("x", "weight"))
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        weight, pads, list(size.stride), list(size.dilation), size.groups, list(size.x_shape)
    )
    rest = pads, list(size.stride), list(size.dilation), size.groups, "none", [], ""
    return lambda: torch.ops.mkldnn._convolution_pointwise(x, packed, None, *rest)


def convolution(size, pass_, mode, operands):
    """By aten::convolution, the op behind all of torch.nn.functional's."""
    if any(first != last for first, last in size.sides):
        raise Unsupported("asymmetric padding is a copy of its own")
    if mode == "channels_last" and len(size.x_shape) not in CHANNELS_LAST:
        raise Unsupported("there is no channels-last memory of sequences")
    pads = [first for first, _ in size.sides]
    if mode == "prepacked":
        return prepacked(size, operands, pads)
    output_pads = size.each("output_padding") if size.transposed else [0] * len(pads)
    geometry = size.each("stride"), pads, size.each("dilation"), size.transposed, output_pads, size.groups
    held = {name: tensor(value, mode) for name, value in operands.items()}
    if pass_.startswith("forward"):
        return lambda: torch.convolution(held["x"], held["weight"], None, *geometry)
    x = held.get("x", torch.empty(0))
    weight = held.get("weight", torch.empty(0))
    if pass_ == "backward_input":
        x = tensor(np.empty(size.x_shape, np.float32), mode)  # its shape alone is used
        mask, index = (True, False, False), 0
    else:
        weight = tensor(np.empty(size.weight_shape, np.float32), mode)
        mask, index = (False, True, True), 1
    return lambda: torch.ops.aten.convolution_backward(held["dy"], x, weight, [size.k], *geometry, mask)[index]
