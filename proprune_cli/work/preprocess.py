"""What is done to an image before it is quantised: a scale and a shift for each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUT_KEY = "proprune.input"
"""Metadata of an ONNX file whose network takes images as the data set stores them, and normalises them itself."""


@dataclass(frozen=True)
class Preprocess:
    """``x * scale[c] + shift[c]``, in float32 and in this order, so that whoever computes it gets the same bits.

    Attributes:
        scale, shift: one number for each channel, each of them a float32.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def apply(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, C, H, W] as the network's first layer takes them."""
        scale, shift = self.columns
        return images.astype(np.float32, copy=False) * scale + shift

    @property
    def columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and shift, float32 [1, C, 1, 1] each."""
        scale, shift = (np.asarray(values, np.float32).reshape(1, -1, 1, 1) for values in (self.scale, self.shift))
        return scale, shift
