"""Data as Python objects, which a caller hands over or a factory of the user's gives: arrays, data sets, loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from proprune_cli.data.dataset import Dataset, Source, checked, moments
from proprune_cli.data.npz import Pair, source_of
from proprune_cli.errors import InputError
from proprune_cli.files.limits import whole_file_bytes

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

FORMS = (
    "give (images, labels) or (x_train, y_train, x_test, y_test) of arrays or tensors, a torch DataLoader or a "
    "data set with __len__ and __getitem__ that gives (image [C, H, W], target), or (training, test) of these"
)


def source_of_objects(found: object, name: str, where: str) -> Source:
    """Training and test images of what a caller or a factory gives, in one of the `FORMS`.

    Arrays are [N, C, H, W], [N, H, W, C] or [N, H, W], uint8 or floats, with labels as in an ``.npz`` file. Data sets
    and loaders are read once and kept in memory; random transforms in them are drawn once. A loader that only shuffles
    is read in the order of its data set. Of a single pair, a fifth becomes the test set.

    Raises:
        InputError: it is something else, cannot be read, or what it holds does not belong together.
    """
    return source_of(_pairs(found, where), name, where)


def scanned(found: object, where: str) -> Dataset:
    """A data set of which nothing is held out or normalised: for networks that are measured, not trained.

    Of a single pair, all images are for both; of two, the first is for gradients and the second for measuring.

    Raises:
        InputError: as `source_of_objects`.
    """
    pairs = _pairs(found, where)
    if len(pairs) == 1:
        pairs = [pairs[0], pairs[0]]
    source = source_of(pairs, "data", where)
    mean, std = moments(source.train.images)
    data = Dataset("data", source.train, source.test, source.test, source.classes, mean, std, where)
    return data.as_stored()


def images_of(found: object, where: str, most: int) -> npt.NDArray[Any]:
    """Images [N, C, H, W] alone, for calibration: an array or tensor, or the images of one of the `FORMS`; at most
    ``most`` of them, spread evenly.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    if _is_array(found):
        images = numbers(found, "the images", where)
        if images.ndim != 4:
            raise InputError(
                f"the images have the shape {list(images.shape)}", where=where, remedy="give an array [N, C, H, W]"
            )
        # Labels of their own kind, so that the same checks see the images.
        images = checked(images, np.zeros(len(images), np.int64), 1, where).images
    else:
        images = source_of_objects(found, "data", where).train.images
    index = np.linspace(0, len(images) - 1, min(most, len(images)), dtype=np.int64)
    return images[index]


def _pairs(found: object, where: str) -> list[Pair]:
    """Images and targets, once or (training, test)."""
    if isinstance(found, (tuple, list)) and len(found) in (2, 4):  # pyright: ignore[reportUnknownArgumentType]
        parts: Sequence[Any] = found
        if len(parts) == 4:
            return [_arrays(parts[0], parts[1], where), _arrays(parts[2], parts[3], where)]
        if _is_array(parts[0]):
            return [_arrays(parts[0], parts[1], where)]
        return [_part(part, where) for part in parts]
    if isinstance(found, (str, bytes, dict, tuple, list)) or not (_is_loader(found) or _is_set(found)):
        _refuse(found, where)
    return [_part(found, where)]


def _part(part: Any, where: str) -> Pair:
    """One pair of (training, test)."""
    if isinstance(part, (tuple, list)) and len(part) == 2 and _is_array(part[0]):  # pyright: ignore[reportUnknownArgumentType]
        return _arrays(part[0], part[1], where)
    if _is_loader(part):
        return _joined(_batches(cast("DataLoader[Any]", part)), "batch", where, np.concatenate)
    if isinstance(part, (str, bytes, dict)) or not _is_set(part):
        _refuse(part, where)
    return _joined(_items(part), "image", where, np.stack)


def _refuse(found: Any, where: str) -> NoReturn:
    count = f" of {len(found)}" if isinstance(found, (tuple, list)) else ""
    raise InputError(f"the data are {type(found).__name__}{count}", where=where, remedy=FORMS)


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _is_set(value: object) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _is_loader(value: object) -> bool:
    from torch.utils.data import DataLoader

    return isinstance(value, DataLoader)


def _arrays(images: object, labels: object, where: str) -> Pair:
    return numbers(images, "the images", where), numbers(labels, "the labels", where)


def numbers(value: object, what: str, where: str, remedy: str = FORMS) -> npt.NDArray[Any]:
    """``value``, an array, a tensor or nested lists, as an array of numbers.

    Raises:
        InputError: ``value`` is none.
    """
    try:
        return _array(value)
    except Exception as error:  # an array's own class may raise anything
        raise InputError(f"{what} are no array of numbers: {_said(error)}", where=where, remedy=remedy) from error


def _joined(
    parts: Iterator[tuple[Any, Any]], noun: str, where: str, join: Callable[..., npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """All of ``parts``, which are single images or batches."""
    images: list[npt.NDArray[Any]] = []
    targets: list[npt.NDArray[Any]] = []
    held, most = 0, whole_file_bytes()
    inner = 0 if noun == "image" else 1
    while True:
        number = len(images)
        try:
            pair = next(parts, None)
            if pair is None:
                break
            image, target = pair
            images.append(_image(image))
            targets.append(_array(target))
        except Exception as error:  # a user's data set may raise anything
            raise InputError(
                f"{noun} {number} cannot be read: {type(error).__name__}: {_said(error)}",
                where=where,
                remedy=FORMS,
            ) from error
        shapes = [part[number].shape[inner:] for part in (images, targets)]
        first = [part[0].shape[inner:] for part in (images, targets)]
        if shapes != first:
            raise InputError(
                f"{noun} {number} and its target have the shapes {list(shapes[0])} and {list(shapes[1])}, "
                f"the first {list(first[0])} and {list(first[1])}",
                where=where,
                remedy="bring all to one shape in the data set's code",
            )
        held += images[-1].nbytes + targets[-1].nbytes
        if held > most:
            raise InputError(
                f"the data hold more than {most / 2**30:,.0f} GiB, and are kept in memory",
                where=where,
                remedy="give fewer or smaller images; a loader has to come to an end",
            )
    if not images:
        raise InputError("there are no images", where=where, remedy=FORMS)
    return join(images), join(targets)


def _items(data: Any) -> Iterator[tuple[Any, Any]]:
    for number in range(len(data)):
        image, target = data[number]
        yield image, target


def _batches(loader: DataLoader[Any]) -> Iterator[tuple[Any, Any]]:
    from torch.utils.data import DataLoader

    if _only_shuffles(loader):
        # The same images in the same order at every call: a run that is resumed compares them.
        loader = DataLoader(loader.dataset, batch_size=loader.batch_size, collate_fn=loader.collate_fn)
    for images, targets in loader:
        if loader.batch_size is None and not np.ndim(targets):
            yield images[None], np.asarray(targets)[None]  # a loader that makes no batches
        else:
            yield images, targets


def _only_shuffles(loader: DataLoader[Any]) -> bool:
    """Whether a loader gives each image of its data set once, in whatever order."""
    from torch.utils.data import BatchSampler, IterableDataset, RandomSampler, SequentialSampler

    sampler: Any = loader.sampler
    if loader.batch_size is None or isinstance(loader.dataset, IterableDataset):
        return False
    if type(loader.batch_sampler) is not BatchSampler:
        return False
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    return type(sampler) is SequentialSampler


def _image(image: Any) -> npt.NDArray[Any]:
    """[C, H, W] of a tensor, an array, or a PIL image, whose channels are last; batches of them as they are."""
    pixels = _array(image)
    if pixels.ndim == 3 and hasattr(image, "getbands"):
        pixels = pixels.transpose(2, 0, 1)
    return pixels[None] if pixels.ndim == 2 else pixels


def _array(value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value.detach().cpu()) if hasattr(value, "detach") else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{type(value).__name__} is no array of numbers")
    return array


def _said(error: Exception) -> str:
    """Its first line; the room of modules has the like, but needs torch."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
