"""Files of arrays: round trips, damage, malice; the data that ships; guarded arrays."""

import io as bytes_io
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from subprocesses import python

from fastconv import datasets, io, layers, testing


def test_round_trip(tmp_path, rng):
    arrays = {
        "features.0.weight": rng.standard_normal((3, 2)).astype(np.float32),
        "file": np.array(3, np.int64),  # a name that np.savez cannot take
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "strided": np.arange(10, dtype=np.uint8)[::3],
        "empty": np.zeros((0, 3), np.float32),
        "flag": np.array([True, False]),
        "swapped": np.arange(3, dtype=">f4"),
    }
    path = tmp_path / "state"
    io.save(path, arrays)
    assert os.listdir(tmp_path) == ["state"]
    loaded = io.load(path)
    assert list(loaded) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype.newbyteorder("=") and loaded[name].flags.writeable
    with np.load(path, allow_pickle=False) as numpy_loaded:
        assert sorted(numpy_loaded.files) == sorted(arrays)
    first = path.read_bytes()
    io.save(path, arrays)
    assert path.read_bytes() == first


def test_numpys_own_files_load(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", weight=np.arange(5000, dtype=np.float32), zeros=np.zeros(100_000))
        loaded = io.load(tmp_path / "a.npz")
        assert loaded["weight"].tolist() == list(range(5000)) and not loaded["zeros"].any()


def test_a_model_round_trip(tmp_path):
    model = layers.Sequential(layers.Conv2d(2, 3, 3, rng=0), layers.BatchNorm2d(3), layers.LSTM(2, 2, rng=1))
    model[1].running_mean[...] = 3.0
    io.save(tmp_path / "model.npz", model)
    other = layers.Sequential(layers.Conv2d(2, 3, 3), layers.BatchNorm2d(3), layers.LSTM(2, 2))
    other.load_state_dict(io.load(tmp_path / "model.npz"))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    io.save(path, {"a": np.ones(2)})
    before = path.read_bytes()

    def broken(*arguments, **named):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", broken)
        with pytest.raises(OSError, match="disk full"):
            io.save(path, {"a": np.zeros(2)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["state.npz"]
    with pytest.raises(TypeError, match="save: a has dtype object: must be boolean, integer or floating point"):
        io.save(path, {"a": np.array([{}])})
    with pytest.raises(TypeError, match="save: name 3: must be a non-empty string"):
        io.save(path, {3: np.zeros(2)})
    assert path.read_bytes() == before


class Evil:
    def __reduce__(self):
        return os.mkdir, (EVIL_PATH,)


EVIL_PATH = ""


def member(header, data=b""):
    text = repr(header).encode("latin1")
    text += b" " * (63 - len(text) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def zipped(members, **options):
    file = bytes_io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def floats(shape, descr="<f4"):
    return {"descr": descr, "fortran_order": False, "shape": shape}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "damaged"),
        (b"PK\x03\x04 not a zip file at all", "damaged"),
        (zipped([("a.npy", member(floats((2,)), b"1234"))]), "is not 4 bytes"),
        (zipped([("a.npy", member(floats((1 << 60,)), b"1234"))]), "is not 4 bytes"),
        (zipped([("a.npy", member(floats((-1,)), b"1234"))]), "a.npy"),
        (zipped([("a.npy", member(floats((1,), "|O"), b"1234"))]), "dtype object"),
        (zipped([("a.npy", member(floats((1,), [("x", "<f4")]), b"1234"))]), "must be boolean, integer"),
        (zipped([("a.npy", member(floats((1,), "<U1"), b"1234"))]), "must be boolean, integer"),
        (zipped([("a.npy", b"\x93NUMPY\x07\x00")]), "version"),
        (zipped([("a.npy", b"not an array")]), "magic"),
        (zipped([("a.npy", member("__import__('os').abort()"))]), "load"),
        (zipped([("a.txt", b"text")]), "must be one array"),
        (zipped([("a.npy", bytes(50_000_000))], compression=zipfile.ZIP_DEFLATED, compresslevel=9), "magic"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damage_raises_value_error(content, message, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        io.load(path)


def test_pickles_are_never_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "EVIL_PATH", str(tmp_path / "pwned"))
    raw = pickle.dumps(Evil())
    np.savez(tmp_path / "object.npz", a=np.array([Evil()], dtype=object))
    (tmp_path / "raw.npz").write_bytes(raw)
    (tmp_path / "member.npz").write_bytes(zipped([("a.npy", raw)]))
    for name in ("object", "raw", "member"):
        with pytest.raises(ValueError):
            io.load(tmp_path / f"{name}.npz")
    assert not (tmp_path / "pwned").exists()


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path, rng):
    path, good = tmp_path / "a.npz", {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    io.save(path, good)
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = io.load(path)
        except ValueError:
            refused += 1
            continue
        for value in loaded.values():  # flips of dates, flags and the like
            np.testing.assert_array_equal(value, good["weight"])
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError):
            io.load(path)
    assert refused > len(content) // 2


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "none.npz")


def test_digits():
    images, labels = datasets.digits()
    assert images.shape == (1797, 1, 8, 8) and images.dtype == np.float32
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert images.min() == 0.0 and images.max() == 1.0
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_english():
    text = datasets.english()
    assert text == datasets.english() and text.isascii() and len(text) > 300_000
    assert "  " not in text and " the " in text
    assert len(set(text)) < 110


def test_train_test_split():
    images, labels = np.arange(20)[:, None], np.arange(20)
    (train, train_labels), (test, test_labels) = datasets.train_test_split(images, labels, 0.25, rng=1)
    assert (train[:, 0] == train_labels).all() and (test[:, 0] == test_labels).all() and len(test) == 5
    assert sorted([*train_labels, *test_labels]) == list(range(20)) and train_labels.tolist() != sorted(train_labels)
    again = datasets.train_test_split(images, labels, 0.25, rng=1)
    assert (again[1][1] == test_labels).all()
    with pytest.raises(ValueError, match="20 images and 19 labels"):
        datasets.train_test_split(images, labels[1:])


def crash(statement):
    code = f"import numpy as np, ctypes; from fastconv import testing\n{statement}"
    return python("-c", code).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="no mprotect")
def test_guarded_arrays():
    peek = "ctypes.c_float.from_address(a.ctypes.data + {}).value"
    assert crash("a = testing.guarded_empty((3, 5)); a[...] = 1; " + peek.format(56)) == 0
    assert crash("a = testing.guarded_empty((3, 5)); " + peek.format(60)) < 0
    assert crash("a = testing.guarded_empty((3, 5), flush='start'); " + peek.format(0)) == 0
    assert crash("a = testing.guarded_empty((3, 5), flush='start'); " + peek.format(-4)) < 0
    assert crash("a = testing.guarded_copy(np.ones(3, 'f')); " + peek.format(0) + " = 1.0") < 0
    assert crash("a = testing.guarded_copy(np.ones(3, 'f'), readonly=False); a[0] = 2") == 0
    source = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    copy = testing.guarded_copy(source)
    np.testing.assert_array_equal(copy, source)
    assert copy.strides == source.strides and not copy.flags.writeable
    assert testing.guarded_empty((0, 3)).shape == (0, 3) and np.isnan(testing.guarded_empty(2)).all()


def test_checks_find_errors(rng):
    a = rng.integers(-3, 4, (5, 4)).astype(np.float32)
    x = rng.integers(-3, 4, 4).astype(np.float32)
    assert testing.check_adjoint(lambda x: a @ x, lambda dy: a.T @ dy, x, rng, tolerance=0) == 0
    wrong = a.copy()
    wrong[0, 0] += 1
    x[0], a[0, 0] = 2, 1
    with pytest.raises(AssertionError, match="check_adjoint"):
        testing.check_adjoint(lambda x: a @ x, lambda dy: -a.T @ dy, x, rng)
    x = np.linspace(-1, 1, 7, dtype=np.float32)
    assert testing.check_vjp(np.sin, lambda dy: dy * np.cos(x), x, rng) < 1e-3
    with pytest.raises(AssertionError, match="check_vjp"):
        testing.check_vjp(np.sin, lambda dy: dy * np.cos(x) * np.float32(1.1), x, rng)
    with pytest.raises(AssertionError, match="must be"):
        testing.check_vjp(np.sin, lambda dy: dy[1:], x, rng)
    with pytest.raises(AssertionError, match="nan"):
        testing.check_vjp(np.sin, lambda dy: dy * np.float32(np.nan), x, rng)
