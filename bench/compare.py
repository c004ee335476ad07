"""One table a task: every algorithm of fastconv and every library that is installed, turn by turn.

python -m bench.compare resnet50_conv3_3x3 --pass forward --threads 1 --isa avx2
python -m bench.compare quick --pass backward_weight --only direct,winograd,torch
python -m bench.compare lstm_64_32_256
"""

import argparse

from bench import race, workloads
from bench.peers import MODES, modes
from fastconv import _native


def contenders(op, pass_, isas=(None,)):
    """fastconv's algorithms on each instruction set, then the modes of the other libraries."""
    algorithms = list(_native.CONV2D_ALGORITHMS) if op == "conv2d" else ["default"]
    own = [race.Contender("fastconv", name, isa) for isa in isas for name in algorithms]
    return own + [race.Contender(library, mode) for library in MODES for mode in modes(library, op, pass_)]


def chosen(every, only):
    """Those of which a mode, library or both is in the comma-separated list; all where there is none."""
    wanted = only.split(",") if only else []
    names = lambda c: {c.library, c.mode, f"{c.library}:{c.mode}"}
    return [c for c in every if not wanted or names(c) & set(wanted)]


def work(result):
    """The head of a result's table."""
    counted = f"{result.task.flops / 1e6:.1f} Mflop" if result.task.flops else f"{result.bytes / 1e6:.2f} MB"
    plural = "s" * (result.threads > 1)
    peak = f"FMA peak {result.peak() / 1e9:.1f} GFLOP/s"
    return f"{result.task.name}, {result.threads} thread{plural}: {counted}, {peak}"


def table(result):
    """A Result as text: fastest first, with the ratio to the fastest of the other libraries."""
    rival = result.fastest()
    heads = f"  {'':32s} {'best us':>10s} {'median us':>10s} {result.unit:>8s} {'of peak':>8s} {'to best peer':>13s}"
    lines = [work(result), heads]
    for contender in sorted(result.times, key=result.best):
        times = sorted(result.times[contender])
        speed = result.speed(contender)
        of_peak = f"{speed / result.peak(contender):8.3f}" if result.task.flops else f"{'':8s}"
        ratio = f"{speed / result.speed(rival):13.2f}" if rival else ""
        lines.append(
            f"  {contender!s:32s} {times[0] * 1e6:10.1f} {times[len(times) // 2] * 1e6:10.1f} {speed / 1e9:8.1f} "
            f"{of_peak} {ratio}"
        )
    reasons = {}
    for contender, reason in result.skipped.items():
        rule = reason if reason.startswith(race.FAILED) else reason.split(": ")[-1]
        reasons.setdefault(rule, []).append(str(contender))
    return "\n".join(lines + [f"  {reason}: {', '.join(names)}" for reason, names in reasons.items()])


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.split("\n")[0])
    parser.add_argument("workloads", help="names of workloads or sets of them, comma-separated")
    parser.add_argument("--pass", dest="passes", default=None, help="comma-separated; default: the op's first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default=None, help="fastconv's instruction sets, comma-separated")
    parser.add_argument("--only", default=None, help="libraries and modes, comma-separated: direct,winograd,ncnn")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.04, help="a turn of one contender in a round")
    options = parser.parse_args(arguments)
    isas = options.isa.split(",") if options.isa else [None]
    with race.Workers() as workers:
        for task in workloads.tasks_of(options.workloads, options.passes):
            racing = chosen(contenders(task.op, task.pass_, isas), options.only)
            result = race.race(workers, task, racing, options.threads, options.rounds, options.seconds)
            print(table(result), flush=True)


if __name__ == "__main__":
    main()
