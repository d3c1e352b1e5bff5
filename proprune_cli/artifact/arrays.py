"""Arrays in ``.npy`` files, read and written the safe way: nothing in them is ever executed."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from proprune_cli.files.arrays import parse_npy, read_npy
from proprune_cli.files.write import WholeFile, write_whole


def read_array(path: Path, *, pipes: bool = False) -> NDArray[Any]:
    """Array of a ``.npy`` file.

    Args:
        pipes: a pipe will do too.

    Raises:
        InputError: no such file, or not a ``.npy`` file of numbers.
    """
    return read_npy(path, pipes=pipes)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a ``.npy`` file atomically.

    Raises:
        InputError: the path cannot be written.
    """
    write_whole(path, encode_array(array))


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a ``.npz`` file atomically; equal arrays give equal bytes.

    Raises:
        InputError: the path cannot be written.
    """
    stream = io.BytesIO()
    # Not numpy.savez: a name such as "file" or "heads/scale" is as good as any other here.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), encode_array(array))
    write_whole(path, stream.getvalue())


class ArrayWriter:
    """Arrays of ``count`` rows each, written as their rows come: use as a context manager.

    A ``.npz`` file has one array for each name, a ``.npy`` file the one there is; the bytes are those of `write_arrays`
    and `write_array`. Nothing stands at ``path`` before the block ends, nor after an error.

    Raises:
        InputError: the path cannot be written.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._file = WholeFile(path)
        self._archive, self._count = path.suffix == ".npz", count
        self._kept: dict[str, BinaryIO] = {}
        """Of an archive, each array by itself: its members lie one behind another."""
        self.written: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        """Shape and type of each array."""

    def __enter__(self) -> ArrayWriter:
        self._file.__enter__()
        return self

    def write(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Add rows [n, …] to each array; the first ones say which there are."""
        for name, part in rows.items():
            if name not in self.written:
                shape = (self._count, *part.shape[1:])
                self.written[name] = shape, part.dtype
                self._put(name, npy_header(shape, part.dtype))
            self._put(name, np.ascontiguousarray(part).data.cast("B") if part.size else b"")

    def _put(self, name: str, data: bytes | memoryview) -> None:
        if not self._archive:
            self._file.write(data)
            return
        with self._file.errors():
            if name not in self._kept:
                self._kept[name] = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed at the end
            self._kept[name].write(data)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: Any) -> None:
        try:
            if kind is None and self._archive:
                self._pack()
        except BaseException as error:
            self._file.__exit__(type(error), error, error.__traceback__)
            raise
        else:
            self._file.__exit__(kind, value, trace)
        finally:
            for kept in self._kept.values():
                kept.close()

    def _pack(self) -> None:
        with self._file.errors(), zipfile.ZipFile(self._file.stream, "w", zipfile.ZIP_STORED) as archive:
            for name, kept in self._kept.items():
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.file_size = kept.tell()
                kept.seek(0)
                with archive.open(entry, "w") as member:
                    shutil.copyfileobj(kept, member)


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What stands before the data of a ``.npy`` file."""
    stream = io.BytesIO()
    entries = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, entries)
    return stream.getvalue()


def encode_array(array: NDArray[Any]) -> bytes:
    """Bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def decode_array(content: bytes) -> NDArray[Any]:
    """Inverse of `encode_array`.

    Raises:
        ValueError: not such bytes.
    """
    return parse_npy(content)
