"""One process of a campaign: mutates, runs the commands, says of each what came of it. Its parent sees to its end.

Lines on standard output are JSON: ``{"start": seed, …}`` before a mutant is run, ``{"done": seed, …}`` after.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import typer.main

from benchmarks.fuzz.mutate import Mutant, mutant
from proprune_cli.board.native import NativeEngine
from proprune_cli.cli import app
from proprune_cli.cli.app import run_cli
from proprune_cli.errors import ProPruneError


def commands(seed: int, artifact: Path, images: Path, board: str) -> list[list[str]]:
    """What is done with a mutant: always on the compiled engine, and something else besides."""
    out = str(artifact.with_suffix(".npz"))
    further = [
        ["run", str(artifact), "-i", str(images), "-o", out, "--board", "interpreter"],
        ["inspect", str(artifact), "--disassemble", "--plan"],
        ["bench", str(artifact), "--board", board],
        ["deploy", str(artifact), "--board", "interpreter"],
        ["run", str(artifact), "-i", str(images), "-o", out, "--board", board],
        ["run", str(artifact), "-i", str(images), "-o", out, "--board", "cpu"],
    ]
    return [["deploy", str(artifact), "--board", board], further[seed % len(further)]]


def board_of(name: str) -> str:
    """The emulated board that a network of the campaign was compiled for."""
    return "emulated:zcu104" if name.endswith("_zu") else "emulated:pynq-z2"


def run(arguments: list[str]) -> tuple[int, str]:
    """A command's exit code and what it wrote to the error stream."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_cli(arguments)
    return code, err.getvalue()


def run_alone(m: Mutant, engine: NativeEngine) -> tuple[int, str]:
    """The engine behind its own check alone, without the one that comes before; as an exit code and a message."""
    size = min(max(m.manifest["program"]["size"], len(m.words)), 1 << 20)
    buffer = np.zeros(size, dtype="<u8")
    buffer[: len(m.words)] = m.words[:size]
    try:
        engine.run(buffer, *m.registers(), seconds=10.0)
    except ProPruneError as error:
        return int(error.exit_code), str(error)
    return 0, ""


def work(sources: Sequence[Path], seeds: Sequence[int], folder: Path, say: TextIO) -> None:
    """Run the mutants of ``seeds``; mutant n is made of source n modulo their number."""
    contents = {source: source.read_bytes() for source in sources}
    # All that must be compiled is, before the first mutant's time begins.
    arrays = {Mutant(content, 0).array for content in contents.values()}
    engines = {array.name: NativeEngine(array) for array in arrays}
    for seed in seeds:
        source = sources[seed % len(sources)]
        m = mutant(contents[source], seed)
        artifact = folder / f"mutant-{os.getpid()}.ppr"
        artifact.write_bytes(m.sealed())
        for arguments in [
            *commands(seed, artifact, source.with_suffix(".npy"), board_of(source.stem)),
            ["engine", "alone"],
        ]:
            note = {"start": seed, "of": source.stem, "did": "; ".join(m.notes), "command": arguments}
            print(json.dumps(note), file=say)
            say.flush()
            start = time.monotonic()
            if arguments[0] == "engine":
                code, err = run_alone(m, engines[m.array.name])
            else:
                code, err = run(arguments)
            done = {"done": seed, "code": code, "seconds": round(time.monotonic() - start, 3), "said": err[:400]}
            done["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(json.dumps(done), file=say)
            say.flush()
        artifact.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("stop", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    asked = parser.parse_args()
    # The commands' options are read by a parser that is made once: making it takes longer than refusing a mutant.
    parse = typer.main.get_command(app.app).main
    app.app = cast("Any", lambda **given: parse(**given))
    # What numpy says of a mutant's numbers is no finding.
    np.seterr(all="ignore")
    say = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    work([asked.folder / f"{n}.ppr" for n in asked.names], range(asked.first, asked.stop), asked.folder, say)


if __name__ == "__main__":
    main()
