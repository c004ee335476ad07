"""`out=`: the same bits as without, in any memory, shared with operands too; what does not fit is refused."""

import inspect
from typing import NamedTuple

import numpy as np
import pytest
from checks import bits, every_other, misaligned, read_only, reversed_memory

from fastconv import ops


class Row(NamedTuple):
    """A call: shapes of its float32 operands by name, and what else it takes."""

    op: str
    shapes: dict
    rest: dict = {}


IMAGE, FILTERS, MAP = (2, 3, 5, 6), (4, 3, 3, 3), (2, 4, 5, 6)
SEQUENCE, VOLUME = (2, 3, 9), (1, 2, 3, 4, 5)
STRIDED = {"stride": 2, "padding": 1}


def convolutions():
    """Of each rank: the three passes, plain and transposed, with as many channels in as out."""
    for rank, x in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME)):
        weight = (x[1], x[1], *(3,) * rank)
        same = {"padding": 1}
        for name in (f"conv{rank}d", f"conv_transpose{rank}d"):
            yield Row(name, {"x": x, "weight": weight, "bias": weight[:1]}, same)
            yield Row(f"{name}_backward_input", {"dy": x, "weight": weight}, same | {"x_shape": x})
            yield Row(f"{name}_backward_weight", {"dy": x, "x": x}, same | {"weight_shape": weight})
    yield Row(
        "conv2d", {"x": IMAGE, "weight": FILTERS, "bias": (4,), "residual": MAP}, {"padding": 1, "activation": "relu"}
    )
    yield Row("conv2d", {"x": (1, 16, 9, 8), "weight": (16, 16, 3, 3)}, {"padding": 1, "algorithm": "winograd"})
    yield Row("conv2d", {"x": IMAGE, "weight": (3, 1, 3, 3)}, {"padding": 1, "groups": 3})
    yield Row("conv3d", {"x": VOLUME, "weight": (3, 2, 2, 3, 3)}, STRIDED)
    yield Row("conv_transpose2d", {"x": IMAGE, "weight": (3, 2, 3, 3)}, STRIDED | {"output_padding": 1})
    extra = {"stride": 2, "padding": 0, "output_padding": 1, "x_shape": (2, 3, 5, 6)}
    yield Row("conv_transpose2d_backward_input", {"dy": (2, 2, 12, 14), "weight": (3, 2, 3, 3)}, extra)


def products():
    yield Row("gemm", {"a": (6, 7), "b": (7, 5), "bias": (5,)}, {"alpha": 0.5})
    yield Row("gemm", {"a": (6, 6), "b": (6, 6)}, {"transpose_a": True})
    yield Row("matmul", {"a": (6, 6), "b": (6, 6)})
    yield Row("linear", {"x": (2, 3, 7), "weight": (5, 7), "bias": (5,)}, {"activation": "tanh"})
    yield Row("linear", {"x": (4, 6), "weight": (6, 6)})
    yield Row("linear_backward_input", {"dy": (2, 3, 5), "weight": (5, 7)})
    yield Row("linear_backward_weight", {"dy": (2, 3, 5), "x": (2, 3, 7)})
    yield Row("embedding", {"weight": (7, 3)}, {"ids": np.array([[1, 6, 2, 2], [0, 0, 3, 1]])})
    yield Row("embedding_backward", {"dy": (2, 4, 3)}, {"ids": [[1, 6, 2, 2], [0, 0, 3, 1]], "num_embeddings": 7})


def two_operands():
    """Elementwise ops of two operands, and activations that must be told more."""
    for shapes in ((IMAGE, IMAGE), (IMAGE, (3, 1, 1)), ((2, 3, 1, 1), IMAGE), ((2, 3, 1, 6), (3, 5, 1)), (IMAGE, ())):
        yield Row("add", dict(zip("ab", shapes, strict=True)), {"activation": ("leaky_relu", 0.5)})
        yield Row("mul", dict(zip("ab", shapes, strict=True)))
    yield Row("add", {"a": (2, 3, 2, 3, 2), "b": (3, 1, 3, 1)})
    yield Row("prelu", {"x": IMAGE, "weight": (3,)})
    yield Row("prelu", {"x": SEQUENCE, "weight": (1,)})
    yield Row("glu", {"x": IMAGE})
    yield Row("glu_backward", {"dy": (2, 3, 5, 3), "x": IMAGE})
    yield Row("glu", {"x": MAP}, {"axis": 1})
    yield Row("glu_backward", {"dy": (2, 2, 5, 6), "x": MAP}, {"axis": 1})
    yield Row("threshold", {"x": IMAGE}, {"threshold": 0.5, "value": 2.0})
    yield Row("threshold_backward", {"dy": IMAGE, "x": IMAGE}, {"threshold": 0.5})


def other_images():
    """Used where the op has `out=`."""
    pooled = (2, 3, 2, 3)
    yield Row("max_pool2d", {"x": IMAGE}, {"kernel_size": 2})
    yield Row("avg_pool2d", {"x": IMAGE}, {"kernel_size": 3, "stride": 1, "padding": 1})
    yield Row("avg_pool2d_backward", {"dy": pooled}, {"x_shape": IMAGE, "kernel_size": 2})
    yield Row("global_avg_pool2d", {"x": IMAGE})
    yield Row("global_avg_pool2d_backward", {"dy": (2, 3, 1, 1)}, {"x_shape": IMAGE})
    indices = np.array([[0, 2, 4], [12, 14, 16]], np.int32) + np.zeros(pooled, np.int32)
    yield Row("max_pool2d_backward", {"dy": pooled}, {"indices": indices, "x_shape": IMAGE, "kernel_size": 2})
    yield from other_pools(pooled, indices)
    yield Row("batch_norm", {"x": IMAGE, "mean": (3,), "weight": (3,), "bias": (3,)}, {"var": np.ones(3, np.float32)})
    yield Row("group_norm", {"x": MAP, "weight": (4,), "bias": (4,)}, {"num_groups": 2})
    yield Row("layer_norm", {"x": SEQUENCE, "weight": (9,), "bias": (9,)}, {"normalized_shape": (9,)})
    yield Row("rms_norm", {"x": SEQUENCE, "weight": (9,)}, {"normalized_shape": (9,)})
    yield Row("local_response_norm", {"x": MAP}, {"size": 3})
    yield Row("local_response_norm_backward", {"dy": MAP, "x": MAP}, {"size": 3})
    yield Row("interpolate", {"x": IMAGE}, {"scale_factor": 2, "mode": "bilinear"})
    yield Row("interpolate_backward", {"dy": IMAGE}, {"x_shape": (2, 3, 3, 4), "size": (5, 6)})
    many = (2, 8, 4, 6)
    for name in ("pixel_shuffle", "pixel_shuffle_backward"):
        yield Row(name, {"dy" if name.endswith("backward") else "x": many}, {"upscale_factor": 2})
    for name in ("pixel_unshuffle", "pixel_unshuffle_backward"):
        yield Row(name, {"dy" if name.endswith("backward") else "x": many}, {"downscale_factor": 2})
    for name in ("channel_shuffle", "channel_shuffle_backward"):
        yield Row(name, {"dy" if name.endswith("backward") else "x": many}, {"groups": 2})
    windows = {"kernel_size": 2, "stride": (1, 2)}
    yield Row("unfold", {"x": many}, windows)
    yield Row("unfold_backward", {"dcolumns": (2, 32, 9)}, windows | {"x_shape": many})
    yield Row("fold", {"columns": (2, 32, 9)}, windows | {"output_size": (4, 6)})
    yield Row("fold_backward", {"dy": many}, windows)
    yield Row("dropout_backward", {"dy": IMAGE}, {"mask": np.arange(180).reshape(IMAGE) % 3 > 0, "p": 0.25})
    yield Row("pad", {"x": IMAGE}, {"padding": 1})
    yield Row("pad_backward", {"dy": (2, 3, 7, 8)}, {"x_shape": IMAGE, "padding": 1})


def other_pools(pooled, indices):
    average = {"kernel_size": 3, "stride": 2, "padding": 1}
    maximum = {"kernel_size": 3, "stride": 3}
    for rank, x, small in ((1, SEQUENCE, (2, 3, 5)), (2, IMAGE, pooled)):
        yield Row(f"adaptive_avg_pool{rank}d", {"x": x}, {"output_size": small[2:]})
        yield Row(f"adaptive_avg_pool{rank}d_backward", {"dy": small}, {"x_shape": x})
    yield Row("avg_pool1d", {"x": SEQUENCE}, average)
    yield Row("avg_pool1d_backward", {"dy": (2, 3, 5)}, average | {"x_shape": SEQUENCE})
    yield Row("max_pool1d", {"x": SEQUENCE}, maximum)
    chosen = np.array([1, 5, 6], np.int32) + np.zeros((2, 3, 3), np.int32)
    yield Row("max_pool1d_backward", {"dy": (2, 3, 3)}, maximum | {"indices": chosen, "x_shape": SEQUENCE})
    yield Row("adaptive_max_pool2d", {"x": IMAGE}, {"output_size": pooled[2:]})
    yield Row("adaptive_max_pool2d_backward", {"dy": pooled}, {"indices": indices, "x_shape": IMAGE})
    first = {"indices": np.zeros((2, 3, 1, 1), np.int32), "x_shape": IMAGE}
    yield Row("global_max_pool2d_backward", {"dy": (2, 3, 1, 1)}, first)
    yield Row("lp_pool2d", {"x": IMAGE}, {"norm_type": 2, "kernel_size": 2})
    yield Row("lp_pool2d_backward", {"dy": pooled, "x": IMAGE}, {"norm_type": 2, "kernel_size": 2})
    yield Row("max_unpool2d", {"x": pooled}, {"indices": indices, "output_size": IMAGE[2:]})
    yield Row("max_unpool2d_backward", {"dy": IMAGE}, {"indices": indices})


def has_out(name):
    return "out" in inspect.signature(getattr(ops, name)).parameters


def elementwise(listed):
    """Ops not in the table whose needed arguments are x, or dy and x or y, all of one shape."""
    for name in sorted(set(ops.__all__) - listed):
        parameters = inspect.signature(getattr(ops, name)).parameters.values()
        needed = [each.name for each in parameters if each.default is each.empty]
        if needed in (["x"], ["dy", "x"], ["dy", "y"]) and has_out(name):
            yield Row(name, dict.fromkeys(needed, IMAGE))


def table():
    rows = [row for row in (*convolutions(), *products(), *two_operands(), *other_images()) if has_out(row.op)]
    return rows + list(elementwise({row.op for row in rows}))


ROWS = table()
rows = pytest.mark.parametrize("row", ROWS, ids=[f"{row.op}-{i}" for i, row in enumerate(ROWS)])


def channels_last(array):
    """A copy on (N, ..., C) memory."""
    if array.ndim < 3:
        return array.copy()
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


ALIGNED_ORDERS = {
    "C": np.array,
    "channels last": channels_last,
    "Fortran": np.asfortranarray,
    "gaps": every_other,
    "reversed": reversed_memory,
}


def operands(row):
    rng = np.random.default_rng(7)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in row.shapes.items()}


def run(row, arrays, **more):
    return getattr(ops, row.op)(**arrays, **row.rest, **more)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def like_result(result, arrays):
    """`out` for these arrays: one, or a tuple."""
    return tuple(arrays) if isinstance(result, tuple) else arrays[0]


def assert_same(actual, expected, what):
    for got, wanted in zip(as_tuple(actual), as_tuple(expected), strict=True):
        assert got.shape == wanted.shape, what
        assert bits(got) == bits(wanted), what


def test_every_op_with_out_has_a_row():
    random = {"dropout"}  # its second result has no out: see test_dropout.py
    assert {name for name in ops.__all__ if has_out(name)} == {row.op for row in ROWS} | random


@rows
@pytest.mark.parametrize("order", [*ALIGNED_ORDERS, "misaligned"])
@pytest.mark.parametrize("operand_order", ["C", "channels last"])
def test_the_same_bits_in_any_memory(row, order, operand_order):
    arrange = misaligned if order == "misaligned" else ALIGNED_ORDERS[order]
    arrays = {name: ALIGNED_ORDERS[operand_order](value) for name, value in operands(row).items()}
    expected = run(row, arrays)
    targets = [arrange(np.full(each.shape, np.nan, np.float32)) for each in as_tuple(expected)]
    gaps = [bits(target.base) if order == "gaps" else None for target in targets]
    out = like_result(expected, targets)
    result = run(row, arrays, out=out)
    assert all(got is given for got, given in zip(as_tuple(result), targets, strict=True))
    assert_same(out, expected, order)
    for target, before in zip(targets, gaps, strict=True):
        if before is not None:  # nothing beside the array
            target[...] = np.nan
            assert bits(target.base) == before


def placed(shape, memory, start, last):
    """A view of this shape on flat memory from element `start` on; last: with the channels last."""
    size = int(np.prod(shape))
    flat = memory[start : start + size]
    if not last or len(shape) < 3:
        return flat.reshape(shape)
    return np.moveaxis(flat.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


@rows
@pytest.mark.parametrize("last", [False, True], ids=["C", "channels last"])
@pytest.mark.parametrize(("from_", "to"), [(0, 0), (0, 1), (1, 0), (0, 5)])
def test_memory_shared_with_an_operand(row, last, from_, to):
    """Each operand and each result in turn, in the same place, one element apart either way, or further in."""
    given = operands(row)
    kinds = as_tuple(run(row, given))
    for name, value in given.items():
        for i, kind in enumerate(kinds):
            expected = run_placed(row, given, name, i, kinds, last, *apart(value, kind))
            memory = np.full(max(value.size, kind.size) + 8, np.nan, np.float32)
            result = run_placed(row, given, name, i, kinds, last, (memory, from_), (memory, to))
            assert_same(result, expected, f"out {i} and {name}")


def apart(value, kind):
    return (np.empty(value.size, np.float32), 0), (np.empty(kind.size, np.float32), 0)


def run_placed(row, given, name, i, kinds, last, from_, to):
    """The results of `row` with operand `name` and result i each at a (memory, start)."""
    operand, target = placed(given[name].shape, *from_, last), placed(kinds[i].shape, *to, last)
    operand[...] = given[name]
    outs = [np.empty(each.shape, np.float32) for each in kinds]
    outs[i] = target
    return run(row, given | {name: operand}, out=like_result(kinds if len(kinds) > 1 else kinds[0], outs))


def test_memory_shared_with_integer_ids():
    memory, table = np.zeros(8, np.int64), np.arange(6, dtype=np.float32).reshape(3, 2)
    memory[:4] = 2, 0, 1, 2
    expected = ops.embedding(memory[:4].copy(), table)
    result = ops.embedding(memory[:4], table, out=memory.view(np.float32)[:8].reshape(4, 2))
    assert_same(result, expected, "ids")


WRONG = {
    "one row more": (lambda array: np.full((array.shape[0] + 1, *array.shape[1:]), 7, np.float32), ValueError),
    "an axis more": (lambda array: np.full((1, *array.shape), 7, np.float32), ValueError),
    "float64": (lambda array: np.full(array.shape, 7.0), TypeError),
    "swapped bytes": (lambda array: np.full(array.shape, 7, np.dtype(np.float32).newbyteorder()), TypeError),
    "read-only": (lambda array: read_only(np.full(array.shape, 7, np.float32)), ValueError),
    "a list": (lambda array: array.tolist(), TypeError),
    "a buffer": (lambda array: memoryview(np.full(array.shape, 7, np.float32)), TypeError),
}


@rows
@pytest.mark.parametrize("kind", list(WRONG))
def test_what_does_not_fit_is_refused(row, kind):
    make, error = WRONG[kind]
    arrays = operands(row)
    expected = run(row, arrays)
    before = {name: bits(value) for name, value in arrays.items()}
    for i in range(len(as_tuple(expected))):
        outs = [np.full(each.shape, 7, np.float32) for each in as_tuple(expected)]
        outs[i] = make(outs[i])
        with pytest.raises(error, match=rf"^{row.op}: out"):
            run(row, arrays, out=like_result(expected, outs))
        assert all(np.all(np.asarray(out) == 7) for out in outs)
    assert {name: bits(value) for name, value in arrays.items()} == before


PAIRS = [row for row in ROWS if row.op.endswith("_backward_weight")]
pairs = pytest.mark.parametrize("row", PAIRS, ids=[row.op for row in PAIRS])


@pairs
def test_one_of_two_results(row):
    arrays = operands(row)
    expected = run(row, arrays)
    for i in range(2):
        out = [None, None]
        out[i] = np.full(expected[i].shape, np.nan, np.float32)
        result = run(row, arrays, out=tuple(out))
        assert result[i] is out[i]
        assert_same(result, expected, i)


@pairs
def test_two_results_need_a_tuple_of_two_arrays_apart(row):
    arrays = operands(row)
    dweight, dbias = run(row, arrays)
    for out in (dweight, [dweight, dbias], (dweight,), (dweight, dbias, None)):
        with pytest.raises(TypeError, match=rf"^{row.op}: out"):
            run(row, arrays, out=out)
    shared = np.full_like(dweight, 7)
    with pytest.raises(ValueError, match=rf"^{row.op}: out\[1\] shares memory"):
        run(row, arrays, out=(shared, shared.reshape(-1)[: dbias.size]))
    assert np.all(shared == 7)
    # Side by side in one array their bounds cross, but they share nothing.
    both = np.full((*dweight.shape, 2), np.nan, np.float32)
    apart = both[..., 0], both.reshape(-1, 2)[: dbias.size, 1]
    assert_same(run(row, arrays, out=apart), (dweight, dbias), "interleaved")


def test_empty_results():
    """No memory is shared with an array of no elements."""
    dy, x = np.ones((3, 4), np.float32), np.ones((3, 0), np.float32)
    memory = np.full(8, np.nan, np.float32)
    out = memory[2:2].reshape(4, 0), memory[:4]
    assert ops.linear_backward_weight(dy, x, out=out)[1] is out[1]
    assert out[1].tolist() == [3.0] * 4
    assert ops.relu(x, out=x) is x
    images = np.ones((0, 3, 4, 5), np.float32)
    assert ops.conv2d(images, np.ones((3, 3, 3, 3), np.float32), padding=1, out=images) is images
