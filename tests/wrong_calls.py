"""Wrong calls: the right exception, naming function, argument and value; nothing written; the next call normal.

A module test_bad_<noun>.py holds the calls of its ops (`Noun`). They run in one process of their own, this file as a
program: death by a signal or a hang is a failure too.
"""

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fastconv import ops, runtime

f32 = np.float32


def array(*shape):
    return (np.arange(np.prod(shape, dtype=int), dtype=f32) % 7 - 3).reshape(shape)


def huge(*shape):
    """An array of any size that takes four bytes."""
    return np.broadcast_to(f32(1), shape)


def wrong(array, kind):
    """`array` with another type, byte order or number of dimensions."""
    return {
        "None": lambda: None,
        "list": lambda: array.tolist(),
        "number": lambda: 1.0,
        "string": lambda: "array",
        "float64": lambda: array.astype(np.float64),
        "float16": lambda: array.astype(np.float16),
        "int32": lambda: array.astype(np.int32),
        "bool": lambda: array.astype(bool),
        "complex64": lambda: array.astype(np.complex64),
        ">f4": lambda: array.astype(">f4"),
        "object": lambda: array.astype(object),
        "memoryview": lambda: memoryview(array),
    }[kind]()


WRONG_TYPES = {
    "None": "NoneType",
    "list": "list",
    "number": "float",
    "string": "str",
    "float64": "float64",
    "float16": "float16",
    "int32": "int32",
    "bool": "bool",
    "complex64": "complex64",
    ">f4": ">f4",
    "object": "object",
    "memoryview": "memoryview",
}


RESHAPED = {
    "one more dimension": lambda a: a[None],
    "first dimension gone": lambda a: a[0, ...],
    "last dimension gone": lambda a: a[..., :1].sum(axis=-1),
    "empty first": lambda a: a[:0],
    "empty last": lambda a: a[..., :0],
    "flat": lambda a: a.reshape(-1),
    "twice the first": lambda a: a.repeat(2, axis=0),
    "three times the last": lambda a: a.repeat(3, axis=-1),
    "twice the second": lambda a: a.repeat(2, axis=min(1, a.ndim - 1)),
    "first shorter": lambda a: a[1:],
    "last shorter": lambda a: a[..., 1:],
    "second shorter": lambda a: a[(slice(None), slice(None, -1))[-a.ndim :]],
    "transposed": lambda a: a.T,
    "one element": lambda a: a.reshape(-1)[:1],
}


def reshaped(array, change):
    return RESHAPED[change](array)


NAMES = {"np": np, "ops": ops, "runtime": runtime, "huge": huge, "array": array, "wrong": wrong, "f32": f32}
NAMES["reshaped"] = reshaped

REFUSED = (ValueError, MemoryError)  # what is due to sizes that no machine has; without a crash, and at once
BIG = "huge(1, 2**12, 2**25, 2**22)"  # 2**61 bytes
WRONG_ACTIVATIONS = (
    "'swish'",
    "'identity'",
    "''",
    "('relu', 1.0)",
    "('leaky_relu', 1, 2)",
    "()",
    "1",
    "[[]]",
    "('elu', 'x')",
    "'threshold'",
    "('threshold', 1)",
    "('hardtanh', 2, 1)",
    "('celu', 0)",
    "('softplus', 0)",
)
WRONG_OUT_TYPES = ("out.astype(float)", "out.tolist()", "out.astype('>f4')", "out.astype(np.int32)", "0")


# ------------------------------------------------------------------------------------------------------------- a noun


def plain(call):
    return call.replace("{", "").replace("}", "")


def operands_of(call):
    """(operand, `change` that gives the call with something else in its place) of each {operand} of a valid call."""
    pieces = call.split("{")
    for i, piece in enumerate(pieces[1:], 1):
        name, rest = piece.split("}", 1)
        yield name, lambda value, i=i, rest=rest: plain("".join([*pieces[:i], value + rest, *pieces[i + 1 :]]))


class Noun(NamedTuple):
    """The calls of some ops, as text that the names of `operands` and NAMES give a meaning."""

    file: str  # of the test module
    operands: Callable  # () -> arrays by name
    valid: dict  # a call of every op, which must give the same result after each error; arrays stand as {name}
    refused: Callable  # () -> (function, call, exception or some of them or None, words of the message)
    extreme: Callable = tuple  # () -> (function, absurd and yet valid call, a call that gives the same)
    optional: frozenset = frozenset()  # operands that may be None in some of the valid calls
    unbounded: frozenset = frozenset()  # ops that may give NaN where operands do not belong together

    def wrong_types(self):
        """Every array of every valid call, replaced by everything that is no float32 array."""
        for function, call in self.valid.items():
            for name, change in operands_of(call):
                for kind, shown in WRONG_TYPES.items():
                    if kind != "None" or name not in self.optional:
                        yield function, change(f"wrong({name}, {kind!r})"), TypeError, [shown, "float32"]

    def wrong_shapes(self):
        """Every array of every valid call, one longer or shorter in one dimension, or with another number of them.

        Some are valid calls of another size: those must give a finite result."""
        for function, call in self.valid.items():
            for name, change in operands_of(call):
                for other in RESHAPED:
                    yield function, change(f"reshaped({name}, {other!r})")

    def table(self):
        """(kind, function, call, exception names or the call that gives the same, words)"""
        rows = []
        for calls in (self.wrong_types, self.refused):
            for function, call, errors, words in calls():
                errors = errors if isinstance(errors, tuple) else (errors,) if errors else ()
                names = [error.__name__ for error in errors]
                rows.append(("refused" if errors else "accepted", function, call, names, list(map(str, words))))
        rows += [("extreme", function, call, same, []) for function, call, same in self.extreme()]
        rows += [("either", function, call, ["ValueError", "TypeError"], []) for function, call in self.wrong_shapes()]
        return rows

    def test(self):
        """The test of pytest: a case for each function and each kind of call."""
        groups = sorted({(kind, function) for kind, function, *_ in self.table()})

        @pytest.mark.parametrize(("kind", "function"), groups, ids=["-".join(group) for group in groups])
        def test_calls(kind, function):
            failures, ran = [], 0
            found = outcomes(Path(self.file).stem)
            for number, (row_kind, row_function, call, _, _) in enumerate(self.table()):
                if (row_kind, row_function) == (kind, function):
                    wrong = found.get(number, "did not run: an earlier call ended the process")
                    ran += 1
                    if wrong:
                        failures.append(f"{call}\n    {wrong}")
            assert ran > 0
            assert not failures, f"{len(failures)} of {ran} calls:\n" + "\n".join(failures)

        return test_calls


@functools.cache
def outcomes(module):
    """What is wrong with each call of a module's noun, by number: "" where nothing is."""
    from subprocesses import python

    process = python(__file__, module, timeout=120)
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    found = {line["number"]: line["wrong"] for line in lines if "wrong" in line}
    if lines and lines[-1]["number"] not in found:
        found[lines[-1]["number"]] = f"ended the process ({process.returncode}):\n{process.stderr[-3000:]}"
    elif process.returncode:
        raise AssertionError(process.stderr[-3000:])
    return found


# --------------------------------------------------------------------------------------------------- in the process


def frozen(value):
    """Everything in a result, comparable."""
    if isinstance(value, (tuple, list)):
        return [frozen(item) for item in value]
    return (value.shape, str(value.dtype), value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def is_finite(value):
    if isinstance(value, (tuple, list)):
        return all(map(is_finite, value))
    return not isinstance(value, np.ndarray) or bool(np.isfinite(value).all())


def outcome(kind, call, names, errors):
    """What one call does: (what is wrong, the exception's text)."""
    try:
        result = eval(call, names)
    except Exception as error:
        chain = [cls.__name__ for cls in type(error).__mro__]
        if kind in ("accepted", "extreme"):
            return f"raised {chain[0]}: {error}", ""
        return ("" if set(chain) & set(errors) else f"raised {chain[0]}: {error}"), str(error)
    if kind == "refused":
        return f"was accepted, expected {' or '.join(errors)}", ""
    if kind == "extreme":
        same = eval(errors, names)
        equal = result.shape == same.shape and np.array_equal(result, same, equal_nan=True)
        return "" if equal else f"gave another result than {errors}", ""
    return "" if is_finite(result) else "gave NaN or Inf", ""


def main(noun):
    np.seterr(all="ignore")
    operands = noun.operands()
    names = NAMES | operands
    before = {name: frozen(value) for name, value in operands.items()}
    kept = {name: value.copy() for name, value in operands.items() if isinstance(value, np.ndarray)}
    right = {function: frozen(eval(plain(call), names)) for function, call in noun.valid.items()}
    threads = runtime.num_threads()
    for number, (kind, function, call, errors, words) in enumerate(noun.table()):
        print(json.dumps({"number": number}), flush=True)
        wrong, message = outcome(kind, call, names, errors)
        if not wrong and message and "MemoryError" not in errors:
            missing = [word for word in (f"{function}:", *words) if word not in message]
            wrong = f"says {message!r}: without {missing}" if missing else ""
        if kind == "either" and wrong.startswith("gave") and function in noun.unbounded:
            wrong = ""
        changed = [name for name in kept if frozen(operands[name]) != before[name]]
        if changed and kind == "refused":
            wrong += f"; changed {changed}"
        for name in changed:
            operands[name][...] = kept[name]
        if frozen(eval(plain(noun.valid[function]), names)) != right[function] or runtime.num_threads() != threads:
            wrong += "; the next valid call is off"
        print(json.dumps({"number": number, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    sys.exit(main(importlib.import_module(sys.argv[1]).NOUN))
