"""The plan of a compiled network: what each layer has to do, what the compiler decided, and what is predicted.

It is stored in artifacts as plain JSON, and read back here alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_type_hints

from proprune_cli.files.records import record_of, value_of
from proprune_cli.work.layer import LayerWork, SourceOperator, Unit

Bound = Literal["compute", "memory", "overhead"]


@dataclass(frozen=True)
class LayerPlan:
    """One pass of the engine.

    Attributes:
        work: what it has to do. unit: how the engine walks it.
        twin: number of the layer whose weights and tiling it repeats for the next image of a batch, else None.
        combine: what the output stage does with its other operand: ``add`` or ``multiply``. lookup: where a table is
            applied, ``before`` or ``after`` that. residual: tensors that the operand is read from.
        taps: of all blocks, those with a weight; taps_dropped: those that pruning saved.
        taps_with_own_offsets: lanes read positions of their own. taps_of_one_bit: weights of +1 and -1.
        positions_per_tap: kernel positions that a tap serves.
        tile: rows and columns of the output tile. steps: of the engine. segments: parts of a tile's work.
        tilings_considered: by the search. cycles_of_next_best_tiling: ``cycles``, and what the second best takes more
            where both are judged among layers of their kind, so never less; None where there was one alone.
        chunks_per_step: chunks of input channels that are loaded together.
        cycles: predicted, from the end of the layer before to its own. iterations: cycles in which the array works.
        memory_cycles: DDR bytes at the planned bandwidth. ddr_bytes: read and written.
        bound: what most of the time goes to.
        issued_macs, useful_macs, mac_utilisation: see `proprune_cli.work.macs`; None in plans of before they were
            counted so.
        input_groups, input_groups_on_chip, output_on_chip: where its tensors lie.
        early_steps: steps that may start before the layer before is complete.
    """

    work: LayerWork
    unit: Unit
    twin: int | None
    combine: str | None
    lookup: str | None
    residual: tuple[str, ...] | None
    taps: int
    taps_dropped: int
    taps_with_own_offsets: int
    taps_of_one_bit: int
    positions_per_tap: int
    tile: tuple[int, ...]
    steps: int
    segments: int
    tilings_considered: int
    cycles_of_next_best_tiling: int | None
    chunks_per_step: int
    cycles: int
    iterations: int
    memory_cycles: int
    ddr_bytes: int
    bound: Bound
    mac_utilisation: float | None
    input_groups: int
    input_groups_on_chip: int
    output_on_chip: bool
    early_steps: int
    issued_macs: int | None = None
    useful_macs: int | None = None

    @property
    def module(self) -> str:
        """The PyTorch module that users know the layer by: of its operators the one with the most multiply-accumulates,
        where none has any the first; empty where the model's file names none.
        """
        named = [source for source in self.work.sources if source.module]
        return max(named, key=lambda source: source.macs).module if named else ""

    def to_json(self) -> dict[str, Any]:
        """One flat object: the work's shape first."""
        work = self.work
        document: dict[str, Any] = {
            "name": work.name,
            "module": self.module,
            "kind": self.unit,
            "input": [work.in_channels, *work.in_size],
            "output": [work.out_channels, *work.out_size],
            "kernel": list(work.kernel),
            "stride": list(work.stride),
            "macs": work.macs,
            "nonzero_macs": work.nonzero_macs,
            "sources": [asdict(source) for source in work.sources],
            "weight_bytes": work.weight_bytes,
            "constant_weights": work.constant,
        }
        for field in fields(self):
            if field.name not in ("work", "unit"):
                value = getattr(self, field.name)
                document[field.name] = list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
        return document

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> LayerPlan:
        """Inverse of `to_json`; rows of before sources, bytes and the array's work were recorded have none.

        Raises:
            KeyError, TypeError, ValueError: it is no such row.
        """
        unit: Unit = value_of(Unit, row["kind"], "kind")
        channels, *in_size = _sizes(row, "input")
        out_channels, *out_size = _sizes(row, "output")
        work = LayerWork(
            name=value_of(str, row["name"], "name"),
            kind="max" if unit == "max" else "conv",
            in_channels=channels,
            out_channels=out_channels,
            groups=channels if unit == "diagonal" else 1,
            kernel=_sizes(row, "kernel"),
            stride=_sizes(row, "stride"),
            in_size=tuple(in_size),
            out_size=tuple(out_size),
            macs=value_of(int, row["macs"], "macs"),
            nonzero_macs=value_of(int | None, row.get("nonzero_macs"), "nonzero_macs"),
            residual=row["residual"] is not None,
            constant=value_of(bool, row.get("constant_weights", False), "constant_weights"),
            taps=value_of(int, row["taps"], "taps"),
            weight_bytes=value_of(int | None, row.get("weight_bytes"), "weight_bytes"),
            sources=value_of(tuple[SourceOperator, ...], row.get("sources", []), "sources"),
        )
        row, hints = _without_old_utilisation(row), get_type_hints(LayerPlan)
        rest = {
            f.name: value_of(hints[f.name], row[f.name], f.name)
            for f in fields(LayerPlan)
            if f.name not in ("work", "unit")
        }
        next_best = rest["cycles_of_next_best_tiling"]
        if next_best is not None and next_best < rest["cycles"]:
            # Plans of before gave its cycles among layers of its kind, which do not compare with those in the program.
            rest["cycles_of_next_best_tiling"] = None
        return LayerPlan(work=work, unit=unit, **rest)


@dataclass(frozen=True)
class StreamPlan:
    """A stream whose channels were brought into another order.

    Attributes:
        tensors: that have this order. writers: convolutions that write it.
        groups_in_given_order, groups: channel groups that these compute, before and after.
    """

    channels: int
    tensors: tuple[str, ...]
    writers: tuple[str, ...]
    groups_in_given_order: int
    groups: int


@dataclass(frozen=True)
class HostStepPlan:
    """What the processor computes after ``after`` layers; shapes are channels, rows, columns."""

    name: str
    operators: tuple[str, ...]
    after: int
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]


@dataclass(frozen=True)
class PlanTotals:
    """One start of the whole program, the engine's part alone; predicted by ``model``.

    ``macs``, ``nonzero_macs``, ``issued_macs``, ``useful_macs`` and ``mac_utilisation`` are as `proprune_cli.work.macs`
    defines them; None in plans of before they were counted so.
    """

    model: str
    batch: int
    cycles: int
    latency_ms: float
    clock_mhz: float
    macs: int
    mac_utilisation: float | None
    ddr_bytes: int
    program_bytes: int
    buffer_bytes: int
    nonzero_macs: int | None = None
    issued_macs: int | None = None
    useful_macs: int | None = None


@dataclass(frozen=True)
class Plan:
    """The whole plan. ``host``: operators that the host computes after the engine's part."""

    layers: tuple[LayerPlan, ...]
    streams: tuple[StreamPlan, ...]
    host_steps: tuple[HostStepPlan, ...]
    totals: PlanTotals
    host: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "layers": [layer.to_json() for layer in self.layers],
            "streams": [_plain(stream) for stream in self.streams],
            "host_steps": [_plain(step) for step in self.host_steps],
            "totals": asdict(self.totals),
            "host": list(self.host),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Plan:
        """Inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is no plan.
        """
        rows = value_of(tuple[dict[str, Any], ...], document["layers"], "layers")
        return Plan(
            layers=tuple(LayerPlan.from_json(row) for row in rows),
            streams=value_of(tuple[StreamPlan, ...], document.get("streams", []), "streams"),
            host_steps=value_of(tuple[HostStepPlan, ...], document.get("host_steps", []), "host_steps"),
            totals=record_of(
                PlanTotals, _without_old_utilisation(value_of(dict[str, Any], document["totals"], "totals")), "totals"
            ),
            host=value_of(tuple[str, ...], document.get("host", []), "host"),
        )


def _sizes(row: Mapping[str, Any], name: str) -> tuple[int, ...]:
    return value_of(tuple[int, ...], row[name], name)


def _without_old_utilisation(row: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` where useful work was counted; else one without a utilisation, which counted zero weights then."""
    if row.get("useful_macs") is not None:
        return dict(row)
    return {**row, "issued_macs": None, "useful_macs": None, "mac_utilisation": None}


def _plain(record: StreamPlan | HostStepPlan) -> dict[str, Any]:
    """Tuples as lists, as JSON gives them back."""

    def listed(value: Any) -> Any:
        return [listed(item) for item in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value

    return {name: listed(value) for name, value in asdict(record).items()}
