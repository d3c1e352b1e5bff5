"""Table I of Boukli Hacene et al. 2018: full precision, guided pruning, BinaryConnect, and both together."""

from __future__ import annotations

from benchmarks.reproduce.common import Bench
from proprune_cli.prune import PruneOptions, TrainOptions

PAPER = {"dense": 94.5, "guided": 93.5, "binary": 93.31, "guided + binary": 91.0}
"""ResNet-18, CIFAR-10."""


def main(bench: Bench) -> None:
    """Train the four networks with equal epochs, each from fresh weights, and a thin one of the guided's operations."""
    model = bench.pick("resnet18", "resnet20", "resnet8")
    data = bench.pick("cifar10", bench.fashion(12000) if bench.scale == "reduced" else "", "digits?size=28")
    epochs = bench.pick(200, 12, 1)

    def options(method: str, binary: bool, thin: bool) -> PruneOptions:
        return PruneOptions(
            model=model,
            data=data,
            data_dir=bench.data_dir,
            method=method,
            binary=binary,
            start="fresh",
            epochs=epochs,
            finetune_epochs=0,
            thin=thin,
            train=TrainOptions(threads=bench.threads, device=bench.device),
        )

    runs = {
        "guided": bench.run("guided", options("guided", False, True), "run"),
        "binary": bench.run("binary", options("binary", False, False), "run"),
        "guided + binary": bench.run("guided-binary", options("guided", True, False), "run"),
    }
    dense = runs["guided"]["result"]["dense"]
    base = dense["test_accuracy"]
    rows = [("dense", f"{base:.2f}", "", f"{PAPER['dense']:.2f}", "", f"{dense['nonzero_macs']:,}")]
    for name, run in runs.items():
        tuned = run["result"]["finetuned"]
        accuracy = tuned["test_accuracy"]
        change = PAPER[name] - PAPER["dense"]
        rows.append(
            (name, f"{accuracy:.2f}", f"{accuracy - base:+.2f}", f"{PAPER[name]:.2f}", f"{change:+.2f}",
             f"{tuned['nonzero_macs']:,}")
        )  # fmt: skip
    thin = runs["guided"]["result"]["thin"]
    if thin is not None:
        accuracy = thin["test_accuracy"]
        rows.append(("thin, guided's MACs", f"{accuracy:.2f}", f"{accuracy - base:+.2f}", "", "", f"{thin['macs']:,}"))
    bench.table(
        f"Guided pruning and BinaryConnect: {model} on {data if bench.scale == 'full' else bench.label}",
        ("network", "test %", "against dense", "paper %", "paper against dense", "MACs not zero"),
        rows,
        [
            f"{epochs} epochs for every network, one seed; the paper's figures are of ResNet-18 on CIFAR-10.",
        ],
    )
