"""Activation layers: elementwise, same shape out but for GLU; names and formulas of torch.nn.

Where the derivative can be told from y, backward keeps y, which the next layer keeps anyway, and x can be freed.
"""

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import integer, number
from fastconv.ops._fused import broken_rule

__all__ = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "Threshold",
    "Hardtanh",
    "ELU",
    "SELU",
    "CELU",
    "Sigmoid",
    "LogSigmoid",
    "Tanh",
    "GELU",
    "SiLU",
    "Mish",
    "Hardswish",
    "Hardsigmoid",
    "Softplus",
    "Softsign",
    "PReLU",
    "GLU",
    "Softmax",
    "LogSoftmax",
]


class ReLU(Layer):
    """y = max(x, 0).

    >>> import numpy as np
    >>> ReLU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0., 0., 2.], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.relu(x)
        return y, lambda dy: ops.relu_backward(dy, y)


class ReLU6(Layer):
    """y = min(max(x, 0), 6).

    >>> import numpy as np
    >>> ReLU6()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0., 0., 2.], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.relu6(x)
        return y, lambda dy: ops.relu6_backward(dy, y)


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.

    >>> import numpy as np
    >>> LeakyReLU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.01,  0.  ,  2.  ], dtype=float32)
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = float(negative_slope)

    def forward(self, x, *, training=True):
        negative_slope = self.negative_slope
        y = ops.leaky_relu(x, negative_slope=negative_slope)
        return y, lambda dy: ops.leaky_relu_backward(dy, x, negative_slope=negative_slope)


class Threshold(Layer):
    """y = x where x > threshold, else value.

    >>> import numpy as np
    >>> Threshold(0.5, -9)(np.array([-1, 0, 2], np.float32)).round(2)
    array([-9., -9.,  2.], dtype=float32)
    """

    def __init__(self, threshold, value):
        self.threshold = number("Threshold", "threshold", threshold)
        self.value = number("Threshold", "value", value)

    def forward(self, x, *, training=True):
        threshold = self.threshold
        y = ops.threshold(x, threshold, self.value)
        return y, lambda dy: ops.threshold_backward(dy, x, threshold)


class Hardtanh(Layer):
    """y = min(max(x, min_val), max_val).

    >>> import numpy as np
    >>> Hardtanh(-0.5)(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.5,  0. ,  1. ], dtype=float32)
    """

    def __init__(self, min_val=-1.0, max_val=1.0):
        self.min_val = number("Hardtanh", "min_val", min_val)
        self.max_val = number("Hardtanh", "max_val", max_val)
        if broken := broken_rule("hardtanh", (self.min_val, self.max_val)):
            raise ValueError(f"Hardtanh: min_val={min_val!r}, max_val={max_val!r}: {broken}")

    def forward(self, x, *, training=True):
        limits = self.min_val, self.max_val
        y = ops.hardtanh(x, *limits)
        return y, lambda dy: ops.hardtanh_backward(dy, x, *limits)


class ELU(Layer):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    >>> import numpy as np
    >>> ELU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.63,  0.  ,  2.  ], dtype=float32)
    """

    def __init__(self, alpha=1.0):
        self.alpha = float(alpha)

    def forward(self, x, *, training=True):
        alpha = self.alpha
        y = ops.elu(x, alpha=alpha)
        return y, lambda dy: ops.elu_backward(dy, x, alpha=alpha)


class SELU(Layer):
    """y = scale * x where x > 0, else scale * alpha * (exp(x) - 1), with the constants of ops.selu.

    >>> import numpy as np
    >>> SELU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-1.11,  0.  ,  2.1 ], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.selu(x)
        return y, lambda dy: ops.selu_backward(dy, x)


class CELU(Layer):
    """y = x where x > 0, else alpha * (exp(x / alpha) - 1).

    >>> import numpy as np
    >>> CELU(0.5)(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.43,  0.  ,  2.  ], dtype=float32)
    """

    def __init__(self, alpha=1.0):
        self.alpha = number("CELU", "alpha", alpha)
        if broken := broken_rule("celu", (self.alpha,)):
            raise ValueError(f"CELU: alpha={alpha!r}: {broken}")

    def forward(self, x, *, training=True):
        alpha = self.alpha
        y = ops.celu(x, alpha)
        return y, lambda dy: ops.celu_backward(dy, x, alpha)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).

    >>> import numpy as np
    >>> Sigmoid()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0.27, 0.5 , 0.88], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.sigmoid(x)
        return y, lambda dy: ops.sigmoid_backward(dy, y)


class LogSigmoid(Layer):
    """y = log(sigmoid(x)).

    >>> import numpy as np
    >>> LogSigmoid()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-1.31, -0.69, -0.13], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.logsigmoid(x)
        return y, lambda dy: ops.logsigmoid_backward(dy, x)


class Tanh(Layer):
    """y = tanh(x).

    >>> import numpy as np
    >>> Tanh()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.76,  0.  ,  0.96], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.tanh(x)
        return y, lambda dy: ops.tanh_backward(dy, y)


class GELU(Layer):
    """y = x * Phi(x), Phi the normal distribution function; approximate="tanh" for the tanh formula.

    >>> import numpy as np
    >>> GELU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.16,  0.  ,  1.95], dtype=float32)
    """

    def __init__(self, approximate="none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate={approximate!r}: must be "none" or "tanh"')
        self.approximate = approximate

    def forward(self, x, *, training=True):
        approximate = self.approximate
        y = ops.gelu(x, approximate=approximate)
        return y, lambda dy: ops.gelu_backward(dy, x, approximate=approximate)


class SiLU(Layer):
    """y = x * sigmoid(x), also called swish.

    >>> import numpy as np
    >>> SiLU()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.27,  0.  ,  1.76], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.silu(x)
        return y, lambda dy: ops.silu_backward(dy, x)


class Mish(Layer):
    """y = x * tanh(softplus(x)).

    >>> import numpy as np
    >>> Mish()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.3 ,  0.  ,  1.94], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.mish(x)
        return y, lambda dy: ops.mish_backward(dy, x)


class Hardswish(Layer):
    """y = x * min(max(x + 3, 0), 6) / 6.

    >>> import numpy as np
    >>> Hardswish()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-0.33,  0.  ,  1.67], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.hardswish(x)
        return y, lambda dy: ops.hardswish_backward(dy, x)


class Hardsigmoid(Layer):
    """y = min(max(x / 6 + 1/2, 0), 1).

    >>> import numpy as np
    >>> Hardsigmoid()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0.33, 0.5 , 0.83], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.hardsigmoid(x)
        return y, lambda dy: ops.hardsigmoid_backward(dy, x)


class Softplus(Layer):
    """y = log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold.

    >>> import numpy as np
    >>> Softplus()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0.31, 0.69, 2.13], dtype=float32)
    """

    def __init__(self, beta=1.0, threshold=20.0):
        self.beta = float(beta)
        self.threshold = float(threshold)

    def forward(self, x, *, training=True):
        beta, threshold = self.beta, self.threshold
        y = ops.softplus(x, beta=beta, threshold=threshold)
        return y, lambda dy: ops.softplus_backward(dy, x, beta=beta, threshold=threshold)


class Softsign(Layer):
    """y = x / (1 + |x|).

    >>> import numpy as np
    >>> Softsign()(np.array([-1, 0, 3], np.float32)).round(2)
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.softsign(x)
        return y, lambda dy: ops.softsign_backward(dy, x)


class PReLU(Layer):
    """y = x where x > 0, else weight[c] * x, as torch.nn.PReLU: x (N, C, ...); weight (num_parameters,), 1 or C.

    >>> import numpy as np
    >>> y, backward = PReLU(2).forward(np.array([[-1, 2]], np.float32))
    >>> y.tolist(), backward(y).tolist()
    ([[-0.25, 2.0]], [[-0.0625, 2.0]])
    """

    def __init__(self, num_parameters=1, init=0.25):
        self.num_parameters = integer("PReLU", "num_parameters", num_parameters, 1)
        self.init = number("PReLU", "init", init)
        self.weight = Parameter(np.full(self.num_parameters, self.init, np.float32))

    def __call__(self, x):
        return ops.prelu(x, self.weight.value)

    def forward(self, x, *, training=True):
        weight = self.weight.value

        def backward(dy):
            dx, dweight = ops.prelu_backward(dy, x, weight)
            self.weight.add_grad(dweight)
            return dx

        return ops.prelu(x, weight), backward


class GLU(Layer):
    """y = a * sigmoid(b), a and b the halves of x along axis; y is half as long along it.

    >>> import numpy as np
    >>> GLU()(np.array([-1, 3, 0, 2], np.float32)).round(2)
    array([-0.5 ,  2.64], dtype=float32)
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x, *, training=True):
        axis = self.axis
        y = ops.glu(x, axis=axis)
        return y, lambda dy: ops.glu_backward(dy, x, axis=axis)


class Softmax(Layer):
    """y = exp(x) / sum of exp(x) along axis.

    >>> import numpy as np
    >>> Softmax()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0.04, 0.11, 0.84], dtype=float32)
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x, *, training=True):
        axis = self.axis
        y = ops.softmax(x, axis=axis)
        return y, lambda dy: ops.softmax_backward(dy, y, axis=axis)


class LogSoftmax(Layer):
    """y = x - log(sum of exp(x)) along axis.

    >>> import numpy as np
    >>> LogSoftmax()(np.array([-1, 0, 2], np.float32)).round(2)
    array([-3.17, -2.17, -0.17], dtype=float32)
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x, *, training=True):
        axis = self.axis
        y = ops.log_softmax(x, axis=axis)
        return y, lambda dy: ops.log_softmax_backward(dy, y, axis=axis)
