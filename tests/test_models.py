"""Whole models learn: the test that no wrong gradient survives."""

import numpy as np
import pytest

from fastconv import datasets, losses, optim, runtime, training
from fastconv.layers import (
    GRU,
    LSTM,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool2d,
    LastStep,
    Layer,
    Linear,
    LSTMCell,
    MaxPool2d,
    Outputs,
    ReLU,
    Residual,
    Sequential,
    SiLU,
)


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are not worth sharing; where other programs run, waiting for a second core takes far longer."""
    with runtime.options(num_threads=1):
        yield


def overfit(model, x, target, loss, steps, lr, goal):
    optimizer = optim.Adam(model.parameters(), lr=lr)
    first = None
    for _ in range(steps):
        optimizer.zero_grad()
        y, backward = model.forward(x)
        value, gradient = loss(y, target)
        first = value if first is None else first
        backward(gradient)
        optimizer.step()
    assert value < goal < 0.1 * first, f"loss from {first} to {value}"


def test_a_cnn_overfits_a_batch(isa, rng):
    model = Sequential(
        Conv2d(3, 16, 3, padding=1, rng=0, input_grad=False),
        BatchNorm2d(16),
        ReLU(),
        MaxPool2d(2),
        Concat(Conv2d(16, 8, 1, rng=1), Conv2d(16, 8, 3, padding=1, groups=8, rng=2)),
        SiLU(),
        Flatten(),
        Linear(16 * 16, 5, rng=3),
    )
    x, labels = rng.standard_normal((20, 3, 8, 8)).astype(np.float32), rng.integers(0, 5, 20)
    overfit(model, x, labels, losses.softmax_cross_entropy, 30, 1e-2, 0.05)
    assert training.accuracy(model(x), labels) == 1.0


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_recurrent_model_overfits_a_batch(kind, isa, rng):
    """Label each sequence of ids by class: nothing but the order and the ids tell."""
    model = Sequential(Embedding(11, 8, rng=0), LastStep(kind(8, 24, batch_first=True, rng=1)), Linear(24, 4, rng=2))
    ids, labels = rng.integers(0, 11, (24, 7)), rng.integers(0, 4, 24)
    overfit(model, ids, labels, losses.softmax_cross_entropy, 60, 2e-2, 0.05)


def test_a_sequence_model_predicts_every_step(rng):
    """The sum of the last two inputs, at each step, by a stack with dropout."""
    x = rng.integers(0, 2, (20, 16, 1)).astype(np.float32)
    target = x.copy()
    target[1:] += x[:-1]
    model = Sequential(
        Outputs(LSTM(1, 24, num_layers=2, dropout=0.02, rng=0)), Dropout(0.02, rng=1), Linear(24, 1, rng=2)
    )
    optimizer = optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        y, backward = model.forward(x)
        _, gradient = losses.mean_squared_error(y, target)
        backward(gradient)
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    error, _ = losses.mean_squared_error(model(x), target)
    assert error < 0.02  # the best guess without memory has 0.25


class Counter(Layer):
    """A cell unrolled by hand over a sequence of any length, the graph written in Python."""

    def __init__(self, rng):
        self.cell = LSTMCell(1, 8, rng=rng)
        self.head = Linear(8, 1, rng=rng)

    def forward(self, x, *, training=True):
        state, steps = None, []
        for step in x:
            (h, state), backward = self.cell.forward(step, state)
            steps.append(backward)
        y, head_backward = self.head.forward(h)

        def counter_backward(dy):
            dh, dstate = head_backward(dy), None
            for backward in reversed(steps):
                _, dstate = backward(dh, dstate)
                dh = None

        return y, counter_backward


def test_a_cell_unrolled_by_hand_learns_to_count(rng):
    x = rng.integers(0, 2, (6, 32, 1)).astype(np.float32)
    overfit(Counter(np.random.default_rng(0)), x, x.sum(axis=0), losses.mean_squared_error, 300, 3e-2, 0.05)


def resnet20(classes, rng):
    """He et al., 2015, section 4.2: three stages of three blocks of two convolutions, 16, 32, 64 channels."""

    def block(inputs, outputs, stride):
        branch = Sequential(
            Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, rng=rng),
            BatchNorm2d(outputs),
            ReLU(),
            Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=rng),
            BatchNorm2d(outputs),
        )
        shortcut = None
        if stride != 1 or inputs != outputs:
            convolution = Conv2d(inputs, outputs, 1, stride=stride, bias=False, rng=rng)
            shortcut = Sequential(convolution, BatchNorm2d(outputs))
        return Sequential(Residual(branch, shortcut), ReLU())

    first = Conv2d(1, 16, 3, padding=1, bias=False, rng=rng, input_grad=False)
    model = Sequential(first, BatchNorm2d(16), ReLU())
    inputs = 16
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        for index in range(3):
            model.append(block(inputs, channels, stride if index == 0 else 1))
            inputs = channels
    return model.append(GlobalAvgPool2d()).append(Flatten()).append(Linear(64, classes, rng=rng))


def test_resnet20_learns_the_digits():
    train, test = datasets.train_test_split(*datasets.digits(), test_fraction=0.2, rng=0)
    model = resnet20(10, np.random.default_rng(0))
    weights = [value for name, value in model.parameters() if value.value.ndim == 4]
    assert len(weights) == 19 + 2  # and two shortcuts; with the last Linear, 20 layers
    history = training.fit(
        model, train[0][:768], train[1][:768], loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(model.parameters(), lr=3e-3), epochs=3, batch_size=64, rng=0, validation=test,
    )  # fmt: skip
    assert history.loss[-1] < 0.3 * history.loss[0]
    assert history.validation["accuracy"][-1] > 0.8
    assert len(model.summary((2, 1, 8, 8)).splitlines()) > 60


def test_training_is_the_same_for_any_number_of_threads():
    (x, labels), _ = datasets.train_test_split(*datasets.digits(), rng=0)
    states = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            model = Sequential(
                Conv2d(1, 8, 3, rng=0), BatchNorm2d(8), ReLU(), MaxPool2d(2), Flatten(), Linear(72, 10, rng=1)
            )
            optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            training.fit(model, x[:256], labels[:256], loss=losses.softmax_cross_entropy, optimizer=optimizer,
                         epochs=1, batch_size=64, rng=0)  # fmt: skip
            states.append(model.state_dict())
    for name, value in states[0].items():
        for other in states[1:]:
            np.testing.assert_array_equal(other[name], value)
