# Instruction sets and threads.
from libc.stdlib cimport calloc

cdef extern from *:
    """
    #ifndef FASTCONV_COMPILER
    #define FASTCONV_COMPILER "unknown"
    #endif
    """
    const char *FASTCONV_COMPILER

COMPILER = FASTCONV_COMPILER.decode()
HAS_OPENMP = fc_has_openmp()
ISAS_COMPILED = tuple([fc_isa_name(i).decode() for i in range(fc_isa_count())])
ISAS_DETECTED = tuple([fc_isa_name(i).decode() for i in range(fc_isa_count()) if fc_isa_kernels(i) != NULL])


def is_forked_child():
    """True in a child forked from a process that had loaded fastconv: every call is serial there."""
    return bool(fc_is_forked_child())


cdef class Context:
    """The instruction set and thread count of a call, and whether it may choose Winograd. Immutable."""
    cdef fc_context c
    cdef readonly str isa
    cdef readonly int num_threads
    cdef readonly bint winograd

    def __init__(self, str isa, int num_threads, bint winograd=True):
        if num_threads < 1:
            raise ValueError(f"options: num_threads={num_threads}: must be >= 1")
        if isa not in ISAS_DETECTED:
            raise ValueError(f"options: isa={isa!r}: must be one of {ISAS_DETECTED}, which this CPU runs")
        self.isa = isa
        self.num_threads = num_threads
        self.winograd = winograd
        self.c.kernels = fc_isa_kernels(ISAS_COMPILED.index(isa))
        self.c.num_threads = num_threads

    def __repr__(self):
        return f"Context(isa={self.isa!r}, num_threads={self.num_threads}, winograd={self.winograd})"


def fma_peak(int64_t iterations, Context ctx not None):
    """Run the FMA peak loop on every thread of the context; returns the floating-point operations it took."""
    cdef float *sink = <float *>calloc(ctx.num_threads, 64)
    if sink == NULL:
        raise MemoryError("fma_peak")
    with nogil:
        fc_fma_peak(iterations, sink, &ctx.c)
    free(sink)
    return fc_fma_peak_flops(iterations, &ctx.c)
