"""The front of accuracy against predicted latency and energy, from one dense training that all points share.

    DIR/run.json        what was asked, as every run directory says it; DIR/stages/dense is the shared training
    DIR/explore.json    points and targets; grows where more are asked for
    DIR/points/         see `proprune_cli.flow.explore_point`
    DIR/front.json      what came of it (`proprune_cli.flow.explored`), and DIR/front.html to look at

A process killed at any moment leaves whole records; the same command makes what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from proprune_cli.accel.boards import board_with_array
from proprune_cli.config import called_options
from proprune_cli.errors import DoesNotFitError, InputError, UsageError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.records import value_of
from proprune_cli.flow.build import check_network
from proprune_cli.flow.explore_page import page
from proprune_cli.flow.explore_point import (
    DENSE,
    OWN_KEYS,
    Point,
    Target,
    make_dense,
    make_point,
    own_keys,
    record_key,
    record_of_point,
)
from proprune_cli.flow.explored import Explored, collect
from proprune_cli.flow.front import Gap, gaps
from proprune_cli.flow.pools import Pool, done, pool
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.options import PREDICTED, Budget, PruneOptions
from proprune_cli.rundir import RunDir, read_options
from proprune_cli.train.progress import Progress

PLAN_VERSION = 1
PLAN, RESULT, PAGE = "explore.json", "front.json", "front.html"


@dataclass(frozen=True)
class Axes:
    """What an exploration goes over.

    Attributes:
        budgets, methods: as ``--budget`` and ``--method`` take them. boards, arrays: names; no array: each board's own.
    """

    budgets: tuple[str, ...] = ("ops=75%", "ops=50%", "ops=25%", "ops=12%")
    methods: tuple[str, ...] = ("l1",)
    boards: tuple[str, ...] = ("pynq-z2",)
    arrays: tuple[str, ...] = ()

    def targets(self) -> list[Target]:
        """Every board with every array that it carries.

        Raises:
            UsageError: there is no such board or array.
            DoesNotFitError: a board carries none of the arrays, or no board an array.
        """
        found: list[Target] = []
        refusals: dict[str, DoesNotFitError] = {}
        for board in dict.fromkeys(self.boards):
            before = len(found)
            for array in dict.fromkeys(self.arrays) or (None,):
                try:
                    found.append(Target(board, board_with_array(board, array)[1].name))
                except DoesNotFitError as error:
                    refusals[board] = error
                    if len(self.boards) == 1:
                        raise
            if len(found) == before:
                raise refusals[board]
        unused = set(self.arrays) - {target.array for target in found}
        if unused:
            raise next(iter(refusals.values()))
        return found

    def points(self, thin: bool) -> list[Point]:
        """Every method with every budget; with those that a board counts, once for each target.

        Thin networks stand beside the first method alone: those of the same budget hardly differ.

        Raises:
            UsageError: a method or a budget means nothing, or a board.
        """
        found: list[Point] = []
        for number, method in enumerate(dict.fromkeys(self.methods)):
            beside = thin and not number
            if not takes_budget(method):
                found.append(Point(method, "", thin=beside))
                continue
            for text in dict.fromkeys(str(Budget.parse(budget)) for budget in self.budgets):
                counted = Budget.parse(text).kind in PREDICTED
                where = [(t.board, t.array) for t in self.targets()] if counted else [(None, None)]
                found += [Point(method, text, board, array, beside) for board, array in where]
        return found


def takes_budget(method: str) -> bool:
    """Whether a budget decides how much of a network the method removes."""
    return method_named(method)[0].finish == "cut"


class Exploration:
    """An exploration in a directory that is locked; `exploring` gives it."""

    def __init__(self, run: RunDir, base: PruneOptions, points: list[Point], targets: list[Target]) -> None:
        self._run, self._base, self.points, self.targets = run, base, points, targets

    def dense(self, progress: Progress | None = None) -> None:
        """Train the network that all points share, and predict it on every target.

        Raises:
            ProPruneError: as `proprune_cli.flow.prune.prune`; and the dense network does not compile for a target.
        """
        from proprune_cli.prune.pipeline import train_dense

        figures, metric = train_dense(self._base, self._run, progress, check_network)
        if record_of_point(self._run.path, DENSE, record_key(None, self.targets)) is None:
            (self._run.path / "points").mkdir(exist_ok=True)
            make_dense(self._run.path, figures, metric, self.targets)

    def missing(self) -> list[Point]:
        """Points that have no record, or that failed."""
        found: list[Point] = []
        for point in self.points:
            record = record_of_point(self._run.path, point.name, record_key(self._asked(point), self.targets))
            if record is None or record["failed"] is not None:
                found.append(point)
        return found

    def make(
        self,
        *,
        processes: int = 0,
        dask: str | None = None,
        on_points: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        """Make the points that are missing.

        Args:
            processes: of this machine; 0: as many as its cores have room for. dask: a scheduler that has the work
                instead. on_points: called with the points that are there and all of them.

        Raises:
            InputError: a process was killed, or the cluster is lost. What is there stays.
        """
        missing = self.missing()
        there = len(self.points) - len(missing)
        on_points(there, len(self.points))
        if not missing:
            return
        out = self._run.path if dask is None else self._run.path.absolute()
        jobs = ((point.name, (out, point.name, self._asked(point), self.targets)) for point in missing)
        with self._workers(processes, dask, len(missing)) as workers:
            for _ in done(workers, jobs, make_point, "points"):
                there += 1
                on_points(there, len(self.points))

    def more(self, count: int) -> list[Point]:
        """Add up to ``count`` points where the front is widest; gives them. They are not made yet.

        Raises:
            UsageError: no method takes a budget.
        """
        explored, known = self.explored(), {point.name for point in self.points}
        wide: list[tuple[float, Target, Gap]] = []
        for target in self.targets:
            line = explored.front(target, "latency_ms").line
            wide += [(gap.high / gap.low, target, gap) for gap in gaps(line, count + len(known))]
        new: list[Point] = []
        for _, target, gap in sorted(wide, key=lambda w: -w[0]):
            method = self._method_near(gap, explored)
            point = Point(method, f"ms={gap.middle:.4g}", target.board, target.array, self._base.thin)
            if point.name not in known and len(new) < count:
                known.add(point.name)
                new.append(point)
        self.points += new
        self.save()
        return new

    def explored(self) -> Explored:
        """What is known now."""
        return collect(self._run.path, self.points, self.targets)

    def finish(self) -> Explored:
        """Write what came of it, for programs and for people.

        Raises:
            InputError: no point could be made.
        """
        explored = self.explored()
        self._run.publish(RESULT, (json.dumps(explored.document, indent=1) + "\n").encode())
        self._run.publish(PAGE, page(explored).encode())
        failed = explored.document["failed"]
        if failed and len(failed) == len(self.points):
            raise InputError(
                f"no point could be made; the first failed with: {failed[0]['what']}",
                where=str(self._run.path / "points" / failed[0]["name"]),
                remedy=failed[0]["remedy"] or "look at the reasons of the others in front.json",
            )
        return explored

    def save(self) -> None:
        """Keep the plan."""
        document = {
            "version": PLAN_VERSION,
            "kind": "exploration",
            "targets": [asdict(target) for target in self.targets],
            "points": [asdict(point) for point in self.points],
        }
        self._run.publish(PLAN, (json.dumps(document, indent=1) + "\n").encode())

    def _method_near(self, gap: Gap, explored: Explored) -> str:
        """The method of the gap's dearer end, else of its cheaper one, else the first: the dense network has none."""
        near = [explored.method_of(mark.name) for mark in (gap.right, gap.left)]
        for method in (*near, *(point.method for point in self.points)):
            if method and takes_budget(method):
                return method
        raise UsageError(
            "none of the methods takes a budget, so that nothing can be put between two points",
            where="--continue",
            remedy="explore with a method such as l1 too",
        )

    def _asked(self, point: Point) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(point.options(self._base).to_json()))
        return document

    def _workers(self, processes: int, dask: str | None, wanted: int) -> AbstractContextManager[Pool]:
        # Not more threads than cores, where nobody says otherwise.
        room = max(1, len(os.sched_getaffinity(0)) // self._base.train.threads)
        count = min(processes or room, wanted)
        return nullcontext(_Here()) if dask is None and count == 1 else pool(count, dask, threads=None)


class _Here:
    """This process as a pool: work is done when it is handed over."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        made: Future[Any] = Future()
        made.set_result(function(*arguments))
        return made


@contextmanager
def exploring(base: PruneOptions | None, axes: Axes | None, out: Path) -> Generator[Exploration, None, None]:
    """Begin an exploration in ``out``, or go on with it; what was asked before and is not asked again stays.

    Args:
        base: options that all points share; None: those of before. axes: None: nothing new.

    Raises:
        InputError: there is no exploration to go on with, or another one; the directory is in use.
        UsageError: an axis means nothing.
    """
    if base is None:
        base = _known_base(out)
    base = replace(base, method="l1", budget=Budget(implied=True), board=PruneOptions.board, array=None)
    targets = [] if axes is None else axes.targets()
    points = [] if axes is None else axes.points(base.thin)
    before = _plan(out)
    points, targets = _joined(before[0], points), _joined(before[1], targets)
    for point in points:
        _check(point.options(base))
    with RunDir(out, "explore", base.to_json()) as run:
        work = Exploration(run, base, points, targets)
        if (keys := own_keys(base)) is not None:
            run.publish(OWN_KEYS, keys)
        work.save()
        yield work


def _check(options: PruneOptions) -> None:
    from proprune_cli.prune import check

    check(options)


def _joined(before: Iterable[Any], new: Iterable[Any]) -> list[Any]:
    """All of both, each once; of points that differ in nothing but the thin network, the first stays."""
    found: dict[Any, Any] = {}
    for item in (*before, *new):
        found.setdefault(item.name if isinstance(item, Point) else item, item)
    return list(found.values())


def _known_base(out: Path) -> PruneOptions:
    if not (out / PLAN).is_file():
        raise InputError(
            "there is no exploration to go on with",
            where=str(out),
            remedy=f"begin one with `proprune explore --model … --data … --out {out}`",
        )
    return called_options(read_options(out))


def _plan(out: Path) -> tuple[list[Point], list[Target]]:
    file = out / PLAN
    if not file.is_file():
        return [], []
    try:
        document = parse_object(read_file(file, JSON_BYTES))
        if document.get("version") != PLAN_VERSION:
            raise ValueError(f"it is of version {document.get('version')}, not {PLAN_VERSION}")
        points = value_of(list[Point], document["points"], "points")
        return points, value_of(list[Target], document["targets"], "targets")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the plan of the exploration is damaged: {error}",
            where=str(file),
            remedy="remove it and repeat the command with all budgets, methods and boards; finished points stay",
        ) from error
