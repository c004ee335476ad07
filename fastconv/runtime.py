"""How calls run: the instruction set, the number of threads, and whether convolutions may use Winograd.

>>> from fastconv import runtime
>>> with runtime.options(isa="baseline", num_threads=1):
...     runtime.context()
Context(isa='baseline', num_threads=1, winograd=True)

The defaults come from the environment, read once at import:
    FASTCONV_ISA            baseline, avx2 or avx512; otherwise the best this CPU runs
    FASTCONV_NUM_THREADS    otherwise the least of CPU affinity, cgroup quota and OMP_NUM_THREADS
    FASTCONV_WINOGRAD       0: no convolution uses Winograd unless its call asks for it
    FASTCONV_VERBOSE        1: one line on standard output for every op called
"""

import contextlib
import contextvars
import math
import os

from fastconv import _native

__all__ = [
    "context",
    "isa",
    "num_threads",
    "options",
    "set_isa",
    "set_num_threads",
    "set_winograd",
    "thread_limits",
    "winograd",
]

# OpenMP ends the process where the system refuses it a thread.
MOST_THREADS = 1024


def _affinity():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _quota(limit, period):
    """CPUs that a cgroup's quota amounts to, at least 1; None where there is no limit."""
    try:
        limit, period = int(limit), int(period)
    except ValueError:
        return None
    return max(1, math.ceil(limit / period)) if limit > 0 and period > 0 else None


def _cgroup_quota(proc="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """The least CPU quota of this process's cgroup and its ancestors (version 2, then 1), or None."""
    quotas = []
    for line in _read(proc).splitlines():
        _, controllers, group = (line.split(":", 2) + ["", ""])[:3]
        base = root if not controllers else f"{root}/cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in group.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            folder = "/".join([base, *parts[:depth]])
            if controllers:
                quotas.append(_quota(_read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")))
            else:
                quotas.append(_quota(*(_read(f"{folder}/cpu.max").split() + ["", ""])[:2]))
    return min((quota for quota in quotas if quota is not None), default=None)


def _environment_threads(name):
    """A positive integer from the environment (the first of an OpenMP list), or None."""
    try:
        value = int(os.environ.get(name, "").split(",")[0])
    except ValueError:
        return None
    return min(value, MOST_THREADS) if value >= 1 else None


def thread_limits():
    """What bounds the default number of threads: a dict of name to CPUs, None where it sets no bound."""
    return {
        "FASTCONV_NUM_THREADS": _environment_threads("FASTCONV_NUM_THREADS"),
        "OMP_NUM_THREADS": _environment_threads("OMP_NUM_THREADS"),
        "CPU affinity": _affinity(),
        "cgroup quota": _cgroup_quota(),
        "OpenMP": None if _native.HAS_OPENMP else 1,
    }


def _default_threads():
    limits = thread_limits()
    asked = limits.pop("FASTCONV_NUM_THREADS")
    if asked is not None and _native.HAS_OPENMP:
        return asked
    return min(limit for limit in limits.values() if limit is not None)


def _default_isa():
    asked = os.environ.get("FASTCONV_ISA", "")
    if asked and asked not in _native.ISAS_DETECTED:
        raise ImportError(f"FASTCONV_ISA={asked}: must be one of {', '.join(_native.ISAS_DETECTED)}")
    return asked or _native.ISAS_DETECTED[0]


def _default_winograd():
    asked = os.environ.get("FASTCONV_WINOGRAD", "")
    if asked not in ("", "0", "1"):
        raise ImportError(f"FASTCONV_WINOGRAD={asked}: must be 0 or 1")
    return asked != "0"


_default = _native.Context(_default_isa(), _default_threads(), _default_winograd())
_current = contextvars.ContextVar("fastconv_context", default=None)


def context():
    """The context that ops called here and now run in."""
    return _current.get() or _default


def num_threads():
    """Threads a call may use here and now."""
    return context().num_threads


def isa():
    """The instruction set calls use here and now."""
    return context().isa


def set_num_threads(count):
    """Set the process's default number of threads; `options` sets it for a block."""
    global _default
    _default = _native.Context(_default.isa, _positive(count), _default.winograd)


def set_isa(name):
    """Set the process's default instruction set; `options` sets it for a block."""
    global _default
    _default = _native.Context(name, _default.num_threads, _default.winograd)


def set_winograd(allowed):
    """Set whether the process's convolutions may choose Winograd by default; `options` sets it for a block."""
    global _default
    _default = _native.Context(_default.isa, _default.num_threads, _flag(allowed))


def winograd():
    """True where convolutions may choose Winograd here and now."""
    return context().winograd


def _flag(allowed):
    if not isinstance(allowed, bool):
        raise TypeError(f"options: winograd={allowed!r}: must be True or False")
    return allowed


def _positive(count):
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"options: num_threads={count!r}: must be an integer")
    count = count.__index__()
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"options: num_threads={count}: must be in [1, {MOST_THREADS}]")
    return count


@contextlib.contextmanager
def options(*, isa=None, num_threads=None, winograd=None):
    """Run the ops of a `with` block on this instruction set and with this many threads.

    winograd=False: convolutions that choose their algorithm ("auto") sum products only. Winograd is two to three times
    faster on 3x3 layers and rounds a few times more (relative error about 2e-6 with F(4x4), 3e-7 without).

    Local to the thread (or asyncio task) that enters it. ValueError where the CPU lacks the instruction set.
    """
    before = context()
    threads = before.num_threads if num_threads is None else _positive(num_threads)
    allowed = before.winograd if winograd is None else _flag(winograd)
    token = _current.set(_native.Context(before.isa if isa is None else isa, threads, allowed))
    try:
        yield
    finally:
        _current.reset(token)
