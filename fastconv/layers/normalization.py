"""Batch normalisation (Ioffe and Szegedy, 2015)."""

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import array, integer

__all__ = ["BatchNorm1d", "BatchNorm2d"]


class _BatchNorm(Layer):
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, num_features, *, eps=1e-5, momentum=0.1, affine=True):
        self.num_features = integer(type(self).__name__, "num_features", num_features, 1)
        self.eps = float(eps)
        self.momentum = None if momentum is None else float(momentum)
        self.weight = Parameter(np.ones(self.num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(self.num_features, np.float32)) if affine else None
        self.running_mean = np.zeros(self.num_features, np.float32)
        self.running_var = np.ones(self.num_features, np.float32)
        self.num_batches_tracked = np.zeros((), np.int64)

    def _images(self, x):
        """x as the op takes it: (N, C) or (N, C, H, W)."""
        raise NotImplementedError

    def _check(self, x):
        function = type(self).__name__
        array(function, "x", x)
        images = self._images(x)
        if x.shape[1] != self.num_features:
            raise ValueError(f"{function}: x has shape {x.shape}: must have {self.num_features} channels (axis 1)")
        return images

    def _affine(self):
        return (None, None) if self.weight is None else (self.weight.value, self.bias.value)

    def __call__(self, x):
        y = ops.batch_norm(self._check(x), self.running_mean, self.running_var, *self._affine(), eps=self.eps)
        return y.reshape(x.shape) if y.ndim != x.ndim else y

    def forward(self, x, *, training=True):
        images = self._check(x)
        weight, bias = self._affine()
        if training:
            count = x.size // self.num_features
            if count == 1:
                raise ValueError(
                    f"{type(self).__name__}: x has shape {x.shape}: training needs more than one value per channel"
                )
            y, mean, var = ops.batch_norm_training(images, weight, bias, eps=self.eps)
            if count:
                self._track(mean, var, count)
        else:
            mean, var = self.running_mean.copy(), self.running_var.copy()
            y = ops.batch_norm(images, mean, var, weight, bias, eps=self.eps)
        shape = x.shape

        def backward(dy):
            array(type(self).__name__, "dy", dy)
            if dy.shape != shape:
                raise ValueError(f"{type(self).__name__}: dy has shape {dy.shape}: must be {shape}")
            dy = self._images(dy)
            dx, dweight, dbias = ops.batch_norm_backward(dy, images, mean, var, weight, eps=self.eps)
            if not training:  # mean and var are constants: the same sums for weight and bias, but dx is only scaled
                dx = ops.batch_norm(dy, np.zeros_like(mean), var, weight, None, eps=self.eps)
            if self.weight is not None:
                self.weight.add_grad(dweight)
                self.bias.add_grad(dbias)
            return dx.reshape(shape) if dx.ndim != len(shape) else dx

        return (y.reshape(shape) if y.ndim != len(shape) else y), backward

    def _track(self, mean, var, count):
        self.num_batches_tracked += 1
        factor = np.float32(1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum)
        self.running_mean += factor * (mean - self.running_mean)
        self.running_var += factor * (var * np.float32(count / (count - 1)) - self.running_var)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images by channel, as torch.nn.BatchNorm2d: x (N, C, H, W), same shape out.

    y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c].
    training=True takes mean and (biased) variance from the batch and moves the running ones towards them:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance; momentum=None keeps the plain
    average of all batches. training=False takes the running ones, as constants.

    >>> from fastconv.layers import BatchNorm2d
    >>> y, backward = BatchNorm2d(3).forward(np.ones((2, 3, 4, 4), np.float32))
    >>> float(abs(y).max())
    0.0
    """

    def _images(self, x):
        if x.ndim != 4:
            raise ValueError(f"BatchNorm2d: x has shape {x.shape}: must have 4 dimensions (N, C, H, W)")
        return x


class BatchNorm1d(_BatchNorm):
    """Batch normalisation by feature, as torch.nn.BatchNorm1d: x (N, C) or (N, C, L), same shape out.

    Formula, running statistics and arguments: see BatchNorm2d.

    >>> from fastconv.layers import BatchNorm1d
    >>> BatchNorm1d(3)(np.zeros((4, 3), np.float32)).shape
    (4, 3)
    """

    def _images(self, x):
        if x.ndim not in (2, 3):
            raise ValueError(f"BatchNorm1d: x has shape {x.shape}: must have 2 or 3 dimensions, (N, C) or (N, C, L)")
        return x if x.ndim == 2 else x[:, :, None, :]
