"""Making a data set of networks and what they cost, in this machine's processes or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from proprune_cli.accel.boards import board_with_array
from proprune_cli.errors import UsageError
from proprune_cli.flow.pools import done, pool
from proprune_cli.predict.parts import make_part
from proprune_cli.predict.sampling import Base, RowPlan, Target, plan, targets
from proprune_cli.predict.schema import arrow
from proprune_cli.predict.store import FILE, ROWS_OF_A_PART, Store

_SMALL, _LARGE = ((32, 32), (48, 48), (64, 64)), ((32, 32), (64, 64))
BASES = (
    Base("lenet5", "lenet", ((28, 28),), 1.5),
    Base("resnet8", "resnet-cifar", _SMALL, 2.0),
    Base("resnet20", "resnet-cifar", _SMALL, 2.0),
    Base("resnet18", "resnet", (*_SMALL, (96, 96)), 1.5),
    Base("resnet34", "resnet", _LARGE, 0.5),
    Base("resnet50", "resnet", _LARGE, 0.5),
    Base("vgg16", "vgg", _LARGE),
    Base("vgg19", "vgg", _LARGE, 0.5),
    Base("densenet40", "densenet", ((32, 32),), 0.4),
    Base("mobilenetv1", "mobilenetv1", _LARGE),
    Base("mobilenetv2", "mobilenetv2", _LARGE),
    Base("squeezenet", "squeezenet", _SMALL, 1.2),
    Base("shufflenetv2", "shufflenetv2", _LARGE, 0.8),
    Base("efficientnet-lite0", "efficientnet-lite", _LARGE, 0.5),
    Base("unet", "unet", _LARGE, 0.5),
    Base("segnet", "segnet", _LARGE, 0.5),
)
"""The networks that variants are made of; the slow ones (tens of layers each) give fewer."""

IMAGE = {"lenet5": (1, (28, 28))}
"""Channels and size of the images that a network is exported for; (3, (32, 32)) where it is not named."""


@dataclass(frozen=True)
class DatasetOptions:
    """What a data set holds.

    Attributes:
        rows: networks on arrays. seed: of everything that is drawn.
        models: specs of `BASES`; all where none is named.
        boards: of the targets; all where none is named. array: of the targets; all where it is empty.
    """

    rows: int = 10_000
    seed: int = 0
    models: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    array: str = ""


def make_dataset(
    options: DatasetOptions,
    out: Path,
    *,
    processes: int = 0,
    dask: str | None = None,
    on_rows: Callable[[int, int], None] = lambda _done, _all: None,
) -> Path:
    """Make a data set in the directory ``out``, or go on with it; gives its file.

    Args:
        processes: of this machine; 0: as many as it has cores. dask: address of a Dask scheduler that has the work
            instead.
        on_rows: called with the rows that are there and all of them.

    Raises:
        ProPruneError: options that mean nothing, another data set in the directory, a cluster that is lost.
    """
    arrow()
    bases, to = _bases(options), _targets(options)
    if options.rows < len(bases):
        raise UsageError(
            f"{options.rows} rows are fewer than networks", where="--rows", remedy=f"at least {len(bases)}"
        )
    store = Store(out)
    store.open(asdict(options))
    parts = list(_parts(plan(bases, to, options.rows, options.seed)))
    missing = set(store.missing(len(parts)))
    there = sum(len(rows) for number, rows in enumerate(parts) if number not in missing)
    on_rows(there, options.rows)
    if not missing and (out / FILE).is_file():
        return out / FILE
    networks = out / "networks"
    # Networks are exported one after the other, while parts of those before are made. Processes of this machine read
    # them from their files: as an argument of each job they would lie in memory for as many.
    files = (
        (number, exported(rows[0].base.spec, networks), rows) for number, rows in enumerate(parts) if number in missing
    )
    jobs = ((number, (file if dask is None else file.read_bytes(), rows)) for number, file, rows in files)
    with pool(processes, dask) as workers:
        for number, content in done(workers, jobs, make_part, "rows"):
            store.write_part(number, content)
            there += len(parts[number])
            on_rows(there, options.rows)
    return store.finish(len(parts))


def _bases(options: DatasetOptions) -> list[Base]:
    known = {base.spec: base for base in BASES}
    for spec in options.models:
        if spec not in known:
            raise UsageError(f"there are no variants of {spec!r}", where="--model", remedy=f"one of {', '.join(known)}")
    return [known[spec] for spec in options.models] or list(BASES)


def _targets(options: DatasetOptions) -> list[Target]:
    if not options.boards:
        found = [t for t in targets() if options.array in ("", t.array)]
    else:
        pairs = [board_with_array(board, options.array or None) for board in options.boards]
        found = [Target(board.name, array.name) for board, array in pairs]
    if not found:
        raise UsageError(f"no board carries an array {options.array!r}", where="--array", remedy="see proprune boards")
    return found


def _parts(rows: list[RowPlan]) -> Iterator[list[RowPlan]]:
    """Rows of one network and array, a few at a time."""
    part: list[RowPlan] = []
    for row in rows:
        new = part and (row.base != part[0].base or row.target.array != part[0].target.array)
        if new or len(part) == ROWS_OF_A_PART:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def exported(spec: str, folder: Path) -> Path:
    """The file in ``folder`` that holds a network of the zoo in ONNX, with random weights."""
    file = folder / f"{spec}.onnx"
    if not file.is_file():
        from proprune_cli.files.write import write_whole
        from proprune_cli.nets.random import random_network

        channels, size = IMAGE.get(spec, (3, (32, 32)))
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, random_network(spec, channels, size))
    return file
