"""Matrix products: gemm, matmul and the fully connected layer."""

import math

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, check_out, contiguous, empty, number, of_shape, outs, returned, shaped, target
from fastconv.ops._fused import activation_code
from fastconv.runtime import context

__all__ = ["gemm", "matmul", "matmul_backward", "linear", "linear_backward_input", "linear_backward_weight"]


def _matrix(function, name, value):
    """(matrix, transposed): C-contiguous, being the transpose of `value` where its memory is in Fortran order."""
    array(function, name, value, 2)
    if not value.flags.c_contiguous and value.flags.f_contiguous and value.flags.aligned:
        return value.T, True
    return contiguous(value), False


def _output(function, out, shape, *operands):
    """(out, target) for a product of this shape; target is a temporary where out is not contiguous or overlaps."""
    if out is None:
        fresh = empty(shape)
        return fresh, fresh
    check_out(function, out, shape)
    direct = out.flags.c_contiguous and out.flags.aligned
    if direct and not any(operand is not None and np.may_share_memory(out, operand) for operand in operands):
        return out, out
    return out, np.array(out, order="C")


def _product(function, a, b, bias, out, alpha, beta, activation):
    a_matrix, a_transposed = a
    b_matrix, b_transposed = b
    rows, inner = a_matrix.shape[::-1] if a_transposed else a_matrix.shape
    b_inner, columns = b_matrix.shape[::-1] if b_transposed else b_matrix.shape
    if inner != b_inner:
        raise ValueError(f"{function}: cannot multiply ({rows}, {inner}) by ({b_inner}, {columns}): inner sizes differ")
    code = activation_code(function, activation)
    if bias is not None:
        bias = shaped(function, "bias", bias, (columns,))
    if beta != 0 and out is None:
        raise ValueError(f"{function}: beta={beta!r}: needs out, which it scales")
    out, target = _output(function, out, (rows, columns), a_matrix, b_matrix, bias)
    _native.gemm(a_matrix, b_matrix, bias, target, a_transposed, b_transposed, alpha, beta, *code, context())
    if target is not out:
        out[...] = target
    return out


def gemm(a, b, *, transpose_a=False, transpose_b=False, alpha=1.0, beta=0.0, bias=None, activation=None, out=None):
    """activation(alpha * op(a) @ op(b) + beta * out + bias), the BLAS sgemm with an epilogue.

    a (M, K), or (K, M) with transpose_a; b (K, N), or (N, K) with transpose_b; bias (N,); out (M, N). float32.
    activation: a name ("relu"), or (name, parameter). beta needs out; beta=0 never reads it.

    >>> import numpy as np; from fastconv import ops
    >>> ops.gemm(np.eye(2, dtype=np.float32), np.ones((2, 3), np.float32), alpha=2.0)[0]
    array([2., 2., 2.], dtype=float32)
    """
    a_matrix, a_flipped = _matrix("gemm", "a", a)
    b_matrix, b_flipped = _matrix("gemm", "b", b)
    a_operand = (a_matrix, bool(transpose_a) != a_flipped)
    b_operand = (b_matrix, bool(transpose_b) != b_flipped)
    alpha, beta = number("gemm", "alpha", alpha), number("gemm", "beta", beta)
    return _product("gemm", a_operand, b_operand, bias, out, alpha, beta, activation)


def _stack(value, batch):
    """(stack, transposed): the matrices of `value` (..., rows, columns) as (count, rows, columns), C-contiguous.

    count is 1 where one matrix serves the whole batch; transposed ones stand for those whose memory is in that order.
    """
    count = 1 if math.prod(value.shape[:-2]) == 1 else math.prod(batch)
    if count > 1 and value.shape[:-2] != batch:
        value = np.broadcast_to(value, (*batch, *value.shape[-2:]))
    turned = value.swapaxes(-1, -2)
    transposed = not value.flags.c_contiguous and turned.flags.c_contiguous and turned.flags.aligned
    stack = turned if transposed else contiguous(value)
    return stack.reshape(count, *stack.shape[-2:]), transposed


def _batch_shape(function, a, b):
    """(batch, M, N) of a @ b."""
    for name, value in (("a", a), ("b", b)):
        array(function, name, value)
        if value.ndim < 2:
            raise ValueError(f"{function}: {name} has shape {value.shape}: must have at least 2 dimensions")
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"{function}: cannot multiply {a.shape} by {b.shape}: inner sizes differ")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"{function}: cannot multiply {a.shape} by {b.shape}: batches do not broadcast") from None
    return batch, a.shape[-2], b.shape[-1]


def _batched(function, a, b, out):
    batch, rows, columns = _batch_shape(function, a, b)
    a_stack, a_transposed = _stack(a, batch)
    b_stack, b_transposed = _stack(b, batch)
    out, target = _output(function, out, (*batch, rows, columns), a, b)
    count = math.prod(batch)
    if len(b_stack) == 1 and len(a_stack) == count and not a_transposed:
        # One matrix for all: the rows of the whole batch are one product.
        a_rows, c_rows = a_stack.reshape(count * rows, -1), target.reshape(count * rows, columns)
        plain = 1.0, 0.0, *activation_code(function, None)
        _native.gemm(a_rows, b_stack[0], None, c_rows, False, b_transposed, *plain, context())
    else:
        c_stack = target.reshape(count, rows, columns)
        _native.gemm_batch(a_stack, b_stack, c_stack, a_transposed, b_transposed, context())
    if target is not out:
        out[...] = target
    return out


def matmul(a, b, *, out=None):
    """The matrix products a @ b of a (..., M, K) and b (..., K, N), float32 -> (..., M, N).

    The leading dimensions are a batch and broadcast as in numpy.matmul; threads share out
    whole products where there are many. out: where to write the result; it may overlap an operand.

    >>> import numpy as np; from fastconv import ops
    >>> ops.matmul(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)).shape
    (2, 4)
    >>> ops.matmul(np.ones((8, 1, 2, 3), np.float32), np.ones((5, 3, 4), np.float32)).shape
    (8, 5, 2, 4)
    """
    function = "matmul"
    y = _native.matmul(a, b, out, context())
    if y is not NotImplemented:
        return y
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and (a.ndim > 2 or b.ndim > 2):
        return _batched(function, a, b, out)
    return _product(function, _matrix(function, "a", a), _matrix(function, "b", b), None, out, 1.0, 0.0, None)


def _summed_to(gradient, shape):
    """The gradient of a broadcast operand: summed over the dimensions in which it was repeated."""
    extra = gradient.ndim - len(shape)
    repeated = [i for i, size in enumerate(shape) if size == 1 and gradient.shape[extra + i] != 1]
    if extra or repeated:
        gradient = gradient.sum(axis=(*range(extra), *(extra + i for i in repeated)), dtype=np.float32)
    return gradient.reshape(shape)


def matmul_backward(dy, a, b):
    """(da, db) of `matmul`: da = dy @ b.T, db = a.T @ dy, each summed over what its operand was broadcast over.

    dy (..., M, N), a (..., M, K), b (..., K, N) -> arrays of the shapes of a and b.

    >>> import numpy as np; from fastconv import ops
    >>> a, b = np.ones((7, 2, 3), np.float32), np.ones((3, 4), np.float32)
    >>> da, db = ops.matmul_backward(np.ones((7, 2, 4), np.float32), a, b)
    >>> da.shape, db.shape, float(db[0, 0])
    ((7, 2, 3), (3, 4), 14.0)
    """
    function = "matmul_backward"
    batch, rows, columns = _batch_shape(function, a, b)
    of_shape(function, "dy", dy, (*batch, rows, columns))
    if b.ndim == 2 and a.ndim > 2:
        # One product each, without the products of a batch that would be summed.
        flat_a, flat_dy = contiguous(a).reshape(-1, a.shape[-1]), contiguous(dy).reshape(-1, columns)
        da, db = matmul_backward(flat_dy, flat_a, b)
        return da.reshape(a.shape), db
    da = matmul(dy, b.swapaxes(-1, -2))
    db = matmul(a.swapaxes(-1, -2), dy)
    return _summed_to(da, a.shape), _summed_to(db, b.shape)


def _rows(function, name, x, features):
    """(rows, features) view or copy of x (..., features)."""
    array(function, name, x)
    if x.ndim < 1 or x.shape[-1] != features:
        raise ValueError(f"{function}: {name} has shape {x.shape}: its last dimension must be {features}")
    return contiguous(x).reshape(math.prod(x.shape[:-1]), features)


def _layer(function, name, x, weight, transposed, bias, activation, out):
    """activation(x @ weight + bias), or of weight.T where `transposed`; `name` is that of x."""
    y = _native.linear(x, weight, bias, out, transposed, *activation_code(function, activation), context())
    if y is not NotImplemented:
        return y
    array(function, "weight", weight, 2)
    inner, columns = weight.shape[::-1] if transposed else weight.shape
    rows = _rows(function, name, x, inner)
    shape = (*x.shape[:-1], columns)
    if out is not None:
        check_out(function, out, shape)
    matrix, flipped = _matrix(function, "weight", weight)
    y = _product(function, (rows, False), (matrix, flipped != transposed), bias, None, 1.0, 0.0, activation)
    return returned(y.reshape(shape), out)


def linear(x, weight, bias=None, *, activation=None, out=None):
    """y = activation(x @ weight.T + bias): x (..., I), weight (O, I), bias (O,) -> y (..., O).

    activation: a name ("relu"), or (name, parameter), applied in the product's epilogue. out: where to write y.

    >>> import numpy as np; from fastconv import ops
    >>> ops.linear(np.ones((5, 3), np.float32), np.ones((2, 3), np.float32)).shape
    (5, 2)
    """
    return _layer("linear", "x", x, weight, True, bias, activation, out)


def linear_backward_input(dy, weight, *, out=None):
    """dx = dy @ weight: dy (..., O), weight (O, I) -> dx (..., I). out: where to write dx.

    >>> import numpy as np; from fastconv import ops
    >>> ops.linear_backward_input(np.ones((5, 2), np.float32), np.ones((2, 3), np.float32)).shape
    (5, 3)
    """
    return _layer("linear_backward_input", "dy", dy, weight, False, None, None, out)


def linear_backward_weight(dy, x, *, out=None):
    """(dweight, dbias) of `linear`: dy (..., O), x (..., I) -> dweight (O, I) = dy.T @ x, dbias (O,) = sum of dy.

    out: (dweight, dbias), each an array to write to or None. They are written, not added to: a `gemm` with beta=1 adds.

    >>> import numpy as np; from fastconv import ops
    >>> dweight, dbias = ops.linear_backward_weight(np.ones((5, 2), np.float32), np.ones((5, 3), np.float32))
    >>> dweight.shape, dbias.tolist()
    ((2, 3), [5.0, 5.0])
    """
    function = "linear_backward_weight"
    array(function, "dy", dy)
    array(function, "x", x)
    if dy.ndim < 1 or x.ndim < 1 or dy.shape[:-1] != x.shape[:-1]:
        raise ValueError(f"{function}: dy has shape {dy.shape} and x {x.shape}: all but the last dimension must agree")
    rows, features = dy.shape[-1], x.shape[-1]
    out = outs(function, out, (rows, features), (rows,))
    gradients = _native.linear_gradients(dy, x, *out, context())
    if gradients is not NotImplemented:
        return gradients
    dweight = target(function, out[0], (rows, features), dy, x, name="out[0]")
    dbias = target(function, out[1], (rows,), dy, x, name="out[1]")
    dy_rows, x_rows = _rows(function, "dy", dy, rows), _rows(function, "x", x, features)
    _native.linear_gradients(dy_rows, x_rows, dweight, dbias, context())
    return returned(dweight, out[0]), returned(dbias, out[1])
