"""Opening boards by name, and bitstream manifests."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.artifact import Artifact
from proprune_cli.board import base, bitstreams, registry
from proprune_cli.cli import bench as cli_bench
from proprune_cli.cli import deploy as cli_deploy
from proprune_cli.cli import run as cli_run
from proprune_cli.errors import BoardError, ExitCode, InputError, UsageError

BOARD = load_board("pynq-z2")
ARRAY = load_array("z7020-256")


def test_the_interpreter_opens_for_every_array() -> None:
    session = registry.open_board("interpreter", load_array("zu-1024"))
    assert (session.name, session.source) == ("interpreter", "simulated")


def test_an_emulated_board_says_that_it_is_one() -> None:
    session = registry.open_board("emulated:pynq-z2", ARRAY)
    assert (session.name, session.source) == ("emulated:pynq-z2", "simulated")


@pytest.mark.parametrize("name", ["", "emulated", "emulated:", "emulated:interpreter", "pynq-z9", "pynq"])
def test_an_unknown_name_is_a_usage_error_that_lists_the_choices(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.open_board(name, ARRAY)
    for choice in ("interpreter", "emulated:pynq-z2", "zcu104"):
        assert choice in caught.value.remedy


@pytest.mark.parametrize("name", ["emulated:pynq-z2", "pynq-z2"])
def test_a_board_refuses_an_array_that_does_not_fit_it(name: str) -> None:
    with pytest.raises(BoardError, match="cannot carry array zu-1024"):
        registry.open_board(name, load_array("zu-1024"))


def test_a_real_board_without_a_bitstream_is_refused_with_the_manifests_reason() -> None:
    with pytest.raises(BoardError) as caught:
        registry.open_board("pynq-z2", ARRAY)
    assert bitstreams.load_manifest(BOARD, ARRAY).reason in caught.value.what
    assert "emulated:pynq-z2" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.BOARD


def test_the_manifests_in_the_repository_hold() -> None:
    assert bitstreams.check() == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory in place of ``bitstreams``."""
    monkeypatch.setattr(bitstreams, "resource_dir", lambda name: tmp_path)
    return tmp_path


def test_writing_makes_manifests_that_hold_and_leaves_them_alone_afterwards(folder: Path) -> None:
    assert len(bitstreams.check()) == len(bitstreams.pairs())
    assert len(bitstreams.write()) == len(bitstreams.pairs())
    assert bitstreams.check() == []
    assert bitstreams.write() == []


def test_a_stale_digest_and_a_stray_manifest_are_found(folder: Path) -> None:
    bitstreams.write()
    stale = replace(bitstreams.not_built(BOARD, ARRAY), digest="0" * 64)
    stale.path.write_text(stale.text(), encoding="utf-8")
    (folder / "pynq-z2-zu-1024").mkdir()
    (folder / "pynq-z2-zu-1024" / "manifest.json").write_text("{}", encoding="utf-8")
    faults = bitstreams.check()
    assert len(faults) == 2
    assert f"{'0' * 16}, the array's is {ARRAY.digest[:16]}" in faults[0]
    assert "no board takes this array" in faults[1]
    assert bitstreams.write() == [stale.path]


def built(folder: Path) -> bitstreams.Manifest:
    """A manifest that says "built", with its files."""
    manifest = replace(
        bitstreams.not_built(BOARD, ARRAY),
        status="built", reason="", tool="Vivado 2023.2",
        reports={"timing": {"wns_ns": "0.1"}, "utilisation": {"dsp": "140"}},
    )  # fmt: skip
    manifest.path.parent.mkdir(exist_ok=True)
    files = {}
    for name in ("engine.bit", "engine.hwh"):
        (manifest.path.parent / name).write_bytes(name.encode())
        files[name] = hashlib.sha256(name.encode()).hexdigest()
    manifest = replace(manifest, files=files)
    manifest.path.write_text(manifest.text(), encoding="utf-8")
    return manifest


def test_a_built_manifest_is_verified_against_its_files(folder: Path) -> None:
    manifest = built(folder)
    assert bitstreams.load_manifest(BOARD, ARRAY) == manifest
    (manifest.path.parent / "engine.bit").write_bytes(b"other")
    with pytest.raises(InputError, match=r"engine\.bit is not the file that was built"):
        bitstreams.load_manifest(BOARD, ARRAY)
    (manifest.path.parent / "engine.bit").unlink()
    with pytest.raises(InputError, match=r"engine\.bit is missing"):
        bitstreams.load_manifest(BOARD, ARRAY)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tool": ""}, "names its tool"),
        ({"reports": {"timing": {}}}, "reports of timing and utilisation"),
        ({"files": {"engine.bit": "0"}}, r"lists its \.bit and \.hwh"),
        ({"files": 3}, "files has the wrong type"),
        ({"status": "soon"}, "its status must be"),
        ({"status": "not built"}, "its status must be"),
        ({"format": 2}, "not of format 1"),
        ({"extra": 1}, "its keys are"),
        ({"board": "pynq-z1"}, "it is for pynq-z1"),
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, change: dict[str, object], what: str) -> None:
    manifest = built(folder)
    body = json.loads(manifest.path.read_text(encoding="utf-8")) | change
    manifest.path.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(InputError, match=what):
        bitstreams.load_manifest(BOARD, ARRAY)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\udcff"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    path = bitstreams.manifest_path(BOARD, ARRAY)
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="manifest does not hold"):
        bitstreams.load_manifest(BOARD, ARRAY)


def test_a_real_board_with_a_bitstream_is_not_silently_emulated(folder: Path) -> None:
    built(folder)
    with pytest.raises(BoardError, match="cannot reach a real board"):
        registry.open_board("pynq-z2", ARRAY)


@pytest.mark.parametrize("place", registry.PLACES, ids=lambda place: place.title)
def test_every_place_gives_the_golden_bytes_and_says_what_its_times_are(
    place: registry.Place, artifact: Artifact
) -> None:
    for name in place.names:
        if not (board := place.board(name)) or ARRAY.name in board.arrays:
            try:
                executor = registry.open_executor(artifact, name, "tiny.ppr")
            except BoardError as error:
                assert place is registry.REAL, error
                continue
            result = executor.run(artifact.golden.codes_in)
            assert executor.name == name and result.source in get_args(base.Source)
            assert all(np.array_equal(a, b) for a, b in zip(result.outputs, artifact.golden.codes_out, strict=True))


def test_the_names_of_places_tell_them_apart_and_stand_in_the_help() -> None:
    names = [name for place in registry.PLACES for name in place.names]
    assert len(names) == len(set(names))
    help_text = " ".join(" ".join(inspect.getsource(module).split()) for module in (cli_run, cli_deploy, cli_bench))
    assert all((place.name or "real board") in help_text for place in registry.PLACES)
