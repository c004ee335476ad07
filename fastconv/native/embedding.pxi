# Binding of embedding.c.


def embedding_backward(dy, ids, dweight, Context ctx not None):
    """dweight (V, D) = the rows of dy (count, D) summed by their ids (count,) int64 in [0, V)."""
    cdef int64_t count = dy.shape[0], columns = dy.shape[1], rows = dweight.shape[0]
    cdef const float *dy_ = operand(dy, "dy", (count, columns))
    cdef const int64_t *ids_ = int64_operand(ids, "ids", count, rows - 1)
    cdef float *dweight_ = result(dweight, "dweight", (rows, columns))
    with nogil:
        fc_embedding_backward(count, columns, rows, ids_, dy_, dweight_, &ctx.c)
