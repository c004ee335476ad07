"""Interpolation against its definition: every mode, forward and backward, sizes, memory orders, threads, `out`."""

import itertools

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, UNIT, assert_equal, bits, channels_last, integers, reals

from fastconv import ops, runtime
from fastconv.testing import check_adjoint

MODES = [
    (mode, corners)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic")
    for corners in ((False, True) if mode.startswith("bi") else (False,))
]
CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33)
INPUTS = ((1, 1), (1, 7), (5, 3), (9, 16), (31, 2))
TARGETS = (
    {"size": (1, 1)},
    {"size": (7, 5)},
    {"size": 9},
    {"size": (2, 33)},
    {"size": (5, 3)},
    {"scale_factor": 2},
    {"scale_factor": 3.0},
    {"scale_factor": (1.7, 2.3)},
    {"scale_factor": (1.3, 1.0)},
    {"scale_factor": (1, 0.5)},
)


def cases():
    """(x shape, arguments) with each number of channels and each input meeting several targets."""
    channels = itertools.cycle(CHANNELS)
    for sizes, target in itertools.product(INPUTS, TARGETS):
        factors = target.get("scale_factor", 1)
        if min(np.floor(np.multiply(sizes, factors))) >= 1:
            yield (2, next(channels), *sizes), target


def close(got, expected, limit):
    """Within `limit` units of the largest value: products of up to four weights an axis, each of them rounded."""
    assert got.shape == expected.shape and got.dtype == np.float32
    error = np.abs(got - expected).max(initial=0.0)
    assert error <= limit * UNIT * max(1.0, np.abs(expected).max(initial=0.0)), error


@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_forward_and_backward(mode, align_corners, isa, rng):
    for shape, target in cases():
        named = {"mode": mode, "align_corners": align_corners, **target}
        x = integers(rng, shape, 1)
        expected = reference.interpolate(x, **named)
        y = ops.interpolate(x, **named)
        dy = integers(rng, expected.shape, 1)
        dx, wanted = ops.interpolate_backward(dy, shape, **named), reference.interpolate_backward(dy, shape, **named)
        if mode.startswith("nearest"):
            assert_equal(y, expected, f"{shape} {target}")
            assert_equal(dx, wanted, f"{shape} {target}")
        else:
            close(y, expected, 32)
            close(dx, wanted, 32)


def test_every_number_of_channels(isa, rng):
    """Of vectors whole and not, in each of the forward's ways: with twice the size all weights are exact."""
    for channels in CHANNELS:
        for mode in ("nearest", "bilinear"):
            for target in ({"scale_factor": 2}, {"scale_factor": 4}, {"size": (6, 8)}, {"size": (3, 8)}):
                x = integers(rng, (2, channels, 3, 4), 1)
                y = ops.interpolate(x, mode=mode, **target)
                assert_equal(y, reference.interpolate(x, mode=mode, **target), f"{channels} {mode} {target}")
                dy = integers(rng, y.shape, 1)
                dx = ops.interpolate_backward(dy, x.shape, mode=mode, **target)
                assert_equal(dx, reference.interpolate_backward(dy, x.shape, mode=mode, **target), f"{channels} {mode}")


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_sequences(mode, isa, rng):
    for channels, length in itertools.product((1, 3, 8, 17), (1, 7, 33)):
        x = integers(rng, (2, channels, length), 1)
        for target in ({"size": 9}, {"size": (5,)}, {"scale_factor": 2}, {"scale_factor": 2.5}):
            y = ops.interpolate(x, mode=mode, **target)
            close(y, reference.interpolate(x, mode=mode, **target), 8)
            assert y.transpose(0, 2, 1).flags.c_contiguous
            dy = integers(rng, y.shape, 1)
            dx = ops.interpolate_backward(dy, x.shape, mode=mode, **target)
            close(dx, reference.interpolate_backward(dy, x.shape, mode=mode, **target), 16)


@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_threads_give_the_same_bits(mode, align_corners, isa, rng):
    for shape, size in (((2, 33, 40, 31), (73, 59)), ((3, 3, 90, 70), (41, 133)), ((1, 1, 300, 200), (290, 400))):
        x, dy = reals(rng, shape), reals(rng, (*shape[:2], *size))
        named = {"size": size, "mode": mode, "align_corners": align_corners}
        results = set()
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                y, dx = ops.interpolate(x, **named), ops.interpolate_backward(dy, shape, **named)
                results.add((bits(y), bits(dx)))
        assert len(results) == 1


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_memory_orders(order, rng):
    x, dy = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 8, 6), 1)
    given, gradient = IMAGE_ORDERS[order](x), IMAGE_ORDERS[order](dy)
    before = bits(given), bits(gradient)
    y = ops.interpolate(given, scale_factor=2, mode="bilinear")
    assert_equal(y, reference.interpolate(x, scale_factor=2, mode="bilinear"))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    dx = ops.interpolate_backward(gradient, x.shape, scale_factor=2, mode="bilinear")
    assert_equal(dx, reference.interpolate_backward(dy, x.shape, scale_factor=2, mode="bilinear"))
    assert (bits(given), bits(gradient)) == before


@pytest.mark.parametrize(("mode", "align_corners"), MODES)
def test_backward_is_the_adjoint(mode, align_corners, rng):
    for target in ({"scale_factor": 2}, {"size": (3, 11)}, {"scale_factor": (1.6, 0.7)}):
        x, named = integers(rng, (2, 9, 6, 5), 1), {"mode": mode, "align_corners": align_corners, **target}
        forward = lambda x: ops.interpolate(x, **named)  # noqa: B023
        adjoint = lambda dy: ops.interpolate_backward(dy, x.shape, **named)  # noqa: B023
        exact = mode.startswith("nearest")
        check_adjoint(forward, adjoint, x, rng, tolerance=0 if exact else 1e-6)


def test_weights_of_an_output_sum_to_one(rng):
    """Constants stay, up to rounding of the weights: also past the border, where pixels are repeated."""
    x = np.full((1, 3, 5, 7), 3.0, np.float32)
    for (mode, corners), target in itertools.product(MODES, ({"size": (11, 4)}, {"scale_factor": 2.7})):
        np.testing.assert_allclose(ops.interpolate(x, mode=mode, align_corners=corners, **target), 3.0, rtol=3e-6)


def test_corners_are_kept_with_align_corners(rng):
    x = reals(rng, (2, 3, 5, 7))
    for mode in ("bilinear", "bicubic"):
        y = ops.interpolate(x, (9, 13), mode=mode, align_corners=True)
        np.testing.assert_allclose(y[:, :, ::8, ::12], x[:, :, ::4, ::6], rtol=1e-6)


def test_the_same_size_is_a_copy(rng):
    x = reals(rng, (2, 3, 5, 7))
    x[0, 1, 2, 3], x[1, 0, 0, 0] = np.nan, np.inf
    for mode, corners in MODES:
        assert bits(ops.interpolate(x, (5, 7), mode=mode, align_corners=corners)) == bits(x)


@pytest.mark.parametrize("channels", [3, 17])
def test_nan_reaches_its_pixels_alone(channels, isa, rng):
    x = integers(rng, (1, channels, 6, 6), 1)
    x[0, 1, 2, 3] = np.nan
    for mode, corners in MODES:
        named = {"size": (13, 9), "mode": mode, "align_corners": corners}
        reached = np.isnan(ops.interpolate(x, **named))
        weight = reference.interpolate(np.isnan(x).astype(np.float32), **named)
        assert reached[weight != 0].all()  # and pixels of weight 0 beside them
        assert not reached[:, np.arange(channels) != 1].any()
        if mode.startswith("nearest"):
            assert (reached == (weight != 0)).all()


def test_out(rng):
    x, dy = integers(rng, (2, 9, 4, 4), 1), integers(rng, (2, 9, 8, 8), 1)
    named = {"scale_factor": 2, "mode": "bilinear"}
    y, dx = ops.interpolate(x, **named), ops.interpolate_backward(dy, x.shape, **named)
    for order in (channels_last, np.array):
        out, dout = order(np.full_like(y, np.nan)), order(np.full_like(dx, np.nan))
        assert ops.interpolate(x, **named, out=out) is out
        assert ops.interpolate_backward(dy, x.shape, **named, out=dout) is dout
        assert_equal(out, y)
        assert_equal(dout, dx)
    # Within the memory of the input.
    shared = channels_last(integers(rng, (2, 9, 8, 8), 1))
    same = {"size": (8, 8), "mode": "nearest-exact", "scale_factor": None}
    for kwargs, expected in ((same, shared.copy()),):
        assert_equal(ops.interpolate(shared, out=shared, **kwargs), expected)
    buffer = np.zeros(2 * 9 * 64 + 9, np.float32)
    source = buffer[: 2 * 9 * 16].reshape(2, 4, 4, 9).transpose(0, 3, 1, 2)
    source[...] = x
    overlapping = buffer[9:].reshape(2, 8, 8, 9).transpose(0, 3, 1, 2)
    assert_equal(ops.interpolate(source, **named, out=overlapping), y)


def test_empty_batch_and_no_channels():
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        for mode, corners in MODES:
            y = ops.interpolate(np.zeros(shape, np.float32), scale_factor=2, mode=mode, align_corners=corners)
            assert y.shape == (*shape[:2], 8, 10)
            dx = ops.interpolate_backward(y, shape, scale_factor=2, mode=mode, align_corners=corners)
            assert dx.shape == shape


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    for shape, target in cases():
        factors = np.broadcast_to(target.get("scale_factor", 1), 2)
        for mode, corners in MODES:
            if mode == "nearest" and any(
                f % 1 and f * n // 1 in (n, 2 * n) for f, n in zip(factors, shape[2:], strict=True)
            ):
                continue  # PyTorch is not of one mind: see ops.resampling
            x = reals(rng, shape)
            theirs = torch.from_numpy(x).requires_grad_()
            named = {"mode": mode, **target}
            expected = torch.nn.functional.interpolate(
                theirs, align_corners=corners if mode.startswith("bi") else None, **named
            )
            y = ops.interpolate(x, align_corners=corners, **named)
            dy = reals(rng, y.shape)
            expected.backward(torch.from_numpy(dy))
            dx = ops.interpolate_backward(dy, shape, align_corners=corners, **named)
            np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=2e-5)
            np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=0, atol=2e-5 * max(1, np.abs(dx).max()))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_same_pixels_as_torch_chooses(mode):
    """Coordinates are rounded to float32 on the way, and pixels on a boundary fall to the side they fall to there."""
    torch = pytest.importorskip("torch")
    x = np.arange(97, dtype=np.float32).reshape(1, 1, 97)
    for out in range(1, 400):
        expected = torch.nn.functional.interpolate(torch.from_numpy(x), out, mode=mode).numpy()
        assert np.array_equal(ops.interpolate(x, out, mode=mode), expected), out
    for factor in np.linspace(0.02, 7, 300).tolist():
        expected = torch.nn.functional.interpolate(torch.from_numpy(x), scale_factor=factor, mode=mode).numpy()
        assert np.array_equal(ops.interpolate(x, scale_factor=factor, mode=mode), expected), factor
