"""What a removal of channels gives: the smaller network, and what became of every layer and group."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.rows import GroupRow, LayerRow
from proprune_cli.channels.surgery import Cuts
from proprune_cli.work.layer import LayerWork


@dataclass(frozen=True)
class Removal:
    """How a smaller network came about, in figures."""

    achieved: float
    error: float
    """Largest difference to the masked network, relative to its largest output."""
    dense_macs: int
    macs: int
    dense_params: int
    params: int
    groups: tuple[GroupRow, ...]
    layers: tuple[LayerRow, ...]
    notes: tuple[str, ...]
    least: float | None = None
    """``achieved`` of the smallest network that was allowed; None: nothing was chosen, or it was not kept."""


@dataclass(frozen=True, kw_only=True)
class Shrunk(Removal):
    """A smaller network and how it came about."""

    model: nn.Module
    cuts: Cuts


def untouched(model: nn.Module, example: torch.Tensor, where: str = "model") -> Shrunk:
    """``model`` itself, every channel of which stays: for methods that neither cut nor zero whole filters."""
    channels = analyse(model, example, (), where)
    table = CostTable(channels)
    return Shrunk(
        model=model.eval(),
        cuts={},
        achieved=1.0,
        error=0.0,
        dense_macs=table.macs(table.full),
        macs=table.macs(table.full),
        dense_params=table.params(table.full),
        params=sum(p.numel() for p in model.parameters()),
        groups=group_rows(channels, table.full, frozenset()),
        layers=layer_rows(table, table.full),
        notes=(),
    )


def group_rows(channels: ChannelMap, sizes: Sizes, unscored: frozenset[int]) -> tuple[GroupRow, ...]:
    """What became of every group."""
    rows: list[GroupRow] = []
    for position, group in enumerate(channels.groups):
        reason = "; ".join(group.reasons) or ("the method cannot score it" if position in unscored else "")
        rows.append(GroupRow(group.name, group.channels, int(sizes[position]), not reason, reason, group.layers))
    return tuple(rows)


def layer_rows(table: CostTable, sizes: Sizes) -> tuple[LayerRow, ...]:
    """What became of every layer."""
    return tuple(
        LayerRow(
            name=before.name,
            kind=before.kind,
            in_channels=_inputs(before),
            out_channels=before.out_channels,
            kept_in=_inputs(after),
            kept_out=after.out_channels,
            macs=before.macs,
            kept_macs=after.macs,
        )
        for before, after in zip(table.layers(table.full), table.layers(sizes), strict=True)
    )


def _inputs(work: LayerWork) -> int:
    """Input channels as the module counts them: a fully connected layer's are all its inputs."""
    return work.in_channels * math.prod(work.kernel) if work.kind == "linear" else work.in_channels
