"""Losses with their gradients in one pass, for `fastconv.losses`."""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, channels_last, contiguous, dense, flat, integer, like, number, of_shape
from fastconv.ops.softmaxes import _axis, _memory, _target
from fastconv.runtime import context

NOTHING = -(2**63)  # the label that none has


def checked_labels(function, labels, shape):
    """labels as int64 of this shape; whether they are classes, the kernel finds."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{function}: labels has dtype {labels.dtype}: must be an integer type")
    if labels.shape != shape:
        raise ValueError(
            f"{function}: labels has shape {labels.shape}: must be {shape}, that of logits but for the axis"
        )
    if labels.dtype.kind == "u" and labels.size and labels.max() >= 2**63:
        raise ValueError(f"{function}: labels holds {labels.max()}: every label must be a class")
    return labels.astype(np.int64, copy=False)


def checked_weight(function, weight, classes, smoothing):
    """The weights of the classes, contiguous, or None where all are 1 and need not be read."""
    if weight is None:
        return np.ones(classes, np.float32) if smoothing else None
    return contiguous(of_shape(function, "weight", weight, (classes,)))


def cross_entropy(function, logits, labels, axis, weight, ignore_index, label_smoothing, mean, out):
    """(sum of the losses, divisor of their mean, gradient)."""
    x = dense(array(function, "logits", logits))
    if not x.ndim:
        raise ValueError(f"{function}: logits has shape (): must have an axis of classes")
    axis = _axis(function, axis, x.ndim)
    classes, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    labels = checked_labels(function, labels, shape)
    smoothing = number(function, "label_smoothing", label_smoothing)
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"{function}: label_smoothing={label_smoothing!r}: must be in [0, 1]")
    weight = checked_weight(function, weight, classes, smoothing)
    ignored = NOTHING if ignore_index is None else integer(function, "ignore_index", ignore_index, NOTHING)
    gradient = _target("gradient_out", function, out, x)
    place, memory_of_x, memory = _memory(axis, x, gradient)
    if memory_of_x is not x:  # whose second axis is the last one in memory: the labels' are brought into the same order
        labels = channels_last(np.expand_dims(labels, axis)).squeeze(place)
    labels = contiguous(labels)
    loss, divisor = _native.cross_entropy(
        memory_of_x, labels, weight, memory, place, smoothing, mean, ignored, context()
    )
    if divisor is None:
        bad = labels.reshape(-1)[loss]
        raise ValueError(f"{function}: labels holds {bad}: every label must be in [0, {classes})")
    if out is None or out is gradient:
        return loss, divisor, gradient
    out[...] = gradient
    return loss, divisor, out


def elementwise(function, kind, name, value, targets, scale, out):
    """(sum of the losses, gradient times scale) of two arrays of one shape, compared element by element."""
    x = dense(array(function, name, value))
    targets = like(function, "targets", targets, x)
    gradient = _target("gradient_out", function, out, x)
    if gradient is out and np.may_share_memory(out, targets):
        gradient = np.empty_like(x)
    total = _native.loss(flat(x), flat(targets), flat(gradient), _native.LOSSES[kind], scale, context())
    if out is None or out is gradient:
        return total, gradient
    out[...] = gradient
    return total, out
