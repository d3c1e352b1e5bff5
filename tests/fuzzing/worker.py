"""A process that runs a range of seeds and says after each what became of it, one JSON line each.

Its memory is limited, and a case that takes too long ends it: whoever started it sees how far it came.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from proprune_cli.errors import ExitCode, ProPruneError
from tests.fuzzing.canary import Canary
from tests.fuzzing.cases import CASES, Place
from tests.fuzzing.seeds import make_seeds

SECONDS = 30.0
"""Of processor time: what else runs on the machine must not decide."""
WAIT = 150.0
"""Of the clock: what sleeps or waits has no processor time."""
BYTES = 2 << 30
CODES = frozenset({0, 1, 2, 3, 4, 5})


def outcome(arguments: list[str]) -> tuple[int, str]:
    """Exit code and last words of a command; functions of the Python interface are commands of their own here."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        if arguments[0] in ("load", "load-onnx"):
            code = _function(arguments)
        else:
            from proprune_cli.cli.app import run_cli

            code = run_cli(arguments)
    return code, said.getvalue()[-600:]


def _function(arguments: list[str]) -> int:
    try:
        if arguments[0] == "load":
            import proprune_cli

            proprune_cli.load(arguments[1], arguments[2])
        else:
            from proprune_cli.nets.onnx_import import import_onnx

            import_onnx(Path(arguments[1]))
    except ProPruneError as error:
        return int(error.exit_code)
    except Exception as error:  # noqa: BLE001 - what is not of the family is the fault that is sought
        import traceback

        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        traceback.print_exc()
        return int(ExitCode.BUG)
    return 0


def case(kind: str, seed: int, place: Place, canary: Canary) -> dict[str, Any]:
    """What became of a seed: ``fault`` is empty where all is well."""
    shutil.rmtree(place.work, ignore_errors=True)
    place.work.mkdir()
    os.chdir(place.work)
    commands = CASES[kind](seed, place)
    faults: list[str] = []
    codes: list[int] = []
    begin = time.process_time()
    for arguments in commands:
        _reset_peak()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # nobody handles these: the process ends
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        code, said = outcome(arguments)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        codes.append(code)
        if code not in CODES:
            faults.append(f"{arguments[0]}: exit {code}: {said}")
        elif "out of memory" in said:
            faults.append(f"{arguments[0]}: {said}")
        if (peak := _peak()) > BYTES:
            faults.append(f"{arguments[0]}: {peak / 2**30:.1f} GiB")
        faults += [f"{arguments[0]}: ran {what}" for what in canary.sung()]
    return {"seed": seed, "codes": codes, "seconds": time.process_time() - begin, "fault": "; ".join(faults)}


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(CASES))
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--seeds", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # native code may print what it likes
    make_seeds(given.seeds, run=given.kind == "run")
    import torch

    torch.set_num_threads(1)
    canary = Canary(given.work)
    canary.file.parent.mkdir(parents=True, exist_ok=True)
    place = Place(given.seeds, given.work, canary.planted)
    for arguments in CASES[given.kind](0, _fresh(place)):
        outcome(arguments)  # so that what is imported and built once does not count
    gc.collect()
    gc.freeze()  # what stays anyway is not looked at again
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 3 * (1 << 30), resource.RLIM_INFINITY))
    for seed in range(given.first, given.last):
        print(json.dumps({"start": seed}), file=out, flush=True)
        print(json.dumps(case(given.kind, seed, place, canary)), file=out, flush=True)


def _fresh(place: Place) -> Place:
    shutil.rmtree(place.work, ignore_errors=True)
    place.work.mkdir(parents=True)
    os.chdir(place.work)
    return place


if __name__ == "__main__":
    main()
