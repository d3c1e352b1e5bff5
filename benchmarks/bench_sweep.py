"""Every network pruned by 30 % and 50 %, coupled and free, at random and by magnitude: right, or refused by name."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.sweep_networks import INSTALL, build, liveliness, names
from proprune_cli.channels.residual import Residual
from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.errors import ProPruneError
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network

MODES: tuple[Residual, ...] = ("coupled", "free")
METHODS = ("l1", "random")
RATIOS = (0.3, 0.5)
EXPECTED = ("the network's input", "the network's output", "its channels go when every branch")
"""Reasons that every network has."""


@dataclass
class Row:
    """What became of one network."""

    name: str
    errors: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    """Operations that remain at the larger ratio, by mode."""
    groups: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    """Reason → groups that stay for it."""
    seconds: float = 0.0
    spreads: int = 0
    lively: float = 1.0


def sweep(name: str) -> Row:
    """Prune one network in every way."""
    row = Row(name.removesuffix("@"))
    start = time.process_time()
    model, size = build(name)
    row.lively = liveliness(model, size)
    for mode in MODES:
        for method in METHODS:
            for ratio in RATIOS:
                options = PruneOptions(
                    model=name, data="-", method=method, budget=Budget("ratio", ratio), multiple=2, residual=mode
                )
                try:
                    found = prune_network(model, 3, (size, size), options)
                except ProPruneError as error:
                    row.refusals.append(f"{mode} {method} {ratio:.0%}: {error.what}")
                    continue
                _note(row, found, mode, ratio)
    row.seconds = time.process_time() - start
    return row


def _note(row: Row, found: Shrunk, mode: str, ratio: float) -> None:
    row.errors.append(found.error)
    if ratio == max(RATIOS):
        row.left[mode] = found.macs / found.dense_macs
    row.spreads = max(row.spreads, sum(key.endswith(":spread") for key in found.cuts))
    if mode == "coupled":
        row.groups = sum(g.prunable for g in found.groups)
        row.kept = {}
        for group in found.groups:
            for reason in group.reason.split("; "):
                if reason and not reason.startswith(EXPECTED):
                    row.kept[reason] = row.kept.get(reason, 0) + 1


def verdict(row: Row) -> str:
    """``right``, ``refused`` or ``in part``."""
    if not row.errors:
        return "refused"
    return "in part" if row.refusals else "right"


def _brief(reasons: dict[str, int]) -> str:
    """Reasons without the numbers of operators, the most frequent first."""
    merged: dict[str, int] = {}
    for reason, count in reasons.items():
        words = [w for w in reason.split() if not (w.startswith("(") and w.endswith(")"))]
        short = " ".join(words).partition(", [")[0].partition(" (")[0]
        merged[short] = merged.get(short, 0) + count
    ordered = sorted(merged.items(), key=lambda item: -item[1])
    return "; ".join(f"{count}× {reason}" for reason, count in ordered[:4])


HEAD = """# Networks that were pruned

Written by `PYTHONPATH=build/peers python -m benchmarks.bench_sweep --write`, after `make peers`. Each architecture
(of pytorchcv 0.0.74, of timm 1.0.22 and of the zoo; random weights, norm statistics as after training) is pruned
eight times: 30 % and 50 % of the channels of every group, by L1 norm and at random, with coupled and with free
residual branches. Each result either equals its masked twin (the network of full size with the parameters of removed
channels set to zero) within 10⁻⁴ of the largest of each output of an image (from 10⁻⁵ on judged in float64), on a
dark image, a bright one, a large one and one about zero, and on one of another size where it runs on that; or it is
refused with a reason. Where channels stay because an operator has no rule for them, the last column says so.
Published final poolings that want ImageNet's image size were made adaptive.

*Operations left*: at 50 %, for random channels, coupled and free. A free branch may keep what the shortcut drops, so
its stream stays wider; a budget in operations (`--budget ops=0.5`) evens that out.

| network | pixels | result | largest error | groups | left, coupled | left, free | spread layers | channels that stay |
|---|---|---|---|---|---|---|---|---|
"""


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table, a line for each network."""
    for row in rows:
        path, _, size = row.name.rpartition("@")
        source, _, name = path.partition(":")
        if source in ("zoo", "timm"):
            name += f" ({source})"
        left = [f"{row.left[m]:.0%}" if m in row.left else "–" for m in MODES]
        error = f"{max(row.errors):.0e}" if row.errors else "–"
        why = _brief(row.kept) if row.errors else row.refusals[0].partition(": ")[2]
        if row.errors and row.refusals:
            why = f"{row.refusals[0]}; {why}"
        cells = (name, size, verdict(row), error, row.groups, *left, row.spreads, why)
        yield f"| {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_sweep", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of networks' names")
    parser.add_argument("--write", action="store_true", help="write docs/pruned-networks.md")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args(arguments)
    wanted = [n for n in names() if not asked.names or any(part in n for part in asked.names)]
    print(f"{len(wanted)} networks; more with pytorchcv and timm: {INSTALL}")
    rows: list[Row] = []
    for row in _swept(wanted, asked.processes):
        rows.append(row)
        print(f"{next(lines([row]))} {row.seconds:.1f} s, outputs vary by {row.lively:.0%}", flush=True)
        if asked.write:
            _write(rows)
        for refusal in row.refusals:
            print(f"    {refusal}", flush=True)
    counts = {kind: sum(verdict(r) == kind for r in rows) for kind in ("right", "in part", "refused")}
    print(f"{len(rows)} networks: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))


def _swept(wanted: Sequence[str], processes: int) -> Iterator[Row]:
    """Rows in the order of the names."""
    with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
        yield from pool.imap(sweep, wanted)


def _write(rows: Sequence[Row]) -> None:
    page = Path(__file__).parent.parent / "docs" / "pruned-networks.md"
    page.write_text(HEAD + "\n".join(lines(rows)) + "\n")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
