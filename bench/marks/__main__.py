"""python -m bench.marks"""

import argparse
import json
import sys
import time
from functools import partial

from bench import race
from bench.marks import GROUPS, SPECIAL, Line, checks, run_check, text, wanted


def chosen_rows(names, rows):
    """Of the rows those of a comma-separated list of rows and GROUPS."""
    chosen = set()
    for name in names.split(",") if names else rows:
        chosen |= set(GROUPS.get(name, (name,)))
    if unknown := chosen - set(rows):
        known = ", ".join([*GROUPS, *rows])
        raise SystemExit(f"--rows: {', '.join(sorted(unknown))}: must be of {known}")
    return [row for row in rows if row in chosen]


def lines(workers, options):
    """Every line, as it is measured."""
    every = list(checks())
    rows = [*dict.fromkeys(check.row for check in every), *SPECIAL]
    for row in chosen_rows(options.rows, rows):
        steps = [SPECIAL[row]] if row in SPECIAL else []
        steps += [partial(run_check, check) for check in every if check.row == row and wanted(options, [check.layer])]
        for step in steps:
            try:
                yield from step(workers, options)
            except race.WorkerError as error:
                yield Line(row, "FAILED", None, 0.0, "", note=str(error))


def parsed(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m bench.marks", description="the speeds this package owes: reached or missed"
    )
    parser.add_argument("--rows", default=None, help="rows or convolution, ops, recurrent; comma-separated")
    parser.add_argument("--layers", default=None, help="only these workloads, comma-separated")
    parser.add_argument("--isa", default=None, help="fastconv's instruction set (other libraries keep their best)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.03, help="a turn of one contender in a round")
    parser.add_argument("--json", default=None, help="a file for all lines")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parsed(arguments)
    start, found = time.perf_counter(), []
    with race.Workers() as workers:
        for line in lines(workers, options):
            found.append(line)
            print(text(line), flush=True)
    missed = [line for line in found if not line.reached]
    print(f"\n{len(found) - len(missed)} of {len(found)} marks reached in {time.perf_counter() - start:.0f} s")
    for line in missed:
        print(text(line))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([line._asdict() | {"reached": bool(line.reached)} for line in found], file, indent=1)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
