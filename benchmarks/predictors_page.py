"""Tables and pictures of docs/predictors.md."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proprune_cli.predict.analytic import CYCLES, DDR_BYTES, ISSUED, figure_of
from proprune_cli.predict.base import Figure
from proprune_cli.predict.columns import FIGURES, Rows
from proprune_cli.predict.evaluate import Errors, Outcome, errors, pooled

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "predictors.md"
IMAGES = ROOT / "docs" / "images"
BEGIN = "<!-- tables: python -m benchmarks.bench_predictors DATASET --write -->"
END = "<!-- end of tables -->"

ARRAY = "z7020-256"
"""Array of the goals."""

LEARNERS = ("expert", "expert+residual")
"""Predictors whose time has that of the walk added."""

Points = Mapping[str, Sequence[tuple[int, float]]]


def tables(rows: Rows, outcomes: Sequence[Outcome], points: Points, walk: float, most: int) -> str:
    """All tables, in Markdown.

    Args:
        rows: with what the expert's walk says of their passes.
        walk: microseconds of the expert's walk for a network. most: rows that were fitted on at most.
    """
    names = list(dict.fromkeys(o.predictor for o in outcomes))
    on_array = rows["array"].astype(str) == ARRAY
    parts = [_rows(rows, most)]

    def of(kind: str, name: str | None = None, predictor: str = "") -> list[Outcome]:
        return [
            o for o in outcomes if o.split.kind == kind and name in (None, o.split.name) and o.predictor == predictor
        ]

    both: tuple[tuple[Figure, str], ...] = (("latency_ms", "Latency"), ("energy_mj", "Energy"))
    for figure, what in both:
        lines = [
            (name, pooled(found, rows, figure, on_array))
            for name in names
            if (found := of("family", predictor=name)) and on_array[np.concatenate([o.asked for o in found])].any()
        ]
        parts.append(_table(f"{what} of unseen families, {ARRAY}", lines))
    for kind, title in (("family", "unseen families, all arrays"), ("array", "unseen arrays"),
                        ("way", "unseen ways to prune"), ("size", "larger images than any seen"),
                        ("rows", "a fifth of the rows, drawn")):  # fmt: skip
        if any(o.split.kind == kind for o in outcomes):
            lines = [(name, pooled(of(kind, predictor=name), rows, "latency_ms")) for name in names]
            parts.append(_table(f"Latency of {title}", lines))
    each: tuple[tuple[str, Figure], ...] = (
        ("family", "latency_ms"), ("array", "latency_ms"), ("array", "energy_mj"), ("way", "latency_ms"),
    )  # fmt: skip
    parts += [_each(rows, outcomes, names, kind, figure) for kind, figure in each if of(kind, predictor=names[0])]
    parts += [_expert(rows), _ddr(rows)]
    if points and any(points.values()):
        parts.append(_curve(points))
    parts.append(_cost(outcomes, names, walk))
    return "\n\n".join(parts)


def _rows(rows: Rows, most: int) -> str:
    families = rows["family"].astype(str)
    counts = ", ".join(f"{name} {int((families == name).sum())}" for name in np.unique(families).tolist())
    sources = ", ".join(sorted(set(rows["model"].astype(str).tolist())))
    return (
        f"{len(rows)} rows, {len(rows.owner)} passes, all *predicted* by {sources}. By family: {counts}. "
        f"Fitted on {most} rows of a split at most."
    )


def _table(title: str, lines: Sequence[tuple[str, Errors]]) -> str:
    head = "| predictor | rows | MAPE | p95 | bias | ±5 % | ±10 % | covered | Spearman (least) | Kendall |"
    rule = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    body = [
        f"| {name} | {e.rows} | {e.mape:.2%} | {e.p95:.2%} | {e.bias:+.2%} | {e.within5:.1%} | {e.within10:.1%} | "
        f"{e.covered:.0%} | {_rank(e.spearman)} ({_rank(e.least_spearman)}) | {_rank(e.kendall)} |"
        for name, e in lines
    ]
    return "\n".join([f"**{title}**", "", head, rule, *body])


def _rank(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4f}"


def _each(rows: Rows, outcomes: Sequence[Outcome], names: Sequence[str], kind: str, figure: Figure) -> str:
    title = {"family": "each family", "array": "each array", "way": "each way to prune"}[kind]
    held = list(dict.fromkeys(o.split.name for o in outcomes if o.split.kind == kind))
    what = "latency" if figure == "latency_ms" else "energy"
    lines = [f"**Mean error of {what}, {title} held out**", "", f"| held out | rows | {' | '.join(names)} |",
             "|---|---:|" + "---:|" * len(names)]  # fmt: skip
    means: list[list[float]] = []
    for name in held:
        found = {o.predictor: o for o in outcomes if o.split.kind == kind and o.split.name == name}
        cells = [f"{pooled([found[p]], rows, figure).mape:.2%}" for p in names]
        lines.append(f"| {name} | {len(found[names[0]].asked)} | {' | '.join(cells)} |")
        means.append([pooled([found[p]], rows, figure).mape for p in names])
    cells = [f"{mean:.2%}" for mean in np.mean(means, axis=0).tolist()]
    lines.append(f"| mean of these |  | {' | '.join(cells)} |")
    return "\n".join(lines)


def _expert(rows: Rows) -> str:
    """The expert's errors on all rows, array by array: it learns nothing, so that none is more unseen than another."""
    arrays = rows["array"].astype(str)
    lines = ["**The expert on all rows**", "",
             "| array | rows | latency | p95 | Spearman (least) | energy | p95 | Spearman (least) |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    values = {
        figure: rows.sums(figure_of(rows, figure, *(rows.passes[n] for n in (CYCLES, DDR_BYTES, ISSUED))))
        for figure in FIGURES
    }
    for name in [*np.unique(arrays).tolist(), "all"]:
        at = np.flatnonzero((arrays == name) | (name == "all"))
        found = [errors(rows.take(at), figure, *[values[figure][at]] * 3) for figure in FIGURES]
        cells = [f"{e.mape:.2%} | {e.p95:.2%} | {_rank(e.spearman)} ({_rank(e.least_spearman)})" for e in found]
        lines.append(f"| {name} | {len(at)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ddr(rows: Rows) -> str:
    """How far the expert's DDR bytes are off: whether it knows what lies on chip."""
    families = rows["family"].astype(str)
    off = np.abs(rows.sums(rows.passes[DDR_BYTES]) / rows["ddr_bytes"] - 1)
    lines = ["**DDR bytes by the expert**", "", "| family | rows | mean error | p95 |", "|---|---:|---:|---:|"]
    for name in [*np.unique(families).tolist(), "all"]:
        mine = off[(families == name) | (name == "all")]
        lines.append(f"| {name} | {len(mine)} | {mine.mean():.2%} | {np.quantile(mine, 0.95):.2%} |")
    return "\n".join(lines)


def _curve(points: Points) -> str:
    names = [name for name, found in points.items() if found]
    lines = ["**Mean error of latency on unseen families over rows to fit on**", "", f"| rows | {' | '.join(names)} |",
             "|---:|" + "---:|" * len(names)]  # fmt: skip
    for place, (count, _) in enumerate(points[names[0]]):
        lines.append(f"| {count} | {' | '.join(f'{points[name][place][1]:.2%}' for name in names)} |")
    return "\n".join(lines)


def _cost(outcomes: Sequence[Outcome], names: Sequence[str], walk: float) -> str:
    lines = ["**Cost**, processor time on one core of a busy machine", "",
             "| predictor | fit, s | a network, µs, many at once |", "|---|---:|---:|"]  # fmt: skip
    for name in names:
        found = [o for o in outcomes if o.predictor == name]
        one = float(np.median([o.microseconds for o in found])) + (walk if name in LEARNERS else 0)
        lines.append(f"| {name} | {np.median([o.fit_seconds for o in found]):.1f} | {one:.0f} |")
    return "\n".join(lines)


def write(text: str, rows: Rows, outcomes: Sequence[Outcome], points: Points) -> None:
    """Put ``text`` between the marks of the page, and draw its pictures."""
    old = PAGE.read_text(encoding="utf-8")
    before, rest = old.split(BEGIN, 1)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
    IMAGES.mkdir(exist_ok=True)
    _draw_errors(rows, outcomes)
    if points and any(points.values()):
        _draw_curve(points)


def _draw_errors(rows: Rows, outcomes: Sequence[Outcome]) -> None:
    """Distribution of errors on unseen families, one line for each predictor."""
    plt, figure, axes = _figure()
    for name in dict.fromkeys(o.predictor for o in outcomes):
        found = [o for o in outcomes if o.predictor == name and o.split.kind == "family"]
        sizes = np.sort(
            np.concatenate([np.abs(o.predictions["latency_ms"][0] / rows["latency_ms"][o.asked] - 1) for o in found])
        )
        shares = np.linspace(0, 1, 101)
        axes.plot(np.maximum(np.quantile(sizes, shares), 1e-5) * 100, shares * 100, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("relative error of latency, % (predicted against the loop model)")
    axes.set_ylabel("networks of unseen families with at most that, %")
    _keep(plt, figure, axes, "predictors-errors.svg")


def _draw_curve(points: Points) -> None:
    plt, figure, axes = _figure()
    for name, found in points.items():
        axes.plot([count for count, _ in found], [error * 100 for _, error in found], marker="o", ms=3, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows to fit on")
    axes.set_ylabel("mean error of latency on unseen families, %")
    _keep(plt, figure, axes, "predictors-curve.svg")


def _figure() -> tuple[Any, Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "proprune"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    return plt, figure, axes


def _keep(plt: Any, figure: Any, axes: Any, name: str) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    # Spaces at the ends of lines are of no use to anybody.
    (IMAGES / name).write_text(
        "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n", encoding="utf-8"
    )
