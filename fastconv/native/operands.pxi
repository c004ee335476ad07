# Operands and scratch: what every binding function needs.
import threading

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef void *buffer(object array, str name, tuple shape, bint writable, char code, str dtype) except? NULL:
    """The address of a C-contiguous array of exactly this shape and format."""
    cdef Py_buffer view
    cdef Py_ssize_t i, size
    if code == b"f" and is_plain(array, <int>len(shape)) and (not writable or cnp.PyArray_ISWRITEABLE(array)):
        for i in range(len(shape)):
            if cnp.PyArray_DIMS(array)[i] != <Py_ssize_t>shape[i]:
                break
        else:
            return cnp.PyArray_DATA(array)
    # Anything else that has a buffer, or the error.
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    try:
        size = 1 if code == b"?" else 4
        if view.format == NULL or view.format[0] != code or view.format[1] != 0 or view.itemsize != size:
            raise TypeError(f"{name}: the buffer must hold native {dtype}")
        if view.len and <uintptr_t>view.buf & (size - 1):  # to NumPy an empty array is aligned wherever it lies
            raise ValueError(f"{name}: the buffer must be aligned to 4 bytes")
        if view.ndim != len(shape):
            raise ValueError(f"{name}: expected shape {shape}, got {view.ndim} dimensions")
        for i in range(view.ndim):
            if view.shape[i] != <Py_ssize_t>shape[i]:
                raise ValueError(f"{name}: expected shape {shape}, got "
                                 f"{tuple([view.shape[j] for j in range(view.ndim)])}")
        return view.buf
    finally:
        PyBuffer_Release(&view)


cdef void *elements(object array, str name, int64_t count, bint writable) except? NULL:
    """The address of a C-contiguous float32 array of so many elements, whatever its shape."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    try:
        if view.format == NULL or view.format[0] != b"f" or view.format[1] != 0 or view.itemsize != 4:
            raise TypeError(f"{name}: the buffer must hold native float32")
        if view.len and <uintptr_t>view.buf & 3:
            raise ValueError(f"{name}: the buffer must be aligned to 4 bytes")
        if view.len != 4 * count:
            raise ValueError(f"{name}: expected {count} elements, got {view.len // 4}")
        return view.buf
    finally:
        PyBuffer_Release(&view)


cdef inline const float *operand(object array, str name, tuple shape) except? NULL:
    return <const float *>buffer(array, name, shape, False, b"f", "float32")


cdef inline const float *optional(object array, str name, tuple shape) except? NULL:
    """None gives NULL."""
    if array is None:
        return NULL
    return operand(array, name, shape)


cdef inline float *result(object array, str name, tuple shape) except? NULL:
    return <float *>buffer(array, name, shape, True, b"f", "float32")


cdef inline float *optional_result(object array, str name, tuple shape) except? NULL:
    return NULL if array is None else result(array, name, shape)


cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    static void fastconv_use_huge_pages(void *memory, size_t size) { madvise(memory, size, MADV_HUGEPAGE); }
    #else
    static void fastconv_use_huge_pages(void *memory, size_t size) { (void)memory; (void)size; }
    #endif
    """
    void fastconv_use_huge_pages(void *memory, size_t size)
    int posix_memalign(void **memory, size_t alignment, size_t size)


# A first touch costs 330 to 400 us a MB in pages of 4 KB; one of 2 MB costs 60 us, or up to 390 where a virtual machine's
# host has to find it first (measured). From half a huge page on, a first call pays less for its scratch so, and streams of
# packed weights miss the TLB less often; with less, a first call of LeNet's first layer took 390 us more than the next
# ones, and takes 80 more in small pages.
cdef enum:
    HUGE_PAGE = 2 * 1024 * 1024
    HUGE_SCRATCH = 1024 * 1024  # scratch from this size on is rounded up to huge pages


cdef class Workspace:
    """Grow-only, 64-byte aligned scratch of one thread; from `huge` bytes on, in huge pages where the system has them."""
    cdef char *memory
    cdef int64_t size, alignment, huge

    def __cinit__(self, int64_t huge=HUGE_SCRATCH):
        self.huge = huge

    def __dealloc__(self):
        free(self.memory)

    cdef void *lend(self, int64_t size) except? NULL:
        if size > self.size:
            free(self.memory)
            self.size = 0
            self.alignment = HUGE_PAGE if size >= self.huge else 64
            size = (size + self.alignment - 1) // self.alignment * self.alignment
            self.memory = <char *>malloc(size + self.alignment)
            if self.memory == NULL:
                raise MemoryError(f"fastconv: no memory for {size} bytes of workspace")
            self.size = size
            if self.alignment == HUGE_PAGE:
                fastconv_use_huge_pages(self.aligned(), size)
        return self.aligned()

    cdef char *aligned(self):
        return self.memory + (self.alignment - (<uintptr_t>self.memory & (self.alignment - 1)))


cdef enum:
    PAGE = 4096
    COLORS = 7           # places in a page that blocks start at in turn,
    COLOR_STEP = 9 * 64  # so many bytes apart
    # The C library hands smaller blocks on from one array to the next, larger ones it takes from the system each time, 330
    # to 400 us a MB in pages of 4 KB. (Smaller ones in huge pages too: a quarter more memory, and training was no faster.)
    HUGE_BLOCK = 32 * 1024 * 1024
    # Freed blocks of CACHED_BLOCK bytes and more are kept for the next array of their size, up to CACHED_BYTES of them.
    # The C library gives the end of its heap back each time that enough of it is free: a training step of three
    # convolutions, batch 16, met 2534 page faults and took 7.4 ms, and takes 2.8 (batch 64: 8165, 29 and 14.5 ms).
    CACHED_BLOCK = 64 * 1024
    CACHED_BYTES = 64 * 1024 * 1024
    CACHED_BLOCKS = 16


cdef int next_color = 0


# Freed blocks, the oldest first. Held by the GIL.
cdef struct block_cache:
    int count
    Py_ssize_t bytes
    Py_ssize_t sizes[CACHED_BLOCKS]
    void *blocks[CACHED_BLOCKS]

cdef block_cache freed


cdef void *take_freed(int which) noexcept:
    cdef void *memory = freed.blocks[which]
    cdef int i
    freed.bytes -= freed.sizes[which]
    freed.count -= 1
    for i in range(which, freed.count):
        freed.blocks[i] = freed.blocks[i + 1]
        freed.sizes[i] = freed.sizes[i + 1]
    return memory


cdef int find_freed(Py_ssize_t size) noexcept:
    """The place of the youngest block of at least this size, and at most an eighth more; or -1."""
    cdef int i
    if size < CACHED_BLOCK:
        return -1
    for i in range(freed.count - 1, -1, -1):
        if size <= freed.sizes[i] <= size + size // 8:
            return i
    return -1


cdef void keep_freed(void *memory, Py_ssize_t size) noexcept:
    """Keep a block, or give it back; the oldest make room."""
    if size < CACHED_BLOCK or size > CACHED_BYTES:
        free(memory)
        return
    while freed.count == CACHED_BLOCKS or freed.bytes + size > CACHED_BYTES:
        free(take_freed(0))
    freed.blocks[freed.count] = memory
    freed.sizes[freed.count] = size
    freed.count += 1
    freed.bytes += size


def kept_block_bytes():
    """The size of all freed blocks that are kept, in bytes."""
    return freed.bytes


def give_back_blocks():
    """Free the blocks that are kept."""
    while freed.count > 0:
        free(take_freed(0))


cdef void *new_block(Py_ssize_t size) noexcept:
    cdef void *memory = NULL
    if size < HUGE_BLOCK:
        return malloc(size + PAGE)
    if posix_memalign(&memory, HUGE_PAGE, size + PAGE) != 0:
        return NULL
    fastconv_use_huge_pages(memory, size + PAGE)
    return memory


cdef class Block:
    """Memory of an array that an op returns: whole cache lines, and another place in its page than the block before.

    Vectors of 64 bytes that cross cache lines cost double. Loads wait for stores at the same place of any page (the low 12
    bits are compared first): with x and y at one place a depthwise layer of 512 channels took 2.4 times as long."""
    cdef char *memory
    cdef char *start
    cdef Py_ssize_t size, room

    def __cinit__(self, Py_ssize_t size):
        global next_color
        cdef int kept
        if size < 0:
            raise ValueError(f"Block: size={size}: must be >= 0")
        kept = find_freed(size)
        self.room = size if kept < 0 else freed.sizes[kept]
        self.memory = <char *>(new_block(size) if kept < 0 else take_freed(kept))
        if self.memory == NULL:
            give_back_blocks()
            self.memory = <char *>new_block(size)
        if self.memory == NULL:
            raise MemoryError(f"fastconv: no memory for an array of {size} bytes")
        next_color = (next_color + 1) % COLORS
        self.start = self.memory + ((<uintptr_t>(next_color * COLOR_STEP) - <uintptr_t>self.memory) & (PAGE - 1))
        self.size = size

    def __dealloc__(self):
        if self.memory != NULL:
            keep_freed(self.memory, self.room)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.size, 0, flags)


cdef object scratch = threading.local()


cdef Workspace workspace():
    cdef Workspace space = getattr(scratch, "workspace", None)
    if space is None:
        space = Workspace()
        scratch.workspace = space
    return space


cdef inline void *lend(int64_t size) except? NULL:
    return NULL if size == 0 else workspace().lend(size)


def workspace_bytes():
    """The size of the calling thread's workspace, in bytes."""
    return workspace().size


def poison_workspace(int64_t size, int byte=0xA5):
    """Fill at least `size` bytes of the calling thread's workspace, for tests of uninitialised reads.

    0xA5 repeated is a float of -2.9e-16, which vanishes in a sum; 0xFF is NaN."""
    cdef Workspace space = workspace()
    memset(space.lend(size), byte, max(size, space.size))


cdef tuple error_values(const fc_error *error):
    return tuple([error.values[i] for i in range(error.count)])


cdef str plan_error(const fc_error *error):
    """`stride=(0, 1): every stride must be >= 1`, to be prefixed with the function's name."""
    cdef tuple values = error_values(error)
    shown = values[0] if len(values) == 1 else values
    return f"{error.argument.decode()}={shown}: {error.rule.decode()}"
