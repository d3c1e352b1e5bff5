"""Turns stored images into batches: shuffling, augmentation and normalisation, all on whole batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as nnf

from proprune_cli.data.augment import Augment
from proprune_cli.data.dataset import NOT_COUNTED, Dataset, Split
from proprune_cli.errors import UsageError

_HOST = torch.device("cpu")


def derived_seed(seed: int, *labels: object) -> int:
    """A seed for one purpose, so that no random stream depends on how much of another was used."""
    digest = hashlib.sha256(repr((seed, *labels)).encode()).digest()
    return int.from_bytes(digest[:7], "little")


class Batches:
    """Batches of one split on demand, on ``device``; images stay as they are stored until their batch is due."""

    def __init__(
        self,
        data: Dataset,
        split: Split,
        batch: int,
        augment: Augment = "none",
        device: torch.device = _HOST,
    ) -> None:
        # Files are read into memory that cannot be written; torch wants its own.
        self._images = torch.from_numpy(np.require(split.images, requirements="W"))
        self._labels = torch.from_numpy(np.require(split.labels, requirements="W"))
        self._batch, self._device = batch, device
        self._maps = split.targets == "pixels"
        if split.targets == "values" or (self._maps and self._labels.shape[1:] != self._images.shape[2:]):
            if augment not in ("auto", "none"):
                raise UsageError(
                    f"{augment} would move the images and not their targets, {list(split.labels.shape[1:])} each",
                    where="--augment",
                    remedy="leave it out, and augment where the data are made",
                )
            augment = "none"
        moves = data.moves if augment == "auto" else augment
        self._crop = moves != "none"
        self._flip = moves == "crop+flip"
        self._pad = max(1, round(min(data.size) / 14))
        scale = 1 / 255 if self._images.dtype == torch.uint8 else 1.0
        mean = torch.tensor(data.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(data.std, device=device).view(1, -1, 1, 1)
        self._factor = scale / std
        self._shift = -mean / std

    def __len__(self) -> int:
        """Batches in one pass of `shuffled`."""
        # A short last batch is left out: a batch norm learns little from a few images, and they come another time.
        return max(1, len(self._labels) // self._batch)

    def shuffled(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One pass in an order and with augmentations that ``seed`` decides: float32 [B, C, H, W], labels [B, …]."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self._labels), generator=generator)
        for number in range(len(self)):
            index = order[number * self._batch : (number + 1) * self._batch]
            images, labels = self._images[index].to(self._device), self._labels[index].to(self._device)
            if self._crop:
                images, labels = self._augmented(images, labels, generator)
            yield self._normalised(images), labels

    def in_order(self, batch: int = 512) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One plain pass."""
        for start in range(0, len(self._labels), batch):
            part = slice(start, start + batch)
            yield self._normalised(self._images[part].to(self._device)), self._labels[part].to(self._device)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self._shift, images.float(), self._factor)

    def _augmented(
        self, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad with the darkest value, crop at a random place, mirror half of the images; maps of classes likewise."""
        count = len(images)
        # Drawn on the host, so that every device trains on the same images.
        offsets = torch.randint(0, 2 * self._pad + 1, (2, count), generator=generator).to(images.device)
        mirror = (torch.rand(count, generator=generator) < 0.5).to(images.device) if self._flip else None
        fill = 0.0 if images.dtype == torch.uint8 else float(images.min())
        images = self._moved(images, fill, offsets, mirror)
        if self._maps:
            labels = self._moved(labels[:, None], NOT_COUNTED, offsets, mirror)[:, 0]
        return images, labels

    def _moved(
        self, maps: torch.Tensor, fill: float, offsets: torch.Tensor, mirror: torch.Tensor | None
    ) -> torch.Tensor:
        """[B, C, H, W] padded with ``fill``, cropped at ``offsets`` [2, B], mirrored where ``mirror`` [B]."""
        count, _, height, width = maps.shape
        padded = nnf.pad(maps, (self._pad,) * 4, value=fill)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        cropped = windows[torch.arange(count, device=maps.device), :, offsets[0], offsets[1]]
        return cropped if mirror is None else torch.where(mirror.view(-1, 1, 1, 1), cropped.flip(3), cropped)
