"""Writing a file so that it is either whole or not there, and so that nothing else is written or replaced.

Somebody else may have put files into the directory: what lies where a file is written for the moment is removed, never
followed, and only a file takes another file's place.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, cast

from proprune_cli.errors import InputError

_SINKS = frozenset({os.makedev(1, 3), os.makedev(1, 7)})
"""``/dev/null`` and ``/dev/full``."""


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename it into place: no reader ever meets half a file.

    A pipe, ``/dev/null`` and ``/dev/full`` are written to. All else that is no file is refused.

    Raises:
        InputError: the directory is missing or not writable, the disk is full, or ``path`` is no file.
    """
    try:
        if _takes_a_stream(path):
            _write_stream(path, io.BytesIO(content))
        else:
            replace_file(path, content, f".{path.name}.{os.getpid()}.part")
    except OSError as error:
        raise _explained(error, path, len(content)) from error


class WholeFile:
    """As `write_whole`, for content that comes in parts: use as a context manager. It stands at ``path`` once the block
    ends without an error; until then the parts lie beside it, or, where it is a pipe, in the system's folder for
    temporary files.

    Raises:
        InputError: as `write_whole`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> WholeFile:
        with self.errors():
            self._spools = _takes_a_stream(self._path)
            self.stream: BinaryIO = (
                cast("BinaryIO", tempfile.TemporaryFile()) if self._spools else os.fdopen(_create(self._beside), "w+b")
            )
        return self

    def write(self, part: bytes | memoryview) -> None:
        """Add ``part``."""
        with self.errors():
            self.stream.write(part)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self.errors():
                    self._finish()
        finally:
            with contextlib.suppress(OSError):  # what could not be written has been told
                self.stream.close()
            if not self._spools:
                self._beside.unlink(missing_ok=True)

    def _finish(self) -> None:
        self.stream.flush()
        if self._spools:
            self.stream.seek(0)
            _write_stream(self._path, self.stream)
            return
        os.fsync(self.stream.fileno())
        self._beside.replace(self._path)
        sync(self._path.parent)

    @contextlib.contextmanager
    def errors(self) -> Generator[None, None, None]:
        """What the system refuses while something is written, as an error with a remedy."""
        try:
            yield
        except OSError as error:
            held = getattr(self, "stream", None)
            raise _explained(error, self._path, held.tell() if held is not None else 0) from error


def replace_file(path: Path, content: bytes, beside: str) -> None:
    """Write ``content`` to the name ``beside`` in the directory of ``path``, flush it, and rename it to ``path``.

    Raises:
        OSError: it cannot be written; then nothing is left behind.
    """
    temporary = path.with_name(beside)
    descriptor = _create(temporary)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def open_lock(path: Path) -> int:
    """Descriptor of a lock file, made where there is none. A link, a device or a file of two names is none of ours.

    Raises:
        InputError: something else lies there. OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_lock(path) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise _no_lock(path)
    return descriptor


def _no_lock(path: Path) -> InputError:
    return InputError(
        "a link or a device lies where this directory's lock should be",
        where=str(path),
        remedy="look where it leads and remove it, or name another directory",
    )


def _create(path: Path) -> int:
    """Descriptor of a new file at ``path``, whatever lay there before: a link is removed, not followed.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def sync(directory: Path) -> None:
    """Flush a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _takes_a_stream(path: Path) -> bool:
    """True for a pipe and the sinks, False for a file or nothing.

    Raises:
        InputError: anything else, which may neither be replaced nor written to.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mode = found.st_mode
    if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and found.st_rdev in _SINKS):
        return True
    if stat.S_ISDIR(mode):
        raise InputError("the output is a directory", where=str(path), remedy="name a file to write")
    # /dev/stdout may lead to a file; replacing it would replace the link in /dev.
    if not stat.S_ISREG(mode) or path.absolute().parts[1:2] in (("dev",), ("proc",)):
        raise InputError(
            "the output is a device, a terminal or a socket, not a file", where=str(path), remedy="name a file to write"
        )
    return False


def _write_stream(path: Path, content: BinaryIO) -> None:
    # Not blocking, so that a pipe that nobody reads is an error and not a wait without an end.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream)


def _explained(error: OSError, path: Path, size: int) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(
            f"no room to write {size / 2**20:.1f} MiB: {os.strerror(error.errno).lower()}",
            where=str(path),
            remedy="free some space or write to another disk; nothing was left behind",
        )
    if error.errno == errno.ENOENT:
        return InputError("the directory does not exist", where=str(path.parent), remedy="create it first")
    if error.errno == errno.ENXIO:
        return InputError("nobody reads this pipe", where=str(path), remedy="start its reader first, or name a file")
    if error.errno == errno.EPIPE:
        return InputError("the pipe's reader has gone", where=str(path), remedy="keep it reading, or name a file")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"cannot write the file: {reason}", where=str(path), remedy="choose a writable place")
