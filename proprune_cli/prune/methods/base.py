"""What a pruning method is: a score for every channel of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from proprune_cli.prune.dependencies import Group

Tensors = Mapping[str, torch.Tensor]
"""Parameters and buffers by qualified name."""
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Context:
    """What a method may look at besides the group."""

    tensors: Tensors
    rng: np.random.Generator


class Importance(Protocol):
    """Scores the channels of a group; the least important go first."""

    def __call__(self, group: Group, context: Context) -> Scores | None:
        """float64 [channels], none negative; None where the method cannot judge this group, which then stays."""
        ...


def filter_norms(group: Group, tensors: Tensors, norm: Callable[[torch.Tensor], torch.Tensor]) -> Scores | None:
    """Sum over the layers that make the group of ``norm`` of each channel's weights.

    ``norm`` maps [channels, weights] to [channels]. Each layer's norms are divided by their mean first, so that in a
    coupled group (a residual stream) no layer outvotes the others by its scale alone.
    """
    total = np.zeros(group.channels)
    found = False
    for member in group.members:
        tensor = tensors[member.tensor].detach()
        if member.role != "out" or tensor.ndim < 2:
            continue
        moved = tensor.movedim(member.dim, 0)
        rows = moved[torch.from_numpy(member.index.reshape(-1))].reshape(group.channels, -1).double()
        scores = norm(rows).numpy()
        mean = float(scores.mean())
        total += scores / mean if mean > 0 else scores
        found = True
    return total if found else None
