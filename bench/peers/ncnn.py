"""ncnn: a net of one layer, float32 throughout, its own choice of algorithm, images in its packed layout.

It has no batch: images go through one after the other. Mode "net" is its own choice, which is often Winograd's F(6x6);
"without_f6x6" has the accuracy of F(4x4), which is what fastconv chooses by itself.

Each function takes (size, pass, operands) and returns the line of the net's description and the bytes of its weights.
"""

import tempfile
from importlib import metadata
from pathlib import Path

import ncnn
import numpy as np

from bench.peers import Unsupported
from fastconv import _native

LANES = 16 if "avx512" in _native.ISAS_DETECTED else 8 if "avx2" in _native.ISAS_DETECTED else 4
VERSION = metadata.version("ncnn")


# The numbers ncnn gives to the parameters of an axis: kernel, dilation, stride, pads before and after, output padding.
AXES = ((21, 22, 23, 24, 17, 20), (11, 12, 13, 14, 16, 19), (1, 2, 3, 4, 15, 18))  # depth, height, width


def convolution(size, pass_, operands):
    values, rank = {0: size.k, 6: int(np.prod(size.weight_shape))}, len(size.kernel)
    for axis, numbers in enumerate(AXES[-rank:]):
        given = size.kernel[axis], size.each("dilation")[axis], size.each("stride")[axis], *size.sides[axis]
        values |= dict(zip(numbers, given, strict=False))
        if size.transposed:
            values[numbers[-1]] = size.each("output_padding")[axis]
    if size.groups > 1:
        values[7] = size.groups
    kind = ("Deconvolution" if size.transposed else "Convolution") + "DepthWise" * (size.groups > 1)
    kind += f"{rank}D" * (rank != 2)
    weight = operands["weight"].swapaxes(0, 1) if size.transposed else operands["weight"]  # ncnn's: (K, C, *kernel)
    float32_follows = b"\0\0\0\0"
    return line(kind, values), float32_follows + np.ascontiguousarray(weight).tobytes()


def line(kind, values):
    return f"{kind} layer 1 1 x y " + " ".join(f"{key}={value}" for key, value in sorted(values.items()))


def float32_net(threads):
    """An empty one."""
    net = ncnn.Net()
    for name in dir(net.opt):  # half precision in any form
        if name.startswith(("use_fp16", "use_bf16")):
            setattr(net.opt, name, False)
    net.opt.num_threads = threads
    return net


def pool2d(size, pass_, operands):
    values = {0: {"max": 0, "avg": 1}[pass_], 1: size.kernel, 2: size.stride, 3: size.padding, 5: 1, 6: 1}
    if size.output == 1:
        values = {0: values[0], 4: 1}
    elif size.output:
        values = {0: values[0], 7: 1, 8: size.output}
    return line("Pooling", values), b""


def softmax(size, pass_, operands):
    """Rows as a matrix."""
    if operands["x"].ndim != 2:
        raise Unsupported("rows alone")
    return line("Softmax", {0: 1, 1: 1}), b""


def norm(size, pass_, operands):
    if operands["x"].ndim == 2 and size.kind == "batch":
        raise Unsupported("there are no batches of rows")
    channels, last = size.shape[1], size.shape[-1]
    kinds = {
        "batch": ("BatchNorm", {0: channels, 1: 1e-5}, ("weight", "mean", "var", "bias")),
        "instance": ("InstanceNorm", {0: channels, 1: 1e-5}, ("weight", "bias")),
        "group": ("GroupNorm", {0: size.groups, 1: channels, 2: 1e-5}, ("weight", "bias")),
        "layer": ("LayerNorm", {0: last, 1: 1e-5}, ("weight", "bias")),
        "rms": ("RMSNorm", {0: last, 1: 2.0**-23}, ("weight",)),
        "response": ("LRN", {1: size.window, 2: 1e-4, 3: 0.75, 4: 1.0}, ()),
    }
    kind, values, names = kinds[size.kind]
    return line(kind, values), b"".join(operands[name].tobytes() for name in names)


def loaded(description, weights, threads, mode):
    """The net of one layer."""
    net = float32_net(threads)
    net.opt.use_winograd63_convolution = mode == "net"
    with tempfile.TemporaryDirectory() as folder:
        parameters, model = Path(folder, "layer.param"), Path(folder, "layer.bin")
        parameters.write_text(f"7767517\n2 2\nInput x 0 1 x\n{description}\n")
        model.write_bytes(weights)
        if net.load_param(str(parameters)) or net.load_model(str(model)):
            raise Unsupported("the net does not load")
    return net


def packed(image):
    """One map (C, *sizes) in the packed layout in which layers hand it to each other."""
    for count in (16, 8, 4):
        if count <= LANES and image.shape[0] % count == 0:
            return ncnn.convert_packing(ncnn.Mat(image).clone(), count)
    return ncnn.Mat(image).clone()


OPS = {"conv2d": convolution, "maps": convolution, "pool2d": pool2d, "softmax": softmax, "norm": norm}


def configure(options):
    """Nothing: threads belong to a net."""


def prepare(task, mode, options, operands):
    net = loaded(*OPS[task.op](task.size, task.pass_, operands), options["threads"], mode)
    rows = operands["x"].ndim == 2  # one matrix, whose rows are independent
    images = [ncnn.Mat(operands["x"]).clone()] if rows else [packed(image.copy()) for image in operands["x"]]
    as_it_is = 1  # extract's type: no conversion to the plain layout

    def call():
        results = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input("x", image)
            results.append(extractor.extract("y", as_it_is)[1])
        return results

    def fetch(results):
        if rows:
            return np.array(ncnn.convert_packing(results[0], 1))
        values = np.stack([np.array(ncnn.convert_packing(result, 1)) for result in results])
        return values.reshape(task.size.y_shape) if task.op == "pool2d" else values  # a global pooling gives (C,)

    return call, fetch
