"""Elementwise activations, in and beyond the caches."""

from bench import workloads


def tasks(config):
    return workloads.every("activation", config.getoption("quick"))


def bench_activations(timed, task, contender):
    timed(task, contender)
