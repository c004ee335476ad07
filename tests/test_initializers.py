"""First values of parameters: their distribution, bounds and seeds."""

import numpy as np
import pytest

from fastconv import initializers, layers
from fastconv.layers import GRU, Conv2d, Linear


def test_initial_values_are_seeded_and_bounded():
    for make, bound in (
        (lambda rng: Linear(64, 80, rng=rng), 1 / 8),
        (lambda rng: Conv2d(4, 32, 4, rng=rng), 1 / 8),
        (lambda rng: layers.Conv3d(8, 32, 2, rng=rng), 1 / 8),
        (lambda rng: layers.ConvTranspose2d(32, 32, 2, groups=2, rng=rng), 1 / 8),
        (lambda rng: GRU(7, 64, rng=rng), 1 / 8),
    ):
        first, again, other = make(1).state_dict(), make(np.random.default_rng(1)).state_dict(), make(2).state_dict()
        for name, value in first.items():
            np.testing.assert_array_equal(value, again[name])
            assert (value != other[name]).any()
            assert 0.9 * bound < np.abs(value).max() <= bound


def test_initializers(rng):
    shape = (30, 20, 3, 3)
    assert not initializers.zeros(shape).any() and (initializers.ones(shape) == 1).all()
    assert (initializers.constant(shape, value=0.5) == 0.5).all()
    for name, std in (
        ("glorot_uniform", np.sqrt(2 / 450)),
        ("glorot_normal", np.sqrt(2 / 450)),
        ("he_uniform", np.sqrt(2 / 180)),
        ("he_normal", np.sqrt(2 / 180)),
        ("normal", 0.05),
        ("uniform", 0.05 / np.sqrt(3)),
    ):
        values = getattr(initializers, name)(shape, rng)
        assert values.shape == shape and values.dtype == np.float32
        np.testing.assert_allclose(values.std(), std, rtol=0.05)
        np.testing.assert_allclose(values.mean(), 0, atol=3 * std / np.sqrt(values.size))
    wide, tall = initializers.orthogonal((4, 3, 5), rng).reshape(4, 15), initializers.orthogonal((9, 2), rng, gain=2)
    np.testing.assert_allclose(wide @ wide.T, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(tall.T @ tall, 4 * np.eye(2), atol=1e-5)
    with pytest.raises(ValueError, match=r"he_normal: shape=\(3,\): must have at least 2 dimensions"):
        initializers.he_normal((3,), rng)
