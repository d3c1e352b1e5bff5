"""Finds a data set by its name or path. A new source: one file beside this and one line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proprune_cli.data.cifar import load_cifar10, load_cifar100
from proprune_cli.data.dataset import Dataset, Source, Split, hold_out, moments
from proprune_cli.data.digits import load_digits
from proprune_cli.data.factory import load_factory
from proprune_cli.data.folder import load_folder
from proprune_cli.data.idx import load_fashion_mnist, load_mnist
from proprune_cli.data.npz import load_npz
from proprune_cli.data.svhn import load_svhn
from proprune_cli.errors import InputError
from proprune_cli.spec.parse import Spec, parse_spec

SOURCES: dict[str, Callable[[Path | None], Source]] = {
    "digits": load_digits,
    "fashion-mnist": load_fashion_mnist,
    "mnist": load_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "svhn": load_svhn,
}


def load_data(spec: str, *, data_dir: Path | None = None, validation: float = 0.1, seed: int = 0) -> Dataset:
    """Data set named by ``spec``: one of `SOURCES`, an ``.npz`` file, a folder, or a factory's; ``?size=32`` resizes.

    Args:
        spec: name or path, optionally with ``?size=`` (pixels) and, for a folder, ``&channels=`` (1 or 3); or
            ``package.module:factory`` with arguments of its own.
        data_dir: directory of the files.
        validation: share of the training images held out, chosen by ``seed``.
        seed: of that choice.

    Raises:
        InputError: no such data set, or its files are missing or damaged.
    """
    parsed = parse_spec(spec, "--data")
    where = f"--data {spec}"
    if ":" in parsed.name and not Path(parsed.name).exists():
        return finished(load_factory(parsed, where), validation, seed)
    size = _whole(parsed, "size", where)
    channels = _whole(parsed, "channels", where)
    unknown = set(parsed.arguments) - {"size", "channels"}
    if unknown:
        raise InputError(
            f"a data set takes no argument {sorted(unknown)[0]!r}", where=where, remedy="it takes size and channels"
        )
    path = Path(parsed.name)
    if parsed.name in SOURCES:
        source = SOURCES[parsed.name](data_dir)
    elif path.suffix == ".npz":
        source = load_npz(path)
    elif path.is_dir():
        source = load_folder(path, size, channels)
    else:
        raise InputError(
            f"there is no data set {parsed.name!r}",
            where=where,
            remedy=f"choose one of {', '.join(SOURCES)}, or give an .npz file, a folder of class folders or "
            "package.module:factory",
        )
    if channels is not None and source.train.images.shape[1] != channels:
        raise InputError(
            f"the images have {source.train.images.shape[1]} channels, not {channels}",
            where=where,
            remedy="only image folders are converted; leave out channels",
        )
    if size is not None:
        if source.train.targets == "pixels":
            raise InputError(
                "images with a class for each pixel are not resized", where=where, remedy="store them in that size"
            )
        source = _resized(source, size)
    return finished(source, validation, seed)


def finished(source: Source, validation: float, seed: int) -> Dataset:
    """Ready for training: with validation images held out, and the moments of what is left."""
    train, held_out = hold_out(source.train, validation, seed, source.where)
    mean, std = moments(train.images)
    return Dataset(source.name, train, held_out, source.test, source.classes, mean, std, source.where, source.moves)


def _whole(spec: Spec, name: str, where: str) -> int | None:
    value = spec.arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
        raise InputError(f"{name}={value} is no whole number from 1 to 4096", where=where, remedy=f"give {name}=32")
    return value


def _resized(source: Source, size: int) -> Source:
    from proprune_cli.data.resize import resize

    train, test = (Split(resize(s.images, size), s.labels) for s in (source.train, source.test))
    return Source(source.name, train, test, source.classes, source.where, source.moves)
