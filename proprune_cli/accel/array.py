"""Array parameters: what one build of the engine is sized for. Read from ``configs/arrays/<name>.yaml``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, cast

import yaml

from proprune_cli.accel import isa
from proprune_cli.errors import InputError, UsageError
from proprune_cli.resources import resource_dir
from proprune_cli.work.taps import LaneCounts


@dataclass(frozen=True)
class Array:
    """PX × IC × OC multiply-accumulates per cycle and the buffers around them.

    Attributes:
        px: output pixels per cycle. ic: input lanes. oc: output channels.
        bank_depth: cells of one input lane's bank (bytes; there are two banks per lane, ping and pong).
        acc_depth: accumulator entries of PX × OC int32.
        weight_port_words: 64-bit words per beat of the weight port.
        min_beats: shortest tap in cycles: the accumulate loop's read-to-write distance.
        max_patterns: lane patterns held on chip.
        scratch_words: words of the engine's own memory for tensors that need not visit DDR, a power of two.
        dsp: "dsp48e1" or "dsp48e2".
        part: the FPGA part the array is sized for.
        clock_mhz: clock the array is planned for.
    """

    name: str
    px: int
    ic: int
    oc: int
    bank_depth: int
    acc_depth: int
    weight_port_words: int
    min_beats: int
    max_patterns: int
    scratch_words: int
    dsp: str
    part: str
    clock_mhz: float

    @property
    def macs_per_cycle(self) -> int:
        return self.px * self.ic * self.oc

    @property
    def ic_groups(self) -> int:
        """Parts of the lanes, one channel group each."""
        return self.ic // isa.GROUP

    @property
    def oc_groups(self) -> int:
        return self.oc // isa.GROUP

    @property
    def lane_counts(self) -> LaneCounts:
        """How many channels the lanes take."""
        return LaneCounts(self.ic, self.oc, isa.GROUP)

    @property
    def block_words(self) -> int:
        """Words of a block header with its biases and multipliers, padded to the weight port."""
        return self._padded(1 + self.oc // 2 + self.oc // 4)

    @property
    def tap_words(self) -> int:
        """Words of a tap with weights, padded to the weight port."""
        return self._padded(1 + self.ic * self.oc // isa.WORD_BYTES)

    @property
    def binary_tap_words(self) -> int:
        """Words of a tap with weights of one bit."""
        return self._padded(1 + self.ic * self.oc // isa.WORD_BITS)

    @property
    def reuse_tap_words(self) -> int:
        """Words of a tap without weights."""
        return self._padded(1)

    @property
    def pattern_words(self) -> int:
        return self.ic // 4

    def _padded(self, words: int) -> int:
        return -(-words // self.weight_port_words) * self.weight_port_words

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the contract: every record and register of the ISA, and this array's parameters."""
        contract = {
            "version": isa.VERSION,
            "records": {
                r.__name__: {n: [b.word, b.low, b.width, b.signed] for n, b in r.layout().items()} for r in isa.RECORDS
            },
            "registers": {r.name: [r.offset, r.width] for r in isa.REGISTERS},
            "values": {e.__name__: {m.name: int(m) for m in e} for e in (isa.Mode, isa.Combine, isa.Lookup)},
            "constants": {"on_chip": isa.ON_CHIP, "steps_in_flight": isa.STEPS_IN_FLIGHT},
            "array": {k: v for k, v in asdict(self).items() if k not in ("part", "clock_mhz")},
        }
        return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()


def array_names() -> list[str]:
    """Names of the arrays that ``configs/arrays`` declares."""
    return sorted(p.stem for p in (resource_dir("configs") / "arrays").glob("*.yaml"))


@cache
def load_array(name: str) -> Array:
    """Load array ``name``.

    Raises:
        UsageError: no such array.
        InputError: its file is malformed.
    """
    path = resource_dir("configs") / "arrays" / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(
            f"no array is called {name!r}",
            where=str(path.parent),
            remedy=f"choose one of {', '.join(array_names())}",
        )
    try:
        raw = cast("dict[str, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))
        return Array(name=name, **raw)
    except (yaml.YAMLError, TypeError) as error:
        raise InputError(
            f"malformed array file: {error}", where=str(path), remedy="compare it with z7020-256.yaml"
        ) from error
