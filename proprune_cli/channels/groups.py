"""What the analysis of a network's channels gives: groups, and the places where surgery has more to do than to cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from proprune_cli.channels.labels import Ids, LayerRecord, Role, owner_of
from proprune_cli.channels.recorder import Node

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
