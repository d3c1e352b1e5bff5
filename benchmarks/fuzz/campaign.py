"""Runs mutants in processes of their own, with the engine built under the compiler's sanitisers, and collects findings.

A finding is: an exit code that no error of the user's has (70, or any that is none of ours), a process that dies, a
report of the sanitisers, a command that takes longer than 30 s, a process that needs more than 2 GiB.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proprune_cli.board.native import COMPILE_SECONDS, compiler

HANG_SECONDS = 30.0
MEMORY_MIB = 2048
EXPECTED = (0, 1, 3, 4, 5)
"""Exit codes of an artifact that is right (0), or that is refused in one of the ways that a user is told of."""

SANITISERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
OPTIONS = {
    # Python and ONNX Runtime are not built for it; leaks and mismatches of theirs are not ours.
    "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0:new_delete_type_mismatch=0:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


@dataclass
class Tally:
    """What a campaign found."""

    commands: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak_mib: int = 0

    def __iadd__(self, other: Tally) -> Tally:
        self.commands += other.commands
        self.codes += other.codes
        self.findings += other.findings
        self.slowest, self.peak_mib = max(self.slowest, other.slowest), max(self.peak_mib, other.peak_mib)
        return self


def sanitised() -> dict[str, str] | None:
    """Environment of a process whose engine is compiled with the sanitisers; None: the compiler has none."""
    command = compiler()
    found = [
        subprocess.run([*command, f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=False)
        for name in ("asan", "ubsan")
    ]
    libraries = [run.stdout.strip() for run in found]
    if any(run.returncode for run in found) or not all(Path(path).is_absolute() for path in libraries):
        return None
    # The engine is loaded by a Python that knows nothing of the sanitisers, so they come first.
    return {"CXX": " ".join([*command, *SANITISERS]), "LD_PRELOAD": ":".join(libraries), **OPTIONS}


def run_range(first: int, stop: int, folder: Path, names: Sequence[str], environment: dict[str, str]) -> Tally:
    """Mutants ``first`` to ``stop`` - 1, in one process after another: a new one after each that dies or hangs."""
    tally = Tally()
    while first < stop:
        command = [sys.executable, "-m", "benchmarks.fuzz.worker", str(first), str(stop), str(folder), *names]
        with (folder / f"errors-{first}.txt").open("w+b") as errors:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            last = _follow(process, tally)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        (folder / f"errors-{first}.txt").unlink()
        if process.returncode == 0:
            break
        if not last:
            raise RuntimeError(f"the worker does not start: {said[-2000:]}")
        tally.findings.append(
            f"seed {last['start']} ({last['of']}): {_ending(process.returncode)} in {last['command'][0]}: "
            f"{last['did']}\n{_interesting(said)}"
        )
        first = last["start"] + 1
    return tally


def _ending(code: int) -> str:
    return "no end within 30 s" if code == -9 else f"process died with {code}"


def _interesting(said: str) -> str:
    """The part of a sanitiser's report that names the fault."""
    lines = said.splitlines()
    marks = [n for n, line in enumerate(lines) if "ERROR: " in line or "runtime error" in line]
    start = marks[0] if marks else max(0, len(lines) - 12)
    return "\n".join(f"    {line}" for line in lines[start : start + 12])


def _follow(process: subprocess.Popen[str], tally: Tally) -> dict[str, Any]:
    """Read the worker's lines until it ends or is silent too long; the last mutant that it started."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    last: dict[str, Any] = {}
    # The first line comes when the engine is compiled.
    wait = COMPILE_SECONDS
    while True:
        try:
            line = lines.get(timeout=wait)
        except queue.Empty:
            process.kill()
            break
        if line is None:
            break
        note: dict[str, Any] = json.loads(line)
        if "start" in note:
            wait, last = HANG_SECONDS, note
        else:
            _count(note, last, tally)
    process.wait()
    return last


def _count(note: dict[str, Any], last: dict[str, Any], tally: Tally) -> None:
    tally.commands += 1
    tally.codes[note["code"]] += 1
    tally.slowest = max(tally.slowest, note["seconds"])
    what = f"seed {last['start']} ({last['of']}), {' '.join(last['command'][:1] + last['command'][-2:])}: {last['did']}"
    if note["code"] not in EXPECTED:
        tally.findings.append(f"{what}: exit {note['code']}\n    {note['said']}")
    if note["peak_mib"] > MEMORY_MIB >= tally.peak_mib:
        tally.findings.append(f"{what}: {note['peak_mib']} MiB")
    tally.peak_mib = max(tally.peak_mib, note["peak_mib"])
