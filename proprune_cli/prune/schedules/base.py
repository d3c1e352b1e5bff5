"""What a schedule starts from and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.prune.methods import Training
from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.phases import Network, Shape
from proprune_cli.prune.result import NetworkFigures
from proprune_cli.train.freezing import freezing_hooks

DEFAULT_ROUNDS = 3


@dataclass(frozen=True)
class Fresh:
    """Networks to start from."""

    dense: Network
    """Trained."""
    untrained: Callable[[], nn.Module]
    """The same architecture with the weights that dense training started from."""


@dataclass(frozen=True)
class Outcome:
    """A pruned and trained network, and how it came about."""

    shrunk: Shrunk
    """Rows and sizes from the dense network to the final one."""
    pruned: NetworkFigures
    """Straight after the last removal."""
    tuned: Network
    operations: int
    """Multiply-accumulates that a thin network of the same cost may have."""
    notes: tuple[str, ...] = ()


def fine_tuning(options: PruneOptions) -> Shape | None:
    """How the network is fine-tuned; None: plainly."""
    hooks = freezing_hooks(options.freeze)

    def shape(_: nn.Module) -> Training:
        return Training(hooks)

    return shape if hooks else None


def freeze_key(options: PruneOptions) -> dict[str, Any]:
    """What of the options decides the outcome of fine-tuning besides `TrainOptions`."""
    return {} if options.freeze == "none" else {"freeze": options.freeze}
