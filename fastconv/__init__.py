"""fastconv: fast convolutional and recurrent networks on CPUs. NumPy in, NumPy out.

>>> import numpy as np, fastconv
>>> layer = fastconv.layers.Conv2d(3, 8, 3, padding=1)
>>> layer(np.zeros((1, 3, 32, 32), np.float32)).shape
(1, 8, 32, 32)
"""

import importlib

from fastconv import _openmp

_openmp.load()  # before anything imports the compiled module

from fastconv import ops, runtime  # noqa: E402
from fastconv._version import __version__  # noqa: E402

# Loaded at first use: `import fastconv` stays within milliseconds.
_SUBMODULES = frozenset(
    {"cli", "datasets", "decoding", "initializers", "io", "layers", "losses", "optim", "profile", "testing", "training"}
)

__all__ = ["__version__", "ops", "runtime", *sorted(_SUBMODULES)]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f"fastconv.{name}")
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__():
    return __all__
