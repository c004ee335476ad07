"""The libraries that are timed, a module each. A module offers

    VERSION                     text
    prepare(task, mode, options, operands) -> (call, fetch)
                                call() runs the task once; fetch(call()) is its result as a float32 NumPy array in
                                fastconv's shape. Raises Unsupported with the reason. options: "threads", "isa".

and is imported only in a process of its own (bench/worker.py), with its threads set before.
"""

LIBRARIES = ("fastconv", "numpy", "torch", "onnxruntime", "openvino", "ncnn")
# What other modes there are beside fastconv's algorithms, known without importing anything.
MODES = {
    "numpy": ("im2col",),
    "torch": ("nchw", "channels_last", "prepacked"),
    "onnxruntime": ("session",),
    "openvino": ("nchw", "nhwc"),
    "ncnn": ("net", "without_f6x6"),
}


class Unsupported(Exception):
    """The library has no way of doing this task; the text says why."""
