"""Convolutions of 1-D and 3-D maps, and transposed ones: every pass."""

from bench import workloads


def tasks(config):
    return workloads.every("maps", config.getoption("quick"))


def bench_maps(timed, task, contender):
    timed(task, contender)
