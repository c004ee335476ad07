"""Embedding: rows of a table by integer id."""

import numpy as np

from fastconv import _native
from fastconv.ops._arrays import array, check_out, contiguous, integer, returned, target
from fastconv.runtime import context

__all__ = ["embedding", "embedding_backward"]


def _ids(function, ids, count):
    try:
        ids = np.asarray(ids)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{function}: ids: {error}") from None
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{function}: ids has dtype {ids.dtype}: must be an integer type")
    if ids.size and (ids.min() < 0 or ids.max() >= count):
        bad = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{function}: ids holds {bad}: every id must be in [0, {count})")
    return ids


def embedding(ids, weight, *, out=None):
    """weight[ids]: integer ids of any shape (...), weight (V, D) -> (..., D). out: where to write it.

    >>> import numpy as np; from fastconv import ops
    >>> ops.embedding([2, 0], np.eye(3, dtype=np.float32)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    array("embedding", "weight", weight, 2)
    ids = _ids("embedding", ids, weight.shape[0])
    if out is None:
        return np.take(weight, ids, axis=0)
    check_out("embedding", out, (*ids.shape, weight.shape[1]))
    if np.may_share_memory(out, ids) or np.may_share_memory(out, weight):
        return returned(np.take(weight, ids, axis=0), out)
    return np.take(weight, ids, axis=0, out=out, mode="clip")  # any other mode copies


def embedding_backward(dy, ids, num_embeddings, *, padding_idx=None, out=None):
    """dweight (V, D): the rows of dy (..., D) summed by id; the row padding_idx, if given, gets no gradient.

    out: where to write dweight. It is written, not added to.

    >>> import numpy as np; from fastconv import ops
    >>> ops.embedding_backward(np.ones((2, 1), np.float32), [1, 1], 3).tolist()
    [[0.0], [2.0], [0.0]]
    """
    function = "embedding_backward"
    array(function, "dy", dy)
    count = integer(function, "num_embeddings", num_embeddings, 0)
    ids = _ids(function, ids, count)
    if dy.ndim < 1 or dy.shape[:-1] != ids.shape:
        raise ValueError(f"{function}: dy has shape {dy.shape}: must be {(*ids.shape, 'D')}, that of ids and a row")
    if padding_idx is not None:
        padding_idx = integer(function, "padding_idx", padding_idx, -count)
        if padding_idx >= count:
            raise ValueError(f"{function}: padding_idx={padding_idx!r}: must be < {count}")
    dweight = target(function, out, (count, dy.shape[-1]), dy, ids)
    ids = contiguous(ids.astype(np.int64, copy=False)).reshape(-1)
    _native.embedding_backward(contiguous(dy).reshape(ids.size, dy.shape[-1]), ids, dweight, context())
    if padding_idx is not None:
        dweight[padding_idx] = 0.0
    return returned(dweight, out)
