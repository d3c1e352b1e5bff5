"""Arrays in ``.npy`` files, read and written the safe way: nothing in them is ever executed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.files.arrays import parse_npy, read_npy
from proprune_cli.files.write import write_whole


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
