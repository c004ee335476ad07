"""The speeds this package owes, checked in one run: what is measured, the mark, pass or fail.

python -m bench.marks                          every row, one thread (about thirteen minutes)
python -m bench.marks --rows ops               all but convolutions (five minutes)
python -m bench.marks --isa avx2 --rows direct,winograd
A row that misses its mark is run once more for twice as long, and the times of both runs count.
"""

from bench.marks import convolution, ops, recurrent
from bench.marks.checks import Check, Line, judged, run_check, wanted

__all__ = ["GROUPS", "SCALING", "SPECIAL", "Check", "Line", "checks", "judged", "run_check", "text", "wanted"]

SCALING = convolution.SCALING
# Rows that are no single race: {row: its function of (workers, options), which yields lines}.
SPECIAL = convolution.SPECIAL | ops.SPECIAL | recurrent.SPECIAL
# Names for many rows.
GROUPS = {
    name: (*dict.fromkeys(check.row for check in module.checks()), *module.SPECIAL)
    for name, module in (("convolution", convolution), ("ops", ops), ("recurrent", recurrent))
}


def checks():
    """Every mark that a race at one workload decides."""
    yield from convolution.checks()
    yield from ops.checks()
    yield from recurrent.checks()


def text(line):
    measured = "none" if line.measured is None else f"{line.measured:.3f}"[:7]
    owed = "" if line.mark is None else f"{'>=' if line.at_least else '<='} {line.mark:<6g}"
    verdict = "MISSED" if not line.reached else "ok" if owed else ""
    return f"{line.row:24s} {line.what:52s} {measured:>8s} {owed:9s} {line.unit:16s} {verdict:7s}{line.note}"
