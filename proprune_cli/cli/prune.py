"""``proprune prune``: train, prune, fine-tune, export."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proprune_cli.cli.arguments import Config
from proprune_cli.cli.output import Json, emit_json, say, table

if TYPE_CHECKING:
    from proprune_cli.prune import PruneResult


def command(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run directory; an interrupted run resumes there.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Zoo name, package.module:factory, or net.onnx.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|PATH",
            help="digits, fashion-mnist, …, an .npz, a folder, or package.module:factory; see docs/your-own.md.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the data set's files are.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Trained weights to start from (safetensors).")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME[?KEY=VALUE&…]",
            help="l1, l2, bn, taylor, random, swd, lobster, serene, decay, guided, binary, knapsack; "
            "see docs/methods.md.  [default: l1]",
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="NAME", help="one-shot, iterative or training.  [default: the method's]"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", help="Rounds of the iterative schedule.  [default: 3]")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="NAME",
            help="Methods that act during training begin from dense (trained) or fresh weights."
            "  [default: the method's]",
        ),
    ] = None,
    binary: Annotated[
        bool | None, typer.Option("--binary/--no-binary", help="With guided: weights of ±1.  [default: no-binary]")
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            "--freeze",
            metavar="NAME[?KEY=VALUE&…]",
            help="neq: skip the gradients of neurons at equilibrium.  [default: none]",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="KIND=AMOUNT",
            help="ops=50% or params=50% that remain, ratio=50% of the channels removed; predicted for --board: "
            "ms=3.5 or ms=40%, mj=6 or mj=40%.  [default: ops=50%]",
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", metavar="NAME", help="Board that ms and mj budgets count for.  [default: pynq-z2]"),
    ] = None,
    array: Annotated[
        str | None, typer.Option("--array", metavar="NAME", help="Array on that board.  [default: the board's own]")
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="NAME", help="layer, or global.  [default: layer]")
    ] = None,
    residual: Annotated[
        str | None,
        typer.Option(
            "--residual",
            metavar="NAME",
            help="coupled: channels that meet in an addition go together; free: every branch drops its own."
            "  [default: coupled]",
        ),
    ] = None,
    multiple: Annotated[
        int | None, typer.Option("--multiple", metavar="N", help="Keep multiples of N channels.  [default: 8]")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="MODULE", help="Leave this module's output channels alone; may be repeated."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Epochs of dense training.  [default: 10]")
    ] = None,
    finetune_epochs: Annotated[
        int | None, typer.Option("--finetune-epochs", metavar="N", help="Of fine-tuning.  [default: as --epochs]")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Batch size.  [default: 128]")] = None,
    lr: Annotated[float | None, typer.Option("--lr", metavar="RATE", help="Peak learning rate.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss", metavar="LOSS", help="package.module:name of outputs and targets.  [default: cross-entropy]"
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="METRIC", help="As --loss; larger is better.  [default: accuracy]"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Train on cpu, cuda or cuda:1.  [default: cpu]")
    ] = None,
    thin: Annotated[
        bool | None, typer.Option("--thin/--no-thin", help="Train a thin baseline too.  [default: thin]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.  [default: 0]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although RUN was started with other options.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Train a network, prune it, fine-tune it and export it to ONNX.

    A killed run resumes from its last epoch: give the same command again.

    \b
    Examples:
      proprune prune --model resnet20 --data fashion-mnist --budget ops=0.5 --out runs/r20
      proprune prune --model resnet20 --data fashion-mnist --method taylor --rounds 3 --out runs/r20t
      proprune prune --model resnet20 --data fashion-mnist --method guided --binary --out runs/r20g
      proprune prune --model lenet5 --data fashion-mnist --method 'serene?mode=lower&lam=1e-4' --out runs/lenet
      proprune prune --model mypackage.nets:make --data images.npz --out runs/mine
      proprune prune --model nets:detector --data boxes:load --loss train:loss --metric train:precision --out runs/det
      proprune prune --config configs/runs/digits.yaml --out runs/digits
    """
    from proprune_cli.config import prune_options
    from proprune_cli.flow.prune import prune
    from proprune_cli.prune import check
    from proprune_cli.train.progress import SilentProgress, TerminalProgress

    given: dict[str, Any] = {
        "model": model,
        "data": data,
        "data_dir": data_dir,
        "weights": weights,
        "method": method,
        "schedule": schedule,
        "rounds": rounds,
        "start": start,
        "binary": binary,
        "freeze": freeze,
        "budget": budget,
        "board": board,
        "array": array,
        "scope": scope,
        "residual": residual,
        "multiple": multiple,
        "exclude": tuple(exclude) if exclude else None,
        "epochs": epochs,
        "finetune_epochs": finetune_epochs,
        "thin": thin,
        "seed": seed,
        "train.batch": batch,
        "train.lr": lr,
        "train.loss": loss,
        "train.metric": metric,
        "train.device": device,
    }
    options = prune_options(config, given)
    check(options)
    with TerminalProgress() if sys.stderr.isatty() else nullcontext(SilentProgress()) as progress:
        result, checked = prune(options, out, progress, force=force)
    if as_json:
        predicted = None if checked is None else {**asdict(checked), "met": checked.met}
        body = {"run": str(out), "options": options.to_json(), "result": result.to_json(), "predicted": predicted}
        emit_json("prune", body)
    else:
        _show(out, result)
        if checked is not None:
            say(str(checked))


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
    table(("network", "MACs", "not zero", "weights", "not zero", "validation", "test"), rows)
    say()
    if result.metric != "accuracy":
        say(f"validation and test: 100 times the mean of {result.metric}")
    say(f"budget {result.budget}, reached {result.achieved:.3f}; pruned and masked network differ by at most "
        f"{result.verification_error:.1e}")  # fmt: skip
    for group in result.groups:
        if not group.prunable:
            say(f"left alone: {group.name}: {group.reason}")
    for text in result.notes:
        say(f"note: {text}")
    say(f"{out}: compile it with `proprune compile {out} -o net.ppr`")
