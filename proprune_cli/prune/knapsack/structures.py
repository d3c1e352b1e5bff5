"""Structures: sets of weights that hardware keeps or saves together, with what each of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Layer = nn.Conv2d | nn.Linear
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LayerStructures:
    """The structures of one layer.

    Attributes:
        weight: qualified name of the parameter.
        labels: int64 of the parameter's shape, the structure (0 … n-1) that each weight belongs to.
        costs: float64 [n, resources].
        fixed: float64 [resources], what the layer costs whatever is kept.
    """

    weight: str
    labels: Ints
    costs: Floats
    fixed: Floats


@dataclass(frozen=True)
class Structures:
    """All structures of a network, layer after layer."""

    resources: tuple[str, ...]
    layers: tuple[LayerStructures, ...]

    @property
    def costs(self) -> Floats:
        """float64 [structures, resources]."""
        return np.concatenate([layer.costs for layer in self.layers])

    @property
    def fixed(self) -> Floats:
        """float64 [resources], what no choice changes."""
        return np.sum([layer.fixed for layer in self.layers], axis=0)

    @property
    def layer_of(self) -> Ints:
        """Layer of each structure, int64 [structures]."""
        return np.repeat(np.arange(len(self.layers)), [len(layer.costs) for layer in self.layers])

    def totals(self, keep: Bools | None = None) -> Floats:
        """What the kept structures (None: all) and the fixed part cost, float64 [resources]."""
        costs = self.costs
        return self.fixed + (costs if keep is None else costs[keep]).sum(axis=0)

    def masks(self, keep: Bools) -> dict[str, torch.Tensor]:
        """Masks by parameter, True where a weight stays."""
        masks: dict[str, torch.Tensor] = {}
        start = 0
        for layer in self.layers:
            stop = start + len(layer.costs)
            masks[layer.weight] = torch.from_numpy(keep[start:stop][layer.labels])
            start = stop
        return masks


def compact(labels: Ints, costs: Floats) -> tuple[Ints, Floats]:
    """Number only those structures that have a weight."""
    used, dense = np.unique(labels, return_inverse=True)
    return dense.reshape(labels.shape).astype(np.int64), costs[used]


def norms(structures: Structures, weights: Mapping[str, torch.Tensor], order: int) -> Floats:
    """L1 or L2 norm of each structure over the largest of its layer, so that layers of unlike scale can be compared."""
    found: list[Floats] = []
    for layer in structures.layers:
        magnitude = weights[layer.weight].detach().double().abs().cpu().numpy().reshape(-1)
        sums = np.bincount(layer.labels.reshape(-1), weights=magnitude**order, minlength=len(layer.costs))
        norm = np.asarray(sums if order == 1 else np.sqrt(sums), dtype=np.float64)
        largest = float(norm.max())
        found.append(norm / largest if largest > 0 else norm)
    return np.concatenate(found)


def taylor(structures: Structures, products: Sequence[Mapping[str, torch.Tensor]]) -> Floats:
    """First-order change of the loss if a structure went: mean over batches of abs(Σ g·w) (Molchanov et al. 2019, with
    the structure in place of the filter).

    Args:
        products: per batch, gradient times weight by parameter.
    """
    total = np.zeros(len(structures.costs))
    for batch in products:
        sums = [
            np.bincount(
                layer.labels.reshape(-1),
                weights=batch[layer.weight].double().cpu().numpy().reshape(-1),
                minlength=len(layer.costs),
            )
            for layer in structures.layers
        ]
        total += np.abs(np.concatenate(sums))
    return total / max(1, len(products))
