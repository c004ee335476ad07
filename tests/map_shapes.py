"""Named sizes of convolutions of 1-D and 3-D maps, and of transposed ones: plain data, as in shapes.py."""

import math
from typing import NamedTuple


def _each(value, rank):
    """One value an axis, of one for all or one each."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


class Maps(NamedTuple):
    """A convolution, or a transposed one, of x (n, c, *sizes) with a kernel of as many axes."""

    name: str
    n: int
    c: int
    sizes: tuple
    k: int
    kernel: tuple
    stride: object = 1
    padding: object = 0
    dilation: object = 1
    groups: int = 1
    output_padding: object = None  # not None: transposed

    @property
    def transposed(self):
        return self.output_padding is not None

    @property
    def op(self):
        """The name in fastconv.ops."""
        return f"conv{'_transpose' if self.transposed else ''}{len(self.sizes)}d"

    def each(self, name):
        """The stride, dilation or output_padding of each axis."""
        return _each(getattr(self, name), len(self.sizes))

    @property
    def sides(self):
        """The padding of each axis: (before, after)."""
        return tuple(_each(side, 2) for side in self.each("padding"))

    @property
    def x_shape(self):
        return (self.n, self.c, *self.sizes)

    @property
    def y_shape(self):
        reach = [d * (taps - 1) + 1 for d, taps in zip(self.each("dilation"), self.kernel, strict=True)]
        axes = zip(self.sizes, self.each("stride"), map(sum, self.sides), reach, strict=True)
        if not self.transposed:
            return (self.n, self.k, *((size + pads - taps) // step + 1 for size, step, pads, taps in axes))
        whole = [(size - 1) * step + taps - pads for size, step, pads, taps in axes]
        return (self.n, self.k, *map(sum, zip(whole, self.each("output_padding"), strict=True)))

    @property
    def weight_shape(self):
        first, second = (self.c, self.k) if self.transposed else (self.k, self.c)
        return (first, second // self.groups, *self.kernel)

    @property
    def geometry(self):
        more = {"output_padding": self.output_padding} if self.transposed else {}
        words = ("stride", "padding", "dilation", "groups")
        return {word: getattr(self, word) for word in words} | more

    @property
    def multiply_adds(self):
        """Each element of y (of x, where transposed) meets a filter."""
        return math.prod(self.x_shape if self.transposed else self.y_shape) * math.prod(self.weight_shape[1:])


MAPS = (
    Maps("one_element", 1, 1, (1,), 1, (1,)),
    Maps("signal", 2, 1, (257,), 9, (16,), 8),
    Maps("sequence", 3, 5, (31,), 7, (5,), 1, 2),
    Maps("sequence_asymmetric", 2, 17, (15,), 33, (4,), 2, ((3, 0),), 2),
    Maps("sequence_grouped", 2, 12, (17,), 18, (3,), 3, 1, 2, 6),
    Maps("sequence_depthwise", 2, 33, (31,), 33, (3,), 1, 1, 1, 33),
    Maps("sequence_stride_over_kernel", 1, 3, (11,), 5, (2,), 5),
    Maps("volume_pointwise", 2, 9, (3, 4, 5), 17, (1, 1, 1)),
    Maps("volume_pointwise_padded", 1, 3, (2, 3, 2), 5, (1, 1, 1), 2, 1),
    Maps("volume", 2, 5, (4, 6, 7), 9, (3, 3, 3), 1, 1),
    Maps("volume_valid", 1, 8, (5, 5, 4), 16, (3, 2, 4)),
    Maps("volume_grey", 2, 1, (7, 8, 9), 7, (3, 5, 3), 1, (1, 2, 1)),
    Maps("volume_strided", 1, 7, (9, 7, 8), 5, (3, 3, 3), (2, 2, 3), 1),
    Maps("volume_asymmetric", 2, 4, (5, 4, 6), 6, (3, 2, 3), (2, 1, 2), ((2, 0), (0, 1), (3, 1))),
    Maps("volume_dilated", 1, 3, (9, 8, 7), 4, (3, 2, 3), 1, (2, 0, 1), (3, 2, 1)),
    Maps("volume_dilated_strided", 2, 3, (8, 5, 6), 4, (3, 3, 2), (2, 1, 2), 2, (2, 1, 3)),
    Maps("volume_grouped", 1, 6, (4, 5, 5), 9, (2, 3, 3), 1, 1, 1, 3),
    Maps("volume_depthwise", 2, 17, (5, 6, 7), 17, (3, 3, 3), 1, 1, 1, 17),
    Maps("volume_depthwise_strided", 2, 9, (7, 6, 7), 9, (3, 3, 2), (2, 2, 1), 1, (1, 2, 1), 9),
    Maps("volume_depthwise_far", 1, 5, (2, 4, 4), 5, (2, 1, 1), (3, 1, 1), (4, 0, 0), (5, 1, 1), 5),
    Maps("volume_depth_only", 2, 16, (6, 4, 4), 8, (3, 1, 1), 1, (1, 0, 0)),
    Maps("volume_flat_kernel", 2, 6, (3, 7, 6), 8, (1, 3, 3), (2, 1, 1), (0, 1, 1)),
    Maps("volume_of_padding", 1, 2, (1, 1, 2), 3, (3, 3, 3), 1, 3),
    Maps("volume_stride_over_kernel", 2, 3, (8, 7, 5), 4, (2, 1, 2), (5, 3, 3)),
    Maps("volume_stride_over_input", 1, 4, (3, 3, 3), 2, (2, 2, 2), 9),
    Maps("up_one_element", 1, 1, (1,), 1, (1,), output_padding=0),
    Maps("up_sequence", 2, 8, (9,), 5, (4,), 2, 1, output_padding=0),
    Maps("up_sequence_odd", 2, 7, (8,), 9, (3,), 2, 1, output_padding=1),
    Maps("up_2x2", 2, 17, (5, 7), 9, (2, 2), 2, output_padding=0),
    Maps("up_3x3", 1, 16, (6, 5), 33, (3, 3), 2, 1, output_padding=1),
    Maps("up_4x4", 2, 9, (7, 4), 3, (4, 4), (2, 3), ((1, 2), (0, 1)), output_padding=(0, 2)),
    Maps("up_stride_1", 1, 15, (7, 8), 17, (3, 3), 1, 1, output_padding=0),
    Maps("up_dilated", 2, 5, (5, 6), 7, (3, 2), (2, 1), (2, 1), (2, 3), output_padding=(1, 0)),
    Maps("up_grouped", 2, 12, (5, 5), 9, (3, 3), 2, 1, 1, 3, output_padding=1),
    Maps("up_depthwise", 1, 17, (6, 7), 17, (4, 4), 2, 1, 1, 17, output_padding=0),
    Maps("up_with_gaps", 1, 5, (4, 3), 7, (2, 1), (4, 3), output_padding=(3, 2)),
    Maps("up_mostly_padding", 1, 3, (3, 4), 5, (3, 3), 2, (3, 2), output_padding=1),
    Maps("up_past_every_tap", 2, 3, (4, 5), 5, (2, 3), 1, 0, (3, 2), output_padding=(2, 1)),
    Maps("up_volume", 2, 5, (3, 4, 3), 4, (2, 2, 2), 2, output_padding=0),
    Maps("up_volume_odd", 1, 6, (3, 3, 4), 3, (3, 3, 3), (2, 3, 1), 1, output_padding=(1, 2, 0)),
    Maps(
        "up_volume_dilated", 1, 4, (3, 2, 3), 6, (3, 2, 2), (3, 1, 2), (1, 0, 2), (2, 3, 1), 2, output_padding=(2, 2, 1)
    ),
    Maps("up_volume_depthwise", 2, 9, (3, 4, 4), 9, (3, 3, 3), (2, 1, 2), 1, 1, 9, output_padding=(1, 0, 1)),
    Maps("up_volume_with_gaps", 1, 3, (2, 3, 2), 2, (1, 2, 1), (4, 2, 3), output_padding=(3, 0, 1)),
)

# Sequences: the first layers of Wav2Vec 2.0's encoder on a second of sound, and its positional layer (Baevski et al.
# 2020); keyword spotting: M5 on raw sound (Dai et al. 2016), TC-ResNet8 (Choi et al. 2019), MatchboxNet (Majumdar and
# Ginsburg 2020).
SEQUENCES = (
    Maps("wav2vec_conv1", 1, 1, (16000,), 512, (10,), 5),
    Maps("wav2vec_conv2", 1, 512, (3199,), 512, (3,), 2),
    Maps("wav2vec_conv6", 1, 512, (199,), 512, (2,), 2),
    Maps("wav2vec_positional", 1, 768, (49,), 768, (128,), 1, 64, 1, 16),
    Maps("m5_conv1", 1, 1, (8000,), 128, (80,), 4),
    Maps("tc_resnet_conv", 1, 16, (98,), 24, (9,), 2, 4),
    Maps("matchboxnet_depthwise", 1, 64, (128,), 64, (13,), 1, 6, 1, 64),
)
# Videos of 16 frames: ResNet3D-18 (Tran et al. 2018) and a depthwise layer of X3D-M (Feichtenhofer 2020).
VIDEOS = (
    Maps("resnet3d_stem", 1, 3, (16, 112, 112), 64, (3, 7, 7), (1, 2, 2), (1, 3, 3)),
    Maps("resnet3d_conv4", 1, 256, (4, 14, 14), 256, (3, 3, 3), 1, 1),
    Maps("x3d_depthwise", 1, 108, (16, 28, 28), 108, (3, 3, 3), 1, 1, 1, 108),
)
# Transposed: the generator of DCGAN (Radford et al. 2015), the decoders of U-Net (Ronneberger et al. 2015) and of 3-D
# U-Net (Cicek et al. 2016), the first layer of the vocoder HiFi-GAN (Kong et al. 2020).
TRANSPOSED = (
    Maps("dcgan_4x4_s2_512", 1, 512, (8, 8), 256, (4, 4), 2, 1, output_padding=0),
    Maps("dcgan_4x4_s2_128", 1, 128, (32, 32), 64, (4, 4), 2, 1, output_padding=0),
    Maps("dcgan_4x4_s2_output", 1, 64, (32, 32), 3, (4, 4), 2, 1, output_padding=0),
    Maps("unet_2x2_s2_512", 1, 512, (28, 28), 256, (2, 2), 2, output_padding=0),
    Maps("unet_2x2_s2_128", 1, 128, (112, 112), 64, (2, 2), 2, output_padding=0),
    Maps("unet3d_2x2x2_s2", 1, 128, (8, 16, 16), 64, (2, 2, 2), 2, output_padding=0),
    Maps("hifigan_up1", 1, 512, (80,), 256, (16,), 8, 4, output_padding=0),
)

REAL_MAPS = (*SEQUENCES, *VIDEOS, *TRANSPOSED)
