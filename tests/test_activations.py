"""Activations against their float64 definitions: accuracy over all floats, kinks, gradients, memory, arguments."""

import functools
import math

import numpy as np
import pytest
import reference

from fastconv import _native, ops, runtime

EPS = 2.0**-23
SIZES = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65)
SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1e-39,
        -1e-39,
        2.0**-126,
        1.0,
        -1.0,
        3.0,
        -3.0,
        6.0,
        -6.0,
        20.0,
        88.72283,
        88.72284,
        -87.4,
    ]
    + [-88.8, -103.9, -104.1, 1000.0, -1000.0, 1e20, -1e20, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan],
    np.float32,
)
FROM_RESULT = ("exp", "sigmoid", "tanh")


def forward(name, x, *parameters, **options):
    if name == "gelu_tanh":
        return ops.gelu(x, "tanh", **options)
    return getattr(ops, name)(x, *(parameters or reference.PARAMETERS.get(name, ())), **options)


def fused(name):
    """What products take to apply an activation."""
    return (name, *reference.PARAMETERS[name]) if name in reference.PARAMETERS else name


def backward(name, dy, saved, *parameters, **options):
    if name == "gelu_tanh":
        return ops.gelu_backward(dy, saved, "tanh", **options)
    if name == "threshold":
        parameters = (parameters or reference.PARAMETERS[name])[:1]
    return getattr(ops, f"{name}_backward")(dy, saved, *parameters, **options)


# Where kernels clamp, change formulas or leave the normal floats.
SWITCHES = "0 3 5.6 6 9.02 10 15 16 16.64 17.4 18 20 80 87.337 88.376 88.723 89 103.28 103.972 104"
SWITCHES = [*map(float, SWITCHES.split()), *[math.log(2) * k / 2 for k in range(1, 30)]]


@functools.cache
def sample():
    """Every 2048th bit pattern, shifted by a little noise; a dense sample of where functions bend; floats around each
    switch; special values."""
    rng = np.random.default_rng(7)
    bits = np.arange(0, 2**32, 2048, dtype=np.int64) + rng.integers(0, 2048, 2**21)
    patterns = bits.astype(np.uint32).view(np.float32)
    dense = [rng.uniform(-110, 110, 2**17), rng.uniform(-10, 10, 2**17), rng.uniform(-1, 1, 2**17)]
    around = np.float32(SWITCHES).view(np.int32)[:, None] + np.arange(-100, 100, dtype=np.int32)
    around = np.maximum(around, 0).view(np.float32).ravel()
    return np.concatenate([patterns, *[part.astype(np.float32) for part in dense], around, -around, SPECIAL])


@functools.cache
def expected(name):
    return reference.activation(name, sample())


def ulps(y, exact):
    """|y - exact| in units of the last place of exact: 0 where y is exact rounded, inf where one is NaN and the other
    is not, or exact infinite and y not; infinity counts as the float after the largest."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        y = np.where(np.isinf(y) & np.isfinite(rounded), np.copysign(2.0**128, y.astype(np.float64)), y)
        different = np.flatnonzero((y != rounded) & ~(np.isnan(y) & np.isnan(rounded)))
        unit = np.spacing(np.minimum(np.abs(rounded[different]), np.float32(3.4e38)))
        error = np.abs(y[different] - exact[different]) / unit
    result = np.zeros(y.shape)
    result[different] = np.where(np.isnan(error), np.inf, error)
    return result


# Bounds in units of the last place; csrc/kernels/vec_math.h has what was found over all floats. gelu and gelu_tanh: in
# multiples of max(2 eps, eps * |y|), of which NUMERICS allow 5.
BOUNDS = {"exp": 1.2, "sigmoid": 3.2, "tanh": 2.7, "elu": 1.5, "silu": 4, "softplus": 3.5, "mish": 5, "selu": 3}
BOUNDS |= {"celu": 1.5, "softsign": 1.5, "logsigmoid": 4, "gelu": 5, "gelu_tanh": 5}


def errors(name, x, y, exact):
    """The error of each y = f(x), as a multiple of what BOUNDS counts."""
    if name in ("gelu", "gelu_tanh"):
        with np.errstate(invalid="ignore"):
            error = np.abs(y - exact) / np.maximum(2 * EPS, EPS * np.abs(exact))
        same = (np.isnan(y) & np.isnan(exact)) | (y == exact)
        return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    if name not in ("silu", "mish"):
        return ulps(y, exact)
    # Below -87.34 the sigmoid is denormal, of few digits; it is rounded before the product with x.
    few = x < -87.34
    with np.errstate(invalid="ignore", over="ignore"):
        rounding = np.abs(y - exact) <= 2.0**-149 * (np.abs(x) * 2 + 1)
    error = np.zeros(x.shape)
    error[~few] = ulps(y[~few], exact[~few])
    error[few & ~rounding & ~(np.isnan(y) & np.isnan(exact))] = np.inf
    return error


@pytest.mark.parametrize("name, bound", BOUNDS.items())
def test_errors_over_a_sample_of_all_floats(isa, name, bound):
    y, exact = forward(name, sample()), expected(name)
    error = errors(name, sample(), y, exact)
    worst = np.argmax(error)
    assert error[worst] <= bound, (sample()[worst], y[worst], exact[worst])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(16))
@pytest.mark.parametrize("name, bound", BOUNDS.items())
def test_errors_over_all_floats(name, bound, part):
    """On every instruction set, a sixteenth of the bit patterns at a time; prints the largest (pytest -m slow -s)."""
    count, found = 2**18, {isa: (0.0, 0.0) for isa in _native.ISAS_DETECTED}
    for first in range(part * 2**28, (part + 1) * 2**28, count):
        x = np.arange(first, first + count, dtype=np.uint32).view(np.float32)
        exact = reference.activation(name, x)
        for isa in found:
            with runtime.options(isa=isa):
                y = forward(name, x)
            error = errors(name, x, y, exact)
            worst = np.argmax(error)
            found[isa] = max(found[isa], (float(error[worst]), float(x[worst])))
            if name == "tanh":
                assert not (np.abs(y) > 1).any()
    print(f"\n{name} {part}:", {isa: f"{error:.3f} at {x!r}" for isa, (error, x) in found.items()})
    assert max(error for error, _ in found.values()) <= bound, found


EXACT = {"relu": (), "relu6": (), "leaky_relu": (0.25,), "hardtanh": (-0.75, 3.0), "threshold": (-1.0, 20.0)}


@pytest.mark.parametrize("name, parameters", EXACT.items())
def test_exact_ones(isa, name, parameters):
    exact = reference.activation(name, sample(), *parameters).astype(np.float32)
    assert np.array_equal(forward(name, sample(), *parameters), exact, equal_nan=True)


@pytest.mark.parametrize("name", ["hardswish", "hardsigmoid"])
def test_hard_ones(isa, name):
    x, y, exact = sample(), forward(name, sample()), expected(name)
    outside = ~(np.abs(x) < 3)
    assert np.array_equal(y[outside], exact[outside].astype(np.float32), equal_nan=True)
    np.testing.assert_allclose(y, exact, rtol=4 * EPS, atol=EPS * 2.0**-100)


def test_tanh_is_odd_and_bounded(isa):
    x = sample()
    y = ops.tanh(x)
    assert np.array_equal(ops.tanh(-x), -y, equal_nan=True)
    assert np.nanmax(np.abs(y)) == 1
    assert ops.tanh(np.array([np.inf, -np.inf], np.float32)).tolist() == [1, -1]
    small = np.array([1e-45, 1e-40, -1e-38, 0.0, -0.0], np.float32)
    assert ops.tanh(small).tobytes() == small.tobytes()


@pytest.mark.parametrize("name", ["exp", "sigmoid"])
def test_denormals(isa, name):
    x = np.linspace(-103.9, -87.4, 1001, dtype=np.float32)
    y = forward(name, x)
    assert (y > 0).all() and ulps(y, reference.activation(name, x)).max() <= 1
    assert forward(name, np.float32([-1000, -104.5, -np.inf])).tolist() == [0, 0, 0]


def test_exp_overflows_where_it_has_to(isa):
    largest = np.float32(88.72283)  # exp of the next float is above the largest float
    x = np.array([largest, np.nextafter(largest, np.float32(89)), 1000, np.inf, 0, -0.0] * 7, np.float32)
    assert np.array_equal(ops.exp(x), np.float32([3.4027985e38, np.inf, np.inf, np.inf, 1, 1] * 7))


def test_nan_stays(isa):
    x = np.full(19, np.nan, np.float32)
    for name in reference.ACTIVATIONS:
        assert np.isnan(forward(name, x)).all(), name


@pytest.mark.parametrize("slope", [-0.5, 0.0, 1.0, 3.0])
def test_any_negative_slope(isa, slope):
    x = np.linspace(-5, 5, 41, dtype=np.float32)
    assert np.array_equal(ops.leaky_relu(x, slope), np.where(x > 0, x, np.float32(slope) * x))
    assert np.array_equal(ops.leaky_relu_backward(x, x, slope), np.where(x > 0, x, np.float32(slope) * x))


@pytest.mark.parametrize("beta, threshold", [(2.0, 20.0), (0.5, 3.0), (-1.5, 20.0)])
def test_softplus_parameters(isa, beta, threshold):
    x = np.linspace(-40, 40, 2001, dtype=np.float32)
    dy = np.ones_like(x)
    # beta * x is rounded, which an exponential multiplies by its size
    bound = (5 + np.abs(beta * x)) * EPS
    exact = reference.activation("softplus", x, beta, threshold)
    assert (np.abs(ops.softplus(x, beta, threshold) - exact) <= bound * np.abs(exact)).all()
    exact = reference.activation_derivative("softplus", x, beta, threshold)
    assert (np.abs(ops.softplus_backward(dy, x, beta, threshold) - exact) <= bound * exact + 2.0**-140).all()


def test_elu_alpha(isa):
    x = np.linspace(-20, 5, 1001, dtype=np.float32)
    np.testing.assert_allclose(ops.elu(x, 1.7), reference.activation("elu", x, 1.7), rtol=4 * EPS)
    exact = reference.activation_derivative("elu", x, 1.7)
    np.testing.assert_allclose(ops.elu_backward(np.ones_like(x), x, 1.7), exact, rtol=4 * EPS)


@pytest.mark.parametrize("alpha", [0.3, 2.5, 2.0**-126, 1e30])
def test_celu_alpha(isa, alpha):
    x = np.linspace(-20, 5, 1001, dtype=np.float32)
    bound = (5 + np.minimum(np.abs(np.float64(x) / alpha), 110)) * EPS  # x / alpha is rounded before the exponential
    exact = reference.activation("celu", x, alpha)
    assert (np.abs(ops.celu(x, alpha) - exact) <= bound * np.abs(exact)).all()
    exact = reference.activation_derivative("celu", x, alpha)
    assert (np.abs(ops.celu_backward(np.ones_like(x), x, alpha) - exact) <= bound * exact + 2.0**-140).all()


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 0.0), (-np.inf, 2.0), (3.0, np.inf)])
def test_hardtanh_limits(isa, limits):
    x = np.array([-np.inf, -5, -1, -0.5, 0, 0.5, 1, 2, 3, 5, np.inf, np.nan] * 3, np.float32)
    assert np.array_equal(ops.hardtanh(x, *limits), np.clip(x, *limits), equal_nan=True)
    inside = (x > limits[0]) & (x < limits[1])
    assert np.array_equal(ops.hardtanh_backward(x + 1, x, *limits), np.where(inside, x + 1, 0), equal_nan=True)


def test_threshold_keeps_nan(isa):
    x = np.array([np.nan, 2, 3, np.inf, -np.inf] * 7, np.float32)
    assert np.array_equal(ops.threshold(x, 2, 9), np.where(x <= 2, 9, x), equal_nan=True)
    dy = np.arange(x.size, dtype=np.float32)
    assert np.array_equal(ops.threshold_backward(dy, x, 2), np.where(x <= 2, 0, dy))


# ---------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_reference_derivative_is_the_slope_of_the_reference(name):
    x = np.linspace(-9.97, 9.99, 500)  # off the kinks
    step = 1e-5
    slope = (reference.activation(name, x + step) - reference.activation(name, x - step)) / (2 * step)
    np.testing.assert_allclose(reference.activation_derivative(name, x), slope, atol=1e-9)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_gradient(isa, rng, name):
    x = np.concatenate([rng.uniform(-12, 12, 20011), rng.normal(0, 1e-3, 1000), SPECIAL[np.abs(SPECIAL) <= 20]])
    x = x.astype(np.float32)
    dy = rng.standard_normal(x.size).astype(np.float32)
    y = forward(name, x)
    dx = backward(name, dy, y if name in FROM_RESULT else x)
    if name == "sigmoid":
        slope = y.astype(np.float64) * (1 - y.astype(np.float64))
    elif name == "tanh":
        slope = (1 - y.astype(np.float64)) * (1 + y.astype(np.float64))
    elif name == "exp":
        slope = y.astype(np.float64)
    else:
        slope = reference.activation_derivative(name, x)
    assert (np.abs(dx - dy * slope) <= 10 * EPS * np.abs(dy) * np.maximum(1, np.abs(slope))).all()
    if name in FROM_RESULT:
        np.testing.assert_allclose(dx, dy * slope, rtol=4 * EPS)


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_gradient_far_out(isa, name):
    """The derivative reaches its limits without NaN where intermediate powers overflow."""
    x = np.array([-3e38, -1e20, -1e10, -1e3, 1e3, 1e10, 1e20, 3e38], np.float32)
    if name == "exp":  # as its derivative, to the right
        x = x[x < 0]
    saved = forward(name, x) if name in FROM_RESULT else x
    dx = backward(name, np.ones_like(x), saved)
    limited = x if name == "softsign" else np.clip(x, -100, 100)  # the one that is slow to reach its limit
    np.testing.assert_allclose(dx, reference.activation_derivative(name, limited), atol=1e-7)


TORCH_NAMES = [name for name in reference.ACTIVATIONS if name != "gelu_tanh"]


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_agrees_with_torch(name):
    torch = pytest.importorskip("torch")
    # The kinks themselves, and ordinary values
    kinks = np.array([-6, -3, -1, -0.0, 0, 0.5, 1, 3, 6, 20], np.float32)
    x = np.concatenate([kinks, np.linspace(-8, 8, 203, dtype=np.float32)])
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    function = getattr(torch, name, None) if name in FROM_RESULT else getattr(torch.nn.functional, name)
    result = function(tensor, *reference.PARAMETERS.get(name, ()))
    result.backward(torch.ones_like(result))
    y = forward(name, x)
    np.testing.assert_allclose(y, result.detach().numpy(), rtol=1e-6, atol=2e-6)
    dx = backward(name, np.ones_like(x), y if name in FROM_RESULT else x)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-6, atol=2e-6)


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_ragged_sizes_stay_inside_their_operands(isa, rng, name):
    for size in SIZES:
        x = rng.standard_normal(size).astype(np.float32)
        dy = rng.standard_normal(size).astype(np.float32)
        guarded = np.full(size + 40, 7.0, np.float32)
        y = guarded[20 : 20 + size]
        assert forward(name, x, out=y) is y
        np.testing.assert_allclose(y, reference.activation(name, x), rtol=1e-5, atol=2e-6)
        backward(name, dy, x, out=y)
        assert np.array_equal(y, backward(name, dy, x))
        assert (guarded[:20] == 7).all() and (guarded[20 + size :] == 7).all()


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_each_element_is_its_own(isa, rng, name):
    """The place of an element in the array, and with it whole vectors or tails, changes no bit of it."""
    x = rng.standard_normal(77).astype(np.float32) * 4
    whole = forward(name, x)
    for start in range(0, 40, 3):
        assert np.array_equal(forward(name, x[start:]), whole[start:])
        assert np.array_equal(forward(name, x[start : start + 3]), whole[start : start + 3])


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "mish", "softsign"])
def test_threads_change_nothing(isa, rng, name):
    x = (rng.standard_normal(100_003) * 3).astype(np.float32)
    dy = rng.standard_normal(x.size).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            results.append((forward(name, x), backward(name, dy, x)))
    for y, dx in results[1:]:
        assert np.array_equal(y, results[0][0]) and np.array_equal(dx, results[0][1])
    assert np.isfinite(results[0][0]).all() and np.ptp(results[0][0]) > 1


STREAMED = 2**22 + 1021  # floats: results of 16 MB and more are stored past the caches


@functools.cache
def large():
    rng = np.random.default_rng(11)
    return [rng.standard_normal(STREAMED, np.float32) * 3, rng.standard_normal(STREAMED, np.float32)]


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_large_results_are_those_of_pieces(isa, name):
    """However it is stored, from any place in a cache line, by any number of threads; also into an operand."""
    x, dy = large()
    y, dx = np.empty_like(x), np.empty_like(x)
    for first in range(0, STREAMED, 2**20):
        piece = slice(first, first + 2**20)
        forward(name, x[piece], out=y[piece])
        backward(name, dy[piece], x[piece], out=dx[piece])
    guarded = np.full(STREAMED + 40, 7.0, np.float32)
    for threads, start in ((1, 16), (1, 21), (2, 3)):
        out = guarded[start : start + STREAMED]
        with runtime.options(num_threads=threads):
            assert np.array_equal(forward(name, x, out=out), y)
            assert np.array_equal(backward(name, dy, x, out=out), dx)
        assert (guarded[:start] == 7).all() and (guarded[start + STREAMED :] == 7).all()
        guarded[:] = 7
    place = x.copy()
    assert np.array_equal(forward(name, place, out=place), y)
    place = dy.copy()
    assert np.array_equal(backward(name, place, x, out=place), dx)


def test_memory_order_is_kept(rng):
    channels_first = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)
    channels_last = np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    exact = reference.activation("tanh", channels_first)
    for x in (channels_first, channels_last, channels_first[:, :, ::-1], channels_first.T, channels_first[:, ::2]):
        y = ops.tanh(x)
        np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=4 * EPS)
    assert ops.tanh(channels_last).strides == channels_last.strides
    assert ops.tanh(channels_first).strides == channels_first.strides
    np.testing.assert_allclose(ops.tanh(channels_last), exact, rtol=4 * EPS)
    dx = ops.silu_backward(channels_first, channels_last)
    assert dx.strides == channels_last.strides
    assert np.array_equal(dx, ops.silu_backward(channels_first, channels_first))


def test_any_dimensions_and_empty_arrays():
    assert ops.relu(np.array(-2, np.float32)).shape == ()
    assert ops.sigmoid(np.array(0, np.float32)) == 0.5
    assert ops.relu_backward(np.array(3, np.float32), np.array(1, np.float32)) == 3
    for shape in ((0,), (3, 0), (0, 2, 4, 4), (2, 1, 3, 1, 2)):
        x = np.ones(shape, np.float32)
        assert ops.gelu(x).shape == shape and ops.gelu_backward(x, x).shape == shape


def test_read_only_and_unaligned_operands():
    x = np.linspace(-2, 2, 33, dtype=np.float32)
    exact = ops.silu(x)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32)
    assert not unaligned.flags.writeable
    assert np.array_equal(ops.silu(unaligned), exact)
    out = np.zeros(33 * 4 + 1, np.uint8)[1:].view(np.float32)
    ops.silu(x, out=out)
    assert np.array_equal(out, exact)


def test_out_may_be_an_input_or_overlap_it(isa, rng):
    x = rng.standard_normal(1000).astype(np.float32)
    dy = rng.standard_normal(1000).astype(np.float32)
    y, dx = ops.gelu(x), ops.gelu_backward(dy, x)
    assert np.array_equal(ops.gelu(x.copy(), out=None), y)
    place = x.copy()
    assert ops.gelu(place, out=place) is place and np.array_equal(place, y)
    place = x.copy()
    assert np.array_equal(ops.gelu_backward(dy, place, out=place), dx)
    place = dy.copy()
    assert np.array_equal(ops.gelu_backward(place, x, out=place), dx)
    for shift in (1, 7, 500):
        memory = np.concatenate([x, x])
        memory[shift : shift + 1000] = x
        ops.gelu(memory[shift : shift + 1000], out=memory[:1000])
        assert np.array_equal(memory[:1000], y)
        memory = np.zeros(2000, np.float32)
        memory[shift : shift + 1000] = dy
        ops.gelu_backward(memory[shift : shift + 1000], x, out=memory[:1000])
        assert np.array_equal(memory[:1000], dx)
        memory[:1000] = x
        ops.gelu(memory[:1000], out=memory[shift : shift + 1000])
        assert np.array_equal(memory[shift : shift + 1000], y)
    square = x[:900].reshape(30, 30).copy()
    exact = ops.gelu(square)
    ops.gelu(square, out=square.T)
    assert np.array_equal(square.T, exact)


def test_bad_arguments():
    x = np.ones((2, 3), np.float32)
    frozen = np.ones((2, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(TypeError, match="relu: x has dtype float64"):
        ops.relu(x.astype(np.float64))
    with pytest.raises(TypeError, match="gelu: x is list"):
        ops.gelu([1.0])
    with pytest.raises(TypeError, match="tanh: out has dtype int32"):
        ops.tanh(x, out=np.zeros((2, 3), np.int32))
    with pytest.raises(ValueError, match=r"tanh: out has shape \(3, 2\): must be \(2, 3\)"):
        ops.tanh(x, out=np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="tanh: out is read-only"):
        ops.tanh(x, out=frozen)
    with pytest.raises(ValueError, match=r"elu_backward: dy has shape \(3,\): must be \(2, 3\)"):
        ops.elu_backward(np.ones(3, np.float32), x)
    with pytest.raises(TypeError, match="sigmoid_backward: y has dtype float16"):
        ops.sigmoid_backward(x, x.astype(np.float16))
    with pytest.raises(ValueError, match="gelu: approximate='erf'"):
        ops.gelu(x, "erf")
    with pytest.raises(TypeError, match="leaky_relu: negative_slope='a'"):
        ops.leaky_relu(x, "a")
    with pytest.raises(ValueError, match="softplus: beta=0"):
        ops.softplus(x, 0)
    with pytest.raises(ValueError, match="celu: alpha=-1.0: must be finite and >= 2"):
        ops.celu(x, -1.0)
    with pytest.raises(ValueError, match="hardtanh_backward: min_val=2, max_val=1: the first must be <= the second"):
        ops.hardtanh_backward(x, x, 2, 1)
    out = np.full((2, 3), 5, np.float32)
    with pytest.raises(ValueError):
        ops.silu_backward(np.ones(3, np.float32), x, out=out)
    assert (out == 5).all()


def test_the_product_epilogue_agrees_bitwise(isa, rng):
    """A product's fused activation is the one of these ops."""
    a = rng.standard_normal((9, 5)).astype(np.float32) * 4
    b = rng.standard_normal((5, 37)).astype(np.float32)
    a[2, 3] = np.nan
    a[4, 1] = np.inf
    plain = ops.matmul(a, b)
    for name in reference.ACTIVATIONS:
        assert np.array_equal(ops.gemm(a, b, activation=fused(name)), forward(name, plain), equal_nan=True), name
