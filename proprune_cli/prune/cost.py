"""What a budget counts: parameters, operations, or the figure of a cost model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.channels.rules.layers import goes_by_whole_groups
from proprune_cli.prune.objective import CostModel, SoftLayer
from proprune_cli.work.layer import LayerWork


@dataclass(frozen=True)
class SoftOperations:
    """`OperationCost` of one network. Satisfies `SoftCost`; ``macs`` and ``once``, of each layer, float64 [layers]:
    whether inputs and outputs go together."""

    macs: torch.Tensor
    once: torch.Tensor

    def anchor(self, layers: Sequence[LayerWork]) -> None:
        """Nothing: it is exact everywhere."""

    def __call__(
        self,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        taps: torch.Tensor,
        temperature: float,  # noqa: ARG002
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `SoftCost`; operations know no groups of channels."""
        macs = self.macs * outputs * taps * torch.where(self.once > 0, 1.0, inputs)
        return (macs if present is None else macs * present).sum()


class OperationCost:
    """Multiply-accumulates as a cost model, scalar or differentiable."""

    name = "operations"
    unit = "MAC"

    def cost(self, layers: Sequence[LayerWork]) -> float:
        """Sum over the layers."""
        return float(sum(layer.macs for layer in layers))

    def softened(self, layers: Sequence[LayerWork]) -> SoftOperations:
        """See `DifferentiableCost`."""
        macs, once = [float(w.macs) for w in layers], [float(_by_groups(w)) for w in layers]
        return SoftOperations(torch.tensor(macs, dtype=torch.float64), torch.tensor(once, dtype=torch.float64))

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
