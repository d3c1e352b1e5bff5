"""The compiler's plan as a table; every cycle in it is predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from proprune_cli.cli.output import say, table

if TYPE_CHECKING:
    from proprune_cli.artifact import Artifact
    from proprune_cli.work.plan import HostStepPlan, LayerPlan, Plan

COLUMNS = (
    *(
        "layer",
        "module",
        "kind",
        "in",
        "out",
        "kernel",
        "memory",
        "tile",
        "steps",
        "early",
        "taps",
        "MACs",
        "issued",
        "cycles",
    ),
    *("utilisation", "bound"),
)


def plan_table(artifact: Artifact) -> None:
    """Print what the compiler decided for each layer, and the predicted totals."""
    modules = any(layer.module for layer in artifact.plan.layers)
    table(
        COLUMNS if modules else (COLUMNS[0], *COLUMNS[2:]),
        [row if modules else (row[0], *row[2:]) for row in _rows(artifact.plan)],
    )
    totals = artifact.plan.totals
    share = totals.mac_utilisation
    used = "utilisation not recorded" if share is None else f"{percent(share)} of the array's MACs useful"
    counts = [f"{totals.macs:,} MACs"] + [
        f"{count:,} {name}"
        for name, count in (("non-zero", totals.nonzero_macs), ("issued by the array", totals.issued_macs))
        if count is not None
    ]
    speed = f"{totals.latency_ms:.3f} ms, {totals.cycles:,} cycles at {totals.clock_mhz:g} MHz"
    say()
    say(f"predicted for {artifact.board} by {totals.model}:")
    if (batch := artifact.program.batch) > 1:
        say(f"{batch} images per start, {totals.latency_ms / batch:.3f} ms each; a layer named @0–{batch - 1}")
        say("runs once for each of them, and its row is of one; all other layers run for all images together")
    say(f"{speed}, {', '.join(counts)}, {used}, {totals.ddr_bytes / 1e6:.2f} MB of DDR traffic")
    say(
        "each tile is the fastest of those that fit, by that model; early: steps that start before the layer before is "
        "complete; memory: where input and output lie"
    )
    if streams := artifact.plan.streams:
        before, after = sum(s.groups_in_given_order for s in streams), sum(s.groups for s in streams)
        say(f"channels of {len(streams)} streams reordered: their writers compute {after} channel groups, not {before}")
    if steps := artifact.program.host_steps:
        operators = ", ".join(dict.fromkeys(operator for step in steps for operator in step.operators))
        say(f"{len(steps)} steps between them on the host: {operators} (by ONNX Runtime; their time is not included)")
    if artifact.host:
        say(f"then on the host: {', '.join(artifact.host.operators)} (by ONNX Runtime; its time is not included)")


def _rows(plan: Plan) -> Iterator[tuple[object, ...]]:
    """The layers, and the host's steps where they run."""
    waiting = list(plan.host_steps)
    twins = Counter(layer.twin for layer in plan.layers)
    for number in range(len(plan.layers) + 1):
        while waiting and waiting[0].after <= number:
            yield _host_row(waiting.pop(0))
        if number < len(plan.layers) and plan.layers[number].twin is None:
            row = _row(plan.layers[number])
            yield f"{row[0]}–{twins[number]}" if twins[number] else row[0], *row[1:]


def _host_row(step: HostStepPlan) -> tuple[object, ...]:
    shown = (step.name, None, f"host: {', '.join(step.operators)}", " + ".join(map(_by, step.inputs)), _by(step.output))
    return *shown, *[None] * (len(COLUMNS) - len(shown) - 1), "host"


def _row(layer: LayerPlan) -> tuple[object, ...]:
    work = layer.work
    return (
        work.name,
        layer.module or None,
        layer.unit + "".join(f" + {part}" for part in _output_stage(layer)),
        _by((work.in_channels, *work.in_size)),
        _by((work.out_channels, *work.out_size)),
        _by(work.kernel) + (f" /{_by(work.stride)}" if max(work.stride) > 1 else ""),
        f"{_place(layer.input_groups_on_chip, layer.input_groups)} → {_place(int(layer.output_on_chip), 1)}",
        _by(layer.tile),
        layer.steps,
        layer.early_steps,
        f"{layer.taps:,}",
        f"{work.macs:,}",
        None if layer.issued_macs is None else f"{layer.issued_macs:,}",
        f"{layer.cycles:,}",
        percent(layer.mac_utilisation),
        layer.bound,
    )


def _by(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def quantisation(artifact: Artifact) -> str:
    """How well the int8 network follows the float network, on the calibration images."""
    from proprune_cli.artifact.report import quantised

    found = quantised(artifact.report, artifact.name)
    quality = found.output_db
    error = "no error" if quality is None else f"signal {quality:.1f} dB above the error"
    return (
        f"{error} at the output, {found.images} images, {found.limited} of {found.channels} channels with a widened "
        "scale"
    )


def lost_signal(artifact: Artifact) -> str:
    """What to warn of where an output of the int8 network is hardly above its error; else empty."""
    from proprune_cli.artifact.report import quantised
    from proprune_cli.compile.quantise.signal import WEAK_DB

    report = quantised(artifact.report, artifact.name)
    weak = {n: quality for n, quality in report.outputs_db.items() if quality is not None and quality < WEAK_DB}
    if not weak:
        return ""
    found = ", ".join(f"{name!r} is {quality:.1f} dB above its error" for name, quality in weak.items())
    where = f"; the signal is lost at layer {report.lost_at!r}" if report.lost_at else ""
    return f"on the calibration images the output {found}{where}: check weights and images for extreme values"


def _place(on_chip: int, planes: int) -> str:
    return "DDR" if not on_chip else "chip" if on_chip == planes else "both"


def _output_stage(layer: LayerPlan) -> list[str]:
    """What the output stage does besides requantising, in its order."""
    table = ["table"] if layer.lookup else []
    combine = [layer.combine] if layer.combine else []
    return table + combine if layer.lookup == "before" else combine + table


def percent(share: float | None) -> str | None:
    """0.957 → ``95.7 %``."""
    return None if share is None else f"{share * 100:.1f} %"
