"""LeNet-5 (20-50-500-10) with L2+pruning, LOBSTER and SeReNe: Table 1 of the round-trip paper, on Fashion-MNIST."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

from torch import nn

import proprune_cli
from benchmarks.reproduce.common import Bench, spread
from proprune_cli.prune import PruneOptions, TrainOptions

LAYERS = ("conv1", "conv2", "fc1", "fc2")
DENSE = {"conv1": 520, "conv2": 25050, "fc1": 400500, "fc2": 5010}
"""Parameters, biases included, for images of 28 pixels and 10 classes."""


def sizes(run: Path) -> dict[str, Any]:
    """Parameters that are not zero by layer, neurons, and bytes of the exported network, plain and by LZMA."""
    figures: dict[str, Any] = {"dense": _file(run / "dense.onnx"), "pruned": _file(run / "model.onnx")}
    model = proprune_cli.load(run)
    left, neurons = {}, []
    for name in LAYERS:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        left[name] = sum(int((p != 0).sum()) for p in layer.parameters())
        neurons.append(int(layer.weight.shape[0]))
    return {"left": left, "neurons": neurons, "files": figures}


def _file(path: Path) -> dict[str, int]:
    content = path.read_bytes()
    return {"onnx": len(content), "lzma": len(lzma.compress(content, preset=9))}


def main(bench: Bench) -> None:
    """Three seeds of every method from the same dense network, with the same epochs."""
    pwe, lam = bench.pick(20, 2, 1), bench.pick("1e-4", "5e-4", "1e-4")
    seeds = range(bench.pick(3, 3, 1))
    methods = {
        "L2+pruning": f"decay?pwe={pwe}",
        "LOBSTER": f"lobster?pwe={pwe}&lam={lam}",
        "SeReNe (lower bound)": f"serene?mode=lower&pwe={pwe}&lam={lam}",
    }
    rows: list[tuple[object, ...]] = []
    for name, method in methods.items():
        runs = [
            bench.run(
                f"{method.partition('?')[0]}-{seed}",
                PruneOptions(
                    model="lenet5",
                    data=bench.fashion(),
                    data_dir=bench.data_dir,
                    method=method,
                    epochs=bench.pick(30, 4, 1),
                    finetune_epochs=bench.pick(300, 16, 2),
                    thin=seed == 0 and bench.scale != "smoke",
                    seed=seed,
                    train=TrainOptions(batch=100, threads=bench.threads, device=bench.device, augment="none"),
                ),
                f"run-{seed}",
                sizes,
            )
            for seed in seeds
        ]
        if not rows:
            files = runs[0]["files"]["dense"]
            error = spread([100 - r["result"]["dense"]["test_accuracy"] for r in runs])
            rows.append(
                ("dense", *["100"] * 4, "1", "20-50-500-10", f"{files['onnx'] / 1e3:.0f}", f"{files['lzma'] / 1e3:.0f}",
                 error, "")
            )  # fmt: skip
        share = [spread([100 * r["left"][layer] / DENSE[layer] for r in runs]) for layer in LAYERS]
        ratio = spread([sum(DENSE.values()) / sum(r["left"].values()) for r in runs], 1)
        neurons = "-".join(
            f"{sum(column) / len(runs):.0f}" for column in zip(*(r["neurons"] for r in runs), strict=True)
        )
        onnx, packed = (spread([r["files"]["pruned"][kind] / 1e3 for r in runs], 0) for kind in ("onnx", "lzma"))
        error = spread([100 - r["result"]["finetuned"]["test_accuracy"] for r in runs])
        thin = runs[0]["result"]["thin"]
        beside = "" if thin is None else f"{100 - thin['test_accuracy']:.2f}"
        rows.append((name, *share, ratio, neurons, onnx, packed, error, beside))
    bench.table(
        f"LeNet-5 on {bench.label}",
        ("method", *(f"{layer} left %" for layer in LAYERS), "compression", "neurons", ".onnx kB", "LZMA kB", "error %",
         "thin error %"),
        rows,
        [
            f"{len(seeds)} seeds, mean ± sample standard deviation; thin: the first seed's, of equal operations.",
            f"plateau of {pwe} epochs, λ {lam}; the papers wait 20 epochs with λ 1e-4 (`--full`).",
            "paper, MNIST: L2+pruning 72.3× at 0.80 % error, SeReNe 177× at 0.80 %; .onnx 577 kB and 208 kB.",
        ],
    )  # fmt: skip
