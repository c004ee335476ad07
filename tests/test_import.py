"""`import fastconv` is quick and light."""

import json

import pytest
from subprocesses import check, python

LIMIT = 0.4  # of the time NumPy takes to import: machines differ, and are busy
MEASURE = """
import json, sys, time
begin = time.perf_counter()
import numpy
before, middle = set(sys.modules), time.perf_counter()
import fastconv
share = (time.perf_counter() - middle) / (middle - begin)
print(json.dumps({"share": share, "modules": sorted(set(sys.modules) - before)}))
"""
HEAVY = {
    "dataclasses", "inspect", "typing", "asyncio", "multiprocessing", "unittest", "urllib", "http", "email", "ssl",
    "xml", "sqlite3", "tempfile", "argparse", "logging", "scipy", "torch", "onnx", "onnxruntime", "pandas", "tqdm",
    "matplotlib", "setuptools", "pkg_resources", "cython", "Cython",
}  # fmt: skip


@pytest.fixture
def measured(tmp_path):
    """A function that imports in a process of its own, from compiled files but for the first time."""
    environment = {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    return lambda: json.loads(check(python("-c", MEASURE, **environment)))


def test_import_takes_less_than_numpys(measured):
    """The best of up to a dozen runs, for machines that are busy with something else."""
    best = float("inf")
    for _ in range(12):
        best = min(best, measured()["share"])
        if best <= LIMIT:
            break
    assert best <= LIMIT


def test_import_pulls_in_nothing_heavy(measured):
    modules = measured()["modules"]
    assert "fastconv.ops" in modules
    assert not {name.split(".")[0] for name in modules} & HEAVY
    # These load at first use.
    assert not {f"fastconv.{name}" for name in ("layers", "training", "datasets", "io", "testing", "cli")} & set(
        modules
    )


def test_submodules_load_at_first_use():
    code = "import fastconv, sys; fastconv.layers; print('fastconv.layers' in sys.modules, 'layers' in dir(fastconv))"
    assert check(python("-c", code)).split() == ["True", "True"]


def test_an_unknown_attribute_is_an_attribute_error():
    code = "import fastconv\ntry:\n    fastconv.nothing\nexcept AttributeError as error:\n    print(error)"
    assert "nothing" in check(python("-c", code))


def test_import_leaves_the_floating_point_mode_alone():
    """No flushing of denormals, which crtfastmath.o would switch on for the whole process (-ffast-math)."""
    code = "import numpy as np, fastconv; print(np.float32(1e-38) / np.float32(100) > 0)"
    assert check(python("-c", code)).strip() == "True"


def test_import_starts_no_threads():
    code = "import fastconv, threading, os\nprint(threading.active_count(), len(os.listdir('/proc/self/task')))"
    process = python("-c", code, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    if process.returncode == 0:
        assert process.stdout.split() == ["1", "1"]
    else:
        assert "/proc" in process.stderr  # a system without it
