"""Which measurements the README shows: a list a family, so that its tables stay short and a run for them takes minutes.

Operations that multiply and add have tables in GFLOP/s, one an operation and pass (PRODUCTS); all others are rows of a
family's table in microseconds (FAMILIES). `pytest bench --readme` times what is listed here and nothing else.
"""

# (op, pass): heading.
PRODUCTS = {
    ("conv2d", "forward"): "convolution, forward",
    ("conv2d", "backward_input"): "convolution, gradient in the input",
    ("conv2d", "backward_weight"): "convolution, gradient in the weights",
    ("maps", "forward"): "1-D, 3-D and transposed convolution, forward",
    ("maps", "backward_input"): "1-D, 3-D and transposed convolution, gradient in the input",
    ("maps", "backward_weight"): "1-D, 3-D and transposed convolution, gradient in the weights",
    ("gemm", "forward"): "matrix product",
    ("recurrent", "forward"): "recurrent layer, forward",
    ("recurrent", "training"): "recurrent layer, forward and backward",
}
# Of these the workloads; of the other products all that a run has.
WORKLOADS = {
    "gemm": (
        "square_64",
        "square_128",
        "square_512",
        "square_1024",
        "resnet50_conv5_unfolded",
        "hidden_1024_batch_6",
        "mlp_784_512_batch_64",
        "lstm_gates_batch_32",
        "bert_projection",
        "tall_and_thin",
        "resnet50_classifier",
        "vgg16_fc7_linear",
        "heads_16",
        "heads_64",
    ),
}
# {family: (op, pass, workloads) of its rows, in their order}.
FAMILIES = {
    "pooling": (
        ("pool2d", "max", ("vgg16_pool4_batch_8", "resnet50_pool_batch_8", "pool_3x3_s1_256", "sppf_5x5")),
        ("pool2d", "avg", ("vgg16_pool4_batch_8", "pool_3x3_s1_256", "global_7x7", "adaptive_7")),
        ("pool2d", "max_backward", ("vgg16_pool4_batch_8", "resnet50_pool_batch_8")),
        ("pool2d", "avg_backward", ("pool_3x3_s1_256", "global_7x7")),
    ),
    "activation": (
        *(("activation", name, ("in_cache_64k",)) for name in ("relu", "exp", "tanh", "sigmoid", "gelu", "silu")),
        *(("activation", name, ("in_cache_64k",)) for name in ("mish", "selu", "gelu_backward", "tanh_backward")),
        *(("activation", name, ("in_memory_4m",)) for name in ("relu", "gelu")),
    ),
    "sum and product of images": (
        ("elementwise", "add", ("images_in_cache", "resnet50_conv2_sum", "resnet50_conv2_sum_n8")),
        *(("elementwise", name, ("resnet50_conv2_sum",)) for name in ("mul", "bias", "gate")),
    ),
    "softmax and cross-entropy": (
        ("softmax", "softmax", ("rows_1000_batch_262", "rows_10_batch_26214", "rows_50000_batch_64")),
        ("softmax", "softmax", ("segmentation_nhwc",)),
        *(("softmax", name, ("rows_1000_batch_262",)) for name in ("log_softmax", "softmax_backward")),
        ("softmax", "log_softmax_backward", ("rows_1000_batch_262",)),
        ("cross_entropy", "training", ("rows_1000_batch_262", "rows_10_batch_26214", "segmentation_nhwc")),
    ),
    "normalisation": (
        ("norm", "forward", ("batch_resnet50_conv2", "layer_4096_768", "group_56", "response_alexnet_27")),
        ("norm", "training", ("batch_resnet50_conv2", "layer_4096_768", "rms_4096_768", "instance_128")),
        ("norm", "backward", ("batch_resnet50_conv2", "layer_4096_768", "rms_4096_768", "group_56")),
    ),
    "resampling and rearrangement": (
        *(("interpolate", name, ("pyramid_64",)) for name in ("nearest", "bilinear", "bicubic", "bilinear_backward")),
        *(("rearrange", name, ("shufflenet_116",)) for name in ("pixel_shuffle", "channel_shuffle", "pad")),
        *(("rearrange", name, ("shufflenet_116",)) for name in ("pad_backward", "unfold", "fold")),
    ),
    "dropout": (
        ("dropout", "forward", ("in_cache_64k", "in_memory_4m")),
        ("dropout", "training", ("in_cache_64k", "in_memory_4m")),
    ),
    "call on a few numbers": tuple(
        ("call", name, ("tiny",)) for name in ("relu", "softmax", "linear", "conv2d", "max_pool2d")
    ),
}
# Passes whose names in tables are not their own with spaces.
PASS_NAMES = {"avg": "average", "avg_backward": "average, gradient", "training": "forward and backward"}
PASS_NAMES_OF = {
    ("norm", "forward"): "inference",
    ("norm", "training"): "training",
    ("norm", "backward"): "gradients",
    ("cross_entropy", "training"): "cross-entropy and its gradient",
    ("elementwise", "bias"): "bias by channel",
    ("elementwise", "gate"): "product with a gate by image and channel",
    ("elementwise", "add"): "sum",
    ("elementwise", "mul"): "product",
}


def rows_of(family):
    """(op, pass, workload) of each row of a family's table."""
    return [(op, pass_, name) for op, pass_, names in FAMILIES[family] for name in names]


IN_FAMILIES = {row for family in FAMILIES for row in rows_of(family)}


def shows(op, pass_, workload):
    """Whether the README shows this."""
    if (op, pass_) in PRODUCTS:
        return workload in WORKLOADS.get(op, (workload,))
    return (op, pass_, workload) in IN_FAMILIES


def pass_name(op, pass_):
    """As tables call it: "max, gradient"."""
    if (op, pass_) in PASS_NAMES_OF:
        return PASS_NAMES_OF[op, pass_]
    return PASS_NAMES.get(pass_) or pass_.replace("_backward", ", gradient").replace("_", " ")
