"""Softmax and its logarithm, forward and backward, cross-entropy with its gradient: rows of 10 to 50 000, images."""

from bench import workloads


def tasks(config):
    quick = config.getoption("quick")
    return workloads.every("softmax", quick) + workloads.every("cross_entropy", quick)


def bench_softmax(timed, task, contender):
    timed(task, contender)
