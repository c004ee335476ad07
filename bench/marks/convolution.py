"""Convolutions: shares of the peak, other libraries, the choice of algorithm, memory, the first call, two threads."""

import itertools

import numpy as np

from bench import race, tasks, workloads
from bench.marks.checks import Check, Line, wanted
from fastconv import _native, ops, runtime

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT = "forward", "backward_input", "backward_weight"
TRAINING = (FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT)
STAGES = (2, 3, 4, 5)


def _stage_layers():
    for stage in STAGES:
        for kind in ("1x1", "reduce", "expand", "3x3"):
            name = f"resnet50_conv{stage}_{kind}"
            if name in workloads.CONVOLUTIONS:
                yield name, 0.90 if stage == 5 else 0.95
    yield "alexnet_tower_conv2", 0.95
    for stage in (3, 4, 5):
        yield f"resnet50_conv{stage}_3x3_s2", 0.90 if stage == 5 else 0.93


WINOGRAD_LAYERS = ("resnet50_conv2_3x3", "resnet50_conv3_3x3", "resnet50_conv4_3x3", "vgg16_conv2_1")
DEPTHWISE_LAYERS = ("mobilenet_depthwise_32", "mobilenet_depthwise_s2", "mobilenet_depthwise_128")
DEPTHWISE_LAYERS += ("mobilenet_depthwise_s1", "efficientnet_depthwise_5x5", "efficientnet_depthwise_5x5_672")
SMALL_LAYERS = ("lenet_conv1_batch_32", "lenet_conv2_batch_32", "cifar_stem_3x3", "cifar_3x3_16", "digits_3x3_8")
OTHER_LAYERS = ("resnext_grouped_16", "resnext_grouped_32", "deeplab_dilated", "inception_1x7", "inception_7x1")
OTHER_LAYERS += tuple(f"resnet50_conv{stage}_shortcut_s2" for stage in (3, 4, 5))
BACKWARD_LAYERS = ("resnet50_conv2_expand", "resnet50_conv3_reduce", "resnet50_conv4_expand", "resnet50_conv5_reduce")
BACKWARD_LAYERS += ("resnet50_conv3_3x3_s2", "resnet50_conv4_3x3_s2", "resnet50_conv4_shortcut_s2")


def _winograd_checks():
    for name in [*WINOGRAD_LAYERS, *(f"{name}_n16" for name in WINOGRAD_LAYERS)]:
        over = (("ncnn", 1.2), ("best but ncnn", 2.3))
        yield Check("winograd", name, FORWARD, "winograd", 2.3, over)


def _backward_weight_checks():
    for stage in STAGES:
        yield Check("backward weight direct", f"resnet50_conv{stage}_3x3", BACKWARD_WEIGHT, "direct", 0.90)
    over = (("torch", 3.0),)
    for stage in (2, 3, 4):
        name = f"resnet50_conv{stage}_3x3"
        yield Check("backward weight winograd", name, BACKWARD_WEIGHT, "winograd", 2.0, over)
    for stage in STAGES:
        name = f"resnet50_conv{stage}_3x3_n4"
        yield Check("backward weight winograd", name, BACKWARD_WEIGHT, "winograd", 1.7 if stage == 5 else 2.0, over)


def checks():
    """Every mark that a race at one layer decides."""
    yield from (Check("direct", name, FORWARD, "direct", mark) for name, mark in _stage_layers())
    yield Check("stem", "resnet50_stem", FORWARD, "auto", 0.85, (("best peer", 1.0),))
    yield from _winograd_checks()
    for name in WINOGRAD_LAYERS:
        yield Check("backward input", name, BACKWARD_INPUT, "winograd", 2.2)
    yield from (Check("backward input", name, BACKWARD_INPUT, "auto", 0.90) for name in BACKWARD_LAYERS)
    yield from _backward_weight_checks()
    for row, layers in (("depthwise", DEPTHWISE_LAYERS), ("small channels", SMALL_LAYERS)):
        for name, pass_ in itertools.product(layers, TRAINING):
            yield Check(row, name, pass_, "auto", None, (("best peer", 2.0),))
    yield from (Check("grouped", name, FORWARD, "auto", 0.85) for name in OTHER_LAYERS)


SCALING = [("resnet50_stem", FORWARD), ("resnet50_conv4_expand", FORWARD), ("vgg16_conv2_1", FORWARD)]
SCALING += [(f"resnet50_conv{stage}_3x3", pass_) for stage in STAGES for pass_ in TRAINING]


def scaling(workers, options):
    """Two threads over one: each in a process of its own, turn by turn."""
    own = race.Contender("fastconv", "auto", options.isa)
    for name, pass_ in wanted(options, SCALING):
        task = tasks.Task("conv2d", pass_, workloads.CONVOLUTIONS[name])
        best, ratio = {1: [], 2: []}, 0.0
        for _ in range(2):
            for _, threads in itertools.product(range(3), best):
                # Longer turns than elsewhere: threads may share a core for a while before they are spread.
                result = race.race(workers, task, [own], threads, 4, 2 * options.seconds)
                best[threads].append(result.best(own))
            ratio = min(best[1]) / min(best[2])
            if ratio >= 1.85:
                break
        yield Line("two threads", f"{name} {pass_}", ratio, 1.85, "x one thread")


def first_call(workers, options):
    """A call in a new process, and a new geometry in a warm one, beside the calls after it."""
    for name in ("lenet_conv1", "resnet50_conv4_expand", "resnet50_conv4_3x3"):
        task = tasks.Task("conv2d", "forward_unpacked", workloads.CONVOLUTIONS[name])
        extra = []
        for _ in range(5):
            with race.Workers() as fresh:
                worker = fresh.get("fastconv", options.threads)
                settings = {"threads": options.threads, "isa": options.isa}
                extra.append(worker.ask(do="first", task=task.dumps(), options=settings)["extra"])
        yield Line("first call", f"{name}, new process", np.median(extra) * 1e6, 100, "us more", at_least=False)


def scratch(workers, options):
    """Workspace and packed weights of 9x9 over 64 channels of 224 x 224, and of the largest named layers."""
    wide = workloads.shapes.square("9x9_64_224", 1, 64, 224, 64, 9, 1, 4)
    layers = [wide, *(workloads.CONVOLUTIONS[name] for name in ("vgg16_conv1_2", "vgg16_conv4_2"))]
    for layer, algorithm in itertools.product(layers, _native.CONV2D_ALGORITHMS):
        if algorithm == "winograd_6x6" and layer is not wide:
            continue  # on request only: its weights alone are 67 MB at 512 to 512 channels, 64 / 9 of the plain ones
        try:
            plan = ops.conv2d_plan(layer.x_shape, layer.weight_shape, **layer.geometry, algorithm=algorithm)
        except ValueError:
            continue
        with runtime.options(isa=options.isa, num_threads=2):
            context = runtime.context()
        packed = plan.pack(np.zeros(layer.weight_shape, np.float32), context).nbytes
        sizes = [plan.workspace_bytes(i, context) + (packed if i == 0 else 0) for i in range(3)]
        note = "two threads, largest of the passes"
        yield Line("scratch", f"{layer.name} {algorithm}", max(sizes) / 1e6, 64, "MB", at_least=False, note=note)


def _chosen(layer, pass_):
    """The algorithm that "auto" is."""
    if pass_ == FORWARD:
        weight = np.zeros(layer.weight_shape, np.float32)
        return ops.conv2d_pack(weight, layer.x_shape, **layer.geometry).algorithm
    plan = ops.conv2d_plan(layer.x_shape, layer.weight_shape, **layer.geometry)
    return plan.algorithms[{"forward_unpacked": 0, BACKWARD_INPUT: 1, BACKWARD_WEIGHT: 2}[pass_]]


def _best(result, modes):
    """Seconds of the fastest of fastconv's modes."""
    return min(result.best(contender) for contender in result.times if contender.mode in modes)


def choice(workers, options):
    """What "auto" picks, beside the best forced algorithm; F(6x6) is on request only."""
    algorithms = [name for name in _native.CONV2D_ALGORITHMS if name != "winograd_6x6"]
    contenders = [race.Contender("fastconv", name, options.isa) for name in algorithms]
    layers = wanted(options, [layer.name for layer in workloads.NAMED + workloads.BORDERS])
    for name, pass_ in itertools.product(layers, tasks.OPS["conv2d"].passes):
        layer, result = workloads.CONVOLUTIONS[name], None
        task, chosen = tasks.Task("conv2d", pass_, layer), _chosen(layer, pass_)
        for rounds in (options.rounds, 2 * options.rounds):
            again = race.race(workers, task, contenders, options.threads, rounds, options.seconds / 2)
            result = again if result is None else result.merged(again)
            for contender in contenders:
                if result.skipped.get(contender, "").startswith(race.FAILED):
                    raise race.WorkerError(f"{contender} at {task.name}: {result.skipped[contender]}")
            best = min(result.times, key=result.best)
            ratio = result.best(best) / _best(result, ("auto", chosen))  # the same code: what they differ by is noise
            if ratio >= 0.95:
                break
        note = f"auto is {chosen}" + (f", best is {best.mode}" if best.mode not in ("auto", chosen) else "")
        yield Line("auto", f"{name} {pass_}", ratio, 0.95, "x best forced", note=note)


SPECIAL = {"two threads": scaling, "first call": first_call, "scratch": scratch, "auto": choice}
