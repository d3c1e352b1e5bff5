"""MNIST and Fashion-MNIST as their authors ship them: IDX files (LeCun, "The MNIST database", file formats)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from proprune_cli.data.augment import Moves
from proprune_cli.data.dataset import Source, checked
from proprune_cli.data.files import find_directory, read_bytes
from proprune_cli.errors import InputError

_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Array of unsigned bytes with ``dimensions`` axes.

    Raises:
        InputError: wrong magic number, or fewer or more bytes than the header promises.
    """
    data = read_bytes(path)
    header = 4 + 4 * dimensions
    magic = 0x0800 | dimensions
    if len(data) < header or struct.unpack(">I", data[:4])[0] != magic:
        found = data[:4].hex() or "nothing"
        raise InputError(
            f"not an IDX file of unsigned bytes with {dimensions} axes: it starts with {found}, not {magic:08x}",
            where=str(path),
            remedy="fetch it again",
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(data) - header != expected:
        raise InputError(
            f"the file holds {len(data) - header} bytes of data, its header promises {expected}",
            where=str(path),
            remedy="the file is truncated or damaged; fetch it again",
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _spellings(part: str) -> list[str]:
    """``train-images-idx3-ubyte`` is also spelt with a dot, with and without ``.gz``."""
    dotted = part.replace("-idx", ".idx")
    return [part + ".gz", part, dotted, dotted + ".gz"]


def _pair(directory: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    arrays: list[npt.NDArray[np.uint8]] = []
    for kind, dimensions in (("images-idx3-ubyte", 3), ("labels-idx1-ubyte", 1)):
        names = _spellings(f"{part}-{kind}")
        path = next((directory / n for n in names if (directory / n).is_file()), None)
        if path is None:
            raise InputError(
                f"there is no {names[1]}[.gz]", where=str(directory), remedy="put all four files of the set there"
            )
        arrays.append(read_idx(path, dimensions))
    return arrays[0], arrays[1]


def _load(name: str, classes: tuple[str, ...], moves: Moves, data_dir: Path | None) -> Source:
    directory = find_directory(
        name, data_dir, ("raw", "MNIST/raw", "FashionMNIST/raw"), _spellings("train-images-idx3-ubyte")
    )
    splits = []
    for part in ("train", "t10k"):
        images, labels = _pair(directory, part)
        splits.append(checked(images[:, None], labels, len(classes), f"{directory}, {part}"))
    train, test = splits
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError("training and test images differ in size", where=str(directory), remedy="fetch the set again")
    return Source(name, train, test, classes, str(directory), moves)


def load_fashion_mnist(data_dir: Path | None) -> Source:
    """60,000 + 10,000 pictures of clothes, 28×28 grey (Xiao et al. 2017)."""
    return _load("fashion-mnist", _FASHION, "crop+flip", data_dir)


def load_mnist(data_dir: Path | None) -> Source:
    """60,000 + 10,000 handwritten digits, 28×28 grey."""
    return _load("mnist", tuple("0123456789"), "crop", data_dir)
