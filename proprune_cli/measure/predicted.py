"""What a board would take for an artifact, by the timing and energy models; nothing here was measured."""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.energy import EnergyPrediction, Work, predict_energy
from proprune_cli.accel.program import Program
from proprune_cli.accel.timing import LayerTiming, Memory, Timing, estimate
from proprune_cli.artifact import Artifact
from proprune_cli.artifact.host import measure_step_ms
from proprune_cli.errors import InputError
from proprune_cli.measure.records import BenchRecord, Coefficient, LayerRecord

UNITS = {"static_w": "W", "mac_pj": "pJ per MAC", "slot_pj": "pJ per array slot", "ddr_pj_per_byte": "pJ per byte"}


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


def predict_program(program: Program, macs: int, board: Board, array: Array) -> Prediction:
    """Predict a program; it need not be proven, nor part of an artifact.

    Args:
        macs: multiply-accumulates that the network asks for, of one start.
    """
    timing = estimate(program, array, Memory.of(board, array))
    energy = predict_energy(board, array, Work(timing.cycles, macs, timing.ddr_bytes), timing.clock_mhz)
    return Prediction(timing, energy, program.batch)


def predict(artifact: Artifact, label: str, board: Board, array: Array) -> BenchRecord:
    """Predicted figures of one image; in a batch, its share of one start.

    Args:
        label: the artifact's file name.
        board: whose memory and power are assumed; it need not be the one the artifact was planned for.

    Raises:
        InputError: the artifact's plan does not belong to its program.
    """
    macs = _macs(artifact, label)
    total = sum(macs)
    try:
        predicted = predict_program(artifact.program, total, board, array)
        if any(layer.cycles < 1 for layer in predicted.timing.layers):
            raise ValueError("a layer takes no time")
    except (IndexError, ValueError, ArithmeticError) as error:
        # The timing model follows the descriptors of a file, and these lead nowhere.
        raise InputError(
            f"the artifact's program does not hold together: {error}", where=label, remedy="compile the network again"
        ) from error
    timing, energy, batch = predicted.timing, predicted.energy, predicted.batch
    layers = tuple(_layer(t, m, array, timing.clock_mhz) for t, m in zip(timing.layers, macs, strict=True))
    memory = [
        Coefficient("DDR bandwidth", board.ddr_planned_gb_s, "GB/s", board.sources["ddr.planned_gb_s"]),
        Coefficient("DDR latency", board.ddr_latency_ns, "ns", board.sources["ddr.latency_ns"]),
    ]
    together = f"{batch} images per start" if batch > 1 else "one image at a time"
    notes = [f"engine clock {timing.clock_mhz:g} MHz; {together}; the host's share is not included"]
    steps = [(s.operators, measure_step_ms(s, batch) / batch) for s in artifact.program.host_steps]
    if steps:
        names = ", ".join(dict.fromkeys(name for operators, _ in steps for name in operators))
        spent = sum(ms for _, ms in steps)
        notes.append(f"{len(steps)} host steps between layers ({names}): {spent:.3f} ms measured on this machine")
    if artifact.host:
        shapes = {output.name: output.shape for output in artifact.program.outputs}
        steps.append((artifact.host.operators, artifact.host.measure_ms(shapes)))
        name = ", ".join(artifact.host.operators)
        notes.append(f"host segment {name}: {steps[-1][1]:.3f} ms measured on this machine")
    host_ms = sum(ms for _, ms in steps) if steps else None
    return BenchRecord(
        artifact=label,
        network=artifact.name,
        board=board.name,
        array=array.name,
        source="predicted",
        model=predicted.model,
        latency_ms=predicted.latency_ms,
        throughput_per_s=1e3 / predicted.latency_ms,
        macs=total // batch,
        cycles=timing.cycles,
        mac_utilisation=total / (timing.cycles * array.macs_per_cycle),
        ddr_bytes=round(timing.ddr_bytes / batch),
        energy_mj=predicted.energy_mj,
        energy_low_mj=energy.low_mj / batch,
        energy_high_mj=energy.high_mj / batch,
        layers=layers,
        coefficients=(
            *memory,
            *(Coefficient(t.name, t.coefficient.value, UNITS[t.name], t.coefficient.source) for t in energy.terms),
        ),
        host_ms=host_ms,
        batch=batch,
        start_ms=timing.latency_ms,
        notes=tuple(notes),
    )


def _layer(timing: LayerTiming, macs: int, array: Array, clock_mhz: float) -> LayerRecord:
    return LayerRecord(
        name=timing.name,
        cycles=timing.cycles,
        latency_ms=timing.cycles / clock_mhz * 1e-3,
        macs=macs,
        mac_utilisation=macs / (timing.cycles * array.macs_per_cycle),
        ddr_bytes=timing.ddr_bytes,
        bound=timing.bound,
    )


def _macs(artifact: Artifact, label: str) -> list[int]:
    """Multiply-accumulates that the network asks for, by layer of the program."""
    works = [layer.work for layer in artifact.plan.layers]
    if [work.name for work in works] != list(artifact.program.layer_names):
        raise InputError(
            "the artifact's plan does not list the layers of its program",
            where=label,
            remedy="compile the network again",
        )
    return [work.macs for work in works]
