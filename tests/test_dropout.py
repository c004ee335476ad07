"""Dropout: masks against an independent generator, products, special values, orders, threads; layers of channels."""

import numpy as np
import pytest
import reference
from checks import ORDERS, assert_equal, bits, channels_last, integers, reals

from fastconv import layers, ops, runtime

SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 16384, 16385, 50001)


def key_of(seed):
    """The two words that a fresh Generator gives."""
    words = np.random.default_rng(seed).bytes(16)
    return int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little")


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75, 1 - 2**-32, 2**-32])
def test_masks_and_products(p, isa, rng):
    for size in SIZES:
        x = integers(rng, (size,), 1)
        kept = reference.random_words(key_of(7), size) >= round(p * 2**32)
        for threads in (1, 2, 3):
            with runtime.options(num_threads=threads):
                y, mask = ops.dropout(x, p, np.random.default_rng(7))
                assert mask.dtype == np.bool_
                assert np.array_equal(mask, kept), size
                expected = reference.dropout(x, kept, p)
                np.testing.assert_allclose(y, expected, rtol=2e-7)
                np.testing.assert_allclose(ops.dropout_backward(x, mask, p), expected, rtol=2e-7)


def test_masks_are_uniform_and_independent():
    """Shares, correlations of neighbours up to a chunk apart, of bits of the numbers, and of two calls: 5 sigma."""
    rng, count = np.random.default_rng(1), 1 << 20
    x = np.ones(count, np.float32)
    for p in (0.1, 0.5, 0.9):
        masks = [ops.dropout(x, p, rng)[1] for _ in range(2)]
        sigma = np.sqrt(p * (1 - p) / count)
        values = [(mask - (1 - p)) / np.sqrt(p * (1 - p)) for mask in masks]
        for mask in masks:
            assert abs(mask.mean() - (1 - p)) < 5 * sigma
        assert abs(np.mean(values[0] * values[1])) < 5 / np.sqrt(count)
        for lag in (1, 2, 3, 4, 15, 16, 17, 32, 64, 16384):
            assert abs(np.mean(values[0][lag:] * values[0][:-lag])) < 5 / np.sqrt(count), lag
    words = reference.random_words(key_of(3), 1 << 16)
    assert len(np.unique(words)) > (1 << 16) - 20
    for bit in range(32):
        assert abs(np.mean((words >> np.uint32(bit)) & np.uint32(1)) - 0.5) < 2.5 / 256, bit


def test_the_ends():
    x = np.array([1.0, -2.0, np.inf, np.nan], np.float32)
    y, mask = ops.dropout(x, 0, np.random.default_rng(0))
    assert mask.all()
    assert_equal(y, x)
    y, mask = ops.dropout(x, 1.0, np.random.default_rng(0))
    assert not mask.any()
    assert_equal(y, np.array([0, 0, np.nan, np.nan]))
    assert_equal(ops.dropout_backward(x, mask, 1.0), np.array([0, 0, np.nan, np.nan]))
    assert_equal(ops.dropout_backward(x, ~mask, 0.0), x)


def test_special_values_stay_visible(isa):
    """As a product by 0 or 1 / (1 - p) has it."""
    for value in (np.nan, np.inf, -np.inf):
        x = np.full(100, value, np.float32)
        y, mask = ops.dropout(x, 0.5, np.random.default_rng(0))
        assert_equal(y, np.where(mask, value, np.nan))
        assert_equal(ops.dropout_backward(x, mask, 0.5), np.where(mask, value, np.nan))


def test_calls_draw_from_the_generator_in_turn():
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    x = np.ones(300, np.float32)
    masks = [ops.dropout(x, 0.5, first)[1] for _ in range(3)]
    assert (masks[0] != masks[1]).any() and (masks[1] != masks[2]).any()
    for mask in masks:
        assert np.array_equal(ops.dropout(x, 0.5, second)[1], mask)
    assert first.random() == second.random()
    for p in (0.0, 1.0):
        ops.dropout(x, p, first)  # draws as much as any other
        ops.dropout(x[:5], 0.3, second)
    assert first.random() == second.random()


@pytest.mark.parametrize("order", [*ORDERS, "channels last"])
def test_memory_orders(order, rng):
    make = channels_last if order == "channels last" else ORDERS[order]
    x, dy = integers(rng, (2, 5, 4, 3), 1), integers(rng, (2, 5, 4, 3), 1)
    given = make(x)
    y, mask = ops.dropout(given, 0.5, np.random.default_rng(0))
    assert_equal(y, reference.dropout(x, mask, 0.5))
    if order == "channels last":
        assert y.strides == given.strides and mask.transpose(0, 2, 3, 1).flags.c_contiguous
    for masks in (np.array, channels_last, np.asfortranarray):
        for gradients in (make, np.array, channels_last):
            dx = ops.dropout_backward(gradients(dy), masks(mask), 0.5)
            assert_equal(dx, reference.dropout_backward(dy, mask, 0.5))
    assert_equal(given, x)


def test_out(rng):
    x = integers(rng, (2, 5, 4, 3), 1)
    y, mask = ops.dropout(x, 0.25, np.random.default_rng(0))
    for order in (np.array, channels_last):
        out = order(np.full_like(x, np.nan))
        assert ops.dropout(x, 0.25, np.random.default_rng(0), out=out)[0] is out
        assert_equal(out, y)
        assert ops.dropout_backward(x, mask, 0.25, out=out) is out
        assert_equal(out, y)
    place = x.copy()
    assert_equal(ops.dropout(place, 0.25, np.random.default_rng(0), out=place)[0], y)
    place = x.copy()
    assert_equal(ops.dropout_backward(place, mask, 0.25, out=place), y)
    shared = np.zeros(x.size + 3, np.float32)
    for p in (0.25, 1.0):
        expected = ops.dropout(x, p, np.random.default_rng(0))[0]
        shared[: x.size] = x.reshape(-1)
        shifted = shared[3:].reshape(x.shape)
        found = ops.dropout(shared[: x.size].reshape(x.shape), p, np.random.default_rng(0), out=shifted)[0]
        assert_equal(found, expected)
    # A mask in the memory that the result goes to.
    memory = np.zeros(x.size, np.float32)
    within = memory.view(np.bool_)[: x.size].reshape(x.shape)
    within[...] = mask
    assert_equal(ops.dropout_backward(x, within, 0.25, out=memory.reshape(x.shape)), y)


def test_empty():
    y, mask = ops.dropout(np.zeros((0, 3), np.float32), 0.5, np.random.default_rng(0))
    assert y.shape == mask.shape == (0, 3)
    assert ops.dropout_backward(y, mask, 0.5).shape == (0, 3)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_whole_channels(rank, rng):
    layer = getattr(layers, f"Dropout{rank}d")(0.25, rng=3)
    x = reals(rng, (40, 30, *(2, 3, 4)[:rank])) + 7
    y, backward = layer.forward(x)
    first = y.reshape(40, 30, -1)[:, :, 0]
    kept = first != 0
    assert 0.7 < kept.mean() < 0.8
    whole = kept.reshape(40, 30, *[1] * rank)
    np.testing.assert_allclose(y, np.where(whole, x / 0.75, 0), rtol=1e-6)
    dy = reals(rng, x.shape)
    np.testing.assert_allclose(backward(dy), np.where(whole, dy / 0.75, 0), rtol=1e-6)
    assert layer(x) is x and layer.forward(x, training=False)[0] is x
    assert not type(layer)(1.0).forward(x)[0].any()
    assert type(layer)(0.0).forward(x)[0] is x
    with pytest.raises(ValueError, match=rf"Dropout{rank}d: x has shape \(40, 30\): must have {rank + 2} dimensions"):
        layer.forward(x.reshape(40, 30, -1)[:, :, 0])
    with pytest.raises(ValueError, match=f"Dropout{rank}d: dy has shape"):
        backward(dy[1:])


def test_alpha_dropout(rng):
    """It keeps mean and variance, and is the affine map that PyTorch's formula says."""
    x = reals(rng, (1000, 300))
    for p in (0.1, 0.5):
        y, backward = layers.AlphaDropout(p, rng=0).forward(x)
        assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02
        limit = -1.7580993408473766
        a = (1 / ((limit**2 * p + 1) * (1 - p))) ** 0.5
        kept = np.isclose(y, a * x - a * p * limit, atol=1e-5)
        assert abs(kept.mean() - (1 - p)) < 0.01
        np.testing.assert_allclose(y[~kept], a * limit - a * p * limit, rtol=1e-5)
        np.testing.assert_allclose(backward(x), np.where(kept, a * x, 0), atol=1e-5)
    layer = layers.AlphaDropout(0.5)
    assert layer(x) is x and layer.forward(x, training=False)[0] is x
    assert not layers.AlphaDropout(1.0).forward(x)[0].any()


def test_the_layer_names_itself():
    y, backward = layers.Dropout(0.5, rng=0).forward(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"Dropout: dy has shape \(3, 2\): must be \(2, 3\)"):
        backward(np.ones((3, 2), np.float32))
    with pytest.raises(TypeError, match="Dropout: x has dtype float64"):
        layers.Dropout(0.5).forward(np.ones(3))


def test_the_mask_is_the_same_on_every_instruction_set_and_order():
    from fastconv import _native

    found = set()
    for isa in _native.ISAS_DETECTED:
        with runtime.options(isa=isa):
            found.add(bits(ops.dropout(np.ones(40000, np.float32), 0.3, np.random.default_rng(9))[1]))
    assert len(found) == 1
