"""Who speaks? A bidirectional LSTM on sequences of different lengths.

Nine men say two Japanese vowels; an utterance is 7 to 29 steps of 12 coefficients (Kudo, Toyama and Shimbo 1999,
"Multidimensional curve classification using passing-through regions"). 270 utterances are trained on, 370 are the test.
The PyPI package aeon carries the two files, which nothing but this program reads (aeon itself is not imported):

    pip install --no-deps aeon
    python examples/speakers.py                     # trains on the training set, then tests: seconds
    python examples/speakers.py --folds 5           # cross-validates within the training set: what was chosen by
    python examples/speakers.py --data FOLDER       # where JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts are

What it shows: `lengths` of a recurrent layer. Sequences are padded to a rectangle; the direction from the end starts at
each sequence's own end, outputs beyond it are zero, so a sum over all steps is a sum over those there are.
"""

import argparse
import importlib.util
import math
import sys
import time
from pathlib import Path

import numpy as np

from fastconv import losses, optim
from fastconv.layers import LSTM, Dropout, Layer, Linear

NAME = "JapaneseVowels"
SPEAKERS = 9
COEFFICIENTS = 12


def find_data():
    """The folder of the data inside the installed package aeon, without importing it; None if there is none."""
    package = importlib.util.find_spec("aeon")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "datasets" / "data" / NAME
    return folder if folder.is_dir() else None


def read_ts(path):
    """(sequences, labels) of a .ts file: arrays (T, C) of float32, and integers from 0.

    After the line @data, a line is a sequence: its channels with a colon between them, the last field the label.
    """
    sequences, labels, header = [], [], True
    with open(path, encoding="utf-8") as file:
        for count, line in enumerate(map(str.strip, file), 1):
            if header or not line:
                header = header and line.lower() != "@data"
                continue
            *channels, label = line.split(":")
            try:
                sequence = np.array([channel.split(",") for channel in channels], np.float32).T
                speaker = int(label) - 1
                if len(channels) != COEFFICIENTS or not 0 <= speaker < SPEAKERS:
                    raise ValueError(f"{len(channels)} channels, label {label}")
            except ValueError as error:
                raise ValueError(f"{path}, line {count}: {error}") from error
            sequences.append(sequence)
            labels.append(speaker)
    if not labels:
        raise ValueError(f"{path} has no sequences after a line @data")
    return sequences, np.array(labels)


def load(folder):
    """((sequences, labels) to train on, the same to test on)."""
    return tuple(read_ts(Path(folder) / f"{NAME}_{part}.ts") for part in ("TRAIN", "TEST"))


def pad(sequences):
    """(x (N, T, C), lengths (N,)): sequences (t, C) as a rectangle, zeros after their ends."""
    lengths = np.array([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), lengths.max(), sequences[0].shape[1]), np.float32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return x, lengths


class SpeakerModel(Layer):
    """Sequences (N, T, C) of `lengths` (N,) -> logits (N, speakers): a linear layer on the mean of a BiLSTM's outputs.

    It holds the means and deviations of the channels, so that it can be saved and used on raw coefficients.
    """

    buffer_names = ("mean", "deviation")

    def __init__(self, sequences, hidden=64, dropout=0.5, rng=None):
        rng = np.random.default_rng(rng)
        steps = np.concatenate(sequences)
        self.mean, self.deviation = steps.mean(axis=0), steps.std(axis=0)
        self.lstm = LSTM(steps.shape[1], hidden, batch_first=True, bidirectional=True, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear = Linear(2 * hidden, SPEAKERS, rng=rng)

    def __call__(self, x, lengths):
        return self.forward(x, lengths, training=False)[0]

    def forward(self, x, lengths, *, training=True):
        (y, _), lstm_backward = self.lstm.forward((x - self.mean) / self.deviation, lengths=lengths, training=training)
        share = (1.0 / lengths).astype(np.float32)[:, None]
        means, dropout_backward = self.dropout.forward(y.sum(axis=1) * share, training=training)
        logits, linear_backward = self.linear.forward(means, training=training)

        def backward(dlogits):
            dmeans = dropout_backward(linear_backward(dlogits)) * share
            # Every step has the gradient of its sequence's mean; what lies beyond an end is not looked at.
            dx, _ = lstm_backward(np.broadcast_to(dmeans[:, None], y.shape))
            return dx / self.deviation

        return logits, backward


def train(model, sequences, labels, *, epochs, batch_size=30, lr=5e-3, noise=0.8, rng=None, report=None):
    """Adam with a half-cosine learning rate; `noise` is added to the inputs, in units of each channel's deviation."""
    rng = np.random.default_rng(rng)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    updates = epochs * -(-len(labels) // batch_size)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(labels))
        total = 0.0
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            x, lengths = pad([sequences[index] for index in chosen])
            x += noise * model.deviation * rng.standard_normal(x.shape, np.float32)
            optimizer.lr = lr * 0.5 * (1.0 + math.cos(math.pi * optimizer.steps / updates))
            optimizer.zero_grad()
            logits, backward = model.forward(x, lengths)
            loss, gradient = losses.softmax_cross_entropy(logits, labels[chosen])
            backward(gradient)
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            total += loss * len(chosen)
        if report and (epoch % 10 == 0 or epoch == epochs):
            report(f"epoch {epoch}/{epochs}: loss {total / len(labels):.4f}")
    return model


def accuracy(model, sequences, labels):
    """The share of sequences whose speaker is found."""
    return float(np.mean(model(*pad(sequences)).argmax(axis=1) == labels))


def cross_validate(sequences, labels, folds, rng, **options):
    """The accuracies on each of `folds` parts of the data, after training on the others."""
    parts = np.array_split(np.random.default_rng(rng).permutation(len(labels)), folds)
    found = []
    for number, held_out in enumerate(parts):
        rest = np.setdiff1d(np.arange(len(labels)), held_out)
        chosen = [sequences[index] for index in rest]
        model = train(SpeakerModel(chosen, rng=number), chosen, labels[rest], rng=number, **options)
        found.append(accuracy(model, [sequences[index] for index in held_out], labels[held_out]))
    return found


def number(minimum):
    """A converter for argparse: an int that is at least `minimum`."""

    def convert(value):
        if not value.isdecimal() or int(value) < minimum:
            raise argparse.ArgumentTypeError(f"{value!r}: must be an int >= {minimum}")
        return int(value)

    return convert


def command_line():
    parser = argparse.ArgumentParser(prog="speakers", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="FOLDER", help="where the two .ts files are (default: in the installed aeon)")
    parser.add_argument("--epochs", type=number(1), default=80, help="(default 80)")
    parser.add_argument("--folds", type=number(2), help="cross-validate within the training set instead")
    parser.add_argument("--seed", type=number(0), default=0, help="of first weights, order and noise (default 0)")
    return parser


def run(parsed):
    folder = parsed.data or find_data()
    if folder is None:
        raise ValueError("the data are not here: pip install --no-deps aeon, or say where they are with --data")
    begun = time.perf_counter()
    (sequences, labels), (test_sequences, test_labels) = load(folder)
    if parsed.folds:
        found = cross_validate(sequences, labels, parsed.folds, parsed.seed, epochs=parsed.epochs)
        shares = ", ".join(f"{share:.3f}" for share in found)
        print(f"accuracy {np.mean(found):.4f} of {len(labels)} utterances in {parsed.folds} folds: {shares}")
        return
    model = SpeakerModel(sequences, rng=parsed.seed)
    train(model, sequences, labels, epochs=parsed.epochs, rng=parsed.seed, report=print)
    right = model(*pad(test_sequences)).argmax(axis=1) == test_labels
    wrong, seconds = np.sum(~right), time.perf_counter() - begun
    print(f"{wrong} of {len(right)} test utterances wrong: accuracy {right.mean():.4f}, {seconds:.1f} s")


def main(argv=None):
    """Run the command line; returns the exit code."""
    try:
        run(command_line().parse_args(argv))
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(f"speakers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
