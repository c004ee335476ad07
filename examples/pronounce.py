"""How English words are pronounced: the trained GRU encoder and decoder of the package g2p-en, run by fastconv.

    pip install g2p-en                                            # or only its file checkpoint20.npz, for --weights
    python examples/pronounce.py fastconv backpropagation         # the phonemes of words, in ARPAbet
    OPENBLAS_NUM_THREADS=1 python examples/pronounce.py --compare # with the package's own NumPy code: same? how fast?

An encoder reads the letters of a word and hands its last state to a decoder, which writes phonemes, each fed back as
the next input, until it writes the end. g2p-en (https://github.com/Kyubyong/g2p, Apache License 2.0) asks this network
about words that the CMU Pronouncing Dictionary lacks. Neither the dictionary nor nltk, which the package imports, is
needed here. `--compare TEXT` takes the first 1,000 different words of a text, by default of Python's own help, and one
thread.
"""

import argparse
import contextlib
import importlib
import importlib.util
import os
import re
import sys
import time
from unittest import mock

import numpy as np

from fastconv import datasets, io, runtime
from fastconv.layers import GRU, Layer, Linear

# The order of the rows of the network's tables.
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = ["B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"]
CONSONANTS += ["NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"]
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>"]
PHONEMES += sorted(["UW", *CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")])  # 0: unstressed
LONGEST = 20  # phonemes

# The arrays in the package's file. Its GRU has PyTorch's formula and order of gates, as has fastconv's.
ARRAYS = ["enc_emb", "dec_emb", "fc_w", "fc_b"]
ARRAYS += [f"{half}_{name}" for half in ("enc", "dec") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]


class Pronouncer(Layer):
    """Words to phonemes: an encoder GRU over letters, a decoder GRU over phonemes that begins with its last state.

    x of both is one-hot. An embedding before a GRU is of use in training; afterwards weight_ih @ embedding is a smaller
    weight_ih with the same result, here of 29 and 74 columns in place of 256.
    """

    def __init__(self, hidden):
        self.encoder = GRU(len(LETTERS), hidden)
        self.decoder = GRU(len(PHONEMES), hidden)
        self.linear = Linear(hidden, len(PHONEMES))

    def __call__(self, words, batch=128):
        """The phonemes of each word, a list of strings; words of about one length share a batch."""
        order = sorted(range(len(words)), key=lambda index: len(words[index]))
        result = [None] * len(words)
        for start in range(0, len(words), batch):
            chosen = order[start : start + batch]
            for index, phonemes in zip(chosen, self._decode(self._encode([words[i] for i in chosen])), strict=True):
                result[index] = [PHONEMES[phoneme] for phoneme in phonemes]
        return result

    def _encode(self, words):
        """The state (1, N, H) after the last letter of each word and the mark of its end."""
        lengths = np.array([len(word) + 1 for word in words])
        ids = np.full((lengths.max(), len(words)), LETTERS.index("</s>"))
        for column, word in enumerate(words):
            ids[: len(word), column] = [LETTERS.index(c if "a" <= c <= "z" else "<unk>") for c in word]
        _, state = self.encoder(one_hot(ids, len(LETTERS)), lengths=lengths)
        return state

    def _decode(self, state):
        """The likeliest phoneme again and again, of all words at once; words that have ended leave the batch."""
        written = [[] for _ in range(state.shape[1])]
        alive = np.arange(state.shape[1])
        last = np.full(state.shape[1], PHONEMES.index("<s>"))
        for _ in range(LONGEST):
            y, state = self.decoder(one_hot(last[None], len(PHONEMES)), state)
            last = self.linear(y[0]).argmax(axis=1)
            going = last != PHONEMES.index("</s>")
            if not going.all():
                alive, last, state = alive[going], last[going], np.ascontiguousarray(state[:, going])
            if not len(alive):
                break
            for index, phoneme in zip(alive, last, strict=True):
                written[index].append(phoneme)
        return written


def one_hot(ids, count):
    """ids (...) -> (..., count), 1 at the id and 0 elsewhere."""
    return np.eye(count, dtype=np.float32)[ids]


def load(path):
    """The Pronouncer with the weights of the package's file."""
    arrays = io.load(path)
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}: must be checkpoint20.npz of g2p-en")
    try:
        weights = {"linear.weight": arrays["fc_w"], "linear.bias": arrays["fc_b"]}
        for theirs, ours in (("enc", "encoder"), ("dec", "decoder")):
            weights[f"{ours}.weight_ih_l0"] = arrays[f"{theirs}_w_ih"] @ arrays[f"{theirs}_emb"].T
            weights[f"{ours}.weight_hh_l0"] = arrays[f"{theirs}_w_hh"]
            weights.update({f"{ours}.bias_{end}_l0": arrays[f"{theirs}_b_{end}"] for end in ("ih", "hh")})
        model = Pronouncer(arrays["fc_w"].shape[1])
        model.load_state_dict(weights)
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit the network of g2p-en: {error}") from error
    return model


def installed():
    """The path of the weights in the installed package, which is not imported; None where there is none."""
    spec = importlib.util.find_spec("g2p_en")
    if spec is None or not spec.submodule_search_locations:
        return None
    return os.path.join(spec.submodule_search_locations[0], "checkpoint20.npz")


# -------------------------------------------------------------------------------------------------------- comparison


def package_predict():
    """The package's own function from a word to phonemes, in NumPy.

    On import it asks nltk for data that it would download, and takes a dictionary from it; the function uses neither.
    So all that it imports but NumPy is replaced meanwhile.
    """
    replaced = {name: mock.MagicMock() for name in ("nltk", "nltk.corpus", "nltk.tokenize", "inflect")}
    with mock.patch.dict(sys.modules, replaced):
        return importlib.import_module("g2p_en.g2p").G2p().predict


def different_words(text, count):
    """The first `count` different words of a text, in lower case."""
    return list(dict.fromkeys(re.findall("[a-z]+", text.lower())))[:count]


def timed(function, *arguments):
    """(result, seconds) of a call."""
    begun = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begun


def one_thread():
    """A context in which NumPy's products are serial, if threadpoolctl is installed."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1)


def compare(model, words, predict):
    """Prints whether the pronunciations are those of `predict`, and the times; returns how many differ."""
    with one_thread(), runtime.options(num_threads=1):
        model(words[:8])  # the first calls, which make plans, are not timed
        predict(words[0])
        expected, theirs = timed(lambda: [predict(word) for word in words])
        single, alone = timed(lambda: [model([word])[0] for word in words])
        batched, together = timed(model, words)
    answers = zip(words, expected, single, batched, strict=True)
    differing = [word for word, first, *ours in answers if ours != [first, first]]
    named = f": {' '.join(differing[:10])}" if differing else ""
    print(f"{len(words)} words, one thread: {len(differing)} pronounced otherwise{named}")
    print(f"g2p-en in NumPy           {theirs:7.3f} s")
    print(f"fastconv, word by word    {alone:7.3f} s, {theirs / alone:5.1f} times faster")
    print(f"fastconv, batches of 128  {together:7.3f} s, {theirs / together:5.1f} times faster")
    return len(differing)


# ------------------------------------------------------------------------------------------------------ command line


def command_line():
    parser = argparse.ArgumentParser(prog="pronounce", description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="what to pronounce")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint20.npz (default: that of the installed package)")
    parser.add_argument(
        "--compare", nargs="?", const="", metavar="TEXT", help="compare with the package on words of TEXT"
    )
    parser.add_argument("--count", type=int, default=1000, help="at most so many words to compare (default 1000)")
    return parser


def run(parsed):
    path = parsed.weights or installed()
    if path is None:
        raise ValueError("the package g2p-en is not installed: pip install g2p-en, or give --weights checkpoint20.npz")
    model = load(path)
    if parsed.words:
        if "" in parsed.words:
            raise ValueError("WORD is empty: must have a letter at least")
        for word, phonemes in zip(parsed.words, model([word.lower() for word in parsed.words]), strict=True):
            print(f"{word}: {' '.join(phonemes)}")
    if parsed.compare is None:
        return 0
    if installed() is None:
        raise ValueError("--compare: the package g2p-en is not installed: pip install g2p-en")
    if parsed.compare:
        with open(parsed.compare, encoding="utf-8") as file:
            text = file.read()
    else:
        text = datasets.english()
    words = different_words(text, parsed.count)
    if not words:
        raise ValueError(f"--compare: {parsed.compare} has no words")
    return 1 if compare(model, words, package_predict()) else 0


def main(argv=None):
    """Run the command line; returns the exit code: 1 if pronunciations differ."""
    parser = command_line()
    parsed = parser.parse_args(argv)
    if not parsed.words and parsed.compare is None:
        parser.error("give words, or --compare")
    try:
        return run(parsed)
    except (OSError, ValueError) as error:
        print(f"pronounce: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
