"""Sums and products of images with images, biases and gates, in and beyond the caches."""

from bench import workloads


def tasks(config):
    return workloads.every("elementwise", config.getoption("quick"))


def bench_elementwise(timed, task, contender):
    timed(task, contender)
