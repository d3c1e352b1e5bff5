"""What becomes of a network whose method does not cut to a budget: zeroed channels go, or all channels stay."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from proprune_cli.prune.channels import Ids
from proprune_cli.prune.count import CostTable
from proprune_cli.prune.dependencies import ChannelMap, Group, analyse
from proprune_cli.prune.result import GroupRow
from proprune_cli.prune.shrinking import Shrunk, layer_rows
from proprune_cli.prune.surgery import cuts_for, shrink, verify
from proprune_cli.prune.trace import example_input


def without_zeroed(model: nn.Module, example: torch.Tensor, where: str = "model") -> Shrunk:
    """``model`` without the channels whose every weight, bias and shift is zero: exactly the same function.

    Raises:
        SurgeryError: the smaller network computes something else.
        UnsupportedError: the network cannot be traced.
    """
    model.eval()
    channels = analyse(model, example, (), where)
    tensors = dict(model.state_dict())
    kept: dict[int, Ids] = {}
    for position, group in enumerate(channels.groups):
        if not group.prunable or group.lifted:
            continue
        alive = _alive(group, tensors)
        # A layer without any channel is no layer; one stays, even if it is zero.
        alive[0] |= not alive.any()
        if not alive.all():
            kept[position] = np.flatnonzero(alive).astype(np.int64)
    cuts = cuts_for(channels.groups, kept, tensors)
    smaller = shrink(model, cuts)
    inputs = example_input(example.shape[1], (example.shape[2], example.shape[3]), batch=4, seed=1)
    return _summary(channels, kept, smaller.eval(), cuts, verify(smaller, model, inputs, where))


def untouched(model: nn.Module, example: torch.Tensor, where: str = "model") -> Shrunk:
    """``model`` itself, with the rows of a pruning report."""
    return _summary(analyse(model, example, (), where), {}, model.eval(), {}, 0.0)


def _alive(group: Group, tensors: dict[str, torch.Tensor]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Channels that anything but zeros makes; running means only shift what a weight made."""
    alive = np.zeros(group.channels, dtype=np.bool_)
    for member in group.members:
        if member.role != "out":
            continue
        rows = tensors[member.tensor].detach().movedim(member.dim, 0)[torch.from_numpy(member.index.reshape(-1))]
        alive |= (rows.reshape(group.channels, -1) != 0).any(dim=1).numpy()
    return alive


def _summary(
    channels: ChannelMap, kept: dict[int, Ids], model: nn.Module, cuts: dict[str, dict[int, list[int]]], error: float
) -> Shrunk:
    table = CostTable(channels)
    sizes = table.full.copy()
    for position, ids in kept.items():
        sizes[position] = len(ids)
    groups = tuple(
        GroupRow(g.name, g.channels, int(sizes[i]), g.prunable, "; ".join(g.reasons), g.layers)
        for i, g in enumerate(channels.groups)
    )
    return Shrunk(
        model=model,
        cuts=cuts,
        achieved=table.macs(sizes) / table.macs(table.full),
        error=error,
        dense_macs=table.macs(table.full),
        macs=table.macs(sizes),
        dense_params=table.params(table.full),
        params=sum(p.numel() for p in model.parameters()),
        groups=groups,
        layers=layer_rows(table, sizes),
        notes=(),
    )
