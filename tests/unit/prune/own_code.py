"""What users bring: networks with several results, data sets, losses and metrics. Imported by name, as theirs are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import nn

IMAGES, SIZE = 60, 16


def _images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey images with a bright square, and where its corner is, in shares of the width."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, SIZE - 6, (count, 2))
    images = rng.normal(0, 0.1, (count, 1, SIZE, SIZE)).astype(np.float32)
    for image, (row, column) in zip(images, corners, strict=True):
        image[0, row : row + 6, column : column + 6] += 2
    return images, (corners / SIZE).astype(np.float32)


class Detector(nn.Module):
    """A trunk with a residual block, and two heads: where the square is, and whether there is one."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.conv1, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.corner = nn.Conv2d(width, 2, SIZE // 2)
        self.present = nn.Conv2d(width, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        x = nnf.relu(self.stem(x))
        x = nnf.relu(x + self.norm(self.conv1(x)))
        return {"corner": self.corner(x).flatten(1), "present": (self.present(x), None)}


def detector_loss(outputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    present = outputs["present"][0]
    return nnf.mse_loss(outputs["corner"], targets) + nnf.mse_loss(present, torch.ones_like(present))


def closeness(outputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    """1 where the corner is found exactly, one number per image."""
    return 1 / (1 + (outputs["corner"] - targets).norm(dim=1))


class Squares:
    """A map-style data set."""

    def __init__(self, count: int, seed: int) -> None:
        self.images, self.corners = _images(count, seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        return torch.from_numpy(self.images[index]), self.corners[index]


def squares(count: int = IMAGES) -> tuple[Squares, Squares]:
    return Squares(count, 0), Squares(20, 1)


def arrays() -> tuple[np.ndarray, ...]:
    return *_images(IMAGES, 0), *_images(20, 1)


def ragged() -> tuple[list[Any], list[Any]]:
    data = [(np.zeros((1, 8, 8), np.float32), 0), (np.zeros((1, 9, 9), np.float32), 1)]
    return data, data


def broken() -> tuple[list[Any], list[Any]]:
    return [1, 2], [3]


def absent() -> tuple[Any, Any]:
    return np.load("no_such_file.npy"), None


def three() -> tuple[int, int, int]:
    return 1, 2, 3


class Regressor(nn.Module):
    """One output, for losses of torch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 16, 5, stride=3), nn.Linear(16 * 16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(nnf.relu(self.conv(x)).flatten(1))


class Segmenter(nn.Module):
    """A class for every pixel."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 16, 3, padding=1, stride=stride), nn.BatchNorm2d(16)
        self.b, self.c = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(nnf.relu(self.b(nnf.relu(self.norm(self.a(x))))))


class Rows(nn.Module):
    """One-dimensional convolutions, which the engine does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv1d(1, 8, 5, padding=2), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv(x.flatten(2))).mean(2))


class Auxiliary(nn.Module):
    """A head that works while training only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 10)
        self.aux = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = nnf.relu(self.a(x))
        y = self.fc(nnf.relu(self.b(x)).mean(dim=(2, 3)))
        return (y, self.aux(x.mean(dim=(2, 3)))) if self.training else y


class Learning(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.weight * nnf.mse_loss(outputs, targets)


def three_numbers(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.ones(3)


def never(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float("nan")


def a_word(outputs: torch.Tensor, targets: torch.Tensor) -> str:
    return "good"


def make_loss(beta: float = 1.0) -> nn.Module:
    return nn.SmoothL1Loss(beta=beta)
