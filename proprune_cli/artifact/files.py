"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from proprune_cli.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename it into place: no reader ever meets half a file.

    Raises:
        InputError: the directory is missing or not writable, the disk is full, or ``path`` is a directory.
    """
    if path.is_dir():
        raise InputError("the output is a directory", where=str(path), remedy="name a file to write")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        raise _explained(error, path, len(content)) from error
    finally:
        beside.unlink(missing_ok=True)


def read_whole(path: Path) -> bytes:
    """Content of ``path``.

    Raises:
        InputError: it does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), remedy="check the path") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read the file: {reason}", where=str(path), remedy="check the path") from error


def _explained(error: OSError, path: Path, size: int) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(
            f"no room to write {size / 2**20:.1f} MiB: {os.strerror(error.errno).lower()}",
            where=str(path),
            remedy="free some space or write to another disk; nothing was left behind",
        )
    if error.errno == errno.ENOENT:
        return InputError("the directory does not exist", where=str(path.parent), remedy="create it first")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"cannot write the file: {reason}", where=str(path), remedy="choose a writable place")
