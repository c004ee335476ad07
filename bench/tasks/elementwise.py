"""Functions of one number, and sums and products of images."""

import numpy as np

from bench.tasks.common import Op, integers, reference, shapes


class Activation(Op):
    """The backward passes take dy and what the forward saves: y of sigmoid and tanh, x of the others."""

    size = shapes.Elementwise
    functions = ("relu", "sigmoid", "tanh", "gelu", "silu")
    others = ("exp", "mish", "selu", "softsign", "logsigmoid", "hardtanh", "prelu")
    passes = (*functions, *others, *[f"{name}_backward" for name in functions])

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


class Elementwise(Op):
    """Sums and products of images: with images, with a bias by channel, with a gate by image and channel."""

    size = shapes.Images
    passes = ("add", "mul", "bias", "gate")

    @staticmethod
    def operands(size, pass_, rng):
        shape = {"bias": (1, size.c, 1, 1), "gate": (size.n, size.c, 1, 1)}.get(pass_, size.shape)
        return {"a": integers(rng, size.shape), "b": integers(rng, shape)}

    @staticmethod
    def result(size, pass_, operands):
        return (reference.mul if pass_ in ("mul", "gate") else reference.add)(operands["a"], operands["b"])
