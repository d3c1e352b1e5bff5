"""One mutated file for each seed, and the commands that take it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proprune_cli.artifact.seal import seal
from tests.fuzzing.mutate_bytes import mutate_bytes, mutate_npy, mutate_tensors, mutate_words
from tests.fuzzing.mutate_json import mutate_json
from tests.fuzzing.mutate_onnx import mutate_onnx
from tests.fuzzing.seeds import prune_command

Commands = list[list[str]]
ARTIFACTS = ("plain", "steps", "shapes")


@dataclass(frozen=True)
class Place:
    """Where a case works. ``seeds``: the files of `make_seeds`. ``work``: the working directory, emptied before each.

    ``planted``: texts that would run code where somebody called them.
    """

    seeds: Path
    work: Path
    planted: tuple[str, ...] = ()


def artifact_case(seed: int, place: Place) -> Commands:
    """An artifact with one or two members changed, its digests and its seal put right."""
    rng = random.Random(f"artifact {seed}")
    with zipfile.ZipFile(place.seeds / f"{rng.choice(ARTIFACTS)}.ppr") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(rng.choice((1, 1, 1, 2))):
        name = rng.choice([n for n in members if n != "manifest.json"])
        if rng.random() < 0.35:
            name = "manifest.json"
        elif rng.random() < 0.3:
            name = rng.choice([n for n in members if n.endswith(".onnx")] or [name])
        members[name] = _mutated_member(name, members[name], rng, place)
    _put_right(members, rng)
    target = place.work / "net.ppr"
    target.write_bytes(_sealed(members, rng))
    net = str(target)
    images = ["-i", str(place.seeds / "images.npy"), "-o", "y.npz"]
    more = [
        ["inspect", net, "--disassemble"],
        ["bench", net],
        ["run", net, *images, "--board", "cpu"],
        ["run", net, *images, "--board", "interpreter"],
        ["deploy", net, "--board", "interpreter"],
    ]
    return [["inspect", net, "--plan", "--json"], *rng.sample(more, 2)]


def _mutated_member(name: str, content: bytes, rng: random.Random, place: Place) -> bytes:
    if name.endswith(".json"):
        return mutate_json(content, rng, place.planted)
    if name.endswith(".onnx"):
        if rng.random() < 0.1:
            return (place.seeds / f"{rng.choice(ARTIFACTS)}.onnx").read_bytes()
        return mutate_onnx(content, rng)
    if name.endswith(".npy"):
        return mutate_npy(content, rng)
    return mutate_words(content, rng)


def _put_right(members: dict[str, bytes], rng: random.Random) -> None:
    """Lengths and digests in the manifest, where it still has a place for them, so that the integrity check passes."""
    try:
        manifest = json.loads(members["manifest.json"])
        for name, entry in manifest["members"].items():
            if name in members and isinstance(entry, dict):
                entry |= {"bytes": len(members[name]), "sha256": hashlib.sha256(members[name]).hexdigest()}
        if "program" in manifest and rng.random() < 0.5:
            manifest["program"]["image_words"] = len(members["program.bin"]) // 8
        members["manifest.json"] = json.dumps(manifest).encode("utf-8", "surrogatepass")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _sealed(members: dict[str, bytes], rng: random.Random) -> bytes:
    how = rng.random()
    if how < 0.03:
        del members[rng.choice(list(members))]
    elif how < 0.05:
        members[rng.choice(("../canary", "extra", "/etc/x", "golden/../manifest.json"))] = b"x"
    content = seal(members)
    if how > 0.98:  # another container with a seal that is right
        from proprune_cli.artifact import seal as sealing

        body = mutate_bytes(content, rng)[: -sealing._SEAL_BYTES]
        content = body + sealing._comment(body)
    return content


def onnx_case(seed: int, place: Place) -> Commands:
    """A mutated network to compile, and now and then to prune or with mutated calibration images."""
    rng = random.Random(f"onnx {seed}")
    target = place.work / "net.onnx"
    target.write_bytes(mutate_onnx((place.seeds / f"{rng.choice(ARTIFACTS)}.onnx").read_bytes(), rng))
    images = place.seeds / "images.npy"
    if rng.random() < 0.15:
        (place.work / "images.npy").write_bytes(mutate_npy(images.read_bytes(), rng))
        images = place.work / "images.npy"
    batch = ["--batch", "2"] if rng.random() < 0.1 else []
    commands = [["compile", str(target), "--calibration", str(images), "-o", "net.ppr", *batch]]
    if rng.random() < 0.25:
        commands.append(["load-onnx", str(target)])
    return commands


_LOADED = (
    *("run.json", "pruned.json", "dense.json", "pruned.safetensors", "dense.safetensors", "model.onnx"),
    *("calibration.npy", "run.json", "pruned.json"),
)
"""What commands read of a run, besides its stages."""


def run_case(seed: int, place: Place) -> Commands:
    """A run directory with one or two files changed, those of stages with their digests put right or not."""
    rng = random.Random(f"run {seed}")
    run = place.work / "run"
    shutil.copytree(place.seeds / "run", run)
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name != ".lock")
    loaded = [run / name for name in _LOADED]
    network = rng.choice(("pruned", "dense"))
    for _ in range(rng.choice((1, 1, 2))):
        path = rng.choice(loaded if rng.random() < 0.6 else files)
        network = path.stem if path.stem in ("pruned", "dense") else network
        _mutate_file(path, rng, place)
    for stage in sorted((run / "stages").glob("*/stage.json")):
        if rng.random() < 0.8:
            _reseal(stage)
    resume = prune_command(run)
    more = [
        ["compile", str(run), "-o", "net.ppr"],
        ["sensitivity", str(run), "--images", "20", "--shares", "0.5", "--network", network],
        resume if rng.random() < 0.7 else [*resume, "--force"],
    ]
    return [["load", str(run), network], *rng.sample(more, 2)]


def _mutate_file(path: Path, rng: random.Random, place: Place) -> None:
    if os.path.lexists(path) and not path.is_file():
        return  # changed before, into something that whoever writes to it waits for
    content = path.read_bytes() if path.is_file() else b""
    how = rng.random()
    if how < 0.06:
        path.unlink(missing_ok=True)
        kind = rng.randrange(4)
        if kind == 0:
            path.symlink_to("/dev/zero")
        elif kind == 1:
            os.mkfifo(path)
        elif kind == 2:
            path.mkdir(exist_ok=True)
        return
    if how < 0.1:
        beside = path.with_name(rng.choice((".lock", path.name + ".tmp")))
        if not beside.exists() and not beside.is_symlink():
            beside.symlink_to(place.work / "canary")
        return
    change: Callable[[bytes, random.Random], bytes] = mutate_bytes
    if path.suffix == ".json":
        path.write_bytes(mutate_json(content, rng, place.planted) if content else b"")
        return
    if path.suffix in (".safetensors", ".onnx", ".npy"):
        change = {".safetensors": mutate_tensors, ".onnx": mutate_onnx, ".npy": mutate_npy}[path.suffix]
    path.write_bytes(change(content, rng) if content else b"")


def _reseal(stage: Path) -> None:
    if not stage.is_file():
        return
    try:
        document = json.loads(stage.read_bytes())
        for name in document["files"]:
            if not (stage.parent / name).is_file():
                continue
            document["files"][name] = hashlib.sha256((stage.parent / name).read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    stage.write_text(json.dumps(document))


CASES: dict[str, Callable[[int, Place], Commands]] = {
    "artifact": artifact_case,
    "onnx": onnx_case,
    "run": run_case,
}
