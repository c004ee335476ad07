"""gemm, matmul and the fully connected layer: exact on integers, within a few units of rounding on reals."""

import functools
import itertools

import numpy as np
import pytest
import reference
from checks import ORDERS, assert_accurate, assert_equal, bits, every_other, integers, reals, reversed_memory
from shapes import AWKWARD_GEMMS, REAL_GEMMS

from fastconv import _native, ops, runtime

TRANSPOSITIONS = list(itertools.product((False, True), repeat=2))
ids = lambda case: case.name  # noqa: E731


def operands(fill, case, transpose_a=False, transpose_b=False, seed=11):
    rng = np.random.default_rng(seed)
    a = fill(rng, (case.k, case.m) if transpose_a else (case.m, case.k))
    b = fill(rng, (case.n, case.k) if transpose_b else (case.k, case.n))
    return a, b, fill(rng, (case.n,)), fill(rng, (case.m, case.n))


@functools.cache
def integer_problem(case, transpose_a, transpose_b):
    fill = lambda rng, shape: integers(rng, shape, 2 * case.k + 4)  # noqa: E731
    a, b, bias, c = operands(fill, case, transpose_a, transpose_b)
    product = reference.gemm(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    return a, b, bias, c, product


# ------------------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("case", AWKWARD_GEMMS, ids=ids)
def test_integers_are_exact(case, transpose_a, transpose_b, isa):
    a, b, bias, c, product = integer_problem(case, transpose_a, transpose_b)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    assert np.count_nonzero(product) > 0
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            nan = np.full(product.shape, np.nan, np.float32)
            _native.poison_workspace(1 << 20, 0xFF)
            assert_equal(ops.gemm(a, b, **flags), product, "plain")
            assert_equal(ops.gemm(a, b, out=nan, **flags), product, "into NaN")
            assert_equal(ops.gemm(a, b, bias=bias, **flags), product + bias, "bias")
            assert_equal(ops.gemm(a, b, bias=bias, activation="relu", **flags), np.maximum(product + bias, 0), "relu")
            out = c.copy()
            y = ops.gemm(a, b, alpha=-0.5, beta=2.0, bias=bias, out=out, **flags)
            assert y is out
            assert_equal(out, -0.5 * product + 2.0 * c + bias, "alpha and beta")


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17])
def test_every_tile_size(rows, isa, rng):
    """Rows and columns through every height and width of the register tile, whole and partial vectors."""
    for columns in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 65):
        a, b, bias = (integers(rng, shape, 40) for shape in ((rows, 19), (19, columns), (columns,)))
        c = integers(rng, (rows, columns), 40)
        expected = reference.gemm(a, b, alpha=2.0, beta=-1.0, out=c, bias=bias)
        for activation, wanted in ((None, expected), ("relu", np.maximum(expected, 0)), ("relu6", expected.clip(0, 6))):
            out = c.copy()
            ops.gemm(a, b, alpha=2.0, beta=-1.0, bias=bias, activation=activation, out=out)
            assert_equal(out, wanted, f"{columns} columns, {activation}")


BATCHES = (
    ((5, 3, 4), (5, 4, 6)),
    ((3, 4), (5, 4, 6)),
    ((5, 3, 4), (4, 6)),
    ((2, 1, 3, 4), (7, 4, 6)),
    ((2, 7, 17, 33), (2, 7, 33, 16)),
    ((7, 1, 300), (1, 300, 5)),
    ((3, 64, 64), (3, 64, 64)),
    ((4, 7, 33), (4, 33, 31)),
    ((2, 130, 130), (2, 130, 130)),
    ((0, 3, 4), (0, 4, 6)),
    ((5, 0, 4), (5, 4, 6)),
    ((5, 3, 0), (5, 0, 6)),
    ((1, 3, 4), (0, 4, 6)),
)


@pytest.mark.parametrize(("a_shape", "b_shape"), BATCHES)
def test_batches_are_exact(a_shape, b_shape, isa, rng):
    """As numpy.matmul in float64, in every order of each operand's matrices, for any number of threads."""
    a, b = integers(rng, a_shape, 2 * a_shape[-1]), integers(rng, b_shape, 2 * a_shape[-1])
    expected = a.astype(np.float64) @ b.astype(np.float64)
    turned = lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)  # noqa: E731
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            for left, right in itertools.product((a, turned(a), a[..., ::-1][..., ::-1]), (b, turned(b))):
                out = np.full(expected.shape, np.nan, np.float32)
                assert_equal(ops.matmul(left, right), expected)
                assert ops.matmul(left, right, out=out) is out
                assert_equal(out, expected)


@pytest.mark.parametrize(("a_shape", "b_shape"), BATCHES)
def test_batch_gradients(a_shape, b_shape, isa, rng):
    a, b = integers(rng, a_shape, 100), integers(rng, b_shape, 100)
    dy = integers(rng, ops.matmul(a, b).shape, 100)
    for got, wanted in zip(ops.matmul_backward(dy, a, b), reference.matmul_backward(dy, a, b), strict=True):
        assert_equal(got, wanted)


def test_out_of_a_batch_may_overlap_an_operand(isa, rng):
    memory = integers(rng, (3 * 9 * 9 + 5,), 30)
    a, b = memory[:-5].reshape(3, 9, 9), integers(rng, (3, 9, 9), 30)
    for out in (a, memory[5:].reshape(3, 9, 9)):
        expected = a.astype(np.float64) @ b
        ops.matmul(a, b, out=out)
        assert_equal(out, expected)


def test_matmul(isa, rng):
    a, b = integers(rng, (17, 33), 33), integers(rng, (33, 9), 33)
    assert_equal(ops.matmul(a, b), reference.gemm(a, b))
    out = np.full((17, 9), np.nan, np.float32)
    assert ops.matmul(a, b, out=out) is out
    assert_equal(out, reference.gemm(a, b))


# ------------------------------------------------------------------------------------------------------- accuracy


@functools.cache
def real_problem(case):
    a, b, bias, c = operands(reals, case)
    return a, b, bias, c, reference.gemm(a, b), reference.gemm(np.abs(a), np.abs(b))


# Sums of at most so many products: a float64 reference of more takes longer than all other tests.
SMALL_REAL_GEMMS = [g for g in REAL_GEMMS if g.batch == 1 and not g.linear and g.multiply_adds <= 150e6]


@pytest.mark.parametrize("case", [*AWKWARD_GEMMS, *SMALL_REAL_GEMMS], ids=ids)
def test_accuracy_on_reals(case, isa):
    a, b, bias, c, product, magnitude = real_problem(case)
    assert_accurate(ops.matmul(a, b), product, magnitude, case.k)
    y = ops.gemm(a, b, alpha=0.7, beta=0.3, bias=bias, out=c.copy())
    expected = np.float32(0.7) * product + np.float32(0.3) * c.astype(np.float64) + bias
    magnitude = 0.7 * magnitude + 0.3 * np.abs(c) + np.abs(bias)
    assert_accurate(y, expected, magnitude, case.k + 3)


def test_accuracy_of_a_long_sum(isa, rng):
    """All terms positive: the error of a naive sum of 10^5 terms would be thousands of u."""
    a, b = rng.random((3, 100_000), np.float32), rng.random((100_000, 5), np.float32)
    expected = reference.gemm(a, b)
    assert_accurate(ops.matmul(a, b), expected, expected, 100_000)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
def test_bits_do_not_depend_on_threads_or_repetition(transpose_a, transpose_b, isa):
    for case in AWKWARD_GEMMS:
        a, b, bias, c = operands(reals, case, transpose_a, transpose_b)
        first = None
        for threads in (1, 2, 3, 7, 2):
            with runtime.options(num_threads=threads):
                y = ops.gemm(
                    a, b, transpose_a=transpose_a, transpose_b=transpose_b, alpha=0.7, beta=0.3, bias=bias, out=c.copy()
                )
            first = first or bits(y)
            assert bits(y) == first, f"{case.name}, {threads} threads"


def test_a_row_does_not_depend_on_the_others(isa, rng):
    """Batch invariance: an image alone gives the bits it gives in a batch."""
    a, b = reals(rng, (37, 701)), reals(rng, (701, 65))
    whole = ops.matmul(a, b)
    for begin, end in ((0, 1), (5, 8), (10, 37)):
        assert bits(ops.matmul(a[begin:end], b)) == bits(whole[begin:end])


# ----------------------------------------------------------------------------------------------------- memory orders


@pytest.mark.parametrize("a_order", ORDERS)
@pytest.mark.parametrize("b_order", ORDERS)
def test_memory_orders(a_order, b_order, rng):
    a, b, bias = integers(rng, (17, 33), 40), integers(rng, (33, 31), 40), integers(rng, (31,), 40)
    expected = reference.gemm(a, b, bias=bias)
    a_view, b_view = ORDERS[a_order](a), ORDERS[b_order](b)
    assert_equal(ops.gemm(a_view, b_view, bias=ORDERS[b_order](bias)), expected)
    assert_equal(ops.gemm(ORDERS[a_order](a.T), b_view, transpose_a=True, bias=bias), expected)
    assert_equal(ops.gemm(a_view, ORDERS[b_order](b.T), transpose_b=True, bias=bias), expected)
    assert np.array_equal(a_view, a)
    assert np.array_equal(b_view, b)


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "read-only"])
def test_out_in_any_memory_order(order, isa, rng):
    a, b, c = integers(rng, (9, 17), 40), integers(rng, (17, 33), 40), integers(rng, (9, 33), 40)
    out = ORDERS[order](c)
    assert ops.gemm(a, b, beta=1.0, out=out) is out
    assert_equal(out, reference.gemm(a, b, beta=1.0, out=c))
    out = ORDERS[order](np.full((9, 33), np.nan, np.float32))
    ops.gemm(a, b, out=out)
    assert_equal(out, reference.gemm(a, b))


def test_gaps_of_out_are_not_written(isa, rng):
    a, b = integers(rng, (5, 7), 40), integers(rng, (7, 9), 40)
    base = np.full((7, 11), 123.0, np.float32)
    ops.matmul(a, b, out=base[1:-1, 1:-1])
    assert_equal(base[1:-1, 1:-1], reference.gemm(a, b))
    base[1:-1, 1:-1] = 123.0
    assert (base == 123.0).all()


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_out_may_alias_the_operands(beta, isa, rng):
    square = integers(rng, (33, 33), 200)
    other = integers(rng, (33, 33), 200)
    for transpose in (False, True):
        for name in ("a", "b", "both"):
            out = square.copy()
            a = out if name in ("a", "both") else other
            b = out if name in ("b", "both") else other
            expected = reference.gemm(a.copy(), b.copy(), transpose_a=transpose, beta=beta, out=square)
            ops.gemm(a, b, transpose_a=transpose, beta=beta, out=out)
            assert_equal(out, expected, f"out is {name}")


def test_out_may_overlap_an_operand(isa, rng):
    memory = np.zeros(33 * 33 + 5, np.float32)
    a, out = memory[: 33 * 33].reshape(33, 33), memory[5:].reshape(33, 33)
    a[...] = integers(rng, (33, 33), 100)
    b = integers(rng, (33, 33), 100)
    expected = reference.gemm(a.copy(), b)
    ops.matmul(a, b, out=out)
    assert_equal(out, expected)


@pytest.mark.parametrize("k", [7, 700])
def test_out_may_hold_the_bias(k, isa, rng):
    """With more than one block of depth the first writes out, and the last still needs the bias."""
    a, b, out = integers(rng, (9, k), k), integers(rng, (k, 33), k), integers(rng, (9, 33), k)
    expected = reference.gemm(a, b, bias=out[0].copy())
    ops.gemm(a, b, bias=out[0], out=out)
    assert_equal(out, expected)


# ------------------------------------------------------------------------------------------------- empty and special


@pytest.mark.parametrize(("m", "n"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("k", [0, 3])
def test_empty_results(m, n, k, isa):
    y = ops.gemm(np.ones((m, k), np.float32), np.ones((k, n), np.float32), bias=np.ones(n, np.float32))
    assert y.shape == (m, n)
    assert y.dtype == np.float32


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
def test_an_empty_sum_is_zero(transpose_a, transpose_b, isa, rng):
    a = np.ones((0, 9) if transpose_a else (9, 0), np.float32)
    b = np.ones((33, 0) if transpose_b else (0, 33), np.float32)
    bias, c = integers(rng, (33,), 1), integers(rng, (9, 33), 1)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    nan = np.full((9, 33), np.nan, np.float32)
    assert_equal(ops.gemm(a, b, out=nan, **flags), np.zeros((9, 33)))
    assert_equal(ops.gemm(a, b, bias=bias, activation="relu", **flags), np.tile(np.maximum(bias, 0), (9, 1)))
    assert_equal(ops.gemm(a, b, beta=3.0, bias=bias, out=c.copy(), **flags), 3.0 * c + bias)


def test_beta_zero_does_not_read_out_and_alpha_zero_keeps_nan(isa, rng):
    a, b = reals(rng, (7, 9)), reals(rng, (9, 17))
    out = np.full((7, 17), np.nan, np.float32)
    assert np.isfinite(ops.gemm(a, b, beta=0.0, out=out)).all()
    a[2, 3] = np.nan
    y = ops.gemm(a, b, alpha=0.0)
    assert np.isnan(y[2]).all()
    assert not np.isnan(np.delete(y, 2, axis=0)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
def test_a_special_value_spoils_its_row_or_column_alone(value, transpose_a, transpose_b, isa, rng):
    a, b = integers(rng, (17, 9), 10), integers(rng, (9, 35), 10)
    clean = reference.gemm(a, b)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    for row in (0, 7, 16):
        spoiled = a.copy()
        spoiled[row, 4] = value
        y = ops.gemm(spoiled.T.copy() if transpose_a else spoiled, b.T.copy() if transpose_b else b, **flags)
        assert not np.isfinite(y[row]).any()
        assert_equal(np.delete(y, row, axis=0), np.delete(clean, row, axis=0))
    for column in (0, 16, 34):
        spoiled = b.copy()
        spoiled[4, column] = value
        y = ops.gemm(a.T.copy() if transpose_a else a, spoiled.T.copy() if transpose_b else spoiled, **flags)
        assert not np.isfinite(y[:, column]).any()
        assert_equal(np.delete(y, column, axis=1), np.delete(clean, column, axis=1))


@pytest.mark.parametrize("columns", [5, 16, 33])
def test_relu_of_nan_is_nan(columns, isa, rng):
    a, b = reals(rng, (9, 5)), reals(rng, (5, columns))
    a[4] = np.nan
    for activation in ("relu", "relu6"):
        y = ops.gemm(a, b, activation=activation)
        assert np.isnan(y[4]).all()
        assert (np.delete(y, 4, axis=0) >= 0).all()


def test_denormals_are_kept(isa):
    a = np.full((5, 1), 1e-40, np.float32)
    assert np.array_equal(ops.matmul(a, np.ones((1, 33), np.float32)), np.broadcast_to(a, (5, 33)))


@pytest.mark.parametrize("activation", [name for name in _native.ACTIVATIONS if name != "identity"])
def test_fused_activation_is_product_then_activation(activation, isa, rng):
    separate = getattr(ops, "gelu" if activation == "gelu_tanh" else activation, None)
    if separate is None:
        pytest.skip(f"ops has no {activation}")
    for k in (5, 700):
        a, b, bias = reals(rng, (17, k)), reals(rng, (k, 35)) / np.float32(np.sqrt(k)), reals(rng, (35,))
        asked = (activation, *reference.PARAMETERS.get(activation, ()))
        fused, plain = ops.gemm(a, b, bias=bias, activation=asked), ops.gemm(a, b, bias=bias)
        assert not np.array_equal(fused, plain)
        parameters = ("tanh",) if activation == "gelu_tanh" else reference.PARAMETERS.get(activation, ())
        expected = separate(plain, *parameters)
        assert bits(fused) == bits(expected)


# ---------------------------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("shape", [(17,), (1, 17), (5, 17), (3, 5, 17), (2, 1, 3, 17), (0, 17), (2, 0, 17)])
def test_linear(shape, isa, rng):
    x, weight, bias = integers(rng, shape, 100), integers(rng, (9, 17), 100), integers(rng, (9,), 100)
    dy = integers(rng, (*shape[:-1], 9), 100)
    assert_equal(ops.linear(x, weight, bias), reference.linear(x, weight, bias), "y")
    assert_equal(ops.linear(x, weight), reference.linear(x, weight), "y without bias")
    relu = ops.linear(x, weight, bias, activation="relu")
    assert_equal(relu, np.maximum(reference.linear(x, weight, bias), 0), "relu")
    assert_equal(ops.linear_backward_input(dy, weight), reference.linear_backward_input(dy, weight), "dx")
    dweight, dbias = ops.linear_backward_weight(dy, x)
    wanted, wanted_bias = reference.linear_backward_weight(dy, x)
    assert_equal(dweight, wanted, "dweight")
    assert_equal(dbias, wanted_bias, "dbias")


def test_linear_adjoint(isa, rng):
    x, weight, dy = integers(rng, (33, 65), 100), integers(rng, (31, 65), 100), integers(rng, (33, 31), 100)
    dot = lambda a, b: np.vdot(a.astype(np.float64), b.astype(np.float64))  # noqa: E731
    y = ops.linear(x, weight)
    dweight, _ = ops.linear_backward_weight(dy, x)
    assert dot(dy, y) == dot(ops.linear_backward_input(dy, weight), x) == dot(dweight, weight) != 0


@pytest.mark.parametrize("order", ORDERS)
def test_linear_takes_any_memory_order(order, rng):
    x, weight, bias = integers(rng, (3, 5, 17), 100), integers(rng, (9, 17), 100), integers(rng, (9,), 100)
    dy, view = integers(rng, (3, 5, 9), 100), ORDERS[order]
    assert_equal(ops.linear(view(x), view(weight), view(bias)), reference.linear(x, weight, bias))
    assert_equal(ops.linear_backward_input(view(dy), view(weight)), reference.linear_backward_input(dy, weight))
    dweight, dbias = ops.linear_backward_weight(view(dy), view(x))
    wanted, wanted_bias = reference.linear_backward_weight(dy, x)
    assert_equal(dweight, wanted)
    assert_equal(dbias, wanted_bias)


def test_sliced_operands(isa, rng):
    """Slices of larger arrays, as a user cuts gates or heads out of one."""
    big = integers(rng, (40, 60), 50)
    a, b = big[3:20:2, 5:22], big[7:24, 30:1:-3]
    assert_equal(ops.matmul(a, b), reference.gemm(a, b))
    assert_equal(ops.matmul(b.T, a.T), reference.gemm(b.T, a.T))
    assert_equal(ops.matmul(every_other(a), reversed_memory(b)), reference.gemm(a, b))
