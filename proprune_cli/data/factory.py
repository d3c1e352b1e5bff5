"""Data of the user's own code: ``package.module:factory`` gives arrays, or data sets as PyTorch's loaders take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from proprune_cli.data.dataset import Source
from proprune_cli.data.npz import Pair, source_of
from proprune_cli.errors import InputError
from proprune_cli.spec.factories import CALL_ERRORS, imported, made
from proprune_cli.spec.parse import Spec

_REMEDY = (
    "return (x_train, y_train, x_test, y_test), or (train, test) of objects with __len__ and __getitem__ that give an "
    "image [C, H, W] and its target"
)


def load_factory(spec: Spec, where: str) -> Source:
    """Data set that the factory gives: four arrays or tensors, or two map-style data sets of (image, target).

    Data sets are read once, from the first image to the last, and kept in memory; random transforms in them are
    drawn once. Shapes and types are those of an ``.npz`` file.

    Raises:
        InputError: the factory cannot be imported or fails, or gives something else.
    """
    found = made(imported(spec, where), (), spec.arguments, where, "data set")
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) not in (2, 4):  # pyright: ignore[reportUnknownArgumentType]
        count = f" of {len(found)}" if isinstance(found, (tuple, list)) else ""  # pyright: ignore[reportUnknownArgumentType]
        raise InputError(f"the factory returned {type(found).__name__}{count}", where=where, remedy=_REMEDY)  # pyright: ignore[reportUnknownArgumentType]
    parts: Sequence[Any] = found
    if len(parts) == 4:
        arrays = [_array(part) for part in parts]
        pairs: list[Pair] = [(arrays[0], arrays[1]), (arrays[2], arrays[3])]
    else:
        pairs = [_read(part, where) for part in parts]
    return source_of(pairs, spec.name.rpartition(":")[2], where)


def _read(data: Any, where: str) -> Pair:
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise InputError(f"a part of the data is {type(data).__name__}", where=where, remedy=_REMEDY)
    images: list[npt.NDArray[Any]] = []
    targets: list[npt.NDArray[Any]] = []
    for number in range(len(data)):
        try:
            image, target = data[number]
            images.append(_image(image))
            targets.append(_array(target))
        except CALL_ERRORS as error:
            raise InputError(
                f"image {number} cannot be read: {type(error).__name__}: {error}", where=where, remedy=_REMEDY
            ) from error
        if images[-1].shape != images[0].shape or targets[-1].shape != targets[0].shape:
            raise InputError(
                f"image {number} and its target have the shapes {list(images[-1].shape)} and "
                f"{list(targets[-1].shape)}, the first {list(images[0].shape)} and {list(targets[0].shape)}",
                where=where,
                remedy="bring all to one shape in the data set's code",
            )
    if not images:
        raise InputError("there are no images", where=where, remedy=_REMEDY)
    return np.stack(images), np.stack(targets)


def _image(image: Any) -> npt.NDArray[Any]:
    """[C, H, W] of a tensor, an array, or a PIL image, whose channels are last."""
    pixels = _array(image)
    if pixels.ndim == 3 and hasattr(image, "getbands"):
        pixels = pixels.transpose(2, 0, 1)
    return pixels[None] if pixels.ndim == 2 else pixels


def _array(value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value.detach().cpu()) if hasattr(value, "detach") else np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{type(value).__name__} is no array of numbers")
    return array
