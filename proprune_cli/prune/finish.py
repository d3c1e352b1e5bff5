"""What becomes of a network whose method does not cut and zeroes no filters: every channel stays."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.prune.count import CostTable
from proprune_cli.prune.dependencies import analyse
from proprune_cli.prune.shrinking import Shrunk, group_rows, layer_rows


def untouched(model: nn.Module, example: torch.Tensor, where: str = "model") -> Shrunk:
    """``model`` itself, with the rows of a pruning report."""
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
