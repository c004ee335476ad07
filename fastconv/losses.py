"""Losses: each returns (loss, gradient), a float and the derivative by the prediction, of its shape.

Losses are summed in float64. reduction is "mean" or "sum". The mean over nothing is NaN.
"""

import math

import numpy as np

from fastconv.ops._arrays import array
from fastconv.ops._ctc import ctc
from fastconv.ops._losses import cross_entropy, elementwise

__all__ = [
    "softmax_cross_entropy",
    "ctc_loss",
    "mean_squared_error",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
]


def _divisor(function, reduction, count):
    if reduction == "sum":
        return 1
    if reduction == "mean":
        return count
    raise ValueError(f'{function}: reduction={reduction!r}: must be "mean" or "sum"')


def _reduced(total, divisor):
    return float(total) / divisor if divisor else math.nan


def _pair(function, name, value, targets):
    array(function, name, value)
    array(function, "targets", targets)
    if value.shape != targets.shape:
        raise ValueError(f"{function}: targets has shape {targets.shape}: must be {value.shape}, that of {name}")


def _check_unit(function, name, values):
    # Written so that NaN passes: it must reach the loss, not hide behind an error about a range.
    if values.size and (values.min() < 0.0 or values.max() > 1.0):
        raise ValueError(f"{function}: {name} holds {values.min()} to {values.max()}: must be in [0, 1]")


def softmax_cross_entropy(
    logits,
    labels,
    *,
    axis=-1,
    weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    reduction="mean",
    gradient_out=None,
):
    """-log softmax(logits)[label] along `axis`: float32 logits, integer labels of their shape but for the axis.

    Labels are in [0, C), C being the size of the axis; those equal to ignore_index count for nothing (None: there are
    no such). A class c counts weight[c] times, weight (C,) float32, and the mean is over these weights. label_smoothing
    s takes (1 - s) of the loss at the label and s / C of it at each class, weighted by its own weight. All of this is
    torch.nn.functional.cross_entropy (Szegedy et al. 2016 for smoothing); images of logits (N, C, H, W) have axis=1
    and labels (N, H, W).

    The gradient is softmax(logits) - onehot(labels), over the number of labels for the mean. gradient_out receives it
    and may be logits themselves. ValueError for a label that is no class, before anything is written.

    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(loss, 4), gradient.tolist()
    (1.3863, [[0.25, 0.25, -0.75, 0.25]])
    """
    function = "softmax_cross_entropy"
    mean = _divisor(function, reduction, 0) == 0
    options = axis, weight, ignore_index, label_smoothing, mean, gradient_out
    total, divisor, gradient = cross_entropy(function, logits, labels, *options)
    return _reduced(total, divisor if mean else 1), gradient


def ctc_loss(
    logits,
    targets,
    logit_lengths=None,
    target_lengths=None,
    *,
    blank=0,
    reduction="mean",
    zero_infinity=False,
    gradient_out=None,
):
    """-log of the probability of all alignments of each target to its logits (Graves et al. 2006).

    An alignment names a class at every step; without repetitions, and then without blanks, it is the target. logits are
    float32 (T, N, C) and need not be normalised: probabilities are their softmax over the classes, and logarithms of
    probabilities do as well. targets are integer, padded (N, S) or one after the other (the sum of target_lengths,),
    no label being blank. Sequence n has the first logit_lengths[n] steps and target_lengths[n] labels, (N,) integers;
    None stands for all T, all S. What lies beyond is not read.

    reduction "mean" is torch.nn.functional.ctc_loss's: each loss over its number of labels, at least 1, and the mean of
    these over the batch; "sum" adds the losses. Where no alignment is possible (too few steps; equal neighbours need a
    blank between them) the loss is inf and the sequence's gradient NaN, or both 0 with zero_infinity. A NaN or +inf in
    logits makes the loss and its sequence's gradient NaN.

    The gradient by logits is softmax(logits) - the probability of the class at this step given the target, over what
    the mean is taken over; 0 beyond logit_lengths. gradient_out receives it and may be logits themselves. TypeError for
    other dtypes; ValueError for other shapes, a length or blank out of range, or a label that is no class or blank,
    before anything is written.

    >>> loss, gradient = ctc_loss(np.zeros((1, 1, 2), np.float32), np.array([[1]]))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [[[0.5, -0.5]]])
    """
    function = "ctc_loss"
    mean = _divisor(function, reduction, 0) == 0
    options = blank, mean, zero_infinity, gradient_out
    loss, gradient = ctc(function, logits, targets, logit_lengths, target_lengths, *options)
    return loss if logits.shape[1] or not mean else math.nan, gradient


def mean_squared_error(prediction, targets, *, reduction="mean", gradient_out=None):
    """(prediction - targets)**2 over all elements of two float32 arrays of one shape.

    The gradient is 2 (prediction - targets), over the number of elements for the mean; gradient_out receives it.

    >>> mean_squared_error(np.array([1, 3], np.float32), np.array([1, 1], np.float32))
    (2.0, array([0., 2.], dtype=float32))
    """
    function = "mean_squared_error"
    _pair(function, "prediction", prediction, targets)
    divisor = _divisor(function, reduction, prediction.size)
    scale = 1.0 / max(divisor, 1)
    total, gradient = elementwise(function, "squared_error", "prediction", prediction, targets, scale, gradient_out)
    return _reduced(total, divisor), gradient


def binary_cross_entropy_with_logits(logits, targets, *, reduction="mean", gradient_out=None):
    """-(t log s + (1 - t) log(1 - s)), s = sigmoid(logits), t = targets in [0, 1], of one shape, float32.

    Computed as max(x, 0) - x t + log(1 + exp(-|x|)), which neither overflows nor cancels. Gradient (s - t) / n, which
    gradient_out receives.

    >>> loss, gradient = binary_cross_entropy_with_logits(np.zeros(2, np.float32), np.array([0, 1], np.float32))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [0.25, -0.25])
    """
    function = "binary_cross_entropy_with_logits"
    _pair(function, "logits", logits, targets)
    _check_unit(function, "targets", targets)
    divisor = _divisor(function, reduction, logits.size)
    scale = 1.0 / max(divisor, 1)
    total, gradient = elementwise(function, "logistic", "logits", logits, targets, scale, gradient_out)
    return _reduced(total, divisor), gradient


def binary_cross_entropy(probabilities, targets, *, reduction="mean"):
    """-(t log p + (1 - t) log(1 - p)), p = probabilities and t = targets in [0, 1], of one shape, float32.

    As PyTorch: logarithms are held at -100 or above, and the gradient (p - t) / (p (1 - p)) / n has a divisor of at
    least 1e-12. Where logits are at hand, binary_cross_entropy_with_logits is the better choice.

    >>> loss, gradient = binary_cross_entropy(np.array([0.5], np.float32), np.array([1], np.float32))
    >>> round(loss, 4), gradient.tolist()
    (0.6931, [-2.0])
    """
    function = "binary_cross_entropy"
    _pair(function, "probabilities", probabilities, targets)
    _check_unit(function, "probabilities", probabilities)
    _check_unit(function, "targets", targets)
    divisor = _divisor(function, reduction, probabilities.size)
    with np.errstate(divide="ignore"):
        positive = np.maximum(np.log(probabilities), -100.0)
        negative = np.maximum(np.log1p(-probabilities), -100.0)
    losses = targets * positive + (1.0 - targets) * negative
    gradient = probabilities - targets
    gradient /= np.maximum(probabilities * (1.0 - probabilities), np.float32(1e-12))
    gradient *= np.float32(1.0 / max(divisor, 1))
    return _reduced(-np.sum(losses, dtype=np.float64), divisor), gradient
