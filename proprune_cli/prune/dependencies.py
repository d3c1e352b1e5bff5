"""Groups of coupled channels: which slices of which parameters must be removed together.

Two channels are coupled when an operator reads or writes them as one (a depthwise convolution, a shared weight, a
product). The coupled channels are the connected components of that relation; components that touch the same parameter
axes in the same way form a `Group`. This is the dependency graph of Fang et al. 2023 ("DepGraph"), channel by channel.

An addition joins channels to a *stream*. With coupled branches it couples them like any other operator. With free
branches each branch has groups of its own: it may drop a channel that the stream keeps, because its last layer is
spread (`proprune_cli.prune.spread`), and a channel of the stream goes when every branch has dropped it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.prune.channels import Ids, Labels, LayerRecord, Reshapes, Role, Tie, Walker, owner_of
from proprune_cli.prune.options import Residual
from proprune_cli.prune.recorder import Node
from proprune_cli.prune.rules import RULES
from proprune_cli.prune.rules_shape import join_slices
from proprune_cli.prune.spread import can_spread
from proprune_cli.prune.trace import Traced, trace

Kept = Mapping[int, Ids]
"""Place of a group → its channels that stay, rising; groups that are not named stay whole."""


@dataclass(frozen=True)
class Member:
    """Slices ``index[c]`` of axis ``dim`` of parameter or buffer ``tensor`` belong to channel c of the group."""

    tensor: str
    dim: int
    index: Ids
    """int64 [channels, slices per channel]."""
    role: Role
    maker: bool = False
    """The slice is a filter, which alone decides about the channel."""


@dataclass(frozen=True)
class Group:
    """Channels that are interchangeable: each of them can go by itself, with its slices everywhere."""

    name: str
    channels: int
    members: tuple[Member, ...]
    reasons: tuple[str, ...]
    """Why the group must stay; empty where it may be pruned."""
    lifted: bool
    """True where a channel passes through f with f(0) ≠ 0 before it is read."""
    stream: int | None = None
    """For a branch: place of the group of its stream."""
    feeds: Ids | None = None
    """For a branch: channel of the stream that each of its channels feeds, int64 [channels]."""
    branches: tuple[int, ...] = ()
    """For a stream with free branches: places of their groups. Its channels follow theirs."""
    held: bool = True
    """Without branches nothing; for a stream: something else keeps all its channels."""

    @property
    def prunable(self) -> bool:
        """True where channels may be chosen to be removed."""
        return not self.reasons

    @property
    def layers(self) -> tuple[str, ...]:
        """Modules that make these channels."""
        return tuple(dict.fromkeys(owner_of(m.tensor) for m in self.members if m.role == "out"))


@dataclass(frozen=True)
class Place:
    """For each of a list of channels, the group it is in and its number there; int64 [channels] each."""

    group: Ids
    """-1: the channel touches no parameter, and stays."""
    channel: Ids

    def stay(self, survivors: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        """Which of them stay, given which channels of every group do."""
        found = np.ones(len(self.group), dtype=np.bool_)
        for group in np.unique(self.group[self.group >= 0]):
            here = self.group == group
            found[here] = survivors[group][self.channel[here]]
        return found


@dataclass(frozen=True)
class SpreadSite:
    """A module that is spread where a branch dropped channels that its stream keeps."""

    module: str
    source: Place
    """Channels the module's parameters make."""
    place: Place
    """Channels of its output."""
    index: Ids
    """For each channel of the output its place in ``source``; -1 - j: the constant j is filled in already."""
    fills: int = 1
    """Constants that can be filled in; the first is 0."""


@dataclass(frozen=True)
class WholeGroups:
    """A module whose groups of channels go one by one, so that its number of groups changes."""

    module: str
    groups: int
    out: Place


@dataclass(frozen=True)
class Reshape:
    """An operator that rearranges channels, and might name their number."""

    name: str
    op: str
    axis: int
    """The axis that gets shorter."""
    place: Place
    """Channels along it; none where nothing is known of them."""
    fork: bool
    """The rule chose that axis among two."""


@dataclass(frozen=True)
class ChannelMap:
    """The groups and layers of one network."""

    groups: tuple[Group, ...]
    layers: tuple[LayerRecord, ...]
    shapes: dict[str, tuple[int, ...]]
    """Shape of every parameter."""
    sites: tuple[SpreadSite, ...] = ()
    whole: tuple[WholeGroups, ...] = ()
    reshapes: tuple[Reshape, ...] = ()
    """Operators that rearrange channels, in the order they run."""

    @property
    def prunable(self) -> tuple[Group, ...]:
        """Groups that may be pruned."""
        return tuple(g for g in self.groups if g.prunable)

    def survivors(self, kept: Kept) -> list[npt.NDArray[np.bool_]]:
        """For every group which of its channels stay; those of a stream follow from its branches."""
        stay = [np.ones(g.channels, dtype=np.bool_) for g in self.groups]
        for place, channels in kept.items():
            stay[place][:] = False
            stay[place][channels] = True
        for place, group in enumerate(self.groups):
            if group.branches and not group.held:
                stay[place][:] = False
                for branch in group.branches:
                    feeds = self.groups[branch].feeds
                    if feeds is not None:
                        stay[place][feeds[stay[branch]]] = True
        return stay


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
) -> ChannelMap:
    """`analyse` for a network that has been traced."""
    walker = walk(model, traced, choices or {})
    for tie in list(walker.ties.values()):
        module = owner_of(tie.tensor)
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
    for found in walker.all_labels(traced.output):
        walker.expose(found)
        walker.pin(found.ids, "the network's output")
        walker.outputs.append(found.ids.reshape(-1))
    return walker


class _Grouping:
    """Turns the relations that a walk found into groups.

    Channels of one *branch* go together in any case; branches of one *stream* (joined by additions) share the width
    of their tensors.
    """

    def __init__(self, walker: Walker, residual: Residual) -> None:
        self.walker = walker
        self.ties = list(walker.ties.values())
        edges = walker.edges
        self.stream = _components(walker.count, [*edges, *walker.meetings])
        self.branch = _components(walker.count, edges) if residual == "free" else self.stream
        self.reasons: dict[int, dict[str, None]] = {}
        for ids, reason in walker.pins:
            for c in np.unique(self.branch[ids]):
                self.reasons.setdefault(int(c), {})[reason] = None
        self.lifted = {int(c) for ids in walker.lifted for c in np.unique(self.stream[ids])}
        self.free = self._free_branches() if residual == "free" else set[int]()

    def _free_branches(self) -> set[int]:
        """Branches that may drop channels by themselves: they have filters, and can be spread."""
        walker = self.walker
        of_stream: dict[int, set[int]] = {}
        for b, s in set(zip(self.branch.tolist(), self.stream.tolist(), strict=True)):
            of_stream.setdefault(s, set()).add(b)
        makers = {int(b) for t in self.ties if t.maker for b in np.unique(self.branch[t.ids])}
        bound = set(self.reasons)
        for ids in (*walker.sums, *walker.constants):
            bound.update(np.unique(self.branch[ids]).tolist())
        last = {int(s) for ids in walker.outputs for s in np.unique(self.stream[ids])}
        bound.update(b for s in last for b in of_stream[s])
        for module, exits in walker.exits.items():
            # A module can be spread if all that reads it wants it wide, or nothing does.
            alone = module in walker.exposed and module in walker.inner
            if alone or (module in walker.exposed and not can_spread(walker.modules.get(module))):
                bound.update(int(b) for e in exits for b in np.unique(self.branch[e.source]))
        return {b for s in of_stream if len(of_stream[s]) > 1 for b in of_stream[s] & makers - bound}

    def channel_map(self, shapes: dict[str, tuple[int, ...]], traced: Traced) -> ChannelMap:
        """Everything about the network's channels."""
        owner = np.where(np.isin(self.branch, list(self.free)), -1 - self.branch, self.stream)
        """Unit of every channel: a free branch as a negative number, else its stream."""
        units = self._slices(owner)
        self._stay(owner)
        groups: list[Group] = []
        group_of: dict[int, tuple[int, int]] = {}
        self._collect({u: p for u, p in units.items() if u >= 0}, groups, group_of, {})
        streams = {int(-1 - b): int(s) for b, s in zip(self.branch, self.stream, strict=True) if b in self.free}
        self._collect({u: p for u, p in units.items() if u < 0}, groups, group_of, streams)
        groups = _linked(groups, owner, streams, group_of)
        return ChannelMap(
            tuple(groups),
            tuple(self.walker.layers),
            shapes,
            self._sites(owner, group_of),
            tuple(WholeGroups(m, n, _place(owner[ids], group_of)) for m, (n, ids) in self.walker.whole.items()),
            self._reshapes(group_of, traced),
        )

    def _stay(self, owner: Ids) -> None:
        """A stream stays where anything but its free branches keeps it: a pin on its own, or a filter not spread."""
        self.stream_reasons: dict[int, dict[str, None]] = {}
        first = dict(zip(self.branch.tolist(), self.stream.tolist(), strict=True))
        for b, why in self.reasons.items():
            if b in first:
                self.stream_reasons.setdefault(first[b], {}).update(why)
        with_free = {first[b] for b in self.free}
        for tie in self.ties:
            if tie.maker:
                for s in np.unique(self.stream[tie.ids[owner[tie.ids] >= 0]]):
                    if int(s) in with_free:
                        reason = f"{owner_of(tie.tensor)} feeds the stream and cannot be spread"
                        self.stream_reasons.setdefault(int(s), {})[reason] = None

    def _slices(self, owner: Ids) -> dict[int, list[tuple[int, Ids]]]:
        """Unit → (tie, slices of its axis). Readers belong to streams, makers to their branch."""
        slices: dict[int, list[tuple[int, Ids]]] = {}
        for number, tie in enumerate(self.ties):
            unit = owner[tie.ids] if tie.role != "in" else self.stream[tie.ids]
            order = np.argsort(unit, kind="stable")
            starts = np.flatnonzero(np.r_[True, np.diff(unit[order]) != 0])
            for part in np.split(order, starts[1:]):
                slices.setdefault(int(unit[part[0]]), []).append((number, part))
        for s in {int(s) for b, s in zip(self.branch, self.stream, strict=True) if b in self.free}:
            slices.setdefault(s, [])
        return slices

    def _collect(
        self,
        units: dict[int, list[tuple[int, Ids]]],
        groups: list[Group],
        group_of: dict[int, tuple[int, int]],
        streams: dict[int, int],
    ) -> None:
        """Append the groups that ``units`` form; those of branches after those of streams."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for unit, parts in units.items():
            of = group_of[streams[unit]][0] if unit < 0 else -1
            why = () if unit < 0 else tuple(self.stream_reasons.get(unit, ()))
            lifted = unit >= 0 and unit in self.lifted
            signature = (of, *((n, len(p)) for n, p in parts), why, lifted)
            alike.setdefault(signature, []).append(unit)
        for signature, members in alike.items():
            # Channel order follows the first parameter axis the group touches.
            members.sort(key=lambda u: int(units[u][0][1][0]) if units[u] else u)
            for channel, unit in enumerate(members):
                group_of[unit] = (len(groups), channel)
            groups.append(self._group(units, members, signature[-2], bool(signature[-1])))  # pyright: ignore[reportArgumentType]

    def _group(
        self, units: dict[int, list[tuple[int, Ids]]], chosen: list[int], why: tuple[str, ...], lifted: bool
    ) -> Group:
        members = tuple(
            Member(
                self.ties[number].tensor,
                self.ties[number].dim,
                np.stack([units[u][position][1] for u in chosen]),
                self.ties[number].role,
                self.ties[number].maker,
            )
            for position, (number, _) in enumerate(units[chosen[0]])
        )
        makers = [m.tensor for m in members if m.role == "out"]
        tensors = makers or [m.tensor for m in members]
        name = owner_of(tensors[0]) or tensors[0] if tensors else "stream"
        name = name if makers or not tensors else f"input of {name}"
        if not why and not makers and chosen[0] >= 0 and not self._fed(chosen[0]):
            why = ("no parameter makes these channels",)
        if not why and len(chosen) == 1 and not (chosen[0] >= 0 and self._fed(chosen[0])):
            why = ("all its channels go together",)
        return Group(name, len(chosen), members, why, lifted)

    def _fed(self, stream: int) -> bool:
        return bool(np.isin(self.branch[self.stream == stream], list(self.free)).any())

    def _sites(self, owner: Ids, group_of: dict[int, tuple[int, int]]) -> tuple[SpreadSite, ...]:
        sites: list[SpreadSite] = []
        for module, exits in self.walker.exits.items():
            e = exits[-1]
            spread = bool((e.index < 0).any()) or len(e.place) != len(e.source)
            if spread or (module in self.walker.exposed and (owner[e.source] < 0).any()):
                source = _place(owner[e.source], group_of)
                fills = int(max(1, -e.index.min()))
                sites.append(SpreadSite(module, source, _place(self.stream[e.place], group_of), e.index, fills))
        return tuple(sites)

    def _reshapes(self, group_of: dict[int, tuple[int, int]], traced: Traced) -> tuple[Reshape, ...]:
        found: list[Reshape] = []
        for node in traced.nodes:
            if not is_reshape(node):
                continue
            labels = self.walker.of(node)
            place, axis = Place(np.empty(0, np.int64), np.empty(0, np.int64)), 0
            if labels is not None:
                axis = labels.axis
                rows = np.moveaxis(labels.ids, axis, 0).reshape(labels.ids.shape[axis], -1)[:, 0]
                place = _place(self.stream[rows], group_of)
            maker = node.sources[0] if node.op == "getitem" else node
            found.append(Reshape(maker.name, maker.op, axis, place, maker.name in self.walker.forks))
        return tuple(found)


RESHAPES = frozenset(
    {"view", "reshape", "_unsafe_view", "unflatten", "slice", "split", "split_with_sizes", "chunk", "unbind"}
)


def is_reshape(node: Node) -> bool:
    """Whether an operator may name numbers of channels."""
    if node.op == "getitem":
        return node.sources[0].op in RESHAPES
    if node.op not in RESHAPES:
        return False
    return bool(node.shape) and node.sources[0].op not in ("parameter", "constant")


def _place(units: Ids, group_of: dict[int, tuple[int, int]]) -> Place:
    """Groups of channels; -1 for those that touch no parameter and therefore stay."""
    pairs = np.array([group_of.get(int(u), (-1, 0)) for u in units], dtype=np.int64).reshape(-1, 2)
    return Place(pairs[:, 0], pairs[:, 1])


def _linked(
    groups: list[Group], owner: Ids, streams: dict[int, int], group_of: dict[int, tuple[int, int]]
) -> list[Group]:
    """Branches know their stream, and streams their branches."""
    feeds: dict[int, dict[int, tuple[int, int]]] = {}
    for unit, stream in streams.items():
        if unit in group_of and stream in group_of:
            place, channel = group_of[unit]
            feeds.setdefault(place, {})[channel] = group_of[stream]
    branches: dict[int, list[int]] = {}
    linked = list(groups)
    for place, channels in feeds.items():
        g = groups[place]
        stream = channels[0][0]
        index = np.array([channels[c][1] for c in range(g.channels)], dtype=np.int64)
        linked[place] = Group(g.name, g.channels, g.members, g.reasons, g.lifted, stream, index)
        branches.setdefault(stream, []).append(place)
    for place, of in branches.items():
        g = groups[place]
        reasons = g.reasons or ("its channels go when every branch has dropped them",)
        linked[place] = Group(
            f"stream of {g.name}", g.channels, g.members, reasons, g.lifted, branches=tuple(of), held=bool(g.reasons)
        )
    return linked


def _components(count: int, edges: list[tuple[Ids, Ids]]) -> npt.NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first = np.concatenate([a for a, _ in edges] or [np.empty(0, np.int64)])
    second = np.concatenate([b for _, b in edges] or [np.empty(0, np.int64)])
    ones = np.ones(len(first), dtype=np.int8)
    matrix = coo_matrix((ones, (first, second)), shape=(count, count))
    return np.asarray(connected_components(matrix, directed=False)[1], dtype=np.int64)


__all__ = [
    "RESHAPES", "ChannelMap", "Group", "Kept", "Member", "Place", "Reshape", "SpreadSite", "Tie", "WholeGroups", "analyse", "is_reshape",
    "map_channels", "walk",
]  # fmt: skip
