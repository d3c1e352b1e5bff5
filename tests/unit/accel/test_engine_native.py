"""The host library: building, caching, and what it says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.bitfield import Record
from proprune_cli.accel.headers import identifier
from proprune_cli.board import native
from proprune_cli.board.library_cache import cache_dir
from proprune_cli.board.native import NativeEngine, compiler, save_case
from proprune_cli.errors import BoardError, InputError
from proprune_cli.resources import resource_dir
from tests.unit.accel.engine_builder import build
from tests.unit.accel.engine_case import Case

ARRAY = load_array("z7020-256")


def test_digest_is_the_arrays() -> None:
    assert NativeEngine(ARRAY).digest() == int(ARRAY.digest[:8], 16)


def test_no_steps_completes_none_and_touches_nothing() -> None:
    buffer = np.arange(20, dtype="<u8")
    assert NativeEngine(ARRAY).run(buffer, 0, 0, 0) == 0
    np.testing.assert_array_equal(buffer, np.arange(20))


def test_layers_run_one_after_the_other() -> None:
    built = build(Case(), ARRAY)
    words = isa.LayerDescriptor.WORDS
    # The same layer twice: the table moves to the end, then come two sets of counters.
    table = built.buffer[built.layer_table : built.layer_table + words]
    buffer = np.concatenate([built.buffer, table, table, np.zeros(2 * isa.LayerCounters.WORDS, dtype="<u8")])
    start = built.buffer.size
    assert NativeEngine(ARRAY).run(buffer, start, 2, start + 2 * words) == 2
    counts = native.counters_of(buffer, start + 2 * words, 2)
    assert list(np.asarray(counts.iterations)) == [built.iterations] * 2


@pytest.mark.parametrize("buffer", [np.zeros(8, dtype="<u4"), np.zeros(16, dtype="<u8")[::2]], ids=["type", "stride"])
def test_an_unsuitable_buffer_is_refused(buffer: np.ndarray) -> None:
    with pytest.raises(InputError, match="contiguous, writable uint64"):
        NativeEngine(ARRAY).run(buffer, 0, 0, 0)


def patched(fields: dict[str, int]) -> tuple[np.ndarray, int, int]:
    """A good program with some fields of its layer, its step, its first block and its first tap changed."""
    case = Case(kernel=(3, 3), combine=isa.Combine.ADD, lookup=isa.Lookup.AFTER, window=(1, 1, 1, 1))
    built = build(case, ARRAY)
    left = dict(fields)

    def patch(record: type[Record], at: int, prefix: str = "") -> Any:
        words = built.buffer[at : at + record.WORDS]
        row = record.decode(words.copy()).row(0)
        chosen = {name: left.pop(prefix + name) for name in record.layout() if prefix + name in left}
        words[:] = record(**{**row.__dict__, **chosen}).encode()[0]
        return row

    layer = patch(isa.LayerDescriptor, built.layer_table)
    # A stream's address and length that are changed are not where the blocks stand.
    step = patch(isa.StepDescriptor, int(layer.step_table))
    patch(isa.BlockHeader, int(step.weights), "block ")
    patch(isa.TapHeader, int(step.weights) + ARRAY.block_words, "tap ")
    assert not left
    return built.buffer, built.layer_table, built.counters


FAULTS = [
    ("end of the step table", {"step_table": 2**31}),
    ("end of the pattern table", {"pattern_table": 2**31}),
    ("pattern count", {"pattern_count": 65}),
    ("mode is 2, at most 1", {"mode": 2}),
    ("combination is 3, at most 2", {"combine": 3}),
    ("lookup is 3, at most 2", {"lookup": 3}),
    ("end of the lookup table", {"lookup_table": 2**31}),
    ("pitch of the input planes is 6, at least 7", {"in_pitch": 6}),
    ("end of an input plane", {"in_pitch": 60000}),
    ("end of the group table", {"first_group": 60000}),
    ("groups of a chunk", {"groups_per_chunk": 0}),
    ("bank cells of the tile", {"pitch": 2000}),
    ("bank cells read", {"tap base": 8185}),
    ("bank cells read", {"pitch": 1000, "stride_y": 3}),
    ("lane pattern", {"tap pattern": 60}),
    ("end of the weight stream", {"weights": 2**31}),
    ("beats is 513", {"beats": 513}),
    ("beats is 7, at least 8", {"beats": 7}),
    ("pixels of the tile", {"tile_width": 400}),
    ("distance of output rows", {"out_step_y": 0}),
    ("distance of output rows", {"out_pitch": 0}),
    ("distance of output pixels", {"out_step_x": 0}),
    ("end of an output plane", {"oy0": 30}),
    ("end of an output plane", {"ox0": 100}),
    ("end of an output plane", {"out_step_y": 15}),
    ("end of an output plane", {"out_step_x": 15, "out_step_y": 3}),
    ("end of an output plane", {"out_base": 2**32 - 1}),
    ("end of an output plane", {"block out_group": 2000}),
    ("end of the residual table", {"residual_table": 2**31}),
    ("groups of a block is 2, at most 1", {"block groups": 2}),
    ("taps of a block is 0, at least 1", {"block taps": 0}),
    ("accumulators", {"block slot": 255}),
    ("iterations", {"iterations": 2**31}),
    ("length of the blocks", {"weight_words": 30}),
    ("steps of a layer is 0, at least 1", {"step_count": 0}),
    ("steps of a layer is 2, at most 1", {"step_count": 2}),
    ("steps that a step depends on is 9, at most 8", {"depends": 9}),
    ("end of an output plane on chip is 8193, at most 8192", {"out_base": isa.ON_CHIP + 8193 - 20}),
    ("iterations is 8, the weight stream has 50", {"iterations": 8}),
    ("taps is 4294967295, the weight stream has 5", {"taps": 2**32 - 1, "iterations": 2**32 - 1}),
    ("blocks is 2, the weight stream has 1", {"blocks": 2}),
    ("emit_blocks is 0, the weight stream has 1", {"emit_blocks": 0}),
    ("emit_groups is 2, the weight stream has 1", {"emit_groups": 2}),
    ("words loaded", {"pitch": 0, "rows": 65535}),
]


@pytest.mark.parametrize(("what", "fields"), FAULTS, ids=[" ".join(f) for _, f in FAULTS])
def test_a_program_that_does_not_hold_together_is_refused(what: str, fields: dict[str, int]) -> None:
    buffer, table, counters = patched(fields)
    before = buffer.copy()
    with pytest.raises(InputError, match=what):
        NativeEngine(ARRAY).run(buffer, table, 1, counters)
    np.testing.assert_array_equal(buffer, before)


def test_the_program_that_the_faults_start_from_runs() -> None:
    buffer, table, counters = patched({})
    assert NativeEngine(ARRAY).run(buffer, table, 1, counters) == 1


@pytest.mark.parametrize("broadcast", [False, True])
def test_a_residual_plane_outside_the_buffer_is_refused(broadcast: bool) -> None:
    built = build(Case(combine=isa.Combine.MULTIPLY, broadcast=broadcast), ARRAY)
    words = built.buffer[built.layer_table : built.layer_table + isa.LayerDescriptor.WORDS]
    entry = int(isa.LayerDescriptor.decode(words).row(0).residual_table)
    # The last address that fits: a plane is as large as what is stored, or one word.
    last = built.buffer.size - (1 if broadcast else built.output_words)
    built.buffer[entry] = last
    assert NativeEngine(ARRAY).run(built.buffer, built.layer_table, 1, built.counters) == 1
    built.buffer[entry] = last + 1
    with pytest.raises(InputError, match="end of a residual plane"):
        NativeEngine(ARRAY).run(built.buffer, built.layer_table, 1, built.counters)


def test_tables_and_planes_outside_the_buffer_are_refused() -> None:
    engine = NativeEngine(ARRAY)
    with pytest.raises(InputError, match="layer table"):
        engine.run(np.zeros(8, dtype="<u8"), 0, 1, 0)
    built = build(Case(), ARRAY)
    with pytest.raises(InputError, match=r"end of an? (in|out)put plane"):
        engine.run(built.buffer[:-5].copy(), built.layer_table, 1, built.counters)


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPRUNE_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BoardError, match="no-such-compiler") as caught:
        NativeEngine(ARRAY)
    assert "CXX" in caught.value.remedy


def test_a_failing_compiler_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPRUNE_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", " ".join([*compiler(), "-DHLS_PIPELINE=", "-include", "no_such_header.hpp"]))
    with pytest.raises(BoardError, match=r"no_such_header\.hpp"):
        NativeEngine(ARRAY)
    assert not list(tmp_path.rglob("*.so"))


def test_an_unwritable_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("PROPRUNE_CACHE", str(blocked / "below"))
    with pytest.raises(BoardError, match="cannot write"):
        NativeEngine(ARRAY)


def test_two_processes_build_one_library(tmp_path: Path) -> None:
    program = "from proprune_cli.accel.array import load_array; from proprune_cli.board.native import NativeEngine; "
    program += "print(NativeEngine(load_array('z7020-256')).digest())"
    environment = {"PROPRUNE_CACHE": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {process.communicate(timeout=120)[0].strip() for process in started}
    assert answers == {str(int(ARRAY.digest[:8], 16))}
    assert len(list(tmp_path.rglob("*.so"))) == 1
    assert not list(tmp_path.rglob("build-*"))


def test_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPRUNE_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("PROPRUNE_CACHE")
    assert cache_dir() == Path("/b/proprune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "proprune"


@pytest.mark.parametrize("name", array_names())
def test_testbench_passes_and_replays_an_exported_case(name: str, tmp_path: Path) -> None:
    array = load_array(name)
    built = build(Case(channels=24, outputs=24, kernel=(3, 3), pads=(1, 1, 1, 1), groups_per_step=2), array)
    before = built.buffer.copy()
    NativeEngine(array).run(built.buffer, built.layer_table, built.steps, built.counters)
    case = tmp_path / "case"
    registers = (built.layer_table, built.steps, built.counters)
    result = (built.output, built.output_words)
    save_case(case, array, before, built.buffer, registers, result)

    flags = "CXXFLAGS=-std=c++14 -O2 -Wall -Wextra -Werror -Wno-unused-label"
    hls = str(resource_dir("hls"))
    make = ["make", "-C", hls, f"BUILD={tmp_path}", flags, f"run-{identifier(name)}"]
    output = subprocess.run(make, check=True, capture_output=True, text=True).stdout
    assert output.count(" ok ") == 13
    subprocess.run([*make, f"CASE={case}"], check=True, capture_output=True)

    # One wrong byte must be found.
    built.buffer[built.output] ^= np.uint64(1)
    save_case(case, array, before, built.buffer, registers, result)
    failed = subprocess.run([*make, f"CASE={case}"], check=False, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "1 differences" in failed.stdout
