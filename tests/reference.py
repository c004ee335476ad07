"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import math

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations

ACTIVATIONS = ["relu", "relu6", "leaky_relu", "exp", "elu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"]
ACTIVATIONS += ["hardswish", "hardsigmoid", "softplus", "mish", "selu", "celu", "softsign", "hardtanh", "logsigmoid"]
ACTIVATIONS += ["threshold"]
PARAMETERS = {"threshold": (0.5, -0.25)}  # of those that have no defaults, for tests
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _gelu_inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)


def activation(name, x, alpha=None, beta=None):
    """f(x). alpha: negative slope of leaky_relu, alpha of elu and celu, beta of softplus, least of hardtanh, threshold;
    beta: threshold of softplus, most of hardtanh, value of threshold."""
    with np.errstate(all="ignore"):  # also a signalling NaN in x
        x = np.asarray(x, np.float64)
        match name:
            case "relu":
                return np.maximum(x, 0)
            case "relu6":
                return np.minimum(np.maximum(x, 0), 6)
            case "leaky_relu":
                return np.where(x > 0, x, (0.01 if alpha is None else alpha) * x)
            case "exp":
                return np.exp(x)
            case "elu":
                return np.where(x > 0, x, (1.0 if alpha is None else alpha) * np.expm1(x))
            case "sigmoid":
                return _sigmoid(x)
            case "tanh":
                return np.tanh(x)
            case "gelu":
                return x * 0.5 * _erfc(-x / math.sqrt(2))
            case "gelu_tanh":
                return x * _sigmoid(2 * _gelu_inner(x))
            case "silu":
                return x * _sigmoid(x)
            case "hardswish":
                return x * np.clip(x / 6 + 0.5, 0, 1)
            case "hardsigmoid":
                return np.clip(x / 6 + 0.5, 0, 1)
            case "softplus":
                scale, threshold = 1.0 if alpha is None else alpha, 20.0 if beta is None else beta
                return np.where(scale * x > threshold, x, np.logaddexp(0, scale * x) / scale)
            case "mish":
                return x * np.tanh(np.logaddexp(0, x))
            case "selu":
                return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x))
            case "celu":
                alpha = 1.0 if alpha is None else alpha
                return np.where(x > 0, x, alpha * np.expm1(x / alpha))
            case "softsign":
                return x / (1 + np.abs(x))
            case "hardtanh":
                return np.clip(x, -1.0 if alpha is None else alpha, 1.0 if beta is None else beta)
            case "logsigmoid":
                return -np.logaddexp(0, -x)
            case "threshold":
                least, value = PARAMETERS[name] if alpha is None else (alpha, beta)
                return np.where(x <= least, value, x)
    raise KeyError(name)


def activation_derivative(name, x, alpha=None, beta=None):
    """f'(x), with PyTorch's value at the kinks."""
    with np.errstate(all="ignore"):
        x = np.asarray(x, np.float64)
        s = _sigmoid(x)
        match name:
            case "relu":
                return np.where(x <= 0, 0.0, 1.0)
            case "relu6":
                return np.where((x > 0) & (x < 6), 1.0, 0.0)
            case "leaky_relu":
                return np.where(x > 0, 1.0, 0.01 if alpha is None else alpha)
            case "exp":
                return np.exp(x)
            case "elu":
                return np.where(x > 0, 1.0, (1.0 if alpha is None else alpha) * np.exp(x))
            case "sigmoid":
                return s * _sigmoid(-x)
            case "tanh":
                return 1 / np.cosh(x) ** 2
            case "gelu":
                return 0.5 * _erfc(-x / math.sqrt(2)) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
            case "gelu_tanh":
                gate, inner = _sigmoid(2 * _gelu_inner(x)), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
                return gate + x * gate * (1 - gate) * 2 * inner
            case "silu":
                return s * (1 + x * _sigmoid(-x))
            case "hardswish":
                return np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))
            case "hardsigmoid":
                return np.where((x > -3) & (x < 3), 1 / 6, 0.0)
            case "softplus":
                scale, threshold = 1.0 if alpha is None else alpha, 20.0 if beta is None else beta
                return np.where(scale * x > threshold, 1.0, _sigmoid(scale * x))
            case "mish":
                gate = np.tanh(np.logaddexp(0, x))
                return gate + x * s * (1 - gate) * (1 + gate)
            case "selu":
                return SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * np.exp(x))
            case "celu":
                return np.where(x > 0, 1.0, np.exp(x / (1.0 if alpha is None else alpha)))
            case "softsign":
                return 1 / (1 + np.abs(x)) ** 2
            case "hardtanh":
                least, most = -1.0 if alpha is None else alpha, 1.0 if beta is None else beta
                return np.where((x > least) & (x < most), 1.0, 0.0)
            case "logsigmoid":
                return _sigmoid(-x)
            case "threshold":
                return np.where(x <= (PARAMETERS[name][0] if alpha is None else alpha), 0.0, 1.0)
    raise KeyError(name)


# ------------------------------------------------------------------------------------------------------- elementwise


def _summed_to(shape, x):
    """The sum over the axes along which an array of this shape was repeated."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size != x.shape[axis])
    return x.sum(axis=repeated, keepdims=True)


def add(a, b):
    """a + b"""
    return np.asarray(a, np.float64) + np.asarray(b, np.float64)


def add_backward(dy, a_shape, b_shape):
    """(da, db)"""
    dy = np.asarray(dy, np.float64)
    return _summed_to(a_shape, dy), _summed_to(b_shape, dy)


def mul(a, b):
    """a * b"""
    return np.asarray(a, np.float64) * np.asarray(b, np.float64)


def mul_backward(dy, a, b):
    """(da, db)"""
    dy = np.asarray(dy, np.float64)
    return _summed_to(np.shape(a), dy * b), _summed_to(np.shape(b), dy * a)


def _slopes(x, weight):
    return np.asarray(weight, np.float64).reshape(-1, *(1,) * (np.ndim(x) - 2))


def prelu(x, weight):
    """x where x > 0, else weight[channel] * x"""
    return np.where(np.asarray(x) > 0, x, _slopes(x, weight) * x)


def prelu_backward(dy, x, weight):
    """(dx, dweight)"""
    dy, x, slopes = np.asarray(dy, np.float64), np.asarray(x, np.float64), _slopes(x, weight)
    dweight = _summed_to(slopes.shape, np.where(x > 0, 0.0, dy * x))
    return np.where(x > 0, dy, slopes * dy), dweight.reshape(np.shape(weight))


def glu(x, axis=-1):
    """a * sigmoid(b) of the halves of x"""
    a, b = np.split(np.asarray(x, np.float64), 2, axis)
    return a * _sigmoid(b)


def glu_backward(dy, x, axis=-1):
    """dx"""
    a, b = np.split(np.asarray(x, np.float64), 2, axis)
    gate = _sigmoid(b)
    return np.concatenate([dy * gate, dy * a * gate * _sigmoid(-b)], axis)


def log_softmax(x, axis=-1):
    """x - max - log(sum(exp(x - max)))"""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def softmax(x, axis=-1):
    """exp(x - max) / sum(exp(x - max))"""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy, y, axis=-1):
    """y * (dy - sum(dy * y))"""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy, y, axis=-1):
    """dy - exp(y) * sum(dy)"""
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)


# ----------------------------------------------------------------------------------------------- matrix products


def gemm(a, b, *, transpose_a=False, transpose_b=False, alpha=1.0, beta=0.0, bias=None, out=None):
    """alpha * op(a) @ op(b) + beta * out + bias"""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    y = alpha * ((a.T if transpose_a else a) @ (b.T if transpose_b else b))
    if beta != 0:
        y = y + beta * np.asarray(out, np.float64)
    return y if bias is None else y + np.asarray(bias, np.float64)


def matmul_backward(dy, a, b):
    """(da, db) of a @ b, the matrices of a batch one by one; a broadcast operand's gradients add up."""
    batch = dy.shape[:-2]
    da_stack, db_stack = (np.zeros((math.prod(value.shape[:-2]), *value.shape[-2:])) for value in (a, b))
    a_all, b_all = (np.broadcast_to(value, (*batch, *value.shape[-2:])) for value in (a, b))
    a_at, b_at = (np.broadcast_to(np.arange(math.prod(v.shape[:-2])).reshape(v.shape[:-2]), batch) for v in (a, b))
    for index in np.ndindex(batch):
        dy_one = np.asarray(dy[index], np.float64)
        da_stack[a_at[index]] += dy_one @ b_all[index].T
        db_stack[b_at[index]] += a_all[index].T @ dy_one
    return da_stack.reshape(a.shape), db_stack.reshape(b.shape)


def linear(x, weight, bias=None):
    """x @ weight.T + bias"""
    y = np.asarray(x, np.float64) @ np.asarray(weight, np.float64).T
    return y if bias is None else y + np.asarray(bias, np.float64)


def linear_backward_input(dy, weight):
    return np.asarray(dy, np.float64) @ np.asarray(weight, np.float64)


def linear_backward_weight(dy, x):
    dy = np.asarray(dy, np.float64).reshape(-1, dy.shape[-1])
    x = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    return dy.T @ x, dy.sum(axis=0)


def embedding(ids, weight):
    rows = [weight[i] for i in np.ravel(ids)]
    return np.array(rows, np.float64).reshape(*np.shape(ids), weight.shape[1])


def embedding_backward(dy, ids, num_embeddings, *, padding_idx=None):
    dweight = np.zeros((num_embeddings, dy.shape[-1]))
    for i, row in zip(np.ravel(ids), dy.reshape(-1, dy.shape[-1]), strict=True):
        if padding_idx is None or i != padding_idx % num_embeddings:
            dweight[i] += row
    return dweight


# ---------------------------------------------------------------------------------------------------- convolution


def _axes(value, rank):
    return (value,) * rank if np.isscalar(value) else tuple(value)


def _sides(padding, rank):
    """(before, after) of each axis."""
    return tuple(_axes(side, 2) for side in _axes(padding, rank))


def _tap(array, tap, sizes, stride, dilation):
    """The view of a padded input (N, C, *padded sizes) that a kernel tap sees, of shape (N, C, *sizes)."""
    axes = zip(tap, sizes, stride, dilation, strict=True)
    return array[(..., *(slice(r * d, r * d + (size - 1) * s + 1, s) for r, size, s, d in axes))]


def conv(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y[n,k,p] = bias[k] + sum over c,r of padded x[n, c, p*stride + r*dilation] * weight[k,c,r] along every axis."""
    (n, c, *inputs), (k, _, *kernel) = x.shape, weight.shape
    rank = len(kernel)
    stride, dilation, sides = _axes(stride, rank), _axes(dilation, rank), _sides(padding, rank)
    axes = zip(inputs, sides, dilation, kernel, stride, strict=True)
    sizes = [(size + sum(side) - d * (taps - 1) - 1) // s + 1 for size, side, d, taps, s in axes]
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *sides))
    weight = np.asarray(weight, np.float64).reshape(groups, k // groups, c // groups, *kernel)
    y = np.zeros((n, groups, k // groups, math.prod(sizes)))
    for tap in np.ndindex(*kernel):
        seen = _tap(padded, tap, sizes, stride, dilation).reshape(n, groups, c // groups, math.prod(sizes))
        y += np.einsum("ngcp,gkc->ngkp", seen, weight[(..., *tap)], optimize=True)
    y = y.reshape(n, k, *sizes)
    return y if bias is None else y + np.asarray(bias, np.float64).reshape(k, *[1] * rank)


def conv_backward_input(dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1):
    """The adjoint of conv in x: each tap sends dy * weight back to where it read."""
    (n, c, *inputs), (k, _, *kernel), (_, _, *sizes) = x_shape, weight.shape, dy.shape
    rank = len(kernel)
    stride, dilation, sides = _axes(stride, rank), _axes(dilation, rank), _sides(padding, rank)
    dy = np.asarray(dy, np.float64).reshape(n, groups, k // groups, math.prod(sizes))
    weight = np.asarray(weight, np.float64).reshape(groups, k // groups, c // groups, *kernel)
    padded = np.zeros((n, c, *(size + sum(side) for size, side in zip(inputs, sides, strict=True))))
    for tap in np.ndindex(*kernel):
        sent = np.einsum("ngkp,gkc->ngcp", dy, weight[(..., *tap)], optimize=True)
        _tap(padded, tap, sizes, stride, dilation)[...] += sent.reshape(n, c, *sizes)
    inside = (slice(before, before + size) for size, (before, _) in zip(inputs, sides, strict=True))
    return padded[(..., *inside)]


def conv_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1):
    """(dweight, dbias): the adjoint of conv in weight, and the sum of dy over images and pixels."""
    (n, c, *_), (k, depth, *kernel), (_, _, *sizes) = x.shape, weight_shape, dy.shape
    rank = len(kernel)
    stride, dilation, sides = _axes(stride, rank), _axes(dilation, rank), _sides(padding, rank)
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *sides))
    dy = np.asarray(dy, np.float64)
    grouped = dy.reshape(n, groups, k // groups, math.prod(sizes))
    dweight = np.zeros((groups, k // groups, depth, *kernel))
    for tap in np.ndindex(*kernel):
        seen = _tap(padded, tap, sizes, stride, dilation).reshape(n, groups, c // groups, math.prod(sizes))
        dweight[(..., *tap)] = np.einsum("ngkp,ngcp->gkc", grouped, seen, optimize=True)
    return dweight.reshape(weight_shape), dy.sum(axis=(0, *range(2, 2 + rank)))


conv1d = conv2d = conv3d = conv
conv1d_backward_input = conv2d_backward_input = conv3d_backward_input = conv_backward_input
conv1d_backward_weight = conv2d_backward_weight = conv3d_backward_weight = conv_backward_weight


def _whole(sizes, kernel, stride, dilation, output_padding):
    """The sizes of a transposed convolution before padding takes its share."""
    axes = zip(sizes, kernel, stride, dilation, output_padding, strict=True)
    return [(size - 1) * s + d * (taps - 1) + 1 + more for size, taps, s, d, more in axes]


def conv_transpose(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """y[n, k, i*stride + r*dilation] += x[n,c,i] * weight[c,k,r] over c,i,r along every axis; then pads are cut off."""
    (n, c, *sizes), (_, k, *kernel) = x.shape, weight.shape
    rank = len(kernel)
    stride, dilation, sides = _axes(stride, rank), _axes(dilation, rank), _sides(padding, rank)
    whole = _whole(sizes, kernel, stride, dilation, _axes(output_padding, rank))
    x = np.asarray(x, np.float64).reshape(n, groups, c // groups, math.prod(sizes))
    weight = np.asarray(weight, np.float64).reshape(groups, c // groups, k, *kernel)
    y = np.zeros((n, groups * k, *whole))
    for tap in np.ndindex(*kernel):
        sent = np.einsum("ngcp,gck->ngkp", x, weight[(..., *tap)], optimize=True)
        _tap(y, tap, sizes, stride, dilation)[...] += sent.reshape(n, groups * k, *sizes)
    y = y[(..., *(slice(before, size - after) for size, (before, after) in zip(whole, sides, strict=True)))]
    return y if bias is None else y + np.asarray(bias, np.float64).reshape(groups * k, *[1] * rank)


def conv_transpose_backward_input(dy, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """The adjoint of conv_transpose in x: each element gathers from where it was sent."""
    (n, c, *sizes), (_, k, *kernel) = x_shape, weight.shape
    rank = len(kernel)
    stride, dilation = _axes(stride, rank), _axes(dilation, rank)
    whole = np.pad(np.asarray(dy, np.float64), ((0, 0), (0, 0), *_sides(padding, rank)))
    weight = np.asarray(weight, np.float64).reshape(groups, c // groups, k, *kernel)
    dx = np.zeros((n, groups, c // groups, math.prod(sizes)))
    for tap in np.ndindex(*kernel):
        seen = _tap(whole, tap, sizes, stride, dilation).reshape(n, groups, k, math.prod(sizes))
        dx += np.einsum("ngkp,gck->ngcp", seen, weight[(..., *tap)], optimize=True)
    return dx.reshape(x_shape)


def conv_transpose_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """(dweight, dbias): the adjoint of conv_transpose in weight, and the sum of dy over images and pixels."""
    (n, c, *sizes), (_, k, *kernel) = x.shape, weight_shape
    rank = len(kernel)
    stride, dilation = _axes(stride, rank), _axes(dilation, rank)
    dy = np.asarray(dy, np.float64)
    whole = np.pad(dy, ((0, 0), (0, 0), *_sides(padding, rank)))
    x = np.asarray(x, np.float64).reshape(n, groups, c // groups, math.prod(sizes))
    dweight = np.zeros((groups, c // groups, k, *kernel))
    for tap in np.ndindex(*kernel):
        seen = _tap(whole, tap, sizes, stride, dilation).reshape(n, groups, k, math.prod(sizes))
        dweight[(..., *tap)] = np.einsum("ngcp,ngkp->gck", x, seen, optimize=True)
    return dweight.reshape(weight_shape), dy.sum(axis=(0, *range(2, 2 + rank)))


conv_transpose1d = conv_transpose2d = conv_transpose3d = conv_transpose
conv_transpose1d_backward_input = conv_transpose2d_backward_input = conv_transpose_backward_input
conv_transpose3d_backward_input = conv_transpose_backward_input
conv_transpose1d_backward_weight = conv_transpose2d_backward_weight = conv_transpose_backward_weight
conv_transpose3d_backward_weight = conv_transpose_backward_weight


# -------------------------------------------------------------------------------------------------------- padding


_NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x, *, padding, mode="constant", value=0.0):
    named = {"constant_values": value} if mode == "constant" else {}
    return np.pad(
        np.asarray(x, np.float64), ((0, 0), (0, 0), *_sides(padding, x.ndim - 2)), _NUMPY_MODES[mode], **named
    )


def pad_backward(dy, x_shape, *, padding, mode="constant"):
    """Padding the numbers of the elements says where each element of dy came from."""
    numbers = pad(np.arange(math.prod(x_shape)).reshape(x_shape), padding=padding, mode=mode, value=-1)
    dx = np.zeros(math.prod(x_shape))
    np.add.at(dx, numbers[numbers >= 0].astype(int), np.asarray(dy, np.float64)[numbers >= 0])
    return dx.reshape(x_shape)


# -------------------------------------------------------------------------------------------------- interpolation


def _keys(distance, a=-0.75):
    """Keys's cubic convolution kernel (1981)."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _coordinates(size, out, factor, mode, align_corners):
    """Where the outputs lie in pixels of the input, computed in float32: that is part of the definition."""
    steps = np.arange(out, dtype=np.float32)
    if align_corners:
        return steps * (np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.float32(0))
    step = np.float32(1.0 / factor) if factor else np.float32(size) / np.float32(out)
    if mode == "nearest":
        return steps * step
    centres = (steps + np.float32(0.5)) * step
    return centres if mode == "nearest-exact" else centres - np.float32(0.5)


def interpolation_matrix(size, out, factor=None, mode="nearest", align_corners=False):
    """(out, size): what each input counts in each output of one axis."""
    matrix = np.zeros((out, size))
    for i, u in enumerate(_coordinates(size, out, factor, mode, align_corners).astype(np.float64)):
        if mode.startswith("nearest"):
            matrix[i, min(int(u), size - 1)] = 1
        elif mode != "bicubic":  # a hat of width two around every pixel; outside the image, its border
            hat = np.maximum(0, 1 - abs(np.clip(u, 0, size - 1) - np.arange(size)))
            matrix[i] = i == np.arange(size) if size == out else hat
        else:
            first = min(math.floor(u), size - 1)
            u = min(u, first + 1)
            for pixel in range(first - 1, first + 3):
                matrix[i, min(max(pixel, 0), size - 1)] += _keys(u - pixel)
    return matrix


def _interpolation(x_shape, size, scale_factor, mode, align_corners):
    rank = len(x_shape) - 2
    factors = _axes(scale_factor, rank) if size is None else (None,) * rank
    if size is None:
        outs = [math.floor(side * factor) for side, factor in zip(x_shape[2:], factors, strict=True)]
    else:
        outs = _axes(size, rank)
    return [
        interpolation_matrix(side, out, factor, mode, align_corners)
        for side, out, factor in zip(x_shape[2:], outs, factors, strict=True)
    ]


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    matrices = _interpolation(x.shape, size, scale_factor, mode, align_corners)
    y = np.asarray(x, np.float64)
    for axis, matrix in enumerate(matrices, 2):
        y = np.moveaxis(np.tensordot(matrix, y, (1, axis)), 0, axis)
    return y


def interpolate_backward(dy, x_shape, size=None, scale_factor=None, mode="nearest", align_corners=False):
    matrices = _interpolation(x_shape, size, scale_factor, mode, align_corners)
    dx = np.asarray(dy, np.float64)
    for axis, matrix in enumerate(matrices, 2):
        dx = np.moveaxis(np.tensordot(matrix.T, dx, (1, axis)), 0, axis)
    return dx


# -------------------------------------------------------------------------------------------------- rearrangement


def pixel_shuffle(x, factor):
    n, c, h, w = x.shape
    squares = x.reshape(n, c // factor**2, factor, factor, h, w)
    return squares.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // factor**2, h * factor, w * factor)


def pixel_unshuffle(x, factor):
    n, c, h, w = x.shape
    squares = x.reshape(n, c, h // factor, factor, w // factor, factor)
    return squares.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * factor**2, h // factor, w // factor)


def channel_shuffle(x, groups):
    n, c, *sizes = x.shape
    return x.reshape(n, groups, c // groups, *sizes).swapaxes(1, 2).reshape(x.shape)


def channel_shuffle_backward(dy, groups):
    return channel_shuffle(dy, dy.shape[1] // groups)


def unfold(x, kernel_size, *, dilation=1, padding=0, stride=1):
    """A window at a time."""
    (rows, taps), (dh, dw) = _axes(kernel_size, 2), _axes(dilation, 2)
    (top, left), (sh, sw) = _axes(padding, 2), _axes(stride, 2)
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), (top, top), (left, left)))
    n, c, h, w = padded.shape
    columns = [
        padded[:, :, p : p + dh * (rows - 1) + 1 : dh, q : q + dw * (taps - 1) + 1 : dw].reshape(n, c * rows * taps)
        for p in range(0, h - dh * (rows - 1), sh)
        for q in range(0, w - dw * (taps - 1), sw)
    ]
    return np.stack(columns, axis=2)


def unfold_backward(dcolumns, x_shape, kernel_size, **geometry):
    """Unfolding the numbers of the elements (from 1) says where each element of the columns came from."""
    numbers = unfold(np.arange(1, math.prod(x_shape) + 1).reshape(x_shape), kernel_size, **geometry).astype(int)
    dx = np.zeros(math.prod(x_shape) + 1)
    np.add.at(dx, numbers, np.asarray(dcolumns, np.float64))
    return dx[1:].reshape(x_shape)


def fold(columns, output_size, kernel_size, **geometry):
    taps = math.prod(_axes(kernel_size, 2))
    return unfold_backward(
        columns, (len(columns), columns.shape[1] // taps, *_axes(output_size, 2)), kernel_size, **geometry
    )


def fold_backward(dy, kernel_size, **geometry):
    return unfold(dy, kernel_size, **geometry)


# -------------------------------------------------------------------------------------------------------- dropout


def _splitmix(z):
    """The finaliser of splitmix64, on Python's integers."""
    whole = 2**64 - 1
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & whole
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & whole
    return z ^ (z >> 31)


def random_words(key, count):
    """The random numbers of 32 bits that masks are made of: chunks of 16384, each of 16 generators xoshiro128++, whose
    first bit is flipped (the kernels compare signed numbers)."""
    words = []
    rotate = lambda a, bits: (a << np.uint32(bits)) | (a >> np.uint32(32 - bits))
    for chunk in range(-(-count // 16384)):
        seeds = []
        for i in range(32):
            seed = _splitmix(key[1] ^ _splitmix((key[0] + (32 * chunk + i + 1) * 0x9E3779B97F4A7C15) % 2**64))
            seeds += [seed % 2**32, seed >> 32]
        a, b, c, d = np.array(seeds, np.uint32).reshape(4, 16)
        for _ in range(-(-min(16384, count - 16384 * chunk) // 16)):
            words.append(rotate(a + d, 7) + a)
            shifted = b << np.uint32(9)
            c, d = c ^ a, d ^ b
            b, a = b ^ c, a ^ d
            c, d = c ^ shifted, rotate(d, 11)
    return np.concatenate(words)[:count] ^ np.uint32(1 << 31)


def dropout(x, mask, p):
    return np.asarray(x, np.float64) * mask / (1 - p) if p < 1 else 0.0 * x


def dropout_backward(dy, mask, p):
    return dropout(dy, mask, p)


# -------------------------------------------------------------------------------------------------------- pooling


def pool_windows(size, kernel, stride, pad_begin, pad_end, dilation=1, ceil_mode=False, include_pad=True):
    """Of each window of one dimension: (positions in the input, extent an average counts). None where there is none."""
    room = size + pad_begin + pad_end - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + pad_begin:
        count -= 1
    windows = []
    for start in (stride * i - pad_begin for i in range(count)):
        positions = [start + dilation * r for r in range(kernel) if 0 <= start + dilation * r < size]
        extent = min(start + kernel, size + pad_end) - start if include_pad else len(positions)
        windows.append((positions, extent))
    return windows or None


def adaptive_windows(size, out):
    """As pool_windows, of an adaptive pooling."""
    spans = [range(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
    return [(list(span), len(span)) for span in spans]


def max_pool2d(x, rows, columns):
    """(y, indices) for the windows of both dimensions; x (N, C, H, W). The first maximum, or the last NaN."""
    width = x.shape[3]
    y = np.empty((*x.shape[:2], len(rows), len(columns)))
    indices = np.empty(y.shape, np.int64)
    for p, (taps_h, _) in enumerate(rows):
        for q, (taps_w, _) in enumerate(columns):
            at = np.array([h * width + w for h in taps_h for w in taps_w])
            window = x[:, :, taps_h][:, :, :, taps_w].reshape(*x.shape[:2], -1).astype(np.float64)
            first = np.argmax(window, axis=2)
            last_nan = window.shape[2] - 1 - np.argmax(np.isnan(window)[:, :, ::-1], axis=2)
            chosen = np.where(np.isnan(window).any(axis=2), last_nan, first)
            indices[:, :, p, q] = at[chosen]
            y[:, :, p, q] = np.take_along_axis(window, chosen[:, :, None], axis=2)[:, :, 0]
    return y, indices


def max_pool2d_backward(dy, indices, x_shape):
    batch, channels, height, width = x_shape
    dx = np.zeros((batch, channels, height * width))
    n, c = np.indices((batch, channels))[:, :, :, None]
    np.add.at(dx, (n, c, indices.reshape(batch, channels, -1)), dy.reshape(batch, channels, -1).astype(np.float64))
    return dx.reshape(x_shape)


def avg_pool2d(x, rows, columns):
    y = np.empty((*x.shape[:2], len(rows), len(columns)))
    for p, (taps_h, height) in enumerate(rows):
        for q, (taps_w, width) in enumerate(columns):
            window = x[:, :, taps_h][:, :, :, taps_w].astype(np.float64)
            y[:, :, p, q] = window.sum(axis=(2, 3)) / (height * width)
    return y


def avg_pool2d_backward(dy, x_shape, rows, columns):
    dx = np.zeros(x_shape)
    for p, (taps_h, height) in enumerate(rows):
        for q, (taps_w, width) in enumerate(columns):
            share = dy[:, :, p, q].astype(np.float64) / (height * width)
            dx[:, :, np.array(taps_h)[:, None], np.array(taps_w)] += share[:, :, None, None]
    return dx


def lp_pool2d(x, norm_type, rows, columns, taps):
    """taps: of a whole window, to which those that hang over the end are scaled."""
    return (avg_pool2d(x.astype(np.float64) ** norm_type, rows, columns) * taps) ** (1 / norm_type)


def lp_pool2d_backward(dy, x, norm_type, rows, columns, taps):
    wide, y = x.astype(np.float64), lp_pool2d(x, norm_type, rows, columns, taps)
    return avg_pool2d_backward(dy * y ** (1 - norm_type) * taps, x.shape, rows, columns) * wide ** (norm_type - 1)


def max_unpool2d(x, indices, output_size):
    y = np.zeros((*x.shape[:2], math.prod(output_size)))
    for n, c in np.ndindex(*x.shape[:2]):
        for value, at in zip(x[n, c].ravel(), indices[n, c].ravel(), strict=True):
            y[n, c, at] = value
    return y.reshape(*x.shape[:2], *output_size)


def max_unpool2d_backward(dy, indices):
    planes = dy.reshape(*dy.shape[:2], -1).astype(np.float64)
    return np.take_along_axis(planes, indices.reshape(*indices.shape[:2], -1), 2).reshape(indices.shape)


# -------------------------------------------------------------------------------------------------- normalisation


def batch_norm_statistics(x):
    """Mean and biased variance by channel; x (N, C) or (N, C, *sizes)."""
    axes = (0, *range(2, x.ndim))
    wide = x.astype(np.float64)
    return wide.mean(axis=axes), wide.var(axis=axes)


def _by_channel(values, x):
    return np.asarray(values, np.float64).reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm(x, mean, var, weight=None, bias=None, eps=1e-5):
    xhat = (x.astype(np.float64) - _by_channel(mean, x)) / np.sqrt(_by_channel(var, x) + eps)
    scaled = xhat if weight is None else xhat * _by_channel(weight, x)
    return scaled if bias is None else scaled + _by_channel(bias, x)


def batch_norm_backward(dy, x, mean, var, weight=None, eps=1e-5):
    """(dx, dweight, dbias)"""
    axes = (0, *range(2, x.ndim))
    wide = dy.astype(np.float64)
    xhat = batch_norm(x, mean, var, eps=eps)
    scale = (1.0 if weight is None else _by_channel(weight, x)) / np.sqrt(_by_channel(var, x) + eps)
    along = (wide * xhat).mean(axis=axes, keepdims=True)
    dx = scale * (wide - wide.mean(axis=axes, keepdims=True) - xhat * along)
    return dx, (wide * xhat).sum(axis=axes), wide.sum(axis=axes)


def _by_group(x, groups):
    """x (N, C, *sizes) as (N, groups, values of a group)."""
    return x.astype(np.float64).reshape(x.shape[0], groups, -1)


def group_statistics(x, num_groups):
    """Mean and biased variance by image and group; x (N, C, *sizes)."""
    wide = _by_group(x, num_groups)
    return wide.mean(axis=2), wide.var(axis=2)


def _group_hat(x, mean, var, eps):
    groups = mean.shape[1]
    hat = (_by_group(x, groups) - mean[:, :, None]) / np.sqrt(np.asarray(var, np.float64)[:, :, None] + eps)
    return hat.reshape(x.shape)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    hat = _group_hat(x, *group_statistics(x, num_groups), eps)
    scaled = hat if weight is None else hat * _by_channel(weight, x)
    return scaled if bias is None else scaled + _by_channel(bias, x)


def group_norm_backward(dy, x, mean, var, num_groups, weight=None, eps=1e-5):
    """(dx, dweight, dbias)"""
    axes = (0, *range(2, x.ndim))
    hat, wide = _group_hat(x, mean.astype(np.float64), var, eps), dy.astype(np.float64)
    g = _by_group(wide if weight is None else wide * _by_channel(weight, x), num_groups)
    by_group = _by_group(hat, num_groups)
    along = (g * by_group).mean(axis=2, keepdims=True)
    scale = 1.0 / np.sqrt(var.astype(np.float64)[:, :, None] + eps)
    dx = scale * (g - g.mean(axis=2, keepdims=True) - by_group * along)
    return dx.reshape(x.shape), (wide * hat).sum(axis=axes), wide.sum(axis=axes)


def row_statistics(x, ndim):
    """Mean and biased variance over the last `ndim` axes."""
    wide, axes = x.astype(np.float64), tuple(range(x.ndim - ndim, x.ndim))
    return wide.mean(axis=axes), wide.var(axis=axes)


def _row_norm_backward(dy, hat, var, ndim, weight, eps, centered):
    axes, others = tuple(range(hat.ndim - ndim, hat.ndim)), tuple(range(hat.ndim - ndim))
    wide = dy.astype(np.float64)
    g = wide if weight is None else wide * weight.astype(np.float64)
    rest = g - hat * (g * hat).mean(axis=axes, keepdims=True)
    if centered:
        rest = rest - g.mean(axis=axes, keepdims=True)
    scale = 1.0 / np.sqrt(np.asarray(var, np.float64) + eps)
    return rest * np.expand_dims(scale, axes), (wide * hat).sum(axis=others), wide.sum(axis=others)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    ndim = len(normalized_shape)
    axes = tuple(range(x.ndim - ndim, x.ndim))
    mean, var = (np.expand_dims(value, axes) for value in row_statistics(x, ndim))
    hat = (x.astype(np.float64) - mean) / np.sqrt(var + eps)
    scaled = hat if weight is None else hat * weight
    return scaled if bias is None else scaled + bias


def layer_norm_backward(dy, x, mean, var, normalized_shape, weight=None, eps=1e-5):
    """(dx, dweight, dbias)"""
    ndim = len(normalized_shape)
    axes = tuple(range(x.ndim - ndim, x.ndim))
    wide_mean, wide_var = (np.expand_dims(value.astype(np.float64), axes) for value in (mean, var))
    hat = (x.astype(np.float64) - wide_mean) / np.sqrt(wide_var + eps)
    return _row_norm_backward(dy, hat, var, ndim, weight, eps, True)


def rms_norm(x, normalized_shape, weight=None, eps=2.0**-23):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    wide = x.astype(np.float64)
    hat = wide / np.sqrt((wide * wide).mean(axis=axes, keepdims=True) + eps)
    return hat if weight is None else hat * weight


def rms_norm_backward(dy, x, mean_square, normalized_shape, weight=None, eps=2.0**-23):
    """(dx, dweight)"""
    ndim = len(normalized_shape)
    axes = tuple(range(x.ndim - ndim, x.ndim))
    hat = x.astype(np.float64) / np.sqrt(np.expand_dims(mean_square.astype(np.float64), axes) + eps)
    return _row_norm_backward(dy, hat, mean_square, ndim, weight, eps, False)[:2]


def _window_sums(values, before, after):
    """Of (N, C, *sizes): the sums over the channels [c - before, c + after] that there are."""
    channels = values.shape[1]
    sums = [values[:, max(0, c - before) : c + after + 1].sum(axis=1) for c in range(channels)]
    return np.stack(sums, axis=1) if channels else values


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    wide = x.astype(np.float64)
    return wide * (k + alpha / size * _window_sums(wide * wide, size // 2, (size - 1) // 2)) ** -beta


def local_response_norm_backward(dy, x, size, alpha=1e-4, beta=0.75, k=1.0):
    wide, dy = x.astype(np.float64), dy.astype(np.float64)
    d = k + alpha / size * _window_sums(wide * wide, size // 2, (size - 1) // 2)
    terms = _window_sums(dy * wide * d ** (-beta - 1.0), (size - 1) // 2, size // 2)
    return dy * d**-beta - 2.0 * alpha * beta / size * wide * terms


# ------------------------------------------------------------------------------------------------------ recurrence


def sigmoid_of(a):
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def recurrent_cell(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
    """One step of "lstm", "gru", "rnn_tanh" or "rnn_relu": (h, c, saved) with saved for recurrent_cell_backward."""
    from_x, from_h = x @ weight_ih.T + bias_ih, h @ weight_hh.T + bias_hh
    if kind == "lstm":
        i, f, g, o = np.split(from_x + from_h, 4, axis=1)
        i, f, g, o = sigmoid_of(i), sigmoid_of(f), np.tanh(g), sigmoid_of(o)
        c_new = f * c + i * g
        return o * np.tanh(c_new), c_new, (i, f, g, o, c, c_new)
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
        r, z = sigmoid_of(xr + hr), sigmoid_of(xz + hz)
        n = np.tanh(xn + r * hn)
        return (1 - z) * n + z * h, None, (r, z, n, hn, h)
    y = np.tanh(from_x + from_h) if kind == "rnn_tanh" else np.maximum(from_x + from_h, 0)
    return y, None, (y,)


def recurrent_cell_backward(kind, dh, dc, saved):
    """(gradient of the input half before activation, of the hidden half, of h past the product, of c)."""
    if kind == "lstm":
        i, f, g, o, c, c_new = saved
        t = np.tanh(c_new)
        dc = dc + dh * o * (1 - t * t)
        gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
        return np.hstack(gates), np.hstack(gates), 0.0, dc * f
    if kind == "gru":
        r, z, n, hn, h = saved
        dn = dh * (1 - z) * (1 - n * n)
        dr, dz = dn * hn * r * (1 - r), dh * (h - n) * z * (1 - z)
        return np.hstack([dr, dz, dn]), np.hstack([dr, dz, dn * r]), dh * z, None
    (y,) = saved
    gate = dh * (1 - y * y) if kind == "rnn_tanh" else dh * (y > 0)
    return gate, gate, 0.0, None


def recurrent(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False):
    """(y, h_last, c_last, saved of every step) over a sequence x (T, N, I); c for "lstm" alone. None: zeros."""
    x, weight_ih, weight_hh = (np.asarray(a, np.float64) for a in (x, weight_ih, weight_hh))
    state, rows = (x.shape[1], weight_hh.shape[1]), len(weight_hh)
    h, c = (np.zeros(state) if a is None else np.asarray(a, np.float64) for a in (h, c))
    bias_ih, bias_hh = (np.zeros(rows) if a is None else np.asarray(a, np.float64) for a in (bias_ih, bias_hh))
    y, saved = np.zeros((len(x), *state)), [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        h, c, saved[t] = recurrent_cell(kind, x[t], h, c, weight_ih, weight_hh, bias_ih, bias_hh)
        y[t] = h
    return y, h, c, saved


def recurrent_backward(kind, dy, dh, dc, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False):
    """(dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh) for the gradients dy, dh, dc of y, h_last, c_last."""
    x, weight_ih, weight_hh = (np.asarray(a, np.float64) for a in (x, weight_ih, weight_hh))
    y, _, _, saved = recurrent(kind, x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, reverse)
    steps, state, rows = len(x), (x.shape[1], weight_hh.shape[1]), len(weight_hh)
    first = np.zeros(state) if h is None else np.asarray(h, np.float64)
    dy = np.zeros_like(y) if dy is None else np.asarray(dy, np.float64)
    dh, dc = (np.zeros(state) if a is None else np.asarray(a, np.float64) for a in (dh, dc))
    dx, dweight_ih, dweight_hh = np.zeros_like(x), np.zeros_like(weight_ih), np.zeros_like(weight_hh)
    dbias_ih, dbias_hh = np.zeros(rows), np.zeros(rows)
    order = list(reversed(range(steps))) if reverse else list(range(steps))
    for position in reversed(range(steps)):
        t = order[position]
        before = first if position == 0 else y[order[position - 1]]
        from_x, from_h, past, dc = recurrent_cell_backward(kind, dh + dy[t], dc, saved[t])
        dx[t], dh = from_x @ weight_ih, from_h @ weight_hh + past
        dweight_ih += from_x.T @ x[t]
        dweight_hh += from_h.T @ before
        dbias_ih += from_x.sum(axis=0)
        dbias_hh += from_h.sum(axis=0)
    return dx, dh, dc, dweight_ih, dweight_hh, dbias_ih, dbias_hh


# ------------------------------------------------------------------------------------------- losses and optimisers


def softmax_cross_entropy(
    logits, labels, *, axis=-1, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"
):
    """(loss, gradient): the sum of -t log softmax(logits), t = (1 - s) w[label] onehot(label) + s / C w."""
    logits = np.moveaxis(np.asarray(logits, np.float64), axis, -1)
    classes, counts = logits.shape[-1], labels != ignore_index
    weight = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    onehot = (np.where(counts, labels, 0)[..., None] == np.arange(classes)) * weight
    targets = ((1.0 - label_smoothing) * onehot + label_smoothing / classes * weight) * counts[..., None]
    logarithms = log_softmax(logits)
    divisor = weight[labels[counts]].sum() if reduction == "mean" else 1.0
    loss = -np.sum(np.where(targets == 0.0, 0.0, targets * logarithms)) / divisor
    gradient = (np.exp(logarithms) * targets.sum(axis=-1, keepdims=True) - targets) / divisor
    return loss, np.moveaxis(np.where(counts[..., None], gradient, 0.0), -1, axis)


def mean_squared_error(prediction, targets):
    difference = prediction.astype(np.float64) - targets
    return np.mean(difference**2), 2.0 * difference / difference.size


def binary_cross_entropy_with_logits(logits, targets):
    logits, targets = logits.astype(np.float64), targets.astype(np.float64)
    loss = np.mean(targets * np.logaddexp(0.0, -logits) + (1.0 - targets) * np.logaddexp(0.0, logits))
    return loss, (1.0 / (1.0 + np.exp(-logits)) - targets) / logits.size


def binary_cross_entropy(probabilities, targets):
    p, t = probabilities.astype(np.float64), targets.astype(np.float64)
    return -np.mean(t * np.log(p) + (1.0 - t) * np.log(1.0 - p)), (p - t) / (p * (1.0 - p)) / p.size


def sgd(value, grads, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """value after a step for each of grads."""
    value, velocity = value.astype(np.float64), None
    for grad in grads:
        g = grad + weight_decay * value
        if momentum:
            velocity = g if velocity is None else momentum * velocity + g
            g = g + momentum * velocity if nesterov else velocity
        value = value - lr * g
    return value


def adam(value, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """value after a step for each of grads."""
    value = value.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, grad in enumerate(grads, 1):
        g = grad if decoupled else grad + weight_decay * value
        if decoupled:
            value = value * (1.0 - lr * weight_decay)
        mean = betas[0] * mean + (1.0 - betas[0]) * g
        square = betas[1] * square + (1.0 - betas[1]) * g * g
        value = value - lr * (mean / (1.0 - betas[0] ** step)) / (np.sqrt(square / (1.0 - betas[1] ** step)) + eps)
    return value
