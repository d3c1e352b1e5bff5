"""Arrays in ``.npy`` files, read and written the safe way: nothing in them is ever executed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.artifact.files import read_whole, write_whole
from proprune_cli.errors import InputError


def read_array(path: Path) -> NDArray[Any]:
    """Array of a ``.npy`` file.

    Raises:
        InputError: no such file, or not a ``.npy`` file of numbers.
    """
    remedy = "write it with numpy.save(path, array)"
    content = read_whole(path)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(_reason(content, error), where=str(path), remedy=remedy) from error
    if not isinstance(array, np.ndarray):
        raise InputError("this is an .npz archive, not one array", where=str(path), remedy=remedy)
    return array


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
    return np.load(io.BytesIO(content), allow_pickle=False)


def _reason(content: bytes, error: Exception) -> str:
    if not content:
        return "the file is empty"
    if not content.startswith(b"\x93NUMPY"):
        return "this is not a .npy file"
    if "allow_pickle" in str(error):
        return "the array holds Python objects, which are never loaded"
    return "the .npy file is damaged or cut short"
