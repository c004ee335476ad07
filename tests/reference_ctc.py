"""The float64 definition of CTC, twice: over all alignments, and by forward and backward probabilities."""

import itertools

import numpy as np
from reference import log_softmax, softmax


def collapsed(alignment, blank=0):
    """Without repetitions, and then without blanks."""
    return tuple(label for label, _ in itertools.groupby(alignment) if label != blank)


def alignments(steps, classes):
    return np.array(list(itertools.product(range(classes), repeat=steps)), int).reshape(classes**steps, steps)


def labelling_probabilities(logits, blank=0):
    """{labels: probability} of every labelling of logits (T, C), by its alignments."""
    p, steps = softmax(logits), np.arange(len(logits))
    sums = {}
    for alignment in alignments(*logits.shape):
        labels = collapsed(alignment.tolist(), blank)
        sums[labels] = sums.get(labels, 0.0) + p[steps, alignment].prod()
    return sums


def loss_by_alignments(logits, labels, blank=0):
    """(loss, gradient by logits) of one sequence (T, C); inf and NaN where no alignment is possible."""
    p, steps = softmax(logits), np.arange(len(logits))
    total, visits = 0.0, np.zeros(logits.shape)
    for alignment in alignments(*logits.shape):
        if collapsed(alignment.tolist(), blank) == tuple(labels):
            probability = p[steps, alignment].prod()
            total += probability
            visits[steps, alignment] += probability
    if not total:
        return np.inf, np.full(logits.shape, np.nan)
    return -np.log(total), p - visits / total


def _before(states, allowed, toward):
    """The logarithm of the sum over the states that lead to each: itself, its neighbour, and the next where allowed."""
    nothing = np.full(2, -np.inf)
    row = np.concatenate([nothing, states] if toward > 0 else [states, nothing])
    count = len(states)
    near, far = (row[1 : count + 1], row[:count]) if toward > 0 else (row[1 : count + 1], row[2:])
    return np.logaddexp(np.logaddexp(states, near), np.where(allowed, far, -np.inf))


def loss_of_sequence(logits, labels, blank=0):
    """As loss_by_alignments, of any length."""
    with np.errstate(all="ignore"):
        y, labels = log_softmax(logits), np.asarray(labels, int)
        steps, count = len(logits), 2 * len(labels) + 1
        states = np.full(count, blank)
        states[1::2] = labels
        skips = np.zeros(count, bool)
        skips[3::2] = labels[1:] != labels[:-1]
        emissions = y[:, states]
        alphas, betas = np.full((2, steps + 1, count), -np.inf)
        alphas[0, 0] = 0.0
        betas[steps, -1] = 0.0
        for t in range(steps):
            alphas[t + 1] = _before(alphas[t], skips, 1) + emissions[t]
        back = np.concatenate([skips[2:], [False, False]])[:count]
        for t in range(steps - 1, -1, -1):
            after = betas[t + 1] + emissions[t + 1] if t + 1 < steps else betas[steps]
            betas[t] = _before(after, back, -1)  # without the emission of step t
        total = np.logaddexp(alphas[steps, -1], alphas[steps, -2] if count > 1 else -np.inf)
        if not total > -np.inf:
            return (np.nan if np.isnan(total) or np.isnan(y).any() else np.inf), np.full(logits.shape, np.nan)
        visits = np.zeros(logits.shape)
        for t in range(steps):
            np.add.at(visits[t], states, np.exp(alphas[t + 1] + betas[t] - total))
        return -total, np.exp(y) - visits


def ctc_loss(logits, targets, lengths, *, blank=0, reduction="mean", zero_infinity=False, one=loss_of_sequence):
    """targets: a list of labels a sequence; (loss, gradient) of logits (T, N, C)."""
    gradient = np.zeros(logits.shape)
    batch, loss = logits.shape[1], 0.0
    for n, (labels, length) in enumerate(zip(targets, lengths, strict=True)):
        value, of_sequence = one(np.asarray(logits[:length, n], np.float64), labels, blank)
        if np.isinf(value) and zero_infinity:
            value, of_sequence = 0.0, np.zeros_like(of_sequence)
        scale = 1.0 / (batch * max(1, len(labels))) if reduction == "mean" else 1.0
        loss += scale * value
        gradient[:length, n] = scale * of_sequence
    return loss, gradient
