"""Loads the compiled module with a short OpenMP spin, unless the environment says how threads wait.

libgomp reads its settings once, when it is loaded, and then spins for milliseconds at the end of every parallel region.
Where another process wants the same CPUs, the spinning thread keeps the one it waits for from running. A spin of 20,000
turns, a fraction of a millisecond, keeps calls in a row as fast and then gives the CPU away: docs/decisions/0004.
"""

import os

SPIN_COUNT = "20000"
_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def load():
    """Import fastconv._native; the environment is afterwards as it was."""
    asked = any(name in os.environ for name in _SETTINGS)
    if not asked:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        from fastconv import _native  # noqa: F401
    finally:
        if not asked:
            del os.environ["GOMP_SPINCOUNT"]
