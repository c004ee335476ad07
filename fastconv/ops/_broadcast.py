"""Two operands element by element, by NumPy's rules of broadcasting, and the sums that undo a broadcast.

Everything happens in the memory order of an operand that has the shape of the result: C, or channels last. In that
order axes that operands share, and axes along which one repeats, are made one where they lie side by side; four such
groups are what the kernels take.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import channels_last, check_out, contiguous, empty, flat, nhwc, returned
from fastconv.runtime import context

GROUPS = 4
PLAIN = (_native.ACTIVATIONS["identity"], 0.0, 0.0)


class _Plan(NamedTuple):
    """shape: that of the result. native: None where axes make too many groups."""

    shape: tuple
    native: object


def _padded(shape, ndim):
    return (1,) * (ndim - len(shape)) + shape


def _groups(size, *has):
    """Axes (size, of which arrays it is one, ...) with those side by side that are alike made one; none of size 1."""
    groups = []
    for length, *mine in zip(size, *has, strict=True):
        if length == 1:
            continue
        if groups and groups[-1][1:] == mine:
            groups[-1][0] *= length
        else:
            groups.append([length, *mine])
    return groups


@lru_cache(maxsize=4096)
def result_shape(function, a_shape, b_shape):
    """NumPy's, or an error."""
    try:
        shape = np.broadcast_shapes(a_shape, b_shape)
    except ValueError:
        raise ValueError(f"{function}: a has shape {a_shape} and b {b_shape}: must broadcast") from None
    if math.prod(shape) >= 2**61:
        raise ValueError(f"{function}: a has shape {a_shape} and b {b_shape}: their result is too large")
    return shape


@lru_cache(maxsize=4096)
def _plan(function, op, a_shape, b_shape, last, fused):
    """last: memory is channels last."""
    shape = result_shape(function, a_shape, b_shape)
    order = (0, *range(2, len(shape)), 1) if last else range(len(shape))
    size = [shape[axis] for axis in order]
    a_has, b_has = (
        [_padded(mine, len(shape))[axis] == length for axis, length in zip(order, size, strict=True)]
        for mine in (a_shape, b_shape)
    )
    groups = _groups(size, a_has, b_has)
    if len(groups) > GROUPS:
        return _Plan(shape, None)
    groups = [[1, True, True]] * (GROUPS - len(groups)) + groups
    return _Plan(shape, _native.ElementwisePlan(op, *(tuple(each) for each in zip(*groups, strict=True)), fused))


def is_last(x):
    """x lies in channels-last memory, and not in C order as well."""
    return x.ndim > 2 and not x.flags.c_contiguous and channels_last(x).flags.c_contiguous


def in_order(x, ndim, last):
    """The elements of x as a contiguous array in the order of the result: a view where memory is in that order."""
    if not last:
        return contiguous(x)
    return nhwc(x if x.ndim == ndim else x.reshape(_padded(x.shape, ndim)))


def fresh(shape, last):
    """An uninitialised array of this shape in this order, and its memory."""
    if not last:
        memory = empty(shape)
        return memory, memory
    batch, channels, *sizes = shape
    memory = empty((batch, *sizes, channels))
    return memory.transpose(0, -1, *range(1, 1 + len(sizes))), memory


def target(function, out, shape, last, operands):
    """(y, memory): out where it lies in this order and shares memory with no operand, unless it is that operand."""
    if out is None:
        return fresh(shape, last)
    check_out(function, out, shape)
    memory = channels_last(out) if last else out
    if memory.flags.c_contiguous and memory.flags.aligned:
        shared = (
            operand is not None
            and np.may_share_memory(memory, operand)
            and (operand.ctypes.data != memory.ctypes.data or operand.size != memory.size)
            for operand in operands
        )
        if not any(shared):
            return out, memory
    return fresh(shape, last)


_UFUNCS = {"add": np.add, "mul": np.multiply}


def _general(op, fused, a, b, shape, last, memory):
    """Any number of groups, by NumPy."""
    a, b = (np.broadcast_to(x, shape) for x in (a, b))
    if last:
        a, b = channels_last(a), channels_last(b)
    with np.errstate(all="ignore"):
        _UFUNCS[op.removesuffix("_relu")](a, b, out=memory)
    fused = (_native.ACTIVATIONS["relu"], 0.0, 0.0) if op == "add_relu" else fused
    if fused != PLAIN:
        _native.activation_forward(flat(memory), flat(memory), *fused, context())


def combine(function, op, a, b, out=None, fused=PLAIN, gate=None):
    """y = activation(a op b); a and b are checked for their types alone. gate: of "prelu_backward", as a."""
    y = _native.combine(op, a, b, gate, out, fused, context())
    if y is not NotImplemented:
        return y
    last, shape = False, a.shape
    if not (a.flags.c_contiguous and b.flags.c_contiguous) or a.shape != b.shape:
        shape = result_shape(function, a.shape, b.shape)
        last = is_last(a) if a.shape == shape else b.shape == shape and is_last(b)
    plan = _plan(function, op, a.shape, b.shape, last, fused)
    if plan.native is None:
        y, memory = target(function, out, shape, last, (a, b))
        _general(op, fused, a, b, shape, last, memory)
    else:
        a, b = in_order(a, len(shape), last), in_order(b, len(shape), last)
        gate = None if gate is None else in_order(gate, len(shape), last)
        y, memory = target(function, out, shape, last, (a, b, gate))
        plan.native.forward(a, b, gate, memory, context())
    return returned(y, out)


class _Sums(NamedTuple):
    """steps: (outer, rows, columns), of which the rows are summed, or (rows, columns), of which the columns are; then
    the sizes that remain, in memory order, and the permutation to the order of the shape."""

    steps: tuple
    sizes: tuple
    order: tuple


@lru_cache(maxsize=4096)
def _sums(full, shape, last):
    axes = (0, *range(2, len(full)), 1) if last else tuple(range(len(full)))
    padded = _padded(shape, len(full))
    groups = _groups([full[axis] for axis in axes], [padded[axis] == full[axis] for axis in axes])
    steps = []
    while not steps or not all(kept for _, kept in groups):
        *outer, (columns, kept) = groups or [(1, False)]
        if not kept:
            steps.append((math.prod(size for size, _ in outer), columns))
            groups = outer
            continue
        *outer, (rows, _) = outer or [(1, False)]
        steps.append((math.prod(size for size, _ in outer), rows, columns))
        groups = _groups([*(size for size, _ in outer), columns], [*(kept for _, kept in outer), True])
    order = tuple(int(axis) for axis in np.argsort(axes))
    return _Sums(tuple(steps), tuple(padded[axis] for axis in axes), order)


def summed_to(shape, dy, x=None, kind="sum"):
    """The sum over the axes along which an array of `shape` repeats, of dy or of dy and x (kind: see SUM_KINDS).

    dy and x have one shape. dy itself is returned where nothing is to be summed.
    """
    if kind == "sum" and dy.shape == shape:
        return dy
    full, last = dy.shape, is_last(dy)
    plan = _sums(full, shape, last)
    sums, x = in_order(dy, len(full), last), None if x is None else in_order(x, len(full), last)
    for step in plan.steps:
        dy, sums = sums.reshape(step), empty((step[0], *step[2:]))
        sum_ = _native.row_sums if len(step) == 2 else _native.column_sums
        sum_(kind, dy, None if x is None else x.reshape(step), sums, context())
        x, kind = None, "sum"
    return sums.reshape(plan.sizes).transpose(plan.order).reshape(shape)
