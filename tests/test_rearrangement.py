"""Permutations, unfold and fold: exact against their definitions, on every instruction set, order and thread count."""

import itertools

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, assert_equal, bits, channels_last, integers, reals

from fastconv import ops, runtime
from fastconv.testing import check_adjoint

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)
# kernel, stride, padding, dilation
WINDOWS = (
    (1, 1, 0, 1),
    (3, 1, 1, 1),
    ((2, 3), 1, (0, 2), (2, 1)),
    (3, 2, 1, 1),
    ((3, 4), (2, 3), (1, 2), (1, 2)),
    (2, 2, 0, 1),
    (2, 3, 0, 1),
    ((2, 5), (3, 5), (1, 0), 1),
    (5, 5, 0, 1),
    ((3, 7), (2, 6), (2, 3), 1),
    ((2, 3), (5, 5), (1, 2), (3, 2)),
    ((1, 9), (2, 9), (0, 0), 1),
    ((3, 2), 1, (4, 3), (1, 3)),
)
SIZES = ((1, 1), (5, 7), (9, 8), (17, 33), (4, 31))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_pixel_shuffle(factor, isa, rng):
    for channels, (height, width) in itertools.product(CHANNELS, ((1, 1), (2, 3), (3, 9))):
        x = reals(rng, (2, channels * factor**2, height, width))
        y = ops.pixel_shuffle(x, factor)
        assert_equal(y, reference.pixel_shuffle(x, factor), f"{channels}")
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        assert_equal(ops.pixel_shuffle_backward(y, factor), x, f"{channels}")
        back = ops.pixel_unshuffle(y, factor)
        assert_equal(back, reference.pixel_unshuffle(y, factor), f"{channels}")
        assert_equal(ops.pixel_unshuffle_backward(back, factor), y, f"{channels}")


def test_channel_shuffle(isa, rng):
    for groups, count in itertools.product((1, 2, 3, 4, 5, 8, 9), CHANNELS):
        for sizes in ((3, 4), (7,), (2, 1, 3)):
            x = reals(rng, (2, groups * count, *sizes))
            y = ops.channel_shuffle(x, groups)
            assert_equal(y, reference.channel_shuffle(x, groups), f"{groups} {count}")
            assert_equal(ops.channel_shuffle_backward(y, groups), x, f"{groups} {count}")


def windows():
    """(geometry, sizes) that leave a window."""
    for (kernel, stride, padding, dilation), sizes in itertools.product(WINDOWS, SIZES):
        reach = np.multiply(dilation, np.subtract(kernel, 1)) + 1
        if (np.add(sizes, np.multiply(padding, 2)) >= reach).all():
            yield {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}, sizes


def test_unfold_and_fold(isa, rng):
    channels = itertools.cycle(CHANNELS)
    for named, sizes in windows():
        x = integers(rng, (2, next(channels), *sizes), 1)
        expected = reference.unfold(x, **named)
        for order in (np.array, channels_last):
            columns = ops.unfold(order(x), **named)
            assert_equal(columns, expected, f"{x.shape} {named}")
            assert columns.flags.c_contiguous
        assert_equal(ops.fold_backward(x, **named), expected)
        dcolumns = integers(rng, columns.shape, 1)
        wanted = reference.fold(dcolumns, sizes, **named)
        y = ops.fold(dcolumns, sizes, **named)
        assert_equal(y, wanted, f"{x.shape} {named}")
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        assert_equal(ops.unfold_backward(dcolumns, x.shape, **named), wanted)


def test_blocks_of_unfold_and_fold(isa, rng):
    """Planes of more than a block of scratch, and more channels than one holds."""
    for shape, named in (
        ((1, 17, 130, 140), {"kernel_size": 3, "padding": 1}),
        ((2, 9, 150, 121), {"kernel_size": (5, 2), "stride": 2, "dilation": (3, 1)}),
        ((1, 3, 400, 130), {"kernel_size": 8, "stride": 8}),
        ((1, 8, 2, 40000), {"kernel_size": (2, 3), "stride": (1, 3)}),
    ):
        x = integers(rng, shape, 1)
        expected = reference.unfold(x, **named) if shape[3] < 1000 else ops.unfold(np.array(x), **named)
        columns = ops.unfold(channels_last(x), **named)
        assert_equal(columns, expected)
        assert_equal(ops.fold(columns, shape[2:], **named), reference.unfold_backward(expected, shape, **named))


def test_threads_give_the_same_bits(isa, rng):
    x = reals(rng, (3, 36, 40, 50))
    calls = [
        lambda: ops.pixel_shuffle(x, 3),
        lambda: ops.pixel_unshuffle(x, 2),
        lambda: ops.channel_shuffle(x, 2),
        lambda: ops.channel_shuffle(x, 4),
        lambda: ops.unfold(x, 3, padding=1),
        lambda: ops.fold(reals(np.random.default_rng(3), (3, 36 * 9, 2000)), (40, 50), 3, padding=1),
        lambda: ops.fold(reals(np.random.default_rng(3), (3, 36 * 9, 500)), (40, 50), 3, padding=1, stride=2),
    ]
    for call in calls:
        results = set()
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                results.add(bits(call()))
        assert len(results) == 1


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_memory_orders(order, rng):
    x = integers(rng, (2, 12, 6, 4), 1)
    given = IMAGE_ORDERS[order](x)
    before = bits(given)
    assert_equal(ops.pixel_shuffle(given, 2), reference.pixel_shuffle(x, 2))
    assert_equal(ops.pixel_unshuffle(given, 2), reference.pixel_unshuffle(x, 2))
    assert_equal(ops.channel_shuffle(given, 3), reference.channel_shuffle(x, 3))
    assert_equal(ops.unfold(given, 3, padding=1), reference.unfold(x, 3, padding=1))
    assert bits(given) == before
    columns = integers(rng, (2, 12, 15), 1)
    if order == "channels last":
        given = np.ascontiguousarray(columns.transpose(0, 2, 1)).transpose(0, 2, 1)
    else:
        given = IMAGE_ORDERS[order](columns)
    assert_equal(ops.fold(given, (6, 4), 2), reference.fold(columns, (6, 4), 2))


def test_backward_is_the_adjoint(rng):
    x = integers(rng, (2, 12, 6, 4), 1)
    pairs = [
        (lambda x: ops.pixel_shuffle(x, 2), lambda dy: ops.pixel_shuffle_backward(dy, 2)),
        (lambda x: ops.pixel_unshuffle(x, 2), lambda dy: ops.pixel_unshuffle_backward(dy, 2)),
        (lambda x: ops.channel_shuffle(x, 4), lambda dy: ops.channel_shuffle_backward(dy, 4)),
    ]
    for geometry in ({"padding": 1}, {"stride": 2, "padding": (1, 2), "dilation": (1, 2)}, {"stride": 3}):
        pairs.append(
            (
                lambda x, geometry=geometry: ops.unfold(x, (3, 2), **geometry),
                lambda dy, geometry=geometry: ops.unfold_backward(dy, x.shape, (3, 2), **geometry),
            )
        )
    for forward, adjoint in pairs:
        assert check_adjoint(forward, adjoint, x, rng, tolerance=0) == 0
    columns = integers(rng, (2, 30, 15), 1)
    forward, adjoint = lambda c: ops.fold(c, (6, 4), 2), lambda dy: ops.fold_backward(dy, 2)
    assert check_adjoint(forward, adjoint, columns[:, :28], rng, tolerance=0) == 0


def test_bits_are_moved_as_they_are(isa):
    """NaN with any payload, infinities, denormals, minus zero."""
    words = np.array([0x7FA00001, 0xFFC12345, 0x7F800000, 0xFF800000, 1, 0x80000000, 0x80000001, 0x7F7FFFFF], np.uint32)
    x = np.tile(words, 36).view(np.float32).reshape(2, 36, 2, 2)
    assert bits(ops.pixel_unshuffle(ops.pixel_shuffle(x, 3), 3)) == bits(x)
    assert bits(ops.channel_shuffle_backward(ops.channel_shuffle(x, 2), 2)) == bits(x)
    assert bits(ops.unfold(x, 1).reshape(x.shape)) == bits(x)


def test_nan_reaches_its_pixels_alone(isa, rng):
    columns = integers(rng, (1, 3 * 9, 48), 1)
    columns[0, 13, 20] = np.nan
    y = ops.fold(columns, (8, 6), 3, padding=1)
    assert np.array_equal(np.isnan(y), np.isnan(reference.fold(columns, (8, 6), 3, padding=1)))
    assert np.isnan(y).sum() == 1


def test_out(rng):
    x = integers(rng, (2, 12, 4, 6), 1)
    calls = [
        lambda x, out: ops.pixel_shuffle(x, 2, out=out),
        lambda x, out: ops.pixel_shuffle_backward(x, 2, out=out),
        lambda x, out: ops.pixel_unshuffle(x, 2, out=out),
        lambda x, out: ops.pixel_unshuffle_backward(x, 2, out=out),
        lambda x, out: ops.channel_shuffle(x, 3, out=out),
        lambda x, out: ops.channel_shuffle_backward(x, 3, out=out),
        lambda x, out: ops.unfold(x, 3, padding=1, out=out),
        lambda x, out: ops.fold_backward(x, 3, padding=1, out=out),
    ]
    for call in calls:
        y = call(x, None)
        for make in (np.array, lambda a: channels_last(a) if a.ndim == 4 else np.asfortranarray(a)):
            out = make(np.full_like(y, np.nan))
            assert call(x, out) is out
            assert_equal(out, y)
        shared = np.zeros(x.size + y.size, np.float32)  # out begins within x
        given = shared[: x.size].reshape(2, 4, 6, 12).transpose(0, 3, 1, 2)
        given[...] = x
        out = shared[5 : 5 + y.size].reshape(y.shape)
        assert_equal(call(given, out), y)
    columns = ops.unfold(x, 2)
    for call in (
        lambda c, out: ops.fold(c, (4, 6), 2, out=out),
        lambda c, out: ops.unfold_backward(c, x.shape, 2, out=out),
    ):
        y = call(columns, None)
        for order in (np.array, channels_last):
            out = order(np.full_like(y, np.nan))
            assert call(columns, out) is out
            assert_equal(out, y)
        within = columns.copy()
        out = within.reshape(-1)[: y.size].reshape(2, 4, 6, 12).transpose(0, 3, 1, 2)
        assert_equal(call(within, out), y)


def test_empty_batch():
    x = np.zeros((0, 12, 4, 6), np.float32)
    assert ops.pixel_shuffle(x, 2).shape == (0, 3, 8, 12)
    assert ops.pixel_unshuffle(x, 2).shape == (0, 48, 2, 3)
    assert ops.channel_shuffle(x, 4).shape == x.shape
    assert ops.unfold(x, 3).shape == (0, 108, 8)
    assert ops.fold(np.zeros((0, 108, 8), np.float32), (4, 6), 3).shape == x.shape
    assert ops.pixel_shuffle(np.zeros((2, 0, 4, 6), np.float32), 2).shape == (2, 0, 8, 12)
    assert ops.channel_shuffle(np.zeros((2, 4, 0, 6), np.float32), 2).shape == (2, 4, 0, 6)


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = integers(rng, (2, 36, 6, 4), 1)
    theirs = torch.from_numpy(x)
    for factor in (2, 3):
        assert_equal(ops.pixel_shuffle(x, factor), functional.pixel_shuffle(theirs, factor).numpy())
    assert_equal(ops.pixel_unshuffle(x, 2), functional.pixel_unshuffle(theirs, 2).numpy())
    assert_equal(ops.channel_shuffle(x, 4), torch.channel_shuffle(theirs, 4).numpy())
    for named, sizes in windows():
        x = integers(rng, (2, 3, *sizes), 1)
        theirs = torch.from_numpy(x)
        expected = functional.unfold(theirs, **named).numpy()
        assert_equal(ops.unfold(x, **named), expected)
        assert_equal(
            ops.fold(expected, sizes, **named), functional.fold(torch.from_numpy(expected), sizes, **named).numpy()
        )
