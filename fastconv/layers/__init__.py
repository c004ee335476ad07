"""Layers: parameters and closures over fastconv.ops, named as in torch.nn.

>>> import numpy as np; from fastconv.layers import Linear, ReLU, Sequential
>>> y, backward = Sequential(Linear(4, 8), ReLU(), Linear(8, 2)).forward(np.ones((3, 4), np.float32))
>>> backward(np.ones_like(y)).shape
(3, 4)
"""

from fastconv.layers import (
    activations,
    base,
    containers,
    convolution,
    dropout,
    embedding,
    frozen,
    linear,
    normalization,
    padding,
    pooling,
    rearrangement,
    recurrent,
    resampling,
)
from fastconv.layers.activations import *
from fastconv.layers.base import *
from fastconv.layers.containers import *
from fastconv.layers.convolution import *
from fastconv.layers.dropout import *
from fastconv.layers.embedding import *
from fastconv.layers.frozen import *
from fastconv.layers.linear import *
from fastconv.layers.normalization import *
from fastconv.layers.padding import *
from fastconv.layers.pooling import *
from fastconv.layers.rearrangement import *
from fastconv.layers.recurrent import *
from fastconv.layers.resampling import *

__all__ = [
    *base.__all__,
    *convolution.__all__,
    *frozen.__all__,
    *padding.__all__,
    *pooling.__all__,
    *resampling.__all__,
    *rearrangement.__all__,
    *linear.__all__,
    *normalization.__all__,
    *activations.__all__,
    *dropout.__all__,
    *embedding.__all__,
    *recurrent.__all__,
    *containers.__all__,
]
