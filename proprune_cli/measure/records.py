"""A figure with its source: *measured* on which host or board, *simulated* in what, or *predicted* by which model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Origin = Literal["predicted", "simulated", "measured"]


@dataclass(frozen=True)
class LayerRecord:
    """One layer on the engine.

    Attributes:
        module: the PyTorch module that it computes, as `proprune_cli.work.plan.LayerPlan` says; empty where it is not
            known.
        latency_ms: of this layer. ddr_bytes: read and written.
        macs, nonzero_macs, issued_macs, useful_macs, mac_utilisation: of one start, as `proprune_cli.work.macs` defines
            them; None where the artifact does not say.
        bound: "compute", "memory" or "overhead": what most of the time goes to.
    """

    name: str
    cycles: int
    latency_ms: float
    macs: int
    mac_utilisation: float | None
    ddr_bytes: int
    bound: str
    nonzero_macs: int | None = None
    issued_macs: int | None = None
    useful_macs: int | None = None
    module: str = ""


@dataclass(frozen=True)
class Coefficient:
    """A number that a model used, with its unit and where it comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class BenchRecord:
    """One artifact on one board. A figure that the source does not give is None, never a guess.

    Attributes:
        artifact: file name; of a run that was compiled for this, its directory and which network.
        network: the network's name.
        board, array: where it ran, or for what it is predicted; array None off the engine.
        source: whether the figures are predicted, simulated or measured. model: by which model, simulation or meter;
            energy of what was simulated is predicted from its cycles.
        batch: images per start. start_ms: from one start to its end; latency_ms: of one image, a share of that.
        latency_low_ms, latency_high_ms: 10th and 90th percentile of repetitions.
        repetitions: timed runs; 0 where predicted.
        throughput_per_s: images per second, one after the other.
        cycles: of the engine clock for one start.
        macs, nonzero_macs, issued_macs, useful_macs: of one image, as `proprune_cli.work.macs` defines them.
        mac_utilisation: ``batch · useful_macs / (cycles · MACs per cycle)``.
        ddr_bytes: read and written for one image. energy_mj: of one image.
        energy_low_mj, energy_high_mj: what it is by the coefficients' lower and upper bounds.
        host_ms: of the host's part of one image (steps between layers, and the end), predicted for one core of the
            board's processor and not part of latency_ms; None where there is none, or no model. host_low_ms,
            host_high_ms: what it is by the coefficients' bounds.
        coefficients: what the models assume, with sources. notes: caveats for the reader.
    """

    artifact: str
    network: str
    board: str
    array: str | None
    source: Origin
    model: str
    latency_ms: float
    throughput_per_s: float
    macs: int
    cycles: int | None = None
    mac_utilisation: float | None = None
    ddr_bytes: int | None = None
    energy_mj: float | None = None
    energy_low_mj: float | None = None
    energy_high_mj: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    repetitions: int = 0
    host_ms: float | None = None
    host_low_ms: float | None = None
    host_high_ms: float | None = None
    batch: int = 1
    start_ms: float | None = None
    nonzero_macs: int | None = None
    issued_macs: int | None = None
    useful_macs: int | None = None
    layers: tuple[LayerRecord, ...] = ()
    coefficients: tuple[Coefficient, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
