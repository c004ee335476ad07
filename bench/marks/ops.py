"""All but convolutions: products, pooling, elementwise functions, softmax, normalisation, calls, two threads."""

import itertools

from bench import race, workloads
from bench.marks.checks import SHOWN, Check, Line, wanted

AHEAD = (("numpy and torch", 1.0),)
# {row: (the workloads, each with its share of the peak; ratios to other libraries)}
PRODUCTS = {
    "gemm large": ({"square_512": 0.95, "square_1024": 0.95}, AHEAD),
    "gemm small": ({"square_64": 0.80, "square_128": 0.90, "square_256": 0.93}, AHEAD),
    "gemm skinny": (
        dict.fromkeys(
            ("resnet50_conv5_unfolded", "resnet50_conv2_unfolded", "hidden_1024_batch_32", "hidden_1024_batch_6"), 0.88
        ),
        (),
    ),
    "gemm batch": (dict.fromkeys(("heads_8", "heads_16", "heads_32", "heads_64")), (("numpy and torch", 2.0),)),
}
ROWS_TIMES_MATRIX = ("hidden_1024", "resnet50_classifier", "vgg16_fc7")
ROWS_TIMES_MATRIX += tuple(f"{name}_linear" for name in ROWS_TIMES_MATRIX)
# Windows 2x2/2, 3x3/2, 3x3, 5x5, global and adaptive: beyond the caches.
POOLS = ("vgg16_pool1_n4", "resnet50_pool_n16", "pool_3x3_s1_256", "sppf_5x5_n64", "global_7x7_n128", "adaptive_7_n64")
POOL_MARKS = (("torch nchw", 5.0), ("best peer", 1.3))
CYCLES = {"exp": 7.0, "tanh": 10.0, "sigmoid": 10.0, "gelu": 13.0, "silu": 11.0}
ROWS = ("rows_1000_batch_262", "rows_10_batch_26214", "rows_100_batch_2621", "rows_50000_batch_64")
ROWS += ("segmentation_nhwc",)
SOFTMAX = ("softmax", "log_softmax", "softmax_backward", "log_softmax_backward")
NORMS = ("batch_resnet50_conv2", "batch_resnet50_conv4", "batch_stem", "layer_4096_768", "group_56", "instance_128")
NORMS += ("rms_4096_768", "response_alexnet_55")


def _product_checks():
    for row, (names, over) in PRODUCTS.items():
        for name, of_peak in names.items():
            yield Check(row, name, "forward", of_peak=of_peak, over=over, op="gemm")
    for name in ROWS_TIMES_MATRIX:
        yield Check("gemm vector", name, "forward", op="gemm", of_read=0.85)


def _norm_checks():
    for name, pass_ in itertools.product(NORMS, ("training", "backward")):
        of_copy = SHOWN if name.startswith("batch") else None
        yield Check("norm", name, pass_, over=(("torch", 1.5),), op="norm", of_copy=of_copy)


def checks():
    """Every mark that a race at one workload decides."""
    yield from _product_checks()
    for name, pass_ in itertools.product(POOLS, ("max", "avg", "max_backward", "avg_backward")):
        yield Check("pool2d", name, pass_, over=POOL_MARKS, op="pool2d", of_copy=0.80)
    yield Check("elementwise", "in_memory_16m", "relu", op="activation", of_copy=0.90)
    for pass_ in ("add", "mul", "bias"):
        yield Check("elementwise", "resnet50_conv2_sum_n20", pass_, op="elementwise", of_copy=0.90)
    for name in CYCLES:
        yield Check("activations", "in_cache_64k", name, over=(("best peer", 1.5),), op="activation")
    for name, pass_ in itertools.product(ROWS, SOFTMAX):
        yield Check("softmax", name, pass_, over=(("torch", 1.5),), op="softmax")
    for name in ROWS:
        yield Check("softmax", name, "training", over=(("torch", 1.5),), op="cross_entropy")
    yield from _norm_checks()


# ------------------------------------------------------------------------------------- rows that are no single race

SHORT, LONG = "in_cache_1k", "in_cache_4k"
FLOPS_A_CYCLE = 32  # of AVX2 on every core with two units that multiply and add 8 numbers (Haswell, Zen 2 and after)


def _clock(workers):
    """Cycles a second, from AVX2's FMA peak."""
    meter = workers.get("fastconv", 1)
    return meter.ask(do="peak", options={"threads": 1, "isa": "avx2"}, seconds=0.03)["flops_per_second"] / FLOPS_A_CYCLE


def cycles(workers, options):
    """Core cycles that 8 numbers more take, in the L1 cache, with AVX2 unless told.

    From the times of two lengths, so that the call's own time does not count.
    """
    own = race.Contender("fastconv", "default", options.isa or "avx2")
    more = (workloads.SIZES["activation"][LONG].count - workloads.SIZES["activation"][SHORT].count) / 8
    for name, mark in wanted(options, CYCLES.items()):
        best, clock = {SHORT: float("inf"), LONG: float("inf")}, 0.0
        for rounds in (options.rounds, 2 * options.rounds):
            clock = max(clock, _clock(workers))
            for length in best:
                task = workloads.task("activation", length, name)
                result = race.race(workers, task, [own], 1, rounds, options.seconds)
                best[length] = min(best[length], result.best(own))
            measured = (best[LONG] - best[SHORT]) * clock / more
            if measured <= mark:
                break
        note = f"{own.isa}, at {clock / 1e9:.2f} GHz"
        yield Line("activation cycles", f"{name}, 8 numbers", measured, mark, "cycles", at_least=False, note=note)


CALLS = {"relu": 2.0, "softmax": 2.0, "linear": 2.0, "conv2d": 3.0, "max_pool2d": 3.0}


def call(workers, options):
    """A call from Python on tiny arrays: its time, and PyTorch's over it."""
    own, rival = race.Contender("fastconv", "auto", options.isa), race.Contender("torch", "functional")
    for op, mark in wanted(options, CALLS.items()):
        task = workloads.task("call", "tiny", op)
        result = race.race(workers, task, [own, rival], options.threads, options.rounds, options.seconds)
        yield Line("call", f"{op}, tiny arrays", result.best(own) * 1e6, mark, "us", at_least=False)
        if rival in result.times:
            note = f"{result.best(rival) * 1e6:.2f} us by {rival}"
            yield Line("call", op, result.best(rival) / result.best(own), 1.0, "x torch", note=note)


# (op, workload, pass, least ratio): what computes, and what waits for memory, for which nothing is owed.
TWO_THREADS = [
    ("activation", "in_cache_512k", "tanh", 1.8),
    ("activation", "in_cache_512k", "gelu", 1.8),
    ("gemm", "square_512", "forward", 1.8),
    ("softmax", "rows_1000_batch_262", "softmax", 1.8),
    ("activation", "in_memory_16m", "relu", None),
    ("elementwise", "resnet50_conv2_sum_n8", "add", None),
    ("pool2d", "vgg16_pool1", "max", None),
    ("norm", "batch_stem", "training", None),
]


def two_threads(workers, options):
    """Two threads over one: each in a process of its own, turn by turn."""
    own = race.Contender("fastconv", "default", options.isa)
    for op, name, pass_, mark in TWO_THREADS:
        if not wanted(options, [name]):
            continue
        task, best = workloads.task(op, name, pass_), {1: float("inf"), 2: float("inf")}
        for _, threads in itertools.product(range(6), best):
            # Two rounds in turn: threads may share a core for a while before they are spread.
            best[threads] = min(best[threads], race.race(workers, task, [own], threads, 2, options.seconds).best(own))
            if threads == 2 and mark is not None and best[1] / best[2] >= mark:
                break
        yield Line("two threads of ops", f"{name} {pass_}", best[1] / best[2], mark, "x one thread")


SPECIAL = {"activation cycles": cycles, "two threads of ops": two_threads, "call": call}
