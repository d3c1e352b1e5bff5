"""The 1,797 handwritten digits, 8×8, that scikit-learn carries (UCI Optical Recognition of Handwritten Digits)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from proprune_cli.data.dataset import Source, checked, hold_out


def load_digits(data_dir: Path | None) -> Source:
    """Digits with a fixed fifth of each class as the test set; grey values 0…16 become 0…255."""
    del data_dir
    from sklearn.datasets import load_digits as bundled

    bunch: Any = bundled()
    grey = np.asarray(bunch["images"], dtype=np.float64)
    images = np.round(grey * (255 / 16)).astype(np.uint8)[:, None]
    where = "scikit-learn's digits"
    everything = checked(images, np.asarray(bunch["target"]), 10, where)
    train, test = hold_out(everything, 0.2, 0, where)
    return Source("digits", train, test, tuple("0123456789"), where, "crop")
