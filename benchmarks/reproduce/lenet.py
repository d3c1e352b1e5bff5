"""LeNet-5 (20-50-500-10) with L2+pruning, LOBSTER and SeReNe: Table 1 of the round-trip paper, on Fashion-MNIST."""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

import proprune_cli
from benchmarks.reproduce.common import Bench, spread
from proprune_cli.data.batches import Batches
from proprune_cli.data.dataset import Dataset
from proprune_cli.data.load import load_data
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.methods.serene import NeuronSensitivity
from proprune_cli.train.hooks import TrainRun
from proprune_cli.train.loop import train_step
from proprune_cli.train.task import Task

LAYERS = ("conv1", "conv2", "fc1", "fc2")
DENSE = {"conv1": 520, "conv2": 25050, "fc1": 400500, "fc2": 5010}
"""Parameters, biases included, for images of 28 pixels and 10 classes."""
RATE, MOMENTUM = 0.01, 0.9
"""The defaults of such a network: together the step length of the papers' 0.1 without momentum."""
VALIDATION = 0.2
"""Share held out: thresholds are found on it, and few images make them noisy."""
WORSE = (1.0, 2.0)
"""Percentage points of test error above the dense network's, at which compressions are compared."""

Point = tuple[float, float]
"""Compression, test accuracy in percent."""


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


def points(run: dict[str, Any]) -> list[Point]:
    """What a run offers: the network before each threshold, trained since the last one, and what it ended with."""
    steps, end = run["hooks"]["plateau"]["thresholds"], run["result"]["finetuned"]["test_accuracy"]
    found = [(s["before"]["left"], s["before"]["test_accuracy"]) for s in steps] + [(steps[-1]["after"]["left"], end)]
    return [(sum(DENSE.values()) / left, accuracy) for left, accuracy in found]


def compression_at(found: Sequence[Point], accuracy: float) -> float:
    """Largest compression with at least ``accuracy``, between two networks of a run by the logarithm; 1 where none."""
    best = 1.0
    for (a, high), (b, low) in zip([(1.0, 100.0), *found], [*found, (math.inf, 0.0)], strict=True):
        if high >= accuracy:
            share = 1.0 if low >= accuracy else (high - accuracy) / (high - low)
            best = max(best, a if math.isinf(b) else a * (b / a) ** share)
    return best


def shares_of_decay(run: Path, data: Dataset) -> list[str]:
    """By layer of the dense network, how much of λ the sensitivities leave in the mean: (1 - |∂L/∂w|)⁺ and (1 - S)⁺."""
    model = proprune_cli.load(run, "dense").train()
    hook = NeuronSensitivity(0.0, "lower")
    options = TrainOptions(batch=100)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    hook.attach(TrainRun(model, Task(data), options, optimiser, 1, 1, 0))
    images, labels = next(Batches(data, data.train, options.batch).shuffled(0))
    train_step(TrainRun(model, Task(data), options, optimiser, 1, 1, 0), images, labels, 0, 0.0, [hook])
    hook.detach()
    found: list[str] = []
    for layer in LAYERS:
        gradient = model.get_parameter(f"{layer}.weight").grad
        assert gradient is not None
        lobster, serene = ((1 - s.abs()).clamp_min(0).mean() for s in (gradient, hook.sensitivity[layer]))
        found.append(f"{layer} {lobster:.4f} and {serene:.4f}")
    return found


def main(bench: Bench) -> None:
    """Three seeds of every method from the same dense networks, with the same epochs; ``--threads`` runs at a time."""
    pwe, lam = bench.pick(20, 2, 1), bench.pick(1e-4, 5e-4, 1e-3)
    seeds = range(bench.pick(3, 3, 1))
    methods = {
        "L2+pruning, λ times the rate": f"decay?pwe={pwe}&lam={lam * RATE / (1 - MOMENTUM):g}",
        "L2+pruning": f"decay?pwe={pwe}&lam={lam:g}",
        "LOBSTER": f"lobster?pwe={pwe}&lam={lam:g}",
        "SeReNe (lower bound)": f"serene?mode=lower&pwe={pwe}&lam={lam:g}",
    }
    rows: list[tuple[object, ...]] = []
    found = _runs(bench, [(method, seed) for method in methods.values() for seed in seeds])
    for name, method in methods.items():
        runs = [found[method, seed] for seed in seeds]
        if not rows:
            files = runs[0]["files"]["dense"]
            error = spread([100 - r["result"]["dense"]["test_accuracy"] for r in runs])
            rows.append(
                ("dense", *["100"] * 4, "20-50-500-10", f"{files['onnx'] / 1e3:.0f}", f"{files['lzma'] / 1e3:.0f}",
                 "1", error, "", *["1"] * len(WORSE))
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
        equal = [
            spread([compression_at(points(r), r["result"]["dense"]["test_accuracy"] - w) for r in runs], 1)
            for w in WORSE
        ]
        rows.append((name, *share, neurons, onnx, packed, ratio, error, beside, *equal))
    data = load_data(_data(bench), data_dir=bench.data_dir, validation=VALIDATION, seed=0)
    bench.table(
        f"LeNet-5 on {bench.label}",
        ("method", *(f"{layer} left %" for layer in LAYERS), "neurons", ".onnx kB", "LZMA kB", "compression",
         "test error %", "thin's error %", *(f"compression at {w:g} more" for w in WORSE)),
        rows,
        [
            f"{len(seeds)} seeds, mean ± sample standard deviation; thin: the first seed's, of equal operations.",
            f"plateau of {pwe} epochs, λ {lam:g}; the papers wait 20 epochs with λ 1e-4 (`--full`).",
            "compression at 1 and 2 points more test error than the dense network's: of the networks that a run passes "
            "through, which are chosen by validation images.",
            "λ times the rate: an L2 term that goes through the optimiser, as weight decay does; L2+pruning shrinks by "
            "λ at each step, as LOBSTER and SeReNe do.",
            "what the sensitivities leave of λ, mean over a layer of the dense network (LOBSTER and SeReNe): "
            + "; ".join(shares_of_decay(bench.out / f"run-{_folder(methods['LOBSTER'], 0)}", data)),
            "paper, MNIST: L2+pruning 72.3× at 0.80 % error, SeReNe 177× at 0.80 %; .onnx 577 kB and 208 kB.",
        ],
    )  # fmt: skip


def _data(bench: Bench) -> str:
    # Few images, so that epochs, and with them thresholds, are as many as the papers' in a thirtieth of the time.
    return bench.fashion(6250)


def _folder(method: str, seed: int) -> str:
    return method.replace("?", "-").replace("&", "-").replace("=", "-") + f"-{seed}"


Key = tuple[str, int]
"""Method and seed."""


def _runs(bench: Bench, keys: list[Key]) -> dict[Key, dict[str, Any]]:
    """Every run, one thread each."""
    _data(bench)  # made before two processes would
    if bench.threads == 1 or bench.device != "cpu":
        return {key: _run(bench, *key) for key in keys}
    with ProcessPoolExecutor(bench.threads, mp_context=get_context("spawn")) as pool:
        jobs = {key: pool.submit(_run, bench, *key) for key in keys}
        return {key: job.result() for key, job in jobs.items()}


def _run(bench: Bench, method: str, seed: int) -> dict[str, Any]:
    return bench.run(
        _folder(method, seed),
        PruneOptions(
            model="lenet5",
            data=_data(bench),
            data_dir=bench.data_dir,
            method=method,
            epochs=bench.pick(30, 20, 1),
            finetune_epochs=bench.pick(1000, 80, 2),
            thin=seed == 0 and bench.scale != "smoke",
            seed=seed,
            validation=VALIDATION,
            train=TrainOptions(batch=100, weight_decay=0.0, threads=1, device=bench.device, augment="none"),
        ),
        f"run-{_folder(method, seed)}",
        sizes,
    )
