"""Matrix products. Libraries with models hold the right side as a constant, and may prepare it."""

from bench import workloads


def tasks(config):
    return workloads.every("gemm", config.getoption("quick"))


def bench_gemm(timed, task, contender):
    timed(task, contender)
