"""Board facts: what a board has, and where each number comes from. Read from ``configs/boards/<name>.yaml``.

A number in those files is always ``{value: …, source: …}``; a source names a document, or says ``assumption:`` and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.errors import DoesNotFitError, InputError, UsageError
from proprune_cli.files.yaml_text import read_yaml
from proprune_cli.resources import config_files, resource_dir

ASSUMPTION = "assumption:"
"""How the source of a number begins that no document gives."""


@dataclass(frozen=True)
class Resources:
    """What the part's fabric has. ``bram36``: blocks of 36 Kib; ``uram``: UltraRAM blocks of 288 Kib."""

    dsp: int
    bram36: int
    uram: int
    lut: int
    ff: int


@dataclass(frozen=True)
class Coefficient:
    """A number of the energy or the host model: its true value is taken to lie within ``value / factor`` and
    ``value * factor``.
    """

    value: float
    factor: float
    source: str


@dataclass(frozen=True)
class EnergyCoefficients:
    """See :mod:`proprune_cli.accel.energy`.

    Attributes:
        static_w: whole board, engine configured and waiting, W. mac_pj: one multiply-accumulate done, pJ.
        slot_pj: one multiplier of the array for one clock, used or not, pJ. ddr_pj_per_byte: DDR traffic, pJ per byte.
    """

    static_w: Coefficient
    mac_pj: Coefficient
    slot_pj: Coefficient
    ddr_pj_per_byte: Coefficient


@dataclass(frozen=True)
class HostCoefficients:
    """See :mod:`proprune_cli.measure.host_model`.

    Attributes:
        operator_us: to begin one operator, µs. move_cycles, arithmetic_cycles, function_cycles: of the processor for an
            element that is copied or converted, that has an addition, product or comparison, or any other function.
    """

    operator_us: Coefficient
    move_cycles: Coefficient
    arithmetic_cycles: Coefficient
    function_cycles: Coefficient


@dataclass(frozen=True)
class Rail:
    """A supply that the board itself can measure."""

    name: str
    sensor: str


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        ddr_peak_gb_s: of the memory devices, 1e9 bytes per second.
        ddr_planned_gb_s: what the engine is taken to get, all ports together.
        ddr_latency_ns: from a read request of the engine to its first word, memory not busy.
        hp_port_bits, hp_ports: the fabric's high-performance memory ports.
        cpu_mhz: of the application processor.
        cma_bytes: contiguous memory that can be allocated.
        arrays: names of the arrays that fit; the first is the default.
        rails: supplies with a sensor; empty where power needs an external meter.
        power_note: how power is measured on this board.
        host: what its processor takes for the host's steps; None where the file says nothing of it.
        sources: where each number comes from, by its path in the file (``ddr.peak_gb_s``).
    """

    name: str
    title: str
    part: str
    resources: Resources
    ddr_peak_gb_s: float
    ddr_planned_gb_s: float
    ddr_latency_ns: float
    hp_port_bits: int
    hp_ports: int
    cpu_mhz: float
    cma_bytes: int
    arrays: tuple[str, ...]
    rails: tuple[Rail, ...]
    power_note: str
    energy: EnergyCoefficients
    sources: Mapping[str, str] = field(repr=False)
    host: HostCoefficients | None = None

    @property
    def default_array(self) -> str:
        return self.arrays[0]

    def hp_port_gb_s(self, clock_mhz: float) -> float:
        """Bandwidth of one high-performance port in one direction, GB/s, one beat per engine clock."""
        return self.hp_port_bits / 8 * clock_mhz * 1e-3


def board_names(*, own: bool = True) -> list[str]:
    """Names of all boards; without ``own``, of those that come with proprune alone."""
    return list(config_files("boards", own=own))


def load_board(name: str) -> Board:
    """Load board ``name``. It carries users' arrays for its part too.

    Raises:
        UsageError: no such board.
        InputError: its file is malformed, or a number in it has no source.
    """
    files = config_files("boards")
    if name not in files:
        raise UsageError(
            f"no board is called {name!r}",
            where=str(resource_dir("configs") / "boards"),
            remedy=f"choose one of {', '.join(files)}",
        )
    path = files[name]
    board = _read_once(path, path.stat().st_mtime_ns)
    own = [load_array(a) for a in array_names() if a not in array_names(own=False) and a not in board.arrays]
    return replace(board, arrays=(*board.arrays, *(array.name for array in own if array.part == board.part)))


@cache
def _read_once(path: Path, _: int) -> Board:
    """The board of a file, read once as long as it does not change."""
    return read_board(path)


def board_with_array(board_name: str, array_name: str | None = None) -> tuple[Board, Array]:
    """A board and an array that fits it; None: the board's own.

    Raises:
        UsageError: there is no such board or array.
        DoesNotFitError: the board cannot carry the array.
        InputError: a file is malformed.
    """
    board = load_board(board_name)
    array = load_array(array_name or board.default_array)
    if array.name not in board.arrays:
        raise DoesNotFitError(
            f"{board.name} ({board.part}) cannot carry array {array.name}",
            where="--array",
            remedy=f"choose one of {', '.join(board.arrays)}, or another --board",
        )
    return board, array


def read_board(path: Path) -> Board:
    """Read a board file; the board is called like the file.

    Raises:
        InputError: it is malformed, or a number in it has no source.
    """
    try:
        raw: Any = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"cannot read the board file: {error}", where=str(path), remedy="compare it with pynq-z2.yaml"
        ) from error
    sources: dict[str, str] = {}
    top = _Section(raw, "", path, sources)
    resources, ddr, ports, energy = (top.section(k) for k in ("resources", "ddr", "hp_ports", "energy"))
    board = Board(
        name=path.stem,
        title=top.text("title"),
        part=top.text("part"),
        resources=Resources(**{k: resources.integer(k) for k in ("dsp", "bram36", "uram", "lut", "ff")}),
        ddr_peak_gb_s=ddr.number("peak_gb_s"),
        ddr_planned_gb_s=ddr.number("planned_gb_s"),
        ddr_latency_ns=ddr.number("latency_ns"),
        hp_port_bits=ports.integer("bits"),
        hp_ports=ports.integer("count"),
        cpu_mhz=top.number("cpu_mhz"),
        cma_bytes=top.integer("cma_mib") << 20,
        arrays=tuple(top.texts("arrays")),
        rails=tuple(Rail(r.text("name"), r.text("sensor")) for r in top.sections("rails")),
        power_note=top.text("power_note"),
        energy=EnergyCoefficients(
            **{k: energy.coefficient(k) for k in ("static_w", "mac_pj", "slot_pj", "ddr_pj_per_byte")}
        ),
        sources=sources,
        host=_host(top),
    )
    for section in (top, resources, ddr, ports, energy):
        section.refuse_rest()
    if not board.arrays:
        raise top.fault("arrays", "names no array")
    if board.ddr_planned_gb_s > board.ddr_peak_gb_s:
        raise ddr.fault("planned_gb_s", "is above the peak")
    return board


def _host(top: _Section) -> HostCoefficients | None:
    section = top.optional("host")
    if section is None:
        return None
    names = ("operator_us", "move_cycles", "arithmetic_cycles", "function_cycles")
    host = HostCoefficients(**{name: section.coefficient(name) for name in names})
    section.refuse_rest()
    return host


_NUMBERS_BELOW = 1e15
"""No quantity of a board is near it; above, and for infinity and NaN, arithmetic with it means nothing."""


class _Section:
    """A mapping of the file, read key by key; collects the sources of its numbers."""

    def __init__(self, raw: object, path: str, file: Path, sources: dict[str, str]) -> None:
        self._path, self._file, self._sources = path, file, sources
        if not isinstance(raw, dict):
            raise self.fault("", "is not a mapping")
        self._rest = dict(cast("dict[str, Any]", raw))

    def fault(self, key: str, what: str) -> InputError:
        name = f"{self._path}.{key}".strip(".") or "the file"
        return InputError(
            f"malformed board file: {name} {what}", where=str(self._file), remedy="compare it with pynq-z2.yaml"
        )

    def refuse_rest(self) -> None:
        if self._rest:
            raise self.fault(next(iter(self._rest)), "is no key of a board file")

    def section(self, key: str) -> _Section:
        return _Section(self._take(key), f"{self._path}.{key}".strip("."), self._file, self._sources)

    def optional(self, key: str) -> _Section | None:
        return self.section(key) if key in self._rest else None

    def sections(self, key: str) -> list[_Section]:
        items = self._list(key)
        return [
            _Section(r, f"{self._path}.{key}[{i}]".strip("."), self._file, self._sources) for i, r in enumerate(items)
        ]

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(key, "must be text")
        return value.strip()

    def texts(self, key: str) -> list[str]:
        items = self._list(key)
        if not all(isinstance(i, str) for i in items):
            raise self.fault(key, "must be a list of names")
        return cast("list[str]", items)

    def number(self, key: str) -> float:
        return self._quantity(key, with_factor=False)[0]

    def integer(self, key: str) -> int:
        value = self.number(key)
        if value != int(value):
            raise self.fault(key, "must be a whole number")
        return int(value)

    def coefficient(self, key: str) -> Coefficient:
        value, factor = self._quantity(key, with_factor=True)
        return Coefficient(value, factor, self._sources[f"{self._path}.{key}"])

    def _quantity(self, key: str, *, with_factor: bool) -> tuple[float, float]:
        quantity = self.section(key)
        value = quantity._plain("value")
        factor = quantity._plain("factor") if with_factor else 1.0
        if factor < 1:
            raise quantity.fault("factor", "must be at least 1")
        self._sources[quantity._path] = quantity.text("source")
        quantity.refuse_rest()
        return value, factor

    def _plain(self, key: str) -> float:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _NUMBERS_BELOW:
            raise self.fault(key, "must be a number, not negative")
        return float(value)

    def _list(self, key: str) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.fault(key, "must be a list")
        return cast("list[Any]", value)

    def _take(self, key: str) -> Any:
        if key not in self._rest:
            raise self.fault(key, "is missing")
        return self._rest.pop(key)
