"""``proprune prune``: train, prune, fine-tune, export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proprune_cli.cli.arguments import Config
from proprune_cli.cli.declared import with_flags
from proprune_cli.cli.output import Json, emit_json, note, say, table
from proprune_cli.cli.progress import progress
from proprune_cli.prune.options import PruneOptions
from proprune_cli.train.options import TrainOptions

if TYPE_CHECKING:
    from proprune_cli.prune import PruneResult


@with_flags({"": PruneOptions, "train.": TrainOptions})
def command(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run directory; an interrupted run resumes there.")],
    given: dict[str, Any],
    force: Annotated[bool, typer.Option("--force", help="Go on although RUN was started with other options.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Train a network, prune it, fine-tune it and export it to ONNX.

    A killed run resumes from its last epoch: give the same command again. A
    budget that no network can meet is refused before training; where the
    finished network misses it, the run is kept and the exit code is 5.

    \b
    Examples:
      proprune prune --model resnet20 --data fashion-mnist --budget ops=0.5 --out runs/r20
      proprune prune --model resnet20 --data fashion-mnist --method taylor --rounds 3 --out runs/r20t
      proprune prune --model resnet20 --data fashion-mnist --objective latency=0.8ms --out runs/r20o
      proprune prune --model resnet20 --data fashion-mnist --method guided --binary --out runs/r20g
      proprune prune --model lenet5 --data fashion-mnist --method 'serene?mode=lower&lam=1e-4' --out runs/lenet
      proprune prune --model mypackage.nets:make --data images.npz --out runs/mine
      proprune prune --model nets:detector --data boxes:load --loss train:loss --metric train:precision --out runs/det
      proprune prune --config configs/runs/digits.yaml --out runs/digits
    """
    from proprune_cli.config import prune_options
    from proprune_cli.flow.prune import missed, prune
    from proprune_cli.flow.training_costs import cost_lines, in_all, trainings
    from proprune_cli.prune import check

    options = prune_options(config, given)
    check(options)
    with progress() as told:
        result, checked = prune(options, out, told, force=force)
    error = missed(options, out, result, checked)
    rows = trainings(out)
    if as_json:
        predicted = None if checked is None else {**asdict(checked), "met": error is None}
        body = {"run": str(out), "options": options.to_json(), "result": result.to_json(), "predicted": predicted}
        emit_json("prune", body | {"trainings": rows, "cost": in_all(rows)})
    else:
        _show(out, result)
        for line in cost_lines(in_all(rows)) if rows else ():
            say(line)
        if checked is not None:
            say(str(checked))
    if error is not None:
        # Told here: with --json, the one document on stdout is the run's.
        note(str(error))
        raise typer.Exit(int(error.exit_code))


def _show(out: Path, result: PruneResult) -> None:
    networks = [("dense", result.dense), ("pruned", result.pruned), ("fine-tuned", result.finetuned)]
    if result.thin is not None:
        networks.append(("thin, same budget", result.thin))
    rows = [
        (
            name,
            f"{n.macs:,}",
            f"{n.nonzero_macs:,}",
            f"{n.params:,}",
            f"{n.nonzero_params:,}",
            f"{n.validation_accuracy:.2f} %",
            f"{n.test_accuracy:.2f} %",
        )
        for name, n in networks
    ]
    table(("network", "MACs", "non-zero", "weights", "non-zero", "validation", "test"), rows)
    say()
    if result.metric != "accuracy":
        say(f"validation and test: 100 times the mean of {result.metric}")
    if result.verdict is not None:
        say(str(result.verdict))
    say(f"pruned and masked network differ by at most {result.verification_error:.1e}")
    for group in result.groups:
        if not group.prunable:
            say(f"left alone: {group.name}: {group.reason}")
    for text in result.notes:
        say(f"note: {text}")
    say(f"{out}: compile it with `proprune compile {out} -o net.ppr`")
