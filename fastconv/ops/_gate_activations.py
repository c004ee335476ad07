"""The activations of the gates of recurrent layers: those of ops, and those of ONNX that have scales and shifts."""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import number
from fastconv.ops._fused import activation_code
from fastconv.ops.activations import _backward, _forward

_NAMES = {code: name for name, code in _native.ACTIVATIONS.items()}
_OF_Y = ("exp", "sigmoid", "tanh")  # whose backward takes the result


class Activation:
    """outer * f(inner * a + shift), f an activation of ops or nothing; by `specification` they compare."""

    def __init__(self, specification, code, inner=1.0, shift=0.0, outer=1.0):
        self.specification = specification
        self._kind, self._parameters = (None, ()) if code is None else (_NAMES[code[0]], code[1:])
        self._inner, self._shift, self._outer = np.float32(inner), np.float32(shift), np.float32(outer)
        self._plain = code is not None and (inner, shift, outer) == (1.0, 0.0, 1.0)

    def _input(self, a, out=None):
        scaled = np.multiply(a, self._inner, out=out)
        return np.add(scaled, self._shift, out=scaled)

    def __call__(self, a, out):
        """Written to out and returned; out may be a."""
        if self._plain:
            return _forward("activations", a, out, *self._parameters, kind=self._kind)
        self._input(a, out)
        if self._kind is not None:
            _forward("activations", out, out, *self._parameters, kind=self._kind)
            out *= self._outer
        return out

    def slope(self, a, y):
        """The derivative at a, where the value is y."""
        if self._kind is None:
            return np.full(a.shape, self._inner)
        ones = np.ones(a.shape, np.float32)
        if self._plain:
            saved = y if self._kind in _OF_Y else a
            return _backward("activations", ones, saved, None, *self._parameters, kind=self._kind)
        saved = self._input(a)
        if self._kind in _OF_Y:
            _forward("activations", saved, saved, *self._parameters, kind=self._kind)
        slope = _backward("activations", ones, saved, None, *self._parameters, kind=self._kind)
        slope *= self._inner * self._outer
        return slope


def _two_numbers(function, name, parameters):
    if len(parameters) != 2:
        raise ValueError(f"{function}: activations holds {(name, *parameters)!r}: {name} takes (name, alpha, beta)")
    return [number(function, f"activations: {name}", value) for value in parameters]


def activation(function, specification):
    """The Activation of a name, (name, parameter) or (name, parameter, parameter)."""
    listed = (specification,) if isinstance(specification, str) else specification
    if not isinstance(listed, (tuple, list)) or not listed or not isinstance(listed[0], str):
        raise TypeError(f"{function}: activations holds {specification!r}: must be a name or (name, parameter)")
    name, *parameters = listed
    known = {*_native.ACTIVATIONS, "affine", "scaled_tanh"} - {"identity"}
    if name not in known:
        raise ValueError(f"{function}: activations holds {specification!r}: must be one of {', '.join(sorted(known))}")
    if name == "affine":
        alpha, beta = _two_numbers(function, name, parameters)
        return Activation((name, alpha, beta), None, alpha, beta)
    if name == "scaled_tanh":
        alpha, beta = _two_numbers(function, name, parameters)
        return Activation((name, alpha, beta), activation_code(function, "tanh"), beta, 0.0, alpha)
    if name == "hardsigmoid" and parameters:
        alpha, beta = _two_numbers(function, name, parameters)
        return Activation((name, alpha, beta), activation_code(function, ("hardtanh", 0.0, 1.0)), alpha, beta)
    code = activation_code(function, specification)
    return Activation(code, code)


def gate_activations(function, activations, defaults):
    """A tuple of as many Activations as there are `defaults`, which None stands for."""
    if activations is None:
        activations = defaults
    if not isinstance(activations, (tuple, list)) or len(activations) != len(defaults):
        kinds = ", ".join(defaults)
        raise ValueError(
            f"{function}: activations={activations!r}: must be None or {len(defaults)} activations in the place of "
            f"({kinds})"
        )
    return tuple(activation(function, each) for each in activations)
