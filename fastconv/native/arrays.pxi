# NumPy arrays by NumPy's C API: what an op asks of its operands, and the arrays it returns.
#
# From Python the flags of a small array cost 30 ns, its shape 35, a view 90, a new array 130 and its buffer 90, which
# together are more than the work on it. Here each is a read of a struct, or 50 ns for a new array.
#
# An array is as usual where it holds native float32, aligned, in C order or (N, C, ...) on (N, ..., C) memory.
# Functions for usual arrays return NotImplemented for others: the op then converts them, or says what is wrong.
cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport INT32_MAX, INT64_MAX

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    # As in NumPy's own declaration, but for `prototype`, which may be NULL.
    cnp.ndarray new_array "PyArray_New"(
        PyTypeObject *subtype, int ndim, const cnp.npy_intp *shape, int typenum, const cnp.npy_intp *strides,
        void *data, int itemsize, int flags, PyObject *prototype)
    PyTypeObject *NDARRAY "&PyArray_Type"

cdef enum:
    MOST_AXES = 64
    # Smaller arrays are as fast wherever they lie.
    BLOCK_BYTES = 16 * 1024

cdef enum Order:
    OTHER_ORDER
    C_ORDER
    CHANNELS_LAST


cdef inline float *data_of(object array) noexcept:
    """NULL of None."""
    return NULL if array is None else <float *>cnp.PyArray_DATA(array)


cdef inline bint is_float32(object value) noexcept:
    """An array of native, aligned float32, in whatever order."""
    return (cnp.PyArray_Check(value) and cnp.PyArray_TYPE(value) == cnp.NPY_FLOAT32
            and cnp.PyArray_ISBEHAVED_RO(value))


cdef inline bint is_plain(object value, int ndim) noexcept:
    """A usual array of so many axes in C order."""
    return (is_float32(value) and cnp.PyArray_NDIM(value) == ndim and cnp.PyArray_IS_C_CONTIGUOUS(value))


def is_plain_of(object value, tuple shape not None):
    """Whether kernels can take an array as it is, as one of this shape."""
    cdef int ndim = <int>len(shape), i
    if not is_plain(value, ndim):
        return False
    for i in range(ndim):
        if cnp.PyArray_DIMS(value)[i] != <Py_ssize_t>shape[i]:
            return False
    return True


cdef bint is_channels_last(cnp.ndarray x) noexcept:
    """(N, C, ...) on (N, ..., C) memory; the strides of axes of one element do not matter."""
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    cdef const cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
    cdef int ndim = cnp.PyArray_NDIM(x), i, axis
    cdef cnp.npy_intp step = sizeof(float)
    if ndim < 3:
        return False
    if cnp.PyArray_SIZE(x) == 0:
        return True
    for i in range(ndim):  # from the axis that lies densest in memory: 1, ndim - 1, ..., 2, 0
        axis = 1 if i == 0 else 0 if i == ndim - 1 else ndim - i
        if shape[axis] != 1 and strides[axis] != step:
            return False
        step *= shape[axis]
    return True


cdef inline Order order_of(object x) noexcept:
    if not is_float32(x):
        return OTHER_ORDER
    if cnp.PyArray_IS_C_CONTIGUOUS(x):
        return C_ORDER
    return CHANNELS_LAST if is_channels_last(x) else OTHER_ORDER


cdef inline bint same_layout(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int ndim = cnp.PyArray_NDIM(a), i
    if cnp.PyArray_NDIM(b) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
        if cnp.PyArray_STRIDES(a)[i] != cnp.PyArray_STRIDES(b)[i] and cnp.PyArray_DIMS(a)[i] != 1:
            return False
    return True


cdef inline bint has_shape(cnp.ndarray x, const cnp.npy_intp *shape) noexcept:
    cdef int i
    for i in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIMS(x)[i] != shape[i]:
            return False
    return True


cdef inline bint is_apart(cnp.ndarray a, object b) noexcept:
    """Whether two usual arrays share no memory; b may be None."""
    if b is None or cnp.PyArray_SIZE(a) == 0 or cnp.PyArray_SIZE(b) == 0:
        return True
    cdef const char *first = <const char *>cnp.PyArray_DATA(a)
    cdef const char *second = <const char *>cnp.PyArray_DATA(b)
    return first + cnp.PyArray_NBYTES(a) <= second or second + cnp.PyArray_NBYTES(b) <= first


cdef inline bint is_apart_or_same(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether an elementwise kernel may write to one of two usual arrays of one layout while it reads the other."""
    return cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b) or is_apart(a, b)


cdef int64_t bytes_of(int ndim, const cnp.npy_intp *shape) noexcept:
    """Of an array of float32; -1 where they overflow."""
    cdef int64_t size = sizeof(float)
    cdef int i
    for i in range(ndim):
        if shape[i] == 0:
            return 0
    for i in range(ndim):
        if shape[i] < 0 or size > INT64_MAX // shape[i]:
            return -1
        size *= shape[i]
    return size


cdef cnp.ndarray fresh(int ndim, const cnp.npy_intp *shape, Order order):
    """An uninitialised array in C order, or of shape (N, C, ...) on (N, ..., C) memory; large ones on a Block."""
    cdef cnp.npy_intp strides[MOST_AXES]
    cdef int64_t size = bytes_of(ndim, shape)
    cdef cnp.npy_intp step = sizeof(float)
    cdef cnp.ndarray made
    cdef Block block = None
    cdef int i, axis
    for i in range(ndim):
        axis = ndim - 1 - i
        if order == CHANNELS_LAST:
            axis = 1 if i == 0 else 0 if i == ndim - 1 else ndim - i
        strides[axis] = step
        if size > 0:
            step *= shape[axis]
    if size >= BLOCK_BYTES:
        block = Block(size)
    made = new_array(NDARRAY, ndim, shape, cnp.NPY_FLOAT32, strides if size > 0 else NULL,
                     NULL if block is None else block.start, 0, 0 if block is None else cnp.NPY_ARRAY_CARRAY, NULL)
    if block is not None:
        cnp.set_array_base(made, block)
    return made


cdef cnp.ndarray plain_target(object out, int ndim, const cnp.npy_intp *shape, object a, object b):
    """`out`, or a new array where it is None, for a result in C order.

    None where kernels cannot write to out itself: not usual, of another shape, or shared with one of the operands."""
    if out is None:
        return fresh(ndim, shape, C_ORDER)
    if (is_plain(out, ndim) and has_shape(out, shape) and cnp.PyArray_ISWRITEABLE(out)
            and is_apart(out, a) and is_apart(out, b)):
        return out
    return None


cdef cnp.ndarray elementwise_target(object out, cnp.ndarray a, cnp.ndarray b, Order order):
    """`out`, or a new array where it is None, for an elementwise kernel that reads a and b, usual and of one layout.

    None where it cannot write to out itself: of another layout, read-only, or shared with a part of an operand."""
    if out is None:
        return fresh(cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), order)
    if (is_float32(out) and same_layout(out, a) and cnp.PyArray_ISWRITEABLE(out)
            and is_apart_or_same(out, a) and is_apart_or_same(out, b)):
        return out
    return None


cdef cnp.ndarray view_of(cnp.ndarray x, int ndim, const cnp.npy_intp *shape, const cnp.npy_intp *strides):
    """Of the same memory."""
    cdef int flags = cnp.PyArray_FLAGS(x) & (cnp.NPY_ARRAY_WRITEABLE | cnp.NPY_ARRAY_ALIGNED)
    cdef cnp.ndarray view = new_array(NDARRAY, ndim, shape, cnp.NPY_FLOAT32, strides, data_of(x), 0, flags, NULL)
    cnp.set_array_base(view, x)
    return view


cdef int read_sizes(tuple shape, int least, cnp.npy_intp *sizes) except -1:
    """The number of axes, from `least` on; fills sizes."""
    cdef Py_ssize_t ndim = len(shape), i
    if not least <= ndim <= MOST_AXES:
        raise ValueError(f"empty: shape={shape}: must have {least} to {MOST_AXES} axes")
    for i in range(ndim):
        sizes[i] = shape[i]
    return <int>ndim


def empty(tuple shape):
    """An uninitialised float32 array in C order, large ones at whole cache lines (see Block)."""
    cdef cnp.npy_intp sizes[MOST_AXES]
    return fresh(read_sizes(shape, 0, sizes), sizes, C_ORDER)


cdef cnp.ndarray memory_of(cnp.ndarray x):
    """The view (N, ..., C) of an (N, C, ...) array."""
    cdef cnp.npy_intp shape[MOST_AXES]
    cdef cnp.npy_intp strides[MOST_AXES]
    cdef int ndim = cnp.PyArray_NDIM(x), i, axis
    for i in range(ndim):
        axis = 0 if i == 0 else 1 if i == ndim - 1 else i + 1
        shape[i] = cnp.PyArray_DIMS(x)[axis]
        strides[i] = cnp.PyArray_STRIDES(x)[axis]
    return view_of(x, ndim, shape, strides)


def empty_images(*shape):
    """An uninitialised array (N, C, ...) on channels-last memory, and that memory (N, ..., C)."""
    cdef cnp.npy_intp sizes[MOST_AXES]
    images = fresh(read_sizes(shape, 2, sizes), sizes, CHANNELS_LAST)
    return images, memory_of(images)


def channels_last(x, Context ctx not None):
    """The C-contiguous (N, ..., C) array behind a usual (N, C, ...) one, else NotImplemented.

    A view where memory is in that order, a copy of one in C order."""
    if not is_float32(x) or cnp.PyArray_NDIM(x) < 3:
        return NotImplemented
    images = on_channels_last(x, ctx)
    return NotImplemented if images is None else memory_of(images)


def array(str function, str name, value, ndim=None):
    """`value` as a float32 array, or an error naming function, argument, value and rule. Never casts."""
    if not cnp.PyArray_Check(value):
        raise TypeError(f"{function}: {name} is {type(value).__name__}: must be a NumPy array of float32")
    if cnp.PyArray_TYPE(value) != cnp.NPY_FLOAT32 or not cnp.PyArray_ISNOTSWAPPED(value):
        raise TypeError(f"{function}: {name} has dtype {value.dtype}: must be float32; use {name}.astype(np.float32)")
    if ndim is not None and cnp.PyArray_NDIM(value) != <int>ndim:
        raise ValueError(f"{function}: {name} has shape {value.shape}: must have {ndim} dimensions")
    return value


def is_tuple_of_integers(value, Py_ssize_t count, Py_ssize_t minimum):
    """A tuple of `count` ints >= minimum: of exactly these types, as geometry usually comes."""
    if type(value) is not tuple or len(<tuple>value) != count:
        return False
    for item in <tuple>value:
        if type(item) is not int or item < minimum:
            return False
    return True


def is_exact(value):
    """An int or text, or a tuple of such, at any depth. Of other types values may be equal and mean something else, as
    1.0 and 1: a cache would take one for the other."""
    if type(value) is tuple:
        for item in <tuple>value:
            if not is_exact(item):
                return False
        return True
    return type(value) is int or type(value) is str


cdef inline bint is_image(object value, const cnp.npy_intp *shape) noexcept:
    """An array of native, aligned float32 of this shape (N, C, H, W), in whatever order."""
    return is_float32(value) and cnp.PyArray_NDIM(value) == 4 and has_shape(value, shape)


cdef object on_channels_last(object images, Context ctx):
    """An (N, C, ...) array on (N, ..., C) memory: `images` itself, or a copy where it is in C order. None of others."""
    if is_channels_last(images):
        return images
    if not cnp.PyArray_IS_C_CONTIGUOUS(images):
        return None
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(images)
    cdef int ndim = cnp.PyArray_NDIM(images), i
    cdef cnp.ndarray copy = fresh(ndim, shape, CHANNELS_LAST)
    cdef const float *from_ = data_of(images)
    cdef float *to = data_of(copy)
    cdef int64_t batch = shape[0], channels = shape[1], pixels = 1
    for i in range(2, ndim):
        pixels *= shape[i]
    with nogil:
        fc_transpose(batch, channels, pixels, from_, to, &ctx.c)
    return copy


cdef cnp.ndarray maps_target(object out, int ndim, const cnp.npy_intp *shape, cnp.ndarray x):
    """`out`, or a new array where it is None, for an (N, C, ...) result on (N, ..., C) memory made of x.

    None where kernels cannot write to out itself: not usual, of another shape, or shared with x."""
    if out is None:
        return fresh(ndim, shape, CHANNELS_LAST)
    if (is_float32(out) and cnp.PyArray_NDIM(out) == ndim and has_shape(out, shape) and is_channels_last(out)
            and cnp.PyArray_ISWRITEABLE(out) and is_apart(out, x)):
        return out
    return None


cdef cnp.ndarray image_target(object out, const cnp.npy_intp *shape, object a, object b, object c, object d):
    """`out`, or a new array where it is None, for an (N, C, H, W) result on (N, H, W, C) memory.

    None where kernels cannot write to out itself: not usual, of another shape, or shared with one of the operands."""
    if out is None:
        return fresh(4, shape, CHANNELS_LAST)
    if (is_image(out, shape) and is_channels_last(out) and cnp.PyArray_ISWRITEABLE(out)
            and is_apart(out, a) and is_apart(out, b) and is_apart(out, c) and is_apart(out, d)):
        return out
    return None
