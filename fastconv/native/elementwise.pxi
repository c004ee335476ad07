# Binding of elementwise.c.

ELEMENTWISE_OPS = {"add": FC_ADD, "add_relu": FC_ADD_RELU, "mul": FC_MUL, "prelu": FC_PRELU}
SUM_KINDS = {"sum": FC_SUM, "products": FC_SUM_PRODUCTS, "negative": FC_SUM_NEGATIVE}


cdef class ElementwisePlan:
    """y = activation(a op b) over sizes in memory order: four axes, of each of which a and b have their elements or repeat.

    Operands may have any shape whose elements, in C order, are those of the axes they have."""
    cdef fc_elementwise e
    cdef int64_t a_count, b_count, count

    def __init__(self, str op, tuple size, tuple a_has, tuple b_has, tuple fused):
        cdef int axis
        self.e.op = <fc_elementwise_op><int>ELEMENTWISE_OPS[op]
        self.e.activation = activation(fused[0], fused[1], fused[2])
        self.a_count = self.b_count = self.count = 1
        for axis in range(4):
            self.e.size[axis], self.e.a_has[axis], self.e.b_has[axis] = size[axis], a_has[axis], b_has[axis]
            if size[axis] < 0 or size[axis] != 1 and not (a_has[axis] or (b_has[axis] and op != "prelu")):
                raise ValueError(f"{op}: size={size}: every size must be >= 0, and every axis one of an operand")
            self.count *= size[axis]
            self.a_count *= size[axis] if a_has[axis] else 1
            self.b_count *= size[axis] if b_has[axis] else 1

    def forward(self, a, b, gate, y, Context ctx not None):
        """gate, of PReLU alone, is laid out as a; None means a. y may be an operand that has every axis."""
        cdef const float *a_ = <const float *>elements(a, "a", self.a_count, False)
        cdef const float *b_ = <const float *>elements(b, "b", self.b_count, False)
        cdef const float *gate_ = NULL
        cdef float *y_ = <float *>elements(y, "y", self.count, True)
        if gate is not None:
            gate_ = <const float *>elements(gate, "gate", self.a_count, False)
        with nogil:
            fc_elementwise_forward(&self.e, a_, b_, gate_, y_, &ctx.c)


def column_sums(str kind, dy, x, sums, Context ctx not None):
    """sums (outer, columns) of dy and x (outer, rows, columns); x is None where dy alone is summed."""
    cdef int64_t outer = dy.shape[0], rows = dy.shape[1], columns = dy.shape[2]
    cdef fc_sum_kind kind_ = <fc_sum_kind><int>SUM_KINDS[kind]
    cdef const float *dy_ = operand(dy, "dy", (outer, rows, columns))
    cdef const float *x_ = NULL
    cdef float *sums_ = result(sums, "sums", (outer, columns))
    if kind_ != FC_SUM:
        x_ = operand(x, "x", (outer, rows, columns))
    cdef void *space = lend(fc_column_sums_workspace_bytes(outer, rows, columns, &ctx.c))
    with nogil:
        fc_column_sums(kind_, outer, rows, columns, dy_, x_, sums_, space, &ctx.c)


def row_sums(str kind, dy, x, sums, Context ctx not None):
    """sums (rows,) of dy and x (rows, columns); x is None where dy alone is summed."""
    cdef int64_t rows = dy.shape[0], columns = dy.shape[1]
    cdef fc_sum_kind kind_ = <fc_sum_kind><int>SUM_KINDS[kind]
    cdef const float *dy_ = operand(dy, "dy", (rows, columns))
    cdef const float *x_ = NULL
    cdef float *sums_ = result(sums, "sums", (rows,))
    if kind_ != FC_SUM:
        x_ = operand(x, "x", (rows, columns))
    cdef void *space = lend(fc_row_sums_workspace_bytes(rows, columns, &ctx.c))
    with nogil:
        fc_row_sums(kind_, rows, columns, dy_, x_, sums_, space, &ctx.c)
