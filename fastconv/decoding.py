"""Decoding of CTC: from the logits of a network, (T, N, C), to labels.

Both functions take float32 logits, whose softmax over the classes are the probabilities (logarithms of probabilities do
as well), and integer lengths (N,), None for all T steps. TypeError for other dtypes; ValueError for other shapes, a
length outside [0, T] or a blank outside [0, C).
"""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, contiguous, integer
from fastconv.ops._ctc import class_of, lengths_of
from fastconv.ops.softmaxes import log_softmax
from fastconv.runtime import context

__all__ = ["ctc_greedy_decode", "ctc_beam_decode"]


def _operands(function, logits, lengths, blank):
    """(log-probabilities, lengths, blank)"""
    array(function, "logits", logits, 3)
    steps, batch, classes = logits.shape
    blank = class_of(function, "blank", blank, classes)
    lengths = lengths_of(function, "lengths", lengths, batch, steps)
    return contiguous(log_softmax(logits)), lengths, blank


def ctc_greedy_decode(logits, lengths=None, *, blank=0):
    """[(labels, score)], one a sequence: of the most probable class at every step, without repetitions and blanks.

    labels are int64; score is the logarithm of the probability of this one alignment. The labels' own probability, over
    all their alignments, may be higher, and that of other labels higher still: see ctc_beam_decode.

    >>> logits = np.log(np.array([[[0.2, 0.8]], [[0.6, 0.4]], [[0.3, 0.7]]], np.float32))
    >>> [(labels.tolist(), round(score, 4)) for labels, score in ctc_greedy_decode(logits)]
    [([1, 1], -1.0906)]
    """
    log_probabilities, lengths, blank = _operands("ctc_greedy_decode", logits, lengths, blank)
    classes = log_probabilities.argmax(axis=2)
    scores = log_probabilities.max(axis=2, initial=-np.inf)
    decoded = []
    for n, length in enumerate(lengths.tolist()):
        path = classes[:length, n]
        new = np.ones(length, bool)
        new[1:] = path[1:] != path[:-1]
        labels = path[new & (path != blank)]
        decoded.append((labels, float(scores[:length, n].sum(dtype=np.float64))))
    return decoded


def ctc_beam_decode(logits, lengths=None, *, blank=0, beam_width=16, top=1):
    """[[(labels, score), ...], ...]: the `top` <= beam_width most probable labels of each sequence, the best first.

    Prefix beam search (Graves 2012; Hannun et al. 2014): of the prefixes of labels after each step the beam_width most
    probable are kept, each with the probabilities of its alignments that end in a blank and in a label. score is the
    logarithm of the probability of all alignments that were kept; exact if the beam is as wide as there are prefixes.
    There are fewer pairs where there are fewer labellings. A sequence with NaN or +inf in its logits has ([], nan).

    >>> logits = np.log(np.array([[[0.6, 0.4]], [[0.6, 0.4]]], np.float32))  # greedy: no label, with 0.36
    >>> [(labels.tolist(), round(score, 4)) for labels, score in ctc_beam_decode(logits, top=2)[0]]
    [([1], -0.4463), ([], -1.0217)]
    """
    function = "ctc_beam_decode"
    width = integer(function, "beam_width", beam_width, 1)
    top = integer(function, "top", top, 1)
    if top > width:
        raise ValueError(f"{function}: top={top}: must be at most beam_width={width}")
    log_probabilities, lengths, blank = _operands(function, logits, lengths, blank)
    if width * (len(log_probabilities) + 1) >= 2**31:
        raise ValueError(f"{function}: beam_width={width}: must be less than 2**31 over the number of steps")
    found = zip(*_native.ctc_beam(log_probabilities, lengths, blank, width, top, context()), strict=True)
    return [
        [
            (labels[:count].copy(), score)
            for labels, count, score in zip(rows, counts.tolist(), scores.tolist(), strict=True)
            if count >= 0
        ]
        for rows, counts, scores in found
    ]
