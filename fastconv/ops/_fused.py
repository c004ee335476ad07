"""Activations that a product, a convolution or a sum applies to its result before it is stored."""

import math

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import number

# Of each activation that has parameters, in order, their defaults; None: it has to be given.
_PARAMETERS = {
    "leaky_relu": (0.01,),
    "elu": (1.0,),
    "celu": (1.0,),
    "softplus": (1.0, 20.0),
    "hardtanh": (-1.0, 1.0),
    "threshold": (None, None),
}
_IDENTITY = (_native.ACTIVATIONS["identity"], 0.0, 0.0)


def broken_rule(name, parameters):
    """Which rule of activation `name` its parameters break; None where they may be so."""
    if name == "softplus" and (np.float32(parameters[0]) == 0 or not math.isfinite(parameters[0])):
        return "must be finite and not 0"
    # Its inverse must be a number, too.
    if name == "celu" and not 2.0**-126 <= parameters[0] < math.inf:
        return "must be finite and >= 2**-126"
    if name == "hardtanh" and not parameters[0] <= parameters[1]:
        return "the first must be <= the second"
    return None


def activation_code(function, activation):
    """(kind, alpha, beta) of None, a name such as "relu", (name, parameter) or (name, parameter, parameter)."""
    if activation is None:
        return _IDENTITY
    listed = (activation,) if isinstance(activation, str) else activation
    if not isinstance(listed, (tuple, list)) or not listed or not isinstance(listed[0], str):
        raise TypeError(f"{function}: activation={activation!r}: must be None, a name or (name, parameter)")
    name, *parameters = listed
    if name not in _native.ACTIVATIONS or name == "identity":
        names = ", ".join(sorted(set(_native.ACTIVATIONS) - {"identity"}))
        raise ValueError(f"{function}: activation={activation!r}: must be None or one of {names}")
    defaults = _PARAMETERS.get(name, ())
    if len(parameters) > len(defaults):
        raise ValueError(f"{function}: activation={activation!r}: {name} takes fewer parameters")
    if None in defaults[len(parameters) :]:
        raise ValueError(f"{function}: activation={activation!r}: {name} takes {len(defaults)} parameters")
    values = (*[number(function, "activation", value) for value in parameters], *defaults[len(parameters) :])
    if broken := broken_rule(name, values):
        raise ValueError(f"{function}: activation={activation!r}: {broken}")
    return (_native.ACTIVATIONS[name], *values, *[0.0] * (2 - len(values)))
