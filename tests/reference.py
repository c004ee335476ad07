"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations


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


def _pair(value):
    return (value, value) if np.isscalar(value) else tuple(value)


def _pads(padding):
    """((top, bottom), (left, right))"""
    return tuple(_pair(side) for side in _pair(padding))


def _tap(array, r, s, out_height, out_width, stride, dilation):
    """The view of a padded input (N, C, H, W) that kernel tap (r, s) sees, of shape (N, C, P, Q)."""
    (sh, sw), (dh, dw) = stride, dilation
    rows = slice(r * dh, r * dh + (out_height - 1) * sh + 1, sh)
    columns = slice(s * dw, s * dw + (out_width - 1) * sw + 1, sw)
    return array[:, :, rows, columns]


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y[n,k,p,q] = bias[k] + sum over c,r,s of padded x[n, c, p*sh + r*dh, q*sw + s*dw] * weight[k,c,r,s]"""
    stride, dilation, pads = _pair(stride), _pair(dilation), _pads(padding)
    (n, c, h, w), (k, _, kernel_height, kernel_width) = x.shape, weight.shape
    p = (h + sum(pads[0]) - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    q = (w + sum(pads[1]) - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *pads))
    weight = np.asarray(weight, np.float64).reshape(groups, k // groups, c // groups, kernel_height, kernel_width)
    y = np.zeros((n, groups, k // groups, p, q))
    for r in range(kernel_height):
        for s in range(kernel_width):
            seen = _tap(padded, r, s, p, q, stride, dilation).reshape(n, groups, c // groups, p, q)
            y += np.einsum("ngcpq,gkc->ngkpq", seen, weight[..., r, s], optimize=True)
    y = y.reshape(n, k, p, q)
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


def conv2d_backward_input(dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1):
    """The adjoint of conv2d in x: each tap sends dy * weight back to where it read."""
    stride, dilation, pads = _pair(stride), _pair(dilation), _pads(padding)
    (n, c, h, w), (k, _, kernel_height, kernel_width), (_, _, p, q) = x_shape, weight.shape, dy.shape
    dy = np.asarray(dy, np.float64).reshape(n, groups, k // groups, p, q)
    weight = np.asarray(weight, np.float64).reshape(groups, k // groups, c // groups, kernel_height, kernel_width)
    padded = np.zeros((n, c, h + sum(pads[0]), w + sum(pads[1])))
    for r in range(kernel_height):
        for s in range(kernel_width):
            sent = np.einsum("ngkpq,gkc->ngcpq", dy, weight[..., r, s], optimize=True)
            _tap(padded, r, s, p, q, stride, dilation)[...] += sent.reshape(n, c, p, q)
    return padded[:, :, pads[0][0] : pads[0][0] + h, pads[1][0] : pads[1][0] + w]


def conv2d_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1):
    """(dweight, dbias): the adjoint of conv2d in weight, and the sum of dy over images and pixels."""
    stride, dilation, pads = _pair(stride), _pair(dilation), _pads(padding)
    (n, c, _, _), (k, depth, kernel_height, kernel_width), (_, _, p, q) = x.shape, weight_shape, dy.shape
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *pads))
    dy = np.asarray(dy, np.float64)
    grouped = dy.reshape(n, groups, k // groups, p, q)
    dweight = np.zeros((groups, k // groups, depth, kernel_height, kernel_width))
    for r in range(kernel_height):
        for s in range(kernel_width):
            seen = _tap(padded, r, s, p, q, stride, dilation).reshape(n, groups, c // groups, p, q)
            dweight[..., r, s] = np.einsum("ngkpq,ngcpq->gkc", grouped, seen, optimize=True)
    return dweight.reshape(weight_shape), dy.sum(axis=(0, 2, 3))


# -------------------------------------------------------------------------------------------------------- pooling


# -------------------------------------------------------------------------------------------------- normalisation


# ------------------------------------------------------------------------------------------------------ recurrence


# ------------------------------------------------------------------------------------------- losses and optimisers
