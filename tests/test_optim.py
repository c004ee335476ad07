"""Optimisers against their float64 definitions; state; clipping."""

import numpy as np
import pytest
import reference

from fastconv import io, layers, optim
from fastconv.layers import Parameter

CASES = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"lr": 0.01}),
    (optim.Adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.01, "weight_decay": 0.2}),
]


def grads_of(rng, steps, shape):
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(steps)]


def run(optimiser, parameter, grads):
    for grad in grads:
        optimiser.zero_grad()
        parameter.add_grad(grad)
        optimiser.step()


@pytest.mark.parametrize("kind, named", CASES)
def test_updates(kind, named, rng):
    start, grads = rng.standard_normal((5, 7)).astype(np.float32), grads_of(rng, 8, (5, 7))
    parameter = Parameter(start.copy())
    value = parameter.value
    run(kind([parameter], **named), parameter, grads)
    if kind is optim.SGD:
        expected = reference.sgd(start, grads, **named)
    else:
        expected = reference.adam(start, grads, **named, decoupled=kind is optim.AdamW)
    np.testing.assert_allclose(parameter.value, expected, atol=3e-6)
    assert parameter.value is value and np.abs(expected - start).max() > 1e-2
    np.testing.assert_array_equal(parameter.grad, grads[-1])  # the gradient itself is left alone


@pytest.mark.parametrize("kind, named", CASES)
def test_state_continues_after_a_file(kind, named, rng, tmp_path):
    model = layers.Sequential(layers.Linear(3, 2, rng=0), layers.Linear(2, 2, rng=1))
    grads = [{name: rng.standard_normal(p.shape).astype(np.float32) for name, p in model.parameters()} for _ in "12345"]

    def steps(optimiser, model, grads):
        for step in grads:
            optimiser.zero_grad()
            for name, parameter in model.parameters():
                parameter.add_grad(step[name])
            optimiser.step()

    optimiser = kind(model.parameters(), **named)
    steps(optimiser, model, grads[:3])
    optimiser.lr = 0.03
    io.save(tmp_path / "model.npz", model)
    io.save(tmp_path / "optimiser.npz", optimiser)
    steps(optimiser, model, grads[3:])
    again = layers.Sequential(layers.Linear(3, 2), layers.Linear(2, 2))
    again.load_state_dict(io.load(tmp_path / "model.npz"))
    resumed = kind(again.parameters(), **named)
    resumed.load_state_dict(io.load(tmp_path / "optimiser.npz"))
    assert resumed.lr == 0.03 and resumed.steps == 3
    steps(resumed, again, grads[3:])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value)


def test_bad_state():
    parameter = Parameter(np.ones(2, np.float32))
    optimiser = optim.Adam([("weight", parameter)])
    parameter.add_grad(np.ones(2, np.float32))
    optimiser.step()
    good = optimiser.state_dict()
    for change, message in (
        ({"mean.bias": good["mean.weight"]}, "unexpected mean.bias"),
        ({"other.weight": good["mean.weight"]}, "unexpected other.weight"),
        ({"mean.weight": np.ones(3, np.float32)}, r"mean.weight is float32 of shape \(3,\): must be float32 of \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            optimiser.load_state_dict({**good, **change})
    with pytest.raises(ValueError, match="missing lr"):
        optimiser.load_state_dict({name: value for name, value in good.items() if name != "lr"})


def test_parameters_without_gradient_are_left_alone(rng):
    used, unused = Parameter(np.ones(3, np.float32)), Parameter(np.ones((2, 2), np.float32))
    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        optimiser = kind([used, unused], lr=0.1, weight_decay=0.1)
        optimiser.zero_grad()
        used.add_grad(np.ones(3, np.float32))
        optimiser.step()
        assert (unused.value == 1).all() and (used.value < 1).all()


def test_the_learning_rate_can_change():
    parameter = Parameter(np.zeros(1, np.float32))
    optimiser = optim.SGD([parameter], lr=1.0)
    run(optimiser, parameter, [np.ones(1, np.float32)])
    optimiser.lr = 0.25
    run(optimiser, parameter, [np.ones(1, np.float32)])
    assert parameter.value[0] == -1.25


def test_clip_grad_norm():
    first = Parameter(np.zeros(2, np.float32), grad=np.array([3, 0], np.float32))
    second, none = Parameter(np.zeros((), np.float32), grad=np.array(4, np.float32)), Parameter(np.zeros(2, np.float32))
    assert optim.clip_grad_norm([first, second, none], 10.0) == 5.0
    assert first.grad.tolist() == [3, 0]
    assert optim.clip_grad_norm(iter([("first", first), ("second", second)]), 1.0) == 5.0
    np.testing.assert_allclose([first.grad[0], second.grad], [0.6, 0.8], rtol=1e-6)
    zero = Parameter(np.zeros(2, np.float32), grad=np.zeros(2, np.float32))
    assert optim.clip_grad_norm([zero], 1.0) == 0.0 and not zero.grad.any()
    huge = Parameter(np.zeros(2, np.float32), grad=np.full(2, 1e30, np.float32))  # squares overflow float32
    np.testing.assert_allclose(optim.clip_grad_norm([huge], 1.0), 2**0.5 * 1e30, rtol=1e-6)
    np.testing.assert_allclose(huge.grad, 2**-0.5, rtol=1e-6)
    assert optim.clip_grad_norm([none], 1.0) == 0.0


def test_clip_grad_value():
    first = Parameter(np.zeros(6, np.float32), grad=np.array([-np.inf, -3, -0.0, 0.5, 2, np.nan], np.float32))
    second, none = Parameter(np.zeros((), np.float32), grad=np.array(4, np.float32)), Parameter(np.zeros(2, np.float32))
    grad = first.grad
    assert optim.clip_grad_value(iter([("first", first), ("second", second), ("none", none)]), 2) is None
    np.testing.assert_array_equal(first.grad, [-2, -2, -0.0, 0.5, 2, np.nan])
    assert first.grad is grad and np.signbit(grad[2]) and second.grad == 2 and none.grad is None
    optim.clip_grad_value([first], np.inf)
    np.testing.assert_array_equal(first.grad, [-2, -2, 0, 0.5, 2, np.nan])
    optim.clip_grad_value([second], 0.0)
    assert second.grad == 0


def test_clip_grad_value_is_that_of_torch(rng):
    torch = pytest.importorskip("torch")
    gradient = rng.standard_normal((7, 5)).astype(np.float32)
    ours, theirs = Parameter(np.zeros((7, 5), np.float32), grad=gradient), torch.zeros(7, 5, requires_grad=True)
    theirs.grad = torch.from_numpy(gradient.copy())
    optim.clip_grad_value([ours], 0.7)
    torch.nn.utils.clip_grad_value_([theirs], 0.7)
    np.testing.assert_array_equal(ours.grad, theirs.grad.numpy())


def test_bad_arguments():
    parameter = Parameter(np.zeros(1, np.float32))
    for call, kind, message in (
        (lambda: optim.SGD([parameter], lr=-1), ValueError, "SGD: lr=-1: must be >= 0"),
        (lambda: optim.SGD([parameter], lr=1, nesterov=True), ValueError, "nesterov=True: needs momentum"),
        (lambda: optim.Adam([parameter], betas=(0.9, 1.0)), ValueError, r"Adam: betas=\(0.9, 1.0\)"),
        (lambda: optim.Adam([]), ValueError, "Adam: parameters is empty"),
        (lambda: optim.Adam([np.zeros(1)]), TypeError, "parameters holds ndarray: must be Parameter"),
        (lambda: optim.AdamW([parameter, parameter]), ValueError, "parameters holds 1 twice"),
        (lambda: optim.clip_grad_norm([parameter], -1.0), ValueError, "max_norm=-1.0: must be >= 0"),
        (lambda: optim.clip_grad_value([parameter], -1.0), ValueError, "clip_value=-1.0: must be >= 0"),
        (lambda: optim.clip_grad_value([parameter], np.nan), ValueError, "clip_value=nan: must be >= 0"),
        (lambda: optim.clip_grad_value([1.0], 1.0), TypeError, "parameters holds float: must be Parameter"),
    ):
        with pytest.raises(kind, match=message):
            call()
