"""A mark: what one workload and pass owe, how it is measured, and the line that says whether it is reached."""

from typing import NamedTuple

from bench import race, workloads
from bench.peers import MODES, modes
from fastconv import _native

# The other libraries (or modes of them) a ratio is to: the fastest of them.
RIVALS = {
    "best peer": tuple(MODES),
    "ncnn": ("ncnn",),
    "onnxruntime": ("onnxruntime",),
    "best but ncnn": tuple(name for name in MODES if name != "ncnn"),
    "torch": ("torch",),
    "torch nchw": ("torch:nchw",),
    "numpy and torch": ("numpy", "torch"),
}
SHOWN = 0.0  # in place of a mark: the value is shown, and owes nothing


class Check(NamedTuple):
    """What one workload and pass owe: shares of the FMA peak, of the bandwidth of a copy of as many bytes and of
    reading as many, and ratios to the speed of other libraries."""

    row: str
    layer: str
    pass_: str
    algorithm: str = "auto"
    of_peak: float | None = None
    over: tuple = ()  # ((a key of RIVALS, least ratio), ...)
    op: str = "conv2d"
    of_copy: float | None = None
    of_read: float | None = None

    @property
    def task(self):
        return workloads.task(self.op, self.layer, self.pass_)

    @property
    def what(self):
        return f"{self.layer} {self.pass_}" + (f" {self.algorithm}" if self.op == "conv2d" else "")


class Line(NamedTuple):
    """One measured value beside its mark. at_least: the value must not be less than the mark, else not more. No mark
    (None): the value is only shown."""

    row: str
    what: str
    measured: float | None
    mark: float | None
    unit: str
    at_least: bool = True
    note: str = ""

    @property
    def reached(self):
        if self.measured is None:
            return False
        if self.mark is None:
            return True
        return self.measured >= self.mark if self.at_least else self.measured <= self.mark


def wanted(options, names):
    """Of (name, ...) or names, those that --layers leaves."""
    only = options.layers.split(",") if options.layers else None
    return [name for name in names if only is None or (name if isinstance(name, str) else name[0]) in only]


def rivals_of(name, contender):
    """Whether a contender is of the RIVALS of this name."""
    return contender.library in RIVALS[name] or f"{contender.library}:{contender.mode}" in RIVALS[name]


def judged(check, own, result):
    """The lines of a check, from the race."""
    if own not in result.times:
        yield Line(check.row, check.what, None, check.of_peak or 1.0, "", note=result.skipped[own])
        return
    speed, moved = result.speed(own), result.bytes / result.best(own)
    if check.of_peak is not None:
        yield Line(check.row, check.what, speed / result.peak(own), check.of_peak, "of peak")
    for kind, mark in (("copy", check.of_copy), ("read", check.of_read)):
        if mark is not None:
            bandwidth = result.bandwidths[kind]
            note = f"{moved / 1e9:.1f} of {bandwidth / 1e9:.1f} GB/s, {result.bytes / 1e6:.1f} MB"
            unit = {"copy": "of STREAM", "read": "of reading"}[kind]
            yield Line(check.row, check.what, moved / bandwidth, mark or None, unit, note=note)
    for name, mark in check.over:
        rival = result.fastest(lambda contender, name=name: rivals_of(name, contender))
        if rival is None:
            continue
        note = f"{result.speed(rival) / 1e9:.1f} {result.unit} by {rival}"
        yield Line(check.row, check.what, speed / result.speed(rival), mark, f"x {name}", note=note)


def contenders(check, isa):
    """(fastconv's own, everybody in the race)"""
    if check.op == "conv2d":
        own, known = race.Contender("fastconv", check.algorithm, isa), check.algorithm in _native.CONV2D_ALGORITHMS
    else:
        own, known = race.Contender("fastconv", "default", isa), True
    others = [race.Contender(name, mode) for name in MODES for mode in modes(name, check.op, check.pass_)]
    if check.op == "conv2d":
        others = [other for other in others if other.library != "numpy"]  # never near, and slow
    racing = [other for other in others if any(rivals_of(name, other) for name, _ in check.over)]
    return own, [own, *racing] if known else []


def worth_another_run(check, racing, result, lines):
    """fastconv and, of the libraries of each mark that is missed, the two fastest modes."""
    chosen = [contender for contender in racing if contender.library == "fastconv"]
    missed = {line.unit for line in lines if not line.reached}
    for name in (name for name, _ in check.over if f"x {name}" in missed):
        known = [c for c in racing if rivals_of(name, c) and c in result.times]
        chosen += sorted(known, key=result.best)[:2]
    return list(dict.fromkeys(chosen))


def run_check(check, workers, options):
    """The lines of a check; one that misses is raced again for twice as long."""
    own, racing = contenders(check, options.isa)
    if not racing:
        return [Line(check.row, check.what, None, check.of_peak, "", note="no such algorithm")]
    meters = [kind for kind, mark in (("copy", check.of_copy), ("read", check.of_read)) if mark is not None]

    def run(who, rounds):
        return race.race(workers, check.task, who, options.threads, rounds, options.seconds, meters)

    result = run(racing, options.rounds)
    lines = list(judged(check, own, result))
    if own in result.times and not all(line.reached for line in lines):
        result = result.merged(run(worth_another_run(check, racing, result, lines), 2 * options.rounds))
        lines = list(judged(check, own, result))
    return lines
