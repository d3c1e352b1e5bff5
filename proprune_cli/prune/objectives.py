"""What an objective asks of one network: its goals, the models that predict them, and whether they can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of
from proprune_cli.modules.copying import without_zeros
from proprune_cli.prune.codesign.space import Space, operations_sought
from proprune_cli.prune.goals import Sought, read_objective
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.methods.codesign import CodesignOptions
from proprune_cli.prune.objective import CompiledModel, DifferentiableCost
from proprune_cli.prune.phases import Phases, damage_reported, json_bytes, removal_key, stored


def what_is_sought(phases: Phases, model: nn.Module, models: Mapping[str, CompiledModel]) -> tuple[Sought, ...]:
    """What ``--objective`` asks of ``model``; ``models`` predict, by the kind of goal.

    Raises:
        BudgetError: a goal is out of reach, or the dense network keeps to it.
        InputError: no model predicts what a goal counts, or no channel can go.
    """
    options = phases.options
    if options.objective is None:
        return ()
    dense = without_zeros(model)
    found: list[Sought] = []
    for goal in read_objective(options.objective):
        if goal.kind == "ops":
            found.append(operations_sought(goal, dense, phases.example))
            continue
        predicts = models.get(goal.kind)
        if not isinstance(predicts, CompiledModel) or not isinstance(predicts, DifferentiableCost):
            raise InputError(f"no model predicts {goal.kind} here", where=f"--objective {goal.text}", remedy="use ops=")
        phases.out.record(f"{goal.kind} model", {"name": predicts.name, "unit": predicts.unit})
        known = phases.knowing(predicts, dense)
        found.append(Sought(goal, known, 0.0, None, partial(phases.compiled_by, known)))
    key = {**phases.base, **removal_key(options), "models": [s.model.name for s in found]}
    stage = phases.out.stage("objective", key)
    if not stage.done:
        _, own = method_named(options.method)
        channels = analyse(dense, phases.example, options.exclude, f"--model {options.model}", options.streams)
        own = own if isinstance(own, CodesignOptions) else CodesignOptions()
        space = Space(
            dense, channels, found, options.multiple, options.min_keep, positions=own.positions > 0, depth=own.depth > 0
        )
        full = tuple(sought.compiled(dense) for sought in found)
        least = space.compiled([int(size) for size in space.least])
        for sought, figure, smallest in zip(found, full, least, strict=True):
            limit = sought.goal.limit(figure)
            replace(sought, dense=figure, limit=limit).check(smallest, options.multiple, options.min_keep)
        stage.write("objective.json", json_bytes({"dense": full, "least": least}))
        stage.commit()
    document = stored(stage.read("objective.json"), "objective")
    with damage_reported(f"{phases.out.path}/stages/objective"):
        figures = value_of(tuple[float, ...], document["dense"], "dense")
        return tuple(
            replace(s, dense=figure, limit=s.goal.limit(figure)) for s, figure in zip(found, figures, strict=True)
        )
