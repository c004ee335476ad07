"""A picture of what the demo learned. The only file that needs matplotlib (pip install "fastconv[plot]")."""

import os

import numpy as np


def problem(path):
    """Why no picture can be drawn to this path, as one line; None where it can."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return '--plot needs matplotlib, which is not installed: pip install "fastconv[plot]"'
    types = Figure().canvas.get_supported_filetypes()
    suffix = os.path.splitext(path)[1][1:].lower()
    if suffix not in types:
        return f"--plot {path}: the name must end in one of .{', .'.join(sorted(types))}"
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        return f"--plot {path}: the folder {folder} is not there or not writeable"
    return None


def _curves(axes, digits, text):
    axes[0].plot(digits.history.epochs, digits.history.loss, color="tab:blue")
    axes[0].set(title="Digits: training loss", xlabel="epoch", ylabel="cross entropy", yscale="log")
    updates = np.arange(1, len(text.history) + 1)
    axes[1].plot(updates, text.history, color="tab:orange", label="training")
    axes[1].axhline(text.bits, color="black", linestyle="--", label=f"held out at the end: {text.bits:.2f}")
    axes[1].set(title="Text: bits per character", xlabel="update", ylabel="bits")
    axes[1].legend()


def _filters(axes, weight):
    """The filters of the first layer, (K, 1, R, S), blue where negative and red where positive."""
    limit = float(np.abs(weight).max())
    for axis, kernel in zip(axes, weight[:, 0], strict=False):
        axis.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _predictions(axes, digits):
    """Held-out images with what the network says: first all it gets wrong, then the first ones of the rest."""
    wrong = digits.predicted != digits.labels
    order = np.argsort(~wrong, kind="stable")
    for axis, index in zip(axes, order, strict=False):
        axis.imshow(digits.images[index, 0], cmap="gray_r")
        text, colour = str(digits.predicted[index]), "black"
        if wrong[index]:
            text, colour = f"{digits.predicted[index]}, is {digits.labels[index]}", "red"
        axis.set_title(text, fontsize=8, color=colour)


def save(path, digits, text):
    """Draw the loss curves, the filters of the first layer and some predictions to a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 10), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(3, 2, 3))
    _curves(top.subplots(1, 2), digits, text)
    weight = digits.model["conv1"].weight.value
    middle.suptitle("The filters of the first layer")
    filters = middle.subplots(2, 16).ravel()
    _filters(filters, weight)
    count = len(digits.labels)
    bottom.suptitle(f"Held-out digits and predictions ({digits.correct} of {count} right; the wrong ones first)")
    pictures = bottom.subplots(3, 12).ravel()
    _predictions(pictures, digits)
    for axis in (*filters, *pictures):
        axis.axis("off")
    figure.savefig(path, dpi=120)
