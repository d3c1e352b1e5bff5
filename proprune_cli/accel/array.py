"""Array parameters: what one build of the engine is sized for. Read from ``configs/arrays/<name>.yaml``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from proprune_cli.accel import isa
from proprune_cli.errors import InputError, UsageError
from proprune_cli.files.yaml_text import read_yaml
from proprune_cli.resources import config_files, resource_dir
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


def array_names(*, own: bool = True) -> list[str]:
    """Names of all arrays; without ``own``, of those that come with proprune alone."""
    return list(config_files("arrays", own=own))


def load_array(name: str) -> Array:
    """Load array ``name``.

    Raises:
        UsageError: no such array.
        InputError: its file is malformed, or the engine cannot be built so.
    """
    files = config_files("arrays")
    if name not in files:
        raise UsageError(
            f"no array is called {name!r}",
            where=str(resource_dir("configs") / "arrays"),
            remedy=f"choose one of {', '.join(files)}",
        )
    path = files[name]
    return _read_array(path, path.stat().st_mtime_ns)


@cache
def _read_array(path: Path, _: int) -> Array:
    """The array of a file, read once as long as it does not change."""
    try:
        raw: Any = read_yaml(path)
        array = Array(name=path.stem, **raw)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise InputError(
            f"malformed array file: {error}", where=str(path), remedy="compare it with z7020-256.yaml"
        ) from error
    if faults := _faults(array):
        raise InputError(
            f"the engine cannot be built so: {'; '.join(faults)}",
            where=str(path),
            remedy="compare it with z7020-256.yaml; docs/engine.md says what each parameter is",
        )
    return array


_NUMBERS = (
    "px",
    "ic",
    "oc",
    "bank_depth",
    "acc_depth",
    "weight_port_words",
    "min_beats",
    "max_patterns",
    "scratch_words",
)


def _faults(array: Array) -> list[str]:
    """Why the engine's source and its contract have no room for ``array``."""
    odd = [name for name in _NUMBERS if type(getattr(array, name)) is not int or getattr(array, name) < 1]
    if odd:
        return [f"{name} is {getattr(array, name)!r}, not a whole number from 1 on" for name in odd]
    rules = {
        "px must be 2: two pixels share a multiplier": array.px == 2,
        "ic must be 8, 16, 24 or 32": array.ic in (8, 16, 24, 32),
        "oc must be a multiple of 8, and no more than ic": array.oc % isa.GROUP == 0 and array.oc <= array.ic,
        "max_patterns must be 256 at most": array.max_patterns <= 256,
        "dsp must be dsp48e1 or dsp48e2": array.dsp in ("dsp48e1", "dsp48e2"),
        "clock_mhz must be a number above 0": type(array.clock_mhz) in (int, float) and 0 < array.clock_mhz < 1e6,
        "part must be a part's name": type(array.part) is str and bool(array.part),
    }
    for name in ("bank_depth", "acc_depth", "scratch_words"):
        value = getattr(array, name)
        rules[f"{name} must be a power of two, 65536 at most"] = value & (value - 1) == 0 and value <= 65536
    return [rule for rule, holds in rules.items() if not holds]
