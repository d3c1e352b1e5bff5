"""``proprune bench``: latency, throughput, utilisation and energy, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proprune_cli.cli.output import Json, emit_json, say, table
from proprune_cli.cli.plan import percent

if TYPE_CHECKING:
    from proprune_cli.measure.records import BenchRecord


def command(
    artifacts: Annotated[list[Path], typer.Argument(metavar="ARTIFACT...", help="One or more .ppr files.")],
    board: Annotated[
        str, typer.Option("--board", metavar="BOARD", help="emulated:NAME (predicted), or cpu (measured here).")
    ] = "emulated:pynq-z2",
    layers: Annotated[bool, typer.Option("--layers", help="Every layer, and what bounds it.")] = False,
    as_json: Json = False,
) -> None:
    """Latency, throughput, cycles, MAC utilisation and energy of compiled networks, side by side.

    Figures for an emulated board are predicted by named models; those for the cpu are measured.

    \b
    Examples:
      proprune bench dense.ppr pruned.ppr --board emulated:pynq-z2
      proprune bench net.ppr --board cpu --json
    """
    from proprune_cli.flow.benchmark import bench

    records = [bench(path, board) for path in artifacts]
    if as_json:
        emit_json("bench", {"board": board, "rows": [record.to_json() for record in records]})
        return
    comparison(records)
    if layers:
        for record in records:
            say()
            layer_table(record)
    footnotes(records)


def comparison(records: list[BenchRecord]) -> None:
    """One line for each artifact; with several, how they compare with the first."""
    first = records[0]
    batches = any(r.batch > 1 for r in records)
    rows = [
        (
            r.artifact,
            *((r.batch, None if r.start_ms is None else f"{r.start_ms:.3f}") if batches else ()),
            f"{r.latency_ms:.3f}",
            f"{r.throughput_per_s:.1f}",
            None if r.cycles is None else f"{r.cycles:,}",
            f"{r.macs:,}",
            percent(r.mac_utilisation),
            None if r.energy_mj is None else f"{r.energy_mj:.2f}",
            f"{first.latency_ms / r.latency_ms:.2f}×",
            f"{first.macs / r.macs:.2f}×" if r.macs else None,
            r.source,
        )
        for r in records
    ]
    table(
        (
            "artifact",
            *(("batch", "ms/start") if batches else ()),
            "ms/image",
            "images/s",
            "cycles",
            "MACs",
            "utilisation",
            "mJ/image",
            "speed",
            "fewer MACs",
            "source",
        ),
        rows,
        title=f"on {first.board}" + (f", array {first.array}" if first.array else ""),
    )


def layer_table(record: BenchRecord) -> None:
    """What each layer costs, and what bounds it."""
    rows = [
        (
            layer.name,
            f"{layer.cycles:,}",
            f"{layer.latency_ms:.3f}",
            f"{layer.macs:,}",
            percent(layer.mac_utilisation),
            f"{layer.ddr_bytes:,}",
            layer.bound,
        )
        for layer in record.layers
    ]
    table(("layer", "cycles", "ms", "MACs", "utilisation", "DDR bytes", "bound"), rows, title=record.artifact)


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
