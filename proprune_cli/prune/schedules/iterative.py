"""Iterative: prune a part of the way and fine-tune a part of the epochs, again and again (Han et al. 2015, Section 3).

The budget falls geometrically: after round i of N, budget^(i/N) remains, so that every round takes the same share.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from proprune_cli.channels.rows import GroupRow, LayerRow
from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.channels.surgery import Cuts
from proprune_cli.prune.options import WHOLE, Budget, PruneOptions
from proprune_cli.prune.phases import Network, Phases
from proprune_cli.prune.result import NetworkFigures
from proprune_cli.prune.schedules.base import DEFAULT_ROUNDS, Fresh, Outcome, fine_tuning, freeze_key
from proprune_cli.prune.shrinking import Floors


def iterative(phases: Phases, start: Fresh) -> Outcome:
    """See the module."""
    options = phases.options
    rounds = options.rounds or DEFAULT_ROUNDS
    model: nn.Module = start.dense.model
    done: Shrunk | None = None
    tuned: Network = start.dense
    figures: NetworkFigures = start.dense.figures
    for number in range(1, rounds + 1):
        part = _round(options, number, rounds, done)
        last = number == rounds
        cut = phases.cut("prune" if last else f"prune-{number}", model, part, last=last, floors=_floors(options, done))
        done = cut.shrunk if done is None else combine(done, cut.shrunk, options.budget.kind)
        figures = cut.figures
        epochs = options.tuning_epochs * number // rounds - options.tuning_epochs * (number - 1) // rounds
        tuned = phases.train(
            f"finetune-{number}" if number < rounds else "finetune",
            cut.shrunk.model,
            done.cuts,
            epochs=epochs,
            peak=phases.tuning_peak,
            label=f"fine-tuning, round {number} of {rounds}",
            size=(done.macs, done.params),
            shape=fine_tuning(options),
            key=freeze_key(options),
        )
        model = tuned.model
    if done is None:
        raise AssertionError("there is at least one round")
    return Outcome(done, figures, tuned, done.macs)


def rehearse_rounds(phases: Phases, dense: nn.Module) -> Shrunk:
    """What the rounds would come to, without training between them."""
    options = phases.options
    rounds = options.rounds or DEFAULT_ROUNDS
    model, done = dense, None
    for number in range(1, rounds + 1):
        found = phases.prune(model, _round(options, number, rounds, done), _floors(options, done))
        model, done = found.model, found if done is None else combine(done, found, options.budget.kind)
    if done is None:
        raise AssertionError("there is at least one round")
    return done


def _round(options: PruneOptions, number: int, rounds: int, done: Shrunk | None) -> PruneOptions:
    """What round ``number`` is asked for, when the rounds before have left ``done``."""
    budget = _partial(options.budget, number / rounds, 1.0 if done is None else _remaining(options.budget, done))
    # `_floors` decides; this is what rounds had before, and stays for the keys of their stages.
    return replace(options, budget=budget, min_keep=options.min_keep ** (1 / rounds))


def _floors(options: PruneOptions, done: Shrunk | None) -> Floors:
    """Every round may go down to the floor of the dense network: an even share of the way for each of them would be
    held up by sizes that are multiples.
    """
    dense = {} if done is None else {row.name: row.channels for row in done.groups}
    return lambda name, channels: options.min_keep * dense.get(name, channels)


def _remaining(budget: Budget, done: Shrunk) -> float:
    """Share of what the budget counts that is left."""
    return 1 - done.achieved if budget.kind == "ratio" else done.achieved


def _partial(budget: Budget, progress: float, remaining: float) -> Budget:
    """Budget of one round in terms of the network that it starts from."""
    target = (1 - budget.value if budget.kind == "ratio" else budget.value) ** progress
    # Coarse sizes may have left less already than this round asks for.
    share = min(target / remaining, WHOLE)
    return Budget(budget.kind, 1 - share if budget.kind == "ratio" else share)


def combine(first: Shrunk, second: Shrunk, kind: str) -> Shrunk:
    """Two removals, the second from the network that the first left, as one."""
    layers = {row.name: row for row in second.layers}
    groups = {row.name: row for row in second.groups}

    def both(share: float) -> float:
        return 1 - (1 - first.achieved) * (1 - share) if kind == "ratio" else first.achieved * share

    return replace(
        second,
        cuts=compose(first.cuts, second.cuts),
        achieved=both(second.achieved),
        least=None if second.least is None else both(second.least),
        error=max(first.error, second.error),
        dense_macs=first.dense_macs,
        dense_params=first.dense_params,
        layers=tuple(_layer(row, layers.get(row.name)) for row in first.layers),
        groups=tuple(_group(row, groups.get(row.name)) for row in first.groups),
        notes=tuple(dict.fromkeys([*first.notes, *second.notes])),
    )


def compose(first: Cuts, second: Cuts) -> Cuts:
    """Indices of the original axes that stay after both cuts."""
    cuts: Cuts = {tensor: dict(axes) for tensor, axes in first.items()}
    for tensor, axes in second.items():
        if ":" in tensor:  # not a tensor but a property of a module, which the last cut decides
            cuts[tensor] = dict(axes)
            continue
        for dim, kept in axes.items():
            before = cuts.setdefault(tensor, {}).get(dim)
            cuts[tensor][dim] = kept if before is None else [before[i] for i in kept]
    return cuts


def _layer(before: LayerRow, after: LayerRow | None) -> LayerRow:
    if after is None:
        return before
    return replace(before, kept_in=after.kept_in, kept_out=after.kept_out, kept_macs=after.kept_macs)


def _group(before: GroupRow, after: GroupRow | None) -> GroupRow:
    return before if after is None else replace(before, kept=after.kept)
