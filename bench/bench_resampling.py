"""Interpolation, forward and backward."""

from bench import workloads


def tasks(config):
    return workloads.every("interpolate", config.getoption("quick"))


def bench_resampling(timed, task, contender):
    timed(task, contender)
