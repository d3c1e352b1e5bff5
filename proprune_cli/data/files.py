"""Finding and reading data files; every fault names the file and the remedy."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from proprune_cli.errors import InputError
from proprune_cli.files.limits import UNPACKED_BYTES
from proprune_cli.files.read import read_file, too_long

_SYSTEM = Path("/usr/share/datasets")


def find_directory(name: str, data_dir: Path | None, subfolders: Sequence[str], marker: Sequence[str]) -> Path:
    """First directory that holds one of the files ``marker``: ``data_dir`` or its subfolders, else the usual places.

    Raises:
        InputError: no directory holds them.
    """
    roots = [data_dir] if data_dir is not None else [Path("data"), _SYSTEM]
    candidates = [root / sub for root in roots for sub in (".", name, *subfolders)]
    for candidate in candidates:
        if any((candidate / file).is_file() for file in marker):
            return candidate
    raise InputError(
        f"the files of {name} were not found",
        where=", ".join(str(root) for root in roots),
        remedy=f"give the directory that holds {marker[0]} with --data-dir",
    )


def read_bytes(path: Path) -> bytes:
    """Content of a file, unpacked where its name ends in ``.gz``.

    Raises:
        InputError: it cannot be read, or the compressed data is damaged.
    """
    try:
        data = read_file(path)
        return _unpacked(data, path) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the compressed file is damaged or truncated: {error}", where=str(path), remedy="fetch it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror}", where=str(path), remedy="check the path and its permissions"
        ) from error


def _unpacked(data: bytes, path: Path) -> bytes:
    """Piece by piece, so that what is too long is noticed while it is still short."""
    whole = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        while part := stream.read(1 << 20):
            whole += part
            if len(whole) > UNPACKED_BYTES:
                raise too_long(len(whole), UNPACKED_BYTES, path)
    return bytes(whole)
