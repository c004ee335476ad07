"""Arrays as tensors in the memory order of a mode."""

import numpy as np
import torch

from bench.peers import Unsupported

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def tensor(array, mode):
    result = torch.from_numpy(np.ascontiguousarray(array))
    if mode == "nchw" or result.dim() not in CHANNELS_LAST:
        return result
    return result.to(memory_format=CHANNELS_LAST[result.dim()])


def in_mode(size, mode, operands):
    """{name: tensor}: of as many dimensions as size.shape in the mode's order."""
    if mode == "channels_last" and len(size.shape) not in CHANNELS_LAST:
        raise Unsupported("images alone have channels-last memory")
    return {key: tensor(value, mode if value.ndim == len(size.shape) else "nchw") for key, value in operands.items()}
