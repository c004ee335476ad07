"""What runs leave behind: a record for each task and contender, from a race, a pytest-benchmark file or a digest.

A digest (what docs/bench keeps) is JSON {"machine": {...}, "keys": [...], "records": [[...], ...]}, a line a record:
the numbers that the README's tables and the pictures are made of.
"""

import json
import platform
import time
from typing import NamedTuple

import numpy as np

from bench import workloads
from fastconv import runtime

KEYS = ("op", "workload", "pass", "library", "mode", "isa", "threads", "seconds", "median", "work", "unit", "peak")
KEYS += ("bytes", "version")


def of(result, contender):
    """The record of one contender. work: operations (or bytes) a call; peak: operations a second; seconds: the best."""
    times = sorted(result.times[contender])
    own_isa = contender.isa or runtime.isa() if contender.library == "fastconv" else None
    return {
        "op": result.task.op,
        "workload": result.task.size.name,
        "pass": result.task.pass_,
        "library": contender.library,
        "mode": contender.mode,
        "isa": own_isa,
        "threads": result.threads,
        "seconds": times[0],
        "median": times[len(times) // 2],
        "work": result.task.flops or result.bytes,
        "unit": result.unit,
        "peak": result.peak(contender),
        "bytes": result.bytes,
        "version": result.versions[contender.library],
    }


def speed(record):
    """GFLOP/s, or GB/s where the operation moves more than it computes."""
    return record["work"] / record["seconds"] / 1e9


def of_peak(record):
    """The share of the FMA peak, None where no operations are counted."""
    return speed(record) * 1e9 / record["peak"] if record["unit"] == "GFLOP/s" else None


class Row(NamedTuple):
    """One task: fastconv's own choice, its fastest algorithm, the best of the other libraries (None: there is none)."""

    key: tuple  # (op, workload, pass, isa, threads)
    own: dict | None
    fastest: dict | None
    rival: dict | None
    others: dict  # {library: the record of its fastest mode}

    @property
    def ratio(self):
        """fastconv's speed over the best peer's."""
        return speed(self.own) / speed(self.rival) if self.own and self.rival else None


def rows(records):
    """Rows in the order of the records: one a task, instruction set of fastconv and number of threads."""
    groups = {}
    for record in records:
        groups.setdefault((record["op"], record["workload"], record["pass"], record["threads"]), []).append(record)
    found = []
    for (op, workload, pass_, threads), group in groups.items():
        others = {}
        for record in sorted((r for r in group if r["library"] != "fastconv"), key=speed):
            others[record["library"]] = record
        rival = max(others.values(), key=speed, default=None)
        for isa in dict.fromkeys(record["isa"] for record in group if record["library"] == "fastconv") or [None]:
            mine = [record for record in group if record["library"] == "fastconv" and record["isa"] == isa]
            own = next((record for record in mine if record["mode"] in ("auto", "default")), None)
            fastest = max(mine, key=speed, default=None)
            found.append(Row((op, workload, pass_, isa, threads), own or fastest, fastest, rival, others))
    return found


def copy_bandwidth(size, repeats=20):
    """Bytes a second read and written by a copy between two arrays of `size` in all: one thread, best of many."""
    number, unit = size.split()
    count = int(number) * {"KB": 1 << 10, "MB": 1 << 20}[unit] // 8
    source, target, best = np.ones(count, np.float32), np.zeros(count, np.float32), float("inf")
    inner = max(1, (1 << 22) // count)
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(inner):
            np.copyto(target, source)
        best = min(best, (time.perf_counter() - start) / inner)
    return 8 * count / best


def machine():
    """What a reader must know of the machine."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    bandwidth = {size: copy_bandwidth(size) for size in ("64 MB", "256 KB")}
    return {
        "bandwidth": bandwidth,
        "cpu": name,
        "isa": runtime.isa(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def load(path):
    """(machine, records) of a digest, or of what `pytest bench --benchmark-json` wrote."""
    with open(path, encoding="utf-8") as file:
        saved = json.load(file)
    if "benchmarks" in saved:
        found = [bench["extra_info"] for bench in saved["benchmarks"] if "work" in bench["extra_info"]]
        return saved["machine_info"].get("fastconv", {}), [{key: info[key] for key in KEYS} for info in found]
    return saved["machine"], [dict(zip(saved["keys"], record, strict=True)) for record in saved["records"]]


def load_all(paths):
    """The records of several files, in the order of tables. What a later file has of a task replaces what earlier ones
    have: times of two runs are not compared."""
    machines, by_task = {}, {}
    for path in paths:
        described, found = load(path)
        machines |= described
        of_file = {}
        for record in found:
            of_file.setdefault(tuple(record[key] for key in ("op", "workload", "pass", "threads")), []).append(record)
        by_task |= of_file
    records = [record for group in by_task.values() for record in group]
    return machines, sorted(records, key=lambda record: workloads.position(record["op"], record["workload"]))


def shown(records):
    """Those that tables and pictures show: of each side the fastest way of doing a task, and fastconv's own choice."""
    kept = []
    for row in rows(records):
        for record in (row.own, row.fastest, *row.others.values()):
            if record is not None and record not in kept:
                kept.append(record)
    return kept


def save(path, described, records):
    """Write a digest of what is shown, a record a line."""
    records = shown(records)
    lines = ",\n".join(json.dumps([_rounded(record[key]) for key in KEYS]) for record in records)
    head = f'"machine": {json.dumps(described)},\n"keys": {json.dumps(KEYS)}'
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{{head},\n"records": [\n{lines}\n]}}\n')


def _rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value
