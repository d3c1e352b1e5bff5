"""Leaving neurons alone that have stopped learning: the option ``--freeze``."""

from __future__ import annotations

from typing import Any

from torch import nn

from proprune_cli.errors import UsageError
from proprune_cli.prune.hooks import TrainHook
from proprune_cli.prune.methods import Training
from proprune_cli.prune.neq import Equilibrium, NeqOptions
from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.phases import Shape
from proprune_cli.prune.spec import parse_spec
from proprune_cli.prune.spec_options import read_options


def freezing_hooks(options: PruneOptions) -> list[TrainHook]:
    """Hooks to put after all others; none where nothing is to be frozen.

    Raises:
        UsageError: ``--freeze`` names nothing known, or an option of it is out of range.
    """
    spec = parse_spec(options.freeze, "--freeze")
    if spec.name == "none":
        return []
    if spec.name != "neq":
        raise UsageError(f"{spec.name!r} is not a choice", where="--freeze", remedy="choose neq or none")
    return [Equilibrium(read_options(spec, NeqOptions, "--freeze"))]


def fine_tuning(options: PruneOptions) -> Shape | None:
    """How the network is fine-tuned; None: plainly."""
    hooks = freezing_hooks(options)

    def shape(_: nn.Module) -> Training:
        return Training(hooks)

    return shape if hooks else None


def freeze_key(options: PruneOptions) -> dict[str, Any]:
    """What of the options decides the outcome of fine-tuning besides `TrainOptions`."""
    return {} if options.freeze == "none" else {"freeze": options.freeze}
