"""Shapes that broadcast: one of each pattern that the kernels know, and those that go through NumPy."""

# (a, b): alike, a number, a bias and a gate by channel, rows, columns, both repeated, more groups of axes than kernels
# take.
PAIRS = [
    ((), ()),
    ((1,), ()),
    ((17,), (17,)),
    ((33, 5), (33, 5)),
    ((2, 3, 5, 7), (2, 3, 5, 7)),
    ((2, 17, 5, 7), ()),
    ((2, 17, 5, 7), (1, 1, 1, 1)),
    ((2, 17, 5, 7), (17, 1, 1)),
    ((3, 16, 9, 8), (1, 16, 1, 1)),
    ((3, 33, 2, 3), (3, 33, 1, 1)),
    ((2, 8, 5, 7), (2, 1, 5, 7)),
    ((2, 8, 5, 7), (5, 7)),
    ((2, 8, 5, 7), (7,)),
    ((2, 8, 5, 7), (2, 1, 1, 1)),
    ((4, 65), (65,)),
    ((65, 4), (65, 1)),
    ((2, 9, 31), (9, 1)),
    ((31, 1), (1, 15)),
    ((2, 3, 1, 5), (2, 1, 4, 1)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((2, 3, 2, 3, 2), (3, 1, 3, 1)),
    ((1, 3, 1, 2, 1, 3), (2, 1, 2, 1, 2, 1)),
    ((0,), ()),
    ((0, 3, 4, 5), (3, 1, 1)),
    ((2, 0, 4, 5), (0, 1, 1)),
    ((3, 0), (3, 1)),
    ((1, 4), (0, 4)),
]
# What the sums of a backward pass cross: more than one chunk of rows and of columns, whole vectors and tails.
LARGE = [
    ((2, 31, 40, 33), (31, 1, 1)),
    ((2, 64, 33, 31), (2, 64, 1, 1)),
    ((3, 130, 129), (130, 1)),
    ((30000,), ()),
    ((3, 30001), (3, 1)),
    ((1000, 3), (3,)),
    ((5, 1000), (1000,)),
]


def name(pair):
    return " ".join(str(shape).replace(" ", "") for shape in pair)
