"""Named problem sizes, shared by the tests and the benchmarks: plain data, no imports from fastconv.

AWKWARD: small convolutions whose sizes have a tail in every dimension, for correctness. REAL: layers of published
networks, for speed and for checks at full size. GEMMS: matrix products of the same two kinds. Convolutions of 1-D and
3-D maps, and transposed ones, are in map_shapes.py.
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

    op = "conv2d"  # as map_shapes.Maps has it, and what follows
    transposed = False

    def each(self, name):
        """The stride or dilation of each axis."""
        return getattr(self, name)

    @property
    def sides(self):
        return self.padding

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
    Conv("line_of_39", 2, 3, 3, 39, 16, (3, 3), (1, 1), _pad(1, 1)),
    Conv("line_of_17", 1, 12, 4, 17, 24, (3, 3), (1, 1), _pad(1, 1)),
    Conv("line_of_13", 1, 16, 3, 13, 40, (3, 5), (1, 1), _pad(1, 2)),
    Conv("line_of_11_strided", 1, 3, 7, 22, 24, (3, 3), (2, 2), _pad(1, 1)),
    Conv("pointwise_24", 2, 16, 7, 13, 24, (1, 1)),
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
    # Few input channels, the weight gradient by windows: columns in two parts, outputs in two blocks, no padding, and
    # last pixels that are fewer floats than a vector, over several rows and images.
    Conv("windows_wide_line", 1, 2, 3, 300, 3, (3, 3), (1, 1), _pad(1, 1)),
    Conv("windows_many_outputs", 1, 15, 8, 7, 97, (7, 7), (1, 1), _pad(1, 1)),
    Conv("windows_in_place", 3, 6, 9, 8, 16, (5, 5)),
    Conv("windows_in_place_ragged", 2, 3, 16, 9, 9, (3, 2), (2, 1), _pad(0, 0), (2, 1)),
    Conv("windows_last_pixels", 9, 1, 3, 3, 1, (2, 3)),
    Conv("pointwise_deep_strided", 2, 37, 7, 6, 650, (1, 1), (2, 2), _pad(1, 1)),
    Conv("pointwise_strided_strips", 1, 19, 35, 33, 9, (1, 1), (2, 2)),
    Conv("few_pixels_3x3", 1, 35, 3, 4, 121, (3, 3), (1, 1), _pad(1, 1)),
    Conv("few_pixels_two_groups", 2, 40, 5, 6, 660, (3, 2), (2, 1), ((1, 0), (1, 1)), (1, 2), 2),
    Conv("few_pixels_large_kernel", 1, 17, 12, 12, 17, (13, 11), (1, 1), _pad(1, 1)),
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
    # The sliding windows: every kernel and stride, widths 1 to 9, heights 1 to 9, channels around vectors and blocks.
    *(
        Conv(
            f"slide_{k}x{k}_s{stride}_{h}x{w}_{c}",
            1 + (w + h) % 2,
            c,
            h,
            w,
            c,
            (k, k),
            (stride, stride),
            ((top, bottom), (left, right)),
            (1, 1),
            c,
        )
        for k, stride, h, w, c, top, bottom, left, right in (
            (3, 1, 1, 1, 16, 1, 1, 1, 1),
            (3, 1, 2, 2, 7, 2, 0, 2, 0),
            (3, 1, 3, 3, 33, 0, 2, 0, 2),
            (3, 1, 4, 6, 24, 1, 1, 0, 0),
            (3, 1, 5, 4, 9, 1, 2, 2, 1),
            (3, 2, 1, 1, 9, 1, 1, 1, 1),
            (3, 2, 2, 3, 16, 0, 1, 0, 1),
            (3, 2, 3, 2, 31, 2, 0, 2, 1),
            (3, 2, 4, 9, 8, 1, 0, 1, 0),
            (3, 2, 5, 8, 40, 0, 0, 0, 0),
            (3, 2, 7, 8, 17, 1, 1, 2, 2),
            (5, 1, 1, 2, 3, 2, 2, 2, 2),
            (5, 1, 4, 1, 17, 4, 3, 4, 4),
            (5, 1, 3, 9, 8, 2, 2, 2, 2),
            (5, 1, 5, 7, 32, 1, 3, 0, 4),
            (5, 1, 6, 5, 15, 0, 0, 0, 0),
            (5, 2, 1, 1, 5, 2, 2, 2, 2),
            (5, 2, 2, 4, 16, 2, 2, 1, 2),
            (5, 2, 3, 5, 33, 3, 4, 3, 4),
            (5, 2, 4, 7, 24, 1, 2, 4, 0),
            (5, 2, 9, 8, 9, 0, 0, 0, 0),
            (7, 1, 1, 1, 16, 3, 3, 3, 3),
            (7, 1, 4, 3, 9, 3, 3, 3, 3),
            (7, 1, 5, 9, 17, 6, 5, 2, 6),
            (7, 1, 8, 8, 24, 0, 0, 0, 0),
            (7, 2, 8, 9, 17, 3, 3, 3, 3),
        )
    ),  # fmt: skip
    Conv("slide_wide", 1, 5, 7, 211, 5, (3, 3), (1, 1), _pad(1, 1), (1, 1), 5),
    Conv("slide_wide_strided", 1, 18, 6, 167, 18, (3, 3), (2, 2), _pad(1, 1), (1, 1), 18),
    Conv("slide_many_channels", 1, 131, 5, 6, 131, (5, 5), (1, 1), _pad(2, 2), (1, 1), 131),
    Conv("slide_dilated_5x5", 2, 17, 11, 9, 17, (5, 5), (1, 1), ((4, 3), (6, 5)), (2, 3), 17),
    Conv("slide_dilated_over_input", 1, 8, 3, 2, 8, (3, 3), (1, 1), _pad(5, 4), (5, 4), 8),
    Conv("deep", 1, 515, 3, 2, 5, (3, 3), (1, 1), _pad(1, 1)),
    Conv("deep_pointwise", 1, 700, 2, 3, 33, (1, 1)),
    # Few output channels: vectors of pixels, row by row or through the ends of the lines, in strips of 192 KB.
    Conv("planes_one_output", 2, 17, 9, 33, 1, (3, 3), (1, 1), _pad(1, 1)),
    Conv("planes_two_outputs", 1, 5, 8, 15, 2, (5, 5), (1, 1), _pad(2, 2)),
    Conv("planes_five_outputs", 2, 1, 7, 20, 5, (3, 3), (1, 1), _pad(1, 1)),
    Conv("planes_six_outputs_dilated", 1, 3, 12, 19, 6, (3, 3), (1, 1), _pad(2, 4), (2, 3)),
    Conv("planes_eight_outputs", 1, 4, 5, 33, 8, (3, 5), (1, 1), _pad(1, 2)),
    Conv("planes_twelve_outputs", 1, 6, 9, 17, 12, (3, 3), (1, 1), _pad(1, 1)),
    Conv("planes_grouped", 2, 16, 7, 18, 24, (3, 3), (1, 1), _pad(1, 1), (1, 1), 4),
    Conv("planes_two_groups", 1, 2, 7, 19, 4, (3, 3), (1, 1), _pad(1, 1), (1, 1), 2),
    Conv("planes_rows_outside", 1, 2, 3, 9, 4, (7, 3), (1, 1), _pad(5, 1)),
    Conv("planes_strips", 1, 15, 70, 61, 3, (3, 3), (1, 1), _pad(1, 1)),
    # The input gradient packs weights panel by panel: few pixels, 2^15 weights and more.
    Conv("few_pixels", 1, 67, 7, 5, 65, (3, 3), (1, 1), _pad(1, 1)),
    Conv("few_pixels_strided", 2, 50, 8, 7, 83, (3, 3), (2, 2), _pad(1, 1)),
    Conv("few_pixels_grouped", 1, 66, 7, 6, 260, (1, 4), (1, 2), _pad(0, 2), (1, 1), 2),
    Conv("few_pixels_pointwise", 1, 131, 5, 3, 257, (1, 1), (2, 1)),
    # Outputs on the padding are more than the pixels that no output reaches.
    Conv("pointwise_strided_padded", 2, 31, 4, 5, 9, (1, 1), (2, 1), ((0, 3), (0, 2))),
    # More taps than a piece of packing (128).
    Conv("kernel_13x11", 1, 2, 15, 17, 5, (13, 11), (1, 1), _pad(6, 5)),
    Conv("kernel_13x11_strided", 1, 9, 13, 16, 17, (13, 11), (3, 2), _pad(2, 1)),
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

# ResNet-50 v1.5 (He et al. 2015): its 3 x 3, 1 x 1 and strided layers.
RESNET50 = (
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
)

# VGG-16 (Simonyan and Zisserman 2014).
VGG16 = (
    square("vgg16_conv1_1", 1, 3, 224, 64, 3, 1, 1),
    square("vgg16_conv1_2", 1, 64, 224, 64, 3, 1, 1),
    square("vgg16_conv2_1", 1, 64, 112, 128, 3, 1, 1),
    square("vgg16_conv2_2", 1, 128, 112, 128, 3, 1, 1),
    square("vgg16_conv3_1", 1, 128, 56, 256, 3, 1, 1),
    square("vgg16_conv3_2", 1, 256, 56, 256, 3, 1, 1),
    square("vgg16_conv4_1", 1, 256, 28, 512, 3, 1, 1),
    square("vgg16_conv4_2", 1, 512, 28, 512, 3, 1, 1),
    square("vgg16_conv5", 1, 512, 14, 512, 3, 1, 1),
)

# AlexNet: the two towers of 2012, then the single one of 2014 ("tower"), which libraries ship.
ALEXNET = (
    square("alexnet_conv1", 1, 3, 227, 96, 11, 4),
    square("alexnet_conv2", 1, 96, 27, 256, 5, 1, 2, 2),
    square("alexnet_tower_conv1", 1, 3, 224, 64, 11, 4, 2),
    square("alexnet_tower_conv2", 1, 64, 27, 192, 5, 1, 2),
    square("alexnet_tower_conv3", 1, 192, 13, 384, 3, 1, 1),
    square("alexnet_tower_conv4", 1, 384, 13, 256, 3, 1, 1),
    square("alexnet_tower_conv5", 1, 256, 13, 256, 3, 1, 1),
)

# MobileNet v1 (Howard et al. 2017), and a 5 x 5 depthwise layer of EfficientNet-B0.
MOBILENET = (
    square("mobilenet_stem", 1, 3, 224, 32, 3, 2, 1),
    square("mobilenet_depthwise_32", 1, 32, 112, 32, 3, 1, 1, 32),
    square("mobilenet_pointwise_32", 1, 32, 112, 64, 1),
    square("mobilenet_depthwise_s2", 1, 64, 112, 64, 3, 2, 1, 64),
    square("mobilenet_depthwise_128", 1, 128, 56, 128, 3, 1, 1, 128),
    square("mobilenet_pointwise_128", 1, 128, 56, 128, 1),
    square("mobilenet_depthwise_256", 1, 256, 28, 256, 3, 1, 1, 256),
    square("mobilenet_depthwise_256_s2", 1, 256, 28, 256, 3, 2, 1, 256),
    square("mobilenet_depthwise_s1", 1, 512, 14, 512, 3, 1, 1, 512),
    square("mobilenet_pointwise_512", 1, 512, 14, 512, 1),
    square("mobilenet_depthwise_1024", 1, 1024, 7, 1024, 3, 1, 1, 1024),
    square("mobilenet_pointwise_1024", 1, 1024, 7, 1024, 1),
    square("efficientnet_depthwise_5x5", 1, 240, 28, 240, 5, 1, 2, 240),
    square("efficientnet_depthwise_5x5_672", 1, 672, 14, 672, 5, 1, 2, 672),
)

# LeNet-5 (LeCun et al. 1998) and layers of few channels from networks for 32 x 32 images.
LENET = (
    square("mobilenet_v3_depthwise_5x5", 1, 120, 28, 120, 5, 1, 2, 120),
    square("mobilenet_v3_depthwise_5x5_s2", 1, 72, 56, 72, 5, 2, 2, 72),
    square("convnext_depthwise_7x7", 1, 96, 56, 96, 7, 1, 3, 96),
    square("lenet_conv1", 8, 1, 28, 6, 5, 1, 2),
    square("lenet_conv2", 8, 6, 14, 16, 5),
    square("lenet_conv1_batch_32", 32, 1, 28, 6, 5, 1, 2),
    square("lenet_conv2_batch_32", 32, 6, 14, 16, 5),
    square("cifar_stem_3x3", 32, 3, 32, 16, 3, 1, 1),
    square("cifar_3x3_16", 32, 16, 32, 16, 3, 1, 1),
    square("digits_3x3_8", 32, 8, 16, 8, 3, 1, 1),
)

# Layers that only one family of networks has: Inception v3, ResNeXt-50 32 x 4d and 32 x 8d, DeepLab.
OTHERS = (
    Conv("inception_1x7", 1, 192, 17, 17, 192, (1, 7), (1, 1), _pad(0, 3)),
    Conv("inception_7x1", 1, 192, 17, 17, 192, (7, 1), (1, 1), _pad(3, 0)),
    square("resnext_grouped_16", 1, 512, 14, 512, 3, 1, 1, 32),
    square("resnext_grouped_32", 1, 1024, 14, 1024, 3, 1, 1, 32),
    square("resnext_grouped_4", 1, 128, 56, 128, 3, 1, 1, 32),
    Conv("deeplab_dilated", 1, 256, 28, 28, 256, (3, 3), (1, 1), _pad(2, 2), (2, 2)),
    square("cifar_3x3_64", 32, 64, 32, 64, 3, 1, 1),
)

REAL = (*RESNET50, *VGG16, *ALEXNET, *MOBILENET, *LENET, *OTHERS)


class Gemm(NamedTuple):
    """A product (m, k) @ (k, n), or a batch of them; linear: the right side is given as (n, k)."""

    name: str
    m: int
    n: int
    k: int
    batch: int = 1
    linear: bool = False

    @property
    def multiply_adds(self):
        return self.batch * self.m * self.n * self.k

    @property
    def a_shape(self):
        return (self.m, self.k) if self.batch == 1 else (self.batch, self.m, self.k)

    @property
    def b_shape(self):
        matrix = (self.n, self.k) if self.linear else (self.k, self.n)
        return matrix if self.batch == 1 else (self.batch, *matrix)

    @property
    def c_shape(self):
        return (self.m, self.n) if self.batch == 1 else (self.batch, self.m, self.n)


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
    Gemm("few_rows", 6, 1029, 130),
    Gemm("three_groups_of_few_rows", 11, 515, 131),
    Gemm("few_rows_and_blocks_of_depth", 3, 259, 1290),
    Gemm("few_columns_of_many", 23, 5, 300),
    Gemm("few_rows_of_whole_lines", 3, 640, 130),
)

REAL_GEMMS = (
    Gemm("square_64", 64, 64, 64),
    Gemm("square_128", 128, 128, 128),
    Gemm("square_256", 256, 256, 256),
    Gemm("square_512", 512, 512, 512),
    Gemm("square_1024", 1024, 1024, 1024),
    Gemm("resnet50_conv5_unfolded", 49, 512, 4608),
    Gemm("resnet50_conv2_unfolded", 64, 3136, 576),
    Gemm("hidden_1024_batch_32", 32, 1024, 1024),
    Gemm("hidden_1024_batch_6", 6, 1024, 1024),
    Gemm("mlp_784_512_batch_64", 64, 512, 784),
    Gemm("lstm_gates_batch_32", 32, 2048, 512),
    Gemm("bert_projection", 128, 768, 768),
    Gemm("tall_and_thin", 4096, 64, 64),
    Gemm("hidden_1024", 1, 1024, 1024),
    Gemm("hidden_1024_linear", 1, 1024, 1024, linear=True),
    Gemm("resnet50_classifier", 1, 1000, 2048),
    Gemm("resnet50_classifier_linear", 1, 1000, 2048, linear=True),
    Gemm("vgg16_fc7", 1, 4096, 4096),
    Gemm("vgg16_fc7_linear", 1, 4096, 4096, linear=True),
    Gemm("attention_scores", 64, 64, 32, batch=96),
    Gemm("heads_8", 8, 8, 8, batch=4096),
    Gemm("heads_16", 16, 16, 16, batch=2048),
    Gemm("heads_32", 32, 32, 32, batch=512),
    Gemm("heads_64", 64, 64, 64, batch=128),
)


class Pool(NamedTuple):
    """A pooling of x (n, c, h, w) with square windows; output: an adaptive one to that size, 1 being global."""

    name: str
    n: int
    c: int
    h: int
    w: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    output: int = 0

    @property
    def x_shape(self):
        return (self.n, self.c, self.h, self.w)

    @property
    def y_shape(self):
        if self.output:
            return (self.n, self.c, self.output, self.output)
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in (self.h, self.w)]
        return (self.n, self.c, *sides)


REAL_POOLS = (
    Pool("resnet50_pool", 1, 64, 112, 112, 3, 2, 1),
    Pool("vgg16_pool1", 1, 64, 224, 224, 2, 2),
    Pool("vgg16_pool4_batch_8", 8, 512, 28, 28, 2, 2),
    Pool("inception_pool_3x3", 1, 192, 35, 35, 3, 1, 1),
    Pool("resnet50_pool_batch_8", 8, 64, 112, 112, 3, 2, 1),
    Pool("inception_pool_3x3_batch_8", 8, 192, 35, 35, 3, 1, 1),
    Pool("pool_3x3_s1_256", 32, 256, 28, 28, 3, 1, 1),
    Pool("sppf_5x5", 1, 512, 13, 13, 5, 1, 2),
    Pool("sppf_5x5_batch_16", 16, 512, 20, 20, 5, 1, 2),
    Pool("spp_9x9", 1, 512, 13, 13, 9, 1, 4),
    Pool("spp_13x13", 1, 512, 13, 13, 13, 1, 6),
    Pool("few_channels_3x3_s2", 8, 3, 224, 224, 3, 2, 1),
    Pool("few_channels_3x3_s1", 8, 16, 112, 112, 3, 1, 1),
    Pool("global_7x7", 32, 2048, 7, 7, output=1),
    Pool("global_14x14", 1, 512, 14, 14, output=1),
    Pool("adaptive_7", 8, 512, 16, 18, output=7),
)


class Resize(NamedTuple):
    """Images (n, c, h, w), made `factor` times as high and wide."""

    name: str
    n: int
    c: int
    h: int
    w: int
    factor: int

    @property
    def x_shape(self):
        return (self.n, self.c, self.h, self.w)

    @property
    def y_shape(self):
        return (self.n, self.c, self.h * self.factor, self.w * self.factor)


# A level of a feature pyramid; a decoder's, beyond the caches; photographs.
REAL_RESIZES = (
    Resize("pyramid_64", 1, 64, 56, 56, 2),
    Resize("decoder_64_batch_4", 4, 64, 112, 112, 2),
    Resize("photographs", 4, 3, 224, 224, 2),
)


class Rearrangement(NamedTuple):
    """Images (n, c, h, w): a factor of pixels to shuffle, groups of channels, windows of kernel, stride and padding."""

    name: str
    n: int
    c: int
    h: int
    w: int
    factor: int = 2
    groups: int = 2
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def x_shape(self):
        return (self.n, self.c, self.h, self.w)

    @property
    def windows(self):
        return {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding}


REAL_REARRANGEMENTS = (
    Rearrangement("shufflenet_116", 1, 116, 28, 28),
    Rearrangement("features_64_batch_4", 4, 64, 112, 112),
    Rearrangement("subpixel_27", 1, 27, 224, 224, 3, 3, 3, 2),
)


class Elementwise(NamedTuple):
    """An array of `count` numbers."""

    name: str
    count: int


class Tiny(NamedTuple):
    """Operands of a few numbers: a call's time is what it costs beside its work."""

    name: str

    def shapes(self, op):
        """Of the op's arrays, in the order of its arguments."""
        return {
            "relu": [(10,)],
            "softmax": [(4, 8)],
            "linear": [(1, 8), (4, 8)],
            "conv2d": [(1, 3, 8, 8), (4, 3, 3, 3)],
            "max_pool2d": [(1, 3, 8, 8)],
        }[op]


REAL_ARRAYS = (Elementwise("in_cache_64k", 65536), Elementwise("in_memory_4m", 1 << 22))


class Images(NamedTuple):
    """n images of c channels of h x w pixels, to which another operand is added."""

    name: str
    n: int
    c: int
    h: int
    w: int

    @property
    def shape(self):
        return (self.n, self.c, self.h, self.w)


# 256 KB, 3 MB and 26 MB an operand: within L2, within L3, beyond.
REAL_IMAGES = (
    Images("images_in_cache", 1, 64, 32, 32),
    Images("resnet50_conv2_sum", 1, 256, 56, 56),
    Images("resnet50_conv2_sum_n8", 8, 256, 56, 56),
)


class Rows(NamedTuple):
    """An array whose softmax is along an axis; channels_last: (N, C, H, W) in (N, H, W, C) memory."""

    name: str
    shape: tuple
    axis: int = -1
    channels_last: bool = False


REAL_ROWS = (
    Rows("rows_1000_batch_262", (262, 1000)),
    Rows("rows_10_batch_32", (32, 10)),
    Rows("rows_10_batch_26214", (26214, 10)),
    Rows("rows_21_batch_128", (128, 21)),
    Rows("rows_100_batch_2621", (2621, 100)),
    Rows("rows_1000_batch_8", (8, 1000)),
    Rows("rows_10000_batch_1000", (1000, 10000)),
    Rows("rows_50000_batch_64", (64, 50000)),
    Rows("segmentation_nchw", (1, 21, 256, 256), 1),
    Rows("segmentation_nhwc", (1, 21, 256, 256), 1, True),
    Rows("middle_axis", (8, 100, 256), 1),
)


class Transcription(NamedTuple):
    """Logits (steps, batch, classes) and targets (batch, labels) of a CTC loss."""

    name: str
    steps: int
    batch: int
    classes: int
    labels: int


REAL_TRANSCRIPTIONS = (
    Transcription("text_line", 100, 16, 80, 20),
    Transcription("speech_letters", 400, 8, 29, 60),
    Transcription("speech_pieces", 200, 8, 1000, 30),
)


class Norm(NamedTuple):
    """A normalisation of x: "batch", "group", "instance" or "response" of maps, "layer" or "rms" of the last axis."""

    name: str
    kind: str
    shape: tuple
    groups: int = 0  # of a group norm
    window: int = 0  # channels of a local response norm


REAL_NORMS = (
    Norm("batch_resnet50_conv2", "batch", (32, 64, 56, 56)),
    Norm("batch_resnet50_conv4", "batch", (32, 256, 14, 14)),
    Norm("batch_stem", "batch", (8, 64, 112, 112)),
    Norm("batch_features", "batch", (64, 512)),
    Norm("batch_pixels", "batch", (16, 3, 224, 224)),
    Norm("group_28", "group", (8, 256, 28, 28), groups=32),
    Norm("group_56", "group", (8, 64, 56, 56), groups=32),
    Norm("instance_128", "instance", (8, 64, 128, 128)),
    *(
        Norm(f"{kind}_{rows}_{columns}", kind, (rows, columns))
        for kind in ("layer", "rms")
        for rows, columns in ((4096, 768), (32, 1024), (512, 64), (100000, 32), (16, 50000))
    ),
    Norm("response_alexnet_55", "response", (8, 96, 55, 55), window=5),
    Norm("response_alexnet_27", "response", (8, 256, 27, 27), window=5),
)


class Recurrent(NamedTuple):
    """A recurrent layer of one direction over x (steps, batch, inputs)."""

    name: str
    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int

    @property
    def gates(self):
        return {"lstm": 4, "gru": 3, "rnn_tanh": 1}[self.kind]

    @property
    def multiply_adds(self):
        return self.steps * self.batch * self.gates * self.hidden * (self.inputs + self.hidden)


REAL_RECURRENT = tuple(
    Recurrent(f"{kind}_{steps}_{batch}_{size}", kind, steps, batch, size, size)
    for kind in ("lstm", "gru")
    for steps, batch, size in ((64, 1, 256), (64, 32, 256), (100, 64, 512))
)
