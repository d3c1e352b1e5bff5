"""Pruning with hardware in the loop: the chosen board's model counts the budget; the compiled result is checked.

While channels are chosen, thousands of networks are weighed by their layer shapes alone. The one network that came of
it is compiled, the timing model walks its program, and the choice is made anew until that figure keeps to the budget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proprune_cli.files.write import write_whole
from proprune_cli.flow.build import CALIBRATION, check_network
from proprune_cli.flow.cost_models import EnergyModel, LatencyModel, cost_model
from proprune_cli.prune import run as run_pruning
from proprune_cli.prune.given import NOTHING, Given
from proprune_cli.prune.goals import read_objective
from proprune_cli.prune.options import PREDICTED, Budget, PruneOptions
from proprune_cli.prune.result import NETWORK_FILES
from proprune_cli.prune.verdict import COMPILED, Verdict, judge
from proprune_cli.rundir import RunDir

if TYPE_CHECKING:
    from proprune_cli.errors import BudgetError
    from proprune_cli.prune import PruneResult
    from proprune_cli.prune.objective import CompiledModel, CostModel
    from proprune_cli.train.progress import Progress

PREDICTION = "predicted.json"


@dataclass(frozen=True)
class BudgetCheck:
    """The compiled network against the budget; every figure is predicted.

    Attributes:
        unit: ms or mJ. limit: the budget. by_shapes: what the choice counted. compiled: the compiled network.
        dense: the dense network, compiled. chosen_by, checked_by: names of the models.
        board, array: what was compiled for.
        least: of the smallest network that the options allow, compiled; None in runs of before it was kept.
        goal: the term of an objective, where it was one that set the limit.
    """

    unit: str
    limit: float
    by_shapes: float
    compiled: float
    dense: float
    chosen_by: str
    checked_by: str
    board: str
    array: str
    least: float | None = None
    goal: str = ""

    def verdict(self, budget: Budget) -> Verdict:
        """Whether the compiled network keeps to ``budget``, which ``limit`` was made from."""
        least = None if self.least is None else self.least / self.dense
        return judge(budget.of(self.dense), self.compiled / self.dense, least, compiled=True)

    def __str__(self) -> str:
        off = self.compiled / self.limit - 1
        what = "objective" if self.goal else "budget"
        verdict = f"within the {what}" if off <= COMPILED else f"{off:.1%} over the {what}"
        return (
            f"compiled for {self.board}: {self.compiled:.3f} {self.unit} predicted by {self.checked_by}, {verdict} of "
            f"{self.limit:.3f} {self.unit}; the choice counted {self.by_shapes:.3f} {self.unit} ({self.chosen_by}); "
            f"dense {self.dense:.3f} {self.unit}"
        )


def prune(
    options: PruneOptions,
    out: Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
    given: Given = NOTHING,
    lender: Path | None = None,
) -> tuple[PruneResult, BudgetCheck | None]:
    """`prune_into` with the models of ``options.board``; for a budget of ms or mJ, the compiled result's check.

    A finished run that misses its budget is returned like any other: see `missed`.

    Args:
        lender: another run directory, whose finished stages with equal inputs are copied and not made again.

    Raises:
        ProPruneError: whatever pruning or compiling raises.
    """
    compilable = check_network if options.engine else None
    if options.objective is not None:
        return _prune_for_objective(
            options, out, progress, force=force, compilable=compilable, given=given, lender=lender
        )
    model = cost_model(options.budget.kind, options.board, options.array)
    result = prune_into(
        options, out, progress, force=force, cost_model=model, compilable=compilable, given=given, lender=lender
    )
    if options.budget.kind not in PREDICTED:
        return result, None
    check = _check(options, out, model, result.least, given)
    met = check.verdict(options.budget).met
    document: dict[str, Any] = {"version": 1, "kind": "budget-check", **asdict(check), "met": met}
    write_whole(out / PREDICTION, (json.dumps(document, indent=1) + "\n").encode())
    return result, check


def missed(options: PruneOptions, out: Path, result: PruneResult, check: BudgetCheck | None) -> BudgetError | None:
    """The error of a finished run that misses its budget; everything that `prune` made stays in ``out``."""
    if check is not None and check.goal:
        return _missed_goal(check, out)
    verdict = result.verdict if check is None else check.verdict(options.budget)
    if verdict is None or verdict.met:
        return None
    return verdict.missed(str(out), options.multiple, options.min_keep)


def _prune_for_objective(
    options: PruneOptions,
    out: Path,
    progress: Progress | None,
    *,
    force: bool,
    compilable: Callable[[bytes], None] | None,
    given: Given,
    lender: Path | None,
) -> tuple[PruneResult, BudgetCheck | None]:
    """`prune` for an objective; the check is that of the goal that is used most, or missed by most."""
    goals = read_objective(options.objective or "")
    models = {g.kind: cost_model(g.counted, options.board, options.array) for g in goals if g.counted in PREDICTED}
    result = prune_into(
        options, out, progress, force=force, compilable=compilable, given=given, models=models, lender=lender
    )
    checks: list[BudgetCheck] = []
    for goal in goals:
        if goal.kind in models and goal.budget is not None:
            check = _check(replace(options, budget=goal.budget), out, models[goal.kind], None, given)
            checks.append(replace(check, goal=goal.text))
    if not checks:
        return result, None
    worst = max(checks, key=lambda c: c.compiled / c.limit)
    met = _missed_goal(worst, out) is None
    rows = [asdict(check) for check in checks]
    document: dict[str, Any] = {"version": 1, "kind": "objective-check", "met": met, "goals": rows}
    write_whole(out / PREDICTION, (json.dumps(document, indent=1) + "\n").encode())
    return result, worst


def _missed_goal(check: BudgetCheck, out: Path) -> BudgetError | None:
    from proprune_cli.errors import BudgetError

    over = check.compiled / check.limit - 1
    if over <= COMPILED:
        return None
    return BudgetError(
        f"the objective {check.goal} is missed: reached {check.compiled:.4g} {check.unit}, {100 * over:.3g} % over",
        where=str(out),
        remedy="the network is kept; for a smaller one ask for less, lower --multiple or --min-keep, or exclude less",
    )


def prune_into(
    options: PruneOptions,
    out: Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
    cost_model: CostModel | None = None,
    compilable: Callable[[bytes], None] | None = None,
    given: Given = NOTHING,
    models: Mapping[str, CompiledModel] | None = None,
    lender: Path | None = None,
) -> PruneResult:
    """Run `proprune_cli.prune.run` in the run directory ``out``, from where an earlier process stopped.

    Args:
        force: go on although the run was started with other options, keeping the stages they do not change.
        compilable, given, models: see `proprune_cli.prune.run`. lender: see `prune`.

    Raises:
        BudgetError: no network that the options allow keeps to the budget.
        InputError: the directory is in use, not a run, of another run, or cannot be written.
        ProPruneError: whatever pruning itself raises.
    """
    with RunDir(out, "prune", options.to_json(), force=force, lender=lender) as run:
        return run_pruning(options, run, progress, cost_model, compilable, given, models)


def module_options(given: dict[str, Any]) -> tuple[PruneOptions, LatencyModel | EnergyModel]:
    """Options for pruning a module without a run, and the model of their board that their budget asks for.

    Raises:
        UsageError: an option is wrong.
    """
    from proprune_cli.config import called_options

    options = called_options({"model": "module", "data": "-", **given})
    return options, cost_model(options.budget.kind, options.board, options.array)


def _check(
    options: PruneOptions, out: Path, model: LatencyModel | EnergyModel, least: float | None, given: Given
) -> BudgetCheck:
    from proprune_cli.prune.saved import shapes_of_run

    compiled = model.predicted(out, None)
    dense = model.figure(model.predicted(out / NETWORK_FILES["dense"], out / CALIBRATION))
    return BudgetCheck(
        unit=model.unit,
        limit=options.budget.value if options.budget.absolute else options.budget.value * dense,
        by_shapes=model.cost(shapes_of_run(out, given=given.model)),
        compiled=model.figure(compiled),
        dense=dense,
        chosen_by=model.name,
        checked_by=compiled.model,
        board=options.board,
        array=model.array.name,
        least=None if least is None else least * dense,
    )
