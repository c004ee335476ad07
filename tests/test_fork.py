"""After a fork OpenMP's threads are gone: a child must compute all the same, and never hang."""

import multiprocessing
import os

import pytest
from forking import LIMIT, in_a_fork, work
from subprocesses import HERE, PACKAGE, check, python

from fastconv import _native

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
    code = "import forking; assert forking.in_a_fork(forking.work) == forking.work(); print('same')"
    assert check(python("-c", code, timeout=LIMIT)).strip() == "same"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method, monkeypatch):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE), str(HERE)]))
    expected = work()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap_async(work, [()] * 3).get(timeout=LIMIT) == [expected] * 3
