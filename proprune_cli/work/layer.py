"""The work of one layer: pruning counts it before a network is compiled, the compiler states it afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["conv", "conv_transpose", "linear", "max"]
"""``max``: max pooling, or a pass that moves codes and has no weights."""

Unit = Literal["dense", "diagonal", "max"]
"""How an engine walks a layer: every input channel for every output channel; each for its own alone; or a maximum.

A depthwise convolution with several outputs for a channel is walked as one of groups: every channel for every output,
with weights of zero between the groups."""


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
class Phase:
    """The pixels of its output planes that a layer fills: every ``step``-th from ``first``, (y, x).

    ``plane``: height and width of the planes.
    """

    plane: tuple[int, int]
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Survivors:
    """Which weights of a layer are not zero.

    Attributes:
        nonzero: bool [out_channels, in_channels / groups, kernel positions in raster order].
        one_bit: all that are not zero have one magnitude, which the engine keeps in a multiplier.

    Two are equal where both agree.
    """

    nonzero: NDArray[np.bool_]
    one_bit: bool = False

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        packed = np.packbits(self.nonzero).tobytes()
        return self.nonzero.shape, self.one_bit, hashlib.blake2b(packed, digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Survivors) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(frozen=True)
class Flow:
    """Where a layer's numbers come from and go to, known once layers have been made passes of the engine.

    Attributes:
        reads: tensors, each with how many channel groups of it stand side by side. writes: the output's tensor.
        operand: tensors that the output stage reads. broadcast: one pixel of them serves all.
        slots: input channels as the lanes see them, gaps included. pitch: width of the input's stored planes.
        top: first row of them that is read.
        phase: the pixels of its planes that the layer fills. lookup: a table is applied.
        in_ddr: somebody other than a layer reads the output. restart: the processor computes just before the layer.
    """

    reads: tuple[tuple[str, int], ...]
    writes: str
    operand: tuple[str, ...] = ()
    broadcast: bool = False
    slots: int | None = None
    pitch: int | None = None
    top: int = 0
    phase: Phase | None = None
    lookup: bool = False
    in_ddr: bool = False
    restart: bool = False


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
        dilation: of the kernel; empty for none. pads: rows above and columns to the left; None where they are what
            centres the window on the image.
        survivors: which weights are not zero; None as for ``taps``.
        flow: which tensors it reads and writes; None where it reads what the layer before it wrote.
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
    dilation: tuple[int, ...] = ()
    pads: tuple[int, ...] | None = None
    survivors: Survivors | None = field(default=None, repr=False)
    flow: Flow | None = field(default=None, repr=False)

    @property
    def unit(self) -> Unit:
        """How the engine walks it."""
        if self.kind == "max":
            return "max"
        depthwise = self.groups > 1 and self.groups == self.in_channels == self.out_channels
        return "diagonal" if depthwise else "dense"

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
        """Plain JSON values: what a report says of it."""
        row = asdict(self)
        for inner in ("survivors", "flow"):
            del row[inner]
        return row


def square(size: tuple[int, ...]) -> tuple[int, int]:
    """A size as rows and columns: one of one dimension, or of none, is a single row."""
    return (size[0], size[1]) if len(size) == 2 else (1, prod(size))


def of_one_bit(rows: NDArray[np.floating[Any]], groups: int) -> bool:
    """Whether each filter's weights are +s, -s or 0, with an s of its own, as after BinaryConnect.

    Filters of a single weight, which copy or scale a channel, are none of these, nor are those of groups.

    Args:
        rows: the filters, [out, weights of one].
    """
    magnitude = np.abs(rows)
    one = bool(((magnitude == magnitude.max(axis=1, keepdims=True)) | (magnitude == 0)).all())
    return one and groups == 1 and int(np.count_nonzero(magnitude, axis=1).max()) > 1
