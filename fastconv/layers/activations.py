"""Activation layers: elementwise, same shape out; names and formulas of torch.nn.

Where the derivative can be told from y, backward keeps y, which the next layer keeps anyway, and x can be freed.
"""

from fastconv import ops
from fastconv.layers.base import Layer

__all__ = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "Sigmoid",
    "Tanh",
    "GELU",
    "SiLU",
    "Hardswish",
    "Hardsigmoid",
    "Softplus",
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


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).

    >>> import numpy as np
    >>> Sigmoid()(np.array([-1, 0, 2], np.float32)).round(2)
    array([0.27, 0.5 , 0.88], dtype=float32)
    """

    def forward(self, x, *, training=True):
        y = ops.sigmoid(x)
        return y, lambda dy: ops.sigmoid_backward(dy, y)


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
