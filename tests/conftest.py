"""Fixtures: every instruction set this CPU runs, thread counts, a seeded generator, poisoned scratch."""

import sys
from pathlib import Path

# A clone's own fastconv/ folder has no compiled module unless it was built in place: it must not hide the installed
# package when the current folder is on sys.path (python -m pytest).
ROOT = Path(__file__).resolve().parent.parent
if not list((ROOT / "fastconv").glob("_native*.so")) and not list((ROOT / "fastconv").glob("_native*.pyd")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from fastconv import _native, runtime  # noqa: E402


@pytest.fixture(params=_native.ISAS_COMPILED)
def isa(request):
    """The test runs once an instruction set; skipped where this CPU lacks it."""
    if request.param not in _native.ISAS_DETECTED:
        pytest.skip(f"this CPU has no {request.param}")
    with runtime.options(isa=request.param):
        yield request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20261101)


@pytest.fixture
def sums_as_written():
    """ "auto" keeps off Winograd, unless a test asks for it: integers are exact, and a NaN moves no other bit."""
    with runtime.options(winograd=False):
        yield


@pytest.fixture(autouse=True)
def poisoned_workspace():
    """Every test starts with scratch full of NaN (0xFF), so that reading it unwritten shows."""
    _native.poison_workspace(1 << 16, 0xFF)
