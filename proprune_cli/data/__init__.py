"""Data sets: images and targets in memory, where they come from, and how they become batches.

What it may know: NumPy, files, and torch where images turn into batches (`batches`, `resize`). Nothing of networks,
losses or training; a user's own data set comes in by name (`proprune_cli.spec`).

The way in is `load_data`. A new data set is one file here and one line in ``load.SOURCES``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proprune_cli.lazy import face

if TYPE_CHECKING:
    from proprune_cli.data.batches import Batches
    from proprune_cli.data.dataset import Dataset, Split
    from proprune_cli.data.load import SOURCES, load_data

__all__ = ["SOURCES", "Batches", "Dataset", "Split", "load_data"]

__getattr__ = face(
    __name__,
    {
        "load": "SOURCES load_data",
        "dataset": "Dataset Split",
        "batches": "Batches",
    },
)
