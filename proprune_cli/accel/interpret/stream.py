"""Decoding a step's part of the weight stream (``docs/engine.md``, "Taps")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.interpret.faults import Site

_REUSE, _BINARY = (np.uint64(1 << isa.TapHeader.layout()[name].low) for name in ("reuse", "binary"))
MAX_SHIFT = 6
"""Weights of one bit are at most 2 to this power in magnitude."""

_TAPS = isa.BlockHeader.layout()["taps"]


@dataclass(frozen=True)
class TapList:
    """All blocks of a step and their taps, in order.

    Attributes:
        blocks: the block headers, columnar [B].
        bias: int64 [B, OC]. multiplier: int64 [B, OC].
        first: int64 [B + 1], number of the first tap of each block.
        base, pattern: int64 [T].
        weights: int8 [distinct, OC, IC]; weight_of: int64 [T], the weights that each tap uses (-1: none, MAX).
    """

    blocks: isa.BlockHeader
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    first: NDArray[np.int64]
    base: NDArray[np.int64]
    pattern: NDArray[np.int64]
    weights: NDArray[np.int8]
    weight_of: NDArray[np.int64]

    @property
    def block_count(self) -> int:
        return len(self.first) - 1

    @property
    def tap_count(self) -> int:
        return len(self.base)

    def block_of(self) -> NDArray[np.int64]:
        """int64 [T]: the block of each tap."""
        return np.repeat(np.arange(self.block_count, dtype=np.int64), np.diff(self.first))


def decode_stream(array: Array, words: Words, block_count: int, is_max: bool, site: Site) -> TapList:
    """Decode ``block_count`` blocks, which must fill ``words`` exactly.

    Raises:
        InputError: the blocks overrun or do not fill the stream, are empty, or reuse weights that there are not.
    """
    heads: list[int] = []
    positions: list[NDArray[np.int64]] = []
    at = 0
    for block in range(block_count):
        if at + array.block_words > words.size:
            raise site.at_block(block).fault(f"the weight stream of {words.size} words ends inside the block's header")
        heads.append(at)
        taps = int(words[at]) >> _TAPS.low & _TAPS.bounds[1]
        if taps < 1:
            raise site.at_block(block).fault("the block has no taps")
        where, at = _tap_positions(array, words, at + array.block_words, taps, site.at_block(block))
        positions.append(where)
    if at != words.size:
        raise site.fault(f"weight_words is {words.size}, but the step's blocks are {at} words long")

    head = np.array(heads, dtype=np.int64)
    tap_at = np.concatenate(positions) if positions else np.zeros(0, dtype=np.int64)
    taps = isa.TapHeader.decode(words[tap_at])
    reuse = np.asarray(taps.reuse, dtype=np.bool_)
    if is_max and not reuse.all():
        raise site.fault("a tap of a MAX layer carries weights")
    if not is_max and reuse.size and reuse[0]:
        raise site.at_block(0, 0).fault("the step's first tap reuses weights, but there are none before it")
    biases = _follow(words, head + 1, array.oc // 2).view("<i4").astype(np.int64)
    multipliers = _follow(words, head + 1 + array.oc // 2, array.oc // 4).view("<u2").astype(np.int64)
    fresh, binary = tap_at[~reuse], np.asarray(taps.binary, dtype=np.bool_)[~reuse]
    weights = np.empty((len(fresh), array.oc, array.ic), dtype=np.int8)
    codes = _follow(words, fresh[~binary] + 1, array.ic * array.oc // isa.WORD_BYTES).view(np.int8)
    weights[~binary] = codes.reshape(-1, array.oc, array.ic)
    lanes, shift = (np.asarray(field, dtype=np.int64)[~reuse][binary] for field in (taps.lanes, taps.shift))
    if shift.size and int(shift.max()) > MAX_SHIFT:
        raise site.fault(f"a tap's weights are ±2^{int(shift.max())}; codes end at 127")
    weights[binary] = _signs(array, words, fresh[binary], lanes) << shift[:, None, None].astype(np.int8)
    return TapList(
        blocks=isa.BlockHeader.decode(words[head]),
        bias=biases.reshape(-1, array.oc),
        multiplier=multipliers.reshape(-1, array.oc),
        first=np.cumsum([0, *(len(p) for p in positions)], dtype=np.int64),
        base=np.asarray(taps.base, dtype=np.int64),
        pattern=np.asarray(taps.pattern, dtype=np.int64),
        weights=weights,
        weight_of=np.cumsum(~reuse, dtype=np.int64) - 1,
    )


def _tap_positions(array: Array, words: Words, start: int, taps: int, site: Site) -> tuple[NDArray[np.int64], int]:
    """Word numbers of a block's tap headers, and where the block ends."""
    # Nearly every block is all of one kind of tap: guess that; a guess is right when every header found confirms it.
    kinds = (array.tap_words, np.uint64(0)), (array.binary_tap_words, _BINARY), (array.reuse_tap_words, _REUSE)
    for length, kind in kinds:
        if start + taps * length <= words.size:
            where = start + length * np.arange(taps, dtype=np.int64)
            if bool((words[where] & (_REUSE | _BINARY) == kind).all()):
                return where, start + taps * length
    at, found = start, np.zeros(taps, dtype=np.int64)
    for tap in range(taps):
        if at >= words.size:
            raise site.fault(f"the weight stream of {words.size} words ends before tap {tap} of {taps}")
        found[tap] = at
        with_weights = array.binary_tap_words if words[at] & _BINARY else array.tap_words
        at += array.reuse_tap_words if words[at] & _REUSE else with_weights
    if at > words.size:
        raise site.fault(f"the weight stream of {words.size} words ends inside the block's last tap")
    return found, at


def _signs(array: Array, words: Words, at: NDArray[np.int64], lanes: NDArray[np.int64]) -> NDArray[np.int8]:
    """Weights of one bit of the taps at ``at``, int8 [len(at), OC, IC]: +1 or -1, 0 in lanes that do not count."""
    packed = _follow(words, at + 1, array.ic * array.oc // isa.WORD_BITS).view(np.uint8)
    plus = np.unpackbits(packed.reshape(len(at), array.ic * array.oc // 8), axis=1, bitorder="little").reshape(
        -1, array.oc, array.ic
    )
    counts = (lanes[:, None, None] >> np.arange(array.ic)) & 1
    return ((2 * plus.astype(np.int8) - 1) * counts).astype(np.int8)


def _follow(words: Words, starts: NDArray[np.int64], count: int) -> Words:
    """uint64 [len(starts), count]: ``count`` words from each start."""
    return words[starts[:, None] + np.arange(count, dtype=np.int64)]
