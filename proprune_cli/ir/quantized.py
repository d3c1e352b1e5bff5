"""The quantised network: what the quantiser produces and what lowering, the QDQ export and the references consume.

Arithmetic (all of it exact in integers):

- a tensor holds int8 codes q; its real value is ``q * 2**exponent`` (zero point 0);
- convolution: ``y = clip(round_half_even((bias[o] + sum(w * x)) * multiplier[o] / 2**16), -128, 127)``, then
  ``max(y, 0)`` where ``relu``; padding reads code 0; the accumulator stays within ``ACCUMULATOR_LIMIT``;
- max pooling: maximum of codes, padding never wins;
- addition: ``y = clip(round_half_even(a * 2**(ea - ey) + b * 2**(eb - ey)), -128, 127)``, then relu;
- multiplication: ``y = clip(round_half_even(a * b * 2**(ea + eb - ey)), -128, 127)``;
- a table maps each code to a code;
- concatenation, selection, padding, cropping and nearest upsampling move codes and change none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.outputs import Output

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


@dataclass(frozen=True)
class QConv:
    """Convolution (also Gemm, average pooling, standalone batch normalisation), optionally with ReLU.

    Attributes:
        weight: int8 [out_channels, in_channels // groups, kernel_h, kernel_w], values in [-127, 127].
        bias: int32 [out_channels], in units of the accumulator.
        multiplier: int32 [out_channels], in [1, MULTIPLIER_LIMIT).
        stride, dilation: (y, x). pads: (top, left, bottom, right).
    """

    name: str
    x: str
    y: str
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QMaxPool:
    """Max pooling; input and output share one exponent. ``pads`` may exceed symmetric padding (ceil mode)."""

    name: str
    x: str
    y: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QAdd:
    """``a + b`` or ``a - b`` of one shape, or with ``b`` of 1×1 pixels for every pixel of ``a``; optionally ReLU."""

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
class QMul:
    """Product of two tensors of one shape, or of every pixel of ``a`` with ``b`` of 1×1 pixels; optionally ReLU.

    ``|ea + eb - ey| <= PRODUCT_SPREAD``: a shift of the product.
    """

    name: str
    a: str
    b: str
    y: str
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class QRelu:
    """A ReLU that could not be fused into its producer; input and output share one exponent."""

    name: str
    x: str
    y: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QTable:
    """Any function of one code: ``y = table[x mod 256]``, int8 [256]; entries 128 … 255 serve the codes -128 … -1.

    ``op`` and ``attributes`` name the ONNX operator it stands for (Sigmoid, HardSwish, …), for the QDQ export.
    ``parameters`` are its further constant inputs, float32 (Clip's bounds, PRelu's slope).
    """

    name: str
    x: str
    y: str
    table: NDArray[np.int8]
    op: str
    attributes: tuple[tuple[str, float | int], ...] = ()
    parameters: tuple[float, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QConcat:
    """Channels of several tensors one after the other; all share one exponent, so nothing is requantised.

    With ``axis`` 2 their rows follow one another, with 3 their columns.
    """

    name: str
    xs: tuple[str, ...]
    y: str
    axis: int = 1

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.xs


@dataclass(frozen=True)
class QSelect:
    """Channels by number: ``y[c] = x[channels[c]]`` (Slice, Split, channel shuffle); int64 [out_channels]."""

    name: str
    x: str
    y: str
    channels: NDArray[np.int64]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QPad:
    """Constant padding; negative pads crop (spatial Slice). ``value`` is a code.

    With ``mode`` "edge" the border's pixels are repeated, with "reflect" the image is mirrored at them; no pad is
    negative then, and ``value`` says nothing.
    """

    name: str
    x: str
    y: str
    pads: tuple[int, int, int, int]
    value: int = 0
    mode: Literal["constant", "edge", "reflect"] = "constant"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QUpsample:
    """Nearest upsampling by whole factors: ``y[c, i, j] = x[c, i // scale_y, j // scale_x]``."""

    name: str
    x: str
    y: str
    scale: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QConvTranspose:
    """Transposed convolution with the requantisation of :class:`QConv`, optionally with ReLU.

    Attributes:
        weight: int8 [in_channels, out_channels // groups, kernel_h, kernel_w], scaled per output channel.
        pads: (top, left, bottom, right) cut off; the output size is that of its tensor (output_padding included).
    """

    name: str
    x: str
    y: str
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.x,)


@dataclass(frozen=True)
class QHost:
    """What is not the engine's: ``y = quantise(model(dequantise(xs[0]), …))``, computed by the processor beside it.

    ONNX Runtime defines the result: on the CPU, one thread, graph optimisation off, one image at a time; so it is the
    same on every run. More threads or a longer batch may change the last bit of a float result, and so, rarely, a code.

    Attributes:
        model: serialised ONNX model, float32 [N, C, H, W] in and out, inputs in the order of ``xs``.
        operators: the ONNX operators that it runs, in order.
    """

    name: str
    xs: tuple[str, ...]
    y: str
    model: bytes
    operators: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.xs


QLayer = QConv | QMaxPool | QAdd | QMul | QRelu | QTable | QConcat | QSelect | QPad | QUpsample | QConvTranspose | QHost


@dataclass(frozen=True)
class QGraph:
    """A quantised network in topological order.

    Attributes:
        name: the network's name.
        tensors: every activation tensor by name.
        layers: in an order in which every input is produced before it is read.
        input: name of the one input tensor. outputs: no name twice.
    """

    name: str
    tensors: dict[str, QTensor]
    layers: tuple[QLayer, ...]
    input: str
    outputs: tuple[Output, ...]
