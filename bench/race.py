"""Times several libraries at one task, each in a process of its own, turn by turn.

A process whose turn it is not is stopped (SIGSTOP), so that no idle pool of threads spins beside the one being timed.
In every round each contender runs for a short while, and the FMA peak is measured; the order rotates.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import tasks

START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bench.worker import main; main(sys.argv[2])"
HOPELESS = 3.0
PATIENCE = 120.0  # seconds for one answer
ROOT = str(Path(__file__).resolve().parent.parent)


FAILED = "FAILED: "  # what begins the reason of a contender that should have run


class WorkerError(RuntimeError):
    """A worker died or refused a command."""


class Contender(NamedTuple):
    """One way of doing a task: a library's mode; fastconv's modes are its algorithms."""

    library: str
    mode: str
    isa: str | None = None

    def __str__(self):
        return f"{self.library}:{self.mode}" + (f":{self.isa}" if self.isa else "")


class Result(NamedTuple):
    """What a race found.

    times: {contender: seconds of every call}. peaks: {instruction set: flops a second}. skipped: {contender: why}.
    bytes: of the operands and the result, each moved once. bandwidths: {"copy" or "read": bytes a second} of arrays of
    as many bytes in all (bench/bandwidth.py).
    """

    task: tasks.Task
    threads: int
    times: dict
    peaks: dict
    skipped: dict
    versions: dict
    bytes: int
    bandwidths: dict = {}

    @property
    def unit(self):
        return "GFLOP/s" if self.task.flops else "GB/s"

    def peak(self, contender=None):
        """The FMA peak of the contender's instruction set, the highest where it has none of its own."""
        return self.peaks.get(contender and contender.isa, max(self.peaks.values()))

    def best(self, contender):
        """Seconds of the fastest call. WorkerError where there is none."""
        if contender in self.skipped:
            raise WorkerError(f"{contender} at {self.task.name}: {self.skipped[contender]}")
        return min(self.times[contender])

    def speed(self, contender):
        """Floating-point operations a second by the direct algorithm's count; bytes where the task counts none."""
        return (self.task.flops or self.bytes) / self.best(contender)

    def fastest(self, matches=lambda contender: contender.library != "fastconv"):
        """The fastest of the contenders that match, of all other libraries unless told; None where there is none."""
        return min(filter(matches, self.times), key=self.best, default=None)

    def merged(self, other):
        """This result with the times of another race at the same task added."""
        times = {c: self.times.get(c, []) + other.times.get(c, []) for c in self.times | other.times}
        return self._replace(
            times=times, peaks=_highest(self.peaks, other.peaks), bandwidths=_highest(self.bandwidths, other.bandwidths)
        )


def _highest(one, other):
    return {key: max(value, other.get(key, 0.0)) for key, value in one.items()}


class Worker:
    """A library in a process of its own, stopped between its turns."""

    def __init__(self, library, threads):
        self.library, self.ended = library, False
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "FASTCONV_NUM_THREADS": str(threads),
            # Memory is not given back to the system between calls: for no library do fresh pages count.
            "MALLOC_MMAP_THRESHOLD_": str(2**30),
            "MALLOC_TRIM_THRESHOLD_": str(2**40),
        }
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        path = [entry for entry in sys.path if entry]
        if ROOT not in path:
            path.append(ROOT)
        command = [sys.executable, "-c", START, json.dumps(path), library]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, env=environment, text=True
        )
        hello = self._read()
        self.missing = hello.get("missing")
        self.version = hello.get("version")
        self._signal(signal.SIGSTOP)

    def _signal(self, number):
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def _read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready:
            self.process.kill()
        line = self.process.stdout.readline()
        if not line:
            self.ended = True
            self.said.seek(0)
            tail = self.said.read().decode(errors="replace")[-2000:]
            raise WorkerError(f"{self.library}: the process ended with {self.process.wait()}: {tail}")
        return json.loads(line)

    def ask(self, **command):
        """The answer to one command; the process runs only as long as it takes."""
        self._signal(signal.SIGCONT)
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended: reading says how
                self.process.stdin.write(json.dumps(command) + "\n")
                self.process.stdin.flush()
            answer = self._read()
        finally:
            self._signal(signal.SIGSTOP)
        if "failed" in answer:
            raise WorkerError(f"{self.library}: {answer['failed']}")
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Answer(NamedTuple):
    """The right result of a task: its file, the largest error that is rounding, the bytes that the task moves."""

    path: str
    allowed: float
    bytes: int


class Workers:
    """The processes of a session, started when first asked for: one a library and number of threads."""

    def __init__(self):
        self.workers = {}
        self.folder = tempfile.TemporaryDirectory()
        self.answers = {}  # {task: Answer} of the last task: races are often run again

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End all processes."""
        for worker in self.workers.values():
            worker.close()
        self.folder.cleanup()

    def answer(self, task):
        """What the task's results are compared with."""
        if task not in self.answers:
            path, operands = str(Path(self.folder.name, "expected.npy")), task.operands()
            right = task.expected(operands)
            np.save(path, right)
            moved = sum(array.nbytes for array in (*operands.values(), right))
            self.answers = {task: Answer(path, task.allowed(operands, right), moved)}
        return self.answers[task]

    def get(self, library, threads):
        key = library, threads
        if key not in self.workers or self.workers[key].ended:
            self.workers[key] = Worker(library, threads)
        return self.workers[key]


def enter(workers, task, contender, threads, right):
    """(key, None) of a contender whose result is right, or (None, why it does not run: FAILED where it should)."""
    worker = workers.get(contender.library, threads)
    if worker.missing:
        return None, f"not installed ({worker.missing})"
    options = {"threads": threads, "isa": contender.isa}
    try:
        answer = worker.ask(do="prepare", task=task.dumps(), mode=contender.mode, options=options, expected=right.path)
        if "unsupported" in answer:
            return None, answer["unsupported"]
        # Not "error > allowed", which a NaN would pass.
        if answer["error"] != 0 and not answer["error"] <= right.allowed:
            return None, f"{FAILED}the result is wrong by {answer['error']}"
    except WorkerError as error:
        return None, f"{FAILED}{str(error).splitlines()[0]}"  # its own affair: the others are still compared
    return answer["key"], None


METERED = 0.015  # seconds that a peak or a bandwidth is measured in a round


def measured(meter, threads, peaks, bandwidths, moved):
    """Raise the peaks {instruction set: flops a second} and bandwidths {kind: bytes a second} to what is found now."""
    for isa in peaks:
        answer = meter.ask(do="peak", options={"threads": threads, "isa": isa}, seconds=METERED)
        peaks[isa] = max(peaks[isa], answer["flops_per_second"])
    for kind in bandwidths:
        answer = meter.ask(do="bandwidth", kind=kind, bytes=moved, seconds=METERED)
        bandwidths[kind] = max(bandwidths[kind], answer["bytes_per_second"])


def race(workers, task, contenders, threads=1, rounds=8, seconds=0.05, bandwidths=()):
    """Time the contenders at a task: a Result.

    seconds: of each contender's turn in each of `rounds` rounds. bandwidths: which of "copy" and "read" to measure
    beside the FMA peak, on one thread. Who is HOPELESS times slower than the fastest after
    two rounds runs no more.
    """
    right = workers.answer(task)
    keys, skipped = {}, {}
    for contender in contenders:
        keys[contender], reason = enter(workers, task, contender, threads, right)
        if reason:
            skipped[contender] = reason
    running = [contender for contender in contenders if contender not in skipped]
    times, meter = {contender: [] for contender in running}, workers.get("fastconv", threads)
    peaks = dict.fromkeys([c.isa for c in running if c.library == "fastconv"] or [None], 0.0)
    bandwidths = dict.fromkeys(bandwidths, 0.0)
    for turn in range(rounds):
        measured(meter, threads, peaks, bandwidths, right.bytes)
        first = turn % max(1, len(running))
        for contender in running[first:] + running[:first]:
            worker = workers.get(contender.library, threads)
            times[contender] += worker.ask(do="time", key=keys[contender], seconds=seconds)["times"]
        if turn == 1:
            fastest = min(min(values) for values in times.values())
            running = [contender for contender in running if min(times[contender]) < HOPELESS * fastest]
    for library in {contender.library for contender in times} | {"fastconv"}:
        workers.get(library, threads).ask(do="forget")
    versions = {c.library: workers.get(c.library, threads).version for c in times}
    return Result(task, threads, times, peaks, skipped, versions, right.bytes, bandwidths)
