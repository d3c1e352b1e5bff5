"""NumPy archives: x_train, y_train, x_test, y_test, or images and labels (a fifth of them becomes the test set)."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from proprune_cli.errors import InputError
from proprune_cli.prune.data.dataset import Source, checked, hold_out

_LAYOUT = "store uint8 or float images [N, C, H, W], [N, H, W, C] or [N, H, W], and whole-number labels [N]"


def load_npz(path: Path) -> Source:
    """Data set of an ``.npz`` file.

    Raises:
        InputError: it is damaged, holds Python objects, or has other arrays than those above.
    """
    arrays = _read(path)
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        pairs = [(arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])]
    elif {"images", "labels"} <= arrays.keys():
        pairs = [(arrays["images"], arrays["labels"])]
    else:
        raise InputError(
            "the archive has the arrays " + (", ".join(sorted(arrays)) or "(none)"),
            where=str(path),
            remedy="it needs x_train, y_train, x_test and y_test, or images and labels",
        )
    numbers = [_labels(y, path) for _, y in pairs]
    classes = max((int(y.max()) + 1 for y in numbers if y.size), default=0)
    splits = [checked(_images(x, path), y, classes, str(path)) for (x, _), y in zip(pairs, numbers, strict=True)]
    train, test = splits if len(splits) == 2 else hold_out(splits[0], 0.2, 0, str(path))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError("training and test images differ in shape", where=str(path), remedy=_LAYOUT)
    return Source(path.stem, train, test, tuple(str(i) for i in range(classes)), False, str(path))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), remedy="check the path") from error
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"not a readable .npz archive of plain arrays: {error}",
            where=str(path),
            remedy="write it with numpy.savez, without Python objects",
        ) from error


def _labels(labels: npt.NDArray[Any], path: Path) -> npt.NDArray[np.int64]:
    flat = labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        raise InputError(f"the labels are {labels.dtype} {list(labels.shape)}", where=str(path), remedy=_LAYOUT)
    return flat.astype(np.int64)


def _images(images: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or (images.dtype != np.uint8 and images.dtype.kind != "f"):
        raise InputError(f"the images are {images.dtype} {list(images.shape)}", where=str(path), remedy=_LAYOUT)
    return images
