"""Calls from Python on operands of a few numbers: what a call costs beside its work."""

from bench import workloads


def tasks(config):
    return workloads.every("call", config.getoption("quick"))


def bench_calls(timed, task, contender):
    timed(task, contender)
