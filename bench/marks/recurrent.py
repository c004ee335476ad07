"""Recurrent layers: batches, single sequences, one step of a cell, two threads."""

import itertools

from bench import race, workloads
from bench.marks.checks import Check, Line, wanted

# {kind: (over onnxruntime, over torch, training over torch)}
BATCHES = {"lstm": (1.1, 1.4, 1.4), "gru": (1.3, 1.4, 1.5), "rnn_tanh": (1.3, 1.4, 1.4)}
PEAKS = {"64_16_128": 0.85, "64_32_256": 0.85, "64_32_512": 0.82}
SINGLE = ("64_1_128", "64_1_256", "64_1_512")


def checks():
    """Every mark that a race at one workload decides."""
    for (kind, (over_onnx, over_torch, training)), (size, peak) in itertools.product(BATCHES.items(), PEAKS.items()):
        name, over = f"{kind}_{size}", (("onnxruntime", over_onnx), ("torch", over_torch))
        yield Check("recurrent batch", name, "forward", of_peak=peak, over=over, op="recurrent")
        yield Check("recurrent batch", name, "backward", of_peak=0.80, op="recurrent")
        yield Check("recurrent batch", name, "training", over=(("torch", training),), op="recurrent")
    for kind, size in itertools.product(BATCHES, SINGLE):
        over = (("onnxruntime", 1.3), ("torch", 3.0))
        yield Check("recurrent single", f"{kind}_{size}", "forward", over=over, op="recurrent")


def two_threads(workers, options):
    """Two threads over one, and over onnxruntime's two where there is one sequence."""
    own, rival = race.Contender("fastconv", "default", options.isa), race.Contender("onnxruntime", "session")
    for name in wanted(options, ["lstm_64_32_256", "gru_64_32_256"]):
        task, best = workloads.task("recurrent", name, "forward"), {1: float("inf"), 2: float("inf")}
        for _, threads in itertools.product(range(6), best):
            best[threads] = min(best[threads], race.race(workers, task, [own], threads, 2, options.seconds).best(own))
        yield Line("two threads of recurrent", name, best[1] / best[2], 1.7, "x one thread")
    for name in wanted(options, [f"{kind}_{size}" for kind in BATCHES for size in SINGLE]):
        task = workloads.task("recurrent", name, "forward")
        result = race.race(workers, task, [own, rival], 2, 2 * options.rounds, options.seconds)
        if rival in result.times:
            yield Line("two threads of recurrent", name, result.best(rival) / result.best(own), 2.0, "x onnxruntime")


SPECIAL = {"two threads of recurrent": two_threads}
