"""Functional ops: NumPy in, NumPy out, no state; every forward beside its backward.

Arrays are float32. Images have shape (N, C, H, W) in any memory order; results lie in (N, H, W, C) memory, so that
chained ops convert nothing. Sequences have shape (T, N, I). Geometry is keyword-only.
"""

import os as _os

from fastconv.ops import (
    activations,
    adaptive_pooling,
    convolution,
    convolution1d,
    convolution3d,
    dropouts,
    elementwise,
    embeddings,
    gated,
    norm_pooling,
    normalization,
    padding,
    pooling,
    pooling1d,
    products,
    rearrangement,
    rectifiers,
    recurrent,
    recurrent_onnx,
    resampling,
    response_normalization,
    row_normalization,
    softmaxes,
    transposed,
    unpooling,
)
from fastconv.ops.activations import *
from fastconv.ops.adaptive_pooling import *
from fastconv.ops.convolution import *
from fastconv.ops.convolution1d import *
from fastconv.ops.convolution3d import *
from fastconv.ops.dropouts import *
from fastconv.ops.elementwise import *
from fastconv.ops.embeddings import *
from fastconv.ops.gated import *
from fastconv.ops.norm_pooling import *
from fastconv.ops.normalization import *
from fastconv.ops.padding import *
from fastconv.ops.pooling import *
from fastconv.ops.pooling1d import *
from fastconv.ops.products import *
from fastconv.ops.rearrangement import *
from fastconv.ops.rectifiers import *
from fastconv.ops.recurrent import *
from fastconv.ops.recurrent_onnx import *
from fastconv.ops.resampling import *
from fastconv.ops.response_normalization import *
from fastconv.ops.row_normalization import *
from fastconv.ops.softmaxes import *
from fastconv.ops.transposed import *
from fastconv.ops.unpooling import *

__all__ = [
    *activations.__all__,
    *rectifiers.__all__,
    *gated.__all__,
    *elementwise.__all__,
    *softmaxes.__all__,
    *convolution.__all__,
    *convolution1d.__all__,
    *convolution3d.__all__,
    *transposed.__all__,
    *padding.__all__,
    *embeddings.__all__,
    *products.__all__,
    *normalization.__all__,
    *row_normalization.__all__,
    *response_normalization.__all__,
    *pooling.__all__,
    *resampling.__all__,
    *rearrangement.__all__,
    *dropouts.__all__,
    *adaptive_pooling.__all__,
    *norm_pooling.__all__,
    *unpooling.__all__,
    *pooling1d.__all__,
    *recurrent.__all__,
    *recurrent_onnx.__all__,
]

if _os.environ.get("FASTCONV_VERBOSE", "") not in ("", "0"):
    from fastconv.ops import _verbose

    globals().update({name: _verbose.reported(globals()[name]) for name in __all__})
