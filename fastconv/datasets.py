"""Small data that needs no download: handwritten digits, English text.

>>> from fastconv import datasets
>>> images, labels = datasets.digits()
>>> images.shape, labels.shape
((1797, 1, 8, 8), (1797,))
"""

import numpy as np

__all__ = ["digits", "english", "train_test_split"]


def digits():
    """(images (1797, 1, 8, 8) float32 in [0, 1], labels (1797,) int64 in 0..9): handwritten digits.

    The test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0).
    """
    from importlib.resources import files

    with files("fastconv.data").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        images, labels = data["images"], data["labels"]
    return (images.astype(np.float32) / np.float32(16.0))[:, None], labels.astype(np.int64)


def english():
    """About 400,000 characters of English prose with code: Python's own help texts, as one string.

    The text is that of the running Python version, sorted by topic, blanks and line ends collapsed, ASCII only.

    >>> len(english()) > 100_000 and english().isascii()
    True
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode("ascii")
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def train_test_split(images, labels, test_fraction=0.2, rng=None):
    """((images, labels) to train on, (images, labels) to test on), shuffled by rng (a Generator, or a seed).

    >>> train, test = train_test_split(np.arange(10), np.arange(10), 0.3, rng=0)
    >>> len(train[0]), len(test[1])
    (7, 3)
    """
    if len(images) != len(labels):
        raise ValueError(f"train_test_split: {len(images)} images and {len(labels)} labels: must be as many")
    if not 0.0 <= test_fraction <= 1.0:
        raise ValueError(f"train_test_split: test_fraction={test_fraction!r}: must be in [0, 1]")
    order = np.random.default_rng(rng).permutation(len(images))
    count = round(len(images) * test_fraction)
    test, train = order[:count], order[count:]
    return (images[train], labels[train]), (images[test], labels[test])
