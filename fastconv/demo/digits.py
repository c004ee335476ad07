"""The first part of the demo: a convolutional network on real handwritten digits."""

import math

import numpy as np

from fastconv import datasets, losses, optim, training
from fastconv.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential

# Which images are held out: drawn once, by this seed, whatever the seed of the training.
SPLIT_SEED = 0
TEST_FRACTION = 0.2
LEARNING_RATE = 4e-3


class RandomAffine(Layer):
    """In training, moves, turns, scales and shears each image a little, at random; in inference, does nothing.

    A digit stays the same digit: the network sees new images in every epoch. Pixels are interpolated bilinearly, with
    zeros outside. The first layer of its network: nothing needs the gradient of its input.
    """

    def __init__(self, rng, *, pixels=1.0, degrees=10.0, scale=0.1, shear=0.1):
        self.pixels = pixels
        self.degrees = degrees
        self.scale = scale
        self.shear = shear
        self._rng = rng

    def forward(self, x, *, training=True):
        return (self._moved(x) if training else x), lambda dy: None

    def _moved(self, x):
        batch, _, height, width = x.shape
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        target = np.indices((height, width)).reshape(2, -1) - centre[:, None]
        shift = self._rng.uniform(-self.pixels, self.pixels, (batch, 2)) + centre
        source = self._matrices(batch) @ target + shift[:, :, None]
        # A border of zeros, one wide before and two after, so that the four neighbours always exist.
        source = np.clip(source + 1.0, 0.0, np.array([[height + 0.999], [width + 0.999]]))
        padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (1, 2)))
        whole = source.astype(np.int64)
        (down, right), (i, j) = (source - whole).transpose(1, 0, 2), whole.transpose(1, 0, 2)
        image = np.arange(batch)[:, None]
        moved = np.zeros((batch, height * width, x.shape[1]), np.float32)
        for below, beside in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (down if below else 1.0 - down) * (right if beside else 1.0 - right)
            moved += share[:, :, None] * padded[image, :, i + below, j + beside]
        return moved.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    def _matrices(self, batch):
        """(batch, 2, 2): rotation and scale, and a shear of the columns by the row."""
        angle = np.deg2rad(self._rng.uniform(-self.degrees, self.degrees, batch))
        scale = 1.0 + self._rng.uniform(-self.scale, self.scale, batch)
        shear = self._rng.uniform(-self.shear, self.shear, batch)
        cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
        return np.array([[cosine, -sine], [sine + shear, cosine]]).transpose(2, 0, 1)


def load():
    """((images, labels) to train on, (images, labels) held out)."""
    return datasets.train_test_split(*datasets.digits(), TEST_FRACTION, rng=SPLIT_SEED)


def network(rng, channels=(32, 32, 64)):
    """Three convolutions with batch norm and ReLU, two poolings, a fully connected layer: (N, 1, 8, 8) -> (N, 10)."""
    first, second, third = channels
    return Sequential(
        {
            "affine": RandomAffine(rng),
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


def predict(model, images):
    """The digit the network sees in each image."""
    return np.argmax(training.predict(model, images), axis=1)
