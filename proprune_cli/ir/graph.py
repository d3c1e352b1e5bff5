"""The float graph: one dataclass per kind of node, with real fields; weights are float32, the batch is unwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
"""Shape of one image's tensor, without the batch: (channels, height, width), or (features,) after a flatten."""

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
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
    """Element-wise sum of two tensors of one shape."""

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
    """Zeros around the image; ``pads`` is (top, left, bottom, right)."""

    name: str
    x: str
    y: str
    pads: Pads

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


Node = Conv | Gemm | Affine | AveragePool | MaxPool | Add | Relu | Reshape | Pad | Identity

NodeKind = type[Conv | Gemm | Affine | AveragePool | MaxPool | Add | Relu | Reshape | Pad | Identity]


@dataclass(frozen=True, eq=False)
class Graph:
    """A float network in topological order, one input, one output.

    Attributes:
        tensors: shape of every activation tensor (without the batch), the input's included.
        output_shape: shape of the ONNX output without the batch; the output tensor has as many elements.
    """

    name: str
    tensors: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    input: str
    output: str
    output_shape: Shape

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor; a node that reads it twice stands there twice."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def producers(self) -> dict[str, Node]:
        return {node.y: node for node in self.nodes}
