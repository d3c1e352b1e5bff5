"""Structured pruning of PyTorch networks: `run` does the whole job, `load_run` gives its network back.

Importing this package imports no torch; the functions import it when they are called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from proprune_cli.prune.given import NOTHING, Given
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.result import PruneResult
from proprune_cli.train.options import TrainOptions

# Before torch loads its OpenMP: threads that wait asleep. Spinning ones made a training step ten times slower
# whenever another process wanted the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from proprune_cli.prune.objective import CompiledModel, CostModel
    from proprune_cli.train.progress import Progress
    from proprune_cli.train.workspace import Workspace

__all__ = ["Budget", "Given", "PruneOptions", "PruneResult", "TrainOptions", "check", "load_run", "run"]


def run(
    options: PruneOptions,
    out: Workspace,
    progress: Progress | None = None,
    cost_model: CostModel | None = None,
    compilable: Callable[[bytes], None] | None = None,
    given: Given = NOTHING,
    models: Mapping[str, CompiledModel] | None = None,
) -> PruneResult:
    """Train, prune, fine-tune and export, as ``options`` say, into the workspace ``out``.

    `proprune_cli.flow.prune.prune_into` opens the run directory and calls this.

    Args:
        models: what predicts ``latency`` and ``energy`` for an objective.
        compilable: raises where a compiler does not take an ONNX network; asked before the network is trained.
        given: objects in place of what ``options`` name.

    Raises:
        ProPruneError: anything a user can meet; see `proprune_cli.prune.pipeline`.
    """
    from proprune_cli.prune.pipeline import run_pipeline

    return run_pipeline(options, out, progress, cost_model, compilable, given, models)


def check(options: PruneOptions) -> None:
    """See that method, schedule and their options go together, before anything is written or trained.

    Raises:
        InputError: a method's options are not written as ``key=value``.
        UsageError: they do not, or one is unknown or out of range.
    """
    from proprune_cli.prune.pipeline import see_that_options_fit

    see_that_options_fit(options)


def load_run(run: Path, network: str = "pruned", *, trust: bool = False, model: nn.Module | None = None) -> nn.Module:
    """Network of a finished run directory, in eval mode. ``network``: "pruned", "dense" or "thin".

    Args:
        model: a copy of the module that was handed to the run.

    Raises:
        InputError: the directory is not a finished run, or its files are damaged.
    """
    from proprune_cli.prune.saved import load_network

    return load_network(run, network, trust=trust, given=model)
