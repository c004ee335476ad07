"""The second part of the demo: a character-level LSTM on Python's own help texts."""

import math
import time

import numpy as np

from fastconv import datasets, losses, ops, optim
from fastconv.layers import LSTM, Embedding, Layer, Linear

# Line feed and the printable ASCII characters: fixed, so that models of different Python versions have one shape.
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))

TEST_FRACTION = 0.1
LEARNING_RATE = 7e-3
TEMPERATURE = 0.7  # of sampling: below 1, likely characters become likelier


def load():
    """The text: Python's own help."""
    return datasets.english()


class CharacterModel(Layer):
    """Predicts the next character: ids (T, N) -> logits (T, N, V). The LSTM's state goes in and comes out."""

    def __init__(self, rng, embedding=64, hidden=192):
        self.embedding = Embedding(len(CHARACTERS), embedding, rng=rng)
        self.lstm = LSTM(embedding, hidden, rng=rng)
        self.linear = Linear(hidden, len(CHARACTERS), rng=rng)

    def __call__(self, ids, state=None):
        y, state = self.lstm(self.embedding(ids), state)
        return self.linear(y), state

    def forward(self, ids, state=None, *, training=True):
        x, embedding_backward = self.embedding.forward(ids, training=training)
        (y, state), lstm_backward = self.lstm.forward(x, state, training=training)
        logits, linear_backward = self.linear.forward(y, training=training)

        def backward(dlogits):
            # Truncated backpropagation through time: no gradient comes from the steps after this piece of text.
            dx, _ = lstm_backward(linear_backward(dlogits))
            embedding_backward(dx)

        return (logits, state), backward


def encode(text):
    """Positions in CHARACTERS of the characters of an ASCII text; others become blanks."""
    table = np.full(256, CHARACTERS.index(" "), np.int64)
    table[np.frombuffer(CHARACTERS.encode(), np.uint8)] = np.arange(len(CHARACTERS))
    return table[np.frombuffer(text.encode("ascii"), np.uint8)]


def split(text):
    """(what is trained on, what is held out): the last tenth is held out, in one piece."""
    count = round(len(text) * (1.0 - TEST_FRACTION))
    return text[:count], text[count:]


def streams(ids, batch):
    """ids as columns (time, batch): each column is a continuous stretch of the text, so states can be carried."""
    length = len(ids) // batch
    return np.ascontiguousarray(ids[: length * batch].reshape(batch, length).T)


def bits_per_character(model, ids, batch=16, steps=128):
    """Mean of -log2 p(character | all before it in its stretch) over the text cut into `batch` stretches."""
    columns = streams(ids, batch)
    total, count, state = 0.0, 0, None
    for start in range(0, len(columns) - 1, steps):
        piece = columns[start : start + steps + 1]
        logits, state = model(np.ascontiguousarray(piece[:-1]), state)
        total += losses.softmax_cross_entropy(logits, piece[1:], reduction="sum")[0]
        count += piece[1:].size
    return total / count / math.log(2.0)


def letter_entropy(train, test):
    """Bits per character of `test` for a model that only knows how often each character is in `train`."""
    counts = np.bincount(train, minlength=len(CHARACTERS)) + 1
    return float(-np.log2(counts / counts.sum())[test].mean())


def train(model, ids, *, updates, batch, steps, lr, report):
    """Adam with a half-cosine learning rate over `updates` pieces of `steps` characters in `batch` stretches.

    report(update, bits per character, characters a second) is called about twenty times. Returns the bits per character
    of each update.
    """
    columns = streams(ids, batch)
    optimizer = optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.99))
    state, start, history = None, 0, []
    every, begun = max(3, updates // 20), time.perf_counter()
    for update in range(1, updates + 1):
        if start + steps + 1 > len(columns):
            state, start = None, 0
        piece = columns[start : start + steps + 1]
        start += steps
        optimizer.lr = lr * 0.5 * (1.0 + math.cos(math.pi * (update - 1) / updates))
        optimizer.zero_grad()
        (logits, state), backward = model.forward(piece[:-1], state)
        loss, gradient = losses.softmax_cross_entropy(logits, piece[1:])
        backward(gradient)
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        history.append(loss / math.log(2.0))
        if update % every == 0 or update == updates:
            recent = history[-every:]
            report(update, sum(recent) / len(recent), update * batch * steps / (time.perf_counter() - begun))
    return history


def sample(model, start, count, rng, temperature=TEMPERATURE):
    """`count` characters that follow `start`, drawn one by one from softmax(logits / temperature)."""
    logits, state = model(encode(start)[:, None])
    drawn = []
    for _ in range(count):
        probabilities = ops.softmax(logits[-1, 0] * np.float32(1.0 / temperature))
        sums = np.cumsum(probabilities, dtype=np.float64)
        index = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        drawn.append(CHARACTERS[index])
        logits, state = model(np.full((1, 1), index, np.int64), state)
    return "".join(drawn)
