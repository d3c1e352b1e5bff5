"""What every data source becomes: images and their targets in memory, with their normalisation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from proprune_cli.data.augment import Moves
from proprune_cli.errors import InputError

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
FloatImages = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]
Targets = Literal["classes", "pixels", "values"]
"""What labels are: a class per image, int64 [N]; a class per pixel, int64 [N, rows, columns]; float32 [N, …]."""
NOT_COUNTED = -100
"""Label of a pixel that neither trains nor counts; torch's cross-entropy skips it too."""


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W], uint8 (0…255) or float32, and their labels (see `Targets`)."""

    images: Images
    labels: Labels

    @property
    def targets(self) -> Targets:
        """What the labels are."""
        if self.labels.dtype != np.int64:
            return "values"
        return "classes" if self.labels.ndim == 1 else "pixels"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """The images and labels at ``index``."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Source:
    """What a file reader gives back: training and test images as their authors split them."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    where: str
    """File or directory the images came from."""
    moves: Moves = "none"
    """What may be done to an image that is then still one of its class; "none" where that is not known."""


@dataclass(frozen=True)
class Dataset:
    """A data set ready for training; the test images never decide anything."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """Per channel, in the units of `scaled` images."""
    std: tuple[float, ...]
    where: str
    moves: Moves = "none"
    _fingerprint: list[str] = field(default_factory=lambda: [], repr=False, compare=False)

    @property
    def targets(self) -> Targets:
        """What the labels are."""
        return self.train.targets

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return int(self.train.images.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.train.images.shape[2]), int(self.train.images.shape[3])

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and shift of each channel that turn images as they are stored into normalised ones, all float32.

        Normalised images are scaled to 0…1 where stored as uint8, minus `mean`, over `std`.
        """
        unit = 1 / 255 if self.train.images.dtype == np.uint8 else 1.0
        mean, std = np.asarray(self.mean, np.float64), np.asarray(self.std, np.float64)
        scale, shift = (unit / std).astype(np.float32), (-mean / std).astype(np.float32)
        return tuple(map(float, scale)), tuple(map(float, shift))

    def as_stored(self) -> Dataset:
        """The same data, of which nothing is normalised: for networks that normalise by themselves."""
        unit = 1 / 255 if self.train.images.dtype == np.uint8 else 1.0
        return replace(self, mean=(0.0,) * self.in_channels, std=(unit,) * self.in_channels)

    def normalise(self, images: Images) -> FloatImages:
        """float32 [N, C, H, W] as networks learn from them, of ``images`` as they are stored."""
        scale, shift = (np.asarray(part, np.float32).reshape(1, -1, 1, 1) for part in self.normalisation)
        return images.astype(np.float32) * scale + shift

    def sample(self, count: int) -> FloatImages:
        """``count`` training images as they are stored, spread evenly over the training set (fewer where it has fewer);
        float32.
        """
        index = np.linspace(0, len(self.train) - 1, min(count, len(self.train)), dtype=np.int64)
        return self.train.images[index].astype(np.float32)

    def fingerprint(self) -> str:
        """SHA-256 of every image and label."""
        if not self._fingerprint:
            digest = hashlib.sha256()
            for split in (self.train, self.validation, self.test):
                digest.update(repr((split.images.shape, split.images.dtype.str)).encode())
                digest.update(np.ascontiguousarray(split.images).data)
                digest.update(np.ascontiguousarray(split.labels).data)
            self._fingerprint.append(digest.hexdigest())
        return self._fingerprint[0]


def checked(images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], classes: int, where: str) -> Split:
    """A split whose images and labels agree.

    Raises:
        InputError: no images, different counts, labels out of range, or values that are not finite.
    """
    if len(images) == 0:
        raise InputError("there are no images", where=where, remedy="check that the right files are there")
    if not images.size:
        raise InputError(
            f"the images have no pixels: their shape is {list(images.shape)}",
            where=where,
            remedy="give images [N, C, H, W]",
        )
    if len(images) != len(labels):
        raise InputError(
            f"there are {len(images)} images and {len(labels)} labels",
            where=where,
            remedy="the files do not belong together; fetch both again",
        )
    targets: Labels
    if labels.dtype.kind == "f":
        targets = labels.astype(np.float32).reshape(len(labels), -1) if labels.ndim == 1 else labels.astype(np.float32)
        if not np.isfinite(targets).all():
            raise InputError("the targets hold NaN or infinity", where=where, remedy="clean the targets")
    else:
        targets = labels.astype(np.int64)
        counted = targets if targets.ndim == 1 else targets[targets != NOT_COUNTED]
        if not counted.size or int(counted.min()) < 0 or int(counted.max()) >= classes:
            found = f"run from {int(counted.min())} to {int(counted.max())}" if counted.size else "count no pixel"
            raise InputError(
                f"labels {found}, the data set has {classes} classes",
                where=where,
                remedy="labels must be 0 to classes-1; the file may be damaged",
            )
    if images.dtype == np.uint8:
        return Split(np.ascontiguousarray(images, dtype=np.uint8), targets)
    floats = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise InputError("the images hold NaN or infinity", where=where, remedy="clean the images")
    return Split(floats, targets)


def hold_out(split: Split, share: float, seed: int, where: str) -> tuple[Split, Split]:
    """Cut ``share`` of every class off, at least one of two images, chosen by ``seed``: (rest, held out).

    Images without a class of their own count as one class.

    Raises:
        InputError: too few images to leave one on both sides.
    """
    rng = np.random.default_rng(seed)
    held: list[npt.NDArray[np.int64]] = []
    classes = split.labels if split.targets == "classes" else np.zeros(len(split), np.int64)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        count = max(round(share * len(members)), 1 if len(members) > 1 else 0)
        held.append(rng.permutation(members)[:count])
    chosen = np.zeros(len(split), dtype=np.bool_)
    chosen[np.concatenate(held)] = True
    if not chosen.any() or chosen.all():
        raise InputError(
            f"{len(split)} images are too few to hold out {share:.0%}",
            where=where,
            remedy="give more images per class or another --validation share",
        )
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))


def moments(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of scaled images, rounded to 6 digits; a constant channel gets std 1."""
    scale = 1 / 255 if images.dtype == np.uint8 else 1.0
    sample = images[:: max(1, len(images) // 10_000)].astype(np.float64) * scale
    mean, std = sample.mean(axis=(0, 2, 3)), sample.std(axis=(0, 2, 3))
    std = np.where(std < 1e-6, 1.0, std)
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)
