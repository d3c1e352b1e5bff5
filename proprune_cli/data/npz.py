"""Arrays: x_train, y_train, x_test, y_test, or images and labels (a fifth of them becomes the test set)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from proprune_cli.data.dataset import NOT_COUNTED, Labels, Source, checked, hold_out
from proprune_cli.errors import InputError
from proprune_cli.files.arrays import read_npz
from proprune_cli.files.limits import CLASSES

_LAYOUT = (
    "give uint8 or float images [N, C, H, W], [N, H, W, C] or [N, H, W], and as labels whole numbers [N], "
    f"whole numbers [N, H, W] for each pixel (255 in uint8, or {NOT_COUNTED}: not counted), or float targets [N, …]"
)


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
    return source_of(pairs, path.stem, str(path))


Pair = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Images and labels."""


def source_of(pairs: Sequence[Pair], name: str, where: str) -> Source:
    """A data set of images and labels for training and for the test, or of one pair that is cut in two.

    Raises:
        InputError: the arrays are not what `_LAYOUT` says, or do not belong together.
    """
    numbers = [_labels(y, where) for _, y in pairs]
    if len({(y.dtype.kind, y.shape[1:]) for y in numbers}) > 1:
        raise InputError("training and test labels differ in shape or type", where=where, remedy=_LAYOUT)
    if numbers[0].dtype.kind == "f":
        classes = numbers[0].shape[1] if numbers[0].ndim > 1 else 1
    else:
        classes = max((int(y.max()) + 1 for y in numbers if y.size), default=0)
        if classes > CLASSES:
            raise InputError(
                f"labels run to {classes - 1}, and there are at most {CLASSES:,} classes",
                where=where,
                remedy="number the classes from 0 on; targets that are quantities are floats",
            )
    splits = [checked(_images(x, where), y, classes, where) for (x, _), y in zip(pairs, numbers, strict=True)]
    train, test = splits if len(splits) == 2 else hold_out(splits[0], 0.2, 0, where)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError("training and test images differ in shape", where=where, remedy=_LAYOUT)
    return Source(name, train, test, tuple(str(i) for i in range(classes)), where)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        return read_npz(path)
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), remedy="check the path") from error
    except (ValueError, OSError) as error:
        raise InputError(
            f"not a readable .npz archive of plain arrays: {error}",
            where=str(path),
            remedy="write it with numpy.savez, without Python objects",
        ) from error


def _labels(labels: npt.NDArray[Any], where: str) -> Labels:
    if labels.dtype.kind == "f" and labels.ndim:
        return labels.astype(np.float32)
    flat = labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
    if flat.ndim not in (1, 3) or flat.dtype.kind not in "iub":
        raise InputError(f"the labels are {labels.dtype} {list(labels.shape)}", where=where, remedy=_LAYOUT)
    numbers = flat.astype(np.int64)
    if flat.ndim == 3 and flat.dtype == np.uint8:
        numbers[flat == 255] = NOT_COUNTED
    return numbers


def _images(images: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or (images.dtype != np.uint8 and images.dtype.kind != "f"):
        raise InputError(f"the images are {images.dtype} {list(images.shape)}", where=where, remedy=_LAYOUT)
    return images
