"""The benchmarks' machinery: workloads, processes, tables and pictures. No other library than NumPy is needed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # last: an installed fastconv comes before the clone's

from bench import compare, marks, peers, race, records, report, tasks, workloads  # noqa: E402
from fastconv import ops  # noqa: E402

DIGESTS = sorted((ROOT / "docs" / "bench").glob("*.json"))
SMALL = tasks.Task("conv2d", "forward", workloads.CONVOLUTIONS["digits_3x3_8"])


# ------------------------------------------------------------------------------------------------------ workloads


@pytest.mark.parametrize("op", list(workloads.SIZES))
def test_workloads_are_named_once_and_travel_as_text(op):
    every = workloads.every(op)
    assert every
    assert len({task.name for task in every}) == len(every)
    for task in every:
        assert tasks.Task.loads(task.dumps()) == task


def test_every_convolution_is_one_that_fastconv_runs():
    for layer in workloads.CONVOLUTIONS.values():
        plan = ops.conv2d_plan(layer.x_shape, layer.weight_shape, **layer.geometry)
        assert plan.multiply_adds == layer.multiply_adds


def test_sets_and_layers_can_be_mixed_and_unknown_ones_are_named():
    chosen = workloads.convolutions("quick,lenet_conv1,lenet")
    assert len({layer.name for layer in chosen}) == len(chosen) > len(workloads.QUICK)
    with pytest.raises(KeyError, match="no_such_layer"):
        workloads.convolutions("quick,no_such_layer")


@pytest.mark.parametrize("op", list(tasks.OPS))
def test_results_of_a_task_have_the_allowed_error_of_float32(op):
    for task in workloads.every(op):
        if task.op == "conv2d" and task.size is not SMALL.size or task.size.name == "in_memory_4m":
            continue
        if task.op == "maps" and task.size.multiply_adds > 1e6:
            continue
        if isinstance(task.size, tasks.shapes.Rows) and np.prod(task.size.shape) > 1e6:
            continue
        if task.op == "recurrent" and task.size.steps * task.size.batch > 64 or task.op in ("gemm", "pool2d"):
            continue
        operands = task.operands()
        right = task.expected(operands)
        assert right.dtype == np.float32
        assert 0 < task.allowed(operands, right) < 0.01 * np.abs(right).max()


def test_descriptions_tell_workloads_apart():
    assert workloads.describe("maps", "wav2vec_conv2") == "3/2, 512-512, 3199"
    assert workloads.describe("maps", "resnet3d_stem") == "3x7x7/1x2x2, 3-64, 16x112x112"
    assert workloads.describe("maps", "dcgan_4x4_s2_512") == "transposed 4x4/2, 512-256, 8x8"
    for op, sizes in workloads.SIZES.items():
        assert len({workloads.describe(op, name) for name in sizes}) == len(sizes)


def test_every_mark_is_of_a_workload():
    names = {check.layer for check in marks.checks()} | {name for name, _ in marks.SCALING}
    assert names <= set(workloads.CONVOLUTIONS)


# ------------------------------------------------------------------------------------------------------ processes


def racing(*names):
    return [race.Contender(*name.split(":")) for name in names]


def test_a_race_checks_and_times_every_contender():
    with race.Workers() as workers:
        result = race.race(workers, SMALL, racing("fastconv:direct", "numpy:im2col"), rounds=1, seconds=0.0)
    assert set(map(str, result.times)) == {"fastconv:direct", "numpy:im2col"}
    assert all(len(times) >= 3 and min(times) > 0 for times in result.times.values())
    assert str(result.fastest()) == "numpy:im2col"
    assert result.peak() > 0
    assert result.bytes == sum(array.nbytes for array in SMALL.operands().values()) + 4 * np.prod(SMALL.size.y_shape)
    assert "of peak" in compare.table(result)


def test_what_cannot_run_is_left_out_with_a_reason():
    depthwise = tasks.Task("conv2d", "forward", workloads.CONVOLUTIONS["mobilenet_depthwise_1024"])
    with race.Workers() as workers:
        workers.workers["torch", 1] = race.Worker("no_such_library", 1)
        contenders = racing("fastconv:depthwise", "numpy:im2col", "torch:nchw")
        result = race.race(workers, depthwise, contenders, rounds=1, seconds=0.0)
    assert list(map(str, result.times)) == ["fastconv:depthwise"]
    assert "groups" in result.skipped[contenders[1]]
    assert "not installed" in result.skipped[contenders[2]]


def test_a_wrong_result_is_not_timed(tmp_path):
    np.save(tmp_path / "wrong.npy", SMALL.expected(SMALL.operands()) + 1)
    with race.Workers() as workers:
        for contender in racing("fastconv:direct", "numpy:im2col"):
            key, reason = race.enter(workers, SMALL, contender, 1, str(tmp_path / "wrong.npy"))
            assert key is None
            assert reason.startswith(race.FAILED) and "wrong by 1" in reason


def test_errors_of_a_worker_arrive(tmp_path):
    with race.Workers() as workers:
        worker = workers.get("fastconv", 1)
        with pytest.raises(race.WorkerError, match="KeyError"):
            worker.ask(do="time", key="7", seconds=0.0)
        worker.process.kill()
        with pytest.raises(race.WorkerError, match="ended with -9"):
            worker.ask(do="forget")
        assert workers.get("fastconv", 1).ask(do="forget") == {}  # a new one


def test_modes_are_of_known_passes():
    for library, offered in peers.MODES.items():
        assert library in peers.LIBRARIES
        for op, pass_ in offered:
            assert pass_ is None or pass_ in tasks.OPS[op].passes
    assert peers.modes("ncnn", "conv2d", "backward_input") == ()
    assert peers.modes("torch", "conv2d", "backward_input") == peers.IMAGES


# ------------------------------------------------------------------------------------------------ tables, pictures


def record(library, mode, seconds, **changes):
    made = {
        "op": "conv2d",
        "workload": "resnet50_conv3_3x3",
        "pass": "forward",
        "library": library,
        "mode": mode,
        "isa": "avx2" if library == "fastconv" else None,
        "threads": 1,
        "seconds": seconds,
        "median": seconds * 1.5,
        "work": 100_000_000,
        "unit": "GFLOP/s",
        "peak": 100e9,
        "bytes": 1_000_000,
        "version": "1.0",
    }
    return made | changes


# fastconv: 50 GFLOP/s by its own choice, 80 by another algorithm; the others 100 and 40. Ahead in the other passes.
RUN = [
    record("fastconv", "auto", 2e-3),
    record("fastconv", "direct", 1.25e-3),
    record("torch", "nchw", 2.5e-3),
    record("torch", "channels_last", 1e-3),
    record("numpy", "im2col", 2.5e-3),
    *(
        made
        for pass_ in ("backward_input", "backward_weight")
        for made in (
            record("fastconv", "auto", 1e-3, **{"pass": pass_}),
            record("numpy", "im2col", 2e-3, **{"pass": pass_}),
        )
    ),
]


def test_rows_name_the_best_of_each_side():
    row = records.rows(RUN)[0]
    assert (row.own["mode"], row.fastest["mode"]) == ("auto", "direct")
    assert (row.rival["library"], row.rival["mode"]) == ("torch", "channels_last")
    assert row.ratio == pytest.approx(0.5)
    assert set(row.others) == {"torch", "numpy"}


def test_tables_show_losses():
    line = report.text(RUN).splitlines()[2]
    assert line.split()[1:5] == ["forward", "avx2", "50.0", "GFLOP/s"]
    assert line.split()[-4:] == ["torch", "channels_last", "100.0", "0.50"]
    lines = report.markdown(RUN).splitlines()
    assert (
        lines[0] == "| conv2d forward, GFLOP/s | fastconv, AVX2 | of peak | NumPy | PyTorch | fastconv / best other |"
    )
    assert lines[2] == "| 3x3, 128-128, 28 | 50 | 0.50 | 40 | **100** | 0.50 |"
    assert "**100**" in lines[-1]


def test_a_digest_keeps_what_tables_need(tmp_path):
    path = tmp_path / "digest.json"
    records.save(path, {"cpu": "a CPU"}, RUN)
    described, found = records.load(path)
    assert described == {"cpu": "a CPU"}
    assert found == [made for made in RUN if made["mode"] != "nchw"]  # not torch's best, and shown nowhere
    assert report.text(found) == report.text(RUN)
    readme = f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n"
    once = report.with_block(readme, report.readme_block({"cpu": "a CPU"}, RUN))
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "stale" not in once
    assert report.with_block(once, report.readme_block({"cpu": "a CPU"}, RUN)) == once


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from bench import plot

    path = tmp_path / "run.json"
    records.save(path, {"cpu": "a CPU", "bandwidth": {"64 MB": 2e10, "256 KB": 9e10}}, RUN)
    plot.main([str(path)])
    for name in ("run_bars.png", "run_roofline.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_marks_are_judged():
    own, rival = racing("fastconv:winograd", "ncnn:net")
    times = {own: [1e-3], rival: [2e-3]}
    result = race.Result(SMALL, 1, times, {None: SMALL.flops / 2e-3}, {}, {}, 1)
    check = marks.Check("winograd", "digits_3x3_8", "forward", "winograd", 2.3, (("ncnn", 1.2), ("torch", 3.0)))
    of_peak, over = marks.judged(check, own, result)  # there is no torch: no mark
    assert (of_peak.measured, of_peak.reached) == (pytest.approx(2.0), False)
    assert (over.measured, over.reached) == (pytest.approx(2.0), True)
    assert "MISSED" in marks.text(of_peak)


@pytest.mark.skipif(not DIGESTS, reason="no saved run is here")
def test_the_readme_shows_the_saved_run():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.BEGIN in readme
    block = report.BEGIN + readme.split(report.BEGIN)[1].split(report.END)[0] + report.END
    assert block in [report.readme_block(*records.load(path)) for path in DIGESTS]


def test_pytest_bench_keeps_everything_in_its_file(tmp_path):
    saved = tmp_path / "run.json"
    start = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import pytest; sys.exit(pytest.main(sys.argv[2:]))"
    )
    options = ["--quick", "--peers", "numpy", "--seconds", "0", "-p", "no:cacheprovider", f"--benchmark-json={saved}"]
    command = [sys.executable, "-c", start, json.dumps([entry for entry in sys.path if entry])]
    command += [str(ROOT / "bench" / "bench_gemm.py"), "-c", str(ROOT / "pyproject.toml"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FMA peak measured in this run" in done.stdout
    _, found = records.load(saved)
    assert {(info["library"], info["mode"]) for info in found} == {("fastconv", "default"), ("numpy", "blas")}
    bench = json.loads(saved.read_text())["benchmarks"][0]
    assert bench["stats"]["min"] == pytest.approx(bench["extra_info"]["seconds"])
    assert bench["extra_info"]["speed"] > 0 and 0 < bench["extra_info"]["of_peak"] < 2
