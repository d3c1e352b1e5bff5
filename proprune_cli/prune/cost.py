"""What a budget counts: parameters, operations, or the figure of a cost model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.channels.rules.layers import goes_by_whole_groups
from proprune_cli.prune.objective import CostModel, SoftLayer
from proprune_cli.work.layer import LayerWork


class OperationCost:
    """Multiply-accumulates as a cost model, scalar or differentiable."""

    name = "operations"
    unit = "MAC"

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """Sum over the layers."""
        return float(sum(layer.macs for layer in layers))

    def soft_cost(self, layers: Sequence[SoftLayer]) -> torch.Tensor:
        """Σ MACs · inputs · outputs · taps; where whole groups go, inputs and outputs go together and count once."""
        terms = [
            layer.work.macs * layer.outputs * layer.taps * (1 if _by_groups(layer.work) else layer.inputs)
            for layer in layers
        ]
        return torch.stack(terms).sum() if terms else torch.zeros(())


def _by_groups(work: LayerWork) -> bool:
    """Whether a layer loses whole groups of channels, as `CostTable` counts it."""
    inside = work.in_channels // work.groups
    return goes_by_whole_groups(work.groups, inside) or (work.groups > 1 and work.kind == "conv_transpose")


def figure(table: CostTable, kind: str, sizes: Sizes, cost_model: CostModel | None) -> float:
    """What a budget of this kind counts: parameters, operations, or the figure of the cost model."""
    if kind == "params":
        return float(table.params(sizes))
    counted = cost_model if kind in ("ms", "mj", "cost") else None
    return (counted or OperationCost()).cost(table.layers(sizes))
