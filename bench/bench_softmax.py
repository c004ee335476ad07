"""Softmax and its logarithm, forward and backward, cross-entropy with its gradient: rows and images; CTC."""

from bench import workloads


def tasks(config):
    quick = config.getoption("quick")
    return [task for op in ("softmax", "cross_entropy", "ctc") for task in workloads.every(op, quick)]


def bench_softmax(timed, task, contender):
    timed(task, contender)
