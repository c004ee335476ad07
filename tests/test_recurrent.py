"""LSTM, GRU and plain RNN over whole sequences, forward and backward."""

import mmap

import numpy as np
import pytest
import reference
from checks import ORDERS
from recurrent_problems import (
    GATES,
    KINDS,
    backward,
    check,
    forward,
    gradients_in,
    problem,
    reference_gradients,
    relative_error,
)

from fastconv import _native, runtime, testing

# Every size with a tail in every place, T != N != I != H.
SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33]
SHAPES = [(SIZES[i - 5], SIZES[i - 3], SIZES[i - 8], SIZES[i]) for i in range(len(SIZES))]


# ------------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_reference_gradients_are_finite_differences(rng, kind, reverse):
    operands = [a if a is None else a.astype(np.float64) for a in problem(rng, kind, 4, 2, 3, 5)]
    gradients = [a if a is None else a.astype(np.float64) for a in gradients_in(rng, kind, 4, 2, 5)]

    def loss():
        outputs = reference.recurrent(kind, *operands, reverse=reverse)[:3]
        return sum((d * v).sum() for d, v in zip(gradients, outputs, strict=True) if d is not None)

    want = reference.recurrent_backward(kind, *gradients, *operands, reverse=reverse)
    checked = 0
    for operand, gradient in zip(operands, want, strict=True):
        if operand is None:
            continue
        direction = rng.standard_normal(operand.shape)
        step = 1e-6
        operand += step * direction
        above = loss()
        operand -= 2 * step * direction
        below = loss()
        operand += step * direction
        np.testing.assert_allclose((above - below) / (2 * step), (gradient * direction).sum(), rtol=1e-7, atol=1e-7)
        checked += 1
    assert checked == (7 if kind == "lstm" else 6)


# ------------------------------------------------------------------------------------------------------- accuracy


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_against_reference(isa, rng, kind, shape):
    steps, batch, _, hidden = shape
    reverse = hidden % 2 == 0
    check(kind, problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden), reverse)


# Blocks of depth (H, G * H > 320), strips of rows (N > 64), chunks of steps (T * N > 1024, the last one short).
@pytest.mark.parametrize("shape", [(9, 131, 6, 34), (40, 70, 3, 24), (3, 11, 5, 333), (1100, 1, 2, 6)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_strips_and_chunks(rng, kind, shape, reverse):
    steps, batch, _, hidden = shape
    operands = problem(rng, kind, *shape)
    operands[4] *= 0.5  # contracting: errors do not grow with T, and relu stays bounded
    check(kind, operands, gradients_in(rng, kind, steps, batch, hidden), reverse)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_256_steps(isa, rng, kind):
    check(kind, problem(rng, kind, 256, 3, 10, 40), gradients_in(rng, kind, 256, 3, 40))


@pytest.mark.parametrize("reverse", [False, True])
def test_integers_are_exact(isa, rng, reverse):
    steps, batch, features, hidden = 4, 13, 7, 37
    x = rng.integers(-2, 3, (steps, batch, features)).astype(np.float32)
    h = rng.integers(-4, 5, (batch, hidden)).astype(np.float32)
    weight_ih = rng.integers(-2, 3, (hidden, features)).astype(np.float32)
    weight_hh = rng.integers(-1, 2, (hidden, hidden)).astype(np.float32)
    bias_ih, bias_hh = rng.integers(-3, 4, (2, hidden)).astype(np.float32)
    operands = [x, h, None, weight_ih, weight_hh, bias_ih, bias_hh]
    gradients = [rng.integers(-2, 3, (steps, batch, hidden)).astype(np.float32), h[::-1].copy(), None]
    y, h_last, _, reserve = forward("rnn_relu", operands, reverse)
    y_want, h_want, *_ = reference.recurrent("rnn_relu", *operands, reverse=reverse)
    assert np.array_equal(y, y_want) and np.array_equal(h_last, h_want)
    assert 0.2 < (y_want > 0).mean() < 0.9 and np.abs(y_want).max() < 2**20
    want = reference_gradients("rnn_relu", gradients, operands, reverse)
    for name, got in backward("rnn_relu", gradients, operands, y, reserve, reverse).items():
        assert np.abs(want[name]).max() < 2**24
        assert np.array_equal(got, want[name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absent", ["h", "c", "bias_ih", "bias_hh", "both biases", "all"])
def test_absent_operands_are_zeros(rng, kind, absent):
    if absent == "c" and kind != "lstm":
        pytest.skip("only the LSTM has a cell state")
    operands = problem(rng, kind, 5, 4, 3, 18)
    gone = {"h": [1], "c": [2], "bias_ih": [5], "bias_hh": [6], "both biases": [5, 6], "all": [1, 2, 5, 6]}[absent]
    for i in gone:
        operands[i] = None
    check(kind, operands, gradients_in(rng, kind, 5, 4, 18))
    check(kind, operands, gradients_in(rng, kind, 5, 4, 18), reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_gradients_are_zeros(rng, kind):
    operands = problem(rng, kind, 6, 3, 5, 9)
    full = gradients_in(rng, kind, 6, 3, 9)
    for present in range(3):
        check(kind, operands, [a if i == present else None for i, a in enumerate(full)])
    check(kind, operands, [None, None, None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (4, 0, 3, 5), (4, 3, 0, 5), (0, 0, 0, 1), (1, 1, 1, 1)], ids=str)
def test_empty(rng, kind, shape):
    steps, batch, _, hidden = shape
    check(kind, problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden))
    check(kind, problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden), reverse=True)


# ---------------------------------------------------------------------------------------------------- metamorphic


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_inference_is_training_to_the_bit(isa, rng, kind, reverse):
    operands = problem(rng, kind, 30, 50, 5, 19)  # two chunks
    trained, inferred = forward(kind, operands, reverse), forward(kind, operands, reverse, training=False)
    assert all(np.array_equal(a, b) for a, b in zip(trained[:2], inferred[:2], strict=True))
    assert kind != "lstm" or np.array_equal(trained[2], inferred[2])


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_is_single_steps_to_the_bit(isa, rng, kind):
    operands = problem(rng, kind, 12, 5, 7, 23)
    y, h_last, c_last, _ = forward(kind, operands, training=False)
    x, h, c, *weights = operands
    for t in range(len(x)):
        y_t, h, c, _ = forward(kind, [x[t : t + 1], h, c, *weights], training=False)
        assert np.array_equal(y_t[0], y[t])
    assert np.array_equal(h, h_last) and (c is None or np.array_equal(c, c_last))


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_few_sequences(isa, rng, kind, batch):
    """Weights are read in place for so few rows, and sums have another order: the same but for rounding."""
    x, h, c, *weights = problem(rng, kind, 12, batch, 7, 45)
    y, h_last, c_last, _ = forward(kind, [x, h, c, *weights], training=False)
    for t in range(len(x)):
        y_t, h, c, reserve = forward(kind, [x[t : t + 1], h, c, *weights])
        np.testing.assert_allclose(y_t[0], y[t], rtol=0, atol=2e-6)
    np.testing.assert_allclose(h, h_last, rtol=0, atol=2e-6)
    assert c is None or np.allclose(c, c_last, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_reverse_is_a_flipped_sequence_to_the_bit(rng, kind):
    operands = problem(rng, kind, 7, 4, 3, 21)
    y, h_last, _, _ = forward(kind, operands, reverse=True)
    y_flipped, h_flipped, _, _ = forward(kind, [operands[0][::-1], *operands[1:]])
    assert np.array_equal(y, y_flipped[::-1]) and np.array_equal(h_last, h_flipped)
    assert np.array_equal(h_last, y[0])


# Rows shared among the threads; columns of each step; a batch that is short for its threads.
@pytest.mark.parametrize("shape", [(6, 40, 9, 70), (4, 1, 5, 301), (3, 5, 8, 320), (12, 3, 4, 90)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_change_a_bit(isa, rng, kind, shape):
    steps, batch, _, hidden = shape
    operands, gradients = problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden)
    results = []
    for threads in (1, 2, 3):
        with runtime.options(num_threads=threads):
            y, h_last, c_last, reserve = forward(kind, operands)
            results.append([y, h_last, reserve, *backward(kind, gradients, operands, y, reserve).values()])
            assert np.array_equal(forward(kind, operands, training=False)[0], y)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


# -------------------------------------------------------------------------------------------------- special values


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_stay_in_their_row(isa, rng, kind):
    operands = problem(rng, kind, 6, 9, 5, 20)
    clean = forward(kind, operands)[0]
    for value in (np.nan, np.inf):
        operands[0][2, 4, 1] = value
        y, _, _, reserve = forward(kind, operands)
        assert np.array_equal(y[:2], clean[:2])
        assert np.array_equal(np.delete(y, 4, axis=1), np.delete(clean, 4, axis=1))
        assert not np.array_equal(y[2:, 4], clean[2:, 4])
        if np.isnan(value):
            assert np.isnan(y[2:, 4]).all()
            dx = backward(kind, gradients_in(rng, kind, 6, 9, 20), operands, y, reserve)["dx"]
            assert np.isfinite(np.delete(dx, 4, axis=1)).all()
            assert kind == "rnn_relu" or np.isnan(dx[2, 4]).all()  # relu passes the gradient of a NaN on


@pytest.mark.parametrize("kind", KINDS[:3])
def test_saturation(isa, rng, kind):
    operands = problem(rng, kind, 5, 3, 4, 17)
    operands[0] *= 1e6
    y, _, _, reserve = forward(kind, operands)
    assert np.isfinite(y).all() and np.abs(y).max() <= 1
    y_want = reference.recurrent(kind, *operands)[0]
    np.testing.assert_allclose(y, y_want, rtol=0, atol=1e-6)
    gradients = gradients_in(rng, kind, 5, 3, 17)
    assert all(np.isfinite(g).all() for g in backward(kind, gradients, operands, y, reserve).values())


# --------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("layout", ["misaligned", "strided", "Fortran", "negative strides"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_memory(rng, kind, layout):
    layout = ORDERS[layout]
    operands, gradients = problem(rng, kind, 4, 3, 5, 7), gradients_in(rng, kind, 4, 3, 7)
    y, h_last, c_last, reserve = forward(kind, operands)
    want = backward(kind, gradients, operands, y, reserve)
    others = [a if a is None else layout(a) for a in operands]
    for got, want_state in zip(forward(kind, others), (y, h_last, c_last, reserve), strict=True):
        assert (got is None and want_state is None) or np.array_equal(got, want_state)
    got = backward(kind, [a if a is None else layout(a) for a in gradients], others, layout(y), layout(reserve))
    assert all(np.array_equal(want[name], got[name]) for name in want)


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (2, 9, 3, 17), (2, 3, 1, 35)], ids=str)
def test_nothing_outside_the_operands_is_touched(isa, rng, kind, shape):
    steps, batch, features, hidden = shape
    rows, code = GATES[kind] * hidden, _native.RNN_KINDS[kind]

    def results(*sizes):
        return map(testing.guarded_empty, sizes)

    plain, plain_gradients = problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden)
    operands = [None if a is None else testing.guarded_copy(a) for a in plain]
    gradients = [None if a is None else testing.guarded_copy(a) for a in plain_gradients]
    y, h_last, c_last, reserve = results(
        (steps, batch, hidden), (batch, hidden), (batch, hidden), (steps, batch, _native.rnn_reserve_size(code, hidden))
    )
    _native.rnn_forward(code, False, None, *operands, y, h_last, c_last, reserve, runtime.context())
    assert np.array_equal(y, forward(kind, plain)[0])
    sizes = (steps, batch, features), (batch, hidden), (batch, hidden), (rows, features), (rows, hidden), rows, rows
    out = [*results(*sizes)]
    x, h, c, weight_ih, weight_hh, *_ = operands
    _native.rnn_backward(
        code, False, None, *gradients, x, h, c, y, weight_ih, weight_hh, reserve, *out, runtime.context()
    )  # fmt: skip
    want = reference_gradients(kind, plain_gradients, plain)
    for name, got in zip(want, out, strict=True):
        assert (name == "dc" and kind != "lstm") or relative_error(got, want[name]) < 1e-5, name


# --------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_against_torch(rng, kind, reverse):
    torch = pytest.importorskip("torch")
    features, hidden = 9, 21
    operands, gradients = problem(rng, kind, 11, 6, features, hidden), gradients_in(rng, kind, 11, 6, hidden)
    name, _, nonlinearity = kind.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    module = getattr(torch.nn, name.upper())(features, hidden, bidirectional=reverse, **options)
    suffix = "_l0_reverse" if reverse else "_l0"
    parameters = [getattr(module, p + suffix) for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    with torch.no_grad():
        for parameter, value in zip(parameters, operands[3:], strict=True):
            parameter.copy_(torch.from_numpy(value))
    x = torch.from_numpy(operands[0]).requires_grad_()
    states = [torch.from_numpy(np.stack([a] * (1 + reverse))).requires_grad_() for a in operands[1:3] if a is not None]
    y, last = module(x, tuple(states) if kind == "lstm" else states[0])
    last = last if kind == "lstm" else (last,)
    y = y[:, :, hidden:] if reverse else y
    loss = (y * torch.from_numpy(gradients[0])).sum()
    for value, d in zip(last, gradients[1:], strict=False):
        loss = loss + (value[-1] * torch.from_numpy(d)).sum()
    loss.backward()

    ours = forward(kind, operands, reverse)
    np.testing.assert_allclose(ours[0], y.detach().numpy(), rtol=0, atol=2e-6)
    for got, want in zip(ours[1:3], last, strict=False):
        np.testing.assert_allclose(got, want[-1].detach().numpy(), rtol=0, atol=2e-6)
    want = {"dx": x.grad, "dh": states[0].grad[-1], "dc": states[-1].grad[-1]}
    want.update(zip(("dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"), (p.grad for p in parameters), strict=True))
    for key, got in backward(kind, gradients, operands, ours[0], ours[3], reverse).items():
        assert relative_error(got, want[key].numpy()) < 1e-5, key
