"""Mutated programs with valid checksums, through the commands: refused, or run, and never anything else.

The long campaign is ``python -m benchmarks fuzz_engine``; these are its first mutants, and what it must be able to see.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz.campaign import EXPECTED, OPTIONS, run_range, sanitised
from benchmarks.fuzz.mutate import MUTATIONS, Mutant, mutant
from benchmarks.fuzz.networks import compiled
from benchmarks.fuzz.worker import board_of
from proprune_cli.accel.array import load_array
from proprune_cli.accel.check import check_program
from proprune_cli.artifact import load_artifact, unpack
from proprune_cli.board.registry import open_executor
from proprune_cli.errors import ProPruneError

NAMES = ("depthwise", "residual", "guided_binary", "free", "host_steps", "batch", "pool", "tiles", "dense_zu")
IN_PROCESS, SANITISED = 270, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of the campaign's networks."""
    directory = tmp_path_factory.mktemp("fuzz")
    for name in NAMES:
        compiled(name, directory)
    return directory


def test_the_networks_use_every_part_of_the_contract(folder: Path) -> None:
    """Else a field would be mutated that nothing reads."""
    programs = {name: load_artifact(folder / f"{name}.ppr").program for name in NAMES}
    seen: Counter[str] = Counter()
    for name in NAMES:
        content = (folder / f"{name}.ppr").read_bytes()
        m = Mutant(content, 0)
        for place in m.places:
            for field in place.record.layout():
                seen[f"{place.record.__name__}.{field}"] += place.get(m.words, field) != 0
    # Chance, and the power of two of weights of one bit, which is 1 where multipliers hold the scale.
    by_chance = {"LayerDescriptor.shift_a", "LayerDescriptor.shift_b", "LayerDescriptor.subtract", "TapHeader.shift"}
    assert {field for field, count in seen.items() if not count} <= by_chance
    assert programs["batch"].batch > 1
    assert programs["host_steps"].host_steps


@pytest.mark.parametrize("mutation", dict.fromkeys(MUTATIONS), ids=lambda m: m.__name__)
def test_a_mutation_changes_the_artifact_and_seals_it(folder: Path, mutation: object) -> None:
    content = (folder / "host_steps.ppr").read_bytes()
    changed = 0
    for seed in range(5):
        m = Mutant(content, seed)
        mutation(m)  # type: ignore[operator]
        assert m.notes
        changed += m.sealed() != Mutant(content, seed).sealed()
        with contextlib.suppress(ProPruneError):
            unpack(m.sealed(), "mutant.ppr")
    assert changed


def test_mutants_are_refused_or_run(folder: Path) -> None:
    """Through load, check and run, as the commands go, on the engine as users have it."""
    contents = {name: (folder / f"{name}.ppr").read_bytes() for name in NAMES}
    ran: Counter[str] = Counter()
    with np.errstate(all="ignore"):
        for seed in range(IN_PROCESS):
            name = NAMES[seed % len(NAMES)]
            m = mutant(contents[name], seed)
            try:
                artifact = unpack(m.sealed(), "mutant.ppr")
                executor = open_executor(artifact, board_of(name), "mutant.ppr")
                executor.run(artifact.golden.codes_in)
                ran["emulated"] += 1
                # What the check lets through may still contradict itself; the interpreter is the strictest.
                open_executor(artifact, "interpreter", "mutant.ppr").run(artifact.golden.codes_in)
                ran["interpreted"] += 1
            except ProPruneError as error:
                assert int(error.exit_code) in EXPECTED
                ran["refused"] += 1
            except Exception as error:
                raise AssertionError(f"mutant {seed} of {name}: {'; '.join(m.notes)}") from error
    # Mutants that are all refused, or all harmless, would prove nothing.
    assert min(ran["emulated"], ran["interpreted"]) > IN_PROCESS // 20
    assert ran["refused"] > IN_PROCESS // 4


def test_the_image_is_as_it_was_after_a_run(folder: Path) -> None:
    """What is read as program is not written: the bytes say so, whatever the check says."""
    from proprune_cli.board.native import NativeEngine

    compared = 0
    for name in ("residual", "batch"):
        content = (folder / f"{name}.ppr").read_bytes()
        engine = NativeEngine(load_array(load_artifact(folder / f"{name}.ppr").program.array))
        for seed in range(60):
            m = Mutant(content, seed)
            m.point()
            m.mend()
            with contextlib.suppress(ProPruneError):
                program = unpack(m.sealed(), "mutant.ppr").program
                check_program(program, engine.array)
                buffer = np.zeros(program.size, dtype="<u8")
                buffer[: program.image.size] = program.image
                engine.run(buffer, *m.registers(), seconds=20.0)
                np.testing.assert_array_equal(buffer[: program.image.size], program.image)
                compared += 1
    assert compared > 5


needs_sanitisers = pytest.mark.skipif(sanitised() is None, reason="the C++ compiler has no address sanitiser")


@needs_sanitisers
def test_mutants_under_the_sanitisers(folder: Path) -> None:
    # One array: the engine is compiled for each.
    tally = run_range(0, SANITISED, folder, NAMES[:-1], sanitised() or {})
    assert not tally.findings
    assert tally.commands == 3 * SANITISED
    assert tally.codes[0] and tally.codes[1]


@needs_sanitisers
def test_the_sanitisers_see_the_engine(tmp_path: Path) -> None:
    """A library that writes behind its buffer, compiled and loaded as the engine is, ends its process."""
    environment = sanitised()
    assert environment is not None
    source, library = tmp_path / "bad.cpp", tmp_path / "bad.so"
    source.write_text('extern "C" void bad(unsigned long long* words, long n) { words[n] = 1; }\n')
    command = [*environment["CXX"].split(), "-O3", "-fPIC", "-shared", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    code = (
        "import ctypes, numpy; b = numpy.zeros(16, dtype='u8'); "
        f"ctypes.CDLL('{library}').bad(ctypes.c_void_p(b.ctypes.data), ctypes.c_long(N))"
    )
    for at, fault in ((15, False), (16, True)):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("N)", f"{at})")],
            env={**os.environ, "LD_PRELOAD": environment["LD_PRELOAD"], **OPTIONS},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("heap-buffer-overflow" in done.stderr) == fault
        assert (done.returncode != 0) == fault
