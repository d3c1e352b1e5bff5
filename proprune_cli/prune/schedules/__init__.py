"""When how much goes. Each schedule is one function from the trained dense network to the outcome."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.errors import UsageError
from proprune_cli.prune.goals import read_objective
from proprune_cli.prune.methods import METHODS, Method, method_named
from proprune_cli.prune.options import PruneOptions, PruneSchedule
from proprune_cli.prune.phases import Phases
from proprune_cli.prune.schedules.base import DEFAULT_ROUNDS, Fresh, Outcome
from proprune_cli.prune.schedules.iterative import iterative, rehearse_rounds
from proprune_cli.prune.schedules.one_shot import one_shot
from proprune_cli.prune.schedules.training import during_training, rehearse_training

__all__ = ["SCHEDULES", "Outcome", "rehearse", "schedule_of"]

SCHEDULES: dict[PruneSchedule, Callable[[Phases, Fresh], Outcome]] = {
    "one-shot": one_shot,
    "iterative": iterative,
    "training": during_training,
}


def rehearse(phases: Phases, dense: nn.Module) -> Shrunk | None:
    """Go through a run's steps on the untrained network ``dense`` and train it nowhere: whatever is refused shows.

    Returns:
        What would be removed; None where the method only finds that out while it trains.

    Raises:
        ProPruneError: whatever the method or pruning raises.
    """
    match schedule_of(phases.options):
        case "one-shot":
            return phases.prune(dense, phases.options)
        case "iterative":
            return rehearse_rounds(phases, dense)
        case "training":
            return rehearse_training(phases, dense)


def schedule_of(options: PruneOptions) -> PruneSchedule:
    """The schedule that a run follows: what the options ask for, else the method's own.

    Raises:
        UsageError: the method cannot follow it, or an option has no meaning with it.
    """
    method, _ = method_named(options.method)
    if options.objective is not None:
        _check_objective(options, options.objective, method)
    elif options.reference:
        raise UsageError(
            "the dense network is trained anyway",
            where="--reference",
            remedy="leave it out; it has a meaning with --objective alone",
        )
    if method.finish != "cut" and not options.budget.implied:
        raise UsageError(
            f"{method.name} takes no budget",
            where=f"--budget {options.budget.said()}",
            remedy=f"leave --budget out; {method.instead}; or choose a method that takes one: "
            + ", ".join(m.name for m in METHODS.values() if m.finish == "cut"),
        )
    asked = options.schedule or ("iterative" if options.rounds is not None else method.schedules[0])
    if asked not in method.schedules:
        other = ", ".join(m.name for m in METHODS.values() if asked in m.schedules)
        raise UsageError(
            f"{method.name} cannot follow the schedule {asked!r}; it knows " + " and ".join(method.schedules),
            where=f"--schedule {asked}" if options.schedule else f"--rounds {options.rounds}",
            remedy=f"leave the schedule out, or choose one of {other} with --method",
        )
    if options.rounds is not None and asked != "iterative":
        raise UsageError(
            f"rounds have no meaning in the schedule {asked!r}",
            where=f"--rounds {options.rounds}",
            remedy="leave --rounds out, or give --schedule iterative",
        )
    if options.start is not None and asked != "training":
        raise UsageError(
            f"{method.name} starts from the trained network",
            where=f"--start {options.start}",
            remedy="leave --start out; only methods that act during training have a choice",
        )
    if options.binary and method.name not in ("guided", "binary"):
        raise UsageError(
            f"{method.name} has no binary form",
            where="--binary",
            remedy="use --method guided --binary, or --method binary",
        )
    if asked == "iterative" and (options.tuning_epochs < (options.rounds or DEFAULT_ROUNDS)) and options.tuning_epochs:
        raise UsageError(
            f"{options.rounds or DEFAULT_ROUNDS} rounds need at least as many epochs of fine-tuning",
            where=f"--finetune-epochs {options.tuning_epochs}",
            remedy="give more epochs or fewer --rounds",
        )
    return asked


def _check_objective(options: PruneOptions, objective: str, method: Method) -> None:
    read_objective(objective)
    if not method.objective:
        raise UsageError(
            f"{method.name} takes no objective",
            where=f"--objective {objective}",
            remedy="leave --method out, or choose one of " + ", ".join(m.name for m in METHODS.values() if m.objective),
        )
    if not options.budget.implied:
        raise UsageError(
            "an objective takes the place of a budget",
            where=f"--objective {objective} --budget {options.budget.said()}",
            remedy="give one of them",
        )
