"""CIFAR-10 and CIFAR-100, the *binary* version (Krizhevsky 2009): rows of label bytes and 3072 pixel bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from proprune_cli.data.dataset import Source, Split, checked
from proprune_cli.data.files import find_directory, read_bytes
from proprune_cli.errors import InputError

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32


def _read(paths: list[Path], label_bytes: int, classes: int) -> Split:
    rows = []
    for path in paths:
        data = read_bytes(path)
        if not data or len(data) % (label_bytes + _PIXELS):
            raise InputError(
                f"{len(data)} bytes are no whole number of images of {label_bytes + _PIXELS} bytes",
                where=str(path),
                remedy="the file is truncated or not the binary version; fetch it again",
            )
        rows.append(np.frombuffer(data, dtype=np.uint8).reshape(-1, label_bytes + _PIXELS))
    table = np.concatenate(rows)
    images = table[:, label_bytes:].reshape(-1, 3, 32, 32)
    return checked(images, table[:, label_bytes - 1], classes, str(paths[0].parent))


def _directory(name: str, data_dir: Path | None, folder: str, marker: str, pickled: list[str]) -> Path:
    try:
        return find_directory(name, data_dir, (folder,), (marker,))
    except InputError as error:
        roots = [data_dir] if data_dir is not None else [Path("data")]
        for root in roots:
            for sub in (".", name, pickled[0]):
                if (root / sub / pickled[1]).is_file():
                    raise InputError(
                        "this is the Python version, made of pickle files, which are not read because opening one "
                        "can run any code",
                        where=str(root / sub),
                        remedy=f"fetch the binary version ({folder}, with {marker}) from the same page of its authors",
                    ) from error
        raise


def load_cifar10(data_dir: Path | None) -> Source:
    """50,000 + 10,000 photographs, 32×32 RGB, 10 classes."""
    where = _directory(
        "cifar10", data_dir, "cifar-10-batches-bin", "data_batch_1.bin", ["cifar-10-batches-py", "data_batch_1"]
    )
    train = _read([where / f"data_batch_{i}.bin" for i in range(1, 6)], 1, 10)
    return Source("cifar10", train, _read([where / "test_batch.bin"], 1, 10), _CIFAR10, str(where), "crop+flip")


def load_cifar100(data_dir: Path | None) -> Source:
    """50,000 + 10,000 photographs, 32×32 RGB, 100 fine classes."""
    where = _directory("cifar100", data_dir, "cifar-100-binary", "train.bin", ["cifar-100-python", "train"])
    names_file = where / "fine_label_names.txt"
    names = tuple(names_file.read_text().split()) if names_file.is_file() else ()
    names = names if len(names) == 100 else tuple(str(i) for i in range(100))
    train = _read([where / "train.bin"], 2, 100)
    return Source("cifar100", train, _read([where / "test.bin"], 2, 100), names, str(where), "crop+flip")
