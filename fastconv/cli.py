"""The command `fastconv`: `fastconv info` and `fastconv demo`."""

import argparse
import os
import platform
import sys

from fastconv import __version__, _native, runtime

__all__ = ["main"]


def _at_least(minimum):
    """A converter for argparse: an integer that is not less than `minimum`."""

    def convert(value):
        try:
            number = int(value)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{value!r}: must be an integer >= {minimum}")
        return number

    return convert


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastconv", description="Fast convolutional and recurrent networks on CPUs: NumPy in, NumPy out."
    )
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser(
        "info",
        help="version, compiler, instruction sets, threads, measured peak",
        description="How fastconv runs here.",
    )
    demo = commands.add_parser(
        "demo",
        help="train two networks on real data and time the layers (about a minute)",
        description="Trains a CNN on handwritten digits and an LSTM on English text, both at hand without a download, "
        "and prints how fast the layers are. Exit code 1 if the accuracy or the bits per character miss their bars.",
    )
    demo.add_argument("--quick", action="store_true", help="a few seconds; accuracy is not checked")
    demo.add_argument("--plot", metavar="FILE", help="draw loss curves, filters and predictions (needs matplotlib)")
    demo.add_argument("--seed", type=_at_least(0), default=0, help="seed of weights, batches and samples (default 0)")
    for command in (info, demo):
        command.add_argument(
            "--threads", type=_at_least(1), metavar="N", help="threads to use (default: see fastconv info)"
        )
    return parser


def _threads_because():
    """Why calls run on as many threads as they do, in words."""
    limits = runtime.thread_limits()
    if not _native.HAS_OPENMP:
        return "serial build: compiled without OpenMP"
    asked = limits.pop("FASTCONV_NUM_THREADS")
    if asked is not None:
        return f"FASTCONV_NUM_THREADS={asked}"
    least = min(limit for limit in limits.values() if limit is not None)
    names = [name for name, limit in limits.items() if limit == least]
    others = [f"{name} {limit}" for name, limit in limits.items() if limit not in (None, least)]
    reason = f"limited by {' and '.join(names)}"
    return f"{reason} ({', '.join(others)})" if others else reason


def _info(arguments):
    import numpy as np

    from fastconv.profile import fma_peak

    because = f"--threads {arguments.threads}" if arguments.threads else _threads_because()
    threads = runtime.num_threads()
    peaks = [f"{fma_peak(1, seconds=0.5) / 1e9:.0f} GFLOP/s on one thread"]
    if threads > 1:
        peaks.append(f"{fma_peak(threads, seconds=0.5) / 1e9:.0f} on {threads}")
    isa_because = "FASTCONV_ISA" if os.environ.get("FASTCONV_ISA") else "the best detected"
    openmp = "yes" if _native.HAS_OPENMP else "no; serial build: every call runs on one thread"
    facts = {
        "fastconv": f"{__version__}, {os.path.dirname(os.path.abspath(__file__))}",
        "Python": f"{platform.python_version()} on {sys.platform} {platform.machine()}",
        "NumPy": np.__version__,
        "compiler": _native.COMPILER,
        "kernels used": f"{runtime.isa()} ({isa_because})",
        "  detected": ", ".join(_native.ISAS_DETECTED),
        "  compiled": ", ".join(_native.ISAS_COMPILED),
        "OpenMP": openmp,
        "threads": f"{threads}, {because}",
        "FMA peak": ", ".join(peaks),
    }
    for name, value in facts.items():
        print(f"{name:<14}{value}")
    return 0


def _demo(arguments):
    if arguments.plot is not None:
        from fastconv.demo.plot import problem

        trouble = problem(arguments.plot)
        if trouble:
            print(f"fastconv demo: {trouble}", file=sys.stderr)
            return 2
    from fastconv import demo

    return demo.run(demo.QUICK if arguments.quick else demo.FULL, arguments.seed, arguments.plot)


def main(arguments=None):
    """Run the command line `arguments` (default: the process's own); returns the exit code."""
    parsed = _parser().parse_args(arguments)
    if parsed.threads is not None:
        runtime.set_num_threads(parsed.threads)
    try:
        return {"info": _info, "demo": _demo}[parsed.command](parsed)
    except KeyboardInterrupt:
        print("\nfastconv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has left, as in `fastconv info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
