"""Random neurons left alone: what `proprune_cli.train.neq` is compared with (Bragagnolo et al. 2023, Table 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from proprune_cli.data.batches import derived_seed
from proprune_cli.spec.options import option
from proprune_cli.train.hooks import TrainRun
from proprune_cli.train.idle import IdleNeurons, Watched

_IMAGES = 1
"""Of outputs nothing counts but their shape."""


@dataclass(frozen=True)
class StochasticOptions:
    """Options of ``--freeze stochastic``."""

    p: float = option(0.5, "probability that a neuron is frozen in an epoch", low=0.0, high=1.0)


class Stochastic(IdleNeurons):
    """Freezes each neuron with probability p, drawn anew for every epoch, the first included."""

    name = "stochastic"

    def __init__(self, options: StochasticOptions) -> None:
        super().__init__(_IMAGES)
        self._p = options.p

    def judge(self, watched: dict[str, Watched], epoch: int, run: TrainRun) -> None:
        """See `IdleNeurons.judge`."""
        for name, layer in watched.items():
            # Of each layer and epoch by itself, so that a resumed run freezes the same.
            drawn = torch.Generator().manual_seed(derived_seed(run.seed, "stochastic", name, epoch))
            frozen = torch.rand(layer.layer.weight.shape[0], generator=drawn) < self._p
            layer.frozen = frozen.to(layer.layer.weight.device)
