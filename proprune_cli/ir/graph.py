"""The float graph: one dataclass per kind of node, with real fields; weights are float32, the batch is unwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.outputs import Output

Shape = tuple[int, ...]
"""Shape of one image's tensor, without the batch: (channels, height, width), or (features,) after a flatten."""

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
PadMode = Literal["constant", "edge", "reflect"]
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Conv:
    """Two-dimensional cross-correlation with zero padding.

    Attributes:
        weight: float32 [out_channels, in_channels // groups, kernel_h, kernel_w].
        bias: float32 [out_channels].
        stride, dilation: (y, x). pads: (top, left, bottom, right).
        relu: clamp the result at zero from below.
    """

    name: str
    x: str
    y: str
    weight: F32
    bias: F32
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True, eq=False)
class Gemm:
    """Fully connected layer ``y = weight @ x + bias`` over the flattened input; weight is float32 [out, in]."""

    name: str
    x: str
    y: str
    weight: F32
    bias: F32

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True, eq=False)
class Affine:
    """``y = scale[c] * x + shift[c]``, float32 [C]: batch normalisation in inference, a constant added per channel."""

    name: str
    x: str
    y: str
    scale: F32
    shift: F32

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class AveragePool:
    """Mean over the kernel's window; zeros of the padding count."""

    name: str
    x: str
    y: str
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over the kernel's window; padding never wins."""

    name: str
    x: str
    y: str
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Add:
    """``a + b`` or ``a - b`` of one shape, or with ``b`` of 1×1 pixels for every pixel of ``a``."""

    name: str
    a: str
    b: str
    y: str
    relu: bool = False
    subtract: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class Mul:
    """``a * b`` of one shape, or with ``b`` of 1×1 pixels for every pixel of ``a``."""

    name: str
    a: str
    b: str
    y: str
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class Relu:
    """``max(x, 0)``."""

    name: str
    x: str
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Activation:
    """A function of each number alone, other than ReLU.

    Attributes:
        op: a name of ``ops/functions.py``: an ONNX operator, or ``Silu``.
        attributes: of that operator. parameters: its further inputs, such as Clip's bounds.
    """

    name: str
    x: str
    y: str
    op: str
    attributes: tuple[tuple[str, float], ...] = ()
    parameters: tuple[float, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Concat:
    """Channels of several tensors one after the other; with ``axis`` 2 their rows, with 3 their columns."""

    name: str
    xs: tuple[str, ...]
    y: str
    axis: int = 1

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.xs


@dataclass(frozen=True, eq=False)
class Select:
    """Channels by number: ``y[c] = x[channels[c]]``; int64 [out_channels]."""

    name: str
    x: str
    y: str
    channels: NDArray[np.int64]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Upsample:
    """Every pixel repeated ``scale`` = (y, x) times."""

    name: str
    x: str
    y: str
    scale: Pair

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True, eq=False)
class ConvTranspose:
    """Two-dimensional transposed convolution.

    Attributes:
        weight: float32 [in_channels, out_channels // groups, kernel_h, kernel_w].
        bias: float32 [out_channels].
        stride, dilation: (y, x). pads: (top, left, bottom, right) cut off the full result.
        extra: rows and columns added at the bottom and the right (ONNX ``output_padding``).
        keeps_scale: its results are means of its inputs, and are to have their scale: nothing is clipped then.
    """

    name: str
    x: str
    y: str
    weight: F32
    bias: F32
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    extra: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    relu: bool = False
    keeps_scale: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Transpose:
    """Axes of one image in another order; ``perm`` does not count the batch."""

    name: str
    x: str
    y: str
    perm: tuple[int, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order under another shape (flatten included)."""

    name: str
    x: str
    y: str
    shape: Shape

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Pad:
    """``value`` around the image; ``pads`` is (top, left, bottom, right), negative ones crop.

    Attributes:
        mode: "constant", or with pads that are not negative "edge" (the border's pixels are repeated) or "reflect" (the
            image is mirrored at its outermost pixels).
    """

    name: str
    x: str
    y: str
    pads: Pads
    value: float = 0.0
    mode: PadMode = "constant"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Identity:
    """``y = x``; Dropout in inference too."""

    name: str
    x: str
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class Host:
    """One operator that is not the engine's, run by ONNX Runtime between the engine's layers.

    Attributes:
        xs: the activations it reads, all channels x height x width; its other inputs are constants of the model.
        model: serialised ONNX model of operator set 13 or later, float32 [N, *shape] in (in the order of ``xs``) and
            out; it keeps the images of a batch apart.
        operators: the ONNX operators that it runs, in order.
        shape: of the result, channels x height x width.
    """

    name: str
    xs: tuple[str, ...]
    y: str
    model: bytes
    operators: tuple[str, ...]
    shape: Shape

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.xs


Node = (
    Conv
    | ConvTranspose
    | Gemm
    | Affine
    | AveragePool
    | MaxPool
    | Add
    | Mul
    | Relu
    | Activation
    | Concat
    | Select
    | Upsample
    | Transpose
    | Reshape
    | Pad
    | Identity
    | Host
)

NodeKind = type[Node]


@dataclass(frozen=True)
class HostTail:
    """What remains of a network after the engine's part, for ONNX Runtime on the host.

    Attributes:
        model: serialised ONNX model; its inputs are some of the graph's outputs, float [N, *shape], by their names.
        operators: the ONNX operators that it runs, in order.
    """

    model: bytes
    operators: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A float network in topological order with one input.

    Attributes:
        tensors: shape of every activation tensor (without the batch), the input's included.
        outputs: the ONNX model's, or, before a host tail, also what that reads; no name twice.
        host_tail: what follows ``outputs`` on the host.
        results: names of the ONNX model's outputs in their order; each is one of ``outputs`` or of the host tail's.
    """

    name: str
    tensors: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    input: str
    outputs: tuple[Output, ...]
    host_tail: HostTail | None = None
    results: tuple[str, ...] = ()

    @property
    def returned(self) -> frozenset[str]:
        """The tensors that are outputs."""
        return frozenset(output.tensor for output in self.outputs)

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor; a node that reads it twice stands there twice."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers
