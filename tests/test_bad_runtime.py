"""Wrong calls of the options: see wrong_calls.py."""

from wrong_calls import Noun


def operands():
    return {}


VALID = {"options": "runtime.num_threads()"}


def refused():
    for value in ("0", "-1", "-2**31"):
        yield "options", f"runtime.set_num_threads({value})", ValueError, ["num_threads", value.replace("2**31", "")]
    for value in ("1.5", "'2'", "True", "None"):
        yield "options", f"runtime.set_num_threads({value})", TypeError, ["num_threads"]
    yield "options", "runtime.set_num_threads(2**62)", (ValueError, OverflowError), []
    yield "options", "runtime.set_isa('sse9')", ValueError, ["isa", "sse9"]
    yield "options", "runtime.options(isa='sse9').__enter__()", ValueError, ["isa", "sse9"]
    yield "options", "runtime.options(num_threads=0).__enter__()", ValueError, ["num_threads=0"]
    yield "options", "runtime.options(num_threads='4').__enter__()", TypeError, ["num_threads"]


NOUN = Noun(__file__, operands, VALID, refused)
test_calls = NOUN.test()
