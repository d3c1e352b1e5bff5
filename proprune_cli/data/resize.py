"""Resizes a whole data set at once."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as nnf

from proprune_cli.data.dataset import Images


def resize(images: Images, size: int, block: int = 2048) -> Images:
    """Bilinear, with antialiasing where it shrinks: [N, C, H, W] → [N, C, size, size], same dtype."""
    if images.shape[2:] == (size, size):
        return images
    out: Images = np.empty((*images.shape[:2], size, size), dtype=images.dtype)  # pyright: ignore[reportAssignmentType]
    for start in range(0, len(images), block):
        part = torch.from_numpy(images[start : start + block].astype(np.float32))
        scaled = nnf.interpolate(part, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        if images.dtype == np.uint8:
            scaled = scaled.round_().clamp_(0, 255)
        out[start : start + block] = scaled.numpy().astype(images.dtype)
    return out
