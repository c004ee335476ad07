"""LSTM and GRU over whole sequences: inference, and a forward with its gradients."""

from bench import workloads


def tasks(config):
    return workloads.every("recurrent", config.getoption("quick"))


def bench_recurrent(timed, task, contender):
    timed(task, contender)
