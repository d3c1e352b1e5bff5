"""Arrays of numbers in ``.npy`` and ``.npz`` files, read without ever executing or trusting what they say.

The header of a ``.npy`` file is a Python literal (NEP 1); what is read here is that literal's three entries in any
order and nothing else, so no text reaches Python's parser, and no array is made before its bytes are known to be there.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from proprune_cli.errors import InputError
from proprune_cli.files.limits import UNPACKED_BYTES, whole_file_bytes
from proprune_cli.files.read import open_file, too_long

_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 1 << 14
"""Longest header that is read; one of plain numbers has 128 bytes."""

_ENTRY = (
    r"(?:'descr':'(?P<descr>[<>|=]?[biufcUS?]\d{0,6})'|'fortran_order':(?P<fortran>True|False)"
    r"|'shape':\((?P<shape>[\dL,]*)\)),?"
)
_HEADER = re.compile(r"\{(?:" + re.sub(r"\?P<\w+>", "?:", _ENTRY) + r"){3}\}")
_AXES = 32


def read_npy(path: Path, *, pipes: bool = False) -> NDArray[Any]:
    """Array of a ``.npy`` file.

    Args:
        pipes: a pipe will do too.

    Raises:
        InputError: there is no such file, it is no ``.npy`` file of numbers, cut short, or too large.
    """
    with _told(path), open_file(path, pipes=pipes) as stream:
        size = os.fstat(stream.fileno()).st_size if stream.seekable() else None
        return _array(stream, UNPACKED_BYTES if size is None else whole_file_bytes(), size, str(path))


class NpyFile:
    """An array of a ``.npy`` file, read a part at a time along its first axis. See `open_npy`.

    Attributes:
        shape, dtype: as the header says. seekable: whether it can be read more than once; a pipe cannot.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self.seekable = stream.seekable()
        with _told(path):
            size = os.fstat(stream.fileno()).st_size if self.seekable else None
            self.dtype, fortran, self.shape = _header(stream)
            wanted = self.dtype.itemsize * prod(self.shape)
            # In parts, a file may be larger than memory; what a pipe promises has nothing behind it.
            whole = fortran or not self.shape
            _check_size(wanted, whole_file_bytes() if whole else None, size, str(path))
            self._whole = _filled(stream, self.dtype, self.shape, fortran) if whole else None
        self._start = stream.tell() if self.seekable else 0

    def parts(self, count: int) -> Iterator[NDArray[Any]]:
        """Arrays [``count`` or, at the end, fewer, …], from the first on.

        Raises:
            InputError: the file ends before, or cannot be read.
        """
        if self.seekable:
            self._stream.seek(self._start)
        total = self.shape[0]
        for first in range(0, total, count):
            rows = min(count, total - first)
            if self._whole is not None:
                yield np.ascontiguousarray(self._whole[first : first + rows])
                continue
            with _told(self._path):
                part = _filled(self._stream, self.dtype, (rows, *self.shape[1:]), fortran=False)
            yield part


@contextmanager
def open_npy(path: Path) -> Generator[NpyFile, None, None]:
    """A ``.npy`` file, or a pipe, to be read a part at a time; of an array in Fortran's order, all is read at once.

    Raises:
        InputError: as `read_npy`.
    """
    with _told(path):
        stream = open_file(path, pipes=True)
    with stream:
        yield NpyFile(stream, path)


@contextmanager
def _told(path: Path) -> Generator[None, None, None]:
    """What is wrong with a ``.npy`` file, as an error with a remedy."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error), where=str(path), remedy="write it with numpy.save(path, array)") from error
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), remedy="check the path") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read the file: {reason}", where=str(path), remedy="check the path") from error


def parse_npy(content: bytes) -> NDArray[Any]:
    """Array of the bytes of a ``.npy`` file.

    Raises:
        ValueError: they are none, or cut short.
    """
    return _array(io.BytesIO(content), len(content), len(content), "")


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a ``.npz`` file, all of them.

    Raises:
        ValueError: it is no such archive, damaged, or holds something else than arrays of numbers.
        InputError: unpacked, it is too large. OSError: it cannot be read.
    """
    try:
        with open_file(path) as stream, zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > UNPACKED_BYTES:
                raise too_long(total, UNPACKED_BYTES, path)
            arrays: dict[str, NDArray[Any]] = {}
            for entry in entries:
                with archive.open(entry) as member:
                    try:
                        arrays[entry.filename.removesuffix(".npy")] = _array(
                            member, entry.file_size, entry.file_size, str(path)
                        )
                    except ValueError as error:
                        raise ValueError(f"{entry.filename}: {error}") from error
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _array(stream: Any, limit: int, size: int | None, where: str) -> NDArray[Any]:
    """``limit``: bytes of data at most. ``size``: of the file, where it is known."""
    dtype, fortran, shape = _header(stream)
    _check_size(dtype.itemsize * prod(shape), limit, size, where)
    return _filled(stream, dtype, shape, fortran)


def _check_size(wanted: int, limit: int | None, size: int | None, where: str) -> None:
    """Refuse ``wanted`` bytes of data that are not in a file of ``size``, or more than ``limit``.

    A stream of unknown size gives no more than `UNPACKED_BYTES`.
    """
    if size is not None and wanted > size:
        raise ValueError(f"the .npy file is cut short: its header promises {wanted} bytes, and it has {size}")
    most = min(limit or UNPACKED_BYTES, UNPACKED_BYTES) if size is None else limit
    if most is not None and wanted > most:
        raise too_long(wanted, most, where)


def _header(stream: Any) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Type, whether the first axis is innermost, and shape."""
    start = _exactly(stream, 10, partial=True)
    if not start:
        raise ValueError("the file is empty")
    if not start.startswith(_MAGIC):
        raise ValueError("this is an .npz archive, not one array" if start[:2] == b"PK" else "this is not a .npy file")
    if len(start) < 10 or start[6] not in (1, 2, 3):
        raise ValueError("the .npy file is damaged or cut short")
    length = int.from_bytes(start[8:10], "little")
    if start[6] > 1:
        length += int.from_bytes(_exactly(stream, 2), "little") << 16
    if length > _HEADER_BYTES:
        raise ValueError("the .npy file is damaged: its header is too long")
    return _described(re.sub(r"\s+", "", _exactly(stream, length).decode("latin-1")))


def _filled(stream: Any, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> NDArray[Any]:
    flat = np.empty(prod(shape), dtype)
    _fill(stream, flat)
    return flat.reshape(shape, order="F" if fortran else "C")


def _described(text: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    if re.search(r"'descr':(?:'\|?O\d*'|\[)", text):
        raise ValueError("the array holds Python objects, which are never loaded")
    if not _HEADER.fullmatch(text):
        raise ValueError("the .npy file is damaged, or holds something else than numbers")
    found: dict[str, str] = {}
    for entry in re.finditer(_ENTRY, text):
        found |= {name: value for name, value in entry.groupdict().items() if value is not None}
    if len(found) != 3:
        raise ValueError("the .npy file is damaged: its header lacks an entry")
    numbers = [number.removesuffix("L") for number in found["shape"].split(",") if number]
    if len(numbers) > _AXES or not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers):
        raise ValueError(f"the .npy file is damaged: no array has the shape ({found['shape'][:60]})")
    shape = tuple(int(number) for number in numbers)
    if prod(n for n in shape if n) >= 1 << 62:
        raise ValueError(f"the .npy file is damaged: no array has the shape {list(shape)}")
    try:
        dtype = np.dtype(found["descr"])
        if not dtype.itemsize:
            raise TypeError("elements of no bytes")
        return dtype, found["fortran"] == "True", shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"the .npy file is damaged: numpy knows no numbers of type {found['descr']!r}") from error


def _exactly(stream: BinaryIO, count: int, *, partial: bool = False) -> bytes:
    data = bytearray()
    while len(data) < count and (part := stream.read(count - len(data))):
        data += part
    if len(data) < count and not partial:
        raise ValueError("the .npy file is damaged or cut short")
    return bytes(data)


def _fill(stream: Any, flat: NDArray[Any]) -> None:
    """Read the array's bytes into it; a file has no other copy of them in memory."""
    if not flat.nbytes:
        return
    view = memoryview(flat.view(np.uint8).data)
    done = 0
    while done < len(view):
        count = stream.readinto(view[done : done + (1 << 20)])
        if not count:
            raise ValueError("the .npy file is damaged or cut short")
        done += count
