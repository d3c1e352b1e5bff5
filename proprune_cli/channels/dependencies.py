"""Groups of coupled channels: which slices of which parameters must be removed together.

Two channels are coupled when an operator reads or writes them as one (a depthwise convolution, a shared weight, a
product). The coupled channels are the connected components of that relation; components that touch the same parameter
axes in the same way form a `Group`. This is the dependency graph of Fang et al. 2023 ("DepGraph"), channel by channel.

An addition joins channels to a *stream*. With coupled branches it couples them like any other operator. With free
branches each branch has groups of its own: it may drop a channel that the stream keeps, because its last layer is
spread (`proprune_cli.channels.spread`), and a channel of the stream goes when every branch has dropped it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.groups import (
    ChannelMap,
    Group,
    Member,
    Place,
    Reshape,
    SpreadSite,
    WholeGroups,
    is_reshape,
)
from proprune_cli.channels.labels import Ids, Labels, Reshapes, Walker, owner_of
from proprune_cli.channels.residual import Residual
from proprune_cli.channels.rules import RULES
from proprune_cli.channels.rules.parts import join_slices
from proprune_cli.channels.spread import can_spread
from proprune_cli.channels.trace import Traced, trace

Mask = npt.NDArray[np.bool_]


def analyse(
    model: nn.Module,
    example: torch.Tensor,
    exclude: tuple[str, ...] = (),
    where: str = "model",
    residual: Residual = "coupled",
    choices: dict[str, Reshapes] | None = None,
) -> ChannelMap:
    """Channel groups of ``model`` for inputs like ``example`` (float32 [2, C, H, W]).

    Args:
        exclude: modules (or prefixes of their names) whose output channels must stay.
        residual: whether branches that meet in an addition go in step.
        choices: what gets shorter where an operator of this name rearranges channels.

    Raises:
        UnsupportedError: the network cannot be traced.
    """
    return map_channels(model, trace(model, example, where), exclude, residual, choices)


def map_channels(
    model: nn.Module,
    traced: Traced,
    exclude: tuple[str, ...] = (),
    residual: Residual = "coupled",
    choices: dict[str, Reshapes] | None = None,
    held: Mapping[str, str] | None = None,
) -> ChannelMap:
    """`analyse` for a network that has been traced.

    Args:
        held: modules whose output channels stay → why.
    """
    walker = walk(model, traced, choices or {})
    for tie in list(walker.ties.values()):
        module = owner_of(tie.tensor)
        if isinstance(walker.modules.get(module), torch.jit.ScriptModule):
            walker.pin(tie.ids, f"{module} is TorchScript, whose weights cannot be cut")
        if tie.role == "out" and held and module in held:
            walker.pin(tie.ids, held[module])
        if tie.role == "out" and any(module == e or module.startswith(e + ".") for e in exclude):
            walker.pin(tie.ids, f"excluded by the option ({module})")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return _Grouping(walker, residual).channel_map(shapes, traced)


def walk(model: nn.Module, traced: Traced, choices: dict[str, Reshapes]) -> Walker:
    """Apply every operator's rule, in order."""
    walker = Walker(dict(model.named_modules(remove_duplicate=False)), 1, choices)
    for node in traced.nodes:
        if node.op in ("parameter", "constant"):
            continue
        if node.op == "input":
            walker.batch = node.shape[0]
            ids = walker.fresh(node.shape[1])
            walker.pin(ids, "the network's input")
            walker.labels[node] = Labels(ids.reshape([-1 if d == 1 else 1 for d in range(len(node.shape))]), 1)
            continue
        rule = RULES.get(node.op)
        if rule is not None:
            walker.labels[node] = rule(walker, node)
            continue
        walker.labels[node] = None
        for source in node.sources:
            for found in walker.all_labels(source):
                walker.expose(found)
        walker.pin_inputs(node, f"the operator {node.op} has no channel rule")
    join_slices(walker)
    for found in (label for output in traced.outputs for label in walker.all_labels(output)):
        walker.expose(found)
        walker.pin(found.ids, "the network's output")
        walker.outputs.append(found.ids.reshape(-1))
    return walker


class _Grouping:
    """Turns the relations that a walk found into groups.

    Channels of one *branch* go together in any case; branches of one *stream* (joined by additions) share the width
    of their tensors. A *unit* is what goes as one: a branch that is free, else a stream. All of it is done on arrays
    over channels; loops run over parameter axes, pins and groups.
    """

    def __init__(self, walker: Walker, residual: Residual) -> None:
        self.walker = walker
        self.ties = list(walker.ties.values())
        self.stream = _components(walker.count, [*walker.edges, *walker.meetings])
        free = residual == "free"
        self.branch = _components(walker.count, walker.edges) if free else self.stream
        self.of_branch = np.zeros(int(self.branch.max(initial=-1)) + 1, dtype=np.int64)
        self.of_branch[self.branch] = self.stream
        self.streams = int(self.stream.max(initial=-1)) + 1
        self.free = self._free_branches() if free else np.zeros(len(self.of_branch), dtype=np.bool_)
        # Units: streams first, then branches.
        self.unit = np.where(self.free[self.branch], self.streams + self.branch, self.stream)
        self.fed = np.zeros(self.streams, dtype=np.bool_)
        self.fed[self.of_branch[self.free]] = True
        self.group = np.full(self.streams + len(self.of_branch), -1, dtype=np.int64)
        self.channel = np.zeros_like(self.group)

    def _free_branches(self) -> Mask:
        """Branches that may drop channels by themselves: they have filters, and can be spread."""
        walker, count = self.walker, len(self.of_branch)
        bound, makers = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        for tie in self.ties:
            if tie.maker:
                makers[self.branch[tie.ids]] = True
        for ids in (*(ids for ids, _ in walker.pins), *walker.sums, *walker.constants):
            bound[self.branch[ids]] = True
        for ids in walker.outputs:
            bound |= np.isin(self.of_branch, self.stream[ids])
        for module, exits in walker.exits.items():
            # A module can be spread if all that reads it wants it wide, or nothing does.
            exposed = module in walker.exposed
            if exposed and (module in walker.inner or not can_spread(walker.modules.get(module))):
                for e in exits:
                    bound[self.branch[e.source]] = True
        several = np.bincount(self.of_branch, minlength=self.streams) > 1
        return makers & ~bound & several[self.of_branch]

    def channel_map(self, shapes: dict[str, tuple[int, ...]], traced: Traced) -> ChannelMap:
        """Everything about the network's channels."""
        pins = self._pins()
        slices = [self.stream[t.ids] if t.role == "in" or t.wide else self.unit[t.ids] for t in self.ties]
        """For every tie the unit of each slice: readers belong to streams, makers to their branch."""
        first, signature = self._signatures(slices, pins)
        groups = self._numbered(first, signature)
        members = self._members(slices, len(groups))
        lifted = np.zeros(len(self.group), dtype=np.bool_)
        for ids in self.walker.lifted:
            lifted[self.stream[ids]] = True
        made = [
            self._group(
                unit, channels, members[number], [reason for reason, of in pins if of[unit]], bool(lifted[unit])
            )
            for number, (unit, channels) in enumerate(groups)
        ]
        return ChannelMap(
            tuple(self._linked(made)),
            tuple(self.walker.layers),
            shapes,
            self._sites(),
            tuple(WholeGroups(m, n, self._place(self.unit[ids])) for m, (n, ids) in self.walker.whole.items()),
            self._reshapes(traced),
        )

    def _pins(self) -> list[tuple[str, Mask]]:
        """Reasons and the units they hold: also a filter that feeds a free stream, but cannot be spread."""
        found: dict[str, Mask] = {}

        def hold(reason: str, streams: Ids) -> None:
            found.setdefault(reason, np.zeros(len(self.group), dtype=np.bool_))[streams] = True

        for ids, reason in self.walker.pins:
            hold(reason, self.stream[ids])
        for tie in self.ties:
            if tie.maker:
                held = self.stream[tie.ids[~self.free[self.branch[tie.ids]]]]
                held = held[self.fed[held]]
                if len(held):
                    hold(f"{owner_of(tie.tensor)} feeds the stream and cannot be spread", held)
        return list(found.items())

    def _signatures(self, slices: list[Ids], pins: list[tuple[str, Mask]]) -> tuple[Ids, npt.NDArray[np.uint64]]:
        """For every unit its first slice (-1: none), and a number that units share which touch the same axes alike."""
        first = np.full(len(self.group), -1, dtype=np.int64)
        signature = np.zeros(len(self.group), dtype=np.uint64)
        offset = 0
        for number, units in enumerate(slices):
            touched, at, counts = np.unique(units, return_index=True, return_counts=True)
            new = first[touched] < 0
            first[touched[new]] = offset + at[new]
            offset += len(units)
            signature[touched] = _mix(signature[touched], number, counts.astype(np.uint64))
        for number, (_, of) in enumerate(pins):
            signature[of] = _mix(signature[of], len(slices) + number, np.uint64(1))
        for ids in self.walker.lifted:
            held = np.unique(self.stream[ids])
            signature[held] |= np.uint64(1)
        fed = np.flatnonzero(self.fed)
        first[fed[first[fed] < 0]] = offset + fed[first[fed] < 0]
        return first, signature

    def _numbered(self, first: Ids, signature: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
        """Number groups and channels, streams before branches; for each group a unit and how many it has."""
        groups: list[tuple[int, int]] = []
        for low, high in ((0, self.streams), (self.streams, len(self.group))):
            units = low + np.flatnonzero(first[low:high] >= 0)
            if not len(units):
                continue
            units = units[np.argsort(first[units], kind="stable")]  # channels follow the first axis the group touches
            key = signature[units]
            if low:
                of = self.group[self.of_branch[units - self.streams]]
                key = _mix(key, 7, of.astype(np.uint64))
            _, at, kind = np.unique(key, return_index=True, return_inverse=True)
            order = np.argsort(np.argsort(at))[kind] + len(groups)  # groups by their first channel
            self.group[units] = order
            for number in range(len(groups), len(groups) + len(at)):
                of_group = units[order == number]
                self.channel[of_group] = np.arange(len(of_group))
                groups.append((int(of_group[0]), len(of_group)))
        return groups

    def _members(self, slices: list[Ids], count: int) -> list[list[Member]]:
        members: list[list[Member]] = [[] for _ in range(count)]
        for tie, units in zip(self.ties, slices, strict=True):
            group, channel = self.group[units], self.channel[units]
            order = np.lexsort((np.arange(len(units)), channel, group))
            starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
            for part in np.split(order, starts[1:]):
                channels = len(np.unique(channel[part]))
                member = Member(tie.tensor, tie.dim, part.reshape(channels, -1), tie.role, tie.maker)
                members[int(group[part[0]])].append(member)
        return members

    def _group(self, unit: int, channels: int, members: list[Member], why: list[str], lifted: bool) -> Group:
        makers = [m.tensor for m in members if m.role == "out"]
        tensors = makers or [m.tensor for m in members]
        name = owner_of(tensors[0]) or tensors[0] if tensors else "stream"
        name = name if makers or not tensors else f"input of {name}"
        derived = unit < self.streams and bool(self.fed[unit])
        if not why and not makers and not derived:
            why = ["no parameter makes these channels"]
        if not why and channels == 1 and not derived:
            why = ["all its channels go together"]
        return Group(name, channels, tuple(members), tuple(why), lifted)

    def _linked(self, groups: list[Group]) -> list[Group]:
        """Branches know their stream, and streams their branches."""
        branches: dict[int, list[int]] = {}
        units = self.streams + np.flatnonzero(self.free)
        for place in np.unique(self.group[units]):
            of = units[self.group[units] == place]
            of = of[np.argsort(self.channel[of])]
            streams = self.of_branch[of - self.streams]
            stream = int(self.group[streams[0]])
            groups[place] = replace(groups[place], stream=stream, feeds=self.channel[streams])
            branches.setdefault(stream, []).append(int(place))
        for place, of in branches.items():
            g = groups[place]
            reasons = g.reasons or ("its channels go when every branch has dropped them",)
            name = f"stream of {g.name}"
            groups[place] = replace(g, name=name, reasons=reasons, branches=tuple(of), held=bool(g.reasons))
        return groups

    def _sites(self) -> tuple[SpreadSite, ...]:
        sites: list[SpreadSite] = []
        for module, exits in self.walker.exits.items():
            e = exits[-1]
            already = bool((e.index < 0).any()) or len(e.place) != len(e.source)
            if already or (module in self.walker.exposed and bool(self.free[self.branch[e.source]].any())):
                source, place = self._place(self.unit[e.source]), self._place(self.stream[e.place])
                sites.append(SpreadSite(module, source, place, e.index, int(max(1, -e.index.min()))))
        return tuple(sites)

    def _reshapes(self, traced: Traced) -> tuple[Reshape, ...]:
        found: list[Reshape] = []
        for node in traced.nodes:
            if not is_reshape(node):
                continue
            labels = self.walker.of(node)
            place, axis = Place(np.empty(0, np.int64), np.empty(0, np.int64)), 0
            if labels is not None:
                axis = labels.axis
                rows = np.moveaxis(labels.ids, axis, 0).reshape(labels.ids.shape[axis], -1)[:, 0]
                place = self._place(self.stream[rows])
            maker = node.sources[0] if node.op == "getitem" else node
            found.append(Reshape(maker.name, maker.op, axis, place, maker.name in self.walker.forks))
        return tuple(found)

    def _place(self, units: Ids) -> Place:
        return Place(self.group[units], self.channel[units])


def _mix(
    signature: npt.NDArray[np.uint64], number: int, value: npt.NDArray[np.uint64] | np.uint64
) -> npt.NDArray[np.uint64]:
    """Signatures that tell ``number`` and ``value`` apart (64-bit mixing of splitmix64); the last bit is left 0."""
    with np.errstate(over="ignore"):
        x = signature * np.uint64(0x9E3779B97F4A7C15) + np.uint64(number + 1) * np.uint64(0xBF58476D1CE4E5B9) + value
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) & ~np.uint64(1)


def _components(count: int, edges: list[tuple[Ids, Ids]]) -> npt.NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first = np.concatenate([a for a, _ in edges] or [np.empty(0, np.int64)])
    second = np.concatenate([b for _, b in edges] or [np.empty(0, np.int64)])
    ones = np.ones(len(first), dtype=np.int32)
    matrix = coo_matrix((ones, (first, second)), shape=(count, count))
    return np.asarray(connected_components(matrix, directed=False)[1], dtype=np.int64)


__all__ = ["ChannelMap", "Group", "Member", "analyse", "map_channels", "walk"]
