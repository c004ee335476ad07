"""The training loop: fit, evaluate, predict; progress and history."""

import sys
import time

import numpy as np

__all__ = ["History", "accuracy", "evaluate", "fit", "predict"]


class History:
    """What fit measured, an entry an epoch: lists `epochs` (1, 2, ...), `loss`, `seconds`, and dicts of lists.

    `metrics["accuracy"]` holds a metric over the epoch's training batches (as they were met, so before the epoch's
    end); `validation["loss"]`, `validation["accuracy"]` hold evaluate's after each epoch.
    """

    def __init__(self):
        self.epochs, self.loss, self.seconds = [], [], []
        self.metrics, self.validation = {}, {}

    @property
    def accuracy(self):
        """metrics["accuracy"], or an empty list."""
        return self.metrics.get("accuracy", [])

    def add(self, loss, metrics, validation, seconds):
        """Append an epoch."""
        self.epochs.append(len(self.epochs) + 1)
        self.loss.append(loss)
        self.seconds.append(seconds)
        for target, values in ((self.metrics, metrics), (self.validation, validation)):
            for name, value in values.items():
                target.setdefault(name, []).append(value)

    def __repr__(self):
        return f"History({describe(self)})" if self.epochs else "History()"


def describe(history):
    """The last epoch as text: `loss 0.1234, accuracy 0.98, validation loss 0.2`."""
    parts = [f"loss {history.loss[-1]:.4g}"]
    parts += [f"{name} {values[-1]:.4g}" for name, values in history.metrics.items()]
    parts += [f"validation {name} {values[-1]:.4g}" for name, values in history.validation.items()]
    return ", ".join(parts)


def accuracy(prediction, labels):
    """The share of rows whose largest prediction (..., C) is at the label (...).

    >>> accuracy(np.array([[0, 1], [0, 1]], np.float32), np.array([1, 0]))
    0.5
    """
    return float(np.mean(np.argmax(prediction, axis=-1) == labels)) if np.size(labels) else float("nan")


class _Progress:
    """One line that is rewritten, by tqdm where it is installed; or plain lines, one an epoch; or nothing."""

    def __init__(self, progress, epochs, batches):
        self.epochs, self.batches = epochs, batches
        self.bar, self.style, self.shown = None, "silent", 0.0
        if progress:
            self.style = "lines"
        elif progress is None and sys.stderr is not None and sys.stderr.isatty():
            self.style = "rewrite"
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.style = "tqdm"
            self.bar = tqdm(total=epochs * batches, unit="batch", file=sys.stderr)

    def batch(self, epoch, index, loss):
        if self.style == "tqdm":
            self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.update()
        elif self.style == "rewrite" and time.monotonic() - self.shown > 0.1:
            self.shown = time.monotonic()
            self._rewrite(f"epoch {epoch}/{self.epochs}, batch {index}/{self.batches}: loss {loss:.4g}")

    def epoch(self, history):
        text = f"epoch {history.epochs[-1]}/{self.epochs}: {describe(history)}, {history.seconds[-1]:.1f} s"
        if self.style == "tqdm":
            self.bar.set_postfix_str(describe(history))
        elif self.style == "rewrite":
            self._rewrite(text)
        elif self.style == "lines":
            print(text, file=sys.stderr, flush=True)

    def _rewrite(self, text):
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def close(self):
        if self.bar is not None:
            self.bar.close()
        elif self.style == "rewrite":
            sys.stderr.write("\n")


def _check(function, inputs, targets, batch_size):
    if len(inputs) != len(targets):
        raise ValueError(f"{function}: {len(inputs)} inputs and {len(targets)} targets: must be as many")
    if not len(inputs):
        raise ValueError(f"{function}: inputs is empty: must hold at least one")
    if batch_size < 1:
        raise ValueError(f"{function}: batch_size={batch_size!r}: must be >= 1")


def _metrics(metrics, targets):
    if metrics is not None:
        return metrics
    return {"accuracy": accuracy} if np.asarray(targets).dtype.kind in "iu" else {}


class _Means:
    """Means of the loss and the metrics over batches, weighted by their sizes."""

    def __init__(self, metrics):
        self.metrics = metrics
        self.count, self.loss = 0, 0.0
        self.sums = dict.fromkeys(metrics, 0.0)

    def add(self, loss, prediction, target):
        size = len(target)
        self.count += size
        self.loss += loss * size
        for name, metric in self.metrics.items():
            self.sums[name] += metric(prediction, target) * size

    def result(self):
        return self.loss / self.count, {name: value / self.count for name, value in self.sums.items()}


def fit(
    model,
    inputs,
    targets,
    *,
    loss,
    optimizer,
    epochs,
    batch_size=32,
    rng=None,
    validation=None,
    metrics=None,
    max_grad_norm=None,
    progress=None,
    callback=None,
):
    """Train `model` on inputs (n, ...) and targets (n, ...), by batches in a new random order each epoch.

    loss: (prediction, target) -> (float, gradient), such as those of fastconv.losses, the mean over a batch.
    rng: Generator or seed of the order. validation: (inputs, targets), evaluated after each epoch. metrics: name to
    (prediction, target) -> float; accuracy where targets are integers and none are given. max_grad_norm: clip
    gradients. progress: None shows one line if stderr is a terminal (tqdm's, where installed), True prints a line an
    epoch wherever stderr goes, False nothing. callback(history) is called after each epoch; if it returns True,
    training ends. Ctrl-C propagates, and leaves the model as of the last finished batch.

    Returns History.

    >>> from fastconv import losses, optim; from fastconv.layers import Linear
    >>> x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32); model = Linear(3, 1, rng=0)
    >>> history = fit(model, x, x.sum(1, keepdims=True), loss=losses.mean_squared_error,
    ...               optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=20, rng=0)
    >>> history.loss[-1] < 0.01 * history.loss[0]
    True
    """
    from fastconv.optim import clip_grad_norm

    _check("fit", inputs, targets, batch_size)
    rng = np.random.default_rng(rng)
    metrics = _metrics(metrics, targets)
    history = History()
    batches = -(-len(inputs) // batch_size)
    display = _Progress(progress, epochs, batches)
    try:
        for epoch in range(1, epochs + 1):
            start, means = time.perf_counter(), _Means(metrics)
            order = rng.permutation(len(inputs))
            for index in range(batches):
                chosen = order[index * batch_size : (index + 1) * batch_size]
                target = targets[chosen]
                optimizer.zero_grad()
                prediction, backward = model.forward(inputs[chosen], training=True)
                value, gradient = loss(prediction, target)
                backward(gradient)
                if max_grad_norm is not None:
                    clip_grad_norm(model.parameters(), max_grad_norm)
                optimizer.step()
                means.add(value, prediction, target)
                display.batch(epoch, index + 1, value)
            mean, measured = means.result()
            checked = {}
            if validation is not None:
                checked = evaluate(model, *validation, loss=loss, metrics=metrics, batch_size=batch_size)
            history.add(mean, measured, checked, time.perf_counter() - start)
            display.epoch(history)
            if callback is not None and callback(history) is True:
                break
    finally:
        display.close()
    return history


def evaluate(model, inputs, targets, *, loss, metrics=None, batch_size=256):
    """{"loss": mean, metric: mean, ...} of the model, as in inference, over inputs (n, ...) and targets (n, ...).

    >>> from fastconv.layers import Flatten; from fastconv.losses import mean_squared_error
    >>> x = np.ones((3, 2), np.float32); evaluate(Flatten(), x, 0 * x, loss=mean_squared_error)
    {'loss': 1.0}
    """
    _check("evaluate", inputs, targets, batch_size)
    means = _Means(_metrics(metrics, targets))
    for start in range(0, len(inputs), batch_size):
        target = targets[start : start + batch_size]
        prediction = model(inputs[start : start + batch_size])
        means.add(loss(prediction, target)[0], prediction, target)
    mean, measured = means.result()
    return {"loss": mean, **measured}


def predict(model, inputs, batch_size=256):
    """The model's outputs, as in inference, of inputs (n, ...), computed by batches.

    >>> from fastconv.layers import Flatten
    >>> predict(Flatten(), np.ones((5, 2, 3), np.float32), batch_size=2).shape
    (5, 6)
    """
    if batch_size < 1:
        raise ValueError(f"predict: batch_size={batch_size!r}: must be >= 1")
    if len(inputs) <= batch_size:
        return model(inputs)
    return np.concatenate(
        [model(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)], axis=0
    )
