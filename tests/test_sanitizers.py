"""The C code under AddressSanitizer and UndefinedBehaviorSanitizer: tests/native/driver.c on random shapes."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastconv import _native

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Checks of every pointer take the kernels' compilation twice as long; AddressSanitizer finds what they find.
KERNELS = ["-fno-sanitize=null,object-size,alignment"]
FLAGS = [
    "-std=gnu11",
    "-O1",
    "-g1",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
]
ROUNDS = 2000
PROBE = "int main(void) { return 0; }\n"


def compile_c(compiler, *arguments):
    return subprocess.run([*compiler, *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The driver, built without OpenMP: it imitates threads, one after the other."""
    folder = tmp_path_factory.mktemp("sanitizers")
    compiler = (os.environ.get("CC") or "cc").split()
    if not (ROOT / "csrc").is_dir():
        pytest.skip("the C sources are not here")
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no C compiler {compiler[0]}")
    (folder / "probe.c").write_text(PROBE)
    probe = compile_c(compiler, *SANITIZE, folder / "probe.c", "-o", folder / "probe")
    if probe.returncode or subprocess.run([folder / "probe"]).returncode:
        pytest.skip(f"{compiler[0]} cannot build with {SANITIZE[0]}: {probe.stderr[-200:]}")

    def build(source):
        built = folder / ("_".join(source.relative_to(ROOT).parts) + ".o")
        # parallel.c keeps its other functions; the driver has a fc_parallel of its own.
        renamed = ["-Dfc_parallel=fc_parallel_of_the_library"] if source.name == "parallel.c" else []
        fewer = KERNELS if source.parent.name == "isa" else []
        done = compile_c(compiler, *FLAGS, *SANITIZE, *fewer, *renamed, "-I", ROOT / "csrc", "-c", source, "-o", built)
        assert done.returncode == 0, f"{source}:\n{done.stderr[-3000:]}"
        return built

    sources = [
        *(ROOT / "csrc" / "isa").glob("*.c"),
        *(ROOT / "csrc").glob("*.c"),
        ROOT / "tests" / "native" / "driver.c",
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(build, sources))
    linked = compile_c(compiler, *SANITIZE, *objects, "-lm", "-o", folder / "driver")
    assert linked.returncode == 0, linked.stderr[-3000:]
    return folder / "driver"


@pytest.mark.parametrize("name", _native.ISAS_COMPILED)
def test_no_stray_access_and_no_undefined_arithmetic(name, driver):
    if name not in _native.ISAS_DETECTED:
        pytest.skip(f"this CPU has no {name}")
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
    done = subprocess.run([driver, name, str(ROUNDS)], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-6000:]
    assert f"{ROUNDS} rounds" in done.stdout


def test_every_entry_point_is_driven():
    """A new function in fastconv.h belongs in the driver."""
    header, source = (ROOT / "csrc" / "fastconv.h"), (ROOT / "tests" / "native" / "driver.c")
    if not header.exists():
        pytest.skip("the C sources are not here")
    code = "\n".join(line for line in header.read_text().splitlines() if not line.startswith((" *", "/*")))
    declared = {
        word.split("(")[0].lstrip("*") for word in code.split() if word.lstrip("*").startswith("fc_") and "(" in word
    }
    assert len(declared) > 20
    not_for_the_driver = {"fc_has_openmp", "fc_is_forked_child", "fc_fma_peak", "fc_fma_peak_flops"}
    missing = {name for name in declared if f"{name}(" not in source.read_text()} - not_for_the_driver
    assert not missing
