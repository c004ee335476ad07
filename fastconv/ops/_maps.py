"""Convolutions of 1-D, 2-D and 3-D maps and their transposes, by the plans of 2-D convolution.

Everything here is a 3-D convolution: missing axes have size 1. A 3-D convolution is a 2-D one of many slices, in which
the taps of the kernel's depth are further input channels: slice d of the output sees T slices of the input side by side
(`_fold`). Where T is 1 and depths meet one to one, as in all of 1-D and 2-D, the slices are the memory of x as it is.
Else they are copied, at most FOLD_BYTES at a time (or one slice of the output): T writes and reads of an input that is
then multiplied K * R * S times. The other way is a sum of T convolutions, each of which reads and writes y again.

The input gradient is folded too, from dy: each slice of dx is written once, and no two sums meet in one element. With
a depth stride the slices of dx fall into phases, each of which meets its own taps of the depth (as in conv2d_phases.c).

The transposed convolution is the input gradient as a forward pass: its geometry is that of the convolution from its
output to its input.
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import (
    array,
    check_out,
    contiguous,
    empty_images,
    image_target,
    map_of_shape,
    nhwc,
    outs,
    returned,
    shaped,
    sizes,
)
from fastconv.ops._map_geometry import convolution, transposed, volume
from fastconv.ops.convolution import _cached_plan
from fastconv.runtime import context

# Measured on 3 x 3 x 3 convolutions of 16 to 256 channels: 1 to 8 MB within 2 % of each other, 32 MB up to 10 % slower.
FOLD_BYTES = 4 << 20


# ------------------------------------------------------------------------------------------------------------ slices


def _chunks(batch, depths, slice_bytes):
    """(first image, last, first depth, last) of the chunks: whole images, or nearly equal parts of one."""
    fitting = max(1, FOLD_BYTES // max(1, slice_bytes))
    if depths <= fitting:
        images = fitting // depths
        return [(n, min(batch, n + images), 0, depths) for n in range(0, batch, images)]
    parts = -(-depths // fitting)
    cuts = [depths * i // parts for i in range(parts + 1)]
    return [(n, n + 1, cuts[i], cuts[i + 1]) for n in range(batch) for i in range(parts)]


def _inside(offset, step, x_depths, begin, end):
    """The depths [low, high) of [begin, end) whose slice step * d + offset lies in x."""
    low = min(end, max(begin, -(offset // step)))
    return low, max(low, min(end, (x_depths - 1 - offset) // step + 1))


def _fold(memory, groups, offsets, step, depths):
    """Yields (chunk, slices), of x (N, D, H, W, C): for each depth d below `depths` its slices step * d + offset.

    Those of all `offsets` lie side by side in the channels of their group, zeros for those outside x: slices is
    (number, H, W, len(offsets) * C). It is overwritten by the next.
    """
    batch, x_depths, height, width, channels = memory.shape
    taps = len(offsets)
    if (taps, offsets[0], step, depths) == (1, 0, 1, x_depths):
        yield (0, batch, 0, depths), memory.reshape(batch * depths, height, width, channels)
        return
    chunks = _chunks(batch, depths, 4 * taps * height * width * channels)
    x = memory.reshape(batch, x_depths, height, width, groups, channels // groups)
    space = None
    for n, n_end, d, d_end in chunks:
        shape = (n_end - n, d_end - d, height, width, groups, taps, channels // groups)
        if space is None or space.shape != shape:
            space = np.empty(shape, np.float32)
        for t, offset in enumerate(offsets):
            low, high = _inside(offset, step, x_depths, d, d_end)
            space[:, : low - d, ..., t, :] = 0
            space[:, low - d : high - d, ..., t, :] = x[n:n_end, low * step + offset : high * step + offset : step][
                :, : high - low
            ]
            space[:, high - d :, ..., t, :] = 0
        yield (n, n_end, d, d_end), space.reshape(-1, height, width, taps * channels)


def _flat(memory, chunk):
    """The slices of a chunk of memory (N, D, H, W, C), a view (count, H, W, C)."""
    n, n_end, d, d_end = chunk
    return memory[n:n_end, d:d_end].reshape(-1, *memory.shape[2:])


def _slice_plan(g, slices, channels, weight_shape, activation, algorithm):
    """The plan of the 2-D convolution of `slices` slices."""
    pads = (g.pads[2:4], g.pads[4:6])
    shape = (slices, channels, *g.x_shape[3:])
    return _cached_plan(
        g.function, shape, weight_shape, g.stride[1:], pads, g.dilation[1:], g.groups, activation, algorithm
    )


# ------------------------------------------------------------------------------------------------ depthwise, by taps


def _is_depthwise(g):
    """True where folding would spoil it: the taps of the depth would make groups of T channels, which leave most lanes
    of the product idle (measured: 0.03 of the FMA peak). There each slice is a sum of T depthwise convolutions."""
    return g.groups == g.x_shape[1] == g.weight_shape[0] > 1 and g.weight_shape[2] > 1


def _tap_weights(weight):
    """(C, 1, R, S) of each depth tap, and zeros for a slice that no tap meets."""
    taps = [np.ascontiguousarray(weight[:, :, t]) for t in range(weight.shape[2])]
    return [*taps, np.zeros_like(taps[0])]


def _add_slices(x, y, sources, weights, run, run_last, bias, residual):
    """y[n, d] = run_last(... run(x[n, at] with weights[t]) + ...) for (t, at) in sources[d], in that order.

    Sums pass between two slices, which stay in the cache.
    """
    blank, sums = np.zeros((1, *x.shape[2:]), np.float32), np.empty((2, 1, *y.shape[2:]), np.float32)
    for n in range(len(x)):
        for d, links in enumerate(sources):
            added = None if residual is None else residual[n, d : d + 1]
            for i, (t, at) in enumerate(links[:-1]):
                run(x[n, at : at + 1], weights[t], None, added, sums[i % 2], context())
                added = sums[i % 2]
            t, at = links[-1] if links else (-1, None)
            last = blank if at is None else x[n, at : at + 1]
            run_last(last, weights[t], bias, added, y[n, d : d + 1], context())


def _depthwise_forward(g, x, weight, bias, residual, y, activation, algorithm):
    step, depths = g.stride[0], range(x.shape[1])
    sources = [
        [(t, step * d + offset) for t, offset in enumerate(g.offsets) if step * d + offset in depths]
        for d in range(g.y_shape[2])
    ]
    weights = _tap_weights(weight)
    inner, last = (_slice_plan(g, 1, x.shape[-1], weights[0].shape, f, algorithm) for f in (None, activation))
    packed = [inner.pack(tap, context()) for tap in weights]
    _add_slices(x, y, sources, packed, inner.forward, last.forward, bias, residual)


def _depthwise_backward_input(g, dy, weight, dx, algorithm, bias, activation):
    sources = [None] * g.x_shape[2]
    for first, depths, taps, offsets in _phases(g):
        for i in range(depths):
            links = [(t, i + offset) for t, offset in zip(taps, offsets, strict=True) if 0 <= i + offset < dy.shape[1]]
            sources[first + i * g.stride[0]] = links
    weights = _tap_weights(weight)
    plans = [_slice_plan(g, 1, dx.shape[-1], weights[0].shape, f, algorithm) for f in (None, activation)]
    _add_slices(dy, dx, sources, weights, *[plan.transposed_forward for plan in plans], bias, None)


def _depthwise_backward_weight(g, dy, x, algorithm):
    step, depths = g.stride[0], x.shape[1]
    dweight = np.zeros(g.weight_shape, np.float32)
    part = np.empty_like(dweight[:, :, 0])
    for t, offset in enumerate(g.offsets):
        low, high = _inside(offset, step, depths, 0, dy.shape[1])
        if low == high:
            continue
        plan = _slice_plan(g, high - low, x.shape[-1], part.shape, None, algorithm)
        for n in range(len(x)):
            slices = np.ascontiguousarray(x[n, low * step + offset : (high - 1) * step + offset + 1 : step])
            plan.backward_weight(dy[n, low:high], slices, part, None, context())
            dweight[:, :, t] += part
    return dweight


# -------------------------------------------------------------------------------------------------------- the passes


def _forward(g, x, weight, bias, residual, y, activation, algorithm):
    """y = activation(conv(x, weight) + bias + residual), all memory (N, D, H, W, C)."""
    weight = weight.reshape(g.weight_shape)
    if _is_depthwise(g):
        _depthwise_forward(g, x, weight, bias, residual, y, activation, algorithm)
        return
    k, depth, taps, *kernel = g.weight_shape
    weight = np.ascontiguousarray(weight.swapaxes(1, 2)).reshape(k, taps * depth, *kernel)
    packed = None
    for chunk, slices in _fold(x, g.groups, g.offsets, g.stride[0], g.y_shape[2]):
        plan = _slice_plan(g, slices.shape[0], slices.shape[3], weight.shape, activation, algorithm)
        if packed is None or packed.key != plan.packing_key(context()):
            packed = plan.pack(weight, context()) if len(slices) < len(x) * g.y_shape[2] else weight
        added = None if residual is None else _flat(residual, chunk)
        plan.forward(slices, packed, bias, added, _flat(y, chunk), context())


def _phases(g):
    """(first depth, number of depths, taps, offsets) of the depths of x that meet the same taps of the kernel.

    Number i of them meets tap t at depth i + offset of dy.
    """
    step, pad, dilation = g.stride[0], g.pads[0], g.dilation[0]
    for first in range(min(step, g.x_shape[2])):
        taps = [t for t in range(g.weight_shape[2]) if (first + pad - t * dilation) % step == 0]
        offsets = [(first + pad - t * dilation) // step for t in taps]
        yield first, -(-(g.x_shape[2] - first) // step), taps, offsets


def _backward_input(g, dy, weight, dx, algorithm, bias=None, activation=None):
    """dx = activation(the gradient of the convolution's input + bias)."""
    weight = weight.reshape(g.weight_shape)
    if _is_depthwise(g):
        _depthwise_backward_input(g, dy, weight, dx, algorithm, bias, activation)
        return
    k, depth, _, *kernel = g.weight_shape
    grouped = weight.reshape(g.groups, k // g.groups, *g.weight_shape[1:])
    for first, depths, taps, offsets in _phases(g):
        chosen = grouped[:, :, :, taps].transpose(0, 3, 1, 2, 4, 5)
        chosen = np.ascontiguousarray(chosen).reshape(len(taps) * k, depth, *kernel)
        if not taps:  # as of a stride over the kernel: zeros, from past the end of dy
            chosen, offsets = np.zeros((k, depth, *kernel), np.float32), [g.y_shape[2]]
        for (n, n_end, d, d_end), slices in _fold(dy, g.groups, offsets, 1, depths):
            plan = _slice_plan(g, slices.shape[0], g.x_shape[1], chosen.shape, activation, algorithm)
            target = dx[n:n_end, first + d * g.stride[0] : first + (d_end - 1) * g.stride[0] + 1 : g.stride[0]]
            memory = target if target.flags.c_contiguous else np.empty(target.shape, np.float32)
            plan.transposed_forward(slices, chosen, bias, None, memory.reshape(-1, *target.shape[2:]), context())
            if memory is not target:
                target[...] = memory


def _backward_weight(g, dy, x, algorithm):
    """dweight, the sum over chunks in their order."""
    if _is_depthwise(g):
        return _depthwise_backward_weight(g, dy, x, algorithm)
    k, depth, taps, *kernel = g.weight_shape
    dweight = np.zeros((k, taps * depth, *kernel), np.float32)
    for chunk, slices in _fold(x, g.groups, g.offsets, g.stride[0], g.y_shape[2]):
        plan = _slice_plan(g, slices.shape[0], slices.shape[3], dweight.shape, None, algorithm)
        whole = len(slices) == len(x) * g.y_shape[2]
        part = dweight if whole else np.empty_like(dweight)
        plan.backward_weight(_flat(dy, chunk), slices, part, None, context())
        if not whole:
            dweight += part
    return np.ascontiguousarray(dweight.reshape(k, taps, depth, *kernel).swapaxes(1, 2))


def _backward_bias(dy):
    """The sum over the pixels of memory (N, D, H, W, K)."""
    dbias = np.empty(dy.shape[-1], np.float32)
    _native.conv_transpose2d_backward_bias(dy.reshape(-1, len(dbias)), dbias, context())
    return dbias


# ------------------------------------------------------------------------------------------- for the modules of ops


def _memory(x):
    """The memory (N, D, H, W, C) of an (N, C, *sizes) array."""
    return volume(nhwc(x))


def _operands(function, rank, **arrays):
    """Float32 arrays of `rank` spatial axes; the weights made contiguous."""
    for name, value in arrays.items():
        array(function, name, value, rank + 2)
        yield contiguous(value) if name == "weight" else value


def _of_shape(function, name, value, shape):
    """The memory of a map that must have this shape."""
    return volume(map_of_shape(function, name, value, shape))


def _is_flat(g):
    """True where a 2-D convolution takes the maps as they are: those of 1-D and 2-D, unless zeros are added."""
    return g.rank < 3 and g.extra == (0, 0, 0)


def _flat_plan(g, activation, algorithm):
    return _slice_plan(g, *g.x_shape[:2], g.weight_shape[:2] + g.weight_shape[3:], activation, algorithm)


def _image(value):
    """An (N, C, L) array as an image, None as None; what cannot be one is nothing usual (see native/arrays.pxi)."""
    if value is None:
        return None
    return value[:, :, None] if isinstance(value, np.ndarray) and value.ndim == 3 else NotImplemented


def _images(rank, *values):
    """Maps of one or two spatial axes as images."""
    return values if rank == 2 else map(_image, values)


def _as_map(rank, image, out):
    """What an op returns of a result computed as an image."""
    if out is not None:
        return out
    return image if rank == 2 else image[:, :, 0]


def run_forward(
    function, rank, x, weight, bias, residual, stride, padding, dilation, groups, activation, algorithm, out
):
    """What conv1d and conv3d do; arguments as theirs."""
    x, weight = _operands(function, rank, x=x, weight=weight)
    g = convolution(function, x.shape, weight.shape, stride, padding, dilation, groups)
    if _is_flat(g):
        operands = (*_images(rank, x, weight), bias, *_images(rank, residual, out))
        y = _flat_plan(g, activation, algorithm).convolve(*operands, context())
        if y is not NotImplemented:
            return _as_map(rank, y, out)
    bias = None if bias is None else shaped(function, "bias", bias, weight.shape[:1])
    added = None if residual is None else _of_shape(function, "residual", residual, g.y_seen)
    y, memory = image_target(function, out, g.y_seen, x, weight, bias, residual)
    _forward(g, _memory(x), weight, bias, added, volume(memory), activation, algorithm)
    return returned(y, out)


def run_backward_input(function, rank, dy, weight, x_shape, stride, padding, dilation, groups, algorithm, out):
    """What conv1d_backward_input and conv3d_backward_input do."""
    dy, weight = _operands(function, rank, dy=dy, weight=weight)
    x_shape = sizes(function, "x_shape", x_shape, rank + 2)
    g = convolution(function, x_shape, weight.shape, stride, padding, dilation, groups)
    if _is_flat(g):
        dx = _flat_plan(g, None, algorithm).input_gradient(*_images(rank, dy, weight, out), context())
        if dx is not NotImplemented:
            return _as_map(rank, dx, out)
    gradient = _of_shape(function, "dy", dy, g.y_seen)
    dx, memory = image_target(function, out, x_shape, dy, weight)
    _backward_input(g, gradient, weight, volume(memory), algorithm)
    return returned(dx, out)


def run_backward_weight(function, rank, dy, x, weight_shape, stride, padding, dilation, groups, algorithm, out):
    """What conv1d_backward_weight and conv3d_backward_weight do."""
    dy, x = _operands(function, rank, dy=dy, x=x)
    weight_shape = sizes(function, "weight_shape", weight_shape, rank + 2)
    g = convolution(function, x.shape, weight_shape, stride, padding, dilation, groups)
    out = outs(function, out, weight_shape, weight_shape[:1])
    if _is_flat(g):
        operands = (*_images(rank, dy, x, out[0]), out[1])
        gradients = _flat_plan(g, None, algorithm).weight_gradients(*operands, context())
        if gradients is not NotImplemented:
            return _as_map(rank, gradients[0], out[0]), gradients[1]
    gradient = _of_shape(function, "dy", dy, g.y_seen)
    dweight = _backward_weight(g, gradient, _memory(x), algorithm).reshape(weight_shape)
    dbias = _backward_bias(gradient)  # before dweight is written, which may lie where dy does
    return returned(dweight, out[0]), returned(dbias, out[1])


def _extended(g, x):
    """The memory of the input of a transposed convolution, with `g.extra` zeros at the end of each axis."""
    memory = _memory(x)
    if not any(g.extra):
        return memory
    return np.pad(memory, ((0, 0), *((0, more) for more in g.extra), (0, 0)))


def run_transposed(
    function, rank, x, weight, bias, stride, padding, output_padding, dilation, groups, activation, algorithm, out
):
    """What conv_transpose1d, 2d and 3d do."""
    x, weight = _operands(function, rank, x=x, weight=weight)
    g = transposed(function, x.shape, weight.shape, stride, padding, output_padding, dilation, groups)
    if _is_flat(g):
        operands = (*_images(rank, x, weight), bias, *_images(rank, out))
        y = _flat_plan(g, activation, algorithm).convolve_transposed(*operands, context())
        if y is not NotImplemented:
            return _as_map(rank, y, out)
    bias = None if bias is None else shaped(function, "bias", bias, g.x_shape[1:2])
    y, memory = image_target(function, out, g.x_seen, x, weight, bias)
    _backward_input(g, _extended(g, x), weight, volume(memory), algorithm, bias, activation)
    return returned(y, out)


def run_transposed_backward_input(
    function, rank, dy, weight, x_shape, stride, padding, output_padding, dilation, groups, algorithm, out
):
    """What the backward_input of conv_transpose1d, 2d and 3d does."""
    dy, weight = _operands(function, rank, dy=dy, weight=weight)
    x_shape = sizes(function, "x_shape", x_shape, rank + 2)
    g = transposed(function, x_shape, weight.shape, stride, padding, output_padding, dilation, groups)
    if _is_flat(g):
        dy_image, weight_image, out_image = _images(rank, dy, weight, out)
        plan = _flat_plan(g, None, algorithm)
        dx = plan.convolve(dy_image, weight_image, None, None, out_image, context())
        if dx is not NotImplemented:
            return _as_map(rank, dx, out)
    gradient = _of_shape(function, "dy", dy, g.x_seen)
    if any(g.extra):
        if out is not None:
            check_out(function, out, x_shape)
        dx, memory = empty_images(*g.y_seen)
    else:
        dx, memory = image_target(function, out, x_shape, dy, weight)
    _forward(g, gradient, weight, None, None, volume(memory), None, algorithm)
    return returned(dx[tuple(slice(size) for size in x_shape)] if any(g.extra) else dx, out)


def run_transposed_backward_weight(
    function, rank, dy, x, weight_shape, stride, padding, output_padding, dilation, groups, algorithm, out
):
    """What the backward_weight of conv_transpose1d, 2d and 3d does."""
    dy, x = _operands(function, rank, dy=dy, x=x)
    weight_shape = sizes(function, "weight_shape", weight_shape, rank + 2)
    g = transposed(function, x.shape, weight_shape, stride, padding, output_padding, dilation, groups)
    out = outs(function, out, weight_shape, g.x_shape[1:2])
    if _is_flat(g):
        operands = (*_images(rank, x, dy, out[0]), out[1])
        gradients = _flat_plan(g, None, algorithm).weight_gradients(*operands, context(), transposed=True)
        if gradients is not NotImplemented:
            return _as_map(rank, gradients[0], out[0]), gradients[1]
    gradient = _of_shape(function, "dy", dy, g.x_seen)
    dweight = _backward_weight(g, _extended(g, x), gradient, algorithm).reshape(weight_shape)
    dbias = _backward_bias(gradient)  # before dweight is written, which may lie where dy does
    return returned(dweight, out[0]), returned(dbias, out[1])
