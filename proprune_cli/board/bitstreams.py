"""Bitstream manifests (``bitstreams/<board>-<array>/manifest.json``): what is built for a board and an array.

``python -m proprune_cli.board.bitstreams --check`` verifies them all; ``--write`` brings the digests up to date. A
manifest that says "built" names the tool, its reports, and the SHA-256 of every file beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.boards import Board, board_names, load_board
from proprune_cli.errors import InputError, ProPruneError
from proprune_cli.files.json_text import parse_json
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.resources import resource_dir

FORMAT = 1
FILE = "manifest.json"
SUFFIXES = (".bit", ".hwh", ".xsa")
"""Files that belong to a built bitstream; the first two must be there."""

NOT_BUILT = (
    "it has not been synthesised; building it needs Vitis HLS and Vivado, and no build of this array has closed "
    "timing for this part yet"
)


@dataclass(frozen=True)
class Manifest:
    """One board with one array.

    Attributes:
        digest: contract digest of the array at the time of writing. clock_mhz: planned, or achieved where built.
        status: "built" or "not built". reason: why it is not built; empty where it is.
        tool: name and version of the tool that built it; empty where it is not built.
        files: SHA-256 (hex) of each file beside the manifest.
        reports: what timing and utilisation reports say, by name; numbers as the tool prints them.
        path: where the manifest stands; not stored.
    """

    board: str
    array: str
    part: str
    digest: str
    clock_mhz: float
    status: Literal["built", "not built"]
    reason: str
    tool: str = ""
    files: dict[str, str] = field(default_factory=dict[str, str])
    reports: dict[str, dict[str, str]] = field(default_factory=dict[str, "dict[str, str]"])
    path: Path = Path()

    def text(self) -> str:
        """The manifest as it is stored."""
        body: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        del body["path"]
        return json.dumps(body, indent=2) + "\n"


def manifest_path(board: Board, array: Array) -> Path:
    """Where the manifest of ``board`` with ``array`` stands."""
    return resource_dir("bitstreams") / f"{board.name}-{array.name}" / FILE


def not_built(board: Board, array: Array) -> Manifest:
    """The manifest of a bitstream that nobody has built."""
    return Manifest(
        board=board.name,
        array=array.name,
        part=board.part,
        digest=array.digest,
        clock_mhz=array.clock_mhz,
        status="not built",
        reason=NOT_BUILT,
        path=manifest_path(board, array),
    )


def load_manifest(board: Board, array: Array) -> Manifest:
    """Read and verify a manifest.

    Raises:
        InputError: it is malformed, or missing for a board and array that come with proprune, its digest is not the
            array's, or a built file is missing or altered.
    """
    path = manifest_path(board, array)
    if not path.exists() and (board, array) not in pairs(own=False):
        return not_built(board, array)
    manifest = read_manifest(path)
    if (manifest.board, manifest.array, manifest.part) != (board.name, array.name, board.part):
        raise _fault(path, f"it is for {manifest.board} ({manifest.part}) with {manifest.array}")
    if manifest.digest != array.digest:
        raise _fault(path, f"its contract digest is {manifest.digest[:16]}, the array's is {array.digest[:16]}")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and verify it against the files beside it.

    Raises:
        InputError: it is missing or malformed, or a built file is missing or altered.
    """
    try:
        raw: Any = parse_json(read_file(path, JSON_BYTES))
    except (OSError, ValueError) as error:
        raise _fault(path, f"it cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise _fault(path, "it is not a JSON object")
    body = cast("dict[str, Any]", raw)
    if body.pop("format", None) != FORMAT:
        raise _fault(path, f"it is not of format {FORMAT}")
    types = {
        **dict.fromkeys(("board", "array", "part", "digest", "status", "reason", "tool"), str),
        "clock_mhz": (int, float),
        "files": dict,
        "reports": dict,
    }
    if set(body) != {f.name for f in fields(Manifest)} - {"path"}:
        raise _fault(path, f"its keys are {', '.join(sorted(body))}")
    wrong = [key for key, kind in types.items() if not isinstance(body[key], kind)]
    if wrong:
        raise _fault(path, f"{wrong[0]} has the wrong type")
    manifest = Manifest(**body, path=path)
    if manifest.status == "built":
        _verify_built(manifest)
    elif manifest.status != "not built" or not manifest.reason:
        raise _fault(path, "its status must be 'built', or 'not built' with a reason")
    return manifest


def _verify_built(manifest: Manifest) -> None:
    path = manifest.path
    if not manifest.tool or not {"timing", "utilisation"} <= set(manifest.reports):
        raise _fault(path, "a built bitstream names its tool and has reports of timing and utilisation")
    suffixes = {Path(name).suffix for name in manifest.files}
    if not set(SUFFIXES[:2]) <= suffixes <= set(SUFFIXES):
        raise _fault(path, f"a built bitstream lists its {' and '.join(SUFFIXES[:2])} files")
    for name, expected in manifest.files.items():
        file = path.parent / Path(name).name
        if not file.is_file():
            raise _fault(path, f"{name} is missing")
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise _fault(path, f"{name} is not the file that was built")


def _fault(path: Path, what: str) -> InputError:
    return InputError(
        f"the bitstream manifest does not hold: {what}",
        where=str(path),
        remedy="run `python -m proprune_cli.board.bitstreams --write`; build the bitstream again if it was built",
    )


def pairs(*, own: bool = True) -> list[tuple[Board, Array]]:
    """Every board with every array that fits it; without ``own``, of those that come with proprune alone."""
    known = array_names(own=own)
    boards = map(load_board, board_names(own=own))
    return [(board, load_array(name)) for board in boards for name in board.arrays if name in known]


def check() -> list[str]:
    """What is wrong with the manifests; empty if nothing is."""
    faults: list[str] = []
    for board, array in pairs(own=False):
        try:
            load_manifest(board, array)
        except ProPruneError as error:
            faults.append(f"{error.where}: {error.what}")
    wanted = {manifest_path(board, array) for board, array in pairs(own=False)}
    faults += [
        f"{p}: no board takes this array"
        for p in sorted(resource_dir("bitstreams").glob(f"*/{FILE}"))
        if p not in wanted
    ]
    return faults


def write() -> list[Path]:
    """Write "not built" over every manifest that does not hold; returns the ones written."""
    written: list[Path] = []
    for board, array in pairs(own=False):
        try:
            load_manifest(board, array)
        except ProPruneError:
            path = manifest_path(board, array)
            path.parent.mkdir(exist_ok=True)
            path.write_text(not_built(board, array).text(), encoding="utf-8")
            written.append(path)
    return written


def main() -> int:
    """Entry point of ``python -m proprune_cli.board.bitstreams``."""
    parser = argparse.ArgumentParser(prog="python -m proprune_cli.board.bitstreams", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="exit 1 and say why if a manifest does not hold")
    what.add_argument("--write", action="store_true", help="mark bitstreams that do not hold as not built")
    if parser.parse_args().write:
        for path in write():
            print(f"wrote {path}", file=sys.stderr)
    faults = check()
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
