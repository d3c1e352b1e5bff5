"""What the tables share: data at the chosen scale, runs that resume, and a Markdown table at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from proprune_cli.data.load import load_data
from proprune_cli.flow.prune import prune
from proprune_cli.prune import PruneOptions
from proprune_cli.train.progress import SilentProgress

Extra = Callable[[Path], dict[str, Any]]
"""Figures to take from a finished run directory."""
T = TypeVar("T")


class _Told(SilentProgress):
    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)


@dataclass(frozen=True)
class Bench:
    """One table at one scale: ``full`` (the paper's), ``reduced`` (two cores, under an hour) or ``smoke``."""

    out: Path
    scale: str
    data_dir: Path | None
    threads: int
    device: str
    seeds: Sequence[int] | None = None
    epochs: int | None = None
    shares: Sequence[float] | None = None
    ways: Sequence[str] | None = None
    """What was asked for; None: the table's own."""

    def pick(self, full: T, reduced: T, smoke: T) -> T:
        """The value for this scale."""
        return {"full": full, "reduced": reduced, "smoke": smoke}[self.scale]

    @property
    def label(self) -> str:
        """What `fashion` gives, for titles."""
        return "digits (not the paper's data)" if self.scale == "smoke" else "Fashion-MNIST"

    def fashion(self, reduced_images: int = 60000) -> str:
        """Fashion-MNIST at this scale: all of it, its first images, or digits in its place."""
        if self.scale == "smoke":
            return "digits?size=28"
        if self.scale == "full" or reduced_images >= 60000:
            return "fashion-mnist"
        path = self.out / f"fashion-mnist-{reduced_images}.npz"
        if not path.is_file():
            data = load_data("fashion-mnist", data_dir=self.data_dir, validation=0.1, seed=0)
            part = data.train.take(np.arange(min(reduced_images, len(data.train))))
            self.out.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                x_train=part.images,
                y_train=part.labels,
                x_test=data.test.images,
                y_test=data.test.labels,
            )
        return str(path)

    def run(self, name: str, options: PruneOptions, shared: str, extra: Extra = lambda _: {}) -> dict[str, Any]:
        """Results of one run, from its file where it has been made with these options before.

        Args:
            shared: run directory; runs with one directory share their dense training.
        """
        record = self.out / f"{name}.json"
        asked = options.to_json()
        if record.is_file():
            known = json.loads(record.read_text(encoding="utf-8"))
            if known["options"] == asked:
                return known
        print(f"{name}: {options.model} on {options.data}, {options.method}", flush=True)
        directory = self.out / shared
        result, _ = prune(options, directory, _Told(), force=True)
        found: dict[str, Any] = {
            "options": asked,
            "result": result.to_json(),
            "hooks": _hooks(directory),
            **extra(directory),
        }
        record.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str]) -> None:
        """Print the table and leave it beside the runs."""
        lines = [f"# {title}", "", f"Scale: {self.scale}. Seeds and options of every row: the `.json` files here.", ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
        lines += ["", *(f"- {note}" for note in notes)]
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines))


def _hooks(run: Path) -> dict[str, Any]:
    """What the hooks of the last training of the run reported."""
    for stage in ("regularised", "finetune"):
        path = run / "stages" / stage / "report.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.get("hooks"):
                return found["hooks"]
    return {}


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± sample standard deviation."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {float(np.std(values, ddof=1)):.{digits}f}"
