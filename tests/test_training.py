"""fit, evaluate, predict: what they compute, show and leave behind."""

import io
import sys

import numpy as np
import pytest
from subprocesses import python

from fastconv import layers, losses, optim, runtime, training
from fastconv.layers import Linear, Sequential, Tanh


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are not worth sharing; where other programs run, waiting for a second core takes far longer."""
    with runtime.options(num_threads=1):
        yield


@pytest.fixture
def problem(rng):
    """Two classes of points, and a model to tell them."""
    x = rng.standard_normal((90, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    return Sequential(Linear(2, 16, rng=1), Tanh(), Linear(16, 2, rng=2)), x, labels


def train(problem, epochs=3, **named):
    model, x, labels = problem
    optimizer = optim.Adam(model.parameters(), lr=0.03)
    named.setdefault("rng", 0)
    return training.fit(
        model, x, labels, loss=losses.softmax_cross_entropy, optimizer=optimizer, epochs=epochs, batch_size=32, **named
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_learning_and_history(problem):
    model, x, labels = problem
    history = train(problem, 60, validation=(x[:20], labels[:20]))
    assert history.epochs == list(range(1, 61)) and len(history.loss) == len(history.seconds) == 60
    assert history.loss[-1] < 0.5 * history.loss[0] and history.accuracy[-1] > 0.9
    assert history.accuracy is history.metrics["accuracy"]
    result = training.evaluate(model, x[:20], labels[:20], loss=losses.softmax_cross_entropy)
    assert result == {"loss": history.validation["loss"][-1], "accuracy": history.validation["accuracy"][-1]}
    assert "loss" in repr(history) and repr(training.History()) == "History()"


def test_a_step_is_forward_backward_update(problem):
    """fit with one batch of everything does what the loop written out does."""
    model, x, labels = problem
    twin = Sequential(Linear(2, 16, rng=1), Tanh(), Linear(16, 2, rng=2))
    history = training.fit(
        model, x, labels, loss=losses.softmax_cross_entropy, optimizer=optim.SGD(model.parameters(), lr=0.5),
        epochs=2, batch_size=100, rng=5, max_grad_norm=0.01,
    )  # fmt: skip
    rng, optimizer = np.random.default_rng(5), optim.SGD(twin.parameters(), lr=0.5)
    for epoch in range(2):
        order = rng.permutation(90)
        optimizer.zero_grad()
        y, backward = twin.forward(x[order])
        loss, gradient = losses.softmax_cross_entropy(y, labels[order])
        assert loss == history.loss[epoch]
        backward(gradient)
        assert optim.clip_grad_norm(twin.parameters(), 0.01) > 0.01
        optimizer.step()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], value)


def test_the_seed_makes_it_reproducible(problem):
    model, x, labels = problem
    start = model.state_dict()
    first = train(problem, rng=7).loss
    model.load_state_dict(start)
    second = train(problem, rng=np.random.default_rng(7)).loss
    model.load_state_dict(start)
    assert first == second != train(problem, rng=8).loss


def test_means_weight_batches_by_size(rng):
    x, target = rng.standard_normal((10, 3)).astype(np.float32), rng.standard_normal((10, 3)).astype(np.float32)
    named = {"loss": losses.mean_squared_error, "metrics": {"worst": lambda p, t: float(np.abs(p - t).mean())}}
    whole = training.evaluate(layers.Flatten(), x, target, **named)
    parts = training.evaluate(layers.Flatten(), x, target, batch_size=4, **named)
    assert whole == pytest.approx(parts, rel=1e-6) and list(whole) == ["loss", "worst"]


def test_predict_and_evaluate_are_inference(rng):
    model = Sequential(layers.Dropout(0.9), Linear(3, 2, rng=0))
    x = rng.standard_normal((10, 3)).astype(np.float32)
    whole = model(x)
    for batch_size in (1, 3, 10, 99):
        np.testing.assert_allclose(training.predict(model, x, batch_size), whole, rtol=1e-6, atol=1e-7)
    assert model[1].weight.grad is None


def test_callback_and_early_end(problem):
    seen = []
    history = train(problem, 10, callback=lambda history: seen.append(history.loss[-1]) or len(seen) == 4)
    assert len(history.epochs) == 4 and seen == history.loss


def test_ctrl_c_propagates_and_the_model_goes_on(problem, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setitem(sys.modules, "tqdm", None)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(problem, callback=interrupt)
    assert screen.getvalue().endswith("\n")
    assert len(train(problem, progress=False).epochs) == 3


def test_silent_off_terminals(problem, capfd):
    train(problem)
    train(problem, progress=False)
    assert capfd.readouterr() == ("", "")
    train(problem, progress=True)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 3 and lines[2].startswith("epoch 3/3: loss ") and "\r" not in err
    code = (
        "import numpy as np; from fastconv import layers, losses, optim, training; m = layers.Linear(2, 2);"
        "training.fit(m, np.ones((8, 2), 'f'), np.zeros(8, int), loss=losses.softmax_cross_entropy, epochs=2,"
        "optimizer=optim.SGD(m.parameters(), 0.1))"
    )
    done = python("-c", code)
    assert done.returncode == 0
    assert done.stdout == done.stderr == ""


def test_a_line_on_terminals(problem, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    train(problem, progress=False)
    assert screen.getvalue() == ""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tqdm", None)  # as if not installed
        train(problem)
    text = screen.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n") and "\repoch 3/3: loss " in text
    pytest.importorskip("tqdm")
    screen.truncate(0)
    train(problem)
    assert "epoch 3/3: 100%" in screen.getvalue() and "accuracy" in screen.getvalue()


def test_bad_arguments(problem):
    model, x, labels = problem
    with pytest.raises(ValueError, match="fit: 90 inputs and 89 targets: must be as many"):
        train((model, x, labels[1:]))
    with pytest.raises(ValueError, match="fit: inputs is empty"):
        train((model, x[:0], labels[:0]))
    with pytest.raises(ValueError, match="predict: batch_size=0: must be >= 1"):
        training.predict(model, x, 0)
    with pytest.raises(ValueError, match=r"^0 \(Linear\): linear: x has shape"):
        train((model, x[:, :1], labels))
