"""SVHN, cropped digits (Netzer et al. 2011): MATLAB files with X [32, 32, 3, N] and y, where 10 means 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from proprune_cli.data.dataset import Source, Split, checked
from proprune_cli.data.files import find_directory
from proprune_cli.errors import InputError


def _read(path: Path) -> Split:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    remedy = "fetch the file again from its authors"
    try:
        content = loadmat(str(path), variable_names=["X", "y"])
        images, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except (MatReadError, ValueError, TypeError, KeyError, OSError, EOFError, NotImplementedError) as error:
        raise InputError(
            f"not a readable SVHN file: {type(error).__name__}: {error}", where=str(path), remedy=remedy
        ) from error
    except Exception as error:
        raise InputError(f"the file is damaged: {error}", where=str(path), remedy=remedy) from error
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.dtype != np.uint8:
        raise InputError(
            f"X is {images.dtype} {list(images.shape)}, not uint8 [32, 32, 3, N]", where=str(path), remedy=remedy
        )
    return checked(images.transpose(3, 2, 0, 1), labels.astype(np.int64) % 10, 10, str(path))


def load_svhn(data_dir: Path | None) -> Source:
    """73,257 + 26,032 house-number digits, 32×32 RGB."""
    directory = find_directory("svhn", data_dir, (), ("train_32x32.mat",))
    train, test = (_read(directory / f"{part}_32x32.mat") for part in ("train", "test"))
    return Source("svhn", train, test, tuple("0123456789"), str(directory), "crop")
