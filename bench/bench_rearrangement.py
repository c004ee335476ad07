"""Pixels, channels, windows and borders: copies, forward and backward."""

from bench import workloads


def tasks(config):
    return workloads.every("rearrange", config.getoption("quick"))


def bench_rearrangement(timed, task, contender):
    timed(task, contender)
