"""``proprune bench``: latency, throughput, utilisation and energy, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proprune_cli.cli.completion import offer
from proprune_cli.cli.output import Json, emit_json, say, table
from proprune_cli.cli.plan import percent
from proprune_cli.cli.progress import stages

if TYPE_CHECKING:
    from proprune_cli.measure.records import BenchRecord


def command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT|RUN...", help="One or more .ppr files or finished run directories."),
    ],
    board: Annotated[
        list[str] | None,
        typer.Option(
            "--board",
            metavar="BOARD",
            help="emulated:NAME (predicted), rtl:NAME (simulated), or cpu (measured here); repeat it to compare.  "
            "[default: emulated:pynq-z2]",
            show_default=False,
            autocompletion=offer("places"),
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="NAME",
            help="Of a run: dense, pruned or thin; may be repeated.  [default: all that the run has]",
            show_default=False,
            autocompletion=offer("networks"),
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Every layer with its PyTorch module, and what bounds it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Latency, throughput, cycles, MAC utilisation and energy of compiled networks, side by side.

    Figures for an emulated board are predicted by named models; those of rtl:NAME are counted in a simulation of the
    engine's RTL, at some 100,000 cycles a second; those for the cpu are measured. With several boards, every artifact
    is shown on each that carries its array. Networks of a run are compiled for each board, as `proprune compile RUN`
    does without other options, and nothing is written. docs/timing-model.md says what every figure means.

    \b
    Examples:
      proprune bench runs/digits --board emulated:zcu104
      proprune bench dense.ppr pruned.ppr --board emulated:pynq-z2
      proprune bench net.ppr --board emulated:pynq-z2 --board rtl:pynq-z2
      proprune bench z7020.ppr zu.ppr --board emulated:pynq-z2 --board emulated:zcu104
      proprune bench net.ppr --board cpu --json
    """
    from proprune_cli.flow.benchmark import bench_all

    boards = list(dict.fromkeys(board or ["emulated:pynq-z2"]))
    with stages() as on_stage:
        records = bench_all(sources, boards, list(dict.fromkeys(network or ())), on_stage)
    if as_json:
        rows = [record.to_json() for record in records]
        emit_json("bench", {"board": boards[0] if len(boards) == 1 else None, "boards": boards, "rows": rows})
        return
    comparison(records)
    if layers:
        for record in records:
            say()
            layer_table(record)
    footnotes(records)


def comparison(records: list[BenchRecord]) -> None:
    """One line for each artifact and board; with several, how they compare with the first."""
    first = records[0]
    batches = any(r.batch > 1 for r in records)
    boards, arrays = ({getattr(r, name) for r in records} for name in ("board", "array"))
    hosted = any(r.host_ms is not None for r in records)
    rows = [
        (
            r.artifact,
            *((r.board,) if len(boards) > 1 else ()),
            *((r.array,) if len(arrays) > 1 else ()),
            *((r.batch, None if r.start_ms is None else f"{r.start_ms:.3f}") if batches else ()),
            f"{r.latency_ms:.3f}",
            f"{r.throughput_per_s:.1f}",
            None if r.cycles is None else f"{r.cycles:,}",
            f"{r.macs:,}",
            _count(r.nonzero_macs),
            _count(r.issued_macs),
            percent(r.mac_utilisation),
            None if r.energy_mj is None else f"{r.energy_mj:.2f}",
            *((None if r.host_ms is None else f"{r.host_ms:.3f}",) if hosted else ()),
            f"{first.latency_ms / r.latency_ms:.2f}×",
            _times(first.nonzero_macs, r.nonzero_macs),
            r.source,
        )
        for r in records
    ]
    table(
        (
            "artifact",
            *(("board",) if len(boards) > 1 else ()),
            *(("array",) if len(arrays) > 1 else ()),
            *(("batch", "ms/start") if batches else ()),
            "ms/image",
            "images/s",
            "cycles",
            "MACs",
            "non-zero",
            "issued",
            "utilisation",
            "mJ/image",
            *(("host ms",) if hosted else ()),
            "speed",
            "fewer non-zero",
            "source",
        ),
        rows,
        title=", ".join(
            [
                *([f"on {first.board}"] if len(boards) == 1 else []),
                *([f"array {first.array}"] if len(arrays) == 1 and first.array else []),
            ]
        ),
    )


def _count(macs: int | None) -> str | None:
    return None if macs is None else f"{macs:,}"


def _times(first: int | None, other: int | None) -> str | None:
    """How many times fewer ``other`` is; None where one is not known or there is nothing to compare."""
    return f"{first / other:.2f}×" if first and other else None


def layer_table(record: BenchRecord) -> None:
    """What each layer costs, and what bounds it."""
    modules = any(layer.module for layer in record.layers)
    rows = [
        (
            layer.name,
            *((layer.module or None,) if modules else ()),
            f"{layer.cycles:,}",
            f"{layer.latency_ms:.3f}",
            f"{layer.macs:,}",
            _count(layer.nonzero_macs),
            _count(layer.issued_macs),
            percent(layer.mac_utilisation),
            f"{layer.ddr_bytes:,}",
            layer.bound,
        )
        for layer in record.layers
    ]
    columns = ("layer", *(("module",) if modules else ()))
    head = (*columns, "cycles", "ms", "MACs", "non-zero", "issued", "utilisation", "DDR bytes", "bound")
    table(head, rows, title=f"{record.artifact} on {record.board}")


def footnotes(records: list[BenchRecord]) -> None:
    """By which models, with which coefficients from where."""
    say()
    for model in dict.fromkeys((r.source, r.model) for r in records):
        say(f"{model[0]} by {model[1]}")
    for record in records:
        if record.latency_low_ms is not None and record.latency_high_ms is not None:
            say(
                f"  {record.artifact}: median of {record.repetitions} runs, 10th to 90th percentile "
                f"{record.latency_low_ms:.3f} to {record.latency_high_ms:.3f} ms"
            )
        if record.energy_low_mj is not None and record.energy_high_mj is not None:
            say(
                f"  {record.artifact}: energy between {record.energy_low_mj:.2f} and {record.energy_high_mj:.2f} mJ, "
                "with every coefficient at its lower or upper bound"
            )
    for c in dict.fromkeys(c for r in records for c in r.coefficients):
        say(f"  {c.name} = {c.value:g} {c.unit}: {c.source}")
    for text in dict.fromkeys(text for r in records for text in r.notes):
        say(f"  note: {text}")
