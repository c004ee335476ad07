"""A character-level language model of any text: Embedding, layers of LSTM or GRU, Linear.

    python examples/language_model.py train book.txt --model book.npz --updates 1000
    python examples/language_model.py train book.txt --model book.npz --updates 1000 --resume
    python examples/language_model.py sample --model book.npz --prime "The " --length 500 --temperature 0.8 --seed 0

`train` reads a UTF-8 text, keeps its last tenth apart and prints the bits per character of both parts: how many bits a
perfect compressor with these predictions would need. The text is cut into `--batch` stretches that are read side by
side, `--piece` characters an update. This is truncated backpropagation through time: a piece begins with the state that
the one before ended with, but no gradient goes back over that border. The file holds all that training needs, so that
a run which is resumed gives bit for bit the model of one that was not stopped. It is written every `--every` updates
and at the end.

`sample` writes text one character at a time, each drawn from softmax(logits / temperature); 0 takes the likeliest.
"""

import argparse
import functools
import math
import os
import sys
import time
import zlib

import numpy as np

from fastconv import io, losses, optim
from fastconv.layers import GRU, LSTM, Embedding, Layer, Linear

SIZES = {"kind": "gru", "layers": 1, "hidden": 256, "embedding": 64, "batch": 32, "piece": 100, "lr": 4e-3, "seed": 0}
HELD_OUT = 0.1  # of the text
SLOWING = 500  # updates after which the learning rate has fallen by the square root of two


class CharacterModel(Layer):
    """Predicts the next character: ids (T, N) -> logits (T, N, V). The state goes in and comes out; None is zeros."""

    def __init__(self, characters, kind="gru", layers=1, hidden=256, embedding=64, rng=None):
        rng = np.random.default_rng(rng)
        self.characters = characters  # sorted, each once; the id of a character is its position
        self.embedding = Embedding(len(characters), embedding, rng=rng)
        self.rnn = {"lstm": LSTM, "gru": GRU}[kind](embedding, hidden, layers, rng=rng)
        self.linear = Linear(hidden, len(characters), rng=rng)

    def __call__(self, ids, state=None):
        y, state = self.rnn(self.embedding(ids), state)
        return self.linear(y), state

    def forward(self, ids, state=None, *, training=True):
        x, embedding_backward = self.embedding.forward(ids, training=training)
        (y, state), rnn_backward = self.rnn.forward(x, state, training=training)
        logits, linear_backward = self.linear.forward(y, training=training)

        def backward(dlogits):
            dx, _ = rnn_backward(linear_backward(dlogits))  # the gradient of the first state is dropped: see above
            embedding_backward(dx)

        return (logits, state), backward


# -------------------------------------------------------------------------------------------------- text and numbers


def read(path):
    """The text of a UTF-8 file."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def encode(text, characters):
    """Ids (positions in `characters`, which are sorted) of the characters of `text`."""
    table, codes = (np.frombuffer(string.encode("utf-32-le"), "<u4") for string in (characters, text))
    ids = np.minimum(np.searchsorted(table, codes), len(table) - 1)
    unknown = sorted({chr(code) for code in codes[table[ids] != codes]})
    if unknown:
        shown = ", ".join(map(repr, unknown[:10]))
        raise ValueError(f"{shown}: not among the {len(characters)} characters of the text that the model is of")
    return ids


def split(ids):
    """(what is trained on, what is held out): the last tenth, in one piece."""
    count = len(ids) - max(2, round(len(ids) * HELD_OUT))
    return ids[:count], ids[count:]


def stretches(ids, batch):
    """ids as columns (time, batch): each is a continuous stretch of the text, so that the state can be carried."""
    length = len(ids) // batch
    return np.ascontiguousarray(ids[: length * batch].reshape(batch, length).T)


def bits_per_character(model, ids, piece=100):
    """Mean of -log2 p(character | all before it in its stretch) over the text cut into up to 16 stretches."""
    columns = stretches(ids, max(1, min(16, len(ids) // piece)))
    total, state = 0.0, None
    for start in range(0, len(columns) - 1, piece):
        part = columns[start : start + piece + 1]
        logits, state = model(part[:-1], state)
        total += losses.softmax_cross_entropy(logits, part[1:], reduction="sum")[0]
    return total / columns[1:].size / math.log(2.0)


# ---------------------------------------------------------------------------------------------------------- training


class Training:
    """A model, its optimiser and its place in a text; `state_dict` holds all that the next update depends on."""

    def __init__(self, model, text, batch=32, piece=100, lr=4e-3):
        self.model, self.batch, self.piece, self.lr = model, batch, piece, lr
        self.checksum = zlib.crc32(text.encode())
        ids, self.held_out = split(encode(text, model.characters))
        if len(ids) < batch * (piece + 1):
            raise ValueError(
                f"the text has {len(text)} characters, of which {max(0, len(ids))} are trained on: must be at least "
                f"batch * (piece + 1) = {batch * (piece + 1)}"
            )
        self.columns = stretches(ids, batch)
        self.optimizer = optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.99))
        self.start, self.state = 0, None

    @property
    def updates(self):
        """How many there were, in all runs."""
        return self.optimizer.steps

    def update(self):
        """Learn from the next piece of every stretch; returns its bits per character, as they were before."""
        if self.start + self.piece + 1 > len(self.columns):
            self.start, self.state = 0, None
        part = self.columns[self.start : self.start + self.piece + 1]
        # Of the number of updates alone, not of how many are planned: a run may be stopped and resumed anywhere.
        self.optimizer.lr = self.lr / math.sqrt(1.0 + self.updates / SLOWING)
        self.optimizer.zero_grad()
        (logits, state), backward = self.model.forward(part[:-1], self.state)
        loss, gradient = losses.softmax_cross_entropy(logits, part[1:], gradient_out=logits)
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} at update {self.updates + 1}: a lower --lr may help")
        backward(gradient)
        optim.clip_grad_norm(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.start, self.state = self.start + self.piece, state
        return loss / math.log(2.0)

    def state_dict(self):
        """Name to array, for fastconv.io.save."""
        state = () if self.state is None else self.state if isinstance(self.state, tuple) else (self.state,)
        return {
            "characters": np.array([ord(character) for character in self.model.characters], np.int64),
            **{f"model.{name}": value for name, value in self.model.state_dict().items()},
            **{f"optimizer.{name}": value for name, value in self.optimizer.state_dict().items()},
            **{f"state.{index}": part for index, part in enumerate(state)},
            "training.numbers": np.array([self.batch, self.piece, self.start, self.checksum], np.int64),
            "training.lr": np.array(self.lr, np.float64),
        }

    @classmethod
    def resume(cls, path, text):
        """The training that a file of `state_dict` is of, at the update where it was saved."""
        arrays = io.load(path)
        model = model_of(arrays, path)
        try:
            batch, piece, start, checksum = map(int, arrays["training.numbers"])
            lr = float(arrays["training.lr"])
            if min(batch, piece) < 1 or start < 0:
                raise ValueError(f"batch {batch}, piece {piece}, start {start}")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not say where its training stopped: {error}") from error
        if checksum != zlib.crc32(text.encode()):
            raise ValueError(f"{path} is a model of another text: training can only go on with the same one")
        training = cls(model, text, batch, piece, lr)
        training.optimizer.load_state_dict(under(arrays, "optimizer."))
        state = [value for _, value in sorted(under(arrays, "state.").items())]
        if state:
            training.state = tuple(state) if isinstance(model.rnn, LSTM) else state[0]
        training.start = start
        return training


def under(arrays, prefix):
    """{name without the prefix: array} of those that have it."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def model_of(arrays, path):
    """The model in what io.load gave; its sizes are those of its arrays."""
    try:
        characters = "".join(map(chr, arrays["characters"]))
        if sorted(set(characters)) != list(characters):
            raise ValueError("its characters are not sorted")
        weights = under(arrays, "model.")
        rows, hidden = weights["rnn.weight_hh_l0"].shape
        layers = sum(name.startswith("rnn.weight_hh_l") for name in weights)
        kind = "lstm" if rows == 4 * hidden else "gru"
        model = CharacterModel(characters, kind, layers, hidden, weights["embedding.weight"].shape[1])
        model.load_state_dict(weights)
    except (KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a model of this program: {type(error).__name__}: {error}") from error
    return model


def progress_bar(updates):
    """tqdm's, where it is installed and stderr is a terminal; the lines of `train` come with or without it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=updates, unit="update", disable=None)


def train(training, updates, path, every=200):
    """`updates` more updates; a line and a saved file after every `every` of them and the last."""
    io.save(path, training)  # so that a path that cannot be written to is known at once
    bar = progress_bar(updates)
    say = functools.partial(print, flush=True) if bar is None else bar.write
    recent, begun, last = [], time.perf_counter(), training.updates + updates
    try:
        while training.updates < last:
            recent.append(training.update())
            if bar is not None:
                bar.update()
            if training.updates % every == 0 or training.updates == last:
                speed = len(recent) * training.batch * training.piece / (time.perf_counter() - begun)
                held_out = bits_per_character(training.model, training.held_out, training.piece)
                io.save(path, training)
                say(
                    f"update {training.updates}: {sum(recent) / len(recent):.3f} bits per character, "
                    f"held out {held_out:.3f}; {speed:,.0f} characters/s"
                )
                recent, begun = [], time.perf_counter()
    finally:
        if bar is not None:
            bar.close()


# ---------------------------------------------------------------------------------------------------------- sampling


def sample(model, prime, length, temperature=0.8, seed=0):
    """Yields `length` characters that follow `prime`, each as soon as it is drawn."""
    if not prime:
        raise ValueError("the prime is empty: must be at least one character")
    rng = np.random.default_rng(seed)
    logits, state = model(encode(prime, model.characters)[:, None])
    for _ in range(length):
        row = logits[-1, 0]
        if temperature == 0.0:
            index = int(np.argmax(row))
        else:
            # Less the largest first, so that nothing overflows over a small temperature.
            sums = np.cumsum(np.exp((row - row.max()).astype(np.float64) / temperature))
            index = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        yield model.characters[index]
        logits, state = model(np.full((1, 1), index, np.int64), state)


# ------------------------------------------------------------------------------------------------------ command line


def number(kind, minimum, above=False):
    """A converter for argparse: a finite int or float that is at least, or above, `minimum`."""

    def convert(value):
        try:
            converted = kind(value)
        except ValueError:
            converted = math.nan
        if not minimum <= converted < math.inf or (above and converted == minimum):
            rule = f"{kind.__name__} {'>' if above else '>='} {minimum}"
            raise argparse.ArgumentTypeError(f"{value!r}: must be a finite {rule}")
        return converted

    return convert


def command_line():
    parser = argparse.ArgumentParser(prog="language_model", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    training = commands.add_parser("train", help="train on a text, or go on training")
    training.add_argument("text", metavar="TEXT", help="a UTF-8 file")
    training.add_argument("--model", required=True, metavar="FILE", help="the .npz file to write")
    training.add_argument("--resume", action="store_true", help="go on where the training of FILE stopped")
    training.add_argument("--updates", type=number(int, 0), default=1000, help="how many more (default 1000)")
    training.add_argument("--every", type=number(int, 1), default=200, help="updates from line to line (default 200)")
    sizes = training.add_argument_group("sizes", "which a resumed run has from FILE")
    sizes.add_argument("--kind", choices=("lstm", "gru"), help=f"(default {SIZES['kind']})")
    for name in ("layers", "hidden", "embedding", "batch", "piece"):
        sizes.add_argument(f"--{name}", type=number(int, 1), help=f"(default {SIZES[name]})")
    sizes.add_argument("--lr", type=number(float, 0.0, above=True), help=f"learning rate (default {SIZES['lr']})")
    sizes.add_argument("--seed", type=number(int, 0), help=f"of the first weights (default {SIZES['seed']})")
    sampling = commands.add_parser("sample", help="write text")
    sampling.add_argument("--model", required=True, metavar="FILE", help="a file that train wrote")
    sampling.add_argument("--prime", default="The ", help="what the text begins with (default 'The ')")
    sampling.add_argument("--length", type=number(int, 0), default=500, help="further characters (default 500)")
    sampling.add_argument("--temperature", type=number(float, 0.0), default=0.8, help="(default 0.8)")
    sampling.add_argument("--seed", type=number(int, 0), default=0, help="of the draws (default 0)")
    return parser


def run_train(parsed):
    given = {name: getattr(parsed, name) for name in SIZES if getattr(parsed, name) is not None}
    text = read(parsed.text)
    if parsed.resume:
        if given:
            raise ValueError(f"--{next(iter(given))}: is in {parsed.model}, and cannot be given with --resume")
        training = Training.resume(parsed.model, text)
    else:
        if os.path.exists(parsed.model):
            raise ValueError(f"{parsed.model} exists: go on with --resume, or give another name")
        sizes = {**SIZES, **given}
        shape = (sizes[name] for name in ("kind", "layers", "hidden", "embedding", "seed"))
        model = CharacterModel("".join(sorted(set(text))), *shape)
        training = Training(model, text, sizes["batch"], sizes["piece"], sizes["lr"])
    parameters = sum(parameter.value.size for _, parameter in training.model.parameters())
    print(
        f"{len(text):,} characters, {len(training.held_out):,} of them held out, {len(training.model.characters)} "
        f"different ones; {parameters:,} parameters; {training.updates} updates so far",
        flush=True,
    )
    try:
        train(training, parsed.updates, parsed.model, parsed.every)
    except KeyboardInterrupt:
        print(f"\nstopped; {parsed.model} is as of the last line: go on with --resume", file=sys.stderr)
        return 130
    return 0


def run_sample(parsed):
    model = model_of(io.load(parsed.model), parsed.model)
    drawn = sample(model, parsed.prime, parsed.length, parsed.temperature, parsed.seed)
    first = next(drawn, "")  # wrong primes are told of before anything is printed
    print(parsed.prime + first, end="", flush=True)
    for character in drawn:
        print(character, end="", flush=True)
    print()
    return 0


def main(argv=None):
    """Run the command line; returns the exit code."""
    parsed = command_line().parse_args(argv)
    try:
        return {"train": run_train, "sample": run_sample}[parsed.command](parsed)
    except BrokenPipeError:  # the reader has left, as in `... sample | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(f"language_model: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
