"""The picture of a sensitivity scan: one row per group, one column per share, darker where more accuracy is lost."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np

from proprune_cli.errors import InputError
from proprune_cli.files.write import write_whole
from proprune_cli.prune.sensitivity import Sensitivity

FORMATS = (".svg", ".png", ".pdf")
_LEGIBLE = 60
"""From so many rows on, cells carry no numbers."""


def check_plot(path: Path) -> None:
    """Whether a picture could be written to ``path``, before a scan is spent on it.

    Raises:
        InputError: matplotlib is not installed, the file's ending is no picture's, or its directory does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError("the ending names no picture format", where=f"--plot {path}", remedy="use .svg, .png or .pdf")
    if not path.parent.is_dir():
        raise InputError(
            "the picture's directory does not exist", where=f"--plot {path}", remedy=f"mkdir -p {path.parent}"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "pictures need matplotlib, which is not installed",
            where=f"--plot {path}",
            remedy="pip install 'proprune[plot]'",
        )


def save_plot(scan: Sensitivity, path: Path) -> None:
    """Write the picture to ``path``.

    Raises:
        InputError: matplotlib is not installed, the file's ending is no picture's, or it cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    curves = [c for c in scan.groups if c.points]
    if not curves:
        raise InputError(
            "no group can be pruned, so there is nothing to show",
            where=f"--plot {path}",
            remedy="leave out --plot; `proprune sensitivity` says why each group stays whole",
        )
    lost = np.array([[scan.accuracy - p.accuracy for p in c.points] for c in curves])
    figure = Figure(figsize=(2.6 + 0.75 * lost.shape[1], 1.4 + 0.3 * len(curves)), layout="constrained")
    axes = figure.add_subplot()
    top = max(1.0, float(lost.max()))
    image = axes.imshow(lost, aspect="auto", cmap="Blues", vmin=0.0, vmax=top)
    axes.set_xticks(range(lost.shape[1]), [f"{p.share:.1%}".replace(".0%", "%") for p in curves[0].points])
    axes.set_yticks(range(len(curves)), [f"{c.name} ({c.channels})" for c in curves])
    axes.set_xlabel("share of the group's channels removed")
    axes.set_title(
        f"{scan.metric.capitalize()} lost, points of {scan.accuracy:.1f} % ({scan.images} validation images)",
        fontsize=10,
    )
    if len(curves) <= _LEGIBLE:
        for row, column in np.ndindex(*lost.shape):
            value = float(lost[row, column])
            shade = "white" if value > 0.6 * top else "black"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=shade)
    figure.colorbar(image, ax=axes, label="percentage points")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=path.suffix.lower().removeprefix("."))
    write_whole(path, picture.getvalue())
