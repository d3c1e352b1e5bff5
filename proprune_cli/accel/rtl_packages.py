"""SystemVerilog packages of the contract: records as packed structs, registers, and the parameters of each array."""

from __future__ import annotations

import re
from enum import IntEnum

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.bitfield import WORD_BITS, Record, check_layout
from proprune_cli.accel.headers import BANNER, ENUMERATIONS, array_macros, identifier

_NAMES: dict[type[Record], str] = {
    isa.LayerDescriptor: "layer",
    isa.StepDescriptor: "step",
    isa.BlockHeader: "block",
    isa.TapHeader: "tap",
    isa.LayerCounters: "counters",
}
"""What a record is called in SystemVerilog, without the ending of its type."""


def _record(record: type[Record]) -> str:
    """A packed struct whose lowest bit is bit 0 of the record's word 0."""
    check_layout(record)
    fields = sorted(((p.word * WORD_BITS + p.low, name, p) for name, p in record.layout().items()), reverse=True)
    lines: list[str] = []
    above, gaps = record.WORDS * WORD_BITS, 0

    def fill(top: int) -> None:
        nonlocal gaps
        if above > top:
            lines.append(f"        logic [{above - top - 1}:0] unused_{gaps};")
            gaps += 1

    for low, name, p in fields:
        fill(low + p.width)
        sign = "signed " if p.signed else ""
        lines.append(f"        logic {sign}[{p.width - 1}:0] {name}; // {p.doc}")
        above = low
    fill(0)
    doc = (record.__doc__ or "").strip().splitlines()[0]
    title = _NAMES[record]
    body = "\n".join(lines)
    return (
        f"    // {doc}\n"
        f"    localparam int {title.upper()}_WORDS = {record.WORDS};\n"
        f"    typedef struct packed {{\n{body}\n    }} {title}_t;\n"
    )


def _enumeration(values: type[IntEnum]) -> str:
    prefix = values.__name__.upper()
    width = max(2, max(int(v) for v in values).bit_length())
    return "\n".join(f"    localparam logic [{width - 1}:0] {prefix}_{v.name} = {width}'d{int(v)};" for v in values)


def isa_package() -> str:
    """Text of ``isa_pkg.sv``: records, enumerations and register offsets."""
    registers = "\n".join(
        f"    // {r.width} bits, {r.access}: {r.doc}\n"
        f"    localparam logic [7:0] REGISTER_{r.name.upper()} = 8'h{r.offset:02x};"
        for r in isa.REGISTERS
    )
    enumerations = "\n".join(_enumeration(e) for e in ENUMERATIONS)
    records = "\n".join(_record(r) for r in isa.RECORDS)
    return f"""{BANNER}package isa_pkg;
    localparam int VERSION = {isa.VERSION};
    localparam int GROUP = {isa.GROUP};
    // Bit of a plane's address that is set where the plane lies in the engine's own memory.
    localparam int ON_CHIP_BIT = {isa.ON_CHIP.bit_length() - 1};
    // A step never starts to load before all but this many of the steps before it are complete.
    localparam int STEPS_IN_FLIGHT = {isa.STEPS_IN_FLIGHT};

{registers}

{enumerations}

{records}endpackage
"""


def array_package(array: Array) -> str:
    """Text of an array's package, always called ``array_pkg``: a build reads one of them."""
    values = "\n".join(f"    localparam int {name} = {value};" for name, value in array_macros(array).items())
    return f"""{BANNER}// Array {array.name}: {array.px} x {array.ic} x {array.oc} multiply-accumulates per cycle.
package array_pkg;
{values}
    localparam logic [31:0] DIGEST = 32'h{array.digest[:8]}; // first 32 bits of the contract digest
endpackage
"""


def package_name(array_name: str) -> str:
    """File name of an array's package."""
    return f"array_{identifier(array_name)}.sv"


def packages() -> dict[str, str]:
    """File name in ``rtl/generated`` → text, for every generated package."""
    files = {"isa_pkg.sv": isa_package()}
    files |= {package_name(name): array_package(load_array(name)) for name in array_names(own=False)}
    return {name: re.sub(r"[ \t]+\n", "\n", text) for name, text in files.items()}
