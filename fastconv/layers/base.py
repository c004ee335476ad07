"""What every layer shares: parameters, names, state dicts, and errors that say where they happened."""

import numpy as np

__all__ = ["Layer", "Parameter"]


class Parameter:
    """A float32 array that is learned, and its gradient: `value`, and `grad` (None until a backward adds to it).

    >>> weight = Parameter(np.ones(2, np.float32))
    >>> weight.add_grad(np.ones(2, np.float32)); weight.add_grad(np.ones(2, np.float32))
    >>> weight.grad.tolist()
    [2.0, 2.0]
    """

    __slots__ = ("value", "grad", "__weakref__")

    def __init__(self, value, grad=None):
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"Parameter: value is {kind}: must be a NumPy array of float32")
        # Optimisers update in place, so the array must be writeable; kernels read contiguous memory without a copy.
        usable = value.flags.c_contiguous and value.flags.aligned and value.flags.writeable
        self.value = value if usable else np.array(value, order="C")
        self.grad = None
        if grad is not None:
            self.add_grad(grad)

    @property
    def shape(self):
        return self.value.shape

    def add_grad(self, grad):
        """Add an array of the value's shape to `grad`. The first is copied: the caller's array is never changed."""
        if grad.shape != self.value.shape:
            raise ValueError(f"Parameter: grad has shape {grad.shape}: must be {self.value.shape}")
        if self.grad is None:
            self.grad = np.array(grad, np.float32, order="C")
        else:
            self.grad += grad

    def take_grad(self, grad):
        """As `add_grad`, of an array that nobody else uses: the first becomes `grad` itself, which saves its copy."""
        usable = grad.dtype == np.float32 and grad.flags.c_contiguous and grad.flags.writeable
        if self.grad is None and usable and grad.shape == self.value.shape:
            self.grad = grad
        else:
            self.add_grad(grad)

    def zero_grad(self):
        """Forget the gradient."""
        self.grad = None

    def __repr__(self):
        return f"Parameter(shape={self.shape})"


def join(*names):
    """Dotted path of the names that are not empty."""
    return ".".join(name for name in names if name)


def located(error, name, layer):
    """`error`, raised by `layer`, with the layer's name put before its message: `features.3 (Conv2d): conv2d: ...`.

    Called once a container on the way up; each adds its part of the path. Errors of other types than exactly
    ValueError and TypeError are left alone: their arguments may not be a message.
    """
    if type(error) in (ValueError, TypeError):
        path, kind, message = getattr(error, "fastconv_location", None) or ("", type(layer).__name__, str(error))
        error.fastconv_location = path, kind, message = join(name, path), kind, message
        error.args = (f"{path} ({kind}): {message}",)
    return error


def _tensors(value, name, above=()):
    """(dotted name, Parameter or buffer array) of all that `value` owns, once a name; cycles are cut."""
    if isinstance(value, Parameter):
        yield name, value
    elif isinstance(value, Layer):
        if any(value is layer for layer in above):
            return
        for member, item in value.members():
            if member in value.buffer_names:
                yield join(name, member), item
            else:
                yield from _tensors(item, join(name, member), (*above, value))
    elif isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _tensors(item, join(name, str(key)), above)


class Layer:
    """The base of layers and models. A subclass sets Parameters and Layers as attributes and writes `forward`.

    `forward(x, *, training=True)` returns `(y, backward)`; `backward(dy)` returns dx and adds to every
    `Parameter.grad`. Each call of forward keeps what its own backward needs, so a layer may be used any number of
    times in one graph, or by several threads (whose backwards must take turns: gradients add up in place). Call
    backward before the parameters change. `training` chooses the behaviour of Dropout and BatchNorm; it is not
    kept. `layer(x)` is inference: it keeps nothing.

    >>> class Double(Layer):
    ...     def forward(self, x, *, training=True):
    ...         return 2 * x, lambda dy: 2 * dy
    >>> Double()(np.ones(2, np.float32)).tolist()
    [2.0, 2.0]
    """

    buffer_names = ()  # attributes that are arrays saved with the parameters but not learned

    def forward(self, x, *, training=True):
        """(y, backward) of input x."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not written")

    def __call__(self, x):
        return self.forward(x, training=False)[0]

    def members(self):
        """(name, value) of what the layer owns, where parameters are looked for; containers leave their name out."""
        return vars(self).items()

    def parameters(self):
        """(dotted name, Parameter) of each learned array, once even where it is used twice."""
        seen = set()
        for name, tensor in _tensors(self, ""):
            if isinstance(tensor, Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def buffers(self):
        """(dotted name, array) of each array that is saved but not learned, such as running means; once each."""
        seen = set()
        for name, tensor in _tensors(self, ""):
            if not isinstance(tensor, Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def zero_grad(self):
        """Forget all gradients."""
        for _, parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self):
        """Copies of all parameters and buffers by dotted name, as PyTorch names them (a shared one under each name)."""
        return {
            name: (tensor.value if isinstance(tensor, Parameter) else tensor).copy()
            for name, tensor in _tensors(self, "")
        }

    def load_state_dict(self, mapping, strict=True):
        """Copy arrays by name into parameters and buffers; nothing is written unless all fit.

        mapping: name to array, e.g. of `state_dict()`, of `fastconv.io.load`, or of a PyTorch state dict. With
        strict, ValueError names what is missing or unexpected; without, such names are skipped and returned.
        Parameters must be float32 and of the same shape: TypeError, ValueError.

        Returns (missing names, unexpected names).
        """
        function = f"{type(self).__name__}.load_state_dict"
        targets = {
            name: tensor.value if isinstance(tensor, Parameter) else tensor for name, tensor in _tensors(self, "")
        }
        given = {id(targets[name]) for name in mapping if name in targets}
        missing = [name for name, target in targets.items() if id(target) not in given]
        unexpected = [name for name in mapping if name not in targets]
        if strict and (missing or unexpected):
            kinds = (("missing", missing), ("unexpected", unexpected))
            reasons = [f"{kind} {', '.join(map(str, names))}" for kind, names in kinds if names]
            raise ValueError(f"{function}: {'; '.join(reasons)}")
        checked = {
            name: _checked(function, name, mapping[name], target) for name, target in targets.items() if name in mapping
        }
        for name, value in checked.items():
            targets[name][...] = value
        return missing, unexpected

    def trace(self, x, name, rows):
        """y of x, adding (name, kind, shape of y, parameters) to rows; containers trace what they contain."""
        y = self(x)
        result = y[0] if isinstance(y, tuple) else y
        rows.append((name, type(self).__name__, tuple(result.shape), [value for _, value in self.parameters()]))
        return y

    def summary(self, x):
        """A text table of the layers run on x (an array, or the shape of one of float32): output shapes, parameters.

        >>> from fastconv.layers import Linear
        >>> print(Linear(3, 2).summary((1, 3)))
        layer           output shape       parameters
        Linear          (1, 2)                      8
        total                                       8
        """
        rows, seen = [], set()
        self.trace(x if isinstance(x, np.ndarray) else np.zeros(x, np.float32), "", rows)
        lines = [("layer", "output shape", "parameters")]
        for name, kind, shape, parameters in rows:
            fresh = {id(value): value.value.size for value in parameters if id(value) not in seen}
            seen.update(fresh)
            lines.append((f"{name} ({kind})" if name else kind, str(shape), f"{sum(fresh.values()):,}"))
        lines.append(("total", "", f"{sum(value.value.size for _, value in self.parameters()):,}"))
        first = max(14, *(len(line[0]) for line in lines))
        second = max(16, *(len(line[1]) for line in lines))
        return "\n".join(f"{a:<{first}}  {b:<{second}} {c:>12}".rstrip() for a, b, c in lines)

    def __repr__(self):
        shown = (
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if not name.startswith("_") and isinstance(value, (bool, int, float, str, tuple))
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _checked(function, name, value, target):
    value = np.asarray(value)
    if target.dtype == np.float32 and value.dtype != np.float32:
        raise TypeError(f"{function}: {name} has dtype {value.dtype}: must be float32; use .astype(np.float32)")
    if target.dtype.kind == "i" and value.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} has dtype {value.dtype}: must be an integer type")
    if value.shape != target.shape:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must be {target.shape}")
    return value
