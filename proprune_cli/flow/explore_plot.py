"""The picture of an exploration: for each target, accuracy against predicted latency and against predicted energy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from proprune_cli.files.write import write_whole
from proprune_cli.flow.explored import UNITS, Explored, Front
from proprune_cli.prune.sensitivity_plot import check_plot

_WORDS = {"latency_ms": "latency", "energy_mj": "energy"}


def check_picture(path: Path) -> None:
    """Whether a picture could be written to ``path``.

    Raises:
        InputError: matplotlib is not installed, the file's ending is no picture's, or its directory does not exist.
    """
    check_plot(path)


def save_picture(explored: Explored, path: Path) -> None:
    """Write the picture to ``path``.

    Raises:
        InputError: as `check_picture`, or it cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    targets = list(dict.fromkeys(front.target for front in explored.fronts))
    figure = Figure(figsize=(11, 4.2 * len(targets)), layout="constrained")
    grid = figure.subplots(len(targets), 2, squeeze=False)
    for row, target in enumerate(targets):
        for column, front in enumerate(f for f in explored.fronts if f.target == target):
            _draw(grid[row][column], front, explored.document["metric"])
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=path.suffix.lower().removeprefix("."))
    write_whole(path, picture.getvalue())


def _draw(axes: Any, front: Front, metric: str) -> None:
    def points(marks: Any) -> tuple[list[float], list[float]]:
        return [m.cost for m in marks], [m.accuracy for m in marks]

    axes.set_xscale("log")
    axes.plot(*points(front.dominated), "o", color="C0", alpha=0.25, label="dominated")
    axes.plot(*points(front.line), "o-", color="C0", label="front")
    if front.thin:
        axes.plot(*points(front.thin), "s--", color="C1", alpha=0.8, label="thin networks")
    if front.knee is not None:
        axes.plot([front.knee.cost], [front.knee.accuracy], "o", ms=14, mfc="none", mec="C3", mew=2, label="knee")
        axes.annotate(
            front.knee.name, (front.knee.cost, front.knee.accuracy), (8, -12), textcoords="offset points", fontsize=8
        )
    axes.set_xlabel(f"predicted {_WORDS[front.cost]}, {UNITS[front.cost]} per image")
    axes.set_ylabel("test accuracy, %" if metric == "accuracy" else f"test {metric}, × 100")
    axes.set_title(f"{front.target.board}, {front.target.array}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
