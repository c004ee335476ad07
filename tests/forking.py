"""Work for forked and spawned processes, in a module that they can import by its name."""

import os
import signal
import time

import numpy as np
from checks import bits, reals

from fastconv import ops, runtime

LIMIT = 30  # seconds, where the work takes milliseconds


def work():
    """Enough multiply-adds for threads in every op."""
    rng = np.random.default_rng(6)
    x, weight, a = reals(rng, (2, 17, 24, 24)), reals(rng, (33, 17, 3, 3)), reals(rng, (200, 100))
    with runtime.options(num_threads=2):
        y = ops.conv2d(x, weight, padding=1)
        dx = ops.conv2d_backward_input(y, weight, x.shape, padding=1)
        dweight, _ = ops.conv2d_backward_weight(y, x, weight.shape, padding=1)
        return b"".join(bits(array) for array in (y, dx, dweight, ops.matmul(a, a.T)))


def in_a_fork(function):
    """What function() returns in a forked child; AssertionError if the child hangs or dies."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(function())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    os.set_blocking(reader, False)
    pieces, end = [], time.monotonic() + LIMIT
    with os.fdopen(reader, "rb") as pipe:
        while time.monotonic() < end:
            piece = pipe.read()
            if piece == b"":
                break
            if piece:
                pieces.append(piece)
            else:
                time.sleep(0.002)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"the forked child hangs: nothing after {LIMIT} s")
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return b"".join(pieces)
