"""What a budget counts: parameters, operations, or the figure of a cost model."""

from __future__ import annotations

from collections.abc import Sequence

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.prune.objective import CostModel
from proprune_cli.work.layer import LayerWork


class OperationCost:
    """Multiply-accumulates as a cost model."""

    name = "operations"
    unit = "MAC"

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """Sum over the layers."""
        return float(sum(layer.macs for layer in layers))


def figure(table: CostTable, kind: str, sizes: Sizes, cost_model: CostModel | None) -> float:
    """What a budget of this kind counts: parameters, operations, or the figure of the cost model."""
    if kind == "params":
        return float(table.params(sizes))
    counted = cost_model if kind in ("ms", "mj", "cost") else None
    return (counted or OperationCost()).cost(table.layers(sizes))
