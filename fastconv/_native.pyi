"""Types of the compiled binding. Not a public API: use fastconv.ops."""

from typing import Final

from numpy import float32, int32
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
PAD_MODES: Final[dict[str, int]]
RNN_KINDS: Final[dict[str, int]]

class Context:
    isa: str
    num_threads: int
    winograd: bool
    def __init__(self, isa: str, num_threads: int, winograd: bool = True) -> None: ...

class Workspace: ...

class Block:
    def __init__(self, size: int) -> None: ...

def is_forked_child() -> bool: ...
def fma_peak(iterations: int, ctx: Context) -> int: ...
def workspace_bytes() -> int: ...
def poison_workspace(size: int, byte: int = ...) -> None: ...
def activation_forward(x: Array, y: Array, kind: int, alpha: float, beta: float, ctx: Context) -> None: ...
def activation_backward(
    dy: Array, saved: Array, dx: Array, kind: int, alpha: float, beta: float, ctx: Context
) -> None: ...
def softmax_forward(x: Array, y: Array, log: bool, ctx: Context) -> None: ...
def softmax_backward(dy: Array, y: Array, dx: Array, log: bool, ctx: Context) -> None: ...
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
    def indices_ok(self, indices: Indices, ctx: Context) -> bool: ...
    def max_backward(self, dy: Array, indices: Indices, dx: Array, ctx: Context) -> None: ...
    def avg_forward(self, x: Array, y: Array, ctx: Context) -> None: ...
    def avg_backward(self, dy: Array, dx: Array, ctx: Context) -> None: ...

def max_unpool2d_forward(x: Array, indices: Indices, y: Array, ctx: Context) -> None: ...
def max_unpool2d_backward(dy: Array, indices: Indices, dx: Array, ctx: Context) -> None: ...
def batch_norm_statistics(x: Array, mean: Array, var: Array, ctx: Context) -> None: ...
def batch_norm_forward(
    x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None, y: Array, ctx: Context
) -> None: ...
def batch_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array | None,
    dx: Array,
    dweight: Array,
    dbias: Array,
    ctx: Context,
) -> None: ...
def rnn_reserve_size(kind: int, hidden: int) -> int: ...
def rnn_forward(
    kind: int,
    reverse: bool,
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
def rnn_backward(
    kind: int,
    reverse: bool,
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
def pad_backward(dy: Array, dx: Array, pads: tuple[int, ...], mode: str, ctx: Context) -> None: ...
def transpose(x: Array, y: Array, ctx: Context) -> None: ...
