"""NEq (Table 5 of the round-trip paper): operations of back-propagation, and its measured seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.reproduce.common import Bench
from proprune_cli.prune import PruneOptions, TrainOptions


def main(bench: Bench) -> None:
    """Fine-tune the same pruned network with and without freezing neurons at equilibrium."""
    # Wide, for narrow layers have no block of channels to leave out (`proprune_cli.train.partial_backward`).
    model = bench.pick("resnet18", "resnet8?width=4", "resnet8")
    data = bench.fashion(4000)
    # With no neuron within ε, nothing is frozen; the seconds of back-propagation are then the full ones.
    settings = {"all neurons learn": "neq?eps=0", "NEq, ε 1e-3": "neq?eps=1e-3", "NEq, ε 1e-2": "neq?eps=1e-2"}
    rows: list[tuple[object, ...]] = []
    full: float | None = None
    for name, freeze in settings.items():
        options = PruneOptions(
            model=model,
            data=data,
            data_dir=bench.data_dir,
            freeze=freeze,
            epochs=bench.pick(100, 4, 1),
            finetune_epochs=bench.pick(200, 12, 3),
            thin=name == "all neurons learn" and bench.scale != "smoke",
            train=TrainOptions(threads=bench.threads, device=bench.device),
        )
        run = bench.run(freeze.replace("?", "-").replace("=", "-"), options, "run")
        report: dict[str, Any] = next(iter(run["hooks"].values()))
        wall, cpu = (sum(e[key] for e in report["epochs"]) for key in ("backward_seconds", "backward_cpu_seconds"))
        full = cpu if full is None else full
        tuned, thin = run["result"]["finetuned"], run["result"]["thin"]
        rows.append(
            (name, f"{100 * report['backward_macs_share']:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{100 * cpu / full:.1f}",
             f"{tuned['test_accuracy']:.2f}")
        )  # fmt: skip
        if thin is not None:
            rows.append(("thin network", "", "", "", "", f"{thin['test_accuracy']:.2f}"))
    bench.table(
        f"Neurons at equilibrium: fine-tuning a pruned {model} on {bench.label}",
        ("training", "back-propagation MACs %", "seconds of it", "CPU seconds", "CPU seconds %", "test %"),
        rows,
        [
            "seconds are of this machine, one run each.",
            "paper, ResNet-18 on ImageNet: 23 % fewer operations of back-propagation, 0.28 points lost.",
        ],
    )
