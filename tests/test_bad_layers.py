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
        (lambda: layers.GroupNorm(4, 6), r"GroupNorm: num_groups=4: must divide num_channels=6"),
        (lambda: layers.GroupNorm(0, 6), r"GroupNorm: num_groups=0: must be >= 1"),
        (lambda: layers.LayerNorm(()), r"LayerNorm: normalized_shape=\(\): must have at least one size"),
        (lambda: layers.RMSNorm((3, 0)), r"RMSNorm: normalized_shape=0: must be >= 1"),
        (lambda: layers.BatchNorm3d(0), r"BatchNorm3d: num_features=0: must be >= 1"),
        (lambda: layers.LocalResponseNorm(0), r"LocalResponseNorm: size=0: must be >= 1"),
        (lambda: Concat(), r"Concat: no branches"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="Conv2d: in_channels='3': must be an integer"):
        Conv2d("3", 4, 3)


def test_norms_refuse_other_shapes(rng):
    for layer, shape, message in (
        (layers.BatchNorm1d(3), (2, 3, 4, 5), r"BatchNorm1d: x has shape \(2, 3, 4, 5\): must have 2 or 3 dimensions"),
        (layers.BatchNorm3d(3), (2, 3, 4, 5), r"BatchNorm3d: x has shape .*: must have 5 dimensions \(N, C, D, H, W\)"),
        (layers.BatchNorm2d(3), (2, 4, 4, 5), r"BatchNorm2d: x has shape .*: must have 3 channels \(axis 1\)"),
        (layers.BatchNorm2d(3), (1, 3, 1, 1), r"BatchNorm2d: .*: training needs more than one value per channel"),
        (layers.InstanceNorm2d(3), (2, 3, 1, 1), r"InstanceNorm2d: .*: needs more than one value per channel"),
        (layers.InstanceNorm1d(3), (2, 3), r"InstanceNorm1d: x has shape \(2, 3\): must have 3 dimensions"),
        (layers.GroupNorm(2, 4), (2, 3, 4), r"GroupNorm: x has shape \(2, 3, 4\): must be \(N, 4, \*sizes\)"),
        (layers.LayerNorm((4, 5)), (2, 4, 6), r"layer_norm_training: normalized_shape=\(4, 5\): must be the last"),
        (layers.RMSNorm(5), (2, 6), r"rms_norm_training: normalized_shape=\(5,\): must be the last sizes of x"),
        (layers.LocalResponseNorm(3), (2, 6), r"local_response_norm: x has shape \(2, 6\): must be"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.forward(rng.standard_normal(shape).astype("float32"))
    for layer in (layers.BatchNorm2d(4), layers.InstanceNorm2d(4), layers.GroupNorm(2, 4), layers.LayerNorm(4)):
        y, backward = layer.forward(rng.standard_normal((2, 4, 4, 4)).astype("float32"))
        with pytest.raises(ValueError, match=r"Norm\w*: dy has shape \(2, 4, 4\): must be \(2, 4, 4, 4\)"):
            backward(y[..., 0])
