"""Layers made of layers. Any other graph: subclass Layer and write forward in Python."""

import numpy as np

from fastconv import ops
from fastconv.layers.base import Layer, join, located

__all__ = ["Sequential", "Residual", "Concat"]


class _Container(Layer):
    """Runs named children, with their errors located."""

    def _forward(self, name, layer, x, training):
        try:
            return layer.forward(x, training=training)
        except (ValueError, TypeError) as error:
            raise located(error, name, layer)  # noqa: B904 - the same exception, its message completed

    def _call(self, name, layer, x):
        try:
            return layer(x)
        except (ValueError, TypeError) as error:
            raise located(error, name, layer)  # noqa: B904

    def _backward(self, name, layer, backward, dy):
        try:
            return backward(dy)
        except (ValueError, TypeError) as error:
            raise located(error, name, layer)  # noqa: B904

    def _trace(self, name, layer, x, path, rows):
        try:
            return layer.trace(x, join(path, name), rows)
        except (ValueError, TypeError) as error:
            raise located(error, name, layer)  # noqa: B904


def _check_layers(function, layers):
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{function}: {layer!r}: must be a Layer")


class Sequential(_Container):
    """Layers one after the other: y = layers[-1](... layers[0](x)).

    Given as arguments, or as one dict of names to layers. A layer with input_grad=False ends the backward pass: those
    before it get no gradient, and backward returns None.

    >>> from fastconv.layers import Linear, Sequential, Tanh
    >>> model = Sequential(Linear(4, 8), Tanh(), Linear(8, 2))
    >>> model(np.zeros((5, 4), np.float32)).shape
    (5, 2)
    """

    def __init__(self, *layers):
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else None
        self._names = list(map(str, named)) if named is not None else [str(index) for index in range(len(layers))]
        self._layers = list(named.values() if named is not None else layers)
        if any("." in name or not name for name in self._names):
            raise ValueError(f"Sequential: names {self._names}: must not be empty or hold a dot")
        _check_layers("Sequential", self._layers)

    def members(self):
        return zip(self._names, self._layers, strict=True)

    def append(self, layer, name=None):
        """Add a layer at the end, named by its position unless a name is given. Returns the Sequential."""
        _check_layers("Sequential", [layer])
        name = str(len(self._layers)) if name is None else str(name)
        if name in self._names:
            raise ValueError(f"Sequential: name {name!r}: is taken")
        self._names.append(name)
        self._layers.append(layer)
        return self

    def __len__(self):
        return len(self._layers)

    def __iter__(self):
        return iter(self._layers)

    def __getitem__(self, index):
        """A layer by position or name, or a Sequential of a slice of them (sharing the layers)."""
        if isinstance(index, str):
            if index not in self._names:
                raise KeyError(index)
            return self._layers[self._names.index(index)]
        if not isinstance(index, slice):
            return self._layers[index]
        numbered = all(name.isdigit() for name in self._names)
        layers = self._layers[index]
        return Sequential(*layers) if numbered else Sequential(dict(zip(self._names[index], layers, strict=True)))

    def forward(self, x, *, training=True):
        steps = []
        for name, layer in self.members():
            x, backward = self._forward(name, layer, x, training)
            steps.append((name, layer, backward))

        def sequential_backward(dy):
            for step in reversed(steps):
                dy = self._backward(*step, dy)
                if dy is None:
                    return None
            return dy

        return x, sequential_backward

    def __call__(self, x):
        for name, layer in self.members():
            x = self._call(name, layer, x)
        return x

    def trace(self, x, name, rows):
        for member, layer in self.members():
            x = self._trace(member, layer, x, name, rows)
        return x

    def __repr__(self):
        lines = [f"  ({name}): {layer!r}".replace("\n", "\n  ") for name, layer in self.members()]
        return "\n".join(["Sequential(", *lines, ")"]) if lines else "Sequential()"


def _add(branch, shortcut):
    if branch.shape != shortcut.shape:
        raise ValueError(f"Residual: branch gives shape {branch.shape} and shortcut {shortcut.shape}: must be equal")
    return ops.add(branch, shortcut)


class Residual(_Container):
    """y = branch(x) + shortcut(x), or branch(x) + x without a shortcut (He et al., 2015).

    >>> from fastconv.layers import Linear, Residual
    >>> Residual(Linear(4, 4))(np.zeros((5, 4), np.float32)).shape
    (5, 4)
    """

    def __init__(self, branch, shortcut=None):
        _check_layers("Residual", [branch] if shortcut is None else [branch, shortcut])
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x, *, training=True):
        y, branch_backward = self._forward("branch", self.branch, x, training)
        if self.shortcut is None:
            skipped, shortcut_backward = x, None
        else:
            skipped, shortcut_backward = self._forward("shortcut", self.shortcut, x, training)

        def residual_backward(dy):
            dx = self._backward("branch", self.branch, branch_backward, dy)
            skipped = dy
            if shortcut_backward is not None:
                skipped = self._backward("shortcut", self.shortcut, shortcut_backward, dy)
            return None if dx is None or skipped is None else ops.add(dx, skipped)

        return _add(y, skipped), residual_backward

    def __call__(self, x):
        y = self._call("branch", self.branch, x)
        return _add(y, x if self.shortcut is None else self._call("shortcut", self.shortcut, x))

    def trace(self, x, name, rows):
        y = self._trace("branch", self.branch, x, name, rows)
        skipped = x if self.shortcut is None else self._trace("shortcut", self.shortcut, x, name, rows)
        y = _add(y, skipped)
        rows.append((name, "Residual", y.shape, []))
        return y

    def __repr__(self):
        return f"Residual({self.branch!r}, {self.shortcut!r})"


class Concat(_Container):
    """y = the results of all branches on the same x, joined along `axis` (channels).

    >>> from fastconv.layers import Concat, Linear
    >>> Concat(Linear(4, 2), Linear(4, 3))(np.zeros((5, 4), np.float32)).shape
    (5, 5)
    """

    def __init__(self, *branches, axis=1):
        if not branches:
            raise ValueError("Concat: no branches: must have at least one")
        _check_layers("Concat", branches)
        self._branches = list(branches)
        self.axis = axis

    def members(self):
        return ((str(index), branch) for index, branch in enumerate(self._branches))

    def __len__(self):
        return len(self._branches)

    def __iter__(self):
        return iter(self._branches)

    def __getitem__(self, index):
        return self._branches[index]

    def _join(self, results):
        """(y, axis from the front)."""
        dimensions = results[0].ndim
        if not -dimensions <= self.axis < dimensions:
            raise ValueError(f"Concat: axis={self.axis}: branches give {dimensions} dimensions")
        axis = self.axis % dimensions
        if len({(*y.shape[:axis], *y.shape[axis + 1 :]) for y in results}) > 1:
            shapes = ", ".join(str(y.shape) for y in results)
            raise ValueError(f"Concat: branches give shapes {shapes}: must agree except along axis {axis}")
        if dimensions == 4:  # images: joined in their (N, H, W, C) memory
            order = (0, 2, 3, 1)
            joined = np.concatenate([y.transpose(order) for y in results], axis=order.index(axis))
            return joined.transpose(0, 3, 1, 2), axis
        return np.concatenate(results, axis=axis), axis

    def forward(self, x, *, training=True):
        steps, results = [], []
        for name, branch in self.members():
            y, backward = self._forward(name, branch, x, training)
            steps.append((name, branch, backward))
            results.append(y)
        y, axis = self._join(results)
        shape, edges = y.shape, np.cumsum([result.shape[axis] for result in results])[:-1]

        def concat_backward(dy):
            if dy.shape != shape:
                raise ValueError(f"Concat: dy has shape {dy.shape}: must be {shape}")
            parts = np.split(dy, edges, axis=axis)
            gradients = [self._backward(*step, part) for step, part in zip(steps, parts, strict=True)]
            if any(gradient is None for gradient in gradients):
                return None
            dx = gradients[0]
            for gradient in gradients[1:]:
                dx = dx + gradient
            return dx

        return y, concat_backward

    def __call__(self, x):
        return self._join([self._call(name, branch, x) for name, branch in self.members()])[0]

    def trace(self, x, name, rows):
        y, _ = self._join([self._trace(member, branch, x, name, rows) for member, branch in self.members()])
        rows.append((name, "Concat", y.shape, []))
        return y

    def __repr__(self):
        return f"Concat({', '.join(map(repr, self._branches))}, axis={self.axis})"
