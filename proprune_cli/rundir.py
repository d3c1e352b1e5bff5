"""Run directories: what was asked, stages that appear whole or not at all, and files for the next command.

    RUN/run.json           what was asked, with which packages, on which data
    RUN/stages/NAME/       output of a finished stage; stage.json holds its key and the hash of each file
    RUN/stages/NAME.partial/   a stage at work, with its checkpoint
    RUN/*                  published files (results.json, model.onnx, ...)

A file is written beside its place, flushed and renamed; a stage is a directory that is renamed when it is complete. So
a process killed at any moment leaves nothing half-written, and the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from proprune_cli.errors import InputError, ProPruneError
from proprune_cli.files.json_text import parse_json, parse_object
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.write import open_lock, replace_file, sync

RUN_VERSION = 1
_PACKAGES = ("proprune", "torch", "numpy", "onnx", "onnxruntime", "safetensors", "scikit-learn")
_NOT_COMPARED = frozenset({"data_dir", "engine"})
"""Options that do not decide the outcome: the data's own hash is recorded."""


def read_options(run: Path) -> dict[str, Any]:
    """What the run in ``run`` was asked for, as it was recorded.

    Raises:
        InputError: the directory is not a run.
    """
    if not (run / "run.json").is_file():
        raise InputError(
            "the directory is no run", where=str(run), remedy=f"make one with `proprune prune … --out {run}`"
        )
    options: dict[str, Any] = _read_run(run / "run.json")["options"]
    return options


def content_key(value: Any) -> str:
    """SHA-256 of a JSON value in its one canonical spelling."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class RunDir:
    """A locked run directory; use as a context manager. Satisfies `proprune_cli.train.workspace.Workspace`.

    Args:
        command: that works in it. options: what it was asked for, JSON values.
        force: go on although the run was started with other options, keeping the stages they do not change.
        lender: another run directory, whose finished stages with equal inputs are copied and not made again.

    Raises:
        InputError: the directory is in use, not a run, of another run, or cannot be written.
    """

    def __init__(
        self, path: Path, command: str, options: dict[str, Any], *, force: bool = False, lender: Path | None = None
    ) -> None:
        self._path = path
        self._command = command
        self._options = options
        self._force = force
        self._lender = lender
        self._lock: IO[str] | None = None
        self._made = self._known = False
        self._published: list[Path] = []
        self._document: dict[str, Any] = {}

    def __enter__(self) -> RunDir:
        with _io_errors(self._path):
            if self._path.exists() and not self._path.is_dir():
                raise InputError("this is a file", where=str(self._path), remedy="name a directory with --out")
            known = (self._path / "run.json").is_file()
            strangers = [] if known or not self._path.exists() else [p.name for p in self._path.iterdir()]
            if any(name not in (".lock", "run.json.tmp") for name in strangers):
                raise InputError(
                    "the directory holds other files and is no run",
                    where=str(self._path),
                    remedy="name a new directory with --out",
                )
            self._made, self._known = not self._path.exists(), known
            self._path.mkdir(parents=True, exist_ok=True)
            self._acquire()
        try:
            self._start(known)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, ProPruneError) and not self._known:
            self._disclaim()
        self._release()

    def _disclaim(self) -> None:
        """Leave no run behind where a refusal came before anything was made; the refusal itself is what is told."""
        stages = self._path / "stages"
        with contextlib.suppress(OSError):
            # A stage that asked a question has no file but its own record.
            if any(p.is_file() and p.name != "stage.json" for p in stages.rglob("*")):
                return
            shutil.rmtree(stages, ignore_errors=True)
            for path in self._published:
                path.unlink(missing_ok=True)
            (self._path / "run.json").unlink(missing_ok=True)
            if self._made:
                (self._path / ".lock").unlink(missing_ok=True)
                self._path.rmdir()

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    def stage(self, name: str, inputs: dict[str, Any]) -> StageDir:
        """The stage ``name``, finished when an earlier process finished it with equal ``inputs``.

        Raises:
            InputError: it was finished with other inputs and the run is not forced, or its files are damaged.
        """
        key = content_key(inputs)
        final = self._path / "stages" / name
        partial = self._path / "stages" / f"{name}.partial"
        with _io_errors(final):
            for place in (final.parent, final, partial):
                if place.is_symlink():
                    raise InputError(
                        "a link lies where a directory of the run should be",
                        where=str(place),
                        remedy="look where it leads and remove it, or name a new directory with --out",
                    )
            if final.is_dir():
                stage = StageDir(final, partial, key, inputs)
                if stage.matches(final):
                    stage.check()
                    return stage
                if not self._force:
                    raise InputError(
                        f"what the stage {name!r} was made from has changed since (model code, weights or data)",
                        where=str(final),
                        remedy="add --force to make it again, or name a new directory with --out",
                    )
                shutil.rmtree(final)
            stage = StageDir(final, partial, key, inputs)
            lent = None if self._lender is None else self._lender / "stages" / name
            borrows = lent is not None and not lent.is_symlink() and lent.is_dir() and stage.matches(lent)
            if partial.is_dir() and (borrows or not stage.matches(partial)):
                shutil.rmtree(partial)
            partial.mkdir(parents=True, exist_ok=True)
            if lent is not None and borrows:
                stage.copy(lent)
                return stage
            _write(partial / "stage.json", _json_bytes({"key": key, "inputs": inputs, "files": {}}))
        return stage

    def record(self, name: str, value: Any) -> None:
        """Note a fact in ``run.json``; a resumed run must find the same.

        Raises:
            InputError: the run was started with another value and is not forced.
        """
        facts: dict[str, Any] = self._document["facts"]
        if name in facts and facts[name] != value and not self._force:
            raise InputError(
                f"{name} has changed since this run was started",
                where=str(self._path),
                remedy="add --force to go on with what is there now, or name a new directory with --out",
            )
        if facts.get(name) != value:
            facts[name] = value
            self._save()

    def publish(self, name: str, data: bytes) -> Path:
        """Write a file at the top of the directory.

        Raises:
            InputError: it cannot be written.
        """
        target = self._path / name
        with _io_errors(target):
            _write(target, data)
        self._published.append(target)
        return target

    def withdraw(self, name: str) -> None:
        """Remove a file at the top of the directory, if it is there.

        Raises:
            InputError: it cannot be removed.
        """
        target = self._path / name
        with _io_errors(target):
            target.unlink(missing_ok=True)

    def _start(self, known: bool) -> None:
        if not known:
            self._document = self._fresh()
            self._save()
            return
        self._document = _read_run(self._path / "run.json")
        asked = json.loads(json.dumps(self._options))
        before: dict[str, Any] = self._document["options"]
        changed = sorted(
            name
            for name in before.keys() | asked.keys()
            if name not in _NOT_COMPARED and before.get(name) != asked.get(name)
        )
        told = [f"{name} (was {json.dumps(before.get(name))}, now {json.dumps(asked.get(name))})" for name in changed]
        if self._document["command"] != self._command:
            changed = ["command"]
            told = [f"command (was {self._document['command']}, now {self._command})"]
        if changed and not self._force:
            raise InputError(
                "the run was started with other options: " + ", ".join(told),
                where=str(self._path),
                remedy="repeat the options it was started with to resume, add --force to go on with these, "
                "or name a new directory with --out",
            )
        if changed:
            self._document = self._fresh() | {"facts": self._document["facts"]}
            self._save()

    def _fresh(self) -> dict[str, Any]:
        return {
            "version": RUN_VERSION,
            "kind": "run",
            "command": self._command,
            "options": json.loads(json.dumps(self._options)),
            "packages": _packages(),
            "facts": {},
        }

    def _save(self) -> None:
        self.publish("run.json", _json_bytes(self._document))

    def _acquire(self) -> None:
        handle = os.fdopen(open_lock(self._path / ".lock"), "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            owner = handle.read(20).strip() or "unknown"
            handle.close()
            raise InputError(
                f"another proprune works in this directory (process {owner})",
                where=str(self._path),
                remedy="wait for it, stop it, or name another directory with --out",
            ) from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        self._lock = handle

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()  # which drops the lock; the file stays, so that nobody locks a deleted one
            self._lock = None


class StageDir:
    """One stage of a run; satisfies `proprune_cli.train.workspace.Stage`."""

    def __init__(self, final: Path, partial: Path, key: str, inputs: dict[str, Any]) -> None:
        self._final = final
        self._partial = partial
        self._key = key
        self._inputs = inputs

    @property
    def done(self) -> bool:
        """True when it is committed."""
        return self._final.is_dir()

    @property
    def _here(self) -> Path:
        return self._final if self.done else self._partial

    def matches(self, directory: Path) -> bool:
        """True where ``directory`` was made for the same key."""
        try:
            return parse_object(read_file(directory / "stage.json", JSON_BYTES)).get("key") == self._key
        except (FileNotFoundError, ValueError):
            return False

    def check(self) -> list[str]:
        """Compare every file of the finished stage with its recorded hash; gives their names.

        Raises:
            InputError: one is missing or has changed.
        """
        files = parse_object(read_file(self._final / "stage.json", JSON_BYTES)).get("files")
        if not isinstance(files, dict):
            raise self._damaged(self._final / "stage.json")
        for name, digest in cast("dict[str, Any]", files).items():
            path = self._final / name
            # A name that leads out of the directory is none that was written there.
            if Path(name).name != name or not path.is_file() or _sha256(path) != digest:
                raise self._damaged(path)
        return list(cast("dict[str, Any]", files))

    def copy(self, lent: Path) -> None:
        """Finish the stage with the files of ``lent``, a finished one with the same key.

        Raises:
            InputError: those are damaged, or cannot be copied.
        """
        for name in StageDir(lent, lent, self._key, self._inputs).check():
            self.write(name, read_file(lent / name))
        self.commit()

    def _damaged(self, path: Path) -> InputError:
        return InputError(
            "a file of a finished stage is missing or damaged",
            where=str(path),
            remedy=f"remove the directory {self._final} and repeat the command; it makes the stage again",
        )

    def read(self, name: str) -> bytes | None:
        """Content of a file, None where there is none.

        Raises:
            InputError: it cannot be read.
        """
        path = self._here / name
        with _io_errors(path):
            return read_file(path) if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole.

        Raises:
            InputError: it cannot be written.
        """
        with _io_errors(self._partial / name):
            _write(self._partial / name, data)

    def remove(self, name: str) -> None:
        """Drop a file of the unfinished stage."""
        with _io_errors(self._partial / name):
            (self._partial / name).unlink(missing_ok=True)

    def commit(self) -> None:
        """Record the hash of every file, and rename the directory to its final name.

        Raises:
            InputError: it cannot be written.
        """
        with _io_errors(self._final):
            files = {
                p.name: _sha256(p)
                for p in sorted(self._partial.iterdir())
                if p.name != "stage.json" and not p.name.endswith(".tmp")
            }
            _write(
                self._partial / "stage.json", _json_bytes({"key": self._key, "inputs": self._inputs, "files": files})
            )
            self._partial.replace(self._final)
            sync(self._final.parent)


def _read_run(path: Path) -> dict[str, Any]:
    remedy = "name a new directory with --out"
    try:
        with _io_errors(path):
            document = parse_json(read_file(path, JSON_BYTES))
    except ValueError as error:
        raise InputError(f"run.json is damaged: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(document, dict) or document.get("version") != RUN_VERSION:
        raise InputError(
            f"run.json is not of version {RUN_VERSION}; another proprune made this run", where=str(path), remedy=remedy
        )
    if not all(isinstance(document.get(part), dict) for part in ("options", "facts")) or "command" not in document:
        raise InputError("run.json lacks its options", where=str(path), remedy=remedy)
    return document  # pyright: ignore[reportUnknownVariableType]


def _packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _json_bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    replace_file(path, data, path.name + ".tmp")


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


@contextmanager
def _io_errors(path: Path) -> Generator[None, None, None]:
    """What the system refuses becomes an error with a remedy."""
    try:
        yield
    except OSError as error:
        what = f"this cannot be written or read: {error.strerror}"
        remedy = "check the path and the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, remedy = "the disk is full", "make room and repeat the command; it resumes where it stopped"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            what = f"there is no permission: {error.strerror}"
            remedy = "name a directory you may write to with --out"
        raise InputError(what, where=str(error.filename or path), remedy=remedy) from error
