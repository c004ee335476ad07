"""Saving and loading arrays by name, in NumPy's .npz format. Nothing is ever pickled or unpickled.

>>> import os, tempfile, numpy as np; from fastconv import io
>>> path = os.path.join(tempfile.mkdtemp(), "weights.npz")
>>> io.save(path, {"weight": np.ones(3, np.float32)}); io.load(path)["weight"].tolist()
[1.0, 1.0, 1.0]
"""

import errno
import math
import os
import secrets
import struct
import zipfile
import zlib

import numpy as np

__all__ = ["save", "load"]

_KINDS = "biuf"  # booleans, integers, floating point: what no file can hide code in
_MAX_INFLATION = 1040  # deflate cannot shrink bytes by more than 1032; a header that claims more is a bomb


def save(path, state):
    """Write a model (anything with state_dict()) or a mapping of names to arrays to exactly this path.

    The file appears whole or not at all: it is written beside `path` and then renamed. TypeError for what is not an
    array of numbers.
    """
    mapping = state.state_dict() if hasattr(state, "state_dict") else state
    arrays = {}
    for name, value in mapping.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"save: name {name!r}: must be a non-empty string")
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"save: {name} has dtype {array.dtype}: must be boolean, integer or floating point")
        arrays[name] = array
    target = os.path.realpath(path)
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            _write(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _write(file, arrays):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # A ZipInfo of fixed date: the same arrays always give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(path):
    """{name: array} of a file of `save`, np.savez or np.savez_compressed.

    A file that is damaged, or holds anything but arrays of numbers, raises ValueError; a missing one OSError. Sizes
    are checked before memory is taken.
    """
    with open(path, "rb") as file:
        try:
            return _read_all(file)
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"load: {os.fspath(path)!r} is damaged: {error}") from error
        except (ValueError, OverflowError, SyntaxError, KeyError, IndexError, TypeError) as error:
            raise ValueError(f"load: {os.fspath(path)!r}: {error}") from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # which is a seek to where a damaged header points
                raise
            raise ValueError(f"load: {os.fspath(path)!r} is damaged: {error}") from error


def _read_all(file):
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in arrays:
                raise ValueError(f"member {info.filename!r}: must be one array <name>.npy a name")
            arrays[name] = _read(archive, info)
    return arrays


def _read(archive, info):
    if info.file_size > _MAX_INFLATION * (info.compress_size + 1):
        raise ValueError(f"{info.filename} claims {info.file_size} bytes out of {info.compress_size}")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            raise ValueError(f"{info.filename} has format version {version}: must be 1.0 or 2.0")
        if dtype.hasobject or dtype.kind not in _KINDS:
            raise ValueError(f"{info.filename} has dtype {dtype}: must be boolean, integer or floating point")
        if any(extent < 0 for extent in shape):
            raise ValueError(f"{info.filename} has shape {shape}")
        count = math.prod(shape) * dtype.itemsize
        if count != info.file_size - member.tell():
            raise ValueError(f"{info.filename}: {shape} of {dtype} is not {info.file_size - member.tell()} bytes")
        data = bytearray(count)
        filled = 0
        while filled < count:
            got = member.readinto(memoryview(data)[filled:])
            if not got:
                raise ValueError(f"{info.filename} ends early")
            filled += got
        if member.read(1):  # also has the checksum checked
            raise ValueError(f"{info.filename} is longer than its shape")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
