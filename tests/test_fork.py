"""After a fork OpenMP's threads are gone: a child must compute all the same, and never hang."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from checks import bits, reals

from fastconv import _native, ops, runtime

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


pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def test_a_child_computes_what_its_parent_does():
    expected = work()
    assert in_a_fork(work) == expected
    assert work() == expected  # and the parent is as it was
    assert not _native.is_forked_child()


def test_a_child_knows_that_it_is_one():
    assert in_a_fork(lambda: str(_native.is_forked_child()).encode()) == b"True"


def test_a_grandchild_computes_too():
    expected = work()
    assert in_a_fork(lambda: in_a_fork(work)) == expected


def test_a_child_of_a_process_that_never_used_threads():
    import subprocesses

    code = (
        "import os, test_fork; from fastconv import ops;"
        "child = test_fork.in_a_fork(test_fork.work); assert child == test_fork.work(); print('same')"
    )
    assert subprocesses.check(subprocesses.python("-c", code, timeout=LIMIT)).strip() == "same"


def remote(_):
    return work()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method, monkeypatch):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    from subprocesses import HERE, PACKAGE

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE), str(HERE)]))
    expected = work()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(remote, range(3)).get(timeout=LIMIT) == [expected] * 3
