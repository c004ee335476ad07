"""The third part of the demo: how long layers take, against the measured peak of the processor."""

import numpy as np

from fastconv import profile
from fastconv.demo.digits import RandomAffine
from fastconv.layers import LSTM, Conv2d, Dropout, Flatten, Layer, Linear


class PackedConv2d(Layer):
    """A convolution that is frozen for inference, its weights packed at the first call; training is the layer's own."""

    def __init__(self, convolution):
        self.convolution = convolution
        self.input_grad = convolution.input_grad
        self._frozen = convolution.freeze()

    def __call__(self, x):
        return self._frozen(x)

    def forward(self, x, *, training=True):
        return self.convolution.forward(x, training=training)


def _convolution(channels, filters, kernel, **geometry):
    return Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False, rng=0, **geometry)


def known_layers():
    """(name, layer, input shape): what many networks are made of, at batch 1."""
    return [
        ("ResNet-50 7x7/2 3-64", _convolution(3, 64, 7, stride=2, input_grad=False), (1, 3, 224, 224)),
        ("ResNet-50 3x3 64-64", _convolution(64, 64, 3), (1, 64, 56, 56)),
        ("ResNet-50 1x1 64-256", _convolution(64, 256, 1), (1, 64, 56, 56)),
        ("ResNet-50 3x3 128-128", _convolution(128, 128, 3), (1, 128, 28, 28)),
        ("ResNet-50 1x1 512-128", _convolution(512, 128, 1), (1, 512, 28, 28)),
        ("ResNet-50 3x3 256-256", _convolution(256, 256, 3), (1, 256, 14, 14)),
        ("ResNet-50 1x1 256-1024", _convolution(256, 1024, 1), (1, 256, 14, 14)),
        ("ResNet-50 3x3 512-512", _convolution(512, 512, 3), (1, 512, 7, 7)),
        ("MobileNet depthwise 3x3 144", _convolution(144, 144, 3, groups=144), (1, 144, 56, 56)),
    ]


def rows(cnn, images, model, steps, batch, *, seconds=0.05):
    """Headings and profile.Rows: the layers of the trained networks as they were trained, and well-known ones."""
    found = [f"the digits' network, {len(images)} images"]
    x = images
    for name, layer in cnn.members():
        if not isinstance(layer, (RandomAffine, Flatten, Dropout)):  # they do nothing in inference
            found.append(profile.measure("  " + name, layer, x, seconds=seconds))
        x = layer(x)
    found += [f"the text's network, {steps} steps of {batch} stretches"]
    x = np.random.default_rng(0).standard_normal((steps, batch, model.lstm.input_size), np.float32)
    found += [profile.measure("  LSTM", model.lstm, x, seconds=seconds)]
    found += [profile.measure("  Linear", model.linear, model.lstm(x)[0], seconds=seconds)]
    found += ["well-known layers, batch 1, weights packed beforehand for the forward pass"]
    for name, layer, shape in known_layers():
        found.append(profile.measure("  " + name, PackedConv2d(layer), shape, seconds=seconds))
    found.append(profile.measure("  LSTM 512-512, 32 steps", LSTM(512, 512, rng=0), (32, 1, 512), seconds=seconds))
    found.append(profile.measure("  Linear 2048-1000", Linear(2048, 1000, rng=0), (1, 2048), seconds=seconds))
    return found
