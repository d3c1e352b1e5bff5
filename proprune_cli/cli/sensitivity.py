"""``proprune sensitivity``: what each group of channels is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from proprune_cli.channels.residual import Residual
from proprune_cli.cli.completion import offer, offer_choices
from proprune_cli.cli.output import Json, emit_json, say, table
from proprune_cli.cli.progress import progress

if TYPE_CHECKING:
    from proprune_cli.prune.sensitivity import Sensitivity

POINTS = 1.0
"""Percentage points that a group may cost in the column of the tolerated share."""


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run directory of `proprune prune`.")],
    network: Annotated[
        str, typer.Option("--network", metavar="NAME", help="dense, pruned or thin.", autocompletion=offer("networks"))
    ] = "dense",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="An importance, such as l1 or taylor; see docs/methods.md.",
            autocompletion=offer("methods"),
        ),
    ] = "l1",
    residual: Annotated[
        str | None,
        typer.Option(
            "--residual",
            metavar="HOW",
            help="Judge layers that meet in an addition as one (coupled) or each alone (free).  [default: as RUN]",
            autocompletion=offer_choices(get_args(Residual)),
        ),
    ] = None,
    shares: Annotated[
        str, typer.Option("--shares", metavar="LIST", help="Shares of each group to remove, between 0 and 1.")
    ] = "0.125,0.25,0.375,0.5,0.625,0.75,0.875",
    images: Annotated[int, typer.Option("--images", metavar="N", help="Validation images to measure with.")] = 500,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the data set's files are now.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write the picture there: .svg, .png or .pdf.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import the code that the run names: its model, data, loss and metric.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How much accuracy each group of channels costs when a part of it goes, alone and without training.

    Groups that tolerate much can be pruned hard; those that do not are worth an `exclude` in a run file.

    \b
    Examples:
      proprune sensitivity runs/r20
      proprune sensitivity runs/r20 --method taylor --plot sensitivity.svg
      proprune sensitivity runs/r20 --residual free
    """
    from proprune_cli.errors import UsageError
    from proprune_cli.flow.sensitivity import scan_run

    try:
        wanted = [float(part) for part in shares.split(",")]
    except ValueError:
        raise UsageError(
            f"{shares!r} is no list of numbers", where="--shares", remedy="for example 0.25,0.5,0.75"
        ) from None
    if images < 1:
        raise UsageError(f"{images} images measure nothing", where="--images", remedy="give 1 or more")
    if plot is not None:
        from proprune_cli.prune.sensitivity_plot import check_plot

        check_plot(plot)
    with progress() as told:
        scan = scan_run(
            run,
            network=network,
            method=method,
            residual=residual,
            shares=wanted,
            images=images,
            data_dir=data_dir,
            trust=trust,
            progress=told,
        )
    if plot is not None:
        from proprune_cli.prune.sensitivity_plot import save_plot

        save_plot(scan, plot)
    if as_json:
        emit_json("sensitivity", {"run": str(run), "network": network, "scan": scan.to_json()})
    else:
        _show(scan)


def _show(scan: Sensitivity) -> None:
    scanned = [c for c in scan.groups if c.points]
    shares = [p.share for p in scanned[0].points] if scanned else []
    rows = [
        (
            c.name,
            c.channels,
            *(f"{p.accuracy - scan.accuracy:+.1f}" for p in c.points),
            f"{c.tolerates(scan.accuracy, POINTS):.1%}",
        )
        for c in scanned
    ]
    table(("group", "channels", *(f"{share:.1%}" for share in shares), f"within {POINTS:g}"), rows)
    say()
    say(
        f"{scan.metric} gained or lost, percentage points of {scan.accuracy:.2f} % on {scan.images} validation images, "
        f"with that share of one group removed by {scan.method}; last column: the share that costs at most {POINTS:g}"
    )
    for curve in scan.groups:
        if curve.reason:
            say(f"left alone: {curve.name}: {curve.reason}")
