"""``proprune explore``: the front of accuracy against predicted latency and energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proprune_cli.cli.arguments import Config
from proprune_cli.cli.completion import offer
from proprune_cli.cli.declared import with_flags
from proprune_cli.cli.output import Json, emit_json, note, say, table
from proprune_cli.prune.options import PruneOptions
from proprune_cli.train.options import TrainOptions

if TYPE_CHECKING:
    from proprune_cli.flow.explored import Explored, Front

_AXES = ("budget", "method", "board", "array", "engine")
"""Options of `prune` that are axes here, and one that makes no sense where everything is compiled."""


@with_flags({"": PruneOptions, "train.": TrainOptions}, without=_AXES)
def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory; what is there is not made again.")],
    given: dict[str, Any],
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="KIND=AMOUNT",
            help="As of prune; may be repeated.  [default: ops=75%, 50%, 25% and 12%]",
            show_default=False,
            autocompletion=offer("budgets"),
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME[?KEY=VALUE&…]",
            help="As of prune; may be repeated.  [default: l1]",
            show_default=False,
            autocompletion=offer("methods"),
        ),
    ] = None,
    board: Annotated[
        list[str] | None,
        typer.Option(
            "--board",
            metavar="NAME",
            help="To predict for; may be repeated.  [default: pynq-z2]",
            show_default=False,
            autocompletion=offer("boards"),
        ),
    ] = None,
    array: Annotated[
        list[str] | None,
        typer.Option(
            "--array",
            metavar="NAME",
            help="On those boards; may be repeated.  [default: each board's own]",
            show_default=False,
            autocompletion=offer("arrays"),
        ),
    ] = None,
    more: Annotated[
        bool, typer.Option("--continue", help="Finish DIR, then add points where its front is thin.")
    ] = False,
    add: Annotated[int, typer.Option("--add", metavar="N", help="Points that --continue adds, at most.")] = 3,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Of this machine; 0: as many as --threads leaves room for.")
    ] = 0,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="A Dask scheduler, tcp://HOST:PORT, instead.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write a picture: .svg, .png or .pdf.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Train once, prune in many ways, and show accuracy against predicted latency and energy.

    Every budget with every method is a run of `proprune prune` that borrows the dense training. Networks are compiled
    for every board and array, and their figures are predicted. Networks that another dominates in accuracy and cost
    are marked, thin networks are a curve of their own. DIR/front.html shows all of it in a browser. A killed command
    goes on when it is given again; budgets, methods and boards may be added to what is there.

    \b
    Examples:
      proprune explore --model resnet8 --data digits --out front
      proprune explore --model resnet20 --data fashion-mnist --budget ms=50% --budget ms=25% --method l1 --method taylor --out front
      proprune explore --continue --add 4 --out front --plot front.svg
      proprune explore --model resnet8 --data digits --board pynq-z2 --board zcu104 --out front --json
    """  # noqa: E501
    from proprune_cli.cli.progress import counting_to, progress
    from proprune_cli.config import prune_options
    from proprune_cli.errors import UsageError
    from proprune_cli.flow.explore import PAGE, Axes, exploring
    from proprune_cli.flow.explore_plot import check_picture, save_picture

    for option, count, least in (("--processes", processes, 0), ("--add", add, 1)):
        if count < least:
            raise UsageError(f"{count} is too few", where=option, remedy=f"give {least} or more")
    if plot is not None:
        check_picture(plot)
    known = {"budgets": budget, "methods": method, "boards": board, "arrays": array}
    named = {name: tuple(values) for name, values in known.items() if values}
    again = more and not given and config is None
    if again and named:
        raise UsageError(
            "--continue goes on with the budgets, methods and boards of DIR",
            where=", ".join(f"--{name.removesuffix('s')}" for name in named),
            remedy="leave it out, or give the whole command without --continue first",
        )
    base = None if again else prune_options(config, given)
    with exploring(base, None if again else Axes(**named), out) as work:
        with progress() as told:
            work.dense(told)
        with counting_to("points") as on_points:
            work.make(processes=processes, dask=dask, on_points=on_points)
        if more:
            new = work.more(add)
            note("added: " + (", ".join(point.name for point in new) or "nothing, the front has no gap to fill"))
            with counting_to("points") as on_points:
                work.make(processes=processes, dask=dask, on_points=on_points)
        explored = work.finish()
    if plot is not None:
        save_picture(explored, plot)
    if as_json:
        emit_json("explore", explored.document)
        return
    _show(explored)
    say(f"{out / PAGE}: the same to look at in a browser" + (f"; {plot}: the picture" if plot is not None else ""))


def _show(explored: Explored) -> None:
    from proprune_cli.flow.training_costs import cost_lines

    document = explored.document
    for target in dict.fromkeys(f.target for f in explored.fronts):
        fronts = [f for f in explored.fronts if f.target == target]
        table(
            ("network", "accuracy", "int8", "weights", "ms/image", "mJ/image", "CPU s", "front"),
            [_row(network, fronts) for network in _by_latency(document["networks"], fronts[0])],
            title=f"on {target.board}, array {target.array}: predicted figures",
        )
        beaten = {m.name for f in fronts for m in f.beaten}
        if beaten:
            say(f"thin networks dominate {', '.join(sorted(beaten))}")
        say()
    for failed in document["failed"]:
        say(f"failed: {failed['name']}: {failed['what']}")
    if document["metric"] != "accuracy":
        say(f"accuracy is 100 times the mean of {document['metric']} on the test images")
    for model in document["models"]:
        say(f"predicted by {model}")
    for line in cost_lines(document["cost"]):
        say(line)


def _by_latency(networks: list[dict[str, Any]], front: Front) -> list[dict[str, Any]]:
    order = {m.name: m.cost for m in (*front.line, *front.dominated, *front.thin)}
    return sorted((n for n in networks if n["name"] in order), key=lambda n: (order[n["name"]], n["name"]))


def _row(network: dict[str, Any], fronts: list[Front]) -> tuple[object, ...]:
    name, int8 = network["name"], network["int8"]
    costs = {f.cost: m.cost for f in fronts for m in (*f.line, *f.dominated, *f.thin) if m.name == name}
    seconds = sum(t["cpu_seconds"] for t in network["trainings"] if network["kind"] == "dense" or t["stage"] != "dense")
    return (
        name,
        f"{network['accuracy']:.2f} %",
        None if int8 is None else f"{int8['accuracy']:.2f} %",
        f"{network['params']:,}",
        f"{costs['latency_ms']:.3f}",
        f"{costs['energy_mj']:.3f}" if "energy_mj" in costs else None,
        f"{seconds:.1f}",
        _place(name, network, fronts),
    )


def _place(name: str, network: dict[str, Any], fronts: list[Front]) -> str:
    """On which fronts a network is."""
    words = {"latency_ms": "latency", "energy_mj": "energy"}
    found = [
        words[f.cost] + (" (knee)" if f.knee is not None and f.knee.name == name else "")
        for f in fronts
        if any(m.name == name for m in f.line)
    ]
    if network["missed"]:
        found.append("over its budget")
    return ", ".join(found) or ("thin" if network["kind"] == "thin" else "dominated")
