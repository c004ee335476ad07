"""Reads words out of images: convolutions, a bidirectional LSTM, and the CTC loss (a CRNN: Shi, Bai and Yao 2017).

Words are drawn in Pillow's built-in font, in many sizes, places, slants, contrasts and degrees of noise, in lower case,
Capitalised or in CAPITALS. The model learns letters from whole words, without being told where a letter is. The words
are those of Python's own help texts: four fifths are trained on, the others are the test. Half of what is trained on
is letters at random, so that it is letters that are learned (few words have a j or a q) rather than a vocabulary.

    pip install "pillow>=10.1"
    python examples/read_words.py train --model words.npz        # two minutes on two cores
    python examples/read_words.py draw hello.png --word hello    # an image to try it on
    python examples/read_words.py read --model words.npz hello.png other.png

An image is one word on an even background, dark on bright or bright on dark.
"""

import argparse
import functools
import math
import re
import sys
import time
import zlib

import numpy as np

from fastconv import datasets, io, losses, optim
from fastconv.decoding import ctc_beam_decode, ctc_greedy_decode
from fastconv.layers import LSTM, BatchNorm2d, Conv2d, Dropout, Layer, Linear, MaxPool2d, ReLU, Sequential

LETTERS = "abcdefghijklmnopqrstuvwxyz"  # class 0 is CTC's blank, letter i is class i + 1
HEIGHT = 32
STEP = 2  # columns of the image to a step of the sequence
MOST_WIDTH = 40  # of an image that is read, in heights


def held_out(word):
    """Whether a word is for the test: every fifth, by a checksum of its letters."""
    return zlib.crc32(word.encode()) % 5 == 0


def split_words():
    """(words to train on, words to test on): those of Python's help, and none in both."""
    words = sorted({word.lower() for word in re.findall(r"\b[A-Za-z]{2,12}\b", datasets.english())})
    return [word for word in words if not held_out(word)], [word for word in words if held_out(word)]


def invent_word(rng):
    """Letters at random, some of them doubled; no word that is held out."""
    while True:
        letters = rng.choice(list(LETTERS), size=rng.integers(2, 11))
        for i in np.flatnonzero(rng.random(len(letters) - 1) < 0.1):
            letters[i + 1] = letters[i]
        if not held_out(word := "".join(letters)):
            return word


@functools.cache
def font_of(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def draw_word(word, rng):
    """A grey image (HEIGHT, W) of uint8 with the word, in one of its three writings and as the generator wants it."""
    from PIL import Image, ImageDraw, ImageFilter

    text = (word, word.capitalize(), word.upper())[rng.choice(3, p=(0.6, 0.2, 0.2))]
    font = font_of(rng.integers(34, 51) / 2)
    left, top, right, bottom = font.getbbox(text)
    slant = rng.uniform(-0.3, 0.3)
    lean = abs(slant) * HEIGHT
    width = math.ceil(right - left + lean + rng.uniform(6, 16))
    turn = rng.uniform(-0.03, 0.03)
    margin = abs(turn) * width / 2 + 1
    room = max(HEIGHT - (bottom - top) - 2 * margin, 0)
    x, y = (width - (right - left)) / 2 + rng.uniform(-2, 2), margin + rng.uniform(0, room)
    background, ink = rng.uniform(150, 255), rng.uniform(0, 90)
    if rng.random() < 0.5:
        background, ink = 255 - background, 255 - ink
    image = Image.new("L", (width, HEIGHT), round(background))
    ImageDraw.Draw(image).text((x - left, y - top), text, font=font, fill=round(ink))
    # Where a pixel comes from: a shear about the middle of the height and a turn of at most two degrees.
    shear = (1, slant, -slant * HEIGHT / 2, turn, 1, -turn * width / 2)
    image = image.transform(
        image.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR, fillcolor=round(background)
    )
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.7))))
    noisy = np.asarray(image) + rng.normal(0, rng.uniform(0, 0.12) * abs(ink - background), (HEIGHT, width))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def normalise(image):
    """(HEIGHT, W) of float32: the background at 0, the ink positive, of deviation 1."""
    grey = image.astype(np.float32)
    grey -= np.median(grey)
    scale = grey.std() + 1e-3
    return grey / (scale if grey.mean() > 0 else -scale)


def batch_of(images):
    """(x (N, 1, HEIGHT, W), lengths (N,) in steps) of normalised images, with background to their right."""
    lengths = np.array([-(-image.shape[1] // STEP) for image in images])
    x = np.zeros((len(images), 1, HEIGHT, STEP * lengths.max()), np.float32)
    for row, image in zip(x, images, strict=True):
        row[0, :, : image.shape[1]] = image
    return x, lengths


def encode(words):
    """(classes (N, S), lengths (N,)) of words, padded with 1."""
    lengths = np.array([len(word) for word in words])
    targets = np.ones((len(words), lengths.max()), np.int64)
    for row, word in zip(targets, words, strict=True):
        row[: len(word)] = [LETTERS.index(letter) + 1 for letter in word]
    return targets, lengths


class WordReader(Layer):
    """Images (N, 1, 32, W) of `lengths` steps -> logits (W/2, N, 27), as ctc_loss takes them.

    Four convolutions leave two rows of features and a column every two pixels, half the width of an l: each letter
    needs a step of its own, and doubled ones a blank between them. A BiLSTM reads along the columns.
    """

    def __init__(self, channels=(32, 48, 64, 64), hidden=128, dropout=0.2, rng=None):
        rng = np.random.default_rng(rng)
        stages, inputs = [], 1
        for outputs, pool in zip(channels, ((2, 2), (2, 1), (2, 1), (2, 1)), strict=True):
            convolution = Conv2d(inputs, outputs, 3, padding=1, bias=False, rng=rng, input_grad=bool(stages))
            stages += [convolution, BatchNorm2d(outputs), ReLU(), MaxPool2d(pool)]
            inputs = outputs
        self.features = Sequential(*stages)
        self.dropout = Dropout(dropout, rng=rng)
        self.lstm = LSTM(inputs * HEIGHT // 16, hidden, bidirectional=True, rng=rng)
        self.linear = Linear(2 * hidden, len(LETTERS) + 1, rng=rng)

    def __call__(self, x, lengths):
        return self.forward(x, lengths, training=False)[0]

    def forward(self, x, lengths, *, training=True):
        maps, features_backward = self.features.forward(x, training=training)
        n, channels, rows, steps = maps.shape
        # (N, C, H, T) -> (T, N, H*C): memory is channels last, so that rows of features are copied whole.
        columns = maps.transpose(3, 0, 2, 1).reshape(steps, n, rows * channels)
        columns, dropout_backward = self.dropout.forward(columns, training=training)
        (y, _), lstm_backward = self.lstm.forward(columns, lengths=lengths, training=training)
        logits, linear_backward = self.linear.forward(y, training=training)

        def backward(dlogits):
            dcolumns, _ = lstm_backward(linear_backward(dlogits))
            dmaps = dropout_backward(dcolumns).reshape(steps, n, rows, channels).transpose(1, 3, 2, 0)
            features_backward(dmaps)

        return logits, backward


def draw_words(words, rng):
    """A normalised image of each word."""
    rng = np.random.default_rng(rng)
    return [normalise(draw_word(word, rng)) for word in words]


def draw_batches(words, count, batch_size, invented, rng, pool=8):
    """`count` batches (x, lengths, words): of `pool` batches drawn at a time, images of like widths come together."""
    while count > 0:
        number = min(pool, count)
        real = rng.random(number * batch_size) >= invented
        chosen = [words[rng.integers(len(words))] if known else invent_word(rng) for known in real]
        images = draw_words(chosen, rng)
        order = np.argsort([image.shape[1] for image in images], kind="stable").reshape(number, batch_size)
        for group in rng.permutation(order):
            yield *batch_of([images[i] for i in group]), [chosen[i] for i in group]
        count -= number


def train(model, words, *, updates, batch_size=16, lr=4e-3, invented=0.5, rng=None, report=print):
    """Adam; the learning rate rises over a twentieth of the updates, then falls as half a cosine. Returns losses."""
    rng = np.random.default_rng(rng)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    history, start, every = [], time.perf_counter(), max(1, updates // 20)
    for update, (x, lengths, chosen) in enumerate(draw_batches(words, updates, batch_size, invented, rng)):
        warm = min(1.0, (update + 1) / (0.05 * updates))
        optimizer.lr = lr * warm * 0.5 * (1.0 + math.cos(math.pi * update / updates))
        targets, target_lengths = encode(chosen)
        optimizer.zero_grad()
        logits, backward = model.forward(x, lengths)
        # Letters that find no room in the steps there are would make the loss infinite: such images count for nothing.
        loss, gradient = losses.ctc_loss(
            logits, targets, lengths, target_lengths, zero_infinity=True, gradient_out=logits
        )
        backward(gradient)
        optim.clip_grad_norm(model.parameters(), 5.0)
        optimizer.step()
        history.append(loss)
        if (update + 1) % every == 0 or update + 1 == updates:
            seconds = time.perf_counter() - start
            report(f"update {update + 1}/{updates}: loss {np.mean(history[-every:]):.3f}, {seconds:.0f} s")
    return history


def read(model, images, beam_width=0, batch_size=64):
    """The words in normalised images: of the likeliest class at each step, or with a width, by a beam search."""
    order = np.argsort([image.shape[1] for image in images], kind="stable")
    words = [""] * len(images)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        x, lengths = batch_of([images[i] for i in chosen])
        logits = model(x, lengths)
        if beam_width:
            found = [best[0][0] for best in ctc_beam_decode(logits, lengths, beam_width=beam_width)]
        else:
            found = [labels for labels, _ in ctc_greedy_decode(logits, lengths)]
        for i, labels in zip(chosen, found, strict=True):
            words[i] = "".join(LETTERS[label - 1] for label in labels)
    return words


# ------------------------------------------------------------------------------------------------------ command line


def open_image(path):
    """A normalised image out of a file of any size and kind."""
    from PIL import Image

    with Image.open(path) as image:
        if image.width > MOST_WIDTH * image.height:
            raise ValueError(f"{path} is {image.width} x {image.height}: must be one word")
        grey = image.convert("L")
        return normalise(np.asarray(grey.resize((max(1, round(grey.width * HEIGHT / grey.height)), HEIGHT))))


def load(path):
    """The model of a file that `train` wrote; its sizes are those of its arrays."""
    arrays = io.load(path)
    try:
        hidden = arrays["lstm.weight_hh_l0"].shape[1]
        channels = [array.shape[0] for array in arrays.values() if array.ndim == 4]
        model = WordReader(channels, hidden)
        model.load_state_dict(arrays)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a model of this program: {type(error).__name__}: {error}") from error
    return model


def number(minimum):
    """A converter for argparse: an int that is at least `minimum`."""

    def convert(value):
        if not value.isdecimal() or int(value) < minimum:
            raise argparse.ArgumentTypeError(f"{value!r}: must be an int >= {minimum}")
        return int(value)

    return convert


def command_line():
    parser = argparse.ArgumentParser(prog="read_words", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("train", help="train on drawn words, then test on others")
    command.add_argument("--model", required=True, metavar="FILE", help="the .npz file to write")
    command.add_argument("--updates", type=number(1), default=2000, help="(default 2000)")
    command.add_argument("--seed", type=number(0), default=0, help="of first weights and images (default 0)")
    command = commands.add_parser("read", help="read image files of one word each")
    command.add_argument("images", nargs="+", metavar="IMAGE")
    command.add_argument("--model", required=True, metavar="FILE", help="a file that train wrote")
    command.add_argument("--beam", type=number(1), default=16, help="width of the beam search (default 16)")
    command = commands.add_parser("draw", help="draw a word as those which are trained on")
    command.add_argument("image", metavar="IMAGE", help="the file to write, such as word.png")
    command.add_argument("--word", default="convolution", help="(default convolution)")
    command.add_argument("--seed", type=number(0), default=0, help="of how it looks (default 0)")
    return parser


def run_train(parsed):
    words, unseen = split_words()
    model = WordReader(rng=parsed.seed)
    io.save(parsed.model, model)  # so that a path that cannot be written to is known at once
    print(f"{len(words):,} words to train on, {len(unseen):,} others to test on", flush=True)
    train(model, words, updates=parsed.updates, rng=parsed.seed)
    io.save(parsed.model, model)
    images = draw_words(unseen, rng=1)
    for name, beam_width in (("greedy", 0), ("beam search", 16)):
        found = read(model, images, beam_width)
        wrong = [f"{word} as {other or 'nothing'}" for word, other in zip(unseen, found, strict=True) if word != other]
        print(f"{name}: {1.0 - len(wrong) / len(unseen):.4f} of the unseen words right; wrong: {', '.join(wrong[:8])}")


def run_read(parsed):
    model = load(parsed.model)
    words = read(model, [open_image(path) for path in parsed.images], parsed.beam)
    for path, word in zip(parsed.images, words, strict=True):
        print(f"{path}: {word}")


def run_draw(parsed):
    from PIL import Image

    if not re.fullmatch("[a-zA-Z]+", parsed.word):
        raise ValueError(f"--word {parsed.word!r}: must be letters from a to z")
    Image.fromarray(draw_word(parsed.word.lower(), np.random.default_rng(parsed.seed))).save(parsed.image)


def main(argv=None):
    """Run the command line; returns the exit code."""
    parsed = command_line().parse_args(argv)
    try:
        {"train": run_train, "read": run_read, "draw": run_draw}[parsed.command](parsed)
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        print(f"read_words: {error}: pip install pillow", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"read_words: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
