"""The first part of the demo: a convolutional network on real handwritten digits."""

import math

import numpy as np

from fastconv import datasets, losses, optim, training
from fastconv.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential

# Which images are held out: drawn once, by this seed, whatever the seed of the training.
SPLIT_SEED = 0
TEST_FRACTION = 0.2


class RandomShift(Layer):
    """In training, moves each image by up to `pixels` in both directions, zeros coming in; in inference, nothing.

    A digit stays the same digit where it is moved: the network sees a new set of images in every epoch.
    """

    def __init__(self, pixels, rng):
        self.pixels = pixels
        self._rng = rng

    def forward(self, x, *, training=True):
        # The first layer of its network: nothing needs the gradient of x.
        return (self._shifted(x) if training else x), lambda dy: None

    def _shifted(self, x):
        batch, _, height, width = x.shape
        edge = self.pixels
        padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        top, left = self._rng.integers(0, 2 * edge + 1, size=(2, batch))
        return np.ascontiguousarray(windows[np.arange(batch), :, top, left])


def load():
    """((images, labels) to train on, (images, labels) held out)."""
    return datasets.train_test_split(*datasets.digits(), TEST_FRACTION, rng=SPLIT_SEED)


def network(rng, channels=(16, 32, 64)):
    """Three convolutions with batch norm and ReLU, two poolings, a fully connected layer: (N, 1, 8, 8) -> (N, 10)."""
    first, second, third = channels
    return Sequential(
        {
            "shift": RandomShift(1, rng),
            "conv1": Conv2d(1, first, 3, padding=1, bias=False, rng=rng, input_grad=False),
            "norm1": BatchNorm2d(first),
            "relu1": ReLU(),
            "conv2": Conv2d(first, second, 3, padding=1, bias=False, rng=rng),
            "norm2": BatchNorm2d(second),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2),
            "conv3": Conv2d(second, third, 3, padding=1, bias=False, rng=rng),
            "norm3": BatchNorm2d(third),
            "relu3": ReLU(),
            "pool3": MaxPool2d(2),
            "flatten": Flatten(),
            "drop": Dropout(0.3, rng=rng),
            "linear": Linear(third * 4, 10, rng=rng),
        }
    )


def train(model, images, labels, *, epochs, batch_size, lr, rng, callback):
    """fastconv.training.History of Adam with a half-cosine learning rate; callback(history) follows each epoch."""
    optimizer = optim.Adam(model.parameters(), lr=lr)

    def end_of_epoch(history):
        optimizer.lr = lr * 0.5 * (1.0 + math.cos(math.pi * len(history.epochs) / epochs))
        callback(history)

    return training.fit(
        model,
        images,
        labels,
        loss=losses.softmax_cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        rng=rng,
        progress=False,
        callback=end_of_epoch,
    )
