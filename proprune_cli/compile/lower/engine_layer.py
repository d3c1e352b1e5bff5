"""Engine layers: what one pass of the engine does, and the views through which it reads tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.ir.nodes import Host as Host
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.layer import LayerWork, SourceOperator, Unit
from proprune_cli.work.layer import Phase as Phase
from proprune_cli.work.macs import NetworkMacs

GroupRef = tuple[str, int]
"""A channel group of a tensor that lies in memory."""


@dataclass(frozen=True)
class View:
    """A tensor as a reader finds it: channel groups of stored tensors, maybe a window of their planes.

    Concatenation, channel selection and cropping make views and move nothing.

    Attributes:
        groups: where each channel group lies.
        slots: int64 [channels], channel c is byte ``slots[c] % 8`` of group ``slots[c] // 8``.
        height, width: of the window. top, left: its origin in the stored planes. pitch: their width.
        rows: by group, where the stored planes hold several images: rows before those of this view's; empty for none.
    """

    groups: tuple[GroupRef, ...]
    slots: NDArray[np.int64]
    height: int
    width: int
    top: int
    left: int
    pitch: int
    rows: tuple[int, ...] = ()

    @staticmethod
    def of(tensor: QTensor) -> View:
        """The tensor itself."""
        count = -(-tensor.channels // isa.GROUP)
        groups = tuple((tensor.name, g) for g in range(count))
        slots = np.arange(tensor.channels, dtype=np.int64)
        return View(groups, slots, tensor.height, tensor.width, 0, 0, tensor.width)

    @property
    def channels(self) -> int:
        return len(self.slots)

    @property
    def canonical(self) -> bool:
        """Channels stand in order, eight to a group: what every layer but a dense convolution needs."""
        return len(self.groups) == -(-self.channels // isa.GROUP) and bool(
            (self.slots == np.arange(self.channels)).all()
        )

    @property
    def distinct(self) -> bool:
        """No channel is there twice, so that a dense convolution can read the view as it is."""
        return len(np.unique(self.slots)) == self.channels

    @property
    def windowed(self) -> bool:
        return bool(self.top or self.left or self.pitch != self.width)

    @cached_property
    def storages(self) -> frozenset[str]:
        """The stored tensors it reads."""
        return frozenset(name for name, _ in self.groups)

    def same_planes(self, other: View) -> bool:
        """Both look through the same window, so that their groups can stand in one view."""
        mine = (self.height, self.width, self.top, self.left, self.pitch)
        return mine == (other.height, other.width, other.top, other.left, other.pitch)


@dataclass(frozen=True)
class Residual:
    """The other operand of the output stage; see "Output stage" in ``docs/engine.md``."""

    view: View
    combine: isa.Combine
    shift_a: int
    shift_b: int
    shift_y: int
    subtract: bool = False
    broadcast: bool = False


@dataclass(frozen=True)
class EngineLayer:
    """One pass of the engine.

    Attributes:
        kind: "dense" convolution, "diagonal" (depthwise) or "max".
        view: the input. y: name of the output tensor. channels, size: what the layer computes of it.
        weight: int8 [out, in slots, positions] (dense), [channels, positions] (diagonal), None (max).
        bias: int32 [out]; multiplier: int32 [out]; None for max.
        asked: multiply-accumulates that the network asks for. padding_counts: those that meet padding are among them,
            as in every convolution but transposed ones.
        sources: operators of the model that it computes, those of views that it reads through included.
        twin: number of an earlier pass with the same weights and shapes, for another image, whose stream it shares.
        orders: it only puts the channels of its view in order.
    """

    name: str
    kind: Unit
    view: View
    y: str
    channels: int
    size: tuple[int, int]
    window: Window = Window()
    pad_value: int = 0
    weight: NDArray[np.int8] | None = None
    bias: NDArray[np.int32] | None = None
    multiplier: NDArray[np.int32] | None = None
    relu_before: bool = False
    lookup: isa.Lookup = isa.Lookup.NONE
    table: NDArray[np.int8] | None = None
    residual: Residual | None = None
    relu_after: bool = False
    phase: Phase | None = None
    asked: NetworkMacs = NetworkMacs()
    padding_counts: bool = True
    twin: int | None = None
    sources: tuple[SourceOperator, ...] = ()
    orders: bool = False

    @property
    def output(self) -> Phase:
        """Where the output pixels go."""
        return self.phase or Phase(self.size)

    @property
    def place(self) -> str:
        """Where errors say that they were found: the layer and the model's operators that it computes."""
        operators = ", ".join(dict.fromkeys(source.operator for source in self.sources)) or self.kind
        return f"layer {self.name!r} ({operators})"

    @property
    def work(self) -> LayerWork:
        """What it has to do, as far as its shape tells."""
        diagonal = self.kind == "diagonal"
        return LayerWork(
            name=self.name,
            kind="max" if self.kind == "max" else "conv",
            in_channels=self.view.channels,
            out_channels=self.channels,
            groups=self.view.channels if diagonal else 1,
            kernel=self.window.kernel,
            stride=self.window.stride,
            in_size=(self.view.height, self.view.width),
            out_size=self.size,
            macs=self.asked.dense,
            nonzero_macs=self.asked.nonzero,
            residual=self.residual is not None,
            constant=diagonal and self.weight is not None and bool((self.weight == self.weight[0, 0]).all()),
            sources=self.sources,
        )

    @property
    def useful_macs(self) -> int:
        """Products that the network asks for and whose weight is not zero in int8; see `proprune_cli.work.macs`."""
        if self.weight is None or not self.asked.dense:
            return 0
        nonzero = np.count_nonzero(self.weight.reshape(-1, self.weight.shape[-1]), axis=0)
        return int((nonzero.reshape(self.window.kernel) * self._applied()).sum())

    def _applied(self) -> NDArray[np.int64]:
        """Output pixels that each kernel position serves, int64 [kernel rows, columns]."""
        window, sizes = self.window, (self.view.height, self.view.width)
        served: list[NDArray[np.int64]] = []
        for axis, count in enumerate(self.size):
            first = np.arange(window.kernel[axis]) * window.dilation[axis] - window.pads[axis]
            at = np.arange(count) * window.stride[axis] + first[:, None]
            inside = (at >= 0) & (at < sizes[axis])
            served.append(np.where(self.padding_counts, count, inside.sum(axis=1)))
        return np.outer(*served)

    @property
    def in_slots(self) -> int:
        """Input channels as the lanes see them: gaps in a view that is not canonical count too."""
        return self.view.channels if self.view.canonical else len(self.view.groups) * isa.GROUP

    @property
    def reads(self) -> frozenset[str]:
        """The stored tensors it reads."""
        return self.view.storages | (self.residual.view.storages if self.residual else frozenset())


@dataclass(frozen=True)
class HostPass:
    """A computation of the processor after ``after`` of the graph's passes; its tensors lie in memory."""

    layer: Host
    after: int
    xs: tuple[str, ...]


@dataclass(frozen=True)
class EngineGraph:
    """The passes in execution order, what the processor computes between them, and the tensors that lie in memory.

    ``batch``: images per start; those of the inputs and outputs lie below one another.
    """

    name: str
    tensors: dict[str, QTensor]
    layers: tuple[EngineLayer, ...]
    input: str
    outputs: tuple[Output, ...]
    host: tuple[HostPass, ...] = ()
    batch: int = 1
