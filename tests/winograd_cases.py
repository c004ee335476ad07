"""The 3x3 convolutions that the tests of Winograd's algorithms run, forward and backward."""

from shapes import Conv

ALGORITHMS = ("winograd_2x2", "winograd", "winograd_6x6")
SAME = ((1, 1), (1, 1))


def case_of(c, k, height, width, padding=SAME, n=1, groups=1):
    pads = "" if padding == SAME else f"_{padding}".replace(" ", "")
    name = f"{n}x{c}x{height}x{width}_{k}_{groups}{pads}"
    return Conv(name, n, c, height, width, k, (3, 3), (1, 1), padding, (1, 1), groups)


# Every channel count up to a few vectors, maps that tiles of 2, 4, 6 divide and do not, pads up to beyond the kernel.
CASES = (
    *(case_of(c, 34 - c, 5 + c % 4, 9 + c % 7) for c in range(1, 34)),
    *(case_of(9, 17, size, 13 - size // 2) for size in range(1, 14)),
    case_of(16, 32, 6, 7, ((0, 0), (0, 0))),
    case_of(16, 32, 7, 5, ((2, 2), (2, 2))),
    case_of(7, 33, 5, 6, ((0, 2), (1, 0)), 2),
    case_of(7, 33, 6, 5, ((3, 0), (0, 5)), 2),
    case_of(5, 3, 4, 3, ((7, 6), (5, 8))),
    case_of(5, 3, 1, 1, ((2, 2), (2, 2))),
    case_of(5, 70, 1, 2, n=3),
    case_of(33, 65, 15, 17, n=2),
    case_of(12, 10, 9, 7, groups=2),
    case_of(8, 16, 9, 7, groups=8),
    case_of(512, 33, 7, 7),
    case_of(64, 64, 56, 56),
)
