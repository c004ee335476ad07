"""Builds the one extension module, fastconv._native, from fastconv/_native.pyx and csrc/.

Environment switches, for developers of the package:
    FASTCONV_DEBUG=1                        -O0 -g instead of -O3
    FASTCONV_SANITIZE=address,undefined     compile and link with these sanitizers
    FASTCONV_NO_OPENMP=1                    serial build
    FASTCONV_REQUIRE_OPENMP=1               fail instead of falling back to a serial build
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from itertools import takewhile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("FASTCONV_DEBUG", "0") not in ("", "0")
SANITIZE = os.environ.get("FASTCONV_SANITIZE", "")
NO_OPENMP = os.environ.get("FASTCONV_NO_OPENMP", "0") not in ("", "0")
REQUIRE_OPENMP = os.environ.get("FASTCONV_REQUIRE_OPENMP", "0") not in ("", "0")

OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def openmp_flags(compiler):
    """(compile, link) flags with which a program using OpenMP builds, or None."""
    candidates = [(["-fopenmp"], ["-fopenmp"])]
    if sys.platform == "darwin":
        candidates.append((["-Xpreprocessor", "-fopenmp"], ["-lomp"]))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(OPENMP_PROBE)
        for compile_flags, link_flags in candidates:
            command = [*compiler, *compile_flags, str(source), *link_flags, "-o", str(Path(folder, "probe"))]
            try:
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    return compile_flags, link_flags
            except OSError:
                break
    return None


def program(command):
    """The words of a compiler's command before its flags: gcc, ccache gcc."""
    return list(takewhile(lambda word: not word.startswith("-"), command))


class BuildExtension(build_ext):
    """Adds the flags this compiler takes, and compiles the C files side by side."""

    def build_extensions(self):
        # Nothing for this machine alone (wheels move), nothing that relaxes floating point (some compilers then change
        # the FP mode of the whole process).
        # -ffp-contract=off: FMA is explicit in the kernels, so every compiler gives the same bits.
        compile_flags = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-Wno-psabi"]
        compile_flags += ["-O0", "-g"] if DEBUG else ["-O3", "-g0"]
        link_flags = []
        if SANITIZE:
            compile_flags += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
            link_flags += [f"-fsanitize={SANITIZE}"]
        openmp = None if NO_OPENMP else openmp_flags(program(self.compiler.compiler_so))
        if openmp:
            compile_flags += openmp[0]
            link_flags += openmp[1]
        elif REQUIRE_OPENMP:
            raise SystemExit("fastconv: FASTCONV_REQUIRE_OPENMP is set and this compiler cannot build with OpenMP")
        elif not NO_OPENMP:
            print("fastconv: no OpenMP with this compiler: building serial kernels", file=sys.stderr)
        for extension in self.extensions:
            extension.extra_compile_args = compile_flags
            extension.extra_link_args = link_flags
        self._compile_side_by_side()
        super().build_extensions()

    def _compile_side_by_side(self):
        compile_one = self.compiler.compile

        def compile_all(sources, **options):
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                objects = pool.map(lambda source: compile_one([source], **options), sources)
            return [path for paths in objects for path in paths]

        self.compiler.compile = compile_all


def compiler_name():
    compiler = (os.environ.get("CC") or "cc").split()
    try:
        answer = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        answer = ""
    return answer.splitlines()[0] if answer else platform.python_compiler()


headers = [*glob("csrc/**/*.h", recursive=True), *glob("csrc/**/*.inc", recursive=True), "csrc/kernels/kernels.def"]
bindings = [*glob("fastconv/native/*.pxi"), "fastconv/_native.pxd"]
native = Extension(
    "fastconv._native",
    sources=["fastconv/_native.pyx", *sorted(glob("csrc/*.c")), *sorted(glob("csrc/isa/*.c"))],
    include_dirs=["csrc", numpy.get_include()],
    depends=headers + bindings,
    define_macros=[
        ("FASTCONV_COMPILER", f'"{compiler_name()}"'),
        ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
        ("NPY_TARGET_VERSION", "NPY_1_23_API_VERSION"),  # NumPy 1.26 is the oldest that pyproject.toml allows
    ],
)

setup(
    ext_modules=cythonize([native], language_level=3),
    cmdclass={"build_ext": BuildExtension},
)
