"""Convolution, depthwise and grouped included: every algorithm and pass on the layers of --layers."""

from bench import workloads
from bench.tasks import OPS, Task


def tasks(config):
    layers = workloads.convolutions("quick" if config.getoption("quick") else config.getoption("layers"))
    passes = config.getoption("passes") or ",".join(OPS["conv2d"].passes)
    return [Task("conv2d", pass_, layer) for layer in layers for pass_ in passes.split(",")]


def bench_conv2d(timed, task, contender):
    timed(task, contender)
