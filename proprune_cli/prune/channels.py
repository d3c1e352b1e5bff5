"""Follows channels through a traced graph: every channel is a number, operators say which numbers are the same.

A `Labels` names the channels of one tensor. Operators of `proprune_cli.prune.rules` tie parameter slices to channels,
unite channels that must go together, pin those that must stay, and record the layers that cost multiplications.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import fx

from proprune_cli.prune.trace import Traced, op_name, shape_of

Ids = npt.NDArray[np.int64]
Role = Literal["out", "in", "stat"]
"""``out``: the slice makes the channel (zero slices make a zero channel); ``in``: it reads it; ``stat``: neither."""


@dataclass(frozen=True)
class Labels:
    """The channels along axis ``dim`` of a tensor; axes beside it carry none."""

    dim: int
    ids: Ids


@dataclass
class Tie:
    """Axis ``dim`` of parameter ``tensor``: slice i belongs to channel ``ids[i]``."""

    tensor: str
    dim: int
    ids: Ids
    role: Role


@dataclass(frozen=True)
class LayerRecord:
    """A convolution or fully connected layer of the traced graph."""

    name: str
    kind: str
    weight: str
    in_dim: int
    out_dim: int
    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    depthwise: bool
    positions: int
    """Applications per image of the kernel for one pair of channels."""


@dataclass
class Walker:
    """State of one walk over a graph."""

    traced: Traced
    pin_reshapes: bool = False
    """True: channels that pass through view or reshape stay, since the code may name their number."""
    ties: dict[tuple[str, int], Tie] = field(default_factory=dict)
    edges: list[tuple[Ids, Ids]] = field(default_factory=list)
    pins: list[tuple[Ids, str]] = field(default_factory=list)
    lifted: list[Ids] = field(default_factory=list)
    layers: list[LayerRecord] = field(default_factory=list)
    labels: dict[fx.Node, Labels | None] = field(default_factory=dict)
    count: int = 0

    def fresh(self, channels: int) -> Ids:
        """New channels."""
        ids = np.arange(self.count, self.count + channels, dtype=np.int64)
        self.count += channels
        return ids

    def unite(self, first: Ids, second: Ids) -> None:
        """Channel i of both must go together."""
        self.edges.append((first, second))

    def pin(self, ids: Ids, reason: str) -> None:
        """These channels stay, for ``reason``."""
        self.pins.append((np.unique(ids), reason))

    def pin_inputs(self, node: fx.Node, reason: str) -> None:
        """Every channel that ``node`` reads stays."""
        for source in node.all_input_nodes:
            found = self.labels.get(source)
            if found is not None:
                self.pin(found.ids, reason)

    def lift(self, ids: Ids) -> None:
        """These channels pass through f with f(0) ≠ 0: a zero at their source is not a zero at their reader."""
        self.lifted.append(ids)

    def tie(self, tensor: str, dim: int, ids: Ids, role: Role) -> None:
        """Slices of a parameter belong to channels; a parameter used twice unites the channels of both uses."""
        known = self.ties.get((tensor, dim))
        if known is None:
            self.ties[(tensor, dim)] = Tie(tensor, dim, ids, role)
            return
        if len(known.ids) == len(ids):
            self.unite(known.ids, ids)
        if known.role != role or len(known.ids) != len(ids):
            self.pin(np.concatenate([known.ids, ids]), f"the weights {tensor} are shared between unlike uses")

    def labels_of(self, argument: Any) -> Labels | None:
        """Channels of an operator's argument, None where it has none that could go."""
        return self.labels.get(argument) if isinstance(argument, fx.Node) else None

    def tensor_name(self, argument: Any) -> str | None:
        """Qualified name where the argument is a parameter or buffer."""
        return self.traced.tensors.get(argument.name) if isinstance(argument, fx.Node) else None


def arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments of an ATen call by the names of its schema, defaults filled in."""
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(enumerate(node.args))  # pyright: ignore[reportReturnType]
    bound: dict[str, Any] = {}
    for index, formal in enumerate(schema.arguments):
        if index < len(node.args):
            bound[formal.name] = node.args[index]
        elif formal.name in node.kwargs:
            bound[formal.name] = node.kwargs[formal.name]
        else:
            bound[formal.name] = formal.default_value
    return bound


def pair(value: Any, rank: int) -> tuple[int, ...]:
    """A stride or padding as ``rank`` numbers."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = tuple(int(v) for v in value)
        return numbers * rank if len(numbers) == 1 else numbers
    return (int(value),) * rank


def describe(node: fx.Node) -> str:
    """How an operator is called in a reason."""
    return f"{op_name(node)} ({node.name})"


def flatten_nodes(values: Iterable[Any]) -> list[fx.Node]:
    """Every node among arguments, also inside lists."""
    found: list[fx.Node] = []
    for value in values:
        if isinstance(value, fx.Node):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += flatten_nodes(value)
    return found


def rank_of(node: fx.Node) -> int:
    """Number of axes of a node's tensor."""
    return len(shape_of(node))
