"""Branches that a network can do without: whole ones, with every layer that only they read.

The addition of a residual stream goes on without a branch that gives 0 everywhere. What else is in the branch then
computes for nobody; the compiler leaves all of it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import owner_of

OPEN = 8.0
"""Size of a branch that is there; from half of it on it counts as gone."""


@dataclass(frozen=True)
class Block:
    """A branch that may go.

    Attributes:
        place: of the group that it feeds the stream with. inner: groups that only it reads.
        layers: places of its layers. name: of the module that writes to the stream.
    """

    place: int
    inner: tuple[int, ...]
    layers: tuple[int, ...]
    name: str

    @property
    def groups(self) -> tuple[int, ...]:
        """All groups that are empty without it."""
        return (self.place, *self.inner)


def blocks_of(channels: ChannelMap) -> tuple[Block, ...]:
    """The branches of all streams but the one of the fewest layers, as a stem or a shortcut is, which keeps the stream.

    Where that one is a shortcut with weights, the branch beside it stays too: what reads the same channels at once. All
    that is left of a whole stage would be a projection.
    """
    found: list[Block] = []
    for group in channels.groups:
        if not group.branches or group.held:
            continue
        branches = [_block(channels, place) for place in group.branches]
        least = min(branches, key=lambda b: len(b.layers))
        beside = _inputs(channels, least)
        for block in branches:
            droppable = block is not least and channels.groups[block.place].prunable
            if droppable and not _inputs(channels, block) & beside:
                found.append(block)
    return tuple(sorted(found, key=lambda b: b.layers))


def _inputs(channels: ChannelMap, block: Block) -> set[int]:
    """Groups that a branch reads and does not make."""
    weights = {channels.layers[layer].weight for layer in block.layers}
    read = {place for place in range(len(channels.groups)) if _readers(channels, place) & weights}
    return read - set(block.groups)


def _block(channels: ChannelMap, place: int) -> Block:
    """A branch with all that computes for it alone: of all other groups those are left whose every reader is in it."""
    made = [_makers(channels, p) for p in range(len(channels.groups))]
    inner = {
        p
        for p, group in enumerate(channels.groups)
        if p != place and group.prunable and group.stream is None and not group.branches and made[p]
    }
    while True:
        layers = set(made[place]).union(*(made[p] for p in inner))
        weights = {channels.layers[layer].weight for layer in layers}
        elsewhere = {p for p in inner if not _readers(channels, p) or not _readers(channels, p) <= weights}
        if not elsewhere:
            break
        inner -= elsewhere
    names = channels.groups[place].layers
    return Block(place, tuple(sorted(inner)), tuple(sorted(layers)), names[0] if names else "")


def _readers(channels: ChannelMap, place: int) -> set[str]:
    """Weights that read a group."""
    return {member.tensor for member in channels.groups[place].members if member.role == "in"}


def _makers(channels: ChannelMap, place: int) -> tuple[int, ...]:
    """Layers whose filters are the channels of a group."""
    owners = {owner_of(m.tensor) for m in channels.groups[place].members if m.role == "out"}
    return tuple(at for at, record in enumerate(channels.layers) if owner_of(record.weight) in owners)
