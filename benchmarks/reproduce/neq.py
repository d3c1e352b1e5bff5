"""NEq and random freezing (Table 5 of the round-trip paper): operations of back-propagation, and measured seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.reproduce.common import Bench
from proprune_cli.prune import PruneOptions, TrainOptions


def main(bench: Bench) -> None:
    """Fine-tune the same pruned network with and without freezing neurons, those at equilibrium or random ones."""
    # Wide, for narrow layers have no block of channels to leave out (`proprune_cli.train.partial_backward`).
    model = bench.pick("resnet18", "resnet8?width=4", "resnet8")
    data = bench.fashion(4000)
    # With no neuron within ε, nothing is frozen; the seconds of back-propagation are then the full ones.
    settings = {
        "all neurons learn": "neq?eps=0",
        "Stochastic, p 0.2": "stochastic?p=0.2",
        "Stochastic, p 0.5": "stochastic?p=0.5",
        "NEq, ε 1e-3": "neq?eps=1e-3",
        "NEq, ε 1e-2": "neq?eps=1e-2",
        "Stochastic*": "",
    }
    rows: list[tuple[object, ...]] = []
    full: float | None = None
    rate = 0.0
    for name, setting in settings.items():
        # The paper's asterisk: random neurons at the rate of NEq, here of the row above.
        freeze = setting or f"stochastic?p={rate:.4f}"
        options = PruneOptions(
            model=model,
            data=data,
            data_dir=bench.data_dir,
            freeze=freeze,
            epochs=bench.pick(100, 4, 1),
            finetune_epochs=bench.pick(200, 12, 9),
            thin=name == "all neurons learn" and bench.scale != "smoke",
            train=TrainOptions(threads=bench.threads, device=bench.device),
        )
        run = bench.run(freeze.replace("?", "-").replace("=", "-"), options, "run")
        report: dict[str, Any] = next(iter(run["hooks"].values()))
        wall, cpu = (sum(e[key] for e in report["epochs"]) for key in ("backward_seconds", "backward_cpu_seconds"))
        full = cpu if full is None else full
        rate = sum(e["frozen"] for e in report["epochs"]) / len(report["epochs"])
        tuned, thin = run["result"]["finetuned"], run["result"]["thin"]
        share, saved = 100 * rate, 100 * report["backward_macs_share"]
        rows.append(
            (name, f"{share:.1f}", f"{saved:.1f}", f"{wall:.1f}", f"{cpu:.1f}", f"{100 * cpu / full:.1f}",
             f"{tuned['test_accuracy']:.2f}")
        )  # fmt: skip
        if thin is not None:
            rows.append(("thin network", "", "", "", "", "", f"{thin['test_accuracy']:.2f}"))
    bench.table(
        f"Neurons at equilibrium: fine-tuning a pruned {model} on {bench.label}",
        ("training", "frozen %", "back-propagation MACs %", "seconds of it", "CPU seconds", "CPU seconds %", "test %"),
        rows,
        [
            "seconds are of this machine, one run each.",
            "frozen: share of the neurons, mean over epochs. Stochastic*: at the rate of the row above.",
            "paper, ResNet-18 on ImageNet, operations of back-propagation and points lost: NEq -23.1 %, 0.28; "
            "Stochastic, p 0.2: -19.3 %, 0.48; p 0.5: -49.1 %, 0.72; at NEq's rate: -22.6 %, 0.45.",
        ],
    )
