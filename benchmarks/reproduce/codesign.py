"""Co-design against its rivals at equal latency: the thin network, prune-then-fine-tune, and the knapsack of taps.

Every network has the same epochs in all. Widths of the thin network are chosen evenly, and so that it uses the latency
that the co-designed network has; that of the others is what their budget gives, compiled.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.reproduce.common import Bench, spread
from proprune_cli.accel.boards import board_with_array
from proprune_cli.compile.options import CompileOptions
from proprune_cli.flow.build import CALIBRATION, predict_source
from proprune_cli.flow.training_costs import in_all, trainings
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.options import Budget
from proprune_cli.prune.result import NETWORK_FILES
from proprune_cli.train.cost import WATTS_SOURCE

BOARD = "pynq-z2"
SHARES = (0.4, 0.2)
STAGES = {
    "thin": ("thin",),
    "codesign": ("regularised", "finetune"),
    "l1": ("dense", "finetune"),
    "taylor": ("dense", "finetune"),
    "knapsack": ("dense", "regularised"),
}
"""Trainings that make a network; the runs of a seed leave theirs in one directory."""


def _compiled(run: Path) -> dict[str, Any]:
    """Predicted milliseconds and millijoules of each network of a run, and what its trainings cost."""
    board_with_array(BOARD, None)
    found: dict[str, Any] = {"trainings": trainings(run)}
    for network, file in NETWORK_FILES.items():
        if (run / file).is_file():
            asked = CompileOptions(BOARD, None, calibration=str(run / CALIBRATION))
            predicted = predict_source(run / file, asked)
            found[network] = {"ms": predicted.latency_ms, "mj": predicted.energy_mj}
    return found


def main(bench: Bench) -> None:
    """Train everything for each seed and share of the dense network's latency; dense training is shared by a seed."""
    model = bench.pick("resnet20", "resnet20", "resnet8?width=2")
    data = bench.fashion(24000)
    epochs, tuning = bench.pick((100, 60), (2, 2), (1, 1))
    if bench.epochs is not None:
        epochs = tuning = bench.epochs // 2
    shares = bench.shares or SHARES
    seeds = bench.seeds or bench.pick((0, 1, 2), (0, 1, 2), (0,))
    ways: dict[str, dict[float, list[dict[str, Any]]]] = {}
    dense: list[dict[str, Any]] = []

    for seed in seeds:
        plain = PruneOptions(
            model=model,
            data=data,
            data_dir=bench.data_dir,
            epochs=epochs,
            finetune_epochs=tuning,
            seed=seed,
            thin=False,
            board=BOARD,
            train=TrainOptions(threads=bench.threads, device=bench.device, batch=64),
        )
        # As many epochs as every pruned network has in all.
        whole = replace(plain, epochs=epochs + tuning, finetune_epochs=0, budget=Budget("ops", 0.9))
        dense.append(bench.run(f"dense-{seed}", whole, f"whole-{seed}", _compiled))
        for share in shares:
            percent = f"{100 * share:g}%"
            asked = {
                "codesign": replace(
                    plain, method="codesign", objective=f"latency={percent}", residual="free", thin=True
                ),
                "l1": replace(plain, method="l1", budget=Budget("ms", share)),
                "taylor": replace(plain, method="taylor", budget=Budget("ms", share)),
                "knapsack": replace(plain, method=f"knapsack?cycles={share}"),
            }
            for way, options in asked.items():
                if bench.ways is not None and way not in ("codesign", *bench.ways):
                    continue
                shared = f"codesign-{seed}" if way == "codesign" else f"run-{seed}"
                record = bench.run(f"{way}-{round(100 * share)}-{seed}", options, shared, _compiled)
                ways.setdefault(way, {}).setdefault(share, []).append(record)
    _tell(bench, f"{model} on {bench.label}", epochs + tuning, dense, ways)


def _spent(record: dict[str, Any], way: str) -> dict[str, Any]:
    """What the trainings that made a network cost."""
    return in_all([t for t in record["trainings"] if t["stage"] in STAGES[way]])


def _tell(
    bench: Bench,
    what: str,
    epochs: int,
    dense: list[dict[str, Any]],
    ways: dict[str, dict[float, list[dict[str, Any]]]],
) -> None:
    full = [r["result"]["dense"]["test_accuracy"] for r in dense]
    rows: list[tuple[object, ...]] = [
        ("dense", "", f"{dense[0]['dense']['ms']:.3f}", f"{dense[0]['dense']['mj']:.2f}", spread(full), "", "", "")
    ]
    for share in next(iter(ways.values())):
        thin = [r["result"]["thin"]["test_accuracy"] for r in ways["codesign"][share]]
        for way in ("thin", *ways):
            records = ways["codesign" if way == "thin" else way][share]
            network, figures = ("thin", "thin") if way == "thin" else ("pruned", "finetuned")
            scores = [r["result"][figures]["test_accuracy"] for r in records]
            over = "" if way == "thin" else spread([a - b for a, b in zip(scores, thin, strict=True)])
            spent = [_spent(r, way) for r in records]
            joules = [cost["estimated_joules"] for cost in spent]
            rows.append(
                (way, f"{share:.0%}", spread([r[network]["ms"] for r in records], 3),
                 spread([r[network]["mj"] for r in records]), spread(scores), over,
                 spread([cost["cpu_seconds"] for cost in spent], 0),
                 "" if any(j is None for j in joules) else spread([j / 1000 for j in joules]))
            )  # fmt: skip
    bench.table(
        f"Co-design and its rivals at equal latency on {BOARD}: {what}",
        (
            "network",
            "latency asked",
            "ms, predicted",
            "mJ, predicted",
            "test %",
            "over thin",
            "CPU s of training",
            "kJ of training, estimated",
        ),
        rows,
        [
            f"{epochs} epochs for every network, {len(dense)} seeds, mean ± standard deviation over them.",
            "Of prune-then-fine-tune and the knapsack, the seconds hold the dense training.",
            f"Energy of training: {WATTS_SOURCE}.",
        ],
    )
