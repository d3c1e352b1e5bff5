"""The engine's own C++ source, compiled for this host on first use and called in place of a board.

The library is kept by `board.library_cache`, under a key that covers the sources, the array, the compiler and its
flags, and this machine's instruction set.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.deadline import UNLIMITED, out_of_time
from proprune_cli.accel.headers import identifier, own_headers
from proprune_cli.board.library_cache import built
from proprune_cli.errors import BoardError, InputError
from proprune_cli.resources import resource_dir

# Hidden symbols: the accumulators of two arrays' libraries have one name, and the loader would merge them.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-fvisibility=hidden")
SOURCES = ("src/engine.cpp", "host/host_api.cpp")
INCLUDES = ("generated", "src", "host")
COMPILE_SECONDS = 300
"""Time after which a compiler is taken to hang; compiling takes a few seconds."""


class NativeEngine:
    """One array's engine as a shared library.

    Args:
        array: the array to build for.
        packed: multiply as the DSPs do, two pixels per multiplier (slower; the tests compare it with the plain form).

    Raises:
        BoardError: there is no compiler, or it fails, or the library answers with another digest.
    """

    def __init__(self, array: Array, *, packed: bool = False) -> None:
        self.array = array
        defines = [f"-DPROPRUNE_ARRAY_{identifier(array.name)}"]
        if packed:
            defines.append("-DPROPRUNE_PACKED_DOT")
        self.library_path = _build(tuple(defines), own_headers(array))
        self._library = ctypes.CDLL(str(self.library_path))
        self._call = self._library.proprune_run
        self._call.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint64,
            *[ctypes.c_uint32] * 3,
            ctypes.c_double,
            *[ctypes.POINTER(ctypes.c_uint32)] * 2,
        ]
        self._call.restype = ctypes.c_uint32
        self._message = self._library.proprune_fault
        self._message.argtypes = []
        self._message.restype = ctypes.c_char_p
        self._lock = _library_lock(self.library_path)
        expected = int(array.digest[:8], 16)
        if self.digest() != expected:
            raise BoardError(
                f"the engine's headers carry digest {self.digest():08x}, the array's is {expected:08x}",
                where=f"array {array.name}",
                remedy="run `python -m proprune_cli.accel.generate`",
            )

    def digest(self) -> int:
        """First 32 bits of the contract digest, as the engine's register reports it."""
        digest, _completed = self._run(0, 0, 0, 0, 0, 1.0)
        return digest

    def run(self, buffer: Words, layer_table: int, step_count: int, counters: int, seconds: float = UNLIMITED) -> int:
        """Run a program in place; one run at a time, since the accumulators are the library's own.

        Args:
            buffer: uint64 [words], contiguous and writable: the DDR buffer with the program's image and input.
            layer_table, step_count, counters: the registers of those names.
            seconds: after which the run stops, at the end of a step.

        Returns:
            Steps completed.

        Raises:
            InputError: the buffer is not one, or the program reaches outside it or writes over itself, or its counts
                contradict each other.
            BoardError: the time is over, and steps are left.
        """
        if buffer.dtype != "<u8" or not buffer.flags.c_contiguous or not buffer.flags.writeable:
            raise InputError(
                f"the engine needs a contiguous, writable uint64 buffer, not {buffer.dtype}",
                where="NativeEngine.run",
                remedy="allocate it with numpy.zeros(words, dtype='<u8')",
            )
        _digest, completed = self._run(buffer.ctypes.data, buffer.size, layer_table, step_count, counters, seconds)
        if completed < step_count:
            raise out_of_time(seconds, f"the engine of array {self.array.name}", f"{completed} of {step_count} steps")
        return completed

    def _run(self, address: int, words: int, table: int, count: int, counters: int, seconds: float) -> tuple[int, int]:
        digest = ctypes.c_uint32()
        completed = ctypes.c_uint32()
        with self._lock:
            faults = int(
                self._call(
                    address, words, table, count, counters, seconds, ctypes.byref(digest), ctypes.byref(completed)
                )
            )
            message = bytes(self._message() or b"").decode()
        if faults:
            raise InputError(
                f"the program does not hold together: {message}",
                where=f"program for array {self.array.name}, word {table} of its layer table",
                remedy="compile the network again with this version of proprune",
            )
        return digest.value, completed.value


def counters_of(buffer: Words, counters: int, layer_count: int) -> isa.LayerCounters:
    """The LayerCounters that a run left in the buffer, columnar."""
    return isa.LayerCounters.decode(buffer[counters : counters + layer_count * isa.LayerCounters.WORDS])


_locks: dict[Path, threading.Lock] = {}


def _library_lock(path: Path) -> threading.Lock:
    return _locks.setdefault(path, threading.Lock())


def compiler() -> list[str]:
    """The C++ compiler's command: ``$CXX``, which may carry options, or g++.

    Raises:
        BoardError: its quotes do not pair.
    """
    given = os.environ.get("CXX", "")
    try:
        return shlex.split(given) or ["g++"]
    except ValueError as error:
        raise BoardError(
            f"CXX is no command: {given!r} ({error})",
            where="environment variable CXX",
            remedy="write it as a shell would read it, for example CXX='g++ -g'; unset it to use g++",
        ) from error


def _build(defines: tuple[str, ...], own: Mapping[str, str]) -> Path:
    """Path of the library for ``defines``, compiled if the cache has none.

    Args:
        own: headers in place of those in ``hls/generated``, by name.
    """
    command = compiler()
    source = resource_dir("hls")
    key = hashlib.sha256()
    for part in (*command, _compiler_version(tuple(command)), _instruction_set(), *FLAGS, *defines):
        key.update(part.encode() + b"\0")
    for path in sorted(p for folder in INCLUDES for p in (source / folder).rglob("*.[ch]pp")):
        key.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    for name, text in sorted(own.items()):
        key.update(name.encode() + b"\0" + text.encode())
    return built(f"engine-{key.hexdigest()[:32]}.so", lambda library: _compile(command, source, defines, own, library))


def _compile(command: list[str], source: Path, defines: tuple[str, ...], own: Mapping[str, str], library: Path) -> None:
    """Compile the library at ``library``."""
    headers = library.parent / "own"
    headers.mkdir()
    for name, text in own.items():
        (headers / name).write_text(text, encoding="utf-8")
    # The user's own optimisation level counts for more than ours; the compiler takes the last.
    level = [option for option in command[1:] if option.startswith("-O")]
    arguments = [*command, *FLAGS, *level, *defines, f"-I{headers}", *(f"-I{source / part}" for part in INCLUDES)]
    arguments += [str(source / s) for s in SOURCES]
    result = _call_compiler([*arguments, "-o", str(library)])
    if result.returncode != 0 or not library.is_file():
        raise BoardError(
            f"{command[0]} cannot compile the engine:\n{result.stderr.strip()[-3000:]}",
            where=str(source),
            remedy="use g++ 9 or clang 10 or later; set CXX to choose another compiler",
        )


def _call_compiler(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            arguments, capture_output=True, text=True, errors="replace", check=False, timeout=COMPILE_SECONDS
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise BoardError(
            f"no C++ compiler: {arguments[0]!r} {'was not found' if missing else f'cannot be run ({error.strerror})'}",
            where="PATH and CXX",
            remedy="install g++ (Debian, Ubuntu: apt install g++) or set CXX to a C++17 compiler",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BoardError(
            f"{arguments[0]} did not finish within {COMPILE_SECONDS} s",
            where="compiling the engine",
            remedy="set CXX to another compiler",
        ) from error


@cache
def _compiler_version(command: tuple[str, ...]) -> str:
    return _call_compiler([*command, "--version"]).stdout


@cache
def _instruction_set() -> str:
    """What ``-march=native`` depends on: a home directory may be shared by machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    wanted = ("flags", "Features", "model name", "CPU part")
    facts = sorted({line for line in lines if line.startswith(wanted)})
    return "\n".join([platform.machine(), platform.processor(), *facts])


def save_case(
    path: Path, array: Array, before: Words, after: Words, registers: tuple[int, int, int], result: tuple[int, int]
) -> None:
    """Write a case that the C++ testbench replays (``make -C hls run-<array> CASE=…``, or an HLS tool's simulation).

    Args:
        before, after: the buffer before and after a run. registers: layer_table, step_count, counters.
        result: address and length in words of what the testbench compares.
    """
    address, length = result
    head = [int.from_bytes(b"PPRCASE1", "little"), int(array.digest[:8], 16), before.size, *registers, address, length]
    with path.open("wb") as file:
        file.write(b"".join(word.to_bytes(8, "little") for word in head))
        file.write(before.tobytes())
        file.write(after[address : address + length].tobytes())
