"""``proprune dataset``: many networks, and what each costs on the accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proprune_cli.cli.output import Json, emit_json, say


def command(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Directory of the data set.")],
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="Networks on arrays.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything that is drawn.")] = 0,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="SPEC", help="Variants of this network of the zoo; may be given again. All."),
    ] = None,
    board: Annotated[
        list[str] | None, typer.Option("--board", metavar="BOARD", help="For this board; may be given again. All.")
    ] = None,
    array: Annotated[str, typer.Option("--array", metavar="ARRAY", help="For this array; else for all.")] = "",
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Of this machine; 0: one for each core.")
    ] = 0,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="A Dask scheduler, tcp://HOST:PORT, instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a data set of pruned networks with their predicted latency and energy, for predictors to learn from.

    Each row is a variant of a network of the zoo, pruned in one of ten ways, compiled for an array and walked by the
    timing model: figures are predicted, not measured. Killed and run again, it goes on.

    \b
    Examples:
      proprune dataset --out data/networks
      proprune dataset --out data/small --rows 200 --model resnet8 --array z7020-256
      proprune dataset --out data/cluster --rows 100000 --dask tcp://10.0.0.1:8786
    """
    from proprune_cli.cli.progress import counting_to
    from proprune_cli.errors import UsageError
    from proprune_cli.flow.dataset import DatasetOptions, make_dataset
    from proprune_cli.predict.rows import MODEL

    if processes < 0:
        raise UsageError(f"{processes} processes are none", where="--processes", remedy="give 1 or more, or 0")
    options = DatasetOptions(rows, seed, tuple(model or ()), tuple(board or ()), array)
    with counting_to("rows") as on_rows:
        file = make_dataset(options, out, processes=processes, dask=dask, on_rows=on_rows)
    if as_json:
        emit_json("dataset", {"file": str(file), "rows": rows, "source": "predicted", "model": MODEL})
        return
    say(f"{file}: {rows} rows, predicted by {MODEL}")
