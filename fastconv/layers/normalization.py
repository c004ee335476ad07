"""Normalisation: batch, instance, group, layer and RMS norm, and local response norm."""

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import array, integer, number

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
    "LocalResponseNorm",
]


def _checked_dy(layer, dy, shape):
    array(type(layer).__name__, "dy", dy)
    if dy.shape != shape:
        raise ValueError(f"{type(layer).__name__}: dy has shape {dy.shape}: must be {shape}")
    return dy


class _Affine(Layer):
    """A norm with an optional weight and bias."""

    def _set_affine(self, shape, weight, bias):
        self.weight = Parameter(np.ones(shape, np.float32)) if weight else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if bias else None

    def _affine(self):
        return tuple(None if parameter is None else parameter.value for parameter in (self.weight, self.bias))

    def _add_grads(self, dweight, dbias):
        if self.weight is not None:
            self.weight.add_grad(dweight)
        if self.bias is not None:
            self.bias.add_grad(dbias)


class _Tracked(_Affine):
    """What batch and instance norm share: channels, running statistics and what x must look like."""

    buffer_names = ("running_mean", "running_var", "num_batches_tracked")
    ranks = ()  # numbers of dimensions of x
    shapes = ""  # and their names

    def __init__(self, num_features, *, eps, momentum, affine, track_running_stats):
        self.num_features = integer(type(self).__name__, "num_features", num_features, 1)
        self.eps = float(eps)
        self.momentum = None if momentum is None else float(momentum)
        self.track_running_stats = bool(track_running_stats)
        self._set_affine(self.num_features, affine, affine)
        if self.track_running_stats:
            self.running_mean = np.zeros(self.num_features, np.float32)
            self.running_var = np.ones(self.num_features, np.float32)
            self.num_batches_tracked = np.zeros((), np.int64)

    def _check(self, x):
        name = type(self).__name__
        array(name, "x", x)
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ValueError(f"{name}: x has shape {x.shape}: must have {ranks} dimensions {self.shapes}")
        if x.shape[1] != self.num_features:
            raise ValueError(f"{name}: x has shape {x.shape}: must have {self.num_features} channels (axis 1)")

    def _track(self, mean, var, count, momentum):
        """Move the running statistics towards those of a batch, of which each variance is that of `count` values."""
        factor = np.float32(momentum)
        self.running_mean += factor * (mean - self.running_mean)
        self.running_var += factor * (var * np.float32(count / (count - 1)) - self.running_var)

    def _running(self, x):
        """(y, backward) by the running statistics, which are constants."""
        mean, var = self.running_mean.copy(), self.running_var.copy()
        weight, bias = self._affine()
        y = ops.batch_norm(x, mean, var, weight, bias, eps=self.eps)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            if self.weight is not None:  # the same sums as in training
                self._add_grads(*ops.batch_norm_backward(dy, x, mean, var, weight, eps=self.eps)[1:])
            return ops.batch_norm(dy, np.zeros_like(mean), var, weight, eps=self.eps)

        return y, backward

    def __call__(self, x):
        self._check(x)
        if self.track_running_stats:
            return ops.batch_norm(x, self.running_mean, self.running_var, *self._affine(), eps=self.eps)
        return self._of_itself(x)

    def _of_itself(self, x):
        """y by the statistics of x."""
        raise NotImplementedError


class _BatchNorm(_Tracked):
    def __init__(self, num_features, *, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        super().__init__(
            num_features, eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats
        )

    def _of_itself(self, x):
        return ops.batch_norm_training(x, *self._affine(), eps=self.eps)[0]

    def forward(self, x, *, training=True):
        self._check(x)
        if not training and self.track_running_stats:
            return self._running(x)
        count = x.size // self.num_features
        if training and count == 1:
            raise ValueError(
                f"{type(self).__name__}: x has shape {x.shape}: training needs more than one value per channel"
            )
        weight, bias = self._affine()
        y, mean, var = ops.batch_norm_training(x, weight, bias, eps=self.eps)
        if training and count and self.track_running_stats:
            self.num_batches_tracked += 1
            self._track(mean, var, count, self.momentum if self.momentum is not None else 1 / self.num_batches_tracked)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            dx, *gradients = ops.batch_norm_backward(dy, x, mean, var, weight, eps=self.eps)
            self._add_grads(*gradients)
            return dx

        return y, backward


class BatchNorm1d(_BatchNorm):
    """Batch normalisation by feature, as torch.nn.BatchNorm1d: x (N, C) or (N, C, L), same shape out.

    Formula, running statistics and arguments: see BatchNorm2d.

    >>> from fastconv.layers import BatchNorm1d
    >>> BatchNorm1d(3)(np.zeros((4, 3), np.float32)).shape
    (4, 3)
    """

    ranks, shapes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images by channel, as torch.nn.BatchNorm2d: x (N, C, H, W), same shape out.

    y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c].
    training=True takes mean and (biased) variance from the batch and moves the running ones towards them:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance; momentum=None keeps the plain
    average of all batches. training=False takes the running ones, as constants; with track_running_stats=False there
    are none, and it takes those of x too. affine=False: no weight and bias.

    >>> from fastconv.layers import BatchNorm2d
    >>> y, backward = BatchNorm2d(3).forward(np.ones((2, 3, 4, 4), np.float32))
    >>> float(abs(y).max())
    0.0
    """

    ranks, shapes = (4,), "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes by channel, as torch.nn.BatchNorm3d: x (N, C, D, H, W), same shape out.

    Formula, running statistics and arguments: see BatchNorm2d.

    >>> from fastconv.layers import BatchNorm3d
    >>> BatchNorm3d(3)(np.zeros((2, 3, 2, 4, 4), np.float32)).shape
    (2, 3, 2, 4, 4)
    """

    ranks, shapes = (5,), "(N, C, D, H, W)"


class _InstanceNorm(_Tracked):
    def __init__(self, num_features, *, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False):
        super().__init__(
            num_features, eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats
        )

    def _count(self, x):
        """Values of an image's channel: one alone has no variance, as in PyTorch."""
        count = int(np.prod(x.shape[2:]))
        if count == 1:
            raise ValueError(f"{type(self).__name__}: x has shape {x.shape}: needs more than one value per channel")
        return count

    def _of_itself(self, x):
        self._count(x)
        return ops.instance_norm(x, *self._affine(), eps=self.eps)

    def forward(self, x, *, training=True):
        self._check(x)
        if not training and self.track_running_stats:
            return self._running(x)
        count = self._count(x)
        weight, bias = self._affine()
        y, mean, var = ops.instance_norm_training(x, weight, bias, eps=self.eps)
        if training and count and len(x) and self.track_running_stats:
            self._track(mean.mean(axis=0), var.mean(axis=0), count, self.momentum or 0.0)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            dx, *gradients = ops.instance_norm_backward(dy, x, mean, var, weight, eps=self.eps)
            self._add_grads(*gradients)
            return dx

        return y, backward


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of sequences, as torch.nn.InstanceNorm1d: x (N, C, L), same shape out.

    Formula and arguments: see InstanceNorm2d.

    >>> from fastconv.layers import InstanceNorm1d
    >>> InstanceNorm1d(2)(np.array([[[1, 3], [2, 6]]], np.float32)).round(2).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """

    ranks, shapes = (3,), "(N, C, L)"


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images, as torch.nn.InstanceNorm2d: x (N, C, H, W), same shape out.

    y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c], mean and variance of each image's channel; affine=False, the
    default: no weight and bias. track_running_stats=True keeps running means of them over batches and images, and
    training=False then takes those (see BatchNorm2d). As in PyTorch, num_batches_tracked stays 0, and with
    momentum=None the running statistics stay what they are.

    >>> from fastconv.layers import InstanceNorm2d
    >>> InstanceNorm2d(1)(np.array([[[[1, 3]]]], np.float32)).round(2).tolist()
    [[[[-1.0, 1.0]]]]
    """

    ranks, shapes = (4,), "(N, C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes, as torch.nn.InstanceNorm3d: x (N, C, D, H, W), same shape out.

    Formula and arguments: see InstanceNorm2d.

    >>> from fastconv.layers import InstanceNorm3d
    >>> InstanceNorm3d(1)(np.array([[[[[1, 3]]]]], np.float32)).round(2).tolist()
    [[[[[-1.0, 1.0]]]]]
    """

    ranks, shapes = (5,), "(N, C, D, H, W)"


class GroupNorm(_Affine):
    """Group normalisation, as torch.nn.GroupNorm: x (N, C, *sizes), same shape out.

    y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c], mean and variance of each image's group of
    num_channels / num_groups neighbouring channels. affine=False: no weight and bias.

    >>> from fastconv.layers import GroupNorm
    >>> GroupNorm(2, 4)(np.ones((1, 4, 3, 3), np.float32)).shape
    (1, 4, 3, 3)
    """

    def __init__(self, num_groups, num_channels, *, eps=1e-5, affine=True):
        self.num_groups = integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = integer("GroupNorm", "num_channels", num_channels, 1)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_groups={num_groups}: must divide num_channels={num_channels}")
        self.eps = float(eps)
        self._set_affine(self.num_channels, affine, affine)

    def _check(self, x):
        array("GroupNorm", "x", x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm: x has shape {x.shape}: must be (N, {self.num_channels}, *sizes)")

    def __call__(self, x):
        self._check(x)
        return ops.group_norm(x, self.num_groups, *self._affine(), eps=self.eps)

    def forward(self, x, *, training=True):
        self._check(x)
        weight, bias = self._affine()
        y, mean, var = ops.group_norm_training(x, self.num_groups, weight, bias, eps=self.eps)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            dx, *gradients = ops.group_norm_backward(dy, x, mean, var, self.num_groups, weight, eps=self.eps)
            self._add_grads(*gradients)
            return dx

        return y, backward


def _normalized_shape(name, value):
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    if not sizes:
        raise ValueError(f"{name}: normalized_shape={value!r}: must have at least one size")
    return tuple(integer(name, "normalized_shape", size, 1) for size in sizes)


class LayerNorm(_Affine):
    """Layer normalisation, as torch.nn.LayerNorm: x (..., *normalized_shape), same shape out.

    y = (x - mean) / sqrt(var + eps) * weight + bias, mean and variance over the last axes, whose sizes are
    normalized_shape (or a size, of the last axis). elementwise_affine=False: no weight and bias; bias=False: no bias.

    >>> from fastconv.layers import LayerNorm
    >>> LayerNorm(2)(np.array([[1, 3], [2, 6]], np.float32)).round(2).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(self, normalized_shape, *, eps=1e-5, elementwise_affine=True, bias=True):
        self.normalized_shape = _normalized_shape("LayerNorm", normalized_shape)
        self.eps = float(eps)
        self._set_affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias)

    def __call__(self, x):
        return ops.layer_norm(x, self.normalized_shape, *self._affine(), eps=self.eps)

    def forward(self, x, *, training=True):
        weight, bias = self._affine()
        y, mean, var = ops.layer_norm_training(x, self.normalized_shape, weight, bias, eps=self.eps)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            dx, *gradients = ops.layer_norm_backward(dy, x, mean, var, self.normalized_shape, weight, eps=self.eps)
            self._add_grads(*gradients)
            return dx

        return y, backward


class RMSNorm(_Affine):
    """Root mean square normalisation, as torch.nn.RMSNorm: x (..., *normalized_shape), same shape out.

    y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axes, whose sizes are normalized_shape (or a size, of
    the last axis). eps=None: the distance from 1 to the next float32. elementwise_affine=False: no weight.

    >>> from fastconv.layers import RMSNorm
    >>> RMSNorm(2)(np.array([[3, 3], [-2, 2]], np.float32)).round(2).tolist()
    [[1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(self, normalized_shape, *, eps=None, elementwise_affine=True):
        self.normalized_shape = _normalized_shape("RMSNorm", normalized_shape)
        self.eps = float(np.finfo(np.float32).eps) if eps is None else float(eps)
        self._set_affine(self.normalized_shape, elementwise_affine, False)

    def __call__(self, x):
        return ops.rms_norm(x, self.normalized_shape, self._affine()[0], eps=self.eps)

    def forward(self, x, *, training=True):
        weight = self._affine()[0]
        y, mean_square = ops.rms_norm_training(x, self.normalized_shape, weight, eps=self.eps)

        def backward(dy):
            _checked_dy(self, dy, x.shape)
            dx, dweight = ops.rms_norm_backward(dy, x, mean_square, self.normalized_shape, weight, eps=self.eps)
            self._add_grads(dweight, None)
            return dx

        return y, backward


class LocalResponseNorm(Layer):
    """Local response normalisation over channels, as torch.nn.LocalResponseNorm: x (N, C, *sizes), same shape out.

    y[c] = x[c] / (k + alpha / size * sum of x^2 over `size` channels around c)^beta: see `ops.local_response_norm`.

    >>> from fastconv.layers import LocalResponseNorm
    >>> LocalResponseNorm(5)(np.ones((1, 8, 2, 2), np.float32)).shape
    (1, 8, 2, 2)
    """

    def __init__(self, size, *, alpha=1e-4, beta=0.75, k=1.0):
        self.size = integer("LocalResponseNorm", "size", size, 1)
        self.alpha, self.beta, self.k = (
            number("LocalResponseNorm", name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
        )

    def __call__(self, x):
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def forward(self, x, *, training=True):
        numbers = self.size, self.alpha, self.beta, self.k

        def backward(dy):
            return ops.local_response_norm_backward(_checked_dy(self, dy, x.shape), x, *numbers)

        return ops.local_response_norm(x, *numbers), backward
