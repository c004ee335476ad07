"""Rows of a learned table by integer id."""

import numpy as np

from fastconv import initializers, ops
from fastconv.layers.base import Layer, Parameter
from fastconv.ops._arrays import integer

__all__ = ["Embedding"]


class Embedding(Layer):
    """y = weight[ids], as torch.nn.Embedding: integer ids of any shape (...) -> (..., D); weight (V, D).

    The row padding_idx starts at 0 and gets no gradient. First values: standard normal, from rng (a Generator or a
    seed). ids have no gradient: backward returns None.

    >>> from fastconv.layers import Embedding
    >>> Embedding(10, 4, rng=0)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, num_embeddings, embedding_dim, *, padding_idx=None, rng=None):
        self.num_embeddings = integer("Embedding", "num_embeddings", num_embeddings, 1)
        self.embedding_dim = integer("Embedding", "embedding_dim", embedding_dim, 1)
        self.padding_idx = padding_idx
        self.weight = Parameter(initializers.normal((self.num_embeddings, self.embedding_dim), rng, std=1.0))
        if padding_idx is not None:
            row = integer("Embedding", "padding_idx", padding_idx, -self.num_embeddings)
            if row >= self.num_embeddings:
                raise ValueError(f"Embedding: padding_idx={padding_idx}: must be < num_embeddings={num_embeddings}")
            self.padding_idx = row % self.num_embeddings
            self.weight.value[row] = 0.0

    def __call__(self, ids):
        return ops.embedding(ids, self.weight.value)

    def forward(self, ids, *, training=True):
        y = ops.embedding(ids, self.weight.value)
        ids = np.asarray(ids)

        def backward(dy):
            dweight = ops.embedding_backward(dy, ids, self.num_embeddings, padding_idx=self.padding_idx)
            self.weight.take_grad(dweight)

        return y, backward
