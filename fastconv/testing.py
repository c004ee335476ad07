"""Checks for projects that write forward and backward passes, and arrays that catch stray reads and writes."""

import ctypes
import math
import mmap

import numpy as np

__all__ = ["check_adjoint", "check_vjp", "guarded_empty", "guarded_copy"]


def _dot(a, b):
    return float(np.vdot(np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()))


def check_adjoint(forward, adjoint, x, rng=None, *, tolerance=1e-5):
    """AssertionError unless <dy, forward(x)> = <adjoint(dy), x> for a random dy; forward must be linear.

    The error is relative to |dy| |forward(x)|; it is returned. tolerance=0 asks for equality, as of integers.

    >>> a = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    >>> check_adjoint(lambda x: a @ x, lambda dy: a.T @ dy, np.ones(4, np.float32), 0) < 1e-5
    True
    """
    y = forward(x)
    dy = np.random.default_rng(rng).integers(-4, 5, y.shape).astype(y.dtype)
    left, right = _dot(dy, y), _dot(adjoint(dy), x)
    scale = float(np.linalg.norm(dy)) * float(np.linalg.norm(y))
    error = abs(left - right) / scale if scale else abs(left - right)
    if not error <= tolerance:
        raise AssertionError(f"check_adjoint: <dy, A x> = {left}, <A^T dy, x> = {right}: error {error} > {tolerance}")
    return error


def check_vjp(forward, backward, x, rng=None, *, directions=3, step=1e-2, tolerance=1e-2):
    """AssertionError unless backward(dy) is the gradient of <dy, forward(x)>, along random directions v.

    Compares <backward(dy), v> with the central difference <dy, forward(x + step v) - forward(x - step v)> / 2 step, v
    normal. forward takes x to y, backward takes dy, at x, to dx; both may be float32: the default step
    balances rounding (1e-7 / step) with curvature (step**2). The worst error, relative to |dx| |v|, is returned.

    >>> x = np.linspace(-1, 1, 5).astype(np.float32)
    >>> check_vjp(np.tanh, lambda dy: dy * (1 - np.tanh(x) ** 2), x, 0) < 1e-3
    True
    """
    rng = np.random.default_rng(rng)
    worst = 0.0
    for _ in range(directions):
        direction = rng.standard_normal(x.shape).astype(x.dtype)
        above, below = x + x.dtype.type(step) * direction, x - x.dtype.type(step) * direction
        y_above, y_below = (np.asarray(forward(at), np.float64) for at in (above, below))
        dy = rng.standard_normal(y_above.shape).astype(x.dtype)
        dx = backward(dy)
        if dx.shape != x.shape:
            raise AssertionError(f"check_vjp: backward gives shape {dx.shape}: must be {x.shape}")
        # Divided by the step that float32 really took.
        expected = _dot(dy, y_above - y_below) / (2.0 * step)
        got = _dot(dx, (np.asarray(above, np.float64) - below) / (2.0 * step))
        scale = float(np.linalg.norm(dx)) * float(np.linalg.norm(direction))
        error = abs(expected - got) / scale if scale else abs(expected - got)
        worst = max(worst, error) if not math.isnan(error) else error
        if not error <= tolerance:
            raise AssertionError(
                f"check_vjp: difference quotient {expected}, gradient {got}: error {error} > {tolerance}"
            )
    return worst


def _protect(address, size, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if libc.mprotect(address, size, flags):
        raise OSError(ctypes.get_errno(), "mprotect failed")


def _mapping(size, flush):
    """(mmap, address of its pages for data, their size, offset of the data): inaccessible pages before and after."""
    if not hasattr(mmap, "PROT_READ"):
        raise NotImplementedError("fastconv.testing: guarded arrays need mprotect (Linux, macOS)")
    if flush not in ("end", "start"):
        raise ValueError(f'guarded_empty: flush={flush!r}: must be "end" or "start"')
    page = mmap.PAGESIZE
    inner = max(1, -(-size // page)) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _protect(address, page, 0)
    _protect(address + page + inner, page, 0)
    return memory, address + page, inner, page + (inner - size if flush == "end" else 0)


def guarded_empty(shape, dtype=np.float32, *, flush="end"):
    """An array of this shape whose end (or start, with flush="start") lies against an inaccessible page.

    A read or write past it kills the process with SIGSEGV instead of passing unseen: run suspects in a subprocess.
    Each array takes at least three pages. Filled with NaN where the type has one.

    >>> guarded_empty((2, 3)).shape
    (2, 3)
    """
    return _guarded(shape, dtype, flush)[0]


def _guarded(shape, dtype, flush):
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    count = math.prod(shape)
    memory, address, inner, offset = _mapping(count * dtype.itemsize, flush)
    array = np.ndarray(shape, dtype, buffer=memory, offset=offset)  # holds the mapping
    if dtype.kind == "f":
        array.fill(np.nan)
    return array, address, inner


def guarded_copy(array, readonly=True, *, flush="end"):
    """A copy of `array`, with its axes in the same order in memory, placed as by guarded_empty; read-only by default.

    >>> guarded_copy(np.arange(3, dtype=np.float32)).tolist()
    [0.0, 1.0, 2.0]
    """
    order = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    copy, address, inner = _guarded([array.shape[axis] for axis in order], array.dtype, flush)
    copy[...] = array.transpose(order)
    if readonly:
        _protect(address, inner, mmap.PROT_READ)
        copy.flags.writeable = False
    return copy.transpose(np.argsort(order))
