"""Functional ops: NumPy in, NumPy out, no state; every forward beside its backward.

Arrays are float32. Images have shape (N, C, H, W) in any memory order; results lie in (N, H, W, C) memory, so that
chained ops convert nothing. Sequences have shape (T, N, I). Geometry is keyword-only.
"""

import os as _os

from fastconv.ops import activations, convolution, embeddings, normalization, pooling, products, recurrent
from fastconv.ops.activations import *
from fastconv.ops.convolution import *
from fastconv.ops.embeddings import *
from fastconv.ops.normalization import *
from fastconv.ops.pooling import *
from fastconv.ops.products import *
from fastconv.ops.recurrent import *

__all__ = [
    *activations.__all__,
    *convolution.__all__,
    *embeddings.__all__,
    *products.__all__,
    *normalization.__all__,
    *pooling.__all__,
    *recurrent.__all__,
]

if _os.environ.get("FASTCONV_VERBOSE", "") not in ("", "0"):
    from fastconv.ops import _verbose

    globals().update({name: _verbose.reported(globals()[name]) for name in __all__})
