# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
# cython: freethreading_compatible=True
"""The binding to csrc/: checks buffers, lends workspace, releases the GIL, raises. It computes nothing.

Design:
- One function or plan class a C entry point, in native/<noun>.pxi.
- An operand is any object with a C-contiguous float32 buffer of exactly the expected shape (see `operand`). Its reference is
  held by the caller's frame for the whole call.
- Scratch belongs to the calling thread and only grows (see `lend`).
"""

include "native/arrays.pxi"
include "native/operands.pxi"
include "native/context.pxi"
include "native/activation.pxi"
include "native/softmax.pxi"
include "native/ctc.pxi"
include "native/embedding.pxi"
include "native/gemm.pxi"
include "native/elementwise.pxi"
include "native/linear.pxi"
include "native/conv2d.pxi"
include "native/pool2d.pxi"
include "native/interpolate.pxi"
include "native/rearrange.pxi"
include "native/dropout.pxi"
include "native/norm.pxi"
include "native/usual_norm.pxi"
include "native/rnn.pxi"
include "native/pad.pxi"
include "native/layout.pxi"
