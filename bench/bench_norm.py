"""Normalisation: batch, group, instance, layer, RMS and local response norm, every pass."""

from bench import workloads


def tasks(config):
    return workloads.every("norm", config.getoption("quick"))


def bench_norm(timed, task, contender):
    timed(task, contender)
