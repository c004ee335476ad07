"""Activations that a product or a convolution applies to its result before it is stored."""

from fastconv import _native
from fastconv.ops._arrays import number

_DEFAULTS = {"leaky_relu": (0.01, 0.0), "elu": (1.0, 0.0), "softplus": (1.0, 20.0)}
_IDENTITY = (_native.ACTIVATIONS["identity"], 0.0, 0.0)


def activation_code(function, activation):
    """(kind, alpha, beta) of None, a name such as "relu", or (name, parameter)."""
    if activation is None:
        return _IDENTITY
    listed = (activation,) if isinstance(activation, str) else activation
    if not isinstance(listed, (tuple, list)) or not listed or not isinstance(listed[0], str):
        raise TypeError(f"{function}: activation={activation!r}: must be None, a name or (name, parameter)")
    name, *parameters = listed
    if name not in _native.ACTIVATIONS or name == "identity":
        names = ", ".join(sorted(set(_native.ACTIVATIONS) - {"identity"}))
        raise ValueError(f"{function}: activation={activation!r}: must be None or one of {names}")
    defaults = _DEFAULTS.get(name, (0.0, 0.0))
    if len(parameters) > sum(value != 0.0 for value in defaults):
        raise ValueError(f"{function}: activation={activation!r}: {name} takes fewer parameters")
    values = (*[number(function, "activation", value) for value in parameters], *defaults[len(parameters) :])
    return (_native.ACTIVATIONS[name], *values)
