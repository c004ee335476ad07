"""The process in which one library is timed: reads commands from stdin and answers on stdout, JSON a line.

    {"do": "prepare", "task": ..., "mode": ..., "options": {...}, "expected": path}  -> {"key": n, "error": e}
    {"do": "time", "key": n, "seconds": s}   -> {"times": [seconds a call, ...]}
    {"do": "first", "task": ..., "options": {...}}  -> {"extra": seconds}              (fastconv alone)
    {"do": "peak", "options": {...}, "seconds": s}  -> {"flops_per_second": f}         (fastconv alone)
    {"do": "bandwidth", "kind": "copy" or "read", "bytes": n, "seconds": s}  -> {"bytes_per_second": f}
    {"do": "forget"}                         -> {}     (drops all that was prepared)

Whatever a library prints goes to stderr.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time

import numpy as np

from bench import bandwidth, tasks
from bench.peers import Unsupported

SHORTEST = 50e-6  # seconds of one measurement: shorter calls are timed several at a time
FEWEST = 3  # measurements of one command, however long they take


def measure(call, seconds):
    """Seconds a call, of measurements one after the other for at least `seconds` in all."""
    clock = time.perf_counter
    call()
    start = clock()
    call()
    once = clock() - start
    count = max(1, round(SHORTEST / once))
    times, end = [once] if count == 1 else [], start + seconds
    while len(times) < FEWEST or clock() < end:
        if count == 1:
            start = clock()
            call()
            times.append(clock() - start)
        else:
            start = clock()
            for _ in range(count):
                call()
            times.append((clock() - start) / count)
    return times


class Server:
    """Answers the commands of one process."""

    def __init__(self, peer):
        self.peer, self.calls = peer, {}  # {key: (call, options)}
        self.meters = {}  # {(kind, bytes): calls}

    def prepare(self, command):
        task, options = tasks.Task.loads(command["task"]), command["options"]
        self.peer.configure(options)
        try:
            operands = task.operands()
            call, fetch = self.peer.prepare(task, command["mode"], options, operands)
            result = task.compared(operands, fetch(call()))
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        right = np.load(command["expected"], mmap_mode="r")
        if result.shape != right.shape:
            return {"failed": f"the result has shape {result.shape}, not {right.shape}"}
        key = str(len(self.calls))
        self.calls[key] = call, options
        return {"key": key, "error": float(np.max(np.abs(result - right), initial=0))}

    def time(self, command):
        call, options = self.calls[command["key"]]
        self.peer.configure(options)
        return {"times": measure(call, command["seconds"])}

    def first(self, command):
        """The seconds that the first call of this process takes more than the median of those after it."""
        task = tasks.Task.loads(command["task"])
        self.peer.configure(command["options"])
        times = self.peer.first_calls(task, task.operands())
        return {"extra": times[0] - float(np.median(times[1:]))}

    def peak(self, command):
        from fastconv import profile

        self.peer.configure(command["options"])
        return {"flops_per_second": profile.fma_peak(seconds=command["seconds"])}

    def bandwidth(self, command):
        """Of arrays that are kept for the next rounds, best of all calls."""
        kind, count = command["kind"], command["bytes"]
        if (kind, count) not in self.meters:
            self.meters[kind, count] = bandwidth.KINDS[kind](count)
        calls = self.meters[kind, count]
        best = min(min(measure(call, command["seconds"] / len(calls))) for call in calls)
        return {"bytes_per_second": count / best}

    def forget(self, command):
        self.calls.clear()
        self.meters.clear()
        return {}

    def answer(self, command):
        try:
            return getattr(self, command["do"])(command)
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"}


def end_with_parent():
    """A stopped process does not see that its parent is gone: on Linux the kernel ends it then."""
    if sys.platform == "linux":
        set_signal_of_parents_death = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_signal_of_parents_death, signal.SIGKILL)


def main(library):
    end_with_parent()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(message):
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        server = Server(importlib.import_module(f"bench.peers.{library}"))
    except ImportError as error:
        reply({"missing": str(error)})
        return
    reply({"version": server.peer.VERSION})
    gc.disable()
    for line in sys.stdin:
        reply(server.answer(json.loads(line)))
        gc.collect(0)
