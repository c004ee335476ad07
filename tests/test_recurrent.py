"""LSTM, GRU and plain RNN over whole sequences, forward and backward."""

import ctypes
import mmap

import numpy as np
import pytest
import reference

from fastconv import _native, ops, runtime

KINDS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}

# Every size with a tail in every place, T != N != I != H.
SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33]
SHAPES = [(SIZES[i - 5], SIZES[i - 3], SIZES[i - 8], SIZES[i]) for i in range(len(SIZES))]


def problem(rng, kind, steps, batch, features, hidden):
    """x, h, c, weight_ih, weight_hh, bias_ih, bias_hh; weights as PyTorch draws them, so that states stay moderate."""
    rows, bound = GATES[kind] * hidden, hidden**-0.5
    sizes = [(rows, features), (rows, hidden), (rows,), (rows,)]
    weights = [rng.uniform(-bound, bound, size).astype(np.float32) for size in sizes]
    x = rng.standard_normal((steps, batch, features)).astype(np.float32)
    h, c = (rng.uniform(-1, 1, (batch, hidden)).astype(np.float32) for _ in range(2))
    return [x, h, c if kind == "lstm" else None, *weights]


def gradients_in(rng, kind, steps, batch, hidden):
    """dy, dh_last, dc_last"""
    dy = rng.standard_normal((steps, batch, hidden)).astype(np.float32)
    dh, dc = (rng.standard_normal((batch, hidden)).astype(np.float32) for _ in range(2))
    return [dy, dh, dc if kind == "lstm" else None]


def options_of(kind, reverse):
    name, _, nonlinearity = kind.partition("_")
    return name, {"reverse": reverse, **({"nonlinearity": nonlinearity} if nonlinearity else {})}


def forward(kind, operands, reverse=False, training=True):
    """(y, h_last, c_last or None, reserve or None)"""
    name, options = options_of(kind, reverse)
    x, h, c, *weights = operands
    states = (h, c) if kind == "lstm" else (h,)
    outputs = getattr(ops, name + ("_forward" if training else ""))(x, *states, *weights, **options)
    reserve = outputs[-1] if training else None
    return outputs[0], outputs[1], outputs[2] if kind == "lstm" else None, reserve


def backward(kind, gradients, operands, y, reserve, reverse=False):
    """{name of the gradient: array}"""
    name, options = options_of(kind, reverse)
    (dy, dh, dc), (x, h, c, weight_ih, weight_hh, *_) = gradients, operands
    lstm = kind == "lstm"
    states, last = ((h, c), (dh, dc)) if lstm else ((h,), (dh,))
    result = getattr(ops, f"{name}_backward")(dy, *last, x, *states, y, reserve, weight_ih, weight_hh, **options)
    names = ["dx", "dh", *(["dc"] if lstm else []), "dweight_ih", "dweight_hh"]
    names += ["dbias_ih", "dbias_hh"] if kind == "gru" else ["dbias_hh"]
    return dict(zip(names, result, strict=True))


def reference_gradients(kind, gradients, operands, reverse=False):
    names = ["dx", "dh", "dc", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"]
    return dict(zip(names, reference.recurrent_backward(kind, *gradients, *operands, reverse=reverse), strict=True))


def relative_error(got, want):
    norm = np.linalg.norm(want)
    return np.linalg.norm(got - want) / norm if norm > 0 else np.abs(got).max(initial=0.0)


def check(kind, operands, gradients, reverse=False):
    """Forward and backward against the float64 definition."""
    y, h_last, c_last, reserve = forward(kind, operands, reverse)
    y_want, h_want, c_want, _ = reference.recurrent(kind, *operands, reverse=reverse)
    tolerance = 1e-6 * max(1.0, np.abs(y_want).max(initial=0.0))  # the outputs of relu have no bound
    np.testing.assert_allclose(y, y_want, rtol=0, atol=tolerance)
    np.testing.assert_allclose(h_last, h_want, rtol=0, atol=tolerance)
    if kind == "lstm":
        np.testing.assert_allclose(c_last, c_want, rtol=1e-6, atol=1e-6)
    want = reference_gradients(kind, gradients, operands, reverse)
    for name, got in backward(kind, gradients, operands, y, reserve, reverse).items():
        assert got.dtype == np.float32 and got.shape == want[name].shape
        assert relative_error(got, want[name]) < 1e-5, name


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


def misaligned(array):
    """A read-only copy at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(np.float32).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy


def strided(array):
    """A copy in Fortran order with every other element along the last axis."""
    copy = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, np.float32, order="F")[..., ::2]
    copy[...] = array
    return copy


@pytest.mark.parametrize("layout", [misaligned, strided])
@pytest.mark.parametrize("kind", KINDS)
def test_any_memory(rng, kind, layout):
    operands, gradients = problem(rng, kind, 4, 3, 5, 7), gradients_in(rng, kind, 4, 3, 7)
    y, h_last, c_last, reserve = forward(kind, operands)
    want = backward(kind, gradients, operands, y, reserve)
    others = [a if a is None else layout(a) for a in operands]
    for got, want_state in zip(forward(kind, others), (y, h_last, c_last, reserve), strict=True):
        assert (got is None and want_state is None) or np.array_equal(got, want_state)
    got = backward(kind, [a if a is None else layout(a) for a in gradients], others, layout(y), layout(reserve))
    assert all(np.array_equal(want[name], got[name]) for name in want)


def guarded(pages, value, writable=False):
    """A copy of the array that ends where an inaccessible page begins; read-only unless `writable`."""
    value = np.asarray(value, np.float32)
    size = -(-value.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    pages.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    array = np.frombuffer(memory, np.float32, value.size, size - value.nbytes).reshape(value.shape)
    array[...] = value
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(address + size, mmap.PAGESIZE, 0) == 0
    assert writable or size == 0 or protect(address, size, 1) == 0
    return array


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (2, 9, 3, 17), (2, 3, 1, 35)], ids=str)
def test_nothing_outside_the_operands_is_touched(isa, rng, kind, shape):
    steps, batch, features, hidden = shape
    pages, rows, code = [], GATES[kind] * hidden, _native.RNN_KINDS[kind]

    def results(*sizes):
        return [guarded(pages, np.full(size, np.nan), True) for size in sizes]

    plain, plain_gradients = problem(rng, kind, *shape), gradients_in(rng, kind, steps, batch, hidden)
    operands = [None if a is None else guarded(pages, a) for a in plain]
    gradients = [None if a is None else guarded(pages, a) for a in plain_gradients]
    y, h_last, c_last, reserve = results(
        (steps, batch, hidden), (batch, hidden), (batch, hidden), (steps, batch, _native.rnn_reserve_size(code, hidden))
    )
    _native.rnn_forward(code, False, *operands, y, h_last, c_last, reserve, runtime.context())
    assert np.array_equal(y, forward(kind, plain)[0])
    out = results(
        (steps, batch, features), (batch, hidden), (batch, hidden), (rows, features), (rows, hidden), rows, rows
    )
    x, h, c, weight_ih, weight_hh, *_ = operands
    _native.rnn_backward(
        code, False, *gradients, x, h, c, y, weight_ih, weight_hh, reserve, *out, runtime.context()
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


# --------------------------------------------------------------------------------------------------- bad arguments


def lstm_arguments(rng):
    names = ["x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return dict(zip(names, problem(rng, "lstm", 4, 2, 3, 5), strict=True))


BAD = [
    ("x", lambda a: a[0], ValueError, r"x has shape \(2, 3\): must have 3 dimensions"),
    ("x", lambda a: a.astype(np.float64), TypeError, "x has dtype float64: must be float32"),
    ("x", lambda a: a.tolist(), TypeError, "x is list: must be a NumPy array"),
    ("x", lambda a: None, TypeError, "x is NoneType"),
    ("h", lambda a: a[:1], ValueError, r"h has shape \(1, 5\): must be \(2, 5\)"),
    ("h", lambda a: a[None], ValueError, r"h has shape \(1, 2, 5\): must be \(2, 5\)"),
    ("c", lambda a: a[:, :4], ValueError, r"c has shape \(2, 4\): must be \(2, 5\)"),
    ("weight_ih", lambda a: a[:, :2], ValueError, r"weight_ih has shape \(20, 2\): must be \(20, 3\)"),
    ("weight_ih", lambda a: a[:15], ValueError, r"weight_ih has shape \(15, 3\): must be \(20, 3\)"),
    ("weight_hh", lambda a: a[:15], ValueError, r"weight_hh has shape \(15, 5\): must be \(4 \* H, H\) with H >= 1"),
    ("weight_hh", lambda a: a[:0, :0], ValueError, r"weight_hh has shape \(0, 0\): must be \(4 \* H, H\) with H >= 1"),
    ("weight_hh", lambda a: a.reshape(-1), ValueError, r"weight_hh has shape \(100,\): must have 2 dimensions"),
    ("weight_hh", lambda a: None, TypeError, "weight_hh is NoneType"),
    ("bias_ih", lambda a: a[:5], ValueError, r"bias_ih has shape \(5,\): must be \(20,\)"),
    ("bias_hh", lambda a: a[None], ValueError, r"bias_hh has shape \(1, 20\): must be \(20,\)"),
    ("bias_hh", lambda a: a.astype(np.int32), TypeError, "bias_hh has dtype int32"),
]


@pytest.mark.parametrize("name, change, error, message", BAD, ids=[f"{b[0]}-{i}" for i, b in enumerate(BAD)])
@pytest.mark.parametrize("function", ["lstm", "lstm_forward"])
def test_bad_forward_arguments(rng, function, name, change, error, message):
    arguments = lstm_arguments(rng)
    arguments[name] = change(arguments[name])
    with pytest.raises(error, match=rf"^{function}: {message}"):
        getattr(ops, function)(**arguments)


BAD_BACKWARD = [
    ("dy", lambda a: a[:3], r"dy has shape \(3, 2, 5\): must be \(4, 2, 5\)"),
    ("dh_last", lambda a: a[:1], r"dh_last has shape \(1, 5\): must be \(2, 5\)"),
    ("dc_last", lambda a: a.T, r"dc_last has shape \(5, 2\): must be \(2, 5\)"),
    ("x", lambda a: a[:, :1], r"dy has shape \(4, 2, 5\): must be \(4, 1, 5\)"),
    ("h", lambda a: a[0], r"h has shape \(5,\): must be \(2, 5\)"),
    ("c", lambda a: a[0], r"c has shape \(5,\): must be \(2, 5\)"),
    ("y", lambda a: a[..., :4], r"y has shape \(4, 2, 4\): must be \(4, 2, 5\)"),
    ("reserve", lambda a: a[..., :20], r"reserve has shape \(4, 2, 20\): must be \(4, 2, 25\)"),
    ("weight_ih", lambda a: a[:, :1], r"weight_ih has shape \(20, 1\): must be \(20, 3\)"),
    ("weight_hh", lambda a: a[:16, :4], r"dy has shape \(4, 2, 5\): must be \(4, 2, 4\)"),
]


@pytest.mark.parametrize("name, change, message", BAD_BACKWARD, ids=[b[0] for b in BAD_BACKWARD])
def test_bad_backward_arguments(rng, name, change, message):
    forward_arguments = lstm_arguments(rng)
    y, _, _, reserve = ops.lstm_forward(**forward_arguments)
    arguments = {key: forward_arguments[key] for key in ("x", "h", "c", "weight_ih", "weight_hh")}
    dy, dh_last, dc_last = gradients_in(rng, "lstm", 4, 2, 5)
    arguments.update(dy=dy, dh_last=dh_last, dc_last=dc_last, y=y, reserve=reserve)
    good = ops.lstm_backward(**arguments)
    with pytest.raises(ValueError, match=f"^lstm_backward: {message}"):
        ops.lstm_backward(**{**arguments, name: change(arguments[name])})
    with pytest.raises(TypeError, match=f"^lstm_backward: {name} has dtype float64"):
        ops.lstm_backward(**{**arguments, name: arguments[name].astype(np.float64)})
    assert all(np.array_equal(a, b) for a, b in zip(good, ops.lstm_backward(**arguments), strict=True))


@pytest.mark.parametrize("function", ["rnn", "rnn_forward"])
@pytest.mark.parametrize("value", ["sigmoid", None, 1])
def test_bad_nonlinearity(rng, function, value):
    x, h, _, *weights = problem(rng, "rnn_tanh", 3, 2, 4, 5)
    with pytest.raises(ValueError, match=rf"^{function}: nonlinearity={value!r}: must be 'tanh' or 'relu'"):
        getattr(ops, function)(x, h, *weights, nonlinearity=value)


def test_bad_weights_of_the_other_kinds(rng):
    x, h, _, weight_ih, weight_hh, *_ = problem(rng, "gru", 3, 2, 4, 5)
    with pytest.raises(ValueError, match=r"^gru: weight_hh has shape \(14, 5\): must be \(3 \* H, H\)"):
        ops.gru(x, h, weight_ih, weight_hh[:14])
    with pytest.raises(ValueError, match=r"^rnn: weight_hh has shape \(15, 5\): must be \(H, H\)"):
        ops.rnn(x, h, weight_ih, weight_hh)


def test_the_binding_checks_buffers_itself(rng):
    x, h, c, *weights = problem(rng, "lstm", 3, 2, 4, 5)
    y, state = np.empty((3, 2, 5), np.float32), np.empty((2, 5), np.float32)
    code, context = _native.RNN_KINDS["lstm"], runtime.context()
    with pytest.raises(ValueError, match="reserve: expected shape"):
        _native.rnn_forward(code, False, x, h, c, *weights, y, state, state.copy(), y, context)
    with pytest.raises(ValueError, match="kind=9"):
        _native.rnn_forward(9, False, x, h, c, *weights, y, state, state.copy(), None, context)
    y.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        _native.rnn_forward(code, False, x, h, c, *weights, y, state, state.copy(), None, context)
