"""Sums and products of two arrays, element by element, with NumPy's broadcasting.

Arrays are float32, of any shape and memory order; numbers are arrays of shape (). The result lies in the memory order
of the first operand that has its shape: a sum of channels-last images is channels last. `out=` receives the result and
may be an operand. Fastest where both operands have one shape and order, or one of them is a number, a bias (C, 1, 1) or
a gate (N, C, 1, 1). TypeError for another dtype, ValueError for shapes that do not broadcast.
"""

from fastconv.ops._arrays import array, integer
from fastconv.ops._broadcast import PLAIN, combine, result_shape, summed_to
from fastconv.ops._fused import activation_code

__all__ = ["add", "add_backward", "mul", "mul_backward"]


def add(a, b, *, activation=None, out=None):
    """y = activation(a + b); activation: None, a name such as "relu", or (name, parameter).

    a, b of any shapes that broadcast -> y of the shape they broadcast to.

    >>> import numpy as np; from fastconv import ops
    >>> ops.add(np.array([[1, -3]], np.float32), np.array([[1], [2]], np.float32), activation="relu")
    array([[2., 0.],
           [3., 0.]], dtype=float32)
    """
    array("add", "a", a)
    array("add", "b", b)
    if activation is None:
        return combine("add", "add", a, b, out)
    if activation == "relu":
        return combine("add", "add_relu", a, b, out)
    return combine("add", "add", a, b, out, activation_code("add", activation))


def mul(a, b, *, out=None):
    """y = a * b.

    a, b of any shapes that broadcast -> y of the shape they broadcast to.

    >>> import numpy as np; from fastconv import ops
    >>> ops.mul(np.array([[1, 2]], np.float32), np.array([[1], [3]], np.float32))
    array([[1., 2.],
           [3., 6.]], dtype=float32)
    """
    array("mul", "a", a)
    array("mul", "b", b)
    return combine("mul", "mul", a, b, out, PLAIN)


def _shape(function, name, shape):
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{function}: {name}={shape!r}: must be a shape")
    return tuple(integer(function, name, size, 0) for size in shape)


def _check_dy(function, dy, a_shape, b_shape):
    shape = result_shape(function, a_shape, b_shape)
    if dy.shape != shape:
        raise ValueError(f"{function}: dy has shape {dy.shape}: must be {shape}, that of a and b together")


def add_backward(dy, a_shape, b_shape):
    """(da, db) of y = a + b: the sums of dy over the axes along which a, or b, was repeated.

    dy of the shape to which a_shape and b_shape broadcast -> da of a_shape, db of b_shape. What was not repeated is dy
    itself, not a copy. Bits do not depend on the number of threads.

    >>> import numpy as np; from fastconv import ops
    >>> da, db = ops.add_backward(np.ones((2, 3), np.float32), (2, 3), (3,))
    >>> db
    array([2., 2., 2.], dtype=float32)
    """
    function = "add_backward"
    array(function, "dy", dy)
    a_shape, b_shape = _shape(function, "a_shape", a_shape), _shape(function, "b_shape", b_shape)
    _check_dy(function, dy, a_shape, b_shape)
    return summed_to(a_shape, dy), summed_to(b_shape, dy)


def _product_gradient(dy, other, shape):
    """The gradient in an operand of this shape, `other` being the other one."""
    if shape == dy.shape:
        return combine("mul_backward", "mul", dy, other)
    if other.shape == dy.shape:
        return summed_to(shape, dy, other, "products")
    return summed_to(shape, combine("mul_backward", "mul", dy, other))


def mul_backward(dy, a, b):
    """(da, db) of y = a * b: dy * b and dy * a, summed over the axes along which a, or b, was repeated.

    dy of the shape to which a and b broadcast -> da of a's shape, db of b's. Bits do not depend on the number of
    threads.

    >>> import numpy as np; from fastconv import ops
    >>> a, gate = np.array([[1, 2], [3, 4]], np.float32), np.array([[1], [2]], np.float32)
    >>> da, dgate = ops.mul_backward(np.ones((2, 2), np.float32), a, gate)
    >>> da.tolist(), dgate.tolist()
    ([[1.0, 1.0], [2.0, 2.0]], [[3.0], [7.0]])
    """
    function = "mul_backward"
    array(function, "dy", dy)
    array(function, "a", a)
    array(function, "b", b)
    _check_dy(function, dy, a.shape, b.shape)
    return _product_gradient(dy, b, a.shape), _product_gradient(dy, a, b.shape)
