"""The float graph: weights are float32, the batch is unwritten. `proprune_cli.ir.nodes` says how a node is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.nodes import Clamping, Shape, ShapeError, Shared, Unary, Weights, image, windows
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.window import Pads, Pair, Window
from proprune_cli.work.layer import SourceOperator
from proprune_cli.work.preprocess import Preprocess

PadMode = Literal["constant", "edge", "reflect"]
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Conv(Unary, Clamping):
    """Two-dimensional cross-correlation with zero padding.

    Attributes:
        weight: float32 [out_channels, in_channels // groups, kernel_h, kernel_w].
        bias: float32 [out_channels].
    """

    weight: F32
    bias: F32
    window: Window
    groups: int = 1

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        wanted = self.weight.shape[1] * self.groups
        if channels != wanted:
            raise ShapeError(f"its weight wants {wanted} input channels, {channels} arrive")
        return (self.weight.shape[0], *windows(self.window, (height, width)))

    def weights(self) -> Weights:
        return (("weight", self.weight, 4), ("bias", self.bias, 1))

    def fault(self) -> str:
        if self.weight.shape[2:] != self.window.kernel:
            return "weight and window do not agree on the kernel"
        if self.weight.shape[0] != self.bias.shape[0] or self.weight.shape[0] % self.groups:
            return "weight, bias and groups do not agree on the output channels"
        return ""


@dataclass(frozen=True, eq=False)
class ConvTranspose(Unary, Clamping):
    """Two-dimensional transposed convolution.

    Attributes:
        weight: float32 [in_channels, out_channels // groups, kernel_h, kernel_w].
        bias: float32 [out_channels].
        window: its pads are cut off the full result.
        extra: rows and columns added at the bottom and the right (ONNX ``output_padding``).
        keeps_scale: its results are means of its inputs, and are to have their scale: nothing is clipped then.
    """

    weight: F32
    bias: F32
    window: Window
    extra: Pair = (0, 0)
    groups: int = 1
    keeps_scale: bool = False

    @property
    def ties(self) -> bool:
        return self.keeps_scale

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        if channels != self.weight.shape[0]:
            raise ShapeError(f"its weight wants {self.weight.shape[0]} input channels, {channels} arrive")
        size = self.window.transposed_shape((height, width), self.extra)
        if min(size) < 1:
            raise ShapeError(f"its padding leaves nothing of an input of {height}x{width}")
        return (self.weight.shape[1] * self.groups, *size)

    def weights(self) -> Weights:
        return (("weight", self.weight, 4), ("bias", self.bias, 1))

    def fault(self) -> str:
        if self.weight.shape[2:] != self.window.kernel:
            return "weight and window do not agree on the kernel"
        if self.weight.shape[1] * self.groups != self.bias.shape[0] or self.weight.shape[0] % self.groups:
            return "weight, bias and groups do not agree on the channels"
        return ""


@dataclass(frozen=True, eq=False)
class Gemm(Unary):
    """Fully connected layer ``y = weight @ x + bias`` over the flattened input; weight is float32 [out, in]."""

    weight: F32
    bias: F32

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        (x,) = shapes
        if prod(x) != self.weight.shape[1]:
            raise ShapeError(f"its weight wants {self.weight.shape[1]} input features, {prod(x)} arrive")
        return (self.weight.shape[0],) if len(x) == 1 else (self.weight.shape[0], 1, 1)

    def weights(self) -> Weights:
        return (("weight", self.weight, 2), ("bias", self.bias, 1))

    def fault(self) -> str:
        agree = self.weight.shape[0] == self.bias.shape[0]
        return "" if agree else "weight and bias do not agree on the output channels"


@dataclass(frozen=True, eq=False)
class Affine(Unary):
    """``y = scale[c] * x + shift[c]``, float32 [C]: batch normalisation in inference, a constant added per channel."""

    scale: F32
    shift: F32

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        (x,) = shapes
        if x[0] != self.scale.shape[0]:
            raise ShapeError(f"it has {self.scale.shape[0]} channels, {x[0]} arrive")
        return x

    def weights(self) -> Weights:
        return (("scale", self.scale, 1), ("shift", self.shift, 1))

    def fault(self) -> str:
        return "" if self.scale.shape == self.shift.shape else "scale and shift differ in length"


@dataclass(frozen=True, eq=False)
class AveragePool(Unary):
    """Mean over the window; zeros of the padding count."""

    window: Window

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        return (channels, *windows(self.window, (height, width)))


@dataclass(frozen=True, eq=False)
class Activation(Unary):
    """A function of each number alone, other than ReLU.

    Attributes:
        op: a name of ``ops/functions.py``: an ONNX operator, or ``Silu``.
        attributes: of that operator. parameters: its further inputs, such as Clip's bounds.
    """

    op: str
    attributes: tuple[tuple[str, float], ...] = ()
    parameters: tuple[float, ...] = ()

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Transpose(Unary):
    """Axes of one image in another order; ``perm`` does not count the batch."""

    perm: tuple[int, ...]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        (x,) = shapes
        if sorted(self.perm) != list(range(len(x))):
            raise ShapeError(f"the order {list(self.perm)} of {len(x)} axes")
        return tuple(x[axis] for axis in self.perm)


@dataclass(frozen=True, eq=False)
class Reshape(Unary):
    """The same elements in the same order under another shape (flatten included)."""

    shape: Shape

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        (x,) = shapes
        if prod(x) != prod(self.shape):
            raise ShapeError(f"{prod(x)} elements of shape {list(x)} cannot take the shape {list(self.shape)}")
        return self.shape


@dataclass(frozen=True, eq=False)
class Pad(Unary):
    """``value`` around the image; ``pads`` is (top, left, bottom, right), negative ones crop.

    Attributes:
        mode: "constant", or with pads that are not negative "edge" (the border's pixels are repeated) or "reflect" (the
            image is mirrored at its outermost pixels).
    """

    pads: Pads
    value: float = 0.0
    mode: PadMode = "constant"

    @property
    def ties(self) -> bool:
        return True

    @property
    def keeps_signs(self) -> bool:
        return self.value >= 0

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        channels, height, width = image(shapes[0])
        top, left, bottom, right = self.pads
        size = (height + top + bottom, width + left + right)
        if min(size) < 1 or min(height + min(top, bottom), width + min(left, right)) < 1:
            raise ShapeError(f"nothing is left of {height}x{width} after pads of {list(self.pads)}")
        least = max(top, bottom) < height and max(left, right) < width
        if self.mode != "constant" and (min(self.pads) < 0 or (self.mode == "reflect" and not least)):
            raise ShapeError(f"pads of {list(self.pads)} in mode {self.mode} do not fit {height}x{width}")
        return (channels, *size)


@dataclass(frozen=True, eq=False)
class Identity(Unary):
    """``y = x``; Dropout in inference too."""

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]


Node: TypeAlias = (
    Conv | ConvTranspose | Gemm | Affine | AveragePool | Activation | Transpose | Reshape | Pad | Identity | Shared
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
        sources: by name of a node, the operators of the ONNX model that it computes; none for what passes made anew.
        results: names of the ONNX model's outputs in their order; each is one of ``outputs`` or of the host tail's.
        preprocess: done to an image before ``input``; None where the network's input is the image itself.
        note: what the user should know of how the model was taken; mostly empty.
    """

    name: str
    tensors: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    input: str
    outputs: tuple[Output, ...]
    host_tail: HostTail | None = None
    results: tuple[str, ...] = ()
    sources: Mapping[str, tuple[SourceOperator, ...]] = field(default_factory=dict[str, "tuple[SourceOperator, ...]"])
    preprocess: Preprocess | None = None
    note: str = ""

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
