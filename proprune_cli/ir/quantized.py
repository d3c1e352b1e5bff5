"""The quantised network: what the quantiser produces and what lowering, the QDQ export and the references consume.

Arithmetic (all of it exact in integers):

- a tensor holds int8 codes q; its real value is ``q * 2**exponent`` (zero point 0);
- convolution: ``y = clip(round_half_even((bias[o] + sum(w * x)) * multiplier[o] / 2**16), -128, 127)``, then
  ``max(y, 0)`` where ``relu``; padding reads code 0; the accumulator stays within ``ACCUMULATOR_LIMIT``;
- max pooling: maximum of codes, padding never wins;
- addition: ``y = clip(round_half_even(a * 2**(ea - ey) + b * 2**(eb - ey)), -128, 127)``, then relu;
- multiplication: ``y = clip(round_half_even(a * b * 2**(ea + eb - ey)), -128, 127)``;
- a table maps each code to a code;
- concatenation, selection, padding, cropping and nearest upsampling move codes and change none; max pooling and ReLU
  pick among them or clamp them: of all these, inputs and output share one exponent.

What carries no numbers is declared once for both networks, in `proprune_cli.ir.nodes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import PadMode
from proprune_cli.ir.nodes import Clamping, Shared, Unary
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.window import Pads, Window
from proprune_cli.work.layer import SourceOperator
from proprune_cli.work.preprocess import Preprocess

REQUANT_SHIFT = 16
"""Requantisation divides by ``2**REQUANT_SHIFT``."""

MULTIPLIER_LIMIT = 1 << 15
"""Multipliers are integers in [1, MULTIPLIER_LIMIT)."""

ACCUMULATOR_LIMIT = 1 << 24
"""No accumulator, partial sum or bias may reach this magnitude: float32 holds every such integer exactly."""

EXPONENT_SPREAD = 14
"""Largest difference of exponents between an addition's operands and its result."""

PRODUCT_SPREAD = 15
"""Largest shift, either way, of a product of codes into the result's scale."""


@dataclass(frozen=True)
class QTensor:
    """An activation tensor of one image: ``channels × height × width`` int8 codes, real value ``q * 2**exponent``."""

    name: str
    channels: int
    height: int
    width: int
    exponent: int


@dataclass(frozen=True, eq=False)
class QConv(Unary, Clamping):
    """Convolution (also Gemm, average pooling, standalone batch normalisation), optionally with ReLU.

    Attributes:
        weight: int8 [out_channels, in_channels // groups, kernel_h, kernel_w], values in [-127, 127].
        bias: int32 [out_channels], in units of the accumulator.
        multiplier: int32 [out_channels], in [1, MULTIPLIER_LIMIT).
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    window: Window
    groups: int = 1


@dataclass(frozen=True, eq=False)
class QConvTranspose(Unary, Clamping):
    """Transposed convolution with the requantisation of :class:`QConv`, optionally with ReLU.

    Attributes:
        weight: int8 [in_channels, out_channels // groups, kernel_h, kernel_w], scaled per output channel.
        window: its pads are cut off; the output size is that of its tensor (output_padding included).
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    window: Window
    groups: int = 1


@dataclass(frozen=True, eq=False)
class QTable(Unary):
    """Any function of one code: ``y = table[x mod 256]``, int8 [256]; entries 128 … 255 serve the codes -128 … -1.

    ``op`` and ``attributes`` name the ONNX operator it stands for (Sigmoid, HardSwish, …), for the QDQ export.
    ``parameters`` are its further constant inputs, float32 (Clip's bounds, PRelu's slope).
    """

    table: NDArray[np.int8]
    op: str
    attributes: tuple[tuple[str, float | int], ...] = ()
    parameters: tuple[float, ...] = ()

    @property
    def never_negative(self) -> bool:
        return int(self.table.min()) >= 0


@dataclass(frozen=True, eq=False)
class QPad(Unary):
    """Constant padding; negative pads crop (spatial Slice). ``value`` is a code.

    With ``mode`` "edge" the border's pixels are repeated, with "reflect" the image is mirrored at them; no pad is
    negative then, and ``value`` says nothing.
    """

    pads: Pads
    value: int = 0
    mode: PadMode = "constant"

    @property
    def ties(self) -> bool:
        return True

    @property
    def keeps_signs(self) -> bool:
        return self.value >= 0


QLayer: TypeAlias = QConv | QConvTranspose | QTable | QPad | Shared


@dataclass(frozen=True)
class QGraph:
    """A quantised network in topological order.

    Attributes:
        name: the network's name.
        tensors: every activation tensor by name.
        layers: in an order in which every input is produced before it is read.
        input: name of the one input tensor. outputs: no name twice.
        sources: by name of a layer, the operators of the ONNX model that it computes.
        preprocess: done to an image before it is quantised; None where nothing is.
    """

    name: str
    tensors: dict[str, QTensor]
    layers: tuple[QLayer, ...]
    input: str
    outputs: tuple[Output, ...]
    sources: Mapping[str, tuple[SourceOperator, ...]] = field(default_factory=dict[str, "tuple[SourceOperator, ...]"])
    preprocess: Preprocess | None = None
