"""The command line, the demo and the measurements it prints."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import _native, cli, demo, layers, profile, runtime
from fastconv.demo import digits, text

OPTIONAL = ("matplotlib", "tqdm", "scipy", "sklearn", "torch", "onnx", "threadpoolctl")
SHORT = demo.Settings(epochs=1, updates=3, characters=8, seconds=0.0, check=True)


@pytest.fixture
def bare(tmp_path):
    """A folder that, put first on the path, makes every optional package look as if it were not installed."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in OPTIONAL:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')\n")
    return folder


def command(*arguments, cwd, path=(), **variables):
    """Run `python -m fastconv` in another process, away from the checkout; returns the finished process."""
    package = Path(fastconv.__file__).parent.parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTCONV_")}
    environment.update(PYTHONPATH=os.pathsep.join(map(str, [*path, package])), **variables)
    return subprocess.run(
        [sys.executable, "-m", "fastconv", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def facts(output):
    """The lines of `fastconv info` as a dict."""
    return {line[:14].strip(): line[14:] for line in output.splitlines()}


# ---------------------------------------------------------------------------------------------------- fastconv info


def test_info_holds_the_facts(tmp_path):
    done = command("info", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = facts(done.stdout)
    assert told["fastconv"].startswith(fastconv.__version__ + ", ")
    assert told["NumPy"] == np.__version__
    assert told["compiler"] == _native.COMPILER
    assert told["kernels used"] == f"{_native.ISAS_DETECTED[0]} (the best detected)"
    assert told["detected"] == ", ".join(_native.ISAS_DETECTED)
    assert told["compiled"] == ", ".join(_native.ISAS_COMPILED)
    assert told["OpenMP"].startswith("yes" if _native.HAS_OPENMP else "no; serial build")
    assert "GFLOP/s on one thread" in told["FMA peak"]
    assert float(told["FMA peak"].split()[0]) > 0.1


def test_info_says_what_the_environment_asked_for(tmp_path):
    done = command("info", cwd=tmp_path, FASTCONV_ISA="baseline", FASTCONV_NUM_THREADS="1")
    told = facts(done.stdout)
    assert told["kernels used"] == "baseline (FASTCONV_ISA)"
    assert told["threads"].startswith("1, ")
    if _native.HAS_OPENMP:
        assert told["threads"] == "1, FASTCONV_NUM_THREADS=1"


@pytest.mark.skipif(not _native.HAS_OPENMP, reason="a serial build has one reason only")
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"CPU affinity": 4}, "limited by CPU affinity"),
        ({"CPU affinity": 4, "cgroup quota": 2}, "limited by cgroup quota (CPU affinity 4)"),
        ({"CPU affinity": 2, "cgroup quota": 2}, "limited by CPU affinity and cgroup quota"),
        ({"OMP_NUM_THREADS": 1, "CPU affinity": 2}, "limited by OMP_NUM_THREADS (CPU affinity 2)"),
        ({"FASTCONV_NUM_THREADS": 8, "CPU affinity": 2}, "FASTCONV_NUM_THREADS=8"),
    ],
)
def test_info_names_the_limit_that_decided(monkeypatch, limits, reason):
    nothing = dict.fromkeys(["FASTCONV_NUM_THREADS", "OMP_NUM_THREADS", "CPU affinity", "cgroup quota", "OpenMP"])
    monkeypatch.setattr(runtime, "thread_limits", lambda: {**nothing, **limits})
    assert cli._threads_because() == reason


def test_info_of_a_serial_build(monkeypatch, capsys):
    monkeypatch.setattr(_native, "HAS_OPENMP", False)
    with runtime.options(num_threads=1):
        assert cli.main(["info"]) == 0
    told = facts(capsys.readouterr().out)
    assert told["OpenMP"].startswith("no; serial build")
    assert told["threads"] == "1, serial build: compiled without OpenMP"
    assert told["FMA peak"].endswith("on one thread")


# ------------------------------------------------------------------------------------------------ arguments and exits


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["demo", "--fast"],
        ["demo", "--threads", "0"],
        ["demo", "--seed", "-1"],
        ["info", "--threads", "x"],
    ],
)
def test_wrong_arguments_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "usage: fastconv" in capsys.readouterr().err


def test_version_and_help(capsys):
    for arguments, expected in ((["--version"], f"fastconv {fastconv.__version__}"), (["--help"], "demo")):
        with pytest.raises(SystemExit) as exit:
            cli.main(arguments)
        assert exit.value.code == 0
        assert expected in capsys.readouterr().out


def test_threads_option_sets_the_number(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "_default", runtime._default)  # put back afterwards
    assert cli.main(["info", "--threads", "1"]) == 0
    assert facts(capsys.readouterr().out)["threads"].startswith("1, ")


def test_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert cli.main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------- fastconv demo


def test_quick_demo_needs_numpy_only(tmp_path, bare):
    done = command("demo", "--quick", cwd=tmp_path, path=[bare])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "1. Handwritten digits",
        "2. English text",
        "Sampled before training",
        "Sampled after training",
        "3. How fast the layers are",
        "measured peak",
        "ResNet-50 3x3 64-64",
        "Summary",
        "of held-out images right",
        "bits per held-out character",
        "NOT checked",
    ):
        assert words in done.stdout, done.stdout
    assert "reached" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_plot_without_matplotlib_says_so_before_training(tmp_path, bare):
    done = command("demo", "--plot", "picture.png", cwd=tmp_path, path=[bare])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "matplotlib" in done.stderr and 'pip install "fastconv[plot]"' in done.stderr


def test_plot_draws_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    assert demo.run(SHORT._replace(check=False), plot=str(path)) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["picture.nonsense", "picture", "missing/picture.png"])
def test_plot_refuses_a_path_it_cannot_write(tmp_path, capsys, name):
    pytest.importorskip("matplotlib")
    assert cli.main(["demo", "--plot", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "--plot" in captured.err


def test_missed_bar_is_an_error(capsys):
    assert demo.run(SHORT) == 1
    told = capsys.readouterr().out
    assert told.rstrip().endswith("FAILED: a bar was missed.")
    assert "bar 98 %: MISSED" in told


def test_one_missed_bar_suffices(monkeypatch, capsys):
    monkeypatch.setattr(demo, "ACCURACY_BAR", 0.0)
    assert demo.run(SHORT) == 1
    assert "bar 0 %: reached" in capsys.readouterr().out
    monkeypatch.setattr(demo, "BITS_BAR", 9.0)
    assert demo.run(SHORT) == 0
    assert "MISSED" not in capsys.readouterr().out


def test_demo_is_the_same_for_any_number_of_threads(capsys):
    results = []
    for threads in (1, 2, 1):
        with runtime.options(num_threads=threads):
            seen, read = demo.train_digits(SHORT, 3), demo.train_text(SHORT, 3)
        results.append((seen.history.loss, seen.accuracy, read.history, read.bits))
    capsys.readouterr()
    assert results[0] == results[1] == results[2]
    with runtime.options(num_threads=1):
        assert demo.train_text(SHORT, 4).bits != results[0][3]
    capsys.readouterr()


# --------------------------------------------------------------------------------------------------- parts of the demo


def test_digits_are_split_into_disjoint_parts():
    (images, labels), (test_images, test_labels) = digits.load()
    assert (len(images), len(test_images)) == (1438, 359)
    assert len(labels) == len(images) and len(test_labels) == len(test_images)
    again = digits.load()
    assert np.array_equal(again[1][0], test_images) and np.array_equal(again[1][1], test_labels)


def test_random_affine_moves_in_training_only(rng):
    x = rng.standard_normal((5, 2, 8, 7), np.float32)
    assert digits.RandomAffine(rng)(x) is x
    still, backward = digits.RandomAffine(rng, pixels=0, degrees=0, scale=0, shear=0).forward(x)
    assert still.dtype == np.float32 and np.array_equal(still, x)
    assert backward(still) is None
    assert not np.array_equal(digits.RandomAffine(rng).forward(x)[0], x)


def test_random_affine_is_bilinear_with_zeros_outside(rng):
    class Half:
        def uniform(self, low, high, size):
            return np.full(size, 0.5 * high)

    x = rng.standard_normal((1, 1, 4, 4), np.float32)
    y = digits.RandomAffine(Half(), pixels=1.0, degrees=0, scale=0, shear=0).forward(x)[0]
    padded = np.pad(x[0, 0], ((0, 1), (0, 1)))
    expected = (padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]) / 4
    np.testing.assert_allclose(y[0, 0], expected, atol=1e-6)


def test_text_is_encoded_and_split_without_loss():
    whole = text.load()
    ids = text.encode(whole)
    assert "".join(text.CHARACTERS[i] for i in ids[:2000]) == whole[:2000]
    assert text.encode("a\tb\x00c").tolist() == text.encode("a b c").tolist()
    train, test = text.split(whole)
    assert train + test == whole and len(test) == round(0.1 * len(whole))
    columns = text.streams(np.arange(10), 3)
    assert columns.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_uniform_model_needs_log2_of_the_characters(rng):
    model = text.CharacterModel(rng, embedding=4, hidden=8)
    for _, parameter in model.parameters():
        parameter.value[...] = 0.0
    ids = rng.integers(0, 96, 1000)
    assert math.isclose(text.bits_per_character(model, ids), math.log2(96), rel_tol=1e-6)
    assert text.letter_entropy(np.arange(96), ids) == pytest.approx(math.log2(96))


def test_bits_per_character_do_not_depend_on_the_pieces(rng):
    model = text.CharacterModel(rng, embedding=4, hidden=8)
    ids = rng.integers(0, 96, 640)
    whole = text.bits_per_character(model, ids, batch=4, steps=1000)
    assert text.bits_per_character(model, ids, batch=4, steps=7) == pytest.approx(whole, rel=1e-6)


def test_text_model_learns_a_repeated_phrase(rng):
    model = text.CharacterModel(rng, embedding=8, hidden=24)
    ids = text.encode("the cat sat on the mat. " * 200)
    seen = []
    history = text.train(model, ids, updates=300, batch=8, steps=24, lr=2e-2, report=lambda *row: seen.append(row))
    assert history[-1] < 0.3 < 6 < history[0]
    assert seen[-1][0] == 300 and 15 <= len(seen) <= 25
    assert text.sample(model, "the cat", 12, rng, temperature=0.3) == " sat on the "


def test_samples_repeat_with_their_seed():
    model = text.CharacterModel(np.random.default_rng(0), embedding=4, hidden=8)
    first, again, other = (text.sample(model, "A", 30, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert len(first) == 30 and first == again != other


# ----------------------------------------------------------------------------------------------------------- profile


@pytest.mark.parametrize(
    ("layer", "shape", "flops"),
    [
        (layers.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 5), 2 * 2 * 25 * 6 * 4 * 9),
        (layers.Conv2d(4, 8, 3, groups=4), (1, 4, 5, 5), 2 * 9 * 8 * 9),
        (layers.Linear(5, 7), (3, 5), 2 * 3 * 5 * 7),
        (layers.LSTM(5, 7), (3, 2, 5), 2 * 3 * 2 * 4 * 7 * (5 + 7)),
        (layers.GRU(5, 7, bidirectional=True), (3, 2, 5), 2 * 2 * 3 * 2 * 3 * 7 * (5 + 7)),
        (layers.ReLU(), (3, 5), 0),
        (layers.MaxPool2d(2), (1, 4, 4, 4), 0),
    ],
)
def test_measure_counts_operations(layer, shape, flops):
    row = profile.measure("layer", layer, shape, seconds=0.0)
    assert row.flops == row.forward.flops == flops
    assert row.backward.flops == 2 * flops
    assert row.forward.seconds > 0 and row.backward.seconds > 0
    assert all(parameter.grad is None for _, parameter in layer.parameters())


def test_first_layers_save_half_of_backward():
    row = profile.measure("conv", layers.Conv2d(1, 2, 3, input_grad=False), (1, 1, 5, 5), seconds=0.0)
    assert row.backward.flops == row.flops
    assert profile.measure("conv", layers.Conv2d(1, 2, 3), (1, 1, 5, 5), backward=False).backward is None


def test_table_shows_share_of_peak():
    rows = [
        "a heading",
        profile.Row("conv", (1, 2), (1, 3), 10**9, profile.Time(0.01, 10**9), profile.Time(0.04, 2 * 10**9)),
        profile.Row("relu", (1, 3), (1, 3), 0, profile.Time(0.001, 0), None),
    ]
    lines = profile.table(rows, 200e9).splitlines()
    assert lines[2] == "a heading"
    assert lines[3].split() == ["conv", "1x2", "1x3", "10.000", "100.0", "50%", "|", "40.000", "50.0", "25%"]
    assert lines[4].split() == ["relu", "1x3", "1x3", "1.000", "-", "-", "|"]
    assert lines[0].index("|") == lines[1].index("|") == lines[3].index("|")


def test_peak_is_positive_on_every_isa(isa):
    assert profile.fma_peak(1, seconds=0.0) > 1e8


def test_peak_of_several_threads_waits_for_them(monkeypatch):
    asked = []

    def peaks(context, seconds):
        asked.append(context.num_threads)
        return 100.0 if len(asked) < 4 else 190.0

    monkeypatch.setattr(profile, "_fma_peak", peaks)
    assert profile.fma_peak(2) == 190.0
    assert asked == [1, 2, 2, 2]
    asked.clear()
    assert profile.fma_peak(2, patience=0.0) == 100.0
    assert asked == [1, 2]


def test_best_time_is_the_fastest_call():
    calls = []
    assert profile.best_time(lambda: calls.append(1), seconds=0.0, calls=4) < 0.1
    assert len(calls) == 5  # one to warm up
