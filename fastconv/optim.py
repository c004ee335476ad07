"""Optimisers: SGD, Adam, AdamW with PyTorch's formulas, and gradient clipping.

Updates are made in place, in float32; a parameter whose grad is None is left as it is.
"""

import math

import numpy as np

from fastconv.layers.base import Parameter

__all__ = ["SGD", "Adam", "AdamW", "clip_grad_norm", "clip_grad_value"]


def _named(function, parameters):
    """{name: Parameter} of an iterable of Parameters, or of pairs (name, Parameter)."""
    named = {}
    for index, item in enumerate(parameters):
        name, parameter = item if isinstance(item, tuple) and len(item) == 2 else (str(index), item)
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{function}: parameters holds {type(parameter).__name__}: must be Parameter")
        if name in named or any(parameter is other for other in named.values()):
            raise ValueError(f"{function}: parameters holds {name} twice")
        named[name] = parameter
    return named


class _Optimizer:
    """Parameters, the learning rate, and arrays of state by parameter that are made at its first update."""

    slots = ()  # names of the arrays kept for a parameter

    def __init__(self, parameters, lr):
        function = type(self).__name__
        if not lr >= 0.0:
            raise ValueError(f"{function}: lr={lr!r}: must be >= 0")
        self.lr = float(lr)
        self.steps = 0
        self._parameters = _named(function, parameters)
        if not self._parameters:
            raise ValueError(f"{function}: parameters is empty")
        self._state = {}  # name -> {slot: array, "step": updates of this parameter}
        self._scratch = [np.empty(0, np.float32), np.empty(0, np.float32)]

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self._parameters.values():
            parameter.zero_grad()

    def step(self):
        """Update every parameter that has a gradient."""
        self.steps += 1
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                state = self._state.setdefault(name, {"step": 0})
                state["step"] += 1
                self._update(parameter.value, parameter.grad, state)

    def _update(self, value, grad, state):
        raise NotImplementedError

    def _temporary(self, shape, which=0):
        """One of two scratch arrays, shared by all parameters: as large as the largest."""
        size = math.prod(shape)
        if self._scratch[which].size < size:
            self._scratch[which] = np.empty(size, np.float32)
        return self._scratch[which][:size].reshape(shape)

    def state_dict(self):
        """Name to array, for `fastconv.io.save`: lr, steps, and `<slot>.<parameter>` for what is kept of each."""
        flat = {"lr": np.array(self.lr), "steps": np.array(self.steps, np.int64)}
        for name, state in self._state.items():
            for slot, value in state.items():
                flat[f"{slot}.{name}"] = np.array(value)
        return flat

    def load_state_dict(self, mapping):
        """Continue from a state_dict() of an optimiser of this kind over parameters of these names and shapes."""
        function = f"{type(self).__name__}.load_state_dict"
        loaded = {}
        for key, value in mapping.items():
            if key in ("lr", "steps"):
                continue
            slot, _, name = key.partition(".")
            if slot not in (*self.slots, "step") or name not in self._parameters:
                raise ValueError(f"{function}: unexpected {key}")
            if slot == "step":
                loaded.setdefault(name, {})[slot] = int(value)
                continue
            shape = self._parameters[name].shape
            if value.dtype != np.float32 or value.shape != shape:
                raise ValueError(
                    f"{function}: {key} is {value.dtype} of shape {value.shape}: must be float32 of {shape}"
                )
            loaded.setdefault(name, {})[slot] = np.array(value, order="C")
        missing = [key for key in ("lr", "steps") if key not in mapping]
        missing += [f"step.{name}" for name, state in loaded.items() if "step" not in state]
        if missing:
            raise ValueError(f"{function}: missing {', '.join(missing)}")
        self.lr, self.steps, self._state = float(mapping["lr"]), int(mapping["steps"]), loaded


class SGD(_Optimizer):
    """Stochastic gradient descent, as torch.optim.SGD.

    g = grad + weight_decay * value; with momentum, v = momentum * v + g (v = g at the first step) and g = v, or
    g + momentum * v with nesterov; value -= lr * g.

    >>> from fastconv.layers import Parameter
    >>> weight = Parameter(np.ones(1, np.float32), grad=np.ones(1, np.float32))
    >>> SGD([weight], lr=0.5).step(); weight.value.tolist()
    [0.5]
    """

    slots = ("momentum",)

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr)
        if not momentum >= 0.0 or not weight_decay >= 0.0:
            raise ValueError(f"SGD: momentum={momentum!r}, weight_decay={weight_decay!r}: must be >= 0")
        if nesterov and momentum == 0.0:
            raise ValueError("SGD: nesterov=True: needs momentum > 0")
        self.momentum = float(momentum)
        self.weight_decay = float(weight_decay)
        self.nesterov = bool(nesterov)

    def _update(self, value, grad, state):
        change = self._temporary(value.shape)
        if self.weight_decay:
            np.multiply(value, np.float32(self.weight_decay), out=change)
            change += grad
        else:
            change[...] = grad
        if self.momentum:
            velocity = state.get("momentum")
            if velocity is None:
                velocity = state["momentum"] = change.copy()
            else:
                velocity *= np.float32(self.momentum)
                velocity += change
            if self.nesterov:
                change += np.multiply(velocity, np.float32(self.momentum), out=self._temporary(value.shape, 1))
            else:
                change[...] = velocity
        change *= np.float32(self.lr)
        value -= change


class Adam(_Optimizer):
    """Adam, as torch.optim.Adam (Kingma and Ba, 2015); weight_decay is added to the gradient (L2).

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g**2; value -= lr / (1 - b1**t) * m / (sqrt(v / (1 - b2**t)) + eps).

    >>> from fastconv.layers import Parameter
    >>> weight = Parameter(np.ones(1, np.float32), grad=np.ones(1, np.float32))
    >>> Adam([weight], lr=0.5).step(); weight.value.tolist()
    [0.5]
    """

    slots = ("mean", "square")
    decoupled = False

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr)
        function = type(self).__name__
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"{function}: betas={betas!r}: must be two numbers in [0, 1)")
        if not eps >= 0.0 or not weight_decay >= 0.0:
            raise ValueError(f"{function}: eps={eps!r}, weight_decay={weight_decay!r}: must be >= 0")
        self.betas = tuple(map(float, betas))
        self.eps = float(eps)
        self.weight_decay = float(weight_decay)

    def _update(self, value, grad, state):
        scratch = self._temporary(value.shape)
        if "mean" not in state:
            state["mean"], state["square"] = np.zeros_like(value), np.zeros_like(value)
        mean, square = state["mean"], state["square"]
        first, second = self.betas
        if self.weight_decay and self.decoupled:
            value *= np.float32(1.0 - self.lr * self.weight_decay)
        elif self.weight_decay:
            decayed = np.multiply(value, np.float32(self.weight_decay), out=self._temporary(value.shape, 1))
            grad = np.add(decayed, grad, out=decayed)
        np.subtract(grad, mean, out=scratch)  # mean += (1 - b1) (g - mean)
        scratch *= np.float32(1.0 - first)
        mean += scratch
        np.multiply(grad, grad, out=scratch)
        scratch *= np.float32(1.0 - second)
        square *= np.float32(second)
        square += scratch
        step = state["step"]
        np.sqrt(square, out=scratch)
        scratch *= np.float32(1.0 / math.sqrt(1.0 - second**step))
        scratch += np.float32(self.eps)
        np.divide(mean, scratch, out=scratch)
        scratch *= np.float32(self.lr / (1.0 - first**step))
        value -= scratch


class AdamW(Adam):
    """Adam with decoupled weight decay, as torch.optim.AdamW (Loshchilov and Hutter, 2019).

    value *= 1 - lr * weight_decay, then Adam's update without it.

    >>> from fastconv.layers import Parameter
    >>> weight = Parameter(np.ones(1, np.float32), grad=np.ones(1, np.float32))
    >>> AdamW([weight], lr=0.5, weight_decay=0.0).step(); weight.value.tolist()
    [0.5]
    """

    decoupled = True

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)


def clip_grad_norm(parameters, max_norm):
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)); norm, their joint Euclidean norm, is returned.

    As torch.nn.utils.clip_grad_norm_, the norm summed in float64. Nothing is raised for a norm that is not finite: with
    an infinite one finite gradients become 0 and infinite ones NaN, with NaN all do; look at what is returned.

    >>> from fastconv.layers import Parameter
    >>> weight = Parameter(np.zeros(2, np.float32), grad=np.array([3, 4], np.float32))
    >>> clip_grad_norm([weight], 1.0), weight.grad.round(3).tolist() == np.array([0.6, 0.8], np.float32).tolist()
    (5.0, True)
    """
    if not max_norm >= 0.0:
        raise ValueError(f"clip_grad_norm: max_norm={max_norm!r}: must be >= 0")
    named = _named("clip_grad_norm", parameters)
    grads = [parameter.grad for parameter in named.values() if parameter.grad is not None]
    total = 0.0
    for grad in grads:
        # No dot product: it would wake the threads of NumPy's BLAS, which then spin beside ours for milliseconds.
        total += float(np.square(grad, dtype=np.float64).sum())
    norm = math.sqrt(total)
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1.0:  # NaN too
        with np.errstate(invalid="ignore"):
            for grad in grads:
                grad *= np.float32(scale)
    return norm


def clip_grad_value(parameters, clip_value):
    """Hold every element of all gradients within [-clip_value, clip_value]; NaN stays NaN.

    As torch.nn.utils.clip_grad_value_.

    >>> from fastconv.layers import Parameter
    >>> weight = Parameter(np.zeros(3, np.float32), grad=np.array([-3, 0.5, 4], np.float32))
    >>> clip_grad_value([weight], 1.0); weight.grad.tolist()
    [-1.0, 0.5, 1.0]
    """
    if not clip_value >= 0.0:
        raise ValueError(f"clip_grad_value: clip_value={clip_value!r}: must be >= 0")
    limit = np.float32(clip_value)
    for parameter in _named("clip_grad_value", parameters).values():
        if parameter.grad is not None:
            np.clip(parameter.grad, -limit, limit, out=parameter.grad)
