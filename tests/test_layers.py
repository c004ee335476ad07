"""Layers: closures, names, shared weights, errors with a path, containers."""

import copy
import threading

import numpy as np
import pytest
from checks import assert_equal, bits, reals

from fastconv import _native, layers, ops, runtime
from fastconv.layers import (
    LSTM,
    Concat,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    Linear,
    Parameter,
    Residual,
    Sequential,
)
from fastconv.testing import check_vjp


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


class Scale(Layer):
    """y = weight * x: a layer of a test, elementwise and exact on small integers."""

    def __init__(self, value):
        self.weight = Parameter(np.array([value], np.float32))

    def forward(self, x, *, training=True):
        weight = self.weight.value.copy()

        def backward(dy):
            self.weight.add_grad(np.array([np.sum(dy * x)], np.float32))
            return weight * dy

        return weight * x, backward


def test_parameter_owns_its_gradient(rng):
    weight, other = Parameter(np.zeros(3, np.float32)), Parameter(np.zeros(3, np.float32))
    shared = np.ones(3, np.float32)
    weight.add_grad(shared)
    other.add_grad(shared)
    weight.add_grad(shared)
    assert shared.tolist() == other.grad.tolist() == [1, 1, 1]
    assert weight.grad.tolist() == [2, 2, 2]
    weight.zero_grad()
    assert weight.grad is None
    with pytest.raises(ValueError, match=r"grad has shape \(1, 3\): must be \(3,\)"):
        weight.add_grad(np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match="value is float64: must be a NumPy array of float32"):
        Parameter(np.zeros(3))
    readonly = np.zeros(3, np.float32)
    readonly.flags.writeable = False
    assert Parameter(readonly).value.flags.writeable
    assert Parameter(np.zeros((2, 3), np.float32).T).value.flags.c_contiguous


def test_names_walk_attributes_lists_and_dicts():
    class Net(Layer):
        def __init__(self):
            self.first = Linear(2, 3, bias=False)
            self.blocks = [Linear(3, 3), (Linear(3, 1, bias=False),)]
            self.heads = {"left": Scale(1), "right": Sequential(Flatten(), Scale(2))}
            self.again = self.first
            self.gain = Parameter(np.ones(1, np.float32))
            self.owner = self  # a cycle
            self.note = "text"

    names = [
        "first.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.0.weight", "heads.left.weight",
        "heads.right.1.weight", "gain",
    ]  # fmt: skip
    net = Net()
    assert [name for name, _ in net.parameters()] == names
    assert sorted(net.state_dict()) == sorted([*names, "again.weight"])


def test_state_dict_copies_and_loads(rng):
    model = Sequential(Linear(3, 4, rng=1), layers.BatchNorm1d(4), Linear(4, 2, rng=2))
    state = model.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
        "2.weight", "2.bias",
    ]  # fmt: skip
    state["0.weight"][...] = 5.0
    state["1.running_mean"][...] = 6.0
    state["1.num_batches_tracked"][...] = 7
    assert not (model[0].weight.value == 5.0).any()
    weight = model[0].weight.value
    model.load_state_dict(state)
    assert (weight == 5.0).all() and weight is model[0].weight.value
    assert (model[1].running_mean == 6.0).all() and model[1].num_batches_tracked == 7
    state["0.weight"][...] = 8.0
    assert (weight == 5.0).all()
    assert [name for name, _ in model.buffers()] == [
        "1.running_mean", "1.running_var", "1.num_batches_tracked",
    ]  # fmt: skip


def test_load_state_dict_refuses_whole():
    model = Sequential(Linear(3, 4, rng=1), Linear(4, 2, rng=2))
    before = model.state_dict()
    good = {name: np.zeros_like(value) for name, value in before.items()}
    missing = dict(good)
    missing["extra"] = missing.pop("1.bias")
    with pytest.raises(ValueError, match="Sequential.load_state_dict: missing 1.bias; unexpected extra"):
        model.load_state_dict(missing)
    with pytest.raises(ValueError, match=r"1.bias has shape \(3,\): must be \(2,\)"):
        model.load_state_dict({**good, "1.bias": np.zeros(3, np.float32)})
    with pytest.raises(TypeError, match="1.bias has dtype float64: must be float32"):
        model.load_state_dict({**good, "1.bias": np.zeros(2)})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert model.load_state_dict(missing, strict=False) == (["1.bias"], ["extra"])
    np.testing.assert_array_equal(model[1].bias.value, before["1.bias"])
    assert not model[1].weight.value.any()


def test_a_shared_layer_loads_from_either_name():
    shared = Linear(2, 2, rng=0)
    model = Sequential(shared, shared)
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    model.load_state_dict({"1.weight": state["0.weight"] + 1, "0.bias": state["0.bias"]})
    np.testing.assert_array_equal(shared.weight.value, state["0.weight"] + 1)


def test_a_layer_used_twice_sums_its_gradients(rng):
    layer, twin = Linear(3, 3, rng=0), Linear(3, 3, rng=0)
    model, apart = Sequential(layer, layer), Sequential(Linear(3, 3, rng=0), twin)
    x, dy = rng.integers(-3, 4, (4, 3)).astype(np.float32), rng.integers(-3, 4, (4, 3)).astype(np.float32)
    (_, backward), (_, apart_backward) = model.forward(x), apart.forward(x)
    np.testing.assert_array_equal(backward(dy), apart_backward(dy))
    np.testing.assert_allclose(layer.weight.grad, apart[0].weight.grad + twin.weight.grad, rtol=1e-6)
    assert len(list(model.parameters())) == 2
    # Two forwards before two backwards, in any order.
    layer.zero_grad()
    steps = [layer.forward(k * x)[1] for k in (np.float32(1), np.float32(2))]
    for step in steps:
        step(dy)
    np.testing.assert_allclose(layer.weight.grad, 3 * dy.T @ x, rtol=1e-6)


def test_dropout(rng):
    x = normal(rng, 50, 40) + 5
    y, backward = Dropout(0.25, rng=3).forward(x)
    dropped = y == 0
    assert 0.2 < dropped.mean() < 0.3
    np.testing.assert_allclose(y[~dropped], x[~dropped] / 0.75, rtol=1e-6)
    dy = normal(rng, 50, 40)
    np.testing.assert_allclose(backward(dy), np.where(dropped, 0, dy / np.float32(0.75)), rtol=1e-6)
    np.testing.assert_array_equal(Dropout(0.25, rng=3).forward(x)[0], y)
    assert (Dropout(0.25, rng=4).forward(x)[0] != y).any()
    layer = Dropout(0.25)
    assert layer(x) is x and layer.forward(x, training=False)[0] is x
    assert not Dropout(1.0).forward(x)[0].any()
    np.testing.assert_array_equal(Dropout(0.0).forward(x)[0], x)
    images = np.ones((2, 3, 4, 5), np.float32).transpose(0, 3, 1, 2)
    assert Dropout(0.5).forward(images)[0].strides == images.strides
    with pytest.raises(ValueError, match=r"Dropout: p=1.5: must be in \[0, 1\]"):
        Dropout(1.5)


def test_flatten_is_in_the_order_of_the_shape(rng):
    x = normal(rng, 2, 4, 5, 3).transpose(0, 3, 1, 2)
    y, backward = Flatten().forward(x)
    np.testing.assert_array_equal(y, np.ascontiguousarray(x).reshape(2, 60))
    np.testing.assert_array_equal(backward(y), x)
    assert Flatten()(np.zeros((0, 2, 3), np.float32)).shape == (0, 6)
    with pytest.raises(ValueError, match="must have more than start_dim=1 axes"):
        Flatten()(np.zeros(3, np.float32))


def test_sequential_as_a_list():
    model = Sequential(Scale(1), Scale(2))
    assert model.append(Scale(3)) is model and len(model) == 3
    assert [layer.weight.value[0] for layer in model] == [1, 2, 3]
    assert model[-1] is model[2] and [name for name, _ in model[1:].parameters()] == ["0.weight", "1.weight"]
    named = Sequential({"first": Scale(1), "second": Scale(2)})
    assert named["second"] is named[1]
    assert [name for name, _ in named[1:].parameters()] == ["second.weight"]
    assert "(second): Scale()" in repr(named)
    x = np.ones(2, np.float32)
    assert Sequential()(x) is x
    with pytest.raises(TypeError, match="Sequential: 3: must be a Layer"):
        Sequential(3)
    with pytest.raises(ValueError, match="hold a dot"):
        Sequential({"a.b": Scale(1)})


def test_residual_and_concat_gradients(rng):
    x = rng.integers(-3, 4, (2, 3)).astype(np.float32)
    dy = rng.integers(-3, 4, (2, 3)).astype(np.float32)
    y, backward = Residual(Scale(2)).forward(x)
    np.testing.assert_array_equal(y, 3 * x)
    np.testing.assert_array_equal(backward(dy), 3 * dy)
    both = Residual(Scale(2), Scale(5))
    y, backward = both.forward(x)
    np.testing.assert_array_equal(y, 7 * x)
    np.testing.assert_array_equal(both(x), y)
    np.testing.assert_array_equal(backward(dy), 7 * dy)
    assert both.branch.weight.grad == both.shortcut.weight.grad == np.sum(dy * x)
    for shape in ((2, 3), (2, 3, 2, 2)):
        x = rng.integers(-3, 4, shape).astype(np.float32)
        concat = Concat(Scale(1), Scale(2), Scale(3))
        y, backward = concat.forward(x)
        np.testing.assert_array_equal(y, np.concatenate([x, 2 * x, 3 * x], axis=1))
        np.testing.assert_array_equal(concat(x), y)
        np.testing.assert_array_equal(backward(y), 14 * x)
    images = rng.integers(-3, 4, (2, 4, 3, 5)).astype(np.float32).transpose(0, 3, 1, 2)
    y, backward = Residual(Scale(2)).forward(images)
    np.testing.assert_array_equal(y, 3 * images)
    np.testing.assert_array_equal(backward(images), 3 * images)
    assert y.strides == images.strides
    with pytest.raises(ValueError, match="must agree except along axis 0"):
        Concat(Linear(3, 2), Linear(3, 4), axis=0)(normal(rng, 2, 3))
    with pytest.raises(ValueError, match=r"branch gives shape \(2, 2\) and shortcut \(2, 3\): must be equal"):
        Residual(Linear(3, 2))(normal(rng, 2, 3))


def test_errors_say_where():
    model = Sequential({"features": Sequential(Flatten(), Linear(4, 3), Residual(Linear(3, 3)), Linear(2, 2))})
    x = np.zeros((2, 4), np.float32)
    for run in (model, model.forward, lambda x: model.summary(x)):
        with pytest.raises(ValueError, match=r"^features\.3 \(Linear\): linear: x has shape \(2, 3\)"):
            run(x)
        with pytest.raises(TypeError, match=r"^features\.1 \(Linear\): linear: x has dtype float64"):
            run(np.zeros((2, 4)))
    inner = Sequential(Residual(Sequential(Linear(4, 3), Linear(4, 4))))
    with pytest.raises(ValueError, match=r"^0\.branch\.1 \(Linear\): linear: "):
        inner(x)
    _, backward = Sequential(Linear(4, 3)).forward(x)
    with pytest.raises(ValueError, match=r"^0 \(Linear\): linear_backward"):
        backward(np.zeros((3, 3), np.float32))


def test_input_grad_false_skips_the_gradient(rng):
    x = normal(rng, 2, 3, 5, 5)
    layer, full = Conv2d(3, 4, 3, rng=0, input_grad=False), Conv2d(3, 4, 3, rng=0)
    (y, backward), (_, full_backward) = layer.forward(x), full.forward(x)
    assert backward(y) is None and full_backward(y).shape == x.shape
    np.testing.assert_array_equal(layer.weight.grad, full.weight.grad)
    y, backward = layers.ConvTranspose1d(3, 2, 2, input_grad=False).forward(x[:, :, 0])
    assert backward(y) is None
    before = Linear(3, 3)
    model = Sequential(before, Linear(3, 2, input_grad=False))
    y, backward = model.forward(normal(rng, 2, 3))
    assert backward(y) is None and before.weight.grad is None and model[1].weight.grad is not None
    ids = np.array([[0, 1]])
    y, backward = Embedding(3, 2).forward(ids)
    assert backward(y) is None


GRADIENTS = [
    (Linear(4, 3, rng=0), (5, 4)),
    (Conv2d(4, 3, (2, 1), padding=1, rng=0), (2, 4, 3, 5)),
    (Conv2d(4, 3, 3, padding="same", padding_mode="reflect", rng=0), (2, 4, 4, 5)),
    (Conv2d(4, 2, 3, padding=(2, 1), stride=2, padding_mode="circular", groups=2, rng=0), (2, 4, 4, 5)),
    (layers.Conv1d(4, 3, 3, stride=2, padding=1, rng=0), (2, 4, 9)),
    (layers.Conv1d(4, 3, 4, padding=(3, 0), padding_mode="replicate", rng=0), (2, 4, 6)),
    (layers.Conv3d(2, 3, 3, padding=1, stride=(2, 1, 1), rng=0), (1, 2, 4, 4, 5)),
    (layers.Conv3d(2, 3, 2, padding="same", padding_mode="reflect", rng=0), (1, 2, 3, 4, 3)),
    (layers.ConvTranspose1d(4, 3, 4, stride=2, padding=1, rng=0), (2, 4, 5)),
    (layers.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2, rng=0), (2, 4, 3, 4)),
    (layers.ConvTranspose3d(2, 3, 2, stride=2, rng=0), (1, 2, 2, 3, 2)),
    (layers.ReflectionPad2d((1, 2, 0, 2)), (2, 3, 4, 5)),
    (layers.ReplicationPad1d((3, 1)), (2, 3, 4)),
    (layers.CircularPad3d(1), (1, 2, 3, 2, 3)),
]


@pytest.mark.parametrize(
    ("layer", "shape"), GRADIENTS, ids=[f"{type(layer).__name__}{i}" for i, (layer, _) in enumerate(GRADIENTS)]
)
def test_gradients_by_differences(layer, shape, isa, rng):
    x = normal(rng, *shape)
    _, backward = layer.forward(x)
    assert check_vjp(layer, backward, x, rng) < 1e-2
    if not list(layer.parameters()):
        return
    weight = layer.weight.value.copy()

    def by_weight(value):
        layer.weight.value[...] = value
        y = layer(x)
        layer.weight.value[...] = weight
        return y

    def weight_gradient(dy):
        layer.zero_grad()
        backward(dy)
        return layer.weight.grad

    assert check_vjp(by_weight, weight_gradient, weight, rng) < 1e-2


def test_summary_counts_shared_parameters_once():
    shared = Linear(4, 4)
    text = Sequential({"body": Sequential(shared, shared), "skip": Residual(Flatten()), "out": Linear(4, 2)}).summary(
        (3, 4)
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["body.0", "(Linear)", "(3,", "4)", "20"] in lines and ["body.1", "(Linear)", "(3,", "4)", "0"] in lines
    assert ["out", "(Linear)", "(3,", "2)", "10"] in lines and lines[-1] == ["total", "30"]
    assert LSTM(3, 4).summary((5, 2, 3)).splitlines()[1].split() == ["LSTM", "(5,", "2,", "4)", "144"]


def test_a_model_copies(rng):
    model = Sequential(Linear(3, 2, rng=0), Dropout(0.5, rng=1))
    twin = copy.deepcopy(model)
    twin[0].weight.value[...] = 0
    assert model[0].weight.value.any() and not twin[0].weight.value.any()


def test_inference_from_threads(rng):
    model = Sequential(Linear(16, 16, rng=0), Residual(Linear(16, 16, rng=1)))
    inputs = [normal(rng, 8, 16) for _ in range(8)]
    expected = [model(x) for x in inputs]
    results = [None] * len(inputs)

    def work(index):
        for _ in range(20):
            results[index] = model(inputs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, right in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, right)


# ----------------------------------------------------------------------------------------------------------- frozen


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_a_frozen_convolution_keeps_its_weights_and_fuses_the_rest(padding_mode, rng):
    layer = layers.Conv2d(17, 20, 3, padding=1, padding_mode=padding_mode, rng=rng)
    frozen = layer.freeze(("leaky_relu", 0.2))
    for shape in ((2, 17, 9, 7), (1, 17, 30, 31)):
        x = reals(rng, shape)
        residual = reals(rng, (shape[0], 20, *shape[2:]))
        expected = ops.leaky_relu(layer(x) + residual, 0.2)
        np.testing.assert_allclose(frozen(x, residual), expected, rtol=0, atol=2e-5)
        np.testing.assert_allclose(frozen.forward(x, training=False)[0], ops.leaky_relu(layer(x), 0.2), atol=2e-5)
    before = bits(frozen(x))
    layer.weight.value[...] = 0
    layer.bias.value[...] = 0
    assert bits(frozen(x)) == before
    for isa in _native.ISAS_DETECTED:
        with runtime.options(isa=isa, num_threads=2):
            np.testing.assert_allclose(frozen(x, residual), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "activation",
    ["mish", "selu", ("celu", 0.5), "softsign", ("hardtanh", -0.5, 0.25), "logsigmoid", ("threshold", 0.1, 3)],
)
@pytest.mark.parametrize("named", [{}, {"groups": 8}, {"kernel_size": 1}, {"stride": 2}], ids=str)
def test_a_frozen_convolution_fuses_every_activation(activation, named, isa, rng):
    """The same bits as the layer and the activation one after the other."""
    layer = layers.Conv2d(8, 16, **{"kernel_size": 3, "rng": rng, **named})
    kind, *parameters = (activation,) if isinstance(activation, str) else activation
    x = reals(rng, (2, 8, 13, 11))
    plain, frozen = layer.freeze(), layer.freeze(activation)
    residual = reals(rng, plain(x).shape)
    assert_equal(frozen(x), getattr(ops, kind)(plain(x), *parameters))
    assert_equal(frozen(x, residual), getattr(ops, kind)(plain(x, residual), *parameters))


def test_a_frozen_convolution_is_for_inference(rng):
    frozen = layers.Conv2d(3, 4, 3, rng=rng).freeze()
    x = reals(rng, (1, 3, 5, 5))
    assert list(frozen.parameters()) == []
    with pytest.raises(ValueError, match="FrozenConv2d: training=True"):
        frozen.forward(x)
    with pytest.raises(ValueError, match="FrozenConv2d: backward"):
        frozen.forward(x, training=False)[1](x)
    with pytest.raises(TypeError, match="float32"):
        frozen(x.astype(np.float64))
    with pytest.raises(ValueError, match="residual"):
        frozen(x, residual=x)
    with pytest.raises(ValueError, match="activation"):
        layers.Conv2d(3, 4, 3, rng=rng).freeze("nothing")
