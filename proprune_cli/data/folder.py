"""A folder of class folders of images, optionally under ``train`` and ``test`` (or ``val``)."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from proprune_cli.data.dataset import Source, Split, checked, hold_out
from proprune_cli.errors import InputError
from proprune_cli.files.limits import PIXELS
from proprune_cli.files.read import open_file

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""By content: whatever a file is called, no other decoder sees it, such as the one that starts Ghostscript."""


def load_folder(path: Path, size: int | None, channels: int | None) -> Source:
    """Images of a folder; ``size``: pixels each side to resize to; ``channels``: 1 or 3, default what the files are.

    Raises:
        InputError: no classes, an empty class, an unreadable image, or images of different sizes without ``size``.
    """
    if channels not in (None, 1, 3):
        raise InputError(f"{channels} channels", where=f"--data {path}", remedy="give ?channels=1 or ?channels=3")
    root = path / "train" if (path / "train").is_dir() else path
    others = [path / name for name in ("test", "val", "valid") if root != path and (path / name).is_dir()]
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        raise InputError(
            f"there are {len(names)} class folders", where=str(root), remedy="put each class's images in its own folder"
        )
    files = _files(root, names)
    mode = _mode(files[0][0]) if channels is None else ("L" if channels == 1 else "RGB")
    train = _read(files, mode, size, len(names), root)
    if others:
        test = _read(_files(others[0], names), mode, size, len(names), others[0])
        if train.images.shape[1:] != test.images.shape[1:]:
            raise InputError(
                "training and test images differ in size",
                where=str(path),
                remedy="add ?size=64 (or another size) to --data",
            )
    else:
        train, test = hold_out(train, 0.2, 0, str(path))
    return Source(path.name, train, test, tuple(names), str(path))


def _files(root: Path, names: list[str]) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        folder = root / name
        images = sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
        if not images:
            raise InputError(
                f"the class {name!r} has no images", where=str(folder), remedy="add images or remove the folder"
            )
        found += [(image, label) for image in images]
    return found


def _mode(path: Path) -> str:
    try:
        with open_file(path) as stream, _opened(stream) as image:
            return "L" if image.mode in ("1", "L", "I;16") else "RGB"
    except _unreadable() as error:
        raise InputError(f"not a readable image: {error}", where=str(path), remedy="replace it") from error


def _opened(stream: BinaryIO) -> Image:
    """The image in a file; its pixels are not read yet."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
        try:
            return Image.open(stream, formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise ValueError(f"it has more than {PIXELS} pixels") from error


def _unreadable() -> tuple[type[Exception], ...]:
    """What Pillow raises for a damaged image, or for one that would fill the memory."""
    from PIL import Image

    return (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
            Image.DecompressionBombWarning, MemoryError, IndexError, TypeError, KeyError, OverflowError)  # fmt: skip


def _read(files: list[tuple[Path, int]], mode: str, size: int | None, classes: int, where: Path) -> Split:
    from PIL import Image

    images: list[npt.NDArray[np.uint8]] = []
    for path, _ in files:
        try:
            with open_file(path) as stream, _opened(stream) as image:
                if image.width * image.height > PIXELS:
                    raise ValueError(f"it has more than {PIXELS} pixels")
                converted = image.convert(mode)
                if size is not None:
                    converted = converted.resize((size, size), Image.Resampling.BILINEAR)
                pixels = np.asarray(converted, dtype=np.uint8)
        except _unreadable() as error:
            raise InputError(f"not a readable image: {error}", where=str(path), remedy="replace it") from error
        images.append(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"the image is {pixels.shape[1]}×{pixels.shape[0]}, others are "
                f"{images[0].shape[2]}×{images[0].shape[1]}",
                where=str(path),
                remedy="add ?size=64 (or another size) to --data",
            )
    labels = np.asarray([label for _, label in files], dtype=np.int64)
    return checked(np.stack(images), labels, classes, str(where))
