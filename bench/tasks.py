"""What is timed: an operation, its pass and a problem size, with its data, its right result and what it costs.

Where an operation only multiplies and adds, data are small integers: every method that does so too is then exact in
float32, and a result can be compared with no debate about tolerance. Transforms are allowed their rounding.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

TESTS = str(Path(__file__).resolve().parent.parent / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)  # the shapes and the float64 reference are the tests'

import map_shapes  # noqa: E402
import reference  # noqa: E402
import shapes  # noqa: E402

UNIT_ROUNDOFF = 2.0**-24


def integers(rng, shape):
    """Integers from -4 to 4; maps (N, C, *sizes) in (N, *sizes, C) memory."""
    if len(shape) < 3:
        return rng.integers(-4, 5, shape).astype(np.float32)
    n, c, *sizes = shape
    return np.moveaxis(rng.integers(-4, 5, (n, *sizes, c)).astype(np.float32), -1, 1)


class Conv2d:
    """forward: the weights are constant and may be prepared beforehand, as in inference. forward_unpacked: they are
    given anew with every call, as in training."""

    size = shapes.Conv
    passes = ("forward", "forward_unpacked", "backward_input", "backward_weight")

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds

    @staticmethod
    def operands(size, pass_, rng):
        made = {
            "x": integers(rng, size.x_shape),
            "weight": np.ascontiguousarray(integers(rng, size.weight_shape)),
            "dy": integers(rng, size.y_shape),
        }
        del made[{"backward_input": "x", "backward_weight": "weight"}.get(pass_, "dy")]
        return made

    @staticmethod
    def result(size, pass_, operands):
        if pass_.startswith("forward"):
            return getattr(reference, size.op)(operands["x"], operands["weight"], **size.geometry)
        backward = getattr(reference, f"{size.op}_{pass_}")
        if pass_ == "backward_input":
            return backward(operands["dy"], operands["weight"], size.x_shape, **size.geometry)
        return backward(operands["dy"], operands["x"], size.weight_shape, **size.geometry)[0]

    @classmethod
    def allowed(cls, size, pass_, operands, right):
        """160 u of the largest sum of absolute values: twice what Winograd's F(6x6) may have, which some
        libraries choose by themselves. A wrong index is off by thousands."""
        sums = cls.result(size, pass_, {name: np.abs(value) for name, value in operands.items()})
        return 160 * UNIT_ROUNDOFF * float(sums.max())


class Maps(Conv2d):
    """Convolutions of 1-D and 3-D maps, and transposed ones: fastconv packs their weights at every call."""

    size = map_shapes.Maps
    passes = ("forward", "backward_input", "backward_weight")


class Gemm:
    size = shapes.Gemm
    passes = ("forward",)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds

    @staticmethod
    def operands(size, pass_, rng):
        a, b = rng.integers(-4, 5, size.a_shape), rng.integers(-4, 5, size.b_shape)
        return {"a": a.astype(np.float32), "b": b.astype(np.float32)}

    @staticmethod
    def result(size, pass_, operands):
        b = operands["b"].swapaxes(-1, -2) if size.linear else operands["b"]
        return operands["a"].astype(np.float64) @ b.astype(np.float64)

    @staticmethod
    def allowed(size, pass_, operands, right):
        return 0.0


def relative(size, pass_, operands, right):
    """1e-5 of the largest result."""
    return 1e-5 * float(np.abs(right).max())


class Pool2d:
    size = shapes.Pool
    passes = ("max", "avg", "max_backward", "avg_backward")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        made = {"x": rng.standard_normal(size.x_shape, np.float32)}  # no ties
        return made | ({"dy": integers(rng, size.y_shape)} if pass_.endswith("backward") else {})

    @staticmethod
    def result(size, pass_, operands):
        rows, columns = (
            reference.adaptive_windows(side, size.output)
            if size.output
            else reference.pool_windows(side, size.kernel, size.stride, size.padding, size.padding)
            for side in (size.h, size.w)
        )
        if pass_ == "avg":
            return reference.avg_pool2d(operands["x"], rows, columns)
        if pass_ == "avg_backward":
            return reference.avg_pool2d_backward(operands["dy"], size.x_shape, rows, columns)
        y, indices = reference.max_pool2d(operands["x"], rows, columns)
        return y if pass_ == "max" else reference.max_pool2d_backward(operands["dy"], indices, size.x_shape)


class Interpolate:
    """Of integers, a pixel off is off by more than the rounding of weights."""

    size = shapes.Resize
    passes = tuple(mode + end for end in ("", "_backward") for mode in ("nearest", "bilinear", "bicubic"))
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        if pass_.endswith("backward"):
            return {"dy": integers(rng, size.y_shape)}
        return {"x": integers(rng, size.x_shape)}

    @staticmethod
    def result(size, pass_, operands):
        named = {"scale_factor": size.factor, "mode": pass_.removesuffix("_backward")}
        if pass_.endswith("backward"):
            return reference.interpolate_backward(operands["dy"], size.x_shape, **named)
        return reference.interpolate(operands["x"], **named)


class Rearrange:
    """Copies, and sums of integers: every method is exact."""

    size = shapes.Rearrangement
    passes = ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold", "fold", "pad", "pad_backward")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        n, c, h, w = size.x_shape
        factor, padding = size.factor, size.padding
        if pass_ == "pixel_shuffle":
            return {"x": integers(rng, (n, -(-c // factor**2) * factor**2, h, w))}
        if pass_ == "channel_shuffle":
            return {"x": integers(rng, (n, -(-c // size.groups) * size.groups, h, w))}
        if pass_ == "pixel_unshuffle":
            return {"x": integers(rng, (n, c, h // factor * factor, w // factor * factor))}
        if pass_ == "pad_backward":
            return {"dy": integers(rng, (n, c, h + 2 * padding, w + 2 * padding))}
        if pass_ == "fold":
            steps = [(side + 2 * padding - size.kernel) // size.stride + 1 for side in (h, w)]
            shape = (n, c * size.kernel**2, steps[0] * steps[1])
            return {"x": rng.integers(-4, 5, shape).astype(np.float32)}
        return {"x": integers(rng, size.x_shape)}

    @staticmethod
    def result(size, pass_, operands):
        if pass_.startswith("pixel"):
            return getattr(reference, pass_)(operands["x"], size.factor)
        if pass_ == "channel_shuffle":
            return reference.channel_shuffle(operands["x"], size.groups)
        if pass_ == "unfold":
            return reference.unfold(operands["x"], **size.windows)
        if pass_ == "fold":
            return reference.fold(operands["x"], size.x_shape[2:], **size.windows)
        border = {"padding": size.padding, "mode": "reflect"}
        if pass_ == "pad":
            return reference.pad(operands["x"], **border)
        return reference.pad_backward(operands["dy"], size.x_shape, **border)


class Dropout:
    """p = 0.3. training: forward and backward. Masks are random: what is compared is x, recovered from the result by
    `recovered`."""

    size = shapes.Elementwise
    passes = ("forward", "training")
    allowed = staticmethod(relative)
    p = 0.3

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        x = rng.integers(1, 5, size.count).astype(np.float32)
        return {"x": x} | ({"dy": rng.integers(1, 5, size.count).astype(np.float32)} if pass_ == "training" else {})

    @staticmethod
    def result(size, pass_, operands):
        return operands["x"]

    @classmethod
    def recovered(cls, operands, y, dx=None):
        """x, where y is it dropped out as it should be (and dx its dy by the same mask); NaN where it is not."""
        kept = y != 0
        x = np.where(kept, y * (1 - cls.p), operands["x"])
        if abs(kept.mean() - (1 - cls.p)) > 5 * np.sqrt(cls.p * (1 - cls.p) / y.size):
            x[:] = np.nan
        if dx is not None:
            right = np.where(kept, operands["dy"] / (1 - cls.p), 0)
            x[abs(dx - right) > 1e-5 * np.abs(right)] = np.nan
        return x.astype(np.float32)


class Activation:
    """The backward passes take dy and what the forward saves: y of sigmoid and tanh, x of the others."""

    size = shapes.Elementwise
    functions = ("relu", "sigmoid", "tanh", "gelu", "silu")
    others = ("exp", "mish", "selu", "softsign", "logsigmoid", "hardtanh", "prelu")
    passes = (*functions, *others, *[f"{name}_backward" for name in functions])
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        x = rng.standard_normal(size.count, np.float32) * 3
        name, _, backward = pass_.partition("_")
        if not backward:
            return {"x": x} | ({"weight": np.array([0.25], np.float32)} if pass_ == "prelu" else {})
        saved = reference.activation(name, x).astype(np.float32) if name in ("sigmoid", "tanh") else x
        return {"dy": rng.standard_normal(size.count, np.float32), "saved": saved}

    @staticmethod
    def result(size, pass_, operands):
        name, _, backward = pass_.partition("_")
        if name == "prelu":
            return reference.prelu(operands["x"], operands["weight"])
        if not backward:
            return reference.activation(name, operands["x"])
        saved = operands["saved"].astype(np.float64)
        if name == "sigmoid":
            slope = saved * (1 - saved)
        elif name == "tanh":
            slope = 1 - saved * saved
        else:
            slope = reference.activation_derivative(name, saved)
        return operands["dy"] * slope


class Elementwise:
    """Sums and products of images: with images, with a bias by channel, with a gate by image and channel."""

    size = shapes.Images
    passes = ("add", "mul", "bias", "gate")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        shape = {"bias": (1, size.c, 1, 1), "gate": (size.n, size.c, 1, 1)}.get(pass_, size.shape)
        return {"a": integers(rng, size.shape), "b": integers(rng, shape)}

    @staticmethod
    def result(size, pass_, operands):
        return (reference.mul if pass_ in ("mul", "gate") else reference.add)(operands["a"], operands["b"])


def rows(size, rng, scale=1.0):
    """Reals of this shape, in its memory order."""
    values = rng.standard_normal(size.shape, np.float32) * np.float32(scale)
    if size.channels_last:
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return values


class Softmax:
    """The backward passes take the result of the forward one."""

    size = shapes.Rows
    passes = ("softmax", "log_softmax", "softmax_backward", "log_softmax_backward")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        x = rows(size, rng, 3.0)
        if not pass_.endswith("backward"):
            return {"x": x}
        y = getattr(reference, pass_.removesuffix("_backward"))(x, size.axis)
        return {"dy": rows(size, rng), "y": np.asarray(y, np.float32, order="K")}

    @staticmethod
    def result(size, pass_, operands):
        return getattr(reference, pass_)(*operands.values(), size.axis)


class CrossEntropy:
    """training: the gradient of the mean loss, the loss being computed on the way."""

    size = shapes.Rows
    passes = ("training",)
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        others = np.delete(np.array(size.shape), size.axis)
        return {"logits": rows(size, rng, 3.0), "labels": rng.integers(0, size.shape[size.axis], others)}

    @staticmethod
    def result(size, pass_, operands):
        return reference.softmax_cross_entropy(operands["logits"], operands["labels"], axis=size.axis)[1]


class Norm:
    """forward: inference, of batch norm with given statistics. training: with those of x, which are kept for backward:
    dx, and the gradients of weight and bias, of which dx alone is compared."""

    size = shapes.Norm
    passes = ("forward", "training", "backward")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        def normal():
            n, c, *sizes = size.shape
            return np.moveaxis(rng.standard_normal((n, *sizes, c), np.float32), -1, 1)

        made = {"x": normal()} | ({"dy": normal()} if pass_ == "backward" else {})
        if size.kind == "response":
            return made
        parameters = size.shape[-1] if size.kind in ("layer", "rms") else size.shape[1]
        for name in ("weight",) if size.kind == "rms" else ("weight", "bias"):
            made[name] = rng.standard_normal(parameters, np.float32)
        if size.kind == "batch" and pass_ == "forward":
            made["mean"] = rng.standard_normal(parameters, np.float32)
            made["var"] = rng.uniform(0.5, 2.0, parameters).astype(np.float32)
        return made

    @staticmethod
    def result(size, pass_, operands):
        given = [operands[name] for name in ("weight", "bias") if name in operands]
        x, dy = operands["x"], operands.get("dy")
        if size.kind == "response":
            function = reference.local_response_norm if dy is None else reference.local_response_norm_backward
            return function(*([x] if dy is None else [dy, x]), size.window)
        if size.kind == "batch":
            statistics = [operands[name] for name in ("mean", "var")] if pass_ == "forward" else None
            statistics = statistics or reference.batch_norm_statistics(x)
            if dy is None:
                return reference.batch_norm(x, *statistics, *given)
            return reference.batch_norm_backward(dy, x, *statistics, given[0])[0]
        if size.kind in ("layer", "rms"):
            last = size.shape[-1:]
            if dy is None:
                return getattr(reference, f"{size.kind}_norm")(x, last, *given)
            if size.kind == "rms":
                return reference.rms_norm_backward(dy, x, (x.astype(float) ** 2).mean(axis=-1), last, *given)[0]
            return reference.layer_norm_backward(dy, x, *reference.row_statistics(x, 1), last, given[0])[0]
        groups = size.groups or size.shape[1]
        if dy is None:
            return reference.group_norm(x, groups, *given)
        return reference.group_norm_backward(dy, x, *reference.group_statistics(x, groups), groups, given[0])[0]


class Recurrent:
    """training: forward and all gradients; dx is what is compared."""

    size = shapes.Recurrent
    passes = ("forward", "training")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 2 * size.multiply_adds * (3 if pass_ == "training" else 1)

    @staticmethod
    def operands(size, pass_, rng):
        rows, bound = size.gates * size.hidden, size.hidden**-0.5
        made = {
            "x": rng.standard_normal((size.steps, size.batch, size.inputs), np.float32),
            "weight_ih": rng.uniform(-bound, bound, (rows, size.inputs)).astype(np.float32),
            "weight_hh": rng.uniform(-bound, bound, (rows, size.hidden)).astype(np.float32),
        }
        dy = rng.standard_normal((size.steps, size.batch, size.hidden), np.float32)
        return made | ({"dy": dy} if pass_ == "training" else {})

    @staticmethod
    def result(size, pass_, operands):
        weights = operands["weight_ih"], operands["weight_hh"], None, None
        if pass_ == "forward":
            return reference.recurrent(size.kind, operands["x"], None, None, *weights)[0]
        gradients = reference.recurrent_backward(
            size.kind, operands["dy"], None, None, operands["x"], None, None, *weights
        )
        return gradients[0]


class Call:
    """A call from Python as a user writes it, without `out=`, on arrays in C order; the pass is the op."""

    size = shapes.Tiny
    passes = ("relu", "softmax", "linear", "conv2d", "max_pool2d")
    allowed = staticmethod(relative)

    @staticmethod
    def flops(size, pass_):
        return 0

    @staticmethod
    def operands(size, pass_, rng):
        listed = size.shapes(pass_)
        return {name: rng.standard_normal(shape, np.float32) for name, shape in zip("xw", listed, strict=False)}

    @staticmethod
    def result(size, pass_, operands):
        x, weight = operands["x"], operands.get("w")
        if pass_ == "relu":
            return reference.activation("relu", x)
        if pass_ == "softmax":
            return reference.softmax(x)
        if pass_ == "linear":
            return reference.gemm(x, weight.T)
        if pass_ == "conv2d":
            return reference.conv2d(x, weight, padding=((1, 1), (1, 1)))
        windows = [reference.pool_windows(side, 2, 2, 0, 0) for side in x.shape[2:]]
        return reference.max_pool2d(x, *windows)[0]


OPS = {
    "conv2d": Conv2d,
    "maps": Maps,
    "gemm": Gemm,
    "pool2d": Pool2d,
    "interpolate": Interpolate,
    "rearrange": Rearrange,
    "dropout": Dropout,
    "activation": Activation,
    "elementwise": Elementwise,
    "softmax": Softmax,
    "cross_entropy": CrossEntropy,
    "norm": Norm,
    "recurrent": Recurrent,
    "call": Call,
}


class Task(NamedTuple):
    """One call to be timed: op, pass and a size from tests/shapes.py."""

    op: str
    pass_: str
    size: tuple

    def dumps(self):
        return json.dumps([self.op, self.pass_, self.size._asdict()])

    @classmethod
    def loads(cls, text):
        op, pass_, size = json.loads(text)
        return cls(op, pass_, OPS[op].size(**{name: _tuples(value) for name, value in size.items()}))

    @property
    def name(self):
        return f"{self.op} {self.size.name} {self.pass_}"

    @property
    def flops(self):
        """Floating-point operations by the direct algorithm; 0 where an op moves more than it computes."""
        return OPS[self.op].flops(self.size, self.pass_)

    def operands(self):
        """The arrays it is given: the same for every library."""
        return OPS[self.op].operands(self.size, self.pass_, np.random.default_rng(20))

    def expected(self, operands):
        """The right result, by tests/reference.py, rounded to float32."""
        return OPS[self.op].result(self.size, self.pass_, operands).astype(np.float32)

    def allowed(self, operands, right):
        """The largest error of an element that is rounding, for any method."""
        return OPS[self.op].allowed(self.size, self.pass_, operands, right)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
