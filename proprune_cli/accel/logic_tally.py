"""Estimates of the lookup tables (LUT) and flip-flops (FF) of one array, with the rule behind each row.

No tool stands behind any of these figures: they are sums over what the source says, at the prices below, which are
those of the six-input LUTs of both families (UG474, UG574). Placement, sharing and what a tool adds for timing are not
in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.headers import array_macros

SRL_DEPTH = 32
"""Entries of one bit that a LUT keeps as a shift register."""

PROCESSES = 15


@dataclass(frozen=True)
class Logic:
    """``lut`` LUTs and ``ff`` flip-flops, estimated; ``rule`` says how."""

    name: str
    what: str
    rule: str
    lut: int
    ff: int


def logic(array: Array) -> tuple[Logic, ...]:
    """The rows of ``array``."""
    return (*_array_rows(array), *_stage_rows(array), *_channel_rows(array), *_fixed_rows(array))


def small_queues(array: Array) -> dict[str, tuple[int, int]]:
    """Queues of shift registers (``HLS_FIFO`` in the source): name → (entries, bits of one)."""
    bursts, macs = 4 * 32, array.ic * array.oc
    fetch, residual = bursts + 16 + 1, bursts + 2 * 32 + 16 + 8 + 2
    return {
        "completions": (16, 1),
        "hold_jobs": (2, 9),
        "held_fetches": (2, fetch),
        "held_residuals": (2, residual),
        "fetch_jobs": (2, fetch),
        "planes": (64, 32),
        "fill_jobs": (2, 128 + 32 + 9 * 16 + 2 * 8 + 1),
        "walk_jobs": (2, 2 * 32 + 2 * 16 + 8 + 1),
        "weight_jobs": (2, 65),
        "assemble_jobs": (2, 49),
        "accumulate_jobs": (8, 32 + 3 * 16 + 2),
        "requantise_jobs": (8, 32 + 16 + 5),
        "residual_jobs": (8, residual),
        "combine_jobs": (8, 32 + 16 + 4 * 8 + 6),
        "store_jobs": (8, bursts + 4 * 32 + 16 + 8 + 4),
        "collect_jobs": (8, 3),
        "pattern_words": (64, 64),
        "table_words_before": (32, 64),
        "table_words_after": (32, 64),
        "near_reads": (4, 40),
        "near_writes": (16, 64 + 32 + 8),
        "near_written": (2, 1),
        "tap_weights": (2, 8 * macs),
        "taps": (4, 16 + 8 + 3),
        "blocks": (2, 32 * array.oc + 34),
        "scales": (4, 16 * array.oc + 8),
        "residual_emits": (4, 24),
        "combine_emits": (4, 24),
        "store_emits": (4, 24),
        "fetch_counts": (4, 32),
        "weight_counts": (4, 32),
        "accumulate_counts": (4, 96),
        "residual_counts": (4, 32),
        "totals": (2, 192),
        "receipts": (2, 33),
    }


FABRIC_MULTIPLIERS: dict[tuple[str, str], tuple[int, int, int]] = {
    ("assemble.hpp", "first_entry"): (8, 16, 1),
    ("combine.hpp", "product"): (8, 8, isa.GROUP),
    ("requantise.hpp", "count"): (32, 4, 1),
    ("store.hpp", "plane"): (16, 32, 1),
    ("read_step.hpp", "start"): (16, 20, 2),
    ("read_step.hpp", "indent"): (16, 4, 2),
    ("read_step.hpp", "area"): (16, 16, 2),
    ("read_step.hpp", "tile_cells"): (16, 16, 1),
    ("read_step.hpp", "all_cells"): (32, 16, 1),
    ("read_step.hpp", "pixels"): (16, 16, 1),
    ("read_step.hpp", "row_step"): (4, 16, 1),
    ("read_step.hpp", "out_pitch"): (4, 16, 1),
    ("read_step.hpp", "pattern_total"): (8, 4, 1),
}
"""Multiplications bound to logic (``HLS_FABRIC_MULTIPLY``): (file, variable) → bits of the factors, and how many."""


def _array_rows(array: Array) -> list[Logic]:
    """The array and what feeds it."""
    px, ic, oc, chain = array.px, array.ic, array.oc, array_macros(array)["DSP_CHAIN"]
    macs, chains, late = ic * oc, ic // chain, ic - ic // chain
    record = 64 * max(array.tap_words, array.block_words)
    address = array.bank_depth.bit_length() - 1
    maxima = px * (ic - oc)
    return [
        Logic(
            "weights",
            "a tap's weights: made, kept, and late by a cycle for each link of a chain",
            "1 LUT a bit to choose between byte and power of two, 1 a bit as delay; FF: record, tap, delay",
            8 * macs + 8 * late * oc,
            record + 8 * macs + 8 * late * oc,
        ),
        Logic(
            "chain starts",
            "sum of each chain's weights",
            "10 LUT an addition; 18 FF a chain",
            10 * (chain - 1) * chains * oc,
            18 * chains * oc,
        ),
        Logic(
            "bank addresses",
            "pattern, base and cell of each lane and pixel",
            "1 LUT a bit of each addition; FF: offsets, addresses, codes",
            16 * ic + px * ic * address,
            16 * ic + px * ic * (address + 8),
        ),
        Logic(
            "bank sides",
            "two blocks for each lane: whose turn it is to write and to read",
            "half a LUT for each bit chosen between two, on both ports of both blocks",
            ic * (2 * 2 * (address + 8) // 2 + px * 8 // 2),
            ic * 8,
        ),
        Logic("bank bytes", "a lane's byte of each word", "2 LUT a bit chosen among 8", 2 * 8 * ic, 8 * ic),
        Logic(
            "codes to the chains",
            "late by a cycle for each link",
            "1 LUT and 1 FF a bit, shared by the outputs",
            px * 8 * late,
            px * 8 * late,
        ),
        Logic(
            "chain ends",
            "two sums of each chain, added up",
            "1 LUT a bit of 20-bit additions; FF: their results",
            oc * px * 20 * chains,
            oc * px * 20 * chains,
        ),
        Logic(
            "maxima",
            "maximum over the lanes of an output",
            "8 LUT a comparison and 4 a choice, the same in FF",
            12 * maxima + 16 * px * oc,
            8 * maxima,
        ),
        Logic(
            "accumulators",
            "bias or memory, sum or maximum",
            "32-bit: addition, comparison, two choices; FF: four stages",
            px * oc * (32 + 32 + 2 * 16),
            px * oc * 4 * 32,
        ),
        Logic(
            "patterns",
            "lane patterns",
            f"LUT RAM: 4 LUT for 3 bits of 64; {array.max_patterns} patterns",
            4 * -(-16 // 3) * ic * -(-array.max_patterns // 64),
            16 * ic,
        ),
    ]


def _stage_rows(array: Array) -> list[Logic]:
    """Requantising and combining: one word of eight codes per cycle."""
    group, sums = isa.GROUP, array.px * array.oc_groups
    tables = 2 * group
    return [
        Logic(
            "sums of a beat",
            "kept, and one word's chosen",
            f"1 LUT a bit for each four of {sums} sums; FF: the beat",
            group * 32 * -(-sums // 4),
            32 * array.px * array.oc,
        ),
        Logic(
            "requantise",
            "rounding, clipping, clamp",
            "43-bit addition, comparison of 26 bits, two choices; FF: four stages",
            group * (43 + 26 + 8),
            group * 4 * 43,
        ),
        Logic(
            "combine",
            "two shifts to the left, sum, rounding to the right, clipping",
            "4 LUT a bit shifted by up to 15 (30, 23 and 32 bits), 1 a bit of three 32-bit additions; FF: six stages",
            group * (4 * (30 + 23 + 32) + 3 * 32 + 32),
            group * 6 * 32,
        ),
        Logic(
            "lookup tables",
            f"{tables} copies of 256 codes",
            "LUT RAM: 4 LUT for 6 bits of 32, 2 LUT a bit to choose the byte",
            tables * (4 * -(-64 // 6) + 16),
            tables * 16,
        ),
    ]


def _channel_rows(array: Array) -> list[Logic]:
    """Queues, and multiplications in logic."""
    queues = small_queues(array)
    bits = sum(width for _, width in queues.values())
    lut = sum(-(-depth // SRL_DEPTH) * width for depth, width in queues.values())
    port = 64 * array.weight_port_words
    words = 32 * array.px * array.oc + 16 * array.px + 5 * 64 + port + 64 * array.oc_groups
    products = FABRIC_MULTIPLIERS.values()
    return [
        Logic(
            "small queues",
            f"{len(queues)} queues of a few entries, and the job in hand",
            "1 LUT a bit for each 32 entries, 20 LUT and 15 FF of control; FF: output and job in hand",
            lut + 20 * len(queues),
            2 * bits + 15 * len(queues),
        ),
        Logic(
            "large queues",
            "queues in block RAM",
            "half a LUT and 2 FF a bit for the first word, 40 LUT and 50 FF of control",
            words // 2 + 40 * (7 + array.oc_groups),
            2 * words + 50 * (7 + array.oc_groups),
        ),
        Logic(
            "products in logic",
            "addresses and counts, and the products with the residual operand",
            "1 LUT for each bit of one factor with each of the other; FF: factors and product",
            sum(a * b * count for a, b, count in products),
            sum(2 * (a + b) * count for a, b, count in products),
        ),
    ]


def _fixed_rows(array: Array) -> list[Logic]:
    """What does not depend on the array's size."""
    wide = array.weight_port_words
    return [
        Logic(
            "memory ports",
            "five AXI adapters",
            "700 LUT and 1100 FF each, and 3 LUT and 4 FF a bit of data beyond 64",
            5 * 700 + 3 * 64 * (wide - 1),
            5 * 1100 + 4 * 64 * (wide - 1),
        ),
        Logic("registers", "AXI-Lite adapter", "a round figure", 350, 550),
        Logic(
            "processes",
            f"state machines, counters and addresses of {PROCESSES} processes",
            "three 32-bit counters or addresses each, 60 LUT and 40 FF of states",
            PROCESSES * (3 * 32 + 60),
            PROCESSES * (3 * 32 + 40),
        ),
        Logic(
            "descriptors",
            "the layer's and the step's records",
            "1 FF a bit, half a LUT to fill it",
            64 * (isa.LayerDescriptor.WORDS + isa.StepDescriptor.WORDS) // 2,
            64 * (isa.LayerDescriptor.WORDS + isa.StepDescriptor.WORDS),
        ),
    ]
