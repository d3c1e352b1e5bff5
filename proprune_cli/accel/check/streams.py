"""Weight streams: what their blocks and taps ask for, found once for all steps that share a stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Column, Words
from proprune_cli.accel.interpret.faults import Site

MAX_SHIFT = 6
"""Weights of one bit are at most 2 to this power."""

_TAP = isa.TapHeader.layout()
_REUSE, _BINARY = (np.uint64(1 << _TAP[name].low) for name in ("reuse", "binary"))
_TAPS = isa.BlockHeader.layout()["taps"]


@dataclass(frozen=True)
class Stream:
    """What a step runs.

    Attributes:
        blocks, taps, emit_blocks, emit_groups: counts, as the fields of a step of those names.
        last_slot: largest accumulator slot.
        groups: int64, output groups emitted, each once, ascending.
        reach: int64 [256], for each lane pattern the largest ``base`` of the taps that name it; -1: none does.
    """

    blocks: int
    taps: int
    emit_blocks: int
    emit_groups: int
    last_slot: int
    groups: NDArray[np.int64]
    reach: NDArray[np.int64]


def read_stream(array: Array, words: Words, is_max: bool, site: Site) -> Stream:
    """Walk the blocks that fill ``words``.

    Raises:
        InputError: they overrun or are empty, or a field of a block or a tap is outside what the array can do.
    """
    heads: list[int] = []
    positions: list[NDArray[np.int64]] = []
    at = 0
    while at < words.size:
        place = site.at_block(len(heads))
        if at + array.block_words > words.size:
            raise place.fault(f"the weight stream of {words.size} words ends inside the block's header")
        taps = int(words[at]) >> _TAPS.low & _TAPS.bounds[1]
        if not taps:
            raise place.fault("the block has no taps")
        heads.append(at)
        where, at = _taps_at(array, words, at + array.block_words, taps, place)
        positions.append(where)
    blocks = isa.BlockHeader.decode(words[np.array(heads, dtype=np.int64)])
    tap_at = np.concatenate(positions) if positions else np.zeros(0, dtype=np.int64)
    taps = isa.TapHeader.decode(words[tap_at])
    _check_taps(taps, is_max, site)
    reach = np.full(256, -1, dtype=np.int64)
    np.maximum.at(reach, np.asarray(taps.pattern), np.asarray(taps.base))
    emits = np.asarray(blocks.emit, dtype=np.bool_)
    counts, firsts = np.asarray(blocks.groups)[emits], np.asarray(blocks.out_group)[emits]
    if counts.size and not (counts.min() >= 1 and counts.max() <= array.oc_groups):
        raise site.fault(f"a block emits {counts.min()} to {counts.max()} groups; the array can 1 to {array.oc_groups}")
    groups = [np.unique(firsts[counts > g] + g) for g in range(array.oc_groups)]
    return Stream(
        blocks=len(heads),
        taps=tap_at.size,
        emit_blocks=int(emits.sum()),
        emit_groups=int(counts.sum()),
        last_slot=int(np.max(np.asarray(blocks.slot), initial=0)),
        groups=np.unique(np.concatenate(groups)),
        reach=reach,
    )


def _check_taps(taps: isa.TapHeader, is_max: bool, site: Site) -> None:
    reuse, binary = _flags(taps.reuse), _flags(taps.binary)
    shift = np.asarray(taps.shift)[binary & ~reuse]
    if shift.size and shift.max() > MAX_SHIFT:
        raise site.fault(f"a tap's weights are ±2^{shift.max()}; codes end at 127")
    if is_max and not reuse.all():
        raise site.fault("a tap of a MAX layer carries weights")
    if not is_max and reuse.size and reuse[0]:
        raise site.at_block(0, 0).fault("the step's first tap reuses weights, but there are none before it")


def _flags(column: int | Column) -> NDArray[np.bool_]:
    return np.asarray(column, dtype=np.bool_)


def _taps_at(array: Array, words: Words, start: int, taps: int, site: Site) -> tuple[NDArray[np.int64], int]:
    """Word numbers of a block's tap headers, and where the block ends."""
    # Nearly every block has taps of one kind: a guess is right where each header that it finds says so.
    kinds = (array.tap_words, np.uint64(0)), (array.binary_tap_words, _BINARY), (array.reuse_tap_words, _REUSE)
    for length, kind in kinds:
        if start + taps * length <= words.size:
            where = start + length * np.arange(taps, dtype=np.int64)
            found = words[where] & (_REUSE | _BINARY)
            if np.array_equal(np.where(found & _REUSE, _REUSE, found), np.full(taps, kind)):
                return where, start + taps * length
    at, positions = start, np.zeros(taps, dtype=np.int64)
    for tap in range(taps):
        if at >= words.size:
            raise site.fault(f"the weight stream of {words.size} words ends before tap {tap} of {taps}")
        positions[tap] = at
        head = words[at]
        with_weights = array.binary_tap_words if head & _BINARY else array.tap_words
        at += array.reuse_tap_words if head & _REUSE else with_weights
    if at > words.size:
        raise site.fault(f"the weight stream of {words.size} words ends inside the block's last tap")
    return positions, at
