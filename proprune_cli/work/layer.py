"""The work of one layer: pruning counts it before a network is compiled, the compiler states it afterwards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

Kind = Literal["conv", "conv_transpose", "linear", "max"]
"""``max``: max pooling, or a pass that moves codes and has no weights."""

Unit = Literal["dense", "diagonal", "max"]
"""How an engine walks a layer: every input channel for every output channel; each for its own alone; or a maximum."""


@dataclass(frozen=True)
class SourceOperator:
    """An operator of the network that a layer computes, or a part of it.

    Attributes:
        operator: ``Conv``, ``Relu``: an ONNX operator. name: the ONNX node's.
        module: the PyTorch module that it came from, where the file tells; else empty.
        macs, nonzero_macs: of one image, as `proprune_cli.work.macs` defines them.
    """

    operator: str
    name: str
    module: str = ""
    macs: int = 0
    nonzero_macs: int = 0

    def __str__(self) -> str:
        return f"{self.operator} {self.module or self.name}"


@dataclass(frozen=True)
class LayerWork:
    """What one layer asks of the hardware for one image.

    Sizes are (rows, columns), or of one number for one-dimensional layers, or empty: a fully connected layer is 1×1 on
    1×1 pixels.

    Attributes:
        macs: dense multiply-accumulates. nonzero_macs: those whose weight is not zero; None where weights are not
            known. See `proprune_cli.work.macs`.
        residual: the output stage reads another operand. constant: all taps have the same weights (average pooling).
        taps: those with any weight; None where weights are not known, or not zero by assumption.
        weight_bytes: of the weight stream for one start; None where it is not known.
        sources: operators of the network that it computes, in their order; empty where they are not known.
    """

    name: str
    kind: Kind
    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    macs: int
    residual: bool = False
    constant: bool = False
    taps: int | None = None
    weight_bytes: int | None = None
    sources: tuple[SourceOperator, ...] = ()
    nonzero_macs: int | None = None

    @property
    def unit(self) -> Unit:
        """How the engine walks it."""
        if self.kind == "max":
            return "max"
        return "diagonal" if self.groups > 1 and self.groups == self.in_channels else "dense"

    @property
    def weights(self) -> int:
        """Weights that it has, zeros included."""
        if self.kind == "max":
            return 0
        return self.out_channels * self.in_channels // self.groups * prod(self.kernel)

    @property
    def activations(self) -> int:
        """Numbers that it reads and writes."""
        return self.in_channels * prod(self.in_size) + self.out_channels * prod(self.out_size)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def square(size: tuple[int, ...]) -> tuple[int, int]:
    """A size as rows and columns: one of one dimension, or of none, is a single row."""
    return (size[0], size[1]) if len(size) == 2 else (1, prod(size))
