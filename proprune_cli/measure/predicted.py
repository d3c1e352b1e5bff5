"""What a board would take for an artifact, by the timing and energy models; nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.energy import EnergyPrediction, Work, predict_energy
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import Program
from proprune_cli.accel.timing import LayerTiming, Timing, estimate
from proprune_cli.artifact import Artifact
from proprune_cli.errors import InputError
from proprune_cli.measure.host_model import HostTime, segment_time, step_time
from proprune_cli.measure.records import BenchRecord, Coefficient, LayerRecord
from proprune_cli.work.macs import utilisation
from proprune_cli.work.plan import LayerPlan

HOST_UNITS = {
    "operator_us": "µs per operator",
    "move_cycles": "cycles per element moved",
    "arithmetic_cycles": "cycles per element of arithmetic",
    "function_cycles": "cycles per element of other functions",
}
UNITS = {
    "static_w": "W",
    "mac_pj": "pJ per MAC issued",
    "slot_pj": "pJ per array slot",
    "ddr_pj_per_byte": "pJ per byte",
}


@dataclass(frozen=True)
class Prediction:
    """What the models say of a program; the engine's part alone.

    Attributes:
        timing, energy: of one start, with ``batch`` images.
    """

    timing: Timing
    energy: EnergyPrediction
    batch: int

    @property
    def model(self) -> str:
        """Names of the models."""
        return f"{self.timing.model}, {self.energy.model}"

    @property
    def latency_ms(self) -> float:
        """Of one image, its share of a start."""
        return self.timing.latency_ms / self.batch

    @property
    def energy_mj(self) -> float:
        """Of one image."""
        return self.energy.energy_mj / self.batch


def predict_program(program: Program, issued: int, board: Board, array: Array) -> Prediction:
    """Predict a program; it need not be proven, nor part of an artifact.

    Args:
        issued: multiply-accumulates that the array issues in one start, as `proprune_cli.work.macs` defines them.
    """
    timing = estimate(program, array, Memory.of(board, array))
    energy = predict_energy(board, array, Work(timing.cycles, issued, timing.ddr_bytes), timing.clock_mhz)
    return Prediction(timing, energy, program.batch)


def predict(
    artifact: Artifact, label: str, board: Board, array: Array, counted: Callable[[Timing], Timing] | None = None
) -> BenchRecord:
    """Predicted figures of one image; in a batch, its share of one start. Nothing is run.

    Args:
        label: the artifact's file name.
        board: whose memory, power and processor are assumed; it need not be the one the artifact was planned for.
        counted: of a simulation: the predicted timing → the one whose cycles it counted.

    Raises:
        InputError: the artifact's plan does not belong to its program.
    """
    plans, totals = _plans(artifact, label), artifact.plan.totals
    batch, issued = artifact.program.batch, totals.issued_macs
    try:
        timing = estimate(artifact.program, array, Memory.of(board, array))
        if any(layer.cycles < 1 for layer in timing.layers):
            raise ValueError("a layer takes no time")
    except (IndexError, ValueError, ArithmeticError) as error:
        # The timing model follows the descriptors of a file, and these lead nowhere.
        raise InputError(
            f"the artifact's program does not hold together: {error}", where=label, remedy="compile the network again"
        ) from error
    if counted is not None:
        timing = counted(timing)
    together = f"{batch} images per start" if batch > 1 else "one image at a time"
    notes = [f"engine clock {timing.clock_mhz:g} MHz; {together}; the host's share is not included"]
    if issued is None:
        # As many as the network has, but no more than the array could have issued in the cycles in which it works.
        issued = sum(
            min(plan.work.macs, t.iterations * array.macs_per_cycle)
            for plan, t in zip(plans, timing.layers, strict=True)
        )
        notes.append(
            "the artifact does not say what the array issues: no utilisation, and energy for every "
            "multiply-accumulate that fits into the cycles; compile it again"
        )
    energy = predict_energy(board, array, Work(timing.cycles, issued, timing.ddr_bytes), timing.clock_mhz)
    predicted = Prediction(timing, energy, batch)
    host, said = _host_time(artifact, board)
    notes += said
    coefficients = [
        Coefficient("DDR bandwidth", board.ddr_planned_gb_s, "GB/s", board.sources["ddr.planned_gb_s"]),
        Coefficient("DDR latency", board.ddr_latency_ns, "ns", board.sources["ddr.latency_ns"]),
        *(Coefficient(t.name, t.coefficient.value, UNITS[t.name], t.coefficient.source) for t in energy.terms),
    ]
    if host is not None and board.host is not None:
        coefficients += [Coefficient("processor", board.cpu_mhz, "MHz", board.sources["cpu_mhz"])]
        coefficients += [
            Coefficient(f.name, (c := getattr(board.host, f.name)).value, HOST_UNITS[f.name], c.source)
            for f in fields(board.host)
        ]
    useful = totals.useful_macs
    return BenchRecord(
        artifact=label,
        network=artifact.name,
        board=board.name,
        array=array.name,
        source="predicted" if counted is None else "simulated",
        model=predicted.model if host is None else f"{predicted.model}, {host.model}",
        latency_ms=predicted.latency_ms,
        throughput_per_s=1e3 / predicted.latency_ms,
        macs=totals.macs // batch,
        nonzero_macs=_share(totals.nonzero_macs, batch),
        issued_macs=_share(totals.issued_macs, batch),
        useful_macs=_share(useful, batch),
        cycles=timing.cycles,
        mac_utilisation=None if useful is None else utilisation(useful, timing.cycles, array.macs_per_cycle),
        ddr_bytes=round(timing.ddr_bytes / batch),
        energy_mj=predicted.energy_mj,
        energy_low_mj=energy.low_mj / batch,
        energy_high_mj=energy.high_mj / batch,
        layers=tuple(_layer(t, p, array, timing.clock_mhz) for t, p in zip(timing.layers, plans, strict=True)),
        coefficients=tuple(coefficients),
        host_ms=None if host is None else host.ms,
        host_low_ms=None if host is None else host.low_ms,
        host_high_ms=None if host is None else host.high_ms,
        batch=batch,
        start_ms=timing.latency_ms,
        notes=tuple(notes),
    )


def _host_time(artifact: Artifact, board: Board) -> tuple[HostTime | None, list[str]]:
    """What the board's processor takes for one image, None where there is nothing or no model; and notes on it."""
    program, found, notes = artifact.program, HostTime(), list[str]()
    parts: list[tuple[str, list[HostTime | None]]] = []
    if steps := program.host_steps:
        names = ", ".join(dict.fromkeys(name for step in steps for name in step.operators))
        parts.append((f"{len(steps)} host steps between layers ({names})", [step_time(step, board) for step in steps]))
    if artifact.host:
        shapes = {output.name: output.shape for output in program.outputs}
        name = f"host segment {', '.join(artifact.host.operators)}"
        parts.append((name, [segment_time(artifact.host, shapes, board)]))
    for name, times in parts:
        known = [time for time in times if time is not None]
        if len(known) < len(times):
            notes.append(f"{name}: no time is predicted, the board file has no section 'host'")
            continue
        total = sum(known, HostTime())
        notes.append(
            f"{name}: {total.ms:.3f} ms on one core of the board's processor, predicted by {total.model} "
            f"({total.low_ms:.3f} to {total.high_ms:.3f} ms by its coefficients' bounds)"
        )
        found += total
    return (found if parts and board.host is not None else None), notes


def _share(macs: int | None, batch: int) -> int | None:
    return None if macs is None else macs // batch


def _layer(timing: LayerTiming, plan: LayerPlan, array: Array, clock_mhz: float) -> LayerRecord:
    useful = plan.useful_macs
    return LayerRecord(
        name=timing.name,
        cycles=timing.cycles,
        latency_ms=timing.cycles / clock_mhz * 1e-3,
        macs=plan.work.macs,
        nonzero_macs=plan.work.nonzero_macs,
        issued_macs=plan.issued_macs,
        useful_macs=useful,
        mac_utilisation=None if useful is None else utilisation(useful, timing.cycles_at_work, array.macs_per_cycle),
        ddr_bytes=timing.ddr_bytes,
        bound=timing.bound,
        module=plan.module,
    )


def _plans(artifact: Artifact, label: str) -> tuple[LayerPlan, ...]:
    """The plan's layers, which are those of the program."""
    layers = artifact.plan.layers
    if [layer.work.name for layer in layers] != list(artifact.program.layer_names):
        raise InputError(
            "the artifact's plan does not list the layers of its program",
            where=label,
            remedy="compile the network again",
        )
    return layers
