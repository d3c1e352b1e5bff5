"""What synthesis made of the RTL: reports that lie in `rtl/reports`, and what the parameters say they must hold.

A report is written by `python -m benchmarks synthesis`, which runs Yosys; nothing here needs it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.headers import array_macros, identifier
from proprune_cli.files.records import record_of
from proprune_cli.resources import resource_dir


@dataclass(frozen=True)
class Cells:
    """Of a part: LUTs (those used as memory included), flip-flops, DSPs, and block RAM, an 18-kbit half as 0.5."""

    lut: int
    ff: int
    dsp: int
    bram36: float


@dataclass(frozen=True)
class Report:
    """One array's synthesis: by which tool, for which digest of the sources, and what each module takes in all."""

    array: str
    tool: str
    sources: str
    modules: dict[str, Cells]

    @property
    def whole(self) -> Cells:
        """The engine."""
        return self.modules["engine"]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Routed:
    """One array's engine beside a Zynq-7000's processors, placed and routed.

    Attributes:
        asked_mhz, reached_mhz: the clock's constraint, and what the tool's timing analysis says the design takes.
        cells: of each kind, those used and those of the part. bits: set in the bitstream; decoded, they were the same.
    """

    array: str
    tool: str
    sources: str
    placer: str
    seed: int
    asked_mhz: float
    reached_mhz: float
    seconds: int
    cells: dict[str, tuple[int, int]]
    bits: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def routed_path(array: str) -> Path:
    """Where the report of placing and routing an array lies, if it lies there."""
    return resource_dir("rtl") / "reports" / f"{identifier(array)}_routed.json"


def routed_of(array: str) -> Routed | None:
    """The report of placing and routing an array; None where that was not done."""
    path = routed_path(array)
    return record_of(Routed, json.loads(path.read_text(encoding="utf-8")), path.name) if path.is_file() else None


def report_of(array: str) -> Report | None:
    """The report of an array; None where it was not synthesised."""
    path = resource_dir("rtl") / "reports" / f"{identifier(array)}.json"
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    modules = {name: record_of(Cells, cells, name) for name, cells in document.pop("modules").items()}
    return Report(modules=modules, **document)


def expected_dsp(array: Array) -> int:
    """Two pixels to a DSP in the array; a word's lanes in the requantiser and the combiner; four of addresses.

    Those are: the products of a step's descriptor, of a block's slot, and two of an output plane's address.
    """
    return array.ic * array.oc * array.px // 2 + 2 * isa.GROUP + 4


def expected_bram(array: Array) -> float:
    """Block RAM of the memories that must not become anything else."""
    macros = array_macros(array)
    port, sums = 64 * array.weight_port_words, 64 * array.oc
    memories = [(2 * array.ic, array.bank_depth, 8, True), (1, array.scratch_words, 64, False)]
    memories += [(2, array.acc_depth, sums, False), (3, macros["STREAM_FIFO"], 64, False)]
    memories += [(1, macros["STREAM_FIFO"], port, False), (array.oc_groups, macros["WORD_FIFO"], 64, False)]
    return sum(copies * _bram36(depth, width, two_reads) for copies, depth, width, two_reads in memories)


def _bram36(depth: int, width: int, two_reads: bool) -> float:
    """Whole blocks as Yosys fills them: 36-kbit ones first, and one half where that is enough."""
    shapes = [(32768, 1), (16384, 2), (8192, 4), (4096, 9), (2048, 18), (1024, 36)] + [(512, 72)] * (not two_reads)
    return min(-(-depth // d) * (max(0.5, -(-2 * width // w) / 2) if d == 512 else -(-width // w)) for d, w in shapes)


def section(array: Array) -> list[str]:
    """Lines of `docs/resources.md` on an array's RTL; none where it was not synthesised."""
    found = report_of(array.name)
    if found is None:
        return []
    rows = sorted(found.modules.items(), key=lambda item: (item[0] != "engine", -item[1].lut))
    return [
        "",
        f"The RTL twin, synthesised by {found.tool}; modules hold their parts:",
        "",
        "| module | LUT | FF | DSP | BRAM36 |",
        "|---|---:|---:|---:|---:|",
        *(f"| {name} | {c.lut:,} | {c.ff:,} | {c.dsp} | {c.bram36:g} |" for name, c in rows),
        *_routed_lines(array),
    ]


def _routed_lines(array: Array) -> list[str]:
    found = routed_of(array.name)
    if found is None:
        return []
    return [
        "",
        f"Beside the processors (`rtl/boards/zynq7000.sv`), placed and routed by {found.tool}: "
        f"{found.reached_mhz:g} MHz where {found.asked_mhz:g} were asked, by an analysis with the gaps that "
        "[place-and-route.md](place-and-route.md) names. No board has loaded the bitstream.",
        "",
        "| cells | used | of |",
        "|---|---:|---:|",
        *(f"| {kind} | {used:,} | {there:,} |" for kind, (used, there) in found.cells.items()),
    ]
