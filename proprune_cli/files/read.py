"""Reading a file whole, if it is a file, and no longer than it may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from proprune_cli.errors import InputError
from proprune_cli.files.limits import whole_file_bytes


def read_whole(path: Path, limit: int | None = None) -> bytes:
    """Content of a file of at most ``limit`` bytes; None: as many as this machine can well hold.

    Raises:
        InputError: it does not exist, cannot be read, is no file but a device or a pipe, or is too long.
    """
    try:
        return read_file(path, limit)
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), remedy="check the path") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read the file: {reason}", where=str(path), remedy="check the path") from error


def read_file(path: Path, limit: int | None = None) -> bytes:
    """As `read_whole`, for callers that say themselves what the system refuses.

    Raises:
        InputError: it is no file but a device or a pipe, or is too long. OSError: what the system says.
    """
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        allowed = whole_file_bytes() if limit is None else limit
        if size > allowed:
            raise too_long(size, allowed, path)
        # One more than there should be: what grows meanwhile is cut, and its reader says so.
        return stream.read(size + 1)[:size]


def open_file(path: Path, *, pipes: bool = False) -> BinaryIO:
    """The file at ``path``, opened to be read; it is never waited for.

    Args:
        pipes: a pipe will do too, and is waited for.

    Raises:
        InputError: it is a device, or a pipe where none will do. OSError: what the system says.
    """
    if pipes and stat.S_ISFIFO(path.stat().st_mode):
        return path.open("rb")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise InputError("this is a directory, not a file", where=str(path), remedy="check the path")
        raise InputError(
            "this is a device or a pipe, not a file", where=str(path), remedy="write its content to a file first"
        )
    return os.fdopen(descriptor, "rb")


def too_long(size: int, limit: int, path: Path | str) -> InputError:
    """The refusal of ``size`` bytes where ``limit`` are the most."""
    return InputError(
        f"the file holds {size / 2**20:,.0f} MiB, and at most {limit / 2**20:,.0f} MiB are read",
        where=str(path),
        remedy="check that it is the right file; give less at a time, or use a machine with more memory",
    )
