"""The problem sizes that are timed, in named sets: shapes of tests/shapes.py, some of them with more images."""

from bench import tasks  # makes the tests' shapes importable

import map_shapes  # noqa: E402  isort: skip
import shapes  # noqa: E402  isort: skip


def batch(layer, n):
    """The layer on n images."""
    return layer._replace(n=n, name=f"{layer.name}_n{n}")


CONVOLUTIONS = {layer.name: layer for layer in shapes.REAL}
THREE_BY_THREE = [CONVOLUTIONS[f"resnet50_conv{stage}_3x3"] for stage in (2, 3, 4, 5)]
BATCHES = [batch(layer, n) for n in (4, 16, 32) for layer in THREE_BY_THREE]
BATCHES.append(batch(CONVOLUTIONS["vgg16_conv2_1"], 16))
CONVOLUTIONS |= {layer.name: layer for layer in BATCHES}


def _named(*names):
    return [CONVOLUTIONS[name] for name in names]


# The layers of the published comparison: one of each kind.
NAMED = _named(
    "resnet50_stem",
    "resnet50_conv2_expand",
    "resnet50_conv2_3x3",
    "resnet50_conv3_3x3",
    "resnet50_conv4_3x3",
    "resnet50_conv5_3x3",
    "resnet50_conv3_3x3_s2",
    "vgg16_conv2_1",
    "vgg16_conv1_2",
    "alexnet_tower_conv2",
    "mobilenet_depthwise_32",
    "mobilenet_depthwise_s1",
    "mobilenet_pointwise_512",
    "lenet_conv1_batch_32",
    "cifar_3x3_64",
)
# Layers near the borders between algorithms, where a rule may choose wrongly.
BORDERS = _named(
    "resnet50_conv5_3x3_n4",
    "resnet50_conv4_3x3_n16",
    "vgg16_conv5",
    "alexnet_tower_conv4",
    "cifar_3x3_16",
    "cifar_stem_3x3",
    "resnet50_conv3_shortcut_s2",
    "resnext_grouped_32",
)
QUICK = _named("resnet50_conv3_3x3", "resnet50_conv4_expand", "mobilenet_depthwise_s1", "lenet_conv1_batch_32")
CONV2D_SETS = {
    "quick": QUICK,
    "borders": BORDERS,
    "named": NAMED,
    "resnet50": list(shapes.RESNET50),
    "vgg16": list(shapes.VGG16),
    "alexnet": list(shapes.ALEXNET),
    "mobilenet": list(shapes.MOBILENET),
    "lenet": list(shapes.LENET),
    "others": list(shapes.OTHERS),
    "batches": BATCHES,
    "all": list(CONVOLUTIONS.values()),
}
POOLS = {size.name: size for size in shapes.REAL_POOLS}
IMAGES = {size.name: size for size in shapes.REAL_IMAGES}
# What bench.marks alone times: 44 MB and more, which lie beyond the caches, and arrays within them.
FOR_MARKS = {
    "pool2d": [
        batch(POOLS["vgg16_pool1"], 4),
        batch(POOLS["resnet50_pool"], 16),
        batch(POOLS["sppf_5x5"], 64),
        batch(POOLS["global_7x7"], 128),
        batch(POOLS["adaptive_7"], 64),
    ],
    "activation": [
        shapes.Elementwise("in_cache_1k", 1024),
        shapes.Elementwise("in_cache_4k", 4096),
        shapes.Elementwise("in_cache_512k", 1 << 19),
        shapes.Elementwise("in_memory_16m", 1 << 24),
    ],
    "elementwise": [batch(IMAGES["resnet50_conv2_sum"], 20)],
    "recurrent": [
        shapes.Recurrent(f"{kind}_{steps}_{batch}_{size}", kind, steps, batch, size, size)
        for kind in ("lstm", "gru", "rnn_tanh")
        for steps, batch, size in (
            (64, 16, 128),
            (64, 32, 256),
            (64, 32, 512),
            (64, 1, 128),
            (64, 1, 256),
            (64, 1, 512),
        )
        if kind == "rnn_tanh" or (batch, size) not in ((32, 256), (1, 256))
    ],
}
SIZES = {
    "conv2d": CONVOLUTIONS,
    "maps": {size.name: size for size in map_shapes.REAL_MAPS},
    "gemm": {size.name: size for size in shapes.REAL_GEMMS},
    "pool2d": POOLS,
    "interpolate": {size.name: size for size in shapes.REAL_RESIZES},
    "rearrange": {size.name: size for size in shapes.REAL_REARRANGEMENTS},
    "dropout": {size.name: size for size in shapes.REAL_ARRAYS},
    "activation": {size.name: size for size in shapes.REAL_ARRAYS},
    "elementwise": IMAGES,
    "softmax": {size.name: size for size in shapes.REAL_ROWS},
    "cross_entropy": {size.name: size for size in shapes.REAL_ROWS},
    "ctc": {size.name: size for size in shapes.REAL_TRANSCRIPTIONS},
    "norm": {size.name: size for size in shapes.REAL_NORMS},
    "recurrent": {size.name: size for size in shapes.REAL_RECURRENT},
    "call": {"tiny": shapes.Tiny("tiny")},
}
for _op, _sizes in FOR_MARKS.items():
    SIZES[_op] = SIZES[_op] | {size.name: size for size in _sizes}


def sizes(op):
    """The sizes of an op but those for marks alone."""
    return [size for size in SIZES[op].values() if size not in FOR_MARKS.get(op, ())]


def convolutions(names):
    """The layers of a comma-separated list of sets and layers, each once. KeyError names what there is."""
    chosen = {}
    for name in names.split(","):
        layers = CONV2D_SETS.get(name) or ([CONVOLUTIONS[name]] if name in CONVOLUTIONS else None)
        if layers is None:
            raise KeyError(f"{name}: neither a set ({', '.join(CONV2D_SETS)}) nor a layer ({', '.join(CONVOLUTIONS)})")
        chosen |= {layer.name: layer for layer in layers}
    return list(chosen.values())


def tasks_of(names, passes=None):
    """Tasks for a comma-separated list of workloads, sets of convolutions and ops, in each of the passes (default: the
    op's first)."""
    for name in names.split(","):
        op = next((op for op, known in SIZES.items() if name == op or name in known), "conv2d")
        if op == "conv2d" and name != op:
            chosen = convolutions(name)
        else:
            chosen = sizes(op) if name == op else [SIZES[op][name]]
        for size in chosen:
            for pass_ in passes.split(",") if passes else tasks.OPS[op].passes[:1]:
                yield tasks.Task(op, pass_, size)


def every(op, quick=False):
    """All tasks of an op but those for marks alone; quick: its first size alone."""
    return [tasks.Task(op, pass_, size) for size in sizes(op)[: 1 if quick else None] for pass_ in tasks.OPS[op].passes]


def position(op, name):
    """Where a workload stands in tables: the named layers, then the order of tests/shapes.py; unknown ones are last."""
    named = [layer.name for layer in NAMED] if op == "conv2d" else []
    order = [*named, *SIZES.get(op, {})]
    return order.index(name) if name in order else len(order)


def task(op, name, pass_):
    """The task of a workload by its name."""
    return tasks.Task(op, pass_, SIZES[op][name])


def _by(values):
    return "x".join(map(str, values))


def _images(size):
    return f", batch {size.n}" if size.n > 1 else ""


def _conv2d(size):
    """Kernel/stride, channels, map, images."""
    kernel = _by(size.kernel) + (f"/{size.stride[0]}" if size.stride[0] > 1 else "")
    dilated = f", dilated {size.dilation[0]}" if size.dilation[0] > 1 else ""
    if size.groups == size.c and size.groups > 1:
        channels, groups = f"{size.c}", " depthwise"
    else:
        channels, groups = f"{size.c}-{size.k}", f", {size.groups} groups" if size.groups > 1 else ""
    return f"{kernel}{groups}{dilated}, {channels}, {size.h}{_images(size)}"


def _maps(size):
    strides = set(size.each("stride"))
    stride = "" if strides == {1} else f"/{_by(strides if len(strides) == 1 else size.each('stride'))}"
    kind = "transposed " if size.transposed else "depthwise " if size.groups == size.c > 1 else ""
    groups = f", {size.groups} groups" if 1 < size.groups < size.c else ""
    return f"{kind}{_by(size.kernel)}{stride}{groups}, {size.c}-{size.k}, {_by(size.sizes)}"


def _gemm(size):
    batch = f"{size.batch} times " if size.batch > 1 else ""
    return f"{batch}{size.m} x {size.n} x {size.k}" + (", weights (n, k)" if size.linear else "")


def _pool2d(size):
    if size.output:
        window = "global" if size.output == 1 else f"adaptive to {size.output}"
    else:
        window = f"{size.kernel}x{size.kernel}" + (f"/{size.stride}" if size.stride > 1 else "")
    return f"{window}, {_images_of(size)}"


def _interpolate(size):
    return f"{size.factor} times, {_images_of(size)}"


def _count(size):
    """In units of 1024."""
    thousands = size.count >> 10
    return f"{thousands >> 10} Mi" if thousands >= 1024 else f"{thousands} Ki"


def _images_of(size):
    return f"{size.c} channels, {size.h} x {size.w}{_images(size)}"


def _rows(size):
    axis = "" if size.axis in (-1, len(size.shape) - 1) else f" on axis {size.axis}"
    return " x ".join(map(str, size.shape)) + axis + (", channels last" if size.channels_last else "")


def _transcription(size):
    return f"T {size.steps}, N {size.batch}, {size.classes} classes, {size.labels} labels"


def _norm(size):
    return f"{size.kind} norm, {' x '.join(map(str, size.shape))}"


def _recurrent(size):
    return f"{size.kind.upper()} T {size.steps}, N {size.batch}, I {size.inputs}, H {size.hidden}"


DESCRIPTIONS = {
    "conv2d": _conv2d,
    "maps": _maps,
    "gemm": _gemm,
    "pool2d": _pool2d,
    "interpolate": _interpolate,
    "rearrange": _images_of,
    "dropout": _count,
    "activation": _count,
    "elementwise": _images_of,
    "softmax": _rows,
    "cross_entropy": _rows,
    "ctc": _transcription,
    "norm": _norm,
    "recurrent": _recurrent,
}


def describe(op, name):
    """A workload in a table, as briefly as tells it from the others."""
    size = SIZES[op].get(name)
    if size is None or op not in DESCRIPTIONS:
        return name.replace("_", " ") if size else name
    return DESCRIPTIONS[op](size)
