"""The benchmarks' machinery: workloads, processes, tables and pictures. No other library than NumPy is needed."""

import json
import os
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

from bench import bandwidth, compare, marks, peers, race, records, report, tables, tasks, workloads  # noqa: E402
from bench.marks import __main__ as marks_main  # noqa: E402
from bench.marks import ops as mark_ops  # noqa: E402
from bench.marks.__main__ import chosen_rows  # noqa: E402
from bench.marks.checks import RIVALS, worth_another_run  # noqa: E402
from fastconv import _native, ops  # noqa: E402

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


def test_masks_that_are_no_dropout_are_found():
    dropout = tasks.OPS["dropout"]
    x, dy = np.full(10000, 3, np.float32), np.full(10000, 2, np.float32)
    kept = np.random.default_rng(1).random(x.size) >= dropout.p
    y, dx = (kept * value / (1 - dropout.p) for value in (x, dy))
    right = dropout.compared({"x": x, "dy": dy}, (y, dx))
    np.testing.assert_allclose(right, x, rtol=1e-6)
    assert np.isnan(dropout.compared({"x": x}, x)).all()  # nothing dropped
    assert np.isnan(dropout.compared({"x": x, "dy": dy}, (y, dx[::-1]))).any()  # another mask in dx
    assert not np.allclose(dropout.compared({"x": x}, kept * x), x)  # not scaled


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
    assert workloads.describe("pool2d", "resnet50_pool_batch_8") == "3x3/2, 64 channels, 112 x 112, batch 8"
    assert workloads.describe("pool2d", "global_14x14") == "global, 512 channels, 14 x 14"
    assert workloads.describe("activation", "in_memory_4m") == "4 Mi"
    assert workloads.describe("softmax", "segmentation_nhwc") == "1 x 21 x 256 x 256 on axis 1, channels last"
    assert workloads.describe("conv2d", "no_such_layer") == "no_such_layer"
    for op, sizes in workloads.SIZES.items():
        assert len({workloads.describe(op, name) for name in sizes}) == len(sizes)


def test_every_mark_is_of_a_workload():
    for check in marks.checks():
        assert check.layer in workloads.SIZES[check.op]
        assert check.pass_ in (*tasks.OPS[check.op].passes, *tasks.OPS[check.op].for_marks)
        assert all(name in RIVALS for name, _ in check.over)
        assert check.of_peak is None or tasks.OPS[check.op].flops(check.task.size, check.pass_) > 0
    assert {name for name, _ in marks.SCALING} <= set(workloads.CONVOLUTIONS)
    for op, name, pass_, _ in mark_ops.TWO_THREADS:
        assert name in workloads.SIZES[op] and pass_ in tasks.OPS[op].passes


def test_marks_beyond_the_caches_are_of_that_size():
    for check in marks.checks():
        if check.of_copy:
            operands = check.task.operands()
            moved = sum(value.nbytes for value in operands.values())
            if check.op != "pool2d" or not check.pass_.endswith("backward"):
                moved += 4 * np.prod(getattr(check.task.size, "y_shape", operands.popitem()[1].shape))
            assert moved > 40e6


def test_rows_of_marks_are_chosen_by_name_and_group():
    rows = [*dict.fromkeys(check.row for check in marks.checks()), *marks.SPECIAL]
    assert chosen_rows(None, rows) == rows
    assert chosen_rows("softmax,direct", rows) == ["direct", "softmax"]
    assert set(chosen_rows("convolution,ops,recurrent", rows)) == set(rows)
    with pytest.raises(SystemExit, match="no_such_row"):
        chosen_rows("no_such_row", rows)


def test_what_the_readme_shows_is_timed():
    for family in tables.FAMILIES:
        rows = tables.rows_of(family)
        assert 4 <= len(rows) <= 12 and len(set(rows)) == len(rows)
        labels = set()
        for op, pass_, name in rows:
            assert tasks.Task(op, pass_, workloads.SIZES[op][name]) in workloads.every(op)
            labels.add(f"{tables.pass_name(op, pass_)}: {workloads.describe(op, name)}")
        assert len(labels) == len(rows)
    for op, names in tables.WORKLOADS.items():
        assert set(names) <= {size.name for size in workloads.sizes(op)}
    assert all(pass_ in tasks.OPS[op].passes for op, pass_ in tables.PRODUCTS)
    assert tables.shows("conv2d", "forward", "vgg16_conv1_2") and tables.shows("pool2d", "max", "sppf_5x5")
    assert not tables.shows("gemm", "forward", "heads_8") and not tables.shows("pool2d", "max", "spp_9x9")


def test_workloads_for_marks_alone_are_in_no_set():
    for op, sizes in workloads.FOR_MARKS.items():
        assert not set(sizes) & set(workloads.sizes(op))
        assert not set(sizes) & {task.size for task in workloads.tasks_of(op)}
        assert {workloads.SIZES[op][size.name] for size in sizes} == set(sizes)


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
    assert result.bandwidths == {}
    assert "of peak" in compare.table(result)


def test_a_race_measures_bandwidths_of_arrays_of_the_tasks_size():
    task = workloads.task("activation", "in_cache_64k", "relu")
    with race.Workers() as workers:
        contenders = racing("fastconv:default", "numpy:ufuncs")
        result = race.race(workers, task, contenders, rounds=1, seconds=0.0, bandwidths=("copy", "read"))
        assert workers.get("fastconv", 1).ask(do="forget") == {}
    assert set(result.bandwidths) == {"copy", "read"}
    assert all(1e8 < value < 1e13 for value in result.bandwidths.values())
    more = result.merged(result._replace(bandwidths={"copy": 1e14, "read": 0.0})).bandwidths
    assert more == {"copy": 1e14, "read": result.bandwidths["read"]}


def test_bandwidths_are_of_calls_that_move_their_bytes():
    (copy,) = bandwidth.copy(1 << 12)
    source, target = (cell.cell_contents for cell in copy.__closure__)
    assert (source != target).all()
    copy()
    assert source.nbytes + target.nbytes == 1 << 12 and (source == target).all()
    assert [call() for call in bandwidth.read(1 << 12)] == [1, 1 << 10]


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
            wrong = workers.answer(SMALL)._replace(path=str(tmp_path / "wrong.npy"))
            key, reason = race.enter(workers, SMALL, contender, 1, wrong)
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


def op_record(library, seconds, op, workload, pass_, isa=None):
    changes = {"op": op, "workload": workload, "pass": pass_, "unit": "GB/s"}
    return record(library, "default", seconds, **changes, isa=isa)


def test_families_have_tables_in_microseconds():
    pool = ("pool2d", "resnet50_pool_batch_8", "max_backward")
    found = [
        op_record("fastconv", 5e-6, *pool, "avx512"),
        op_record("fastconv", 20e-6, *pool, "avx2"),
        op_record("torch", 150e-6, *pool),
        op_record("ncnn", 40e-6, *pool),
        op_record("fastconv", 1e-3, "norm", "layer_4096_768", "training", "avx512"),
        op_record("fastconv", 1e-3, "pool2d", "spp_9x9", "max", "avx512"),  # not shown
    ]
    pooling, norms = report.readme_tables(found).split("\n\n")
    heads = "| pooling, microseconds | fastconv, AVX-512 | fastconv, AVX2 | PyTorch | ncnn | fastconv / best other |"
    line = "| max, gradient: 3x3/2, 64 channels, 112 x 112, batch 8 | **5.00** | 20.0 | 150 | 40.0 | 8.00 |"
    assert pooling.splitlines()[::2] == [heads, line]
    assert norms.splitlines()[-1] == "| training: layer norm, 4096 x 768 | **1000** | - |"


def test_the_readme_names_the_peaks_of_instruction_sets():
    of = lambda isa, peak: record("fastconv", "auto", 1e-3, isa=isa, peak=peak)
    alike = report.readme_block({}, [of("avx512", 117.6e9), of("avx2", 118.1e9), of("avx2", 90e9)])
    assert "in the same run: 118 GFLOP/s." in alike.replace("\n", " ")
    apart = report.readme_block({}, [of("avx512", 272e9), of("avx2", 136e9)])
    assert "272 GFLOP/s with AVX-512, 136 GFLOP/s with AVX2." in apart.replace("\n", " ")


def test_files_of_pieces_merge_and_later_ones_replace_tasks(tmp_path):
    relu = ("activation", "in_cache_64k", "relu")
    first = [op_record("fastconv", 1e-6, *relu, "avx2"), op_record("torch", 1e-6, *relu), *RUN]
    again = [op_record("fastconv", 2e-6, *relu, "avx2")]
    for name, found in (("a.json", first), ("b.json", again)):
        records.save(tmp_path / name, {"cpu": name}, found)
    described, found = records.load_all([tmp_path / "a.json", tmp_path / "b.json"])
    assert described == {"cpu": "b.json"}
    assert [r["seconds"] for r in found if r["op"] == "activation"] == [2e-6]
    assert len([r for r in found if r["op"] == "conv2d"]) == len(RUN) - 1


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


def test_marks_of_bandwidth_and_of_single_modes_are_judged():
    own, fast, slow = racing("fastconv:default", "torch:channels_last", "torch:nchw")
    task = workloads.task("elementwise", "images_in_cache", "add")
    result = race.Result(task, 1, {own: [1.0], fast: [2.0], slow: [4.0]}, {None: 1.0}, {}, {}, 800, {"copy": 1000.0})
    check = marks.Check("a row", "images_in_cache", "add", over=(("torch nchw", 5.0), ("torch", 1.5)), op="elementwise")
    of_copy, over_nchw, over = marks.judged(check._replace(of_copy=0.9), own, result)
    assert (of_copy.measured, of_copy.mark, of_copy.reached) == (pytest.approx(0.8), 0.9, False)
    assert (over_nchw.measured, over_nchw.reached) == (pytest.approx(4.0), False)
    assert (over.measured, over.reached) == (pytest.approx(2.0), True)
    again = worth_another_run(check, [own, fast, slow], result, [of_copy, over])
    assert again == [own]  # what is ahead of the others is not raced against them again
    assert worth_another_run(check, [own, fast, slow], result, [over_nchw]) == [own, slow]
    shown_only = next(marks.judged(check._replace(of_copy=0.0), own, result))
    assert shown_only.reached and "MISSED" not in marks.text(shown_only) and ">=" not in marks.text(shown_only)


def test_marks_time_products_and_cycles():
    chosen = ["--rows", "gemm small,activation cycles", "--layers", "square_64,exp"]
    options = marks_main.parsed([*chosen, "--rounds", "1", "--seconds", "0"])
    with race.Workers() as workers:
        lines = list(marks_main.lines(workers, options))
    assert {line.row for line in lines} == {"gemm small", "activation cycles"}
    cycles = [line for line in lines if line.unit == "cycles"]
    if "avx2" in _native.ISAS_DETECTED:
        assert len(cycles) == 1 and 0 < cycles[0].measured < 1000
    assert [line.unit for line in lines[:2]] == ["of peak", "x numpy and torch"]


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
    options = ["--readme", "--quick", "--peers", "numpy", "--seconds", "0"]
    options += ["-p", "no:cacheprovider", f"--benchmark-json={saved}"]
    command = [sys.executable, "-c", start, json.dumps([entry for entry in sys.path if entry])]
    command += [str(ROOT / "bench" / "bench_gemm.py"), "-c", str(ROOT / "pyproject.toml"), *options]
    # Under pytest-xdist its workers' variables, or options for this run of pytest, would turn the benchmarks off.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FMA peak measured in this run" in done.stdout
    _, found = records.load(saved)
    assert {(info["library"], info["mode"]) for info in found} == {("fastconv", "default"), ("numpy", "blas")}
    bench = json.loads(saved.read_text())["benchmarks"][0]
    assert bench["stats"]["min"] == pytest.approx(bench["extra_info"]["seconds"])
    assert bench["extra_info"]["speed"] > 0 and 0 < bench["extra_info"]["of_peak"] < 2
