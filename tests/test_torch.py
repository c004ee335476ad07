"""Layers, losses and optimisers against PyTorch, from its own state dicts."""

import numpy as np
import pytest

from fastconv import layers, losses, optim
from fastconv.layers import LSTMState

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def close(got, expected, tolerance=2e-5):
    """Equal within `tolerance` of the largest value expected."""
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max(initial=0)))


def adopt(ours, theirs):
    """Load the state dict of `theirs`, its parameters made random so that no zero or one hides an error."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if tensor.dtype == torch.float32:
                tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.uniform_(-0.6, 0.6)
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours


def same_gradients(ours, theirs):
    expected = dict(theirs.named_parameters())
    got = dict(ours.parameters())
    assert got.keys() == expected.keys()
    for name, parameter in got.items():
        close(parameter.grad, expected[name].grad)


def compare(ours, theirs, x, training=True):
    """Outputs, gradients and buffers agree on x."""
    adopt(ours, theirs)
    theirs.train(training)
    their_x = torch.from_numpy(x).clone().requires_grad_(x.dtype == np.float32)
    expected = theirs(their_x)
    y, backward = ours.forward(x, training=training)
    close(y, expected)
    dy = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    expected.backward(torch.from_numpy(dy))
    dx = backward(dy)
    if x.dtype == np.float32:
        close(dx, their_x.grad)
    same_gradients(ours, theirs)
    for name, buffer in ours.buffers():
        close(buffer, dict(theirs.named_buffers())[name])
    theirs.eval()
    close(ours(x), theirs(torch.from_numpy(x)))


def images(*shape, nhwc=False):
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    return x if not nhwc else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize(
    "named",
    [
        {"kernel_size": 3},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
        {"kernel_size": 3, "dilation": 2, "padding": "same"},
        {"kernel_size": 3, "groups": 2, "bias": False},
        {"kernel_size": 1},
    ],
)
def test_conv2d(named, nhwc):
    compare(layers.Conv2d(4, 6, **named), nn.Conv2d(4, 6, **named), images(2, 4, 9, 7, nhwc=nhwc))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("kind, shape", [("Conv1d", (2, 4, 9)), ("Conv2d", (2, 4, 7, 8)), ("Conv3d", (1, 4, 4, 6, 5))])
def test_padding_modes(kind, shape, mode):
    for named in ({"padding": 2, "stride": 2}, {"padding": "same", "dilation": 2}):
        named = {"kernel_size": 2, "padding_mode": mode, "groups": 2, **named}
        compare(getattr(layers, kind)(4, 6, **named), getattr(nn, kind)(4, 6, **named), images(*shape))


@pytest.mark.parametrize(
    "named",
    [
        {"kernel_size": 3},
        {"kernel_size": 5, "stride": 2, "padding": 2},
        {"kernel_size": 4, "dilation": 2, "padding": "same", "groups": 2},
        {"kernel_size": 3, "groups": 4, "bias": False},
    ],
)
@pytest.mark.parametrize("kind, shape", [("Conv1d", (2, 4, 17)), ("Conv3d", (2, 4, 8, 9, 7))])
def test_conv1d_and_conv3d(kind, shape, named):
    compare(getattr(layers, kind)(4, 4, **named), getattr(nn, kind)(4, 4, **named), images(*shape))


@pytest.mark.parametrize(
    "named",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 3, "dilation": 2, "output_padding": 1, "groups": 2, "bias": False},
        {"kernel_size": 1, "stride": 3, "output_padding": 2},
        {"kernel_size": 4, "stride": 2, "padding": 1, "groups": 4},
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_transpose(rank, named):
    shape = (2, 4, 5, 6, 4)[: 2 + rank]
    kind = f"ConvTranspose{rank}d"
    compare(getattr(layers, kind)(4, 8, **named), getattr(nn, kind)(4, 8, **named), images(*shape))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
def test_borders(kind, rank):
    name, x = f"{kind}{rank}d", images(*(2, 3, 5, 4, 6)[: 2 + rank])
    more = (0.5,) if kind == "ConstantPad" else ()
    for padding in (2, (1, 2, 0, 3, 2, 1)[: 2 * rank]):
        compare(getattr(layers, name)(padding, *more), getattr(nn, name)(padding, *more), x)


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("Upsample", {"scale_factor": 2}),
        ("Upsample", {"size": (11, 5), "mode": "nearest-exact"}),
        ("Upsample", {"scale_factor": (1.5, 2.5), "mode": "bilinear"}),
        ("Upsample", {"size": 13, "mode": "bicubic", "align_corners": True}),
        ("UpsamplingNearest2d", {"size": (3, 17)}),
        ("UpsamplingBilinear2d", {"scale_factor": 3}),
        ("PixelShuffle", {"upscale_factor": 2}),
        ("PixelUnshuffle", {"downscale_factor": 3}),
        ("Unfold", {"kernel_size": 3}),
        ("Unfold", {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)}),
    ],
)
def test_resampling_and_rearrangement(name, arguments, nhwc):
    compare(getattr(layers, name)(**arguments), getattr(nn, name)(**arguments), images(2, 8, 6, 9, nhwc=nhwc))


def test_linear_upsampling():
    for arguments in ({"scale_factor": 2.3, "mode": "linear"}, {"size": 4, "mode": "linear", "align_corners": True}):
        compare(layers.Upsample(**arguments), nn.Upsample(**arguments), images(2, 5, 9))


def test_channel_shuffle():
    # PyTorch's layer has no gradient on CPUs: through the tensors of the definition.
    x = images(2, 12, 3, 4)
    y, backward = layers.ChannelShuffle(3).forward(x)
    close(y, nn.ChannelShuffle(3)(torch.from_numpy(x)), 0)
    close(backward(y), x, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"output_size": (6, 5), "kernel_size": 2},
        {"output_size": (6, 8), "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
    ],
)
def test_fold(arguments):
    geometry = {name: value for name, value in arguments.items() if name != "output_size"}
    columns = nn.Unfold(**geometry)(torch.from_numpy(images(2, 5, *arguments["output_size"]))).numpy()
    compare(layers.Fold(**arguments), nn.Fold(**arguments), columns)


def test_shapes_and_nothing():
    for dim, sizes in ((1, (2, 3)), (-1, (2, -1)), (2, (5,))):
        compare(layers.Unflatten(dim, sizes), nn.Unflatten(dim, sizes), images(4, 6, 5, 8))
    compare(layers.Identity(), nn.Identity(), images(4, 6))


def test_conv2d_depthwise():
    compare(layers.Conv2d(6, 6, 3, groups=6, padding=1), nn.Conv2d(6, 6, 3, groups=6, padding=1), images(2, 6, 8, 5))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("MaxPool2d", {"kernel_size": 2}),
        ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ("MaxPool2d", {"kernel_size": (2, 3), "stride": 1, "dilation": 2}),
        ("AvgPool2d", {"kernel_size": 2}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("AvgPool2d", {"kernel_size": (2, 3), "stride": 1, "padding": (1, 1), "ceil_mode": True}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 1, "padding": 1, "divisor_override": 7}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 2, "divisor_override": 5, "ceil_mode": True}),
        ("MaxPool2d", {"kernel_size": 5, "stride": 1, "padding": 2}),
        ("AvgPool2d", {"kernel_size": 5, "stride": 1, "padding": 2, "count_include_pad": False}),
        ("AdaptiveAvgPool2d", {"output_size": 4}),
        ("AdaptiveAvgPool2d", {"output_size": (None, 11)}),
        ("AdaptiveMaxPool2d", {"output_size": (3, 4)}),
        ("AdaptiveMaxPool2d", {"output_size": (10, None)}),
        ("LPPool2d", {"norm_type": 1, "kernel_size": 3}),
        ("LPPool2d", {"norm_type": 2, "kernel_size": (3, 2), "stride": 2, "ceil_mode": True}),
        ("LPPool2d", {"norm_type": 4, "kernel_size": 2, "stride": 1}),
    ],
)
def test_pooling(name, arguments):
    compare(getattr(layers, name)(**arguments), getattr(nn, name)(**arguments), images(2, 5, 9, 8))


def test_global_avg_pool2d():
    compare(layers.GlobalAvgPool2d(), nn.AdaptiveAvgPool2d(1), images(2, 5, 7, 6))


def test_global_max_pool2d():
    compare(layers.GlobalMaxPool2d(), nn.AdaptiveMaxPool2d(1), images(2, 5, 7, 6))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("MaxPool1d", {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("MaxPool1d", {"kernel_size": 2, "dilation": 2, "stride": 1, "ceil_mode": True}),
        ("AvgPool1d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("AvgPool1d", {"kernel_size": 2, "ceil_mode": True}),
        ("AdaptiveAvgPool1d", {"output_size": 4}),
    ],
)
def test_pooling_of_sequences(name, arguments):
    compare(getattr(layers, name)(**arguments), getattr(nn, name)(**arguments), images(2, 5, 9))


@pytest.mark.parametrize("geometry, size", [((2,), (8, 6)), ((2,), (9, 7)), ((3, 2, 1), (9, 7))])
def test_max_unpool2d(geometry, size):
    """Windows that overlap may choose one position twice: PyTorch's result is any of them, here of equal values."""
    x = images(2, 5, *size)
    theirs = torch.from_numpy(x)
    y, indices = nn.functional.max_pool2d(theirs, *geometry, return_indices=True)
    y.requires_grad_()
    expected = nn.MaxUnpool2d(*geometry)(y, indices, output_size=size)
    names = dict(zip(("kernel_size", "stride", "padding"), geometry, strict=False))
    layer = layers.MaxUnpool2d(names.pop("kernel_size"), **names)
    mine, backward = layer.forward(y.detach().numpy(), indices.numpy().astype(np.int32), size)
    assert np.array_equal(mine, expected.detach().numpy())
    dy = images(*expected.shape)
    expected.backward(torch.from_numpy(dy))
    assert np.array_equal(backward(dy), y.grad.numpy())
    assert np.array_equal(layer(y.detach().numpy(), indices.numpy().astype(np.int32), size), mine)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
def test_linear(shape):
    compare(layers.Linear(4, 7), nn.Linear(4, 7), images(*shape))
    compare(layers.Linear(4, 7, bias=False), nn.Linear(4, 7, bias=False), images(*shape))


@pytest.mark.parametrize("start_dim", [0, 1, 2])
def test_flatten(start_dim):
    compare(layers.Flatten(start_dim), nn.Flatten(start_dim), images(2, 3, 4, 5, nhwc=True))


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (layers.ReLU(), nn.ReLU()),
        (layers.ReLU6(), nn.ReLU6()),
        (layers.LeakyReLU(0.2), nn.LeakyReLU(0.2)),
        (layers.ELU(0.7), nn.ELU(0.7)),
        (layers.Sigmoid(), nn.Sigmoid()),
        (layers.Tanh(), nn.Tanh()),
        (layers.GELU(), nn.GELU()),
        (layers.GELU("tanh"), nn.GELU("tanh")),
        (layers.SiLU(), nn.SiLU()),
        (layers.Hardswish(), nn.Hardswish()),
        (layers.Hardsigmoid(), nn.Hardsigmoid()),
        (layers.Softplus(2.0, 3.0), nn.Softplus(2.0, 3.0)),
        (layers.Mish(), nn.Mish()),
        (layers.SELU(), nn.SELU()),
        (layers.CELU(0.7), nn.CELU(0.7)),
        (layers.Softsign(), nn.Softsign()),
        (layers.Hardtanh(), nn.Hardtanh()),
        (layers.Hardtanh(-0.5, 3), nn.Hardtanh(-0.5, 3)),
        (layers.LogSigmoid(), nn.LogSigmoid()),
        (layers.Threshold(0.3, -2.0), nn.Threshold(0.3, -2.0)),
        (layers.PReLU(), nn.PReLU()),
        (layers.PReLU(5), nn.PReLU(5)),
        (layers.GLU(), nn.GLU()),
        (layers.GLU(2), nn.GLU(2)),
        (layers.Softmax(1), nn.Softmax(1)),
        (layers.LogSoftmax(), nn.LogSoftmax(-1)),
    ],
    ids=lambda layer: type(layer).__name__ if isinstance(layer, layers.Layer) else "",
)
def test_activations(ours, theirs):
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))
    compare(ours, theirs, 4 * images(3, 5, 4, 6))
    compare(ours, theirs, 4 * images(3, 5, 4, 6, nhwc=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm(training, momentum):
    for ours, theirs, shape in (
        (layers.BatchNorm2d, nn.BatchNorm2d, (4, 5, 3, 2)),
        (layers.BatchNorm1d, nn.BatchNorm1d, (6, 5)),
        (layers.BatchNorm1d, nn.BatchNorm1d, (4, 5, 3)),
    ):
        compare(ours(5, momentum=momentum), theirs(5, momentum=momentum), 3 + 2 * images(*shape), training)
        compare(ours(5, affine=False), theirs(5, affine=False), images(*shape), training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}], ids=str
)
def test_norms_of_any_rank(training, options):
    for name, shape in (
        ("BatchNorm1d", (4, 5, 3)),
        ("BatchNorm2d", (4, 5, 3, 2)),
        ("BatchNorm3d", (3, 5, 3, 2, 4)),
        ("InstanceNorm1d", (4, 5, 7)),
        ("InstanceNorm2d", (4, 5, 3, 2)),
        ("InstanceNorm3d", (3, 5, 3, 2, 4)),
    ):
        for more in ({}, {"affine": True}, {"affine": True, "track_running_stats": True, "eps": 1e-3}):
            given = more | options
            ours, theirs = getattr(layers, name)(5, **given), getattr(nn, name)(5, **given)
            compare(ours, theirs, 3 + 2 * images(*shape), training)
            assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.GroupNorm(3, 6), nn.GroupNorm(3, 6)),
        (layers.GroupNorm(1, 6, eps=1e-2), nn.GroupNorm(1, 6, eps=1e-2)),
        (layers.GroupNorm(6, 6, affine=False), nn.GroupNorm(6, 6, affine=False)),
        (layers.LayerNorm(5), nn.LayerNorm(5)),
        (layers.LayerNorm((4, 5), eps=1e-2), nn.LayerNorm((4, 5), eps=1e-2)),
        (layers.LayerNorm([5], bias=False), nn.LayerNorm([5], bias=False)),
        (layers.LayerNorm(5, elementwise_affine=False), nn.LayerNorm(5, elementwise_affine=False)),
        (layers.RMSNorm(5), nn.RMSNorm(5)),
        (layers.RMSNorm((4, 5), eps=1e-2), nn.RMSNorm((4, 5), eps=1e-2)),
        (layers.RMSNorm(5, elementwise_affine=False), nn.RMSNorm(5, elementwise_affine=False)),
        (layers.LocalResponseNorm(5), nn.LocalResponseNorm(5)),
        (layers.LocalResponseNorm(2, alpha=0.5, beta=0.6, k=2.0), nn.LocalResponseNorm(2, alpha=0.5, beta=0.6, k=2.0)),
    ],
    ids=lambda layer: repr(layer) if isinstance(layer, layers.Layer) else "",
)
@pytest.mark.parametrize("nhwc", [False, True])
def test_norms(ours, theirs, nhwc):
    for training in (True, False):
        ours.zero_grad()
        theirs.zero_grad()
        compare(ours, theirs, 1 + 2 * images(3, 6, 4, 5, nhwc=nhwc), training)


def test_embedding():
    ids = np.array([[1, 2, 2], [0, 3, 6]])
    compare(layers.Embedding(7, 3), nn.Embedding(7, 3), ids)
    compare(layers.Embedding(7, 3, padding_idx=2), nn.Embedding(7, 3, padding_idx=2), ids)


def tensors(state, grad=True):
    parts = state if isinstance(state, tuple) else (state,)
    found = tuple(torch.from_numpy(part).clone().requires_grad_(grad) for part in parts)
    return found if isinstance(state, tuple) else found[0]


def check_states(kind, ours, theirs, x, shape):
    """Values and gradients with states going in and out."""
    rng = np.random.default_rng(11)
    make = lambda: rng.standard_normal(shape).astype(np.float32)
    state = LSTMState(make(), make()) if kind.startswith("LSTM") else make()
    adopt(ours, theirs)
    their_x, their_state = torch.from_numpy(x).clone().requires_grad_(), tensors(state)
    result = theirs(their_x, their_state)
    (y, last), backward = ours.forward(x, state)
    if kind.endswith("Cell"):
        expected, their_last = (result[0], result) if kind == "LSTMCell" else (result, result)
    else:
        expected, their_last = result
    close(y, expected)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dlast = LSTMState(make(), make()) if isinstance(state, tuple) else make()
    objective = (expected * torch.from_numpy(dy)).sum()
    pairs = zip(their_last, last, dlast) if isinstance(state, tuple) else [(their_last, last, dlast)]  # noqa: B905
    for their_part, part, dpart in pairs:
        close(part, their_part)
        objective = objective + (their_part * torch.from_numpy(dpart)).sum()
    objective.backward()
    dx, dstate = backward(dy, dlast)
    close(dx, their_x.grad)
    for got, source in zip(dstate, their_state) if isinstance(state, tuple) else [(dstate, their_state)]:  # noqa: B905
        close(got, source.grad)
    same_gradients(ours, theirs)
    (inferred, inferred_state), (again, _) = ours(x, state), ours(x)
    close(inferred, y, 1e-6)
    if isinstance(state, tuple):
        assert isinstance(inferred_state, LSTMState) and isinstance(dstate, LSTMState)
    zero = theirs(torch.from_numpy(x))
    close(again, zero[0] if isinstance(zero, tuple) else zero)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "named",
    [
        {},
        {"num_layers": 2, "bias": False},
        {"num_layers": 2, "bidirectional": True},
        {"bidirectional": True, "batch_first": True},
    ],
)
def test_recurrent(kind, named):
    x = images(4, 7, 3) if named.get("batch_first") else images(7, 4, 3)
    shape = (named.get("num_layers", 1) * (2 if named.get("bidirectional") else 1), 4, 5)
    check_states(kind, getattr(layers, kind)(3, 5, **named), getattr(nn, kind)(3, 5, **named), x, shape)


def test_rnn_relu():
    theirs = nn.RNN(3, 5, nonlinearity="relu")
    check_states("RNN", layers.RNN(3, 5, nonlinearity="relu"), theirs, images(6, 2, 3), (1, 2, 5))


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(kind, bias):
    check_states(kind, getattr(layers, kind)(3, 5, bias=bias), getattr(nn, kind)(3, 5, bias=bias), images(4, 3), (4, 5))


def test_network():
    """A network of many layers: state dict names, gradients, running statistics."""

    def build(n):
        flat = n.Flatten(1)
        first = n.Sequential(n.Conv2d(3, 8, 3, padding=1, bias=False), n.BatchNorm2d(8), n.ReLU(), n.MaxPool2d(2))
        second = n.Sequential(n.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False), n.BatchNorm2d(8), n.SiLU())
        return n.Sequential(first, second, flat, n.Linear(32, 6), n.Tanh(), n.Linear(6, 4))

    compare(build(layers), build(nn), images(4, 3, 8, 8))


def test_losses():
    rng = np.random.default_rng(4)
    logits = rng.standard_normal((6, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 6)
    targets = rng.random((6, 5), np.float32)
    functional = nn.functional
    cases = [
        (losses.softmax_cross_entropy, functional.cross_entropy, logits, labels),
        (losses.mean_squared_error, functional.mse_loss, logits, targets),
        (losses.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits, 9 * logits, targets),
        (losses.binary_cross_entropy, functional.binary_cross_entropy, targets[::-1].copy(), targets),
    ]
    for ours, theirs, prediction, target in cases:
        for reduction in ("mean", "sum"):
            their_prediction = torch.from_numpy(prediction).clone().requires_grad_()
            expected = theirs(their_prediction, torch.from_numpy(target), reduction=reduction)
            expected.backward()
            loss, gradient = ours(prediction, target, reduction=reduction)
            assert loss == pytest.approx(expected.item(), rel=1e-5)
            close(gradient, their_prediction.grad, 1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc(reduction, zero_infinity):
    rng = np.random.default_rng(4)
    logits = rng.standard_normal((30, 5, 12)).astype(np.float32)
    targets = rng.choice([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11], (5, 9))
    targets[3] = 5  # too many blanks for 12 steps
    lengths, counts = np.array([30, 29, 0, 12, 30]), np.array([9, 4, 0, 9, 0])
    options = {"blank": 3, "reduction": reduction, "zero_infinity": zero_infinity}
    flat = np.concatenate([row[:count] for row, count in zip(targets, counts, strict=True)])
    for given in (targets, flat):
        theirs = torch.from_numpy(logits).clone().requires_grad_()
        arguments = map(torch.from_numpy, (given, lengths, counts))
        expected = nn.functional.ctc_loss(theirs.log_softmax(2), *arguments, **options)
        expected.backward()
        loss, gradient = losses.ctc_loss(logits, given, lengths, counts, **options)
        assert loss == pytest.approx(expected.item(), rel=1e-5)
        np.testing.assert_array_equal(np.isnan(gradient), np.isnan(theirs.grad.numpy()))
        np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=5e-5)


def test_binary_cross_entropy_at_the_ends():
    prediction = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0])
    expected = nn.functional.binary_cross_entropy(prediction, target)
    expected.backward()
    loss, gradient = losses.binary_cross_entropy(prediction.detach().numpy(), target.numpy())
    assert loss == pytest.approx(expected.item()) == pytest.approx(50.0)
    np.testing.assert_allclose(gradient, prediction.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adam", {"lr": 0.01}),
        ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-3}),
        ("AdamW", {"lr": 0.01, "weight_decay": 0.3}),
    ],
)
def test_optimisers(name, arguments):
    rng = np.random.default_rng(8)
    start = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    theirs = [torch.from_numpy(value.copy()).requires_grad_() for value in start]
    ours = [layers.Parameter(value.copy()) for value in start]
    their_optimiser = getattr(torch.optim, name)(theirs, **arguments)
    optimiser = getattr(optim, name)(ours, **arguments)
    for step in range(12):
        optimiser.zero_grad()
        if step == 6:
            optimiser.lr = their_optimiser.param_groups[0]["lr"] = 0.02
        for index, (parameter, tensor) in enumerate(zip(ours, theirs, strict=True)):
            grad = rng.standard_normal(parameter.shape).astype(np.float32)
            tensor.grad = None if (step, index) == (3, 1) else torch.from_numpy(grad.copy())
            if tensor.grad is not None:
                parameter.add_grad(grad)
        optimiser.step()
        their_optimiser.step()
        for parameter, tensor in zip(ours, theirs, strict=True):
            close(parameter.value, tensor, 3e-6)


@pytest.mark.parametrize("scale", [0.0, 0.1, 100.0, np.inf, np.nan])
def test_clip_grad_norm(scale):
    rng = np.random.default_rng(8)
    grads = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    grads[0][0, 0] *= np.float32(scale)
    grads = [grad * np.float32(scale if np.isfinite(scale) else 1.0) for grad in grads]
    theirs = [torch.zeros(grad.shape, requires_grad=True) for grad in grads]
    for tensor, grad in zip(theirs, grads, strict=True):
        tensor.grad = torch.from_numpy(grad.copy())
    ours = [layers.Parameter(np.zeros_like(grad), grad=grad) for grad in grads]
    norm = optim.clip_grad_norm(ours, 1.5)
    np.testing.assert_allclose(norm, nn.utils.clip_grad_norm_(theirs, 1.5).item(), rtol=1e-6)
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-6, atol=1e-7)
