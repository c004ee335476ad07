"""Every benchmark's speed is shown as GFLOP/s and as a share of the FMA peak measured in the same run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # the workloads are the tests' shapes

from fastconv import profile, runtime  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--threads", type=int, default=1, help="threads every library may use (default 1)")
    parser.addoption("--isa", default=None, help="baseline, avx2 or avx512 (default: the best this CPU runs)")


@pytest.fixture(autouse=True)
def options(request):
    """Threads and instruction set of the command line, for every benchmark."""
    with runtime.options(isa=request.config.getoption("isa"), num_threads=request.config.getoption("threads")):
        yield


@pytest.fixture
def timed(benchmark):
    """timed(call, flops): best of many rounds, with the flops and the peak of the moment kept beside the times."""

    def run(call, flops):
        benchmark.extra_info["flops"] = flops
        benchmark.extra_info["peak_gflops"] = profile.fma_peak(seconds=0.02) / 1e9
        call()
        rounds = int(min(2000, max(10, 2e10 / max(flops, 1))))
        benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)

    return run


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    rows = [bench for bench in getattr(session, "benchmarks", []) if "flops" in bench.extra_info]
    if not rows:
        return
    peak = max(bench.extra_info["peak_gflops"] for bench in rows)
    terminalreporter.write_line(f"\nFMA peak of this run: {peak:.1f} GFLOP/s; best of the rounds\n")
    terminalreporter.write_line(f"{'benchmark':60s} {'us':>10s} {'GFLOP/s':>9s} {'of peak':>8s}")
    for bench in rows:
        speed = bench.extra_info["flops"] / bench.stats.min / 1e9
        terminalreporter.write_line(
            f"{bench.name[:60]:60s} {bench.stats.min * 1e6:10.1f} {speed:9.1f} {speed / peak:8.3f}"
        )
