"""The CTC loss with its gradient, for `fastconv.losses`."""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, contiguous, integer
from fastconv.ops.softmaxes import _target
from fastconv.runtime import context


def integers(function, name, value, ndims):
    """value as int64, contiguous; of an integer type and one of these numbers of axes."""
    value = np.asarray(value)
    if value.dtype.kind not in "iu" and value.size:
        raise TypeError(f"{function}: {name} has dtype {value.dtype}: must be an integer type")
    if value.ndim not in ndims:
        rule = " or ".join(map(str, ndims))
        raise ValueError(f"{function}: {name} has shape {value.shape}: must have {rule} dimensions")
    if value.dtype.kind == "u" and value.size and value.max() >= 2**63:
        raise ValueError(f"{function}: {name} holds {value.max()}: must be below 2**63")
    return contiguous(value.astype(np.int64, copy=False))


def lengths_of(function, name, lengths, batch, most):
    """(N,) int64 in [0, most]; None stands for all of them."""
    if lengths is None:
        return np.full(batch, most, np.int64)
    lengths = integers(function, name, lengths, (1,))
    if lengths.shape != (batch,):
        raise ValueError(f"{function}: {name} has shape {lengths.shape}: must be {(batch,)}, one a sequence")
    if batch and (lengths.min() < 0 or lengths.max() > most):
        bad = lengths.min() if lengths.min() < 0 else lengths.max()
        raise ValueError(f"{function}: {name} holds {bad}: every length must be in [0, {most}]")
    return lengths


def class_of(function, name, value, classes):
    number = integer(function, name, value, 0)
    if number >= classes:
        raise ValueError(f"{function}: {name}={value!r}: must be in [0, {classes}), a class of logits")
    return number


def targets_of(function, targets, target_lengths, batch):
    """(labels, starts, lengths): of padded targets (N, S), or of concatenated ones (the sum of target_lengths,)."""
    targets = integers(function, "targets", targets, (1, 2))
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            raise ValueError(f"{function}: targets has shape {targets.shape}: must be ({batch}, S), one row a sequence")
        lengths = lengths_of(function, "target_lengths", target_lengths, batch, targets.shape[1])
        return targets.reshape(-1), np.arange(batch, dtype=np.int64) * targets.shape[1], lengths
    if target_lengths is None:
        raise ValueError(f"{function}: target_lengths is None: targets of one dimension need it")
    lengths = lengths_of(function, "target_lengths", target_lengths, batch, targets.size)
    ends = np.cumsum(lengths)
    count = int(ends[-1]) if batch else 0
    if count != targets.size:
        raise ValueError(
            f"{function}: targets has shape {targets.shape}: must be ({count},), the sum of target_lengths"
        )
    return targets, ends - lengths, lengths


def ctc(function, logits, targets, logit_lengths, target_lengths, blank, mean, zero_infinity, out):
    """(loss, gradient), both over what the mean is taken over if `mean`."""
    x = contiguous(array(function, "logits", logits, 3))
    steps, batch, classes = x.shape
    blank = class_of(function, "blank", blank, classes)
    lengths = lengths_of(function, "logit_lengths", logit_lengths, batch, steps)
    targets = targets_of(function, targets, target_lengths, batch)
    gradient = _target("gradient_out", function, out, x)
    if out is not None and any(np.may_share_memory(out, value) for value in (lengths, *targets)):
        gradient = np.empty_like(x)
    labels, starts, counts = targets
    options = blank, mean, bool(zero_infinity), gradient, context()
    loss, bad = _native.ctc_loss(x, labels, starts, lengths, counts, *options)
    if bad is not None:
        rule = f"every label must be in [0, {classes}) and not blank={blank}"
        raise ValueError(f"{function}: targets holds {labels[bad]}: {rule}")
    if out is None or out is gradient:
        return loss, gradient
    out[...] = gradient
    return loss, out
