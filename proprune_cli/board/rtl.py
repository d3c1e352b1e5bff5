"""The engine in SystemVerilog, simulated by Verilator in front of a modelled memory: its bytes, and its cycles.

The model of the memory is `rtl/sim/memory.hpp`: what it is set to here are assumptions about DDR, not measurements.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import threading
from dataclasses import astuple, dataclass, replace
from functools import cache
from pathlib import Path

from proprune_cli.accel.array import Array, array_names
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.boards import Board
from proprune_cli.accel.deadline import out_of_time
from proprune_cli.accel.headers import identifier, own_headers
from proprune_cli.accel.rtl_packages import array_package, package_name
from proprune_cli.accel.timing import DDR_BURST_BYTES
from proprune_cli.board.library_cache import built
from proprune_cli.errors import BoardError, InputError
from proprune_cli.resources import resource_dir

BUILD_SECONDS = 900
VERILATOR = (
    "--cc", "--exe", "--build", "-O3", "--x-initial", "unique", "-Wno-fatal", "--top-module", "engine",
)  # fmt: skip
COMPILER = ("-std=c++17", "-fPIC", "-O2", "-march=native", "-fvisibility=hidden", "-DVL_USER_FATAL")
SLOWEST = 10_000.0
"""Cycles in a second that a simulation makes at least, on the slowest machine that it should run on."""


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
        cycles: of the last run, from the start to the end.

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
            self._digest = self._run(0, 0, 0, 0, 0, 60.0).digest
        return self._digest

    def run(self, buffer: Words, layer_table: int, step_count: int, counters: int, seconds: float) -> int:
        """Run a program in place; see `NativeEngine.run`. ``seconds`` are not those of a simulation, which is slower.

        Raises:
            InputError: the engine reaches outside the buffer.
            BoardError: it breaks a rule of the bus, stands still, or takes too long.
        """
        result = self._run(buffer.ctypes.data, buffer.size, layer_table, step_count, counters, seconds * 1000)
        self.cycles = int(result.cycles)
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

    def with_memory(self, memory: SimulatedMemory) -> RtlEngine:
        """The same engine before another memory."""
        return RtlEngine(self.array, replace(memory))


def missing() -> str | None:
    """Why nothing can be simulated here; None: it can."""
    return None if shutil.which("verilator") else "verilator is not installed (Debian, Ubuntu: apt install verilator)"


def sources() -> list[Path]:
    """The engine's own files, packages first."""
    folder = resource_dir("rtl") / "src"
    return sorted(folder.glob("*.sv"), key=lambda path: (not path.stem.endswith("_pkg"), path.name))


def _build(array: Array) -> Path:
    if reason := missing():
        raise BoardError(reason, where="--board rtl:…", remedy="install Verilator 5, or name emulated:… instead")
    files = [resource_dir("rtl") / "generated" / "isa_pkg.sv", *sources()]
    harness = sorted((resource_dir("rtl") / "sim").glob("*.[ch]pp"))
    package, own = array_package(array), own_headers(array)
    key = hashlib.sha256(f"{VERILATOR}{COMPILER}{_version()}{package}{sorted(own.items())}".encode())
    for path in (*files, *harness):
        key.update(path.name.encode() + b"\0" + path.read_bytes())

    def build(library: Path) -> None:
        folder = library.parent
        (folder / "own").mkdir()
        for name, text in {**own, package_name(array.name): package}.items():
            (folder / "own" / name).write_text(text, encoding="utf-8")
        headers = [folder / "own", resource_dir("hls") / "generated", resource_dir("rtl") / "sim"]
        flags = [*COMPILER, f"-DPROPRUNE_ARRAY_{identifier(array.name)}", *(f"-I{path}" for path in headers)]
        if array.name not in array_names(own=False) and not own:
            raise AssertionError("an array of the user's has headers of its own")
        command = [
            "verilator", *VERILATOR, "-CFLAGS", " ".join(flags), "-LDFLAGS", "-shared", "-Mdir", str(folder / "made"),
            "-o", str(library), str(files[0]), str(folder / "own" / package_name(array.name)),
            *map(str, files[1:]), *(str(path) for path in harness if path.suffix == ".cpp"),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, timeout=BUILD_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise BoardError(
                f"verilator did not finish within {BUILD_SECONDS} s",
                where="building the simulation",
                remedy="try again with nothing else running",
            ) from error
        if done.returncode or not library.is_file():
            raise BoardError(
                f"verilator cannot build the engine:\n{(done.stderr or done.stdout).strip()[-3000:]}",
                where=str(resource_dir("rtl")),
                remedy="use Verilator 5 with g++ 10 or later",
            )

    return built(f"rtl-{key.hexdigest()[:32]}.so", build)


@cache
def _version() -> str:
    found = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=False, timeout=60)
    return found.stdout
