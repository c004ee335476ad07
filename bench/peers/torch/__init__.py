"""PyTorch: NCHW, channels-last, and oneDNN's own weight format prepared beforehand (what its compiler calls).

A module a noun; its functions take (size, pass, mode, operands) and return the call that is timed.
"""

import torch

from bench.peers.torch import (
    calls,
    convolution,
    dropout,
    elementwise,
    normalization,
    pooling,
    products,
    recurrent,
    resampling,
    softmax,
)

VERSION = torch.__version__
OPS = {
    "conv2d": convolution.convolution,
    "maps": convolution.convolution,
    "gemm": products.gemm,
    "pool2d": pooling.pool2d,
    "interpolate": resampling.interpolate,
    "rearrange": resampling.rearrange,
    "dropout": dropout.dropout,
    "activation": elementwise.activation,
    "elementwise": elementwise.elementwise,
    "softmax": softmax.softmax,
    "cross_entropy": softmax.cross_entropy,
    "ctc": softmax.ctc,
    "norm": normalization.norm,
    "recurrent": recurrent.recurrent,
    "call": calls.tiny,
}


def configure(options):
    torch.set_num_threads(options["threads"])
    torch.set_grad_enabled(False)


def fetch(result):
    """A tensor, or several, as arrays."""
    if isinstance(result, tuple):
        return tuple(map(fetch, result))
    return result.detach().numpy()


def prepare(task, mode, options, operands):
    return OPS[task.op](task.size, task.pass_, mode, operands), fetch
