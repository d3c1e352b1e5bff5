"""Making a data set of networks and what they cost, in this machine's processes or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from proprune_cli.accel.boards import board_with_array
from proprune_cli.errors import InputError, ProPruneError, UsageError
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


class Pool(Protocol):
    """Where parts are made."""

    def submit(self, function: Callable[..., bytes], /, *arguments: Any) -> Future[bytes]:
        """Begin to call ``function``."""
        ...


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
    done = sum(len(rows) for number, rows in enumerate(parts) if number not in missing)
    on_rows(done, options.rows)
    if not missing and (out / FILE).is_file():
        return out / FILE
    with _pool(processes, dask) as pool:
        jobs = ((number, rows) for number, rows in enumerate(parts) if number in missing)
        for number, content in _made(pool, jobs, out / "networks"):
            store.write_part(number, content)
            done += len(parts[number])
            on_rows(done, options.rows)
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


def _made(pool: Pool, jobs: Iterable[tuple[int, list[RowPlan]]], networks: Path) -> Iterator[tuple[int, bytes]]:
    """Parts as they become ready. Networks are exported one after the other, while parts of those before are made."""
    running: dict[Future[bytes], int] = {}
    for number, rows in jobs:
        running[pool.submit(make_part, exported(rows[0].base.spec, networks), rows)] = number
        for future in [f for f in running if f.done()]:
            yield running.pop(future), _result(future)
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), _result(future)


def _result(future: Future[bytes]) -> bytes:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process that makes rows was killed, maybe for want of memory",
            where="--processes",
            remedy="give fewer; the rows that are there stay",
        ) from error


def exported(spec: str, folder: Path) -> bytes:
    """A network of the zoo in ONNX, with random weights; kept in ``folder``."""
    file = folder / f"{spec}.onnx"
    if not file.is_file():
        from proprune_cli.files.write import write_whole
        from proprune_cli.nets.random import random_network

        channels, size = IMAGE.get(spec, (3, (32, 32)))
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, random_network(spec, channels, size))
    return file.read_bytes()


@contextmanager
def _pool(processes: int, dask: str | None) -> Generator[Pool, None, None]:
    if dask is None:
        count = processes or len(os.sched_getaffinity(0))
        # Spawned: a fork of a process with threads may hang.
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise UsageError(
            "the package distributed is not installed", where="--dask", remedy="pip install 'proprune[dask]'"
        ) from error
    try:
        client = distributed.Client(dask, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers: {error}", where=f"--dask {dask}", remedy="start one with `dask scheduler`"
        ) from error
    with client:
        yield _Dask(client)


def _one_thread() -> None:
    """A process for each core, and one core for each process."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


class _Dask:
    """A Dask cluster as a pool. A worker that is lost loses no row: its parts are made again elsewhere."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._networks: dict[bytes, Any] = {}
        self._running: set[Any] = set()
        """What nobody holds is cancelled by the cluster."""

    def submit(self, function: Callable[..., bytes], /, *arguments: Any) -> Future[bytes]:
        network, rows = arguments
        if network not in self._networks:
            self._networks = {network: self._client.scatter(network, broadcast=True)}
        made: Future[bytes] = Future()
        remote = self._client.submit(function, self._networks[network], rows, pure=False, retries=3)

        def done(finished: Any) -> None:
            self._running.discard(remote)
            try:
                made.set_result(finished.result())
            except ProPruneError as error:
                made.set_exception(error)
            except Exception as error:  # noqa: BLE001  # whatever the cluster raises is told, with what stays
                made.set_exception(
                    InputError(
                        f"the Dask cluster did not make a part: {error}",
                        where="--dask",
                        remedy="start workers again; the rows that are there stay",
                    )
                )

        self._running.add(remote)
        remote.add_done_callback(done)
        return made
