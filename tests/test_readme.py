"""The README's programs run as they stand."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_programs_are_found():
    assert len(PROGRAMS) == 3


def run(program, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(program, str(README), "exec"), names)
    return names


def test_the_cnn_learns(tmp_path, monkeypatch, capsys):
    run(PROGRAMS[0], tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert float(printed.split("accuracy:")[1].split()[0]) > 0.95
    assert (tmp_path / "digits.npz").exists()


def test_the_lstm_learns(tmp_path, monkeypatch, capsys):
    run(PROGRAMS[1], tmp_path, monkeypatch)
    bits = float(re.search(r"([\d.]+) bits", capsys.readouterr().out).group(1))
    assert bits < 4.5  # letters alone, without their neighbours, take about 4.8


def test_options(tmp_path, monkeypatch):
    from fastconv import _native

    if "avx2" not in _native.ISAS_DETECTED:
        pytest.skip("this CPU has no avx2")
    run(PROGRAMS[2], tmp_path, monkeypatch)
