"""The libraries that are timed, a module each. A module offers

    VERSION                     text
    configure(options)          makes "threads" (and for fastconv "isa") hold for the calls that follow
    prepare(task, mode, options, operands) -> (call, fetch)
                                call() runs the task once; fetch(call()) is its result as a float32 NumPy array in
                                fastconv's shape. Raises Unsupported with the reason.

and is imported only in a process of its own (bench/worker.py), with its threads set before.
"""

IMAGES = ("nchw", "channels_last")
# The modes of the other libraries, by op and pass (None: every pass): known without importing anything. fastconv's
# modes are its algorithms.
MODES = {
    "numpy": {
        ("conv2d", None): ("im2col",),
        ("gemm", None): ("blas",),
        ("activation", None): ("ufuncs",),
        ("elementwise", None): ("ufuncs",),
        ("softmax", None): ("ufuncs",),
        ("cross_entropy", None): ("ufuncs",),
        ("interpolate", "nearest"): ("repeat",),
        ("rearrange", "pixel_shuffle"): ("nhwc",),
        ("rearrange", "pixel_unshuffle"): ("nhwc",),
        ("rearrange", "channel_shuffle"): ("nhwc",),
        ("rearrange", "pad"): ("nhwc",),
        ("dropout", None): ("ufuncs",),
    },
    "torch": {
        ("conv2d", "forward"): (*IMAGES, "prepacked"),
        ("conv2d", None): IMAGES,
        ("maps", None): IMAGES,
        ("gemm", None): ("mkl",),
        ("pool2d", None): IMAGES,
        ("interpolate", None): IMAGES,
        ("rearrange", None): IMAGES,
        ("dropout", None): ("aten",),
        ("activation", None): ("aten",),
        ("elementwise", None): IMAGES,
        ("softmax", None): IMAGES,
        ("cross_entropy", None): IMAGES,
        ("ctc", None): ("functional",),
        ("norm", None): IMAGES,
        ("recurrent", None): ("layer",),
        ("call", None): ("functional",),
    },
    "onnxruntime": {
        ("conv2d", "forward"): ("session",),
        ("maps", "forward"): ("session",),
        ("gemm", None): ("session",),
        ("interpolate", "nearest"): ("session",),
        ("interpolate", "bilinear"): ("session",),
        ("interpolate", "bicubic"): ("session",),
        ("rearrange", "pixel_shuffle"): ("session",),
        ("rearrange", "channel_shuffle"): ("session",),
        ("rearrange", "pad"): ("session",),
        ("pool2d", "max"): ("session",),
        ("pool2d", "avg"): ("session",),
        ("activation", None): ("session",),
        ("elementwise", None): ("session",),
        ("softmax", "softmax"): ("session",),
        ("softmax", "log_softmax"): ("session",),
        ("norm", "forward"): ("session",),
        ("recurrent", "forward"): ("session",),
    },
    "openvino": {
        ("conv2d", "forward"): ("nchw", "nhwc"),
        ("maps", "forward"): ("nchw", "nhwc"),
        ("interpolate", "nearest"): ("nchw", "nhwc"),
        ("interpolate", "bilinear"): ("nchw", "nhwc"),
        ("interpolate", "bicubic"): ("nchw", "nhwc"),
        ("rearrange", "pixel_shuffle"): ("nchw", "nhwc"),
        ("rearrange", "channel_shuffle"): ("nchw", "nhwc"),
        ("rearrange", "pad"): ("nchw", "nhwc"),
        ("gemm", None): ("model",),
        ("elementwise", None): ("nchw", "nhwc"),
        **{("activation", name): ("model",) for name in ("relu", "sigmoid", "tanh", "gelu", "silu", "exp")},
        ("softmax", "softmax"): ("model",),
        ("softmax", "log_softmax"): ("model",),
        ("norm", "forward"): ("model",),
        ("pool2d", "max"): ("nchw", "nhwc"),
        ("pool2d", "avg"): ("nchw", "nhwc"),
    },
    "ncnn": {
        ("conv2d", "forward"): ("net", "without_f6x6"),
        ("maps", "forward"): ("net",),
        ("softmax", "softmax"): ("net",),
        ("norm", "forward"): ("net",),
        ("pool2d", "max"): ("net",),
        ("pool2d", "avg"): ("net",),
    },
}
LIBRARIES = ("fastconv", *MODES)


def modes(library, op, pass_):
    """The ways another library has of doing a task of this kind; none: it cannot."""
    return MODES[library].get((op, pass_)) or MODES[library].get((op, None), ())


class Unsupported(Exception):
    """The library has no way of doing this task; the text says why."""
