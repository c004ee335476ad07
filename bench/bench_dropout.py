"""Dropout, in and beyond the caches, forward and backward."""

from bench import workloads


def tasks(config):
    return workloads.every("dropout", config.getoption("quick"))


def bench_dropout(timed, task, contender):
    timed(task, contender)
