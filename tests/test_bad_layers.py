"""Wrong arguments of layers: the error names the layer, the argument, its value and the rule."""

import pytest

from fastconv import layers
from fastconv.layers import Concat, Conv2d, Embedding, Linear


def test_bad_arguments():
    for make, message in (
        (lambda: Conv2d(3, 4, 0), r"Conv2d: kernel_size=0: every kernel_size must be >= 1"),
        (lambda: Conv2d(3, 4, 3, groups=2), r"Conv2d: groups=2: must divide in_channels=3 and out_channels=4"),
        (lambda: Conv2d(3, 4, 3, padding="full"), r"Conv2d: padding='full': must be"),
        (lambda: Conv2d(3, 4, 3, padding="same", stride=2), r"Conv2d: padding='same': needs stride 1"),
        (lambda: Conv2d(3, 4, 3, padding_mode="mirror"), r"Conv2d: padding_mode='mirror': must be one of zeros, refl"),
        (lambda: layers.Conv1d(3, 4, (3, 3)), r"Conv1d: kernel_size=\(3, 3\): must be an integer or \(length,\)"),
        (
            lambda: layers.Conv3d(3, 4, 3, dilation=(1, 0, 1)),
            r"Conv3d: dilation=\(1, 0, 1\): every dilation must be >= 1",
        ),
        (
            lambda: layers.ConvTranspose2d(3, 4, 3, groups=3),
            r"ConvTranspose2d: groups=3: must divide in_channels=3 and",
        ),
        (lambda: layers.ConvTranspose1d(3, 4, 3, output_padding=-1), r"ConvTranspose1d: output_padding=-1: every"),
        (lambda: layers.ReflectionPad2d((1, 2, 3)), r"ReflectionPad2d: padding=\(1, 2, 3\): must be"),
        (lambda: Linear(0, 4), r"Linear: in_features=0: must be >= 1"),
        (lambda: Embedding(3, 4, padding_idx=3), r"Embedding: padding_idx=3: must be < num_embeddings=3"),
        (lambda: layers.MaxPool2d(2, stride=0), r"MaxPool2d: stride=0: every stride must be >= 1"),
        (lambda: layers.GELU("erf"), r'GELU: approximate=.erf.: must be "none" or "tanh"'),
        (lambda: Concat(), r"Concat: no branches"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="Conv2d: in_channels='3': must be an integer"):
        Conv2d("3", 4, 3)
