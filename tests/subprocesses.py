"""Python code in a process of its own: where a crash or a hang is the failure, or a fresh import the point."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fastconv

HERE = Path(__file__).resolve().parent
PACKAGE = Path(fastconv.__file__).resolve().parent.parent


def python(*arguments, timeout=120, **environment):
    """The finished process of `python *arguments`; values of None remove a variable. AssertionError if it hangs."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(PACKAGE), str(HERE)]), PYTHONFAULTHANDLER="1")
    env.update({key: value for key, value in environment.items() if value is not None})
    for key in [key for key, value in environment.items() if value is None]:
        env.pop(key, None)
    try:
        return subprocess.run(
            [sys.executable, *map(str, arguments)], env=env, timeout=timeout, capture_output=True, text=True, cwd=HERE
        )
    except subprocess.TimeoutExpired as expired:
        shown = (expired.stdout or b"")[-2000:]
        raise AssertionError(f"no end after {timeout} s: {arguments}: {shown}") from None


def check(process):
    """The output of a process, or AssertionError with what it said if it failed or a signal killed it."""
    if process.returncode == 0:
        return process.stdout
    ended = f"exit status {process.returncode}"
    if process.returncode < 0:
        ended = f"killed by {signal.Signals(-process.returncode).name}"
    raise AssertionError(f"{ended}\n--- output\n{process.stdout[-4000:]}\n--- errors\n{process.stderr[-8000:]}")
