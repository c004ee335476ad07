"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import math

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations

ACTIVATIONS = ["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu"]
ACTIVATIONS += ["hardswish", "hardsigmoid", "softplus"]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _gelu_inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def activation(name, x, alpha=None, beta=None):
    """f(x). alpha: negative slope of leaky_relu, alpha of elu, beta of softplus; beta: threshold of softplus."""
    with np.errstate(all="ignore"):  # also a signalling NaN in x
        x = np.asarray(x, np.float64)
        match name:
            case "relu":
                return np.maximum(x, 0)
            case "relu6":
                return np.minimum(np.maximum(x, 0), 6)
            case "leaky_relu":
                return np.where(x > 0, x, (0.01 if alpha is None else alpha) * x)
            case "elu":
                return np.where(x > 0, x, (1.0 if alpha is None else alpha) * np.expm1(x))
            case "sigmoid":
                return _sigmoid(x)
            case "tanh":
                return np.tanh(x)
            case "gelu":
                return x * 0.5 * (1 + _erf(x / math.sqrt(2)))
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
            case "elu":
                return np.where(x > 0, 1.0, (1.0 if alpha is None else alpha) * np.exp(x))
            case "sigmoid":
                return s * _sigmoid(-x)
            case "tanh":
                return 1 / np.cosh(x) ** 2
            case "gelu":
                return 0.5 * (1 + _erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
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
    raise KeyError(name)


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
    """Mean and biased variance by channel; x (N, C) or (N, C, H, W)."""
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


def softmax_cross_entropy(logits, labels):
    """(mean of -log softmax(logits)[label], its gradient): logits (N, C), labels (N,)."""
    logits = logits.astype(np.float64)
    count = len(labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[labels]
    loss = -np.sum(onehot * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))) / count
    return loss, (probabilities - onehot) / count


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
