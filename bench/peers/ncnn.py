"""ncnn: a net of one layer, float32 throughout, its own choice of algorithm, images in its packed layout.

It has no batch: images go through one after the other. Mode "net" is its own choice, which is often Winograd's F(6x6);
"without_f6x6" has the accuracy of F(4x4), which is what fastconv chooses by itself.
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


def layer_line(size):
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
    return f"{kind} layer 1 1 x y " + " ".join(f"{key}={value}" for key, value in sorted(values.items()))


def pool_line(size, pass_):
    values = {0: {"max": 0, "avg": 1}[pass_], 1: size.kernel, 2: size.stride, 3: size.padding, 5: 1, 6: 1}
    if size.output == 1:
        values = {0: values[0], 4: 1}
    elif size.output:
        values = {0: values[0], 7: 1, 8: size.output}
    return "Pooling layer 1 1 x y " + " ".join(f"{key}={value}" for key, value in values.items())


def loaded(line, weight, threads, mode):
    net = ncnn.Net()
    for name in dir(net.opt):  # half precision in any form
        if name.startswith(("use_fp16", "use_bf16")):
            setattr(net.opt, name, False)
    net.opt.use_winograd63_convolution = mode == "net"
    net.opt.num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        parameters, model = Path(folder, "layer.param"), Path(folder, "layer.bin")
        parameters.write_text(f"7767517\n2 2\nInput x 0 1 x\n{line}\n")
        model.write_bytes(b"\0\0\0\0" + np.ascontiguousarray(weight).tobytes())  # four zeros: float32 follows
        if net.load_param(str(parameters)) or net.load_model(str(model)):
            raise Unsupported("the net does not load")
    return net


def packed(image):
    """One map (C, *sizes) in the packed layout in which layers hand it to each other."""
    for count in (16, 8, 4):
        if count <= LANES and image.shape[0] % count == 0:
            return ncnn.convert_packing(ncnn.Mat(image).clone(), count)
    return ncnn.Mat(image).clone()


def configure(options):
    """Nothing: threads belong to a net."""


def prepare(task, mode, options, operands):
    size = task.size
    if task.op == "pool2d":
        net = loaded(pool_line(size, task.pass_), np.empty(0, np.float32), options["threads"], mode)
    elif task.op in ("conv2d", "maps") and task.pass_ == "forward":
        weight = operands["weight"]
        if size.transposed:
            weight = weight.swapaxes(0, 1)  # ncnn's are (K, C, *kernel)
        net = loaded(layer_line(size), weight, options["threads"], mode)
    else:
        raise Unsupported("inference of layers alone")
    images = [packed(np.ascontiguousarray(image)) for image in operands["x"]]
    as_it_is = 1  # extract's type: no conversion to the plain layout

    def call():
        results = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input("x", image)
            results.append(extractor.extract("y", as_it_is)[1])
        return results

    def fetch(results):
        values = np.stack([np.array(ncnn.convert_packing(result, 1)) for result in results])
        return values.reshape(size.y_shape)  # a global pooling gives (C,)

    return call, fetch
