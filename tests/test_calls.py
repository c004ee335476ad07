"""What a call does with its arrays before a kernel runs: usual ones pass in one call of the binding."""

import itertools
import sys
import threading

import numpy as np
import pytest
from checks import every_other, misaligned, read_only, reversed_memory

from fastconv import _native, layers, ops, runtime
from fastconv.layers import Parameter
from fastconv.ops import convolution

SHAPES = [(), (0,), (1,), (10,), (4, 8), (2, 3, 5), (2, 3, 5, 6), (2, 3, 0, 6), (1, 1, 1, 1), (2, 3, 4, 5, 2)]


def relu(x, out=None):
    return _native.activate(x, out, _native.ACTIVATIONS["relu"], 0.0, 0.0, runtime.context())


def relu_backward(dy, x, out=None):
    return _native.activate_backward(dy, x, out, _native.ACTIVATIONS["relu"], 0.0, 0.0, runtime.context())


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def channels_last(array):
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


def usual():
    for shape in SHAPES:
        yield random(*shape)
        if len(shape) > 2:
            yield channels_last(random(*shape))
    yield random(2, 3, 5)[:, :, :1].transpose(2, 0, 1)[:, 1:, :1]  # strides of axes of one element do not matter
    yield read_only(random(3, 4))


def unusual():
    yield from (None, 1.0, [1.0, 2.0], memoryview(random(3)), np.float32(1), random(3).astype(np.float64))
    yield random(3).astype(np.dtype(np.float32).newbyteorder())
    yield np.ones(3, np.int32)
    yield from (misaligned(random(4)), every_other(random(3, 4)), reversed_memory(random(3)))
    yield from (np.asfortranarray(random(3, 4)), random(2, 3, 4, 5).transpose(0, 2, 1, 3))
    yield np.broadcast_to(np.float32(1), (3,))


@pytest.mark.parametrize("x", list(usual()), ids=lambda x: f"{x.shape} {x.strides}")
def test_usual_arrays_pass_in_one_call(x):
    y = relu(x)
    assert type(y) is np.ndarray and y.dtype == np.float32
    assert np.array_equal(y, np.maximum(x, 0))
    assert y.flags.writeable and y.flags.aligned and not np.shares_memory(x, y)
    assert y.flags.c_contiguous == x.flags.c_contiguous
    assert x.flags.c_contiguous or channels_last(y).strides == y.strides
    assert np.array_equal(relu_backward(y, x), np.where(x > 0, y, 0))
    assert relu(x, out=y) is y
    assert relu_backward(y, x, out=y) is y


@pytest.mark.parametrize("x", list(unusual()), ids=lambda x: type(x).__name__)
def test_others_are_left_to_the_op(x):
    plain, context = random(3), runtime.context()
    plan = ops.conv2d_plan((1, 3, 5, 6), (4, 3, 3, 3))
    for result in (
        relu(x),
        relu(plain, out=x) if x is not None else NotImplemented,
        relu_backward(x, plain),
        relu_backward(plain, x),
        _native.softmax(x, -1, None, False, context),
        _native.softmax_gradient(x, plain, -1, None, False, context),
        _native.linear(x, random(3, 4), None, None, False, 0, 0.0, 0.0, context),
        _native.linear_gradients(x, plain, None, None, context),
        _native.channels_last(x, context),
        plan.convolve(x, random(4, 3, 3, 3), None, None, None, context),
        plan.convolve(random(1, 3, 5, 6), x, None, None, None, context),
        plan.convolve(random(1, 3, 5, 6), random(4, 3, 3, 3), x, None, None, context)
        if x is not None
        else NotImplemented,
        plan.input_gradient(x, random(4, 3, 3, 3), None, context),
        plan.weight_gradients(x, random(1, 3, 5, 6), None, None, context),
    ):
        assert result is NotImplemented


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_orders_are_told_as_numpy_does(rank):
    """In every order of the axes, with axes of no and of one element."""
    context = runtime.context()
    for shape in itertools.product((0, 1, 2, 3) if rank < 5 else (1, 2), repeat=rank):
        values = random(*shape)
        for order in itertools.permutations(range(rank)):
            x = values.transpose(order).copy().transpose(np.argsort(order))
            view = np.moveaxis(x, 1, -1)
            memory = _native.channels_last(x, context)
            if not (view.flags.c_contiguous or x.flags.c_contiguous):
                assert memory is NotImplemented and relu(x) is NotImplemented
                continue
            assert memory.flags.c_contiguous and np.array_equal(memory, view)
            assert (memory.ctypes.data == x.ctypes.data) == view.flags.c_contiguous or x.size == 0
            assert np.array_equal(relu(x), np.maximum(x, 0))


def test_out_that_kernels_cannot_write_to_is_left_to_the_op():
    memory = random(12)
    x = memory[:10]
    for out in (memory[1:11], read_only(x), x[:9], every_other(x), np.empty((2, 5), np.float32)):
        assert relu(x, out=out) is NotImplemented
    images = random(2, 3, 5, 6)
    assert relu(images, out=channels_last(images)) is NotImplemented
    assert relu_backward(channels_last(images), images) is NotImplemented


@pytest.mark.parametrize("axis", range(-4, 4))
def test_softmax_passes_along_any_axis(axis):
    context = runtime.context()
    for x in (random(2, 3, 4, 5), channels_last(random(2, 3, 4, 5))):
        e = np.exp(x.astype(np.float64))
        y = _native.softmax(x, axis, None, False, context)
        assert y.strides == x.strides
        assert np.allclose(y, e / e.sum(axis, keepdims=True), atol=1e-6)
        dx = _native.softmax_gradient(x, y, axis, None, False, context)
        assert dx.strides == x.strides
        assert np.allclose(dx, y * (x - (x * y).sum(axis, keepdims=True)), atol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((4, 8), 2), ((4, 8), -3), ((4, 8), True), ((4, 8), 1.0), ((), 0)])
def test_axes_that_are_left_to_the_op(shape, axis):
    x, context = random(*shape), runtime.context()
    assert _native.softmax(x, axis, None, False, context) is NotImplemented
    assert _native.softmax_gradient(x, x, axis, None, False, context) is NotImplemented


# -------------------------------------------------------------------------------------------------------- new arrays


@pytest.mark.parametrize("shape", [*SHAPES, (70, 64), (2, 64, 64), (5, 40, 3, 30)])
def test_new_arrays(shape):
    fresh = _native.empty(shape)
    assert fresh.shape == shape and fresh.dtype == np.float32
    assert fresh.flags.c_contiguous and fresh.flags.writeable and fresh.flags.aligned
    if len(shape) > 2:
        images, memory = _native.empty_images(*shape)
        assert images.shape == shape and memory.shape == (shape[0], *shape[2:], shape[1])
        assert memory.flags.c_contiguous and np.moveaxis(memory, -1, 1).strides == images.strides or images.size == 0
        memory[...] = 1
        assert np.all(images == 1)
    if fresh.nbytes >= 16 * 1024:
        assert isinstance(fresh.base, _native.Block)
        assert fresh.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**62,), (-1,), (3, -2), (1,) * 65, (2**70,)])
def test_sizes_that_no_array_has(shape):
    with pytest.raises((ValueError, MemoryError, OverflowError)):
        _native.empty(shape)


def test_a_product_too_large_for_any_memory():
    rows, weight = np.empty((2**40, 0), np.float32), np.empty((2**40, 0), np.float32)
    with pytest.raises((ValueError, MemoryError)):
        ops.linear(rows, weight)


# ------------------------------------------------------------------------------------------------------ what is kept


def test_a_plan_is_kept_by_the_types_of_its_geometry():
    x, weight = random(1, 3, 9, 8), random(4, 3, 3, 3)
    for name in ("stride", "padding", "dilation", "groups"):
        ops.conv2d(x, weight, **{name: 1})
        wrong = [1.0] if name == "groups" else [1.0, (1.0, 1), (1, np.float64(1))]
        for value in wrong:
            ops.conv2d(x, weight, **{name: 1 if name == "groups" else (1, 1)})
            with pytest.raises(TypeError, match=f"conv2d: {name}"):
                ops.conv2d(x, weight, **{name: value})
        assert ops.conv2d(x, weight, **{name: np.int64(1)}).shape == ops.conv2d(x, weight, **{name: 1}).shape
    ops.conv1d(x[:, :, 0], weight[:, :, 0], stride=(1,))
    with pytest.raises(TypeError, match="conv1d: stride"):
        ops.conv1d(x[:, :, 0], weight[:, :, 0], stride=(1.0,))
    assert ops.conv2d_plan(x.shape, weight.shape) is ops.conv2d_plan(x.shape, weight.shape)
    with runtime.options(winograd=False):
        assert ops.conv2d_plan(x.shape, weight.shape).algorithms[0] == "direct"


def test_plans_are_bounded(monkeypatch):
    monkeypatch.setattr(convolution, "_MOST_PLANS", 8)
    monkeypatch.setattr(convolution, "_plans", {})
    for size in range(3, 40):
        assert ops.conv2d_plan((1, 1, size, 3), (1, 1, 3, 3)).y_shape == (1, size - 2, 1, 1)
        assert len(convolution._plans) <= 8


def test_threads_share_plans(monkeypatch):
    """While others fill and empty them."""
    monkeypatch.setattr(convolution, "_MOST_PLANS", 4)
    weight, wrong = np.ones((1, 1, 3, 3), np.float32), []

    def run(first):
        for i in range(400):
            size = 3 + (first + i) % 9
            y = ops.conv2d(np.ones((1, 1, size, 3), np.float32), weight)
            if y.shape != (1, 1, size - 2, 1) or not np.all(y == 9):
                wrong.append(size)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_frozen_convolution_follows_shapes_and_contexts():
    layer = layers.Conv2d(16, 16, 3, padding=1, rng=0)
    frozen, images = layer.freeze(), [random(1, 16, 8, 8), random(3, 16, 30, 31)]
    for isa in (*_native.ISAS_DETECTED, *_native.ISAS_DETECTED):
        with runtime.options(isa=isa):
            for x in (*images, *images):
                assert np.allclose(frozen(x), layer(x), atol=1e-4)
            with runtime.options(isa=isa, winograd=False):
                assert np.allclose(frozen(images[1]), layer(images[1]), atol=1e-5)


def test_the_first_gradient_is_taken_and_later_ones_are_added_to_it():
    weight, first = Parameter(random(3, 4)), random(3, 4)
    expected = 2 * first
    weight.take_grad(first)
    assert weight.grad is first
    weight.take_grad(first.copy())
    assert np.array_equal(weight.grad, expected)
    weight.zero_grad()
    weight.take_grad(np.asfortranarray(first))  # optimisers walk through C-contiguous memory
    assert weight.grad.flags.c_contiguous
    with pytest.raises(ValueError, match="grad has shape"):
        weight.take_grad(random(4, 3))


def test_calls_keep_no_reference():
    x, weight, out = random(2, 3, 9, 8), random(3, 3, 3, 3), np.empty((2, 3, 9, 8), np.float32)
    bias, rows, matrix = random(3), random(4, 3), random(3, 3)
    wrong = (lambda: ops.conv2d(x, weight[:, :2], padding=1), lambda: ops.relu(x, out=weight), lambda: ops.relu([x]))

    def calls():
        for images in (x, channels_last(x)):
            y = ops.conv2d(images, weight, bias, padding=1, residual=images, out=out)
            ops.conv2d_backward_weight(y, images, weight.shape, padding=1)
            ops.conv2d_backward_input(images, weight, x.shape, padding=1, out=out)
            ops.conv_transpose2d(images, weight, bias, padding=1)
            ops.max_pool2d(images, 2)
            ops.relu_backward(images, images, out=out)
        ops.conv1d(x[:, :, 0], weight[:, :, 0], bias, padding=1, out=out[:, :, 0])
        ops.softmax(rows)
        ops.linear(rows, matrix, bias)
        ops.linear_backward_weight(rows, rows, out=(matrix, None))
        for call in wrong:
            with pytest.raises((TypeError, ValueError)):
                call()

    held = x, weight, out, bias, rows, matrix
    calls()
    before = [sys.getrefcount(array) for array in held]
    for _ in range(20):
        calls()
    assert [sys.getrefcount(array) for array in held] == before


MOVES = {
    "channel_shuffle": (lambda x, out: ops.channel_shuffle(x, 2, out=out), (2, 6, 5, 4)),
    "channel_shuffle of sequences": (lambda x, out: ops.channel_shuffle_backward(x, 3, out=out), (2, 6, 5)),
    "pixel_shuffle": (lambda x, out: ops.pixel_shuffle(x, 2, out=out), (2, 12, 3, 5)),
    "pixel_unshuffle": (lambda x, out: ops.pixel_unshuffle(x, 2, out=out), (2, 3, 4, 6)),
    "pad": (lambda x, out: ops.pad(x, padding=((1, 2), (0, 3)), mode="reflect", out=out), (2, 3, 4, 5)),
    "pad of volumes": (lambda x, out: ops.pad(x, padding=(1, 0, 2), value=0.5, out=out), (2, 3, 2, 4, 5)),
    "pad of sequences": (lambda x, out: ops.pad(x, padding=2, mode="circular", out=out), (2, 3, 4)),
    "interpolate": (lambda x, out: ops.interpolate(x, (7, 3), mode="bilinear", out=out), (2, 3, 4, 5)),
    "interpolate_backward": (
        lambda dy, out: ops.interpolate_backward(dy, (2, 3, 2, 3), scale_factor=2, out=out),
        (2, 3, 4, 6),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_of_usual_arrays_and_of_others_are_the_same(name):
    """Usual ones go through one call of the binding, the others and other results through Python."""
    move, shape = MOVES[name]
    x = random(*shape)
    y = move(x, None)
    for given in (x, channels_last(x), every_other(x), misaligned(x), reversed_memory(x), read_only(x)):
        assert move(given, None).tobytes() == y.tobytes()
        for make in (np.empty_like, lambda a: np.empty(a.shape, np.float32), lambda a: every_other(np.empty_like(a))):
            out = make(y)
            assert move(given, out) is out and out.tobytes() == y.tobytes()


def test_moves_that_do_not_fit_are_refused_before_and_after():
    x = random(2, 6, 4, 5)
    for call in (
        lambda: ops.channel_shuffle(x, 4),
        lambda: ops.pixel_shuffle(x, 2),
        lambda: ops.pixel_unshuffle(x, 2),
        lambda: ops.pad(x, padding=4, mode="reflect"),
        lambda: ops.pad(x, padding=(1, 6), mode="circular"),
        lambda: ops.pad(x, padding=-1),
        lambda: ops.interpolate(x, 3, out=x),
        lambda: ops.pad(x, padding=1, out=x),
    ):
        with pytest.raises(ValueError):
            call()
