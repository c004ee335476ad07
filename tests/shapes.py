"""Named problem sizes, shared by the tests and the benchmarks: plain data, no imports from fastconv.

AWKWARD: small convolutions whose sizes have a tail in every dimension, for correctness. REAL: layers of published
networks, for speed and for checks at full size. GEMMS: matrix products of the same two kinds.
"""

from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution of x (n, c, h, w) with weight (k, c / groups, *kernel)."""

    name: str
    n: int
    c: int
    h: int
    w: int
    k: int
    kernel: tuple
    stride: tuple = (1, 1)
    padding: tuple = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    dilation: tuple = (1, 1)
    groups: int = 1

    @property
    def x_shape(self):
        return (self.n, self.c, self.h, self.w)

    @property
    def weight_shape(self):
        return (self.k, self.c // self.groups, *self.kernel)

    @property
    def y_shape(self):
        sizes = zip((self.h, self.w), self.padding, self.dilation, self.kernel, self.stride, strict=True)
        out = [(size + sum(pad) - d * (kernel - 1) - 1) // stride + 1 for size, pad, d, kernel, stride in sizes]
        return (self.n, self.k, *out)

    @property
    def geometry(self):
        """The keyword arguments of fastconv.ops.conv2d."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def terms(self):
        """Products summed in one element of y, of dx (at most) and of dweight."""
        _, _, p, q = self.y_shape
        taps = self.kernel[0] * self.kernel[1]
        return self.c // self.groups * taps, self.k // self.groups * taps, self.n * p * q

    @property
    def multiply_adds(self):
        n, k, p, q = self.y_shape
        return n * k * p * q * self.terms[0]


def _pad(vertical, horizontal):
    return ((vertical, vertical), (horizontal, horizontal))


def square(name, n, c, size, k, kernel, stride=1, pad=0, groups=1):
    """A layer with square image, kernel and stride."""
    return Conv(name, n, c, size, size, k, (kernel, kernel), (stride, stride), _pad(pad, pad), (1, 1), groups)


# Channels and map sizes go through 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33: both sides of every vector and tile width.
AWKWARD = (
    Conv("one_of_everything", 1, 1, 1, 1, 1, (1, 1)),
    Conv("one_pixel_many_channels", 3, 33, 1, 1, 31, (1, 1)),
    Conv("pointwise_ragged", 2, 17, 5, 7, 15, (1, 1)),
    Conv("pointwise_wide", 1, 31, 9, 8, 33, (1, 1)),
    Conv("pointwise_strided", 2, 9, 8, 7, 17, (1, 1), (2, 3)),
    Conv("pointwise_padded", 1, 5, 3, 2, 7, (1, 1), (1, 1), _pad(1, 2)),
    Conv("pointwise_padded_strided", 2, 3, 5, 7, 8, (1, 1), (2, 2), _pad(1, 1)),
    Conv("same_3x3", 1, 8, 9, 7, 16, (3, 3), (1, 1), _pad(1, 1)),
    Conv("same_3x3_ragged", 2, 15, 7, 9, 17, (3, 3), (1, 1), _pad(1, 1)),
    Conv("same_3x3_threads", 2, 17, 33, 31, 33, (3, 3), (1, 1), _pad(1, 1)),
    Conv("valid_3x3", 1, 7, 15, 16, 9, (3, 3)),
    Conv("valid_3x3_one_output", 2, 5, 3, 3, 3, (3, 3)),
    Conv("image_rgb", 2, 3, 17, 15, 16, (3, 3), (2, 2), _pad(1, 1)),
    Conv("stem_7x7", 1, 3, 33, 31, 17, (7, 7), (2, 2), _pad(3, 3)),
    Conv("stem_11x11", 1, 3, 31, 33, 9, (11, 11), (4, 4), _pad(2, 2)),
    Conv("grey_5x5", 3, 1, 16, 17, 7, (5, 5)),
    Conv("two_channels_4x4", 1, 2, 9, 8, 5, (4, 4), (1, 1), ((1, 2), (2, 1))),
    Conv("eight_channels_few", 2, 8, 9, 31, 5, (5, 3), (1, 2), _pad(2, 1)),
    Conv("even_kernel", 1, 9, 8, 9, 8, (2, 2), (2, 2)),
    Conv("even_kernel_asymmetric", 2, 7, 5, 7, 9, (2, 4), (1, 1), ((0, 1), (1, 2))),
    Conv("asymmetric_padding", 1, 16, 7, 8, 15, (3, 3), (1, 1), ((2, 0), (0, 1))),
    Conv("asymmetric_strided", 2, 15, 8, 5, 16, (3, 2), (2, 3), ((0, 2), (3, 0))),
    Conv("row_1x7", 1, 9, 7, 17, 8, (1, 7), (1, 1), _pad(0, 3)),
    Conv("column_7x1", 1, 8, 17, 7, 9, (7, 1), (1, 1), _pad(3, 0)),
    Conv("row_1x3_strided", 2, 1, 5, 33, 3, (1, 3), (1, 2), _pad(0, 1)),
    Conv("column_5x1_strided", 2, 3, 31, 2, 7, (5, 1), (3, 1)),
    Conv("sequence", 3, 5, 1, 31, 7, (1, 5), (1, 1), _pad(0, 2)),
    Conv("kernel_larger_than_input", 2, 7, 2, 3, 8, (5, 7), (1, 1), _pad(2, 3)),
    Conv("kernel_of_padding_only", 1, 3, 1, 1, 5, (3, 3), (1, 1), _pad(3, 2)),
    Conv("pad_over_kernel", 2, 3, 3, 5, 7, (2, 2), (1, 1), _pad(4, 3)),
    Conv("pad_over_kernel_strided", 1, 9, 5, 3, 5, (3, 1), (2, 2), _pad(5, 4)),
    Conv("stride_over_kernel", 2, 5, 9, 15, 3, (2, 2), (3, 4)),
    Conv("stride_over_kernel_padded", 1, 16, 15, 9, 7, (1, 2), (4, 5), _pad(1, 2)),
    Conv("stride_over_input", 1, 7, 5, 3, 9, (3, 3), (9, 8), _pad(1, 1)),
    Conv("stride_ragged_end", 2, 8, 16, 17, 5, (3, 3), (3, 3)),
    Conv("dilated_2", 1, 15, 9, 16, 8, (3, 3), (1, 1), _pad(2, 2), (2, 2)),
    Conv("dilated_mixed", 2, 5, 17, 9, 7, (3, 2), (1, 2), _pad(3, 1), (3, 2)),
    Conv("dilated_strided", 1, 9, 15, 17, 16, (2, 3), (2, 2), ((1, 0), (2, 3)), (4, 3)),
    Conv("dilated_few_channels", 2, 3, 16, 9, 5, (3, 3), (1, 1), _pad(2, 2), (1, 2)),
    Conv("dilated_rows_few_channels", 1, 2, 15, 17, 9, (3, 3), (1, 1), _pad(2, 1), (2, 1)),
    Conv("grouped_2", 2, 16, 7, 5, 18, (3, 3), (1, 1), _pad(1, 1), (1, 1), 2),
    Conv("grouped_3_ragged", 1, 15, 9, 8, 21, (3, 3), (2, 2), _pad(1, 1), (1, 1), 3),
    Conv("grouped_wide", 1, 34, 8, 9, 66, (3, 3), (1, 1), _pad(1, 1), (1, 1), 2),
    Conv("grouped_pointwise", 2, 31 * 3, 3, 5, 9, (1, 1), (1, 1), _pad(0, 0), (1, 1), 3),
    Conv("grouped_dilated", 1, 10, 9, 7, 5, (3, 3), (1, 2), _pad(2, 2), (2, 2), 5),
    Conv("grouped_one_channel", 2, 7, 8, 9, 21, (3, 3), (1, 1), _pad(1, 1), (1, 1), 7),
    Conv("depthwise_3x3", 2, 17, 9, 7, 17, (3, 3), (1, 1), _pad(1, 1), (1, 1), 17),
    Conv("depthwise_3x3_wide", 1, 33, 15, 31, 33, (3, 3), (1, 1), _pad(1, 1), (1, 1), 33),
    Conv("depthwise_threads", 2, 67, 31, 17, 67, (3, 3), (1, 1), _pad(1, 1), (1, 1), 67),
    Conv("depthwise_3x3_strided", 2, 16, 16, 15, 16, (3, 3), (2, 2), _pad(1, 1), (1, 1), 16),
    Conv("depthwise_5x5_asymmetric", 1, 15, 7, 9, 15, (5, 5), (1, 2), ((3, 1), (0, 2)), (1, 1), 15),
    Conv("depthwise_dilated", 1, 8, 17, 9, 8, (3, 3), (1, 1), _pad(2, 3), (2, 3), 8),
    Conv("depthwise_dilated_strided", 2, 5, 9, 16, 5, (2, 3), (3, 2), _pad(1, 4), (2, 4), 5),
    Conv("depthwise_tiny", 3, 2, 1, 2, 2, (3, 3), (1, 1), _pad(1, 1), (1, 1), 2),
    Conv("depthwise_1x1", 1, 31, 5, 3, 31, (1, 1), (1, 1), _pad(0, 0), (1, 1), 31),
    Conv("depthwise_pad_over_kernel", 1, 9, 3, 2, 9, (2, 2), (2, 1), _pad(3, 4), (1, 1), 9),
    Conv("deep", 1, 515, 3, 2, 5, (3, 3), (1, 1), _pad(1, 1)),
    Conv("deep_pointwise", 1, 700, 2, 3, 33, (1, 1)),
    # The blocks, chunks, packed panels and merged taps of the direct weight gradient.
    Conv("weight_blocks", 3, 131, 3, 5, 137, (3, 3), (1, 1), _pad(1, 1)),
    Conv("weight_blocks_strided", 2, 67, 9, 13, 139, (3, 3), (2, 2), _pad(1, 1)),
    Conv("weight_phases", 2, 33, 11, 23, 70, (3, 3), (1, 3), _pad(2, 1), (2, 1)),
    Conv("weight_chunks_of_images", 41, 17, 5, 4, 35, (3, 2), (1, 1), _pad(1, 1)),
    Conv("weight_columns_cut", 1, 17, 3, 300, 19, (3, 3), (1, 1), _pad(1, 1)),
    Conv("weight_columns_cut_strided", 2, 5, 4, 530, 9, (2, 5), (1, 2), _pad(1, 2)),
    Conv("weight_row_steps", 2, 3, 9, 17, 7, (1, 5), (2, 1), _pad(1, 2)),
    Conv("weight_one_output", 2, 37, 9, 7, 1, (3, 3), (1, 1), _pad(1, 1)),
    Conv("weight_few_outputs_merged", 2, 7, 17, 9, 3, (3, 5), (2, 1), _pad(1, 2)),
    Conv("weight_pointwise_far", 1, 515, 3, 5, 530, (1, 1)),
    Conv("weight_pointwise_far_strided", 2, 530, 5, 3, 37, (1, 1), (2, 2), _pad(1, 1)),
    Conv("weight_grouped_merged", 2, 12, 9, 8, 20, (3, 3), (1, 1), _pad(1, 1), (1, 1), 4),
    Conv("weight_grouped_blocks", 2, 256, 5, 7, 160, (3, 3), (1, 1), _pad(1, 1), (1, 1), 2),
    Conv("wide_map", 1, 3, 2, 211, 4, (3, 3), (1, 1), _pad(1, 1)),
    Conv("tall_map", 1, 9, 203, 2, 3, (3, 3), (1, 1), _pad(1, 1)),
)

# The 3 x 3, 1 x 1 and strided layers of ResNet-50 v1.5 (He et al. 2015), the named ones of the others.
REAL = (
    square("resnet50_stem", 1, 3, 224, 64, 7, 2, 3),
    square("resnet50_conv2_1x1", 1, 64, 56, 64, 1),
    square("resnet50_conv2_3x3", 1, 64, 56, 64, 3, 1, 1),
    square("resnet50_conv2_expand", 1, 64, 56, 256, 1),
    square("resnet50_conv2_reduce", 1, 256, 56, 64, 1),
    square("resnet50_conv3_3x3_s2", 1, 128, 56, 128, 3, 2, 1),
    square("resnet50_conv3_shortcut_s2", 1, 256, 56, 512, 1, 2),
    square("resnet50_conv3_3x3", 1, 128, 28, 128, 3, 1, 1),
    square("resnet50_conv3_expand", 1, 128, 28, 512, 1),
    square("resnet50_conv3_reduce", 1, 512, 28, 128, 1),
    square("resnet50_conv4_3x3_s2", 1, 256, 28, 256, 3, 2, 1),
    square("resnet50_conv4_shortcut_s2", 1, 512, 28, 1024, 1, 2),
    square("resnet50_conv4_3x3", 1, 256, 14, 256, 3, 1, 1),
    square("resnet50_conv4_expand", 1, 256, 14, 1024, 1),
    square("resnet50_conv4_reduce", 1, 1024, 14, 256, 1),
    square("resnet50_conv5_3x3_s2", 1, 512, 14, 512, 3, 2, 1),
    square("resnet50_conv5_shortcut_s2", 1, 1024, 14, 2048, 1, 2),
    square("resnet50_conv5_3x3", 1, 512, 7, 512, 3, 1, 1),
    square("resnet50_conv5_expand", 1, 512, 7, 2048, 1),
    square("resnet50_conv5_reduce", 1, 2048, 7, 512, 1),
    square("vgg16_conv3_2", 1, 256, 56, 256, 3, 1, 1),
    square("alexnet_conv1", 1, 3, 227, 96, 11, 4),
    square("alexnet_conv2", 1, 96, 27, 256, 5, 1, 2, 2),
    square("mobilenet_depthwise_s1", 1, 512, 14, 512, 3, 1, 1, 512),
    square("mobilenet_depthwise_s2", 1, 64, 112, 64, 3, 2, 1, 64),
    square("lenet_conv1", 8, 1, 28, 6, 5, 1, 2),
    square("lenet_conv2", 8, 6, 14, 16, 5),
    Conv("inception_1x7", 1, 192, 17, 17, 192, (1, 7), (1, 1), _pad(0, 3)),
    Conv("inception_7x1", 1, 192, 17, 17, 192, (7, 1), (1, 1), _pad(3, 0)),
)


class Gemm(NamedTuple):
    """A product (m, k) @ (k, n)."""

    name: str
    m: int
    n: int
    k: int


AWKWARD_GEMMS = (
    Gemm("one", 1, 1, 1),
    Gemm("row_times_matrix", 1, 33, 17),
    Gemm("matrix_times_column", 31, 1, 15),
    Gemm("outer_product", 16, 17, 1),
    Gemm("dot_product", 1, 1, 700),
    Gemm("two_three_five", 2, 3, 5),
    Gemm("seven_eight_nine", 7, 8, 9),
    Gemm("fifteen_sixteen_seventeen", 15, 16, 17),
    Gemm("thirty_ones", 31, 33, 31),
    Gemm("one_past_the_tiles", 9, 33, 33),
    Gemm("two_blocks_of_depth", 17, 31, 321),
    Gemm("three_blocks_of_depth", 33, 15, 650),
    Gemm("one_past_the_strip", 97, 65, 9),
    Gemm("one_past_the_panels", 5, 2049, 7),
    Gemm("threads", 193, 129, 65),
)

REAL_GEMMS = (
    Gemm("mlp_784_512_batch_64", 64, 512, 784),
    Gemm("lstm_gates_batch_32", 32, 2048, 512),
    Gemm("resnet50_classifier", 1, 1000, 2048),
    Gemm("square_512", 512, 512, 512),
    Gemm("square_1024", 1024, 1024, 1024),
    Gemm("bert_projection", 128, 768, 768),
    Gemm("tall_and_thin", 4096, 64, 64),
)
