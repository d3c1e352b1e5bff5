"""Where many like pieces of work are done: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, TypeVar

from proprune_cli.errors import InputError, ProPruneError, UsageError

_SCATTERED = 1 << 14
"""Bytes from which on an argument goes to every worker of a cluster once, and not with each piece."""

Name = TypeVar("Name")


class Pool(Protocol):
    """Where pieces of work are done."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to call ``function``, which must be importable by its name, as its arguments must be picklable."""
        ...


@contextmanager
def pool(processes: int, dask: str | None, *, threads: int | None = 1) -> Generator[Pool, None, None]:
    """Processes of this machine, or the Dask scheduler at the address ``dask`` where there is one.

    Args:
        processes: 0: as many as there are cores.
        threads: of numeric libraries in each process; None leaves them alone.

    Raises:
        InputError: no scheduler answers. UsageError: Dask is not installed.
    """
    if dask is None:
        count = processes or len(os.sched_getaffinity(0))
        # Spawned: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(threads,)) as workers:
            try:
                yield workers
            except BaseException:
                workers.shutdown(wait=False, cancel_futures=True)
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


def done(
    where: Pool, jobs: Iterable[tuple[Name, tuple[Any, ...]]], function: Callable[..., Any], what: str
) -> Iterator[tuple[Name, Any]]:
    """Results of ``function`` for the arguments of each job, with its name, as they become ready.

    Jobs are taken one after the other, while those before are at work.

    Args:
        what: is made, in the plural, for messages.

    Raises:
        InputError: a process was killed, or the cluster gave up. ProPruneError: whatever ``function`` raises.
    """
    running: dict[Future[Any], Name] = {}
    for name, arguments in jobs:
        running[where.submit(function, *arguments)] = name
        for future in [f for f in running if f.done()]:
            yield running.pop(future), _result(future, what)
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), _result(future, what)


def _result(future: Future[Any], what: str) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"a process that makes {what} was killed, maybe for want of memory",
            where="--processes",
            remedy=f"give fewer; the {what} that are there stay",
        ) from error
    except _ClusterError as error:
        raise InputError(
            f"the Dask cluster did not make all {what}: {error}",
            where="--dask",
            remedy=f"start workers again; the {what} that are there stay",
        ) from error


def _begin(threads: int | None) -> None:
    """What each process does first."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads is not None:
        _few_threads(threads)


def _end_with_parent() -> None:
    """A parent that was killed cannot say so, and whoever goes on with its work must not meet us at it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _few_threads(count: int) -> None:
    """A process for each core, and one core for each process."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)


class _ClusterError(Exception):
    """Whatever a cluster raises that is no error of ours."""


class _Dask:
    """A Dask cluster as a pool. A worker that is lost loses nothing: what it was at is done again elsewhere."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._scattered: dict[bytes, Any] = {}
        self._running: set[Any] = set()
        """What nobody holds is cancelled by the cluster."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        sent = [self._sent(a) if isinstance(a, bytes) and len(a) >= _SCATTERED else a for a in arguments]
        made: Future[Any] = Future()
        remote = self._client.submit(function, *sent, pure=False, retries=3)

        def finished(answer: Any) -> None:
            self._running.discard(remote)
            try:
                made.set_result(answer.result())
            except ProPruneError as error:
                made.set_exception(error)
            except Exception as error:  # noqa: BLE001  # whatever the cluster raises is told, with what stays
                made.set_exception(_ClusterError(str(error)))

        self._running.add(remote)
        remote.add_done_callback(finished)
        return made

    def _sent(self, content: bytes) -> Any:
        if content not in self._scattered:
            self._scattered = {content: self._client.scatter(content, broadcast=True)}
        return self._scattered[content]
