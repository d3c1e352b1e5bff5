"""Leaving neurons alone that have stopped learning: the option ``--freeze``."""

from __future__ import annotations

from typing import Any

from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.phases import Shape


def fine_tuning(options: PruneOptions) -> Shape | None:  # noqa: ARG001
    """How the network is fine-tuned; None: plainly."""
    return None


def freeze_key(options: PruneOptions) -> dict[str, Any]:
    """What of the options decides the outcome of fine-tuning besides `TrainOptions`."""
    return {} if options.freeze == "none" else {"freeze": options.freeze}
