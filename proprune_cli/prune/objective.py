"""How pruning sees hardware: through this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from proprune_cli.work.layer import LayerWork
from proprune_cli.work.taps import LaneCounts

if TYPE_CHECKING:
    import torch


class CostModel(Protocol):
    """Figure to be lowered, for example predicted latency."""

    @property
    def name(self) -> str:
        """What the figure is."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the figure."""
        ...

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """Figure for the whole network.

        It should hardly grow when channels are removed by whole groups of the array: a search bisects over sizes. A
        schedule may get a little worse by it, as tilings and places on chip change.
        """
        ...


@dataclass(frozen=True)
class SoftLayer:
    """A layer whose size is being learned: its dense work, and the shares of it that remain.

    Attributes:
        inputs, outputs: share of input and output channels, tensors [] between 0 and 1 with their graphs.
        taps: share of the taps among those channels that have a weight.
    """

    work: LayerWork
    inputs: torch.Tensor
    outputs: torch.Tensor
    taps: torch.Tensor


class SoftCost(Protocol):
    """A figure of one network while its sizes are being learned: shares of its layers' sizes, float64 [layers] each."""

    def anchor(self, layers: Sequence[LayerWork]) -> None:
        """Be exact where the network has these layers, which are those that it was made for, of other sizes."""
        ...

    def __call__(
        self,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        taps: torch.Tensor,
        temperature: float,
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Figure, [], differentiable in the shares (see `SoftLayer`).

        Args:
            present: share of each layer's figure that counts, float64 [layers]; None: all of it.
            temperature: 1: channels cost by the piece; towards 0: by the group, as they are stored and computed. With
                whole groups it makes no difference.
        """
        ...


@runtime_checkable
class DifferentiableCost(CostModel, Protocol):
    """A figure that can stand in a training loss, as a function of soft sizes."""

    def softened(self, layers: Sequence[LayerWork]) -> SoftCost:
        """The figure as a function of the shares of these layers; anchored at their full size."""
        ...

    def soft_cost(self, layers: Sequence[SoftLayer]) -> torch.Tensor:
        """Figure for the whole network, [], differentiable in the shares; equal to ``cost`` where every share is 1."""
        ...


@runtime_checkable
class CompiledModel(CostModel, Protocol):
    """A cost model that also knows what a whole network costs once it is scheduled for the engine."""

    def compiled(self, network: bytes, images: NDArray[np.float32]) -> float:
        """Figure of a network in ONNX; ``images`` are calibration images, float32 [N, C, H, W].

        Raises:
            ProPruneError: it cannot be compiled.
        """
        ...

    def around(self, network: bytes, images: NDArray[np.float32], layers: Sequence[LayerWork]) -> Self:
        """This model for a network of which it is told ``layers`` alone, knowing what else is in it.

        Args:
            network: as it is before channels are chosen, in ONNX. images: as for ``compiled``.
            layers: its convolutions and fully connected layers.

        Raises:
            ProPruneError: it cannot be compiled.
        """
        ...


@dataclass(frozen=True)
class EngineTaps:
    """What a tap of a recursive engine holds and costs; the values given here are those of the smallest array.

    Attributes:
        lanes: input channels of a tap. outputs: output channels of a block. pixels: output pixels per cycle.
        min_beats: shortest tap in cycles. accumulators: pixels, in units of ``pixels``, that a tile may have.
        tap_words: 64-bit words of a tap with its weights. port_words: words per cycle of the weight port.
        group: channels that are stored together.
    """

    name: str = "z7020-256"
    lanes: int = 16
    outputs: int = 8
    pixels: int = 2
    min_beats: int = 8
    accumulators: int = 512
    tap_words: int = 17
    port_words: int = 1
    group: int = 8

    @property
    def lane_counts(self) -> LaneCounts:
        """How many channels the lanes take."""
        return LaneCounts(self.lanes, self.outputs, self.group)


@runtime_checkable
class TapModel(Protocol):
    """A cost model of an engine that walks tap lists."""

    @property
    def taps(self) -> EngineTaps:
        """Its taps."""
        ...
