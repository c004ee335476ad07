"""Rules of the code base that a program can check."""

import doctest
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import reference

from fastconv import _native, decoding, initializers, layers, losses, ops, optim, runtime, testing

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
needs_sources = pytest.mark.skipif(not CSRC.is_dir(), reason="the C sources are not here")


def c_files():
    return sorted(path for path in CSRC.rglob("*") if path.suffix in (".c", ".h", ".inc", ".def"))


def code(path):
    """A C file without comments and strings."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), path.read_text(), flags=re.DOTALL)
    return re.sub(r'"(\\.|[^"\\])*"', '""', re.sub(r"//[^\n]*", "", text))


def found(pattern, text):
    return [f"line {text[: match.start()].count(chr(10)) + 1}: {match[0]}" for match in re.finditer(pattern, text)]


# ------------------------------------------------------------------------------------------------------------- in C


@needs_sources
def test_only_parallel_c_knows_openmp():
    offenders = {path.name: found(r"#\s*pragma\s+omp|omp_\w+\s*\(|<omp\.h>", code(path)) for path in c_files()}
    assert {name for name, lines in offenders.items() if lines} == {"parallel.c"}


@needs_sources
@pytest.mark.parametrize("path", c_files(), ids=lambda path: path.name)
def test_c_borrows_and_owns_nothing(path):
    """No allocation, no input or output, no way out of the process, no Python."""
    calls = (
        r"\b(malloc|calloc|realloc|free|alloca|printf|fprintf|puts|fopen|exit|abort|assert|rand|getenv)\s*\(|Python\.h"
    )
    assert not found(calls, code(path))


@needs_sources
@pytest.mark.parametrize("path", [path for path in c_files() if path.name != "parallel.c"], ids=lambda path: path.name)
def test_no_mutable_globals(path):
    """File-scope variables are constant; parallel.c remembers that it is a forked child."""
    text = re.sub(r"^\s*#.*(\\\n.*)*", "", code(path), flags=re.MULTILINE)
    # At the left margin: `static type name = ...;` or `type name;` without const, and no function.
    skipped = r"^(typedef|extern|enum|struct|return|FC_)|\bconst\b"
    variable = r"^(static\s+)?[A-Za-z_][\w ]*[\s*]\w+(\[[^\]]*\])*\s*(=|;)"
    assert not [line for line in text.splitlines() if re.match(variable, line) and not re.search(skipped, line)]


@needs_sources
def test_no_flags_that_tie_or_loosen_the_build():
    files = [*c_files(), ROOT / "setup.py", ROOT / "pyproject.toml"]
    for path in files:
        text = code(path) if path.parent != ROOT else re.sub(r"#[^\n]*", "", path.read_text())
        assert not found(r"-march=native|-mtune=native|-ffast-math|-Ofast|-funsafe-math\S*", text), path.name


@needs_sources
def test_files_stay_readable():
    long = {path.name: len(path.read_text().splitlines()) for path in c_files()}
    assert {name: lines for name, lines in long.items() if lines > 450} == {}


# ----------------------------------------------------------------------------------------------------- micro-kernels


def registered():
    text = code(CSRC / "kernels" / "kernels.def")
    return re.findall(r"FC_KERNEL\(\s*(\w+)", text)


@needs_sources
def test_every_kernel_is_registered_once_and_used():
    names = registered()
    assert len(names) > 4
    assert len(names) == len(set(names))
    kernels = "".join(code(path) for path in (CSRC / "kernels").glob("*.inc"))
    drivers = "".join(code(path) for path in CSRC.glob("*.c"))
    for name in names:
        assert re.search(rf"FC_NAME\({name}\)\s*\(", kernels), f"{name} is in kernels.def and in no .inc"
        assert re.search(rf"kernels\s*->\s*{name}\b", drivers), f"no driver calls {name}"


@needs_sources
def test_every_instruction_set_includes_every_kernel():
    everything = (CSRC / "kernels" / "all.inc").read_text()
    for path in (CSRC / "kernels").glob("*.inc"):
        assert path.name == "all.inc" or f'#include "{path.name}"' in everything
    isas = sorted(path.stem for path in (CSRC / "isa").glob("*.c"))
    for name in isas:
        assert '#include "../kernels/all.inc"' in (CSRC / "isa" / f"{name}.c").read_text()
    assert set(_native.ISAS_COMPILED) <= set(isas)
    assert _native.ISAS_COMPILED[-1] == "baseline"


def disassembly(symbol):
    """The instructions of one function of the built extension: (address, text)."""
    for tool in ("objdump", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    symbols = subprocess.run(["nm", _native.__file__], capture_output=True, text=True).stdout
    if not re.search(rf"\b{symbol}$", symbols, flags=re.MULTILINE):
        pytest.skip(f"{symbol} is not in the symbol table (stripped, or another compiler's name)")
    command = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={symbol}", _native.__file__]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    lines = re.findall(r"^\s*([0-9a-f]+):\s+(\S.*)$", text, flags=re.MULTILINE)
    return [(int(address, 16), instruction) for address, instruction in lines]


def loops(instructions):
    """The bodies of the innermost loops: from the target of a jump back to the jump."""
    first = instructions[0][0]
    for i, (address, text) in enumerate(instructions):
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if jump and first <= int(jump[1], 16) <= address:
            body = [line for at, line in instructions[: i + 1] if at >= int(jump[1], 16)]
            if not any(line.startswith("j") for line in body[:-1]):
                yield body


@pytest.mark.parametrize(
    ("name", "tile", "sums", "depths", "others"),
    [
        ("avx512", "gemm_tile_10x2", 20, 2, 8),
        ("avx512", "gemm_run_10x2", 20, 1, 8),
        ("avx512", "gemm_run_20x1", 20, 1, 8),
        ("avx2", "gemm_tile_6x2", 12, 1, 8),
        ("avx2", "gemm_run_6x2", 12, 1, 8),
        ("avx2", "gemm_run_12x1", 12, 1, 10),
    ],
)
def test_the_largest_tile_keeps_its_sums_in_registers(name, tile, sums, depths, others):
    """Its inner loop is FMA, loads and broadcasts: one vector spilt to the stack would cost a tenth of the speed."""
    if name not in _native.ISAS_COMPILED:
        pytest.skip(f"{name} is not in this build")
    instructions = disassembly(f"{tile}__{name}")
    hot = [body for body in loops(instructions) if sum("vfmadd" in line for line in body) == sums * depths]
    assert hot, "no loop of the tile has one FMA a sum and depth"
    for body in hot:
        assert not [line for line in body if re.search(r"%[re][sb]p\b", line)], "\n".join(body)
    assert any(len(body) <= (2 * sums + others) * depths for body in hot)


# --------------------------------------------------------------------------------------------------------- in Python

# What needs no definition of its own in reference.py, and why.
EXEMPT = {
    "conv2d_pack": "gives the same bits as conv2d, which test_conv2d.py compares",
    "conv2d_plan": "computes no arrays",
    "matmul": "is gemm",
    "recurrent_from_onnx": "orders blocks as ONNX says, which test_recurrent_onnx.py asks onnxruntime",
    "recurrent_to_onnx": "undoes recurrent_from_onnx",
}
# Where reference.py has one definition for several ops.
SHARED = {
    "batch_norm_training": "batch_norm_statistics",
    "pixel_shuffle_backward": "pixel_unshuffle",
    "pixel_unshuffle_backward": "pixel_shuffle",
    "group_norm_training": "group_statistics",
    "instance_norm": "group_norm",
    "instance_norm_training": "group_statistics",
    "instance_norm_backward": "group_norm_backward",
    "layer_norm_training": "row_statistics",
    "rms_norm_training": "rms_norm",
    "global_avg_pool2d": "avg_pool2d",
    "global_avg_pool2d_backward": "avg_pool2d_backward",
    **{f"{kind}{name}": name for name in ("avg_pool2d", "max_pool2d") for kind in ("global_", "adaptive_")},
    **{
        f"{kind}{name}_backward": f"{name}_backward"
        for name in ("avg_pool2d", "max_pool2d")
        for kind in ("global_", "adaptive_")
    },
    **{f"{name}1d": f"{name}2d" for name in ("avg_pool", "max_pool")},
    **{f"{name}1d_backward": f"{name}2d_backward" for name in ("avg_pool", "max_pool")},
    "adaptive_avg_pool1d": "adaptive_windows",
    "adaptive_avg_pool1d_backward": "adaptive_windows",
    **dict.fromkeys(reference.ACTIVATIONS, "activation"),
    **{f"{name}_backward": "activation_derivative" for name in reference.ACTIVATIONS},
    **{name + end: "recurrent" for name in ("lstm", "gru", "rnn") for end in ("", "_forward")},
    **{f"{name}_backward": "recurrent_backward" for name in ("lstm", "gru", "rnn")},
}


@pytest.mark.parametrize("name", sorted(ops.__all__))
def test_every_op_has_a_reference(name):
    defined = {key for key, value in vars(reference).items() if callable(value)}
    assert name in defined or SHARED.get(name) in defined or name in EXEMPT


def test_exemptions_are_needed():
    assert set(EXEMPT) <= set(ops.__all__)
    assert not [name for name in EXEMPT if hasattr(reference, name)]


def test_reference_imports_nothing_from_fastconv():
    assert "fastconv" not in re.sub(r'""".*?"""', "", inspect.getsource(reference), flags=re.DOTALL)


def run_examples(function, name, names=None):
    examples = doctest.DocTestFinder(recurse=False).find(function, name, globs=dict(names or {}))
    runner, said = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE), []
    for example in examples:
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).attempted > 0
    assert not said, "".join(said)


@pytest.mark.parametrize("name", sorted(ops.__all__))
def test_every_op_has_an_example_that_runs(name):
    function = getattr(ops, name)
    assert callable(function)
    assert function.__module__.startswith("fastconv.ops")
    assert ">>>" in (function.__doc__ or ""), f"{name} has no example"
    run_examples(function, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module in (layers, losses, decoding, optim, initializers, testing)
        for name in sorted(module.__all__)
        if name != "LSTMState"  # a named tuple of arrays
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.removeprefix("fastconv."),
)
def test_everything_else_to_build_with_has_an_example_that_runs(module, name):
    """With the names of its module at hand."""
    value = getattr(module, name)
    run_examples(value, name, vars(sys.modules[value.__module__]))


def test_the_runtime_module_has_an_example_that_runs():
    run_examples(runtime, "runtime")


@pytest.mark.parametrize("name", sorted(ops.__all__))
def test_geometry_is_keyword_only(name):
    words = {"stride", "padding", "dilation", "groups", "algorithm", "ceil_mode", "out", "eps", "reverse"}
    words |= {"lengths", "peepholes", "weight_hr", "clip", "coupled", "activations", "reset_after"}
    if name.startswith("channel_shuffle"):
        words.remove("groups")  # its only parameter, as in PyTorch
    for parameter in inspect.signature(getattr(ops, name)).parameters.values():
        assert parameter.name not in words or parameter.kind is parameter.KEYWORD_ONLY, parameter.name


def test_every_module_of_ops_says_what_it_offers():
    import importlib
    import pkgutil

    offered = []
    for module in pkgutil.iter_modules(ops.__path__):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"fastconv.ops.{module.name}")
            assert loaded.__doc__
            offered += loaded.__all__
    assert sorted(offered) == sorted(ops.__all__)
    assert len(set(offered)) == len(offered)
