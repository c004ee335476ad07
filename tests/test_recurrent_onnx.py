"""Recurrent ops with the options and weights of ONNX's operators against onnxruntime."""

import numpy as np
import pytest
from recurrent_option_problems import LENGTHS

from fastconv import layers, ops

T, N, I, H = 6, 5, 3, 7
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
STANDARD = {"lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"], "rnn": ["Tanh"]}
ALPHA, BETA = 0.3, 0.6
OURS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softsign": "softsign",
    "Softplus": "softplus",
    "Elu": ("elu", ALPHA),
    "LeakyRelu": ("leaky_relu", ALPHA),
    "ThresholdedRelu": ("threshold", ALPHA, 0.0),
    "Affine": ("affine", ALPHA, BETA),
    "ScaledTanh": ("scaled_tanh", ALPHA, BETA),
    "HardSigmoid": ("hardsigmoid", ALPHA, BETA),
}


def problem(rng, kind, directions=1, biases=True, peepholes=False, states=True):
    """x and the other inputs by ONNX's names."""

    def uniform(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    rows = GATES[kind] * H
    inputs = {"X": uniform(T, N, I), "W": uniform(directions, rows, I), "R": 0.7 * uniform(directions, rows, H)}
    if biases:
        inputs["B"] = uniform(directions, 2 * rows)
    if states:
        inputs["initial_h"] = uniform(directions, N, H)
        if kind == "lstm":
            inputs["initial_c"] = 2 * uniform(directions, N, H)
    if peepholes:
        inputs["P"] = uniform(directions, 3 * H)
    return inputs


def by_onnxruntime(kind, inputs, **attributes):
    """(Y (T, D, N, H), Y_h, Y_c)"""
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", *(["initial_c", "P"] if kind == "lstm" else [])]
    outputs = ["Y", "Y_h", *(["Y_c"] if kind == "lstm" else [])]
    present = [name if name in inputs else "" for name in names]
    node = onnx.helper.make_node(kind.upper(), present, outputs, hidden_size=H, **attributes)
    kinds = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int32): onnx.TensorProto.INT32}
    infos = [onnx.helper.make_tensor_value_info(n, kinds[a.dtype], a.shape) for n, a in inputs.items()]
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = onnx.helper.make_graph([node], "one_node", infos, results)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def ours(kind, inputs, lengths=None, reverse=(False, True), **options):
    """The same of the op of this kind, a direction at a time."""
    given = [inputs.get(name) for name in ("W", "R", "B", "P")]
    results = []
    for d, operands in enumerate(ops.recurrent_from_onnx(kind, *given)):
        names = ("initial_h", "initial_c") if kind == "lstm" else ("initial_h",)
        states = [inputs[name][d] if name in inputs else None for name in names]
        named = {**operands, **options, "reverse": reverse[d], "lengths": lengths}
        results.append(getattr(ops, kind)(inputs["X"], *states, **named))
    y, *last = zip(*results, strict=True)
    return [np.stack(y, axis=1), *(np.stack(state) for state in last)]


def check(got, want, tolerance=3e-6):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_directions_lengths_and_clip(rng, kind, clip, direction, lengths):
    directions = 2 if direction == "bidirectional" else 1
    inputs = problem(rng, kind, directions, peepholes=kind == "lstm")
    attributes = {"direction": direction, **({} if clip is None else {"clip": clip})}
    options = {"clip": clip, **({"reset_after": False} if kind == "gru" else {})}
    got = ours(kind, inputs, lengths, (direction == "reverse", True), **options)
    if lengths is not None:
        inputs["sequence_lens"] = np.array(lengths, np.int32)
    want = by_onnxruntime(kind, inputs, **attributes)
    if lengths is not None and 0 in lengths:  # onnxruntime gives zeros as the last state of an empty sequence
        for last in range(1, len(want)):
            names = ["initial_h", "initial_c"]
            want[last][:, lengths.index(0)] = inputs[names[last - 1]][:, lengths.index(0)]
    check(got, want)


@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize("coupled", [0, 1])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("biases", [False, True])
def test_lstm(rng, biases, peepholes, coupled, clip):
    inputs = problem(rng, "lstm", biases=biases, peepholes=peepholes, states=biases)
    attributes = {} if clip is None else {"clip": clip}
    want = by_onnxruntime("lstm", inputs, input_forget=coupled, **attributes)
    check(ours("lstm", inputs, coupled=bool(coupled), clip=clip), want)


@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("biases", [False, True])
def test_gru(rng, biases, after, clip):
    inputs = problem(rng, "gru", biases=biases, states=biases)
    attributes = {} if clip is None else {"clip": clip}
    want = by_onnxruntime("gru", inputs, linear_before_reset=after, **attributes)
    check(ours("gru", inputs, reset_after=bool(after), clip=clip), want)


@pytest.mark.parametrize(("kind", "place"), [("lstm", 0), ("lstm", 1), ("lstm", 2), ("gru", 0), ("gru", 1), ("rnn", 0)])
@pytest.mark.parametrize("name", OURS)
def test_activations(rng, kind, place, name):
    inputs, names = problem(rng, kind), list(STANDARD[kind])
    names[place] = name
    attributes = {"activation_alpha": [ALPHA] * len(names), "activation_beta": [BETA] * len(names), "clip": 2.0}
    want = by_onnxruntime(kind, inputs, activations=names, **attributes)
    options = {"activations": [OURS[each] for each in names], "clip": 2.0}
    check(ours(kind, inputs, **options, **({"reset_after": False} if kind == "gru" else {})), want, 2e-5)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
def test_there_and_back(rng, kind, biases, directions):
    inputs = problem(rng, kind, directions, biases, peepholes=kind == "lstm")
    given = [inputs.get(name) for name in ("W", "R", "B", "P")]
    operands = ops.recurrent_from_onnx(kind, *given)
    assert len(operands) == directions
    for got, want in zip(ops.recurrent_to_onnx(kind, operands), given, strict=True):
        assert (got is None and want is None) or np.array_equal(got, want)


def test_gates_by_name(rng):
    """Blocks filled with the name of their gate."""
    blocks = {name: np.full((1, H, 2), i, np.float32) for i, name in enumerate("iofczrh")}

    def stacked(order):
        return np.concatenate([blocks[name] for name in order], axis=1)

    r = np.zeros((1, 4 * H, H), np.float32)
    (operands,) = ops.recurrent_from_onnx("lstm", stacked("iofc"), r)
    assert np.array_equal(operands["weight_ih"], stacked("ifco")[0])
    (operands,) = ops.recurrent_from_onnx("gru", stacked("zrh"), r[:, : 3 * H])
    assert np.array_equal(operands["weight_ih"], stacked("rzh")[0])


def test_one_of_two_biases_is_enough(rng):
    bias = rng.standard_normal(3 * H).astype(np.float32)
    operands = {"weight_ih": np.ones((3 * H, I), np.float32), "weight_hh": np.ones((3 * H, H), np.float32)}
    b = ops.recurrent_to_onnx("gru", [{**operands, "bias_hh": bias}, operands])[2]
    (first, second) = ops.recurrent_from_onnx("gru", *ops.recurrent_to_onnx("gru", [operands, operands])[:2], b)
    assert np.array_equal(first["bias_hh"], bias)
    assert not first["bias_ih"].any() and not second["bias_ih"].any() and not second["bias_hh"].any()


def test_a_layer_takes_the_weights(rng):
    inputs = problem(rng, "gru", 2, states=False)
    layer = layers.GRU(I, H, bidirectional=True, reset_after=False)
    operands = ops.recurrent_from_onnx("gru", inputs["W"], inputs["R"], inputs["B"])
    suffixes = ("_l0", "_l0_reverse")
    layer.load_state_dict({n + s: a for s, named in zip(suffixes, operands, strict=True) for n, a in named.items()})
    y, y_h = by_onnxruntime("gru", inputs, direction="bidirectional")
    got, state = layer(inputs["X"])
    check([got.reshape(T, N, 2, H).transpose(0, 2, 1, 3), state], [y, y_h])


def test_wrong_calls():
    w, r = np.ones((1, 4 * H, I), np.float32), np.ones((1, 4 * H, H), np.float32)
    b, p = np.ones((1, 8 * H), np.float32), np.ones((1, 3 * H), np.float32)
    good = {"weight_ih": w[0], "weight_hh": r[0]}
    forth, back = ops.recurrent_from_onnx, ops.recurrent_to_onnx
    for call, error, message in (
        (lambda: forth("LSTM", w, r), ValueError, "recurrent_from_onnx: kind='LSTM': must be 'lstm', 'gru' or 'rnn'"),
        (lambda: forth("lstm", w[0], r), ValueError, r"recurrent_from_onnx: w has shape \(28, 3\): must have 3 dim"),
        (lambda: forth("lstm", w.astype(float), r), TypeError, "recurrent_from_onnx: w has dtype float64"),
        (lambda: forth("gru", w, r), ValueError, r"r has shape \(1, 28, 7\): must be \(1 or 2, 3 \* H, H\)"),
        (lambda: forth("lstm", np.repeat(w, 3, 0), np.repeat(r, 3, 0)), ValueError, r"r has shape \(3, 28, 7\)"),
        (lambda: forth("lstm", w[:, 1:], r), ValueError, r"w has shape \(1, 27, 3\): must be \(1, 28, 3\)"),
        (lambda: forth("lstm", w, r, b[0]), ValueError, r"b has shape \(56,\): must be \(1, 56\)"),
        (lambda: forth("lstm", w, r, b, p[:, 1:]), ValueError, r"p has shape \(1, 20\): must be \(1, 21\)"),
        (lambda: forth("rnn", w[:, :H], r[:, :H], None, p), ValueError, "p is given: must be None but for kind='lstm'"),
        (
            lambda: back("lstm", good),
            ValueError,
            "recurrent_to_onnx: directions is dict of 2: must be a list of one or two dicts",
        ),
        (lambda: back("lstm", [{"w": w}]), ValueError, r"to_onnx: directions holds \[\'w\'\]: must be a dict of"),
        (lambda: back("lstm", [{**good, "weight_hr": w[0]}]), ValueError, "must be a dict of weight_ih"),
        (lambda: back("gru", [good]), ValueError, r"weight_hh has shape \(28, 7\): must be \(3 \* H, H\)"),
        (lambda: back("lstm", [{**good, "bias_ih": b[0]}]), ValueError, r"bias_ih has shape \(56,\): must be \(28,\)"),
        (lambda: back("lstm", [{**good, "weight_ih": r[0, 1:]}]), ValueError, r"weight_ih has shape \(27, 7\)"),
        (
            lambda: back("rnn", [{"weight_ih": w[0, :H], "weight_hh": r[0, :H], "peepholes": p[0]}]),
            ValueError,
            "absent",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
