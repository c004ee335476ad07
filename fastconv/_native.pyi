"""Types of the compiled binding. Not a public API: use fastconv.ops."""

from typing import Final

from numpy import bool_, float32, float64, int32, int64
from numpy.typing import NDArray

Array = NDArray[float32]
Indices = NDArray[int32]
Shape = tuple[int, ...]

COMPILER: Final[str]
HAS_OPENMP: Final[bool]
ISAS_COMPILED: Final[tuple[str, ...]]
ISAS_DETECTED: Final[tuple[str, ...]]
ACTIVATIONS: Final[dict[str, int]]
CONV2D_ALGORITHMS: Final[dict[str, int]]
ELEMENTWISE_OPS: Final[dict[str, int]]
INTERPOLATION_MODES: Final[dict[str, int]]
PAD_MODES: Final[dict[str, int]]
RNN_KINDS: Final[dict[str, int]]
SUM_KINDS: Final[dict[str, int]]

class Context:
    isa: str
    num_threads: int
    winograd: bool
    def __init__(self, isa: str, num_threads: int, winograd: bool = True) -> None: ...

class Workspace: ...

class Block:
    def __init__(self, size: int) -> None: ...

# Functions for usual arrays return NotImplemented for others: see native/arrays.pxi.
def array(function: str, name: str, value: object, ndim: int | None = None) -> Array: ...
def empty(shape: Shape) -> Array: ...
def empty_images(*shape: int) -> tuple[Array, Array]: ...
def channels_last(x: Array, ctx: Context) -> Array: ...
def is_tuple_of_integers(value: object, count: int, minimum: int) -> bool: ...
def is_exact(value: object) -> bool: ...
def is_forked_child() -> bool: ...
def fma_peak(iterations: int, ctx: Context) -> int: ...
def workspace_bytes() -> int: ...
def kept_block_bytes() -> int: ...
def give_back_blocks() -> None: ...
def poison_workspace(size: int, byte: int = ...) -> None: ...
def activate(x: Array, out: Array | None, kind: int, alpha: float, beta: float, ctx: Context) -> Array: ...
def activate_backward(
    dy: Array, saved: Array, out: Array | None, kind: int, alpha: float, beta: float, ctx: Context
) -> Array: ...
def softmax(x: Array, axis: int, out: Array | None, log: bool, ctx: Context) -> Array: ...
def softmax_gradient(dy: Array, y: Array, axis: int, out: Array | None, log: bool, ctx: Context) -> Array: ...
def activation_forward(x: Array, y: Array, kind: int, alpha: float, beta: float, ctx: Context) -> None: ...
def activation_backward(
    dy: Array, saved: Array, dx: Array, kind: int, alpha: float, beta: float, ctx: Context
) -> None: ...
def glu_forward(x: Array, y: Array, ctx: Context) -> None: ...
def glu_backward(dy: Array, x: Array, dx: Array, ctx: Context) -> None: ...

class ElementwisePlan:
    def __init__(
        self,
        op: str,
        size: tuple[int, int, int, int],
        a_has: tuple[bool, bool, bool, bool],
        b_has: tuple[bool, bool, bool, bool],
        fused: tuple[int, float, float],
    ) -> None: ...
    def forward(self, a: Array, b: Array, gate: Array | None, y: Array, ctx: Context) -> None: ...

def combine(
    op: str,
    a: Array,
    b: Array,
    gate: Array | None,
    out: Array | None,
    fused: tuple[int, float, float],
    ctx: Context,
) -> Array: ...
def column_sums(kind: str, dy: Array, x: Array | None, sums: Array, ctx: Context) -> None: ...
def row_sums(kind: str, dy: Array, x: Array | None, sums: Array, ctx: Context) -> None: ...
def softmax_forward(x: Array, y: Array, axis: int, log: bool, ctx: Context) -> bool: ...
def softmax_backward(dy: Array, y: Array, dx: Array, axis: int, log: bool, ctx: Context) -> bool: ...

LOSSES: dict[str, int]

def loss(x: Array, targets: Array, gradient: Array, kind: int, scale: float, ctx: Context) -> float: ...
def cross_entropy(
    x: Array,
    labels: Array,
    weight: Array | None,
    gradient: Array,
    axis: int,
    smoothing: float,
    mean: bool,
    ignore_index: int,
    ctx: Context,
) -> tuple[float, float | None]: ...
def ctc_loss(
    x: Array,
    targets: NDArray[int64],
    target_starts: NDArray[int64],
    lengths: NDArray[int64],
    target_lengths: NDArray[int64],
    blank: int,
    mean: bool,
    zero_infinity: bool,
    gradient: Array,
    ctx: Context,
) -> tuple[float | None, int | None]: ...
def ctc_beam(
    log_probabilities: Array, lengths: NDArray[int64], blank: int, width: int, top: int, ctx: Context
) -> tuple[NDArray[int64], NDArray[int64], NDArray[float64]]: ...
def embedding_backward(dy: Array, ids: NDArray[int64], dweight: Array, ctx: Context) -> None: ...
def gemm(
    a: Array,
    b: Array,
    bias: Array | None,
    c: Array,
    transpose_a: bool,
    transpose_b: bool,
    alpha: float,
    beta: float,
    activation_kind: int,
    activation_alpha: float,
    activation_beta: float,
    ctx: Context,
) -> None: ...
def gemm_batch(a: Array, b: Array, c: Array, transpose_a: bool, transpose_b: bool, ctx: Context) -> None: ...
def linear(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array | None,
    transpose_weight: bool,
    activation_kind: int,
    activation_alpha: float,
    activation_beta: float,
    ctx: Context,
) -> Array: ...
def matmul(a: Array, b: Array, out: Array | None, ctx: Context) -> Array: ...
def linear_gradients(
    dy: Array, x: Array, out_weight: Array | None, out_bias: Array | None, ctx: Context
) -> tuple[Array, Array]: ...

class PackedConv2dWeight:
    key: tuple
    shape: Shape
    algorithm: str
    @property
    def nbytes(self) -> int: ...

class Conv2dPlan:
    x_shape: Shape
    weight_shape: Shape
    y_shape: Shape
    algorithms: tuple[str, str, str]
    def __init__(
        self,
        x_shape: Shape,
        weight_shape: Shape,
        stride: tuple[int, int],
        pads: tuple[int, int, int, int],
        dilation: tuple[int, int],
        groups: int,
        fused: tuple[int, float, float],
        algorithm: str,
        exact: bool = False,
        constant_weights: bool = False,
    ) -> None: ...
    @property
    def multiply_adds(self) -> int: ...
    def workspace_bytes(self, pass_: int, ctx: Context) -> int: ...
    def plain_workspace_bytes(self, ctx: Context) -> int: ...
    def packing_key(self, ctx: Context) -> tuple: ...
    def pack(self, weight: Array, ctx: Context) -> PackedConv2dWeight: ...
    def convolve(
        self,
        x: Array,
        weight: Array | PackedConv2dWeight,
        bias: Array | None,
        residual: Array | None,
        out: Array | None,
        ctx: Context,
    ) -> Array: ...
    def input_gradient(self, dy: Array, weight: Array, out: Array | None, ctx: Context) -> Array: ...
    def weight_gradients(
        self,
        dy: Array,
        x: Array,
        out_weight: Array | None,
        out_bias: Array | None,
        ctx: Context,
        transposed: bool = False,
    ) -> tuple[Array, Array]: ...
    def convolve_transposed(
        self, x: Array, weight: Array, bias: Array | None, out: Array | None, ctx: Context
    ) -> Array: ...
    def forward(
        self,
        x: Array,
        weight: Array | PackedConv2dWeight,
        bias: Array | None,
        residual: Array | None,
        y: Array,
        ctx: Context,
    ) -> None: ...
    def backward_input(self, dy: Array, weight: Array, dx: Array, ctx: Context) -> None: ...
    def backward_weight(self, dy: Array, x: Array, dweight: Array, dbias: Array | None, ctx: Context) -> None: ...
    def transposed_forward(
        self, x: Array, weight: Array, bias: Array | None, residual: Array | None, y: Array, ctx: Context
    ) -> None: ...

def conv_transpose2d_backward_bias(dy: Array, dbias: Array, ctx: Context) -> None: ...

class Pool2dPlan:
    y_shape: Shape
    kernel_size: tuple[int, int]
    def __init__(
        self,
        function: str,
        x_shape: Shape,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pads: tuple[int, int, int, int],
        dilation: tuple[int, int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor: int = 0,
        output_size: tuple[int, int] | None = None,
    ) -> None: ...
    def max_forward(self, x: Array, y: Array, indices: Indices | None, ctx: Context) -> None: ...
    def max_backward(self, dy: Array, indices: Indices, dx: Array, check: bool, ctx: Context) -> bool: ...
    def avg_forward(self, x: Array, y: Array, ctx: Context) -> None: ...
    def avg_backward(self, dy: Array, dx: Array, ctx: Context) -> None: ...

class InterpolatePlan:
    y_shape: Shape
    def __init__(
        self,
        function: str,
        x_shape: Shape,
        size: tuple[int, int],
        factors: tuple[float, float],
        mode: str,
        align_corners: bool,
    ) -> None: ...
    def interpolated(self, x: Array, out: Array | None, back: bool, ctx: Context) -> Array: ...
    def forward(self, x: Array, y: Array, ctx: Context) -> None: ...
    def backward(self, dy: Array, dx: Array, ctx: Context) -> None: ...

def pixel_shuffle_forward(x: Array, y: Array, factor: int, ctx: Context) -> None: ...
def pixel_shuffle_backward(dy: Array, dx: Array, factor: int, ctx: Context) -> None: ...
def channel_shuffle(x: Array, y: Array, groups: int, ctx: Context) -> None: ...
def shuffled_channels(x: Array, groups: int, out: Array | None, back: bool, ctx: Context) -> Array: ...
def shuffled_pixels(x: Array, factor: int, out: Array | None, back: bool, ctx: Context) -> Array: ...

class UnfoldPlan:
    columns_shape: Shape
    def __init__(
        self,
        function: str,
        x_shape: Shape,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pads: tuple[int, int],
        dilation: tuple[int, int],
    ) -> None: ...
    def unfold(self, x: Array, columns: Array, planes: bool, ctx: Context) -> None: ...
    def fold(self, columns: Array, y: Array, ctx: Context) -> None: ...

def dropout_forward(
    x: Array, y: Array, keep: NDArray[bool_], key: tuple[int, int], least: int, scale: float, ctx: Context
) -> None: ...
def max_unpool2d_forward(x: Array, indices: Indices, y: Array, ctx: Context) -> None: ...
def max_unpool2d_backward(dy: Array, indices: Indices, dx: Array, ctx: Context) -> None: ...
def dropout_backward(dy: Array, keep: NDArray[bool_], dx: Array, scale: float, ctx: Context) -> None: ...
def norm_training(
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    y: Array,
    mean: Array,
    var: Array,
    ctx: Context,
) -> None: ...
def norm_inference(
    x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, y: Array, ctx: Context
) -> None: ...
def norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    eps: float,
    dx: Array,
    dweight: Array,
    dbias: Array,
    ctx: Context,
) -> None: ...
def layer_norm_forward(
    rms: bool,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    y: Array,
    mean: Array | None,
    var: Array | None,
    ctx: Context,
) -> None: ...
def layer_norm_backward(
    rms: bool,
    dy: Array,
    x: Array,
    mean: Array | None,
    var: Array,
    weight: Array | None,
    eps: float,
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    ctx: Context,
) -> None: ...
def batch_norm(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None,
    ctx: Context,
) -> Array: ...

MAP_NORMS: dict[str, int]

def map_norm(
    x: Array,
    kind: int,
    groups: int | None,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None,
    ctx: Context,
) -> tuple[Array, Array, Array]: ...
def map_norm_gradients(
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    kind: int,
    groups: int | None,
    weight: Array | None,
    eps: float,
    ctx: Context,
) -> tuple[Array, Array, Array]: ...
def row_norm(
    rms: bool,
    x: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    out: Array | None,
    keep: bool,
    ctx: Context,
) -> Array | tuple[Array, Array | None, Array]: ...
def row_norm_gradients(
    rms: bool,
    dy: Array,
    x: Array,
    mean: Array | None,
    var: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None,
    eps: float,
    ctx: Context,
) -> tuple[Array, Array, Array | None]: ...
def response_norm_forward(x: Array, size: int, alpha: float, beta: float, k: float, y: Array, ctx: Context) -> None: ...
def response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float, beta: float, k: float, dx: Array, ctx: Context
) -> None: ...
def is_plain_of(value: object, shape: Shape) -> bool: ...
def rnn_reserve_size(kind: int, hidden: int) -> int: ...
def rnn_forward(
    kind: int,
    reverse: bool,
    lengths: NDArray[int64] | None,
    x: Array,
    h: Array | None,
    c: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    y: Array,
    h_last: Array,
    c_last: Array | None,
    reserve: Array | None,
    ctx: Context,
) -> None: ...
def rnn_step(
    kind: int,
    x: Array,
    h: Array | None,
    c: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    ctx: Context,
) -> tuple[Array, Array, Array | None] | None: ...
def rnn_backward(
    kind: int,
    reverse: bool,
    lengths: NDArray[int64] | None,
    dy: Array | None,
    dh_last: Array | None,
    dc_last: Array | None,
    x: Array,
    h: Array | None,
    c: Array | None,
    y: Array,
    weight_ih: Array,
    weight_hh: Array,
    reserve: Array,
    dx: Array,
    dh: Array,
    dc: Array | None,
    dweight_ih: Array,
    dweight_hh: Array,
    dbias_ih: Array,
    dbias_hh: Array,
    ctx: Context,
) -> None: ...
def pad_forward(x: Array, y: Array, pads: tuple[int, ...], mode: str, value: float, ctx: Context) -> None: ...
def padded(x: Array, padding: int | tuple, mode: str, value: float, out: Array | None, ctx: Context) -> Array: ...
def pad_backward(dy: Array, dx: Array, pads: tuple[int, ...], mode: str, ctx: Context) -> None: ...
def transpose(x: Array, y: Array, ctx: Context) -> None: ...
