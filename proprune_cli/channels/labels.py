"""Follows channels through a recorded network: every channel is a number, operators say which numbers are the same.

A `Labels` names the channels of one tensor. The operators' rules tie parameter slices to channels, unite channels that
must go together, pin those that must stay, and record the layers that cost multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from proprune_cli.channels.recorder import Node
from proprune_cli.channels.spread import Spread
from proprune_cli.work.layer import LayerWork

Ids = npt.NDArray[np.int64]
Role = Literal["out", "in", "stat"]
"""``out``: the slice makes the channel (zero slices make a zero channel); ``in``: it reads it; ``stat``: neither."""
Reshapes = Literal["inner", "outer", "fixed"]
"""Which of two axes gets shorter when a view splits the channels in two: the longer (the last of two equals), the other
one; or neither, and channels that pass through a view or a split stay."""

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Labels:
    """The channel of every element of a tensor.

    ``ids`` has the tensor's rank, and length 1 along axes on which the channel does not depend. Where channels go,
    ``axis`` gets shorter. Along other axes with many ids (a batch of pieces, the groups of a shuffle) all ids of one
    place on ``axis`` have been united, so that what goes is always a whole slice.
    """

    ids: Ids
    axis: int
    tails: frozenset[str] = NOTHING
    """Modules with parameters that worked last on these channels."""

    @property
    def line(self) -> Ids | None:
        """Channels along ``axis``; None where they differ along another axis too."""
        return self.ids.reshape(-1) if self.ids.size == self.ids.shape[self.axis] else None

    def aligned(self, rank: int) -> Labels:
        """The same with axes of length 1 put in front, as broadcasting does."""
        more = rank - self.ids.ndim
        return Labels(self.ids.reshape((1,) * more + self.ids.shape), self.axis + more, self.tails) if more else self


@dataclass
class Tie:
    """Axis ``dim`` of parameter ``tensor``: slice i belongs to channel ``ids[i]``."""

    tensor: str
    dim: int
    ids: Ids
    role: Role
    maker: bool
    """The slice alone decides about the channel (a filter), and does not only work on it (a norm, a depthwise one)."""
    wide: bool = False
    """The slices are as many as the stream has channels, also where a branch has fewer: its layer is spread before."""


@dataclass(frozen=True)
class LayerRecord:
    """A convolution or fully connected layer of the network."""

    work: LayerWork
    """At the channels that it has now."""
    weight: str
    """Qualified name of its weight, and the axes that its input and output channels lie along."""
    in_dim: int
    out_dim: int
    whole_groups: bool
    """Channels go by whole groups of the convolution (a depthwise one has groups of one)."""
    positions: int
    """Applications per image of the kernel for one pair of channels."""


@dataclass
class Exit:
    """The output of a module with parameters: where a branch that dropped channels is spread to its stream again."""

    source: Ids
    """Channels that the module's own parameters make."""
    place: Ids
    """Channels of its output: the same, or those of a `Spread` that it has already."""
    index: Ids
    """For each channel of the output, its place in ``source``; -1: filled in."""


@dataclass
class Walker:
    """State of one walk over a network's operators."""

    modules: Mapping[str, nn.Module]
    batch: int
    choices: Mapping[str, Reshapes] = field(default_factory=dict)
    """Name of an operator that rearranges channels → what gets shorter; ``inner`` where it is not named."""
    forks: set[str] = field(default_factory=set)
    """Operators with a choice between two axes."""
    slices: dict[Node, list[tuple[int, int]]] = field(default_factory=dict)
    """Tensor → ranges of channels that slices take from it."""
    ties: dict[tuple[str, int], Tie] = field(default_factory=dict)
    edges: list[tuple[Ids, Ids]] = field(default_factory=list)
    meetings: list[tuple[Ids, Ids]] = field(default_factory=list)
    """Channels that meet in an addition: of one place in a stream, but not of one branch."""
    pins: list[tuple[Ids, str]] = field(default_factory=list)
    outputs: list[Ids] = field(default_factory=list)
    lifted: list[Ids] = field(default_factory=list)
    sums: list[Ids] = field(default_factory=list)
    """Channels of streams: they live as long as one of their branches feeds them."""
    constants: list[Ids] = field(default_factory=list)
    layers: list[LayerRecord] = field(default_factory=list)
    exits: dict[str, list[Exit]] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)
    """Modules whose output another module with parameters takes up, channel by channel."""
    exposed: set[str] = field(default_factory=set)
    """Modules whose output is read across channels, or added."""
    whole: dict[str, tuple[int, Ids]] = field(default_factory=dict)
    """Module whose groups go one by one (depthwise, group norm) → number of groups, channels of its output."""
    labels: dict[Node, Labels | list[Labels | None] | None] = field(default_factory=dict)
    count: int = 0

    def fresh(self, channels: int) -> Ids:
        """New channels."""
        ids = np.arange(self.count, self.count + channels, dtype=np.int64)
        self.count += channels
        return ids

    def unite(self, first: Ids, second: Ids) -> None:
        """Channel i of both must go together."""
        a, b = np.broadcast_arrays(first, second)
        self.edges.append((a.reshape(-1), b.reshape(-1)))

    def meet(self, first: Ids, second: Ids) -> None:
        """Channel i of both is the same channel of one stream."""
        a, b = np.broadcast_arrays(first, second)
        self.meetings.append((a.reshape(-1), b.reshape(-1)))

    def pin(self, ids: Ids, reason: str) -> None:
        """These channels stay, for ``reason``."""
        self.pins.append((np.unique(ids), reason))

    def pin_inputs(self, node: Node, reason: str) -> None:
        """Every channel that ``node`` reads stays."""
        for source in node.sources:
            for found in self.all_labels(source):
                self.pin(found.ids, reason)

    def lift(self, labels: Labels) -> None:
        """These channels pass through f with f(0) ≠ 0: a zero at their source is not a zero at their reader."""
        self.lifted.append(labels.ids.reshape(-1))

    def expose(self, labels: Labels) -> None:
        """The tensor is read across channels, so it must be as wide as its stream."""
        self.exposed |= labels.tails

    def take_up(self, labels: Labels, module: str) -> None:
        """``module`` works on each of these channels by itself."""
        self.inner |= labels.tails - {module}

    def tie(self, tensor: str, dim: int, ids: Ids, role: Role, maker: bool = False, wide: bool = False) -> None:
        """Slices of a parameter belong to channels; a parameter used twice unites the channels of both uses."""
        known = self.ties.get((tensor, dim))
        if known is None:
            self.ties[(tensor, dim)] = Tie(tensor, dim, ids, role, maker, wide)
            return
        if len(known.ids) == len(ids):
            self.unite(known.ids, ids)
        if known.role != role or len(known.ids) != len(ids):
            self.pin(np.concatenate([known.ids, ids]), f"the weights {tensor} are shared between unlike uses")

    def leave(self, module: str, ids: Ids) -> None:
        """``module`` gives channels ``ids``."""
        self.exits.setdefault(module, []).append(Exit(ids, ids, np.arange(len(ids), dtype=np.int64)))

    def settle(self, labels: Labels) -> Labels:
        """Unite what must go together so that only ``axis`` gets shorter."""
        rows = np.moveaxis(labels.ids, labels.axis, 0).reshape(labels.ids.shape[labels.axis], -1)
        if rows.shape[1] > 1:
            self.unite(rows[:, :1], rows[:, 1:])
        return labels

    def of(self, argument: Any) -> Labels | None:
        """Channels of an operator's argument, None where it has none that could go."""
        found = self.labels.get(argument) if isinstance(argument, Node) else None
        return found if isinstance(found, Labels) else None

    def spread_index(self, tensor: str) -> Ids | None:
        """Values of the buffer ``tensor`` where it is the index of a spread layer."""
        module = self.modules.get(owner_of(tensor))
        return module.spread_index.cpu().numpy() if isinstance(module, Spread) else None

    def all_labels(self, node: Node) -> list[Labels]:
        """Channels of everything ``node`` gives."""
        found = self.labels.get(node)
        if isinstance(found, Labels):
            return [found]
        return [part for part in found or [] if part is not None]


def pair(value: Any, rank: int) -> tuple[int, ...]:
    """A stride or padding as ``rank`` numbers."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = tuple(int(v) for v in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return numbers * rank if len(numbers) == 1 else numbers
    return (int(value),) * rank


def owner_of(tensor: str) -> str:
    """Module that a parameter or buffer belongs to."""
    return tensor.rpartition(".")[0]
