"""What one writes without a library: im2col by sliding windows and NumPy's matrix product, ufuncs, copies of views.

Each function takes (size, pass, operands) and returns the call that is timed.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bench import tasks
from bench.peers import Unsupported

VERSION = np.__version__


def columns(x, size):
    """x (N, H, W, C) -> (N * P * Q, C * R * S), a copy."""
    padded = np.pad(x, ((0, 0), *size.padding, (0, 0)))
    extents = [(kernel - 1) * d + 1 for kernel, d in zip(size.kernel, size.dilation, strict=True)]
    windows = sliding_window_view(padded, extents, (1, 2))
    (sh, sw), (dh, dw) = size.stride, size.dilation
    return windows[:, ::sh, ::sw, :, ::dh, ::dw].reshape(-1, size.c * size.kernel[0] * size.kernel[1])


def unfolded_sum(dcolumns, size):
    """The adjoint of columns: (N * P * Q, C * R * S) -> (N, H, W, C)."""
    n, _, p, q = size.y_shape
    taps = dcolumns.reshape(n, p, q, size.c, *size.kernel)
    (top, bottom), (left, right) = size.padding
    dx = np.zeros((n, size.h + top + bottom, size.w + left + right, size.c), np.float32)
    (sh, sw), (dh, dw) = size.stride, size.dilation
    for r in range(size.kernel[0]):
        for s in range(size.kernel[1]):
            dx[:, r * dh : r * dh + p * sh : sh, s * dw : s * dw + q * sw : sw] += taps[..., r, s]
    return dx[:, top : top + size.h, left : left + size.w]


def conv2d(size, pass_, operands):
    if size.groups != 1:
        raise Unsupported("one matrix product has no groups")
    n, k, p, q = size.y_shape
    memory = {name: value.transpose(0, 2, 3, 1) for name, value in operands.items() if name != "weight"}
    if pass_ == "backward_weight":
        dy = memory["dy"].reshape(-1, k)
        return lambda: (dy.T @ columns(memory["x"], size)).reshape(size.weight_shape)
    weight = operands["weight"].reshape(k, -1)
    if pass_ == "backward_input":
        dy = memory["dy"].reshape(-1, k)
        return lambda: unfolded_sum(dy @ weight, size).transpose(0, 3, 1, 2)
    transposed = np.ascontiguousarray(weight.T)
    return lambda: (columns(memory["x"], size) @ transposed).reshape(n, p, q, k).transpose(0, 3, 1, 2)


def gemm(size, pass_, operands):
    a, b, out = operands["a"], operands["b"], np.empty(size.c_shape, np.float32)
    b = b.T if size.linear else b
    return lambda: np.matmul(a, b, out=out)


def activation(size, name, operands):
    if "dy" in operands:
        return activation_backward(name, **operands)
    x, out = operands["x"], np.empty_like(operands["x"])
    if name == "relu":
        return lambda: np.maximum(x, 0, out=out)
    if name in ("tanh", "exp"):
        function = getattr(np, name)
        return lambda: function(x, out=out)
    if name in ("sigmoid", "silu"):
        scale = x if name == "silu" else np.float32(1)
        return lambda: np.divide(scale, 1 + np.exp(-x), out=out)
    if name == "softsign":
        return lambda: np.divide(x, 1 + np.abs(x), out=out)
    if name == "hardtanh":
        return lambda: np.clip(x, -1, 1, out=out)
    raise Unsupported(f"NumPy has no function for {name}")


def elementwise(size, name, operands):
    a, b = (operands[key].transpose(0, 2, 3, 1) for key in "ab")  # as they lie
    function, out = np.multiply if name in ("mul", "gate") else np.add, np.empty(a.shape, np.float32)
    return lambda: function(a, b, out=out).transpose(0, 3, 1, 2)


def activation_backward(name, dy, saved):
    if name == "relu_backward":
        return lambda: dy * (saved > 0)
    if name == "sigmoid_backward":
        return lambda: dy * (saved * (1 - saved))
    if name == "tanh_backward":
        return lambda: dy * (1 - saved * saved)
    raise Unsupported(f"NumPy has no function for {name}")


def softmax(size, pass_, operands):
    axis = size.axis
    if pass_ == "softmax_backward":
        dy, y = operands["dy"], operands["y"]
        return lambda: y * (dy - (dy * y).sum(axis=axis, keepdims=True))
    if pass_ == "log_softmax_backward":
        dy, y = operands["dy"], operands["y"]
        return lambda: dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)
    x = operands["x"]

    def forward():
        shifted = x - x.max(axis=axis, keepdims=True)
        e = np.exp(shifted)
        total = e.sum(axis=axis, keepdims=True)
        return e / total if pass_ == "softmax" else shifted - np.log(total)

    return forward


def cross_entropy(size, pass_, operands):
    logits, labels = operands["logits"], np.expand_dims(operands["labels"], size.axis)

    def training():
        y = np.exp(logits - logits.max(axis=size.axis, keepdims=True))
        y /= y.sum(axis=size.axis, keepdims=True)
        at = np.take_along_axis(y, labels, size.axis)
        np.log(at).mean()
        np.put_along_axis(y, labels, at - 1, size.axis)
        y *= np.float32(1 / labels.size)
        return y

    return training


def interpolate(size, pass_, operands):
    x = np.moveaxis(operands["x"], 1, -1)
    return lambda: np.moveaxis(x.repeat(size.factor, axis=1).repeat(size.factor, axis=2), -1, 1)


def rearrange(size, pass_, operands):
    """Copies of views, from and to NHWC memory."""
    x, factor = np.moveaxis(operands["x"], 1, -1), size.factor
    n, h, w, c = x.shape
    if pass_ == "pad":
        sides = ((0, 0), (size.padding,) * 2, (size.padding,) * 2, (0, 0))
        return lambda: np.moveaxis(np.pad(x, sides, "reflect"), -1, 1)
    if pass_ == "channel_shuffle":
        parts, shape = x.reshape(n, h, w, size.groups, -1).swapaxes(3, 4), x.shape
    elif pass_ == "pixel_shuffle":
        parts = x.reshape(n, h, w, -1, factor, factor).transpose(0, 1, 4, 2, 5, 3)
        shape = (n, h * factor, w * factor, c // factor**2)
    else:
        parts = x.reshape(n, h // factor, factor, w // factor, factor, c).transpose(0, 1, 3, 5, 2, 4)
        shape = (n, h // factor, w // factor, c * factor**2)
    return lambda: np.moveaxis(np.ascontiguousarray(parts).reshape(shape), -1, 1)


def dropout(size, pass_, operands):
    x, p, rng = operands["x"], tasks.OPS["dropout"].p, np.random.default_rng(0)
    scale = np.float32(1 / (1 - p))

    def call():
        keep = rng.random(x.size, np.float32) >= np.float32(p)
        y = x * keep
        y *= scale
        if pass_ == "forward":
            return y
        dx = operands["dy"] * keep
        dx *= scale
        return y, dx

    return call


OPS = {
    "conv2d": conv2d,
    "gemm": gemm,
    "activation": activation,
    "elementwise": elementwise,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "interpolate": interpolate,
    "rearrange": rearrange,
    "dropout": dropout,
}


def configure(options):
    """Nothing: its threads are set in the environment, before it is loaded."""


def prepare(task, mode, options, operands):
    return OPS[task.op](task.size, task.pass_, operands), lambda result: result
