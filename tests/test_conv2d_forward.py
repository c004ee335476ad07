"""What only the forward pass of conv2d has: out; bias, residual and activation; packed weights."""

import math

import numpy as np
import pytest
import reference
from checks import IMAGE_ORDERS, assert_equal, bits, integers, reals
from conv2d_problems import ALGORITHMS, BY_NAME, Problem, integer_problem, plan_or_skip

from fastconv import _native, ops, runtime

pytestmark = pytest.mark.usefixtures("sums_as_written")


# ------------------------------------------------------------------------------------------------------------------ out


def test_results_lie_in_channels_last_memory(rng):
    y = ops.conv2d(reals(rng, (2, 3, 8, 9)), reals(rng, (5, 3, 3, 3)))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("order", ["channels last", "C", "Fortran", "strided", "negative strides", "misaligned"])
def test_out(order, isa):
    problem, (expected, *_) = integer_problem("same_3x3_ragged")
    out = IMAGE_ORDERS[order](np.full(expected.shape, np.nan, np.float32))
    y = ops.conv2d(problem.x, problem.weight, problem.bias, out=out, **problem.case.geometry)
    assert y is out
    assert_equal(out, expected)


@pytest.mark.parametrize("name", ["depthwise_3x3", "pointwise_wide", "same_3x3"])
def test_out_may_overlap_the_operands(name, isa):
    problem, (expected, *_) = integer_problem(name)
    case = problem.case
    sizes = [math.prod(shape) for shape in (case.x_shape, case.y_shape)]
    for shift in (0, 1, 5):
        memory = np.zeros(max(sizes) + shift, np.float32)
        n, c, h, w = case.x_shape
        x = memory[: sizes[0]].reshape(n, h, w, c).transpose(0, 3, 1, 2)
        n, k, p, q = case.y_shape
        out = memory[shift : shift + sizes[1]].reshape(n, p, q, k).transpose(0, 3, 1, 2)
        x[...] = problem.x
        ops.conv2d(x, problem.weight, problem.bias, out=out, **case.geometry)
        assert_equal(out, expected, f"out {shift} floats after x")


def test_out_may_be_weight_or_bias(isa, rng):
    weight = integers(rng, (3, 3, 3, 3), 30)
    x = integers(rng, (3, 3, 5, 5), 30)
    expected = reference.conv2d(x, weight)
    assert_equal(ops.conv2d(x, weight, out=weight), expected)
    weight, bias = integers(rng, (3, 3, 5, 5), 100), integers(rng, (3,), 100)
    expected = reference.conv2d(x[:1], weight, bias)
    assert_equal(ops.conv2d(x[:1], weight, bias, out=bias.reshape(1, 3, 1, 1)), expected)


# ---------------------------------------------------------------------------------------- bias, residual and activation

ACTIVATIONS = [name for name in _native.ACTIVATIONS if name != "identity"]


def test_bias_alone_and_no_bias(isa, rng):
    x, weight, bias = integers(rng, (1, 7, 5, 5), 100), integers(rng, (9, 7, 3, 3), 100), integers(rng, (9,), 100)
    zero = np.zeros_like(weight)
    assert_equal(ops.conv2d(x, zero, bias), np.broadcast_to(bias[:, None, None], (1, 9, 3, 3)))
    assert_equal(ops.conv2d(x, weight), reference.conv2d(x, weight))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_activation_is_convolution_then_activation(activation, algorithm, isa, rng):
    """Only for the activations that ops has: others are not fused yet."""
    separate = getattr(ops, "gelu" if activation == "gelu_tanh" else activation, None)
    if separate is None:
        pytest.skip(f"ops has no {activation}")
    groups = 17 if algorithm.endswith("depthwise") else 1
    # Deeper than one block of depth, so that the activation must wait for the last.
    depth = 1 if algorithm.endswith("depthwise") else 323
    x, weight = reals(rng, (2, depth * groups, 5, 7)), reals(rng, (17, depth, 3, 3)) / math.sqrt(depth)
    bias = reals(rng, (17,))
    geometry = {"padding": 1, "groups": groups, "algorithm": algorithm}
    asked = (activation, *reference.PARAMETERS.get(activation, ()))
    fused = ops.conv2d(x, weight, bias, activation=asked, **geometry)
    plain = ops.conv2d(x, weight, bias, **geometry)
    parameters = ("tanh",) if activation == "gelu_tanh" else reference.PARAMETERS.get(activation, ())
    expected = separate(plain, *parameters)
    assert not np.array_equal(fused, plain)
    assert bits(fused) == bits(expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["same_3x3_threads", "deep", "grouped_3_ragged", "depthwise_threads", "image_rgb"])
def test_fused_residual_is_added_before_the_activation(name, algorithm, isa, rng):
    case = BY_NAME[name]
    plan_or_skip(case, algorithm)
    terms = case.terms[0] + 2
    x, weight = integers(rng, case.x_shape, terms), integers(rng, case.weight_shape, terms)
    bias, residual = integers(rng, (case.k,), terms), integers(rng, case.y_shape, terms)
    expected = ops.relu(ops.conv2d(x, weight, bias, algorithm=algorithm, **case.geometry) + residual)
    for order in ("channels last", "C", "negative strides"):
        given = IMAGE_ORDERS[order](residual)
        for threads in (1, 3):
            with runtime.options(num_threads=threads):
                y = ops.conv2d(x, weight, bias, residual=given, activation="relu", algorithm=algorithm, **case.geometry)
            assert_equal(y, expected, f"{name} {algorithm} {order} {threads} threads")
    out = residual.copy()
    ops.conv2d(x, weight, bias, residual=out, activation="relu", algorithm=algorithm, out=out, **case.geometry)
    assert_equal(out, expected, f"{name} {algorithm}: out is the residual")


def test_fused_activation_takes_a_parameter(isa, rng):
    x, weight = reals(rng, (1, 9, 5, 7)), reals(rng, (17, 9, 3, 3))
    if not hasattr(ops, "leaky_relu"):
        pytest.skip("ops has no leaky_relu")
    fused = ops.conv2d(x, weight, activation=("leaky_relu", 0.3))
    assert bits(fused) == bits(ops.leaky_relu(ops.conv2d(x, weight), 0.3))


def test_fused_relu_keeps_nan(isa, rng):
    x, weight = reals(rng, (1, 9, 5, 7)), reals(rng, (17, 9, 3, 3))
    x[0, 0, 0, 0] = np.nan
    for activation in ("relu", "relu6"):
        y = ops.conv2d(x, weight, activation=activation)
        assert np.isnan(y[0, :, 0, 0]).all()
        assert (y[0, :, 1:, 1:] >= 0).all()
        assert (y[0, :, 1:, 1:] > 0).any()


# ------------------------------------------------------------------------------------------------------- packed weights


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["same_3x3_ragged", "stem_7x7", "grouped_3_ragged", "depthwise_3x3_strided", "deep"])
def test_packed_weights_give_the_same_bits(name, algorithm, isa):
    case = BY_NAME[name]
    plan_or_skip(case, algorithm)
    problem = Problem(case, lambda rng, shape, terms: reals(rng, shape))
    geometry = dict(case.geometry, algorithm=algorithm)
    packed = ops.conv2d_pack(problem.weight, groups=case.groups, algorithm=algorithm)
    assert packed.shape == case.weight_shape
    for x in (problem.x, problem.x[:1], problem.x[:0]):
        y = ops.conv2d(x, packed, problem.bias, **geometry)
        assert bits(y) == bits(ops.conv2d(x, problem.weight, problem.bias, **geometry))
    relu = ops.conv2d(problem.x, packed, problem.bias, activation="relu", **geometry)
    y = ops.conv2d(problem.x, problem.weight, problem.bias, **geometry)
    assert_equal(relu, np.maximum(y, 0))


def test_packed_weights_refuse_another_instruction_set(rng):
    others = [name for name in _native.ISAS_DETECTED if name != "baseline"]
    if not others:
        pytest.skip("this CPU runs one instruction set")
    with runtime.options(isa="baseline"):
        packed = ops.conv2d_pack(reals(rng, (4, 3, 3, 3)))
    with runtime.options(isa=others[0]), pytest.raises(ValueError, match="conv2d: weight was packed for"):
        ops.conv2d(reals(rng, (1, 3, 8, 8)), packed)


# ---------------------------------------------------------------------------------------------- inputs beyond the cache


@pytest.mark.parametrize("channels", [64, 67])
def test_images_of_a_large_batch_are_as_each_alone(channels, isa, rng):
    """9 MB of x: the input of a 1x1 convolution is fetched ahead."""
    x, weight = reals(rng, (9, 61, 65, channels)).transpose(0, 3, 1, 2), reals(rng, (40, channels, 1, 1))
    bias = reals(rng, (40,))
    together = ops.conv2d(x, weight, bias)
    for image, result in zip(x, together, strict=True):
        assert bits(ops.conv2d(image[None], weight, bias)[0]) == bits(result)
