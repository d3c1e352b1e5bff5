"""What one array costs, buffer by buffer, and whether that fits its part.

Block RAM and DSPs are counted: the rows mirror the ``HLS_RAM_*``, ``HLS_FIFO_BRAM``, ``HLS_DSP_MULTIPLY`` and
``HLS_AXI_*`` marks in ``hls/src``; a test compares the two lists. LUTs and flip-flops are estimated (`logic_tally`).
All of it comes from the source, before synthesis: no tool has confirmed any of it yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel import isa, rtl_reports
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.headers import STREAM_FIFO, array_macros
from proprune_cli.accel.logic_tally import Logic, logic
from proprune_cli.errors import DoesNotFitError, InputError

PARTS: dict[str, tuple[int, float, int, int]] = {
    "xc7z020": (220, 140.0, 53200, 106400),
    "xczu7ev": (1728, 312.0, 230400, 460800),
    "xck26": (1248, 144.0, 117120, 234240),
}
"""Part family → (DSPs, BRAM36, LUTs, flip-flops), from AMD's tables DS190 (Zynq-7000), DS891 (Zynq UltraScale+) and
DS987 (K26)."""

GUIDELINE = {"DSP": 0.8, "BRAM36": 0.8, "LUT": 0.7, "FF": 0.5}
"""Shares of a part above which AMD's design methodology (UG949) expects that timing is hard to meet."""

# Shapes (depth, width) of an 18-kbit half block (UG473, UG573). The last needs one port for reading, one for writing.
_TRUE_DUAL_PORT = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18))
_SIMPLE_DUAL_PORT = (*_TRUE_DUAL_PORT, (512, 36))

AXI_OUTSTANDING_WORDS = 8 * 64
"""Words an AXI adapter buffers: outstanding transactions times burst length, as in ``HLS_AXI_READ`` and ``_WRITE``."""


def bram36(depth: int, width: int, *, two_reads: bool = False) -> float:
    """BRAM36 (in halves) of a memory of ``depth`` words of ``width`` bits.

    Args:
        two_reads: two read ports at once, which rules the 36-bit shape out.
    """
    shapes = _TRUE_DUAL_PORT if two_reads else _SIMPLE_DUAL_PORT
    return min(-(-depth // d) * -(-width // w) for d, w in shapes) / 2


@dataclass(frozen=True)
class Buffer:
    """``copies`` memories of ``depth`` × ``width`` bits each; ``name`` is that of the source."""

    name: str
    what: str
    copies: int
    depth: int
    width: int
    two_reads: bool = False

    @property
    def bram36(self) -> float:
        return self.copies * bram36(self.depth, self.width, two_reads=self.two_reads)


@dataclass(frozen=True)
class Multipliers:
    """``dsp`` DSPs that ``name`` of the source takes."""

    name: str
    what: str
    dsp: int


@dataclass(frozen=True)
class Tally:
    """Everything one array takes, and what its part has."""

    array: Array
    buffers: tuple[Buffer, ...]
    multipliers: tuple[Multipliers, ...]
    logic: tuple[Logic, ...]
    dsp_available: int
    bram36_available: float
    lut_available: int
    ff_available: int

    @property
    def dsp(self) -> int:
        return sum(m.dsp for m in self.multipliers)

    @property
    def bram36(self) -> float:
        return sum(b.bram36 for b in self.buffers)

    @property
    def lut(self) -> int:
        """Estimated."""
        return sum(row.lut for row in self.logic)

    @property
    def ff(self) -> int:
        """Estimated."""
        return sum(row.ff for row in self.logic)

    @property
    def demands(self) -> dict[str, tuple[float, float]]:
        """Resource → (taken, there)."""
        return {
            "BRAM36": (self.bram36, self.bram36_available),
            "DSP": (self.dsp, self.dsp_available),
            "LUT": (self.lut, self.lut_available),
            "FF": (self.ff, self.ff_available),
        }


def tally(array: Array) -> Tally:
    """Count ``array``'s block RAM and DSPs, and estimate its logic.

    Raises:
        DoesNotFitError: its part has fewer.
        InputError: the part is unknown.
    """
    budget = next((v for k, v in PARTS.items() if array.part.startswith(k)), None)
    if budget is None:
        raise InputError(
            f"no resource figures for part {array.part!r}",
            where=f"array {array.name}",
            remedy=f"add it to PARTS in {__name__}; known are {', '.join(PARTS)}",
        )
    result = Tally(array, _buffers(array), _multipliers(array), logic(array), *budget)
    for what, (demand, bound) in result.demands.items():
        if demand > bound:
            raise DoesNotFitError(
                f"array {array.name} takes {demand:g} {what}, {array.part} has {bound:g} ({demand - bound:g} too many)",
                where=f"configs/arrays/{array.name}.yaml",
                remedy="make ic, oc, bank_depth, acc_depth or scratch_words smaller, or choose a larger part",
            )
    return result


def _buffers(array: Array) -> tuple[Buffer, ...]:
    macros = array_macros(array)
    port = 64 * array.weight_port_words
    sums = 32 * array.px * array.oc
    words = macros["WORD_FIFO"]
    rows = [
        Buffer("bank", "input lanes, ping and pong", 2 * array.ic, array.bank_depth, 8, two_reads=True),
        Buffer("acc", "accumulators", array.px * array.oc, array.acc_depth, 32),
        Buffer("scratch", "planes that stay on chip", 1, array.scratch_words, 64),
        Buffer("cells", "where each pixel of a beat begins to read", array.px, array.acc_depth, 16),
        Buffer("walk", "the same for the next step", 1, array.acc_depth, 16 * array.px),
        Buffer("sums", "sums on their way to the requantiser", 1, array.acc_depth, sums),
        Buffer("input_words", "input words before the banks", 1, STREAM_FIFO, 64),
        Buffer("near_words", "words of the planes that stay on chip, asked for", 1, STREAM_FIFO, 64),
        Buffer("weight_beats", "weight stream read ahead", 1, STREAM_FIFO, port),
        Buffer("residual_words", "residual operands read ahead", 1, STREAM_FIFO, 64),
        Buffer("output_words", "output words before the store", 1, STREAM_FIFO, 64),
        Buffer("words", "output words in order of their groups", array.oc_groups, words, 64),
        *(
            Buffer(bundle, f"AXI adapter of `{name}`", 1, AXI_OUTSTANDING_WORDS, width)
            for bundle, name, width in (
                ("gmem_x", "features", 64),
                ("gmem_w", "weights", port),
                ("gmem_r", "residual", 64),
                ("gmem_d", "descriptors", 64),
                ("gmem_y", "results", 72),
            )
        ),
    ]
    return tuple(rows)


def _multipliers(array: Array) -> tuple[Multipliers, ...]:
    return (
        Multipliers("dot.hpp", "the array: two pixels to a DSP, additions inside", array.ic * array.oc * array.px // 2),
        Multipliers("requantise.hpp", "one word of codes per cycle", isa.GROUP),
    )


def _share(taken: float, there: float, what: str) -> str:
    """For example ``of 220 (91%, above the guideline of 80%)``."""
    above = f", above the guideline of {GUIDELINE[what]:.0%}" if taken > GUIDELINE[what] * there else ""
    return f"of {there:g} ({taken / there:.0%}{above})"


def page() -> str:
    """``docs/resources.md``: the tallies of all arrays.

    Raises:
        DoesNotFitError: an array does not fit its part.
    """
    lines = [
        "# Resources of each array",
        "",
        "Generated by `python -m proprune_cli.accel.generate` from the arrays' parameters and the source in",
        "`hls/src`, before synthesis; no report of a synthesis tool stands behind it yet. Block RAM and DSPs are",
        "**counted**, from the marks in the source; block RAM is in BRAM36, an 18-kbit half as 0.5. LUTs and flip-",
        "flops are **estimates**, each row with the rule that it follows: they say whether an array is far from",
        "its part's limit or near, and may well be off by half. What a board's design adds around the engine (one",
        "SmartConnect for each memory port and one for the registers) is in none of the figures. Small memories",
        "(lane patterns, 16 copies of the lookup table of 2 kbit each, queues of a few words) are LUT RAM.",
        "Products that are not worth a DSP (addresses, counts, and the products with the residual operand) are",
        "logic. The guideline is that of AMD's methodology, UG949: above it timing is hard to meet.",
    ]
    for name in array_names(own=False):
        t = tally(load_array(name))
        lines += [
            "",
            f"## {name}",
            "",
            f"{t.array.part} at {t.array.clock_mhz:g} MHz, {t.array.macs_per_cycle} multiply-accumulates per cycle.",
            "",
            "| buffer | what | memories | depth | bits | BRAM36 |",
            "|---|---|---:|---:|---:|---:|",
            *(f"| {b.name} | {b.what} | {b.copies} | {b.depth} | {b.width} | {b.bram36:g} |" for b in t.buffers),
            f"| **total** | {_share(t.bram36, t.bram36_available, 'BRAM36')} | | | | **{t.bram36:g}** |",
            "",
            "| multipliers | what | DSP |",
            "|---|---|---:|",
            *(f"| {m.name} | {m.what} | {m.dsp} |" for m in t.multipliers),
            f"| **total** | {_share(t.dsp, t.dsp_available, 'DSP')} | **{t.dsp}** |",
            "",
            "| logic, estimated | what | rule | LUT | FF |",
            "|---|---|---|---:|---:|",
            *(f"| {row.name} | {row.what} | {row.rule} | {row.lut} | {row.ff} |" for row in t.logic),
            f"| **total** | LUT: {_share(t.lut, t.lut_available, 'LUT')}; FF: {_share(t.ff, t.ff_available, 'FF')} | "
            f"| **{t.lut}** | **{t.ff}** |",
            *rtl_reports.section(t.array),
        ]
    return "\n".join(lines) + "\n"
