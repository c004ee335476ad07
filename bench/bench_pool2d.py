"""Pooling, forward and backward."""

from bench import workloads


def tasks(config):
    return workloads.every("pool2d", config.getoption("quick"))


def bench_pool2d(timed, task, contender):
    timed(task, contender)
