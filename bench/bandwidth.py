"""Calls that move a number of bytes as fast as NumPy can: what an operation on as many bytes is compared with.

A function returns several ways of doing so, of which the fastest counts.
"""

import numpy as np


def copy(count):
    """np.copyto between two arrays of half as many bytes each: bytes read and written."""
    source = np.ones(max(1, count // 8), np.float32)
    target = np.zeros_like(source)
    return [lambda: np.copyto(target, source)]


def read(count):
    """An array of as many bytes read once. np.max is the faster in the caches (111 GB/s at 4 MB on Zen 5), the product
    of the array with itself, whose second loads hit the L1 cache, beyond them (43); np.sum is far slower (30).
    """
    values = np.ones(max(1, count // 4), np.float32)
    return [lambda: np.max(values), lambda: np.dot(values, values)]


KINDS = {"copy": copy, "read": read}
