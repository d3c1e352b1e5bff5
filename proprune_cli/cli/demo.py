"""``proprune demo``: the whole toolchain in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proprune_cli.cli.completion import offer_choices
from proprune_cli.cli.output import Json, emit_json, note, say, table
from proprune_cli.cli.plan import percent
from proprune_cli.cli.progress import progress

if TYPE_CHECKING:
    from proprune_cli.flow.demo import DemoReport, DemoRow


def command(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="NAME",
            help="digits (bundled), or fashion-mnist (longer).",
            autocompletion=offer_choices(("digits", "fashion-mnist")),
        ),
    ] = "digits",
    objective: Annotated[
        bool,
        typer.Option(
            "--objective",
            help="Learn the network's shape for 40 % of the dense one's predicted latency, in one training, and "
            "do not prune half of its operations.",
        ),
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the data set's files are.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to leave the run and the artifacts.")] = Path(
        "demo-run"
    ),
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Test images for the emulated board.")
    ] = 500,
    as_json: Json = False,
) -> None:
    """Train a CNN, prune it, compile both, run them on the emulated board, compare.

    An interrupted demonstration resumes.

    \b
    Examples:
      proprune demo
      proprune demo --objective
      proprune demo --data fashion-mnist
    """
    from proprune_cli.flow.demo import demo

    directory = out / (f"{data}-objective" if objective else data)
    with progress() as told:
        report = demo(data, directory, told, objective=objective, data_dir=data_dir, images=images, on_stage=told.note)
    if as_json:
        emit_json("demo", report.to_json())
    else:
        _show(report)
    note(f"everything is in {directory}")


def _show(report: DemoReport) -> None:
    columns = ["dense", "pruned", "thin"][: len(report.rows)]
    table(
        ("", *columns),
        [
            ("accuracy, float", *(f"{r.float_accuracy:.2f} %" for r in report.rows)),
            ("accuracy, int8 on the emulated board", *(f"{r.int8_accuracy:.2f} %" for r in report.rows)),
            ("MACs per image", *(f"{r.bench.macs:,}" for r in report.rows)),
            ("non-zero MACs per image", *(_count(r.bench.nonzero_macs) for r in report.rows)),
            ("MACs issued by the array", *(_count(r.bench.issued_macs) for r in report.rows)),
            ("weights", *(f"{r.weights:,}" for r in report.rows)),
            ("predicted latency", *(f"{r.bench.latency_ms:.3f} ms" for r in report.rows)),
            ("predicted energy", *(_energy(r) for r in report.rows)),
            ("predicted MAC utilisation", *(percent(r.bench.mac_utilisation) for r in report.rows)),
            ("speed against dense", *(f"{_dense(report) / r.bench.latency_ms:.2f}×" for r in report.rows)),
        ],
        title=f"{report.model} on {report.data}, {report.rows[0].bench.board}, array {report.rows[0].bench.array}",
    )
    say()
    say(f"prune efficiency (speed-up ÷ reduction of non-zero MACs): {report.efficiency:.2f}")
    say("int8 output bytes that differ from ONNX Runtime:")
    for agreement in report.agreements:
        compared = f"{agreement.bytes_different} of {agreement.bytes_compared:,}"
        say(f"  {compared} ({agreement.executor}, {agreement.images} images)")
    first = report.rows[0]
    say(f"int8 accuracy is over {first.tested} test images; latency and energy are predicted, not measured:")
    say(f"  {first.bench.model}")
    say(f"artifacts: {', '.join(report.artifacts)}")


def _dense(report: DemoReport) -> float:
    return report.rows[0].bench.latency_ms


def _count(macs: int | None) -> str:
    return "-" if macs is None else f"{macs:,}"


def _energy(row: DemoRow) -> str:
    return "-" if row.bench.energy_mj is None else f"{row.bench.energy_mj:.2f} mJ"
