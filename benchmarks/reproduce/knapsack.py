"""Reductions of DSPs and block RAM by the knapsack method (Ramhorst et al. 2023), on an MLP and a LeNet."""

from __future__ import annotations

from typing import Any

from benchmarks.reproduce.common import Bench
from benchmarks.reproduce.networks import jet_like
from proprune_cli.prune import PruneOptions, TrainOptions

RTOL = 0.98
"""A step counts while accuracy is at least this share of the dense network's, as in hls4ml's examples."""


def main(bench: Bench) -> None:
    """Tighten the budget in steps until accuracy falls; what the last accepted step uses is the result."""
    steps = bench.pick(20, 8, 2)
    every = bench.pick(10, 2, 1)
    jets = str(jet_like(bench.out / "jet-like.npz", bench.pick(100000, 20000, 2000)))
    networks = {
        "jet-tagging MLP 16-64-32-32-5, synthetic data": ("benchmarks.reproduce.networks:jet_mlp", jets, 4),
        f"LeNet-5, {bench.label}": ("lenet5", bench.fashion(), 32),
    }
    rows: list[tuple[object, ...]] = []
    for title, (model, data, reuse) in networks.items():
        for target, bits in (("dsp", 16), ("bram", 18)):
            method = f"knapsack?target={target}&dsp=0.03&bram=0.03&reuse={reuse}&bits={bits}&steps={steps}&rtol={RTOL}"
            name = f"{'mlp' if 'mlp' in model else 'lenet'}-{target}"
            options = PruneOptions(
                model=model,
                data=data,
                data_dir=bench.data_dir,
                method=method,
                min_keep=0.0,
                epochs=bench.pick(50, 6, 1),
                finetune_epochs=steps * every,
                thin=False,
                train=TrainOptions(
                    batch=128, threads=bench.threads, device=bench.device, schedule="constant", augment="none"
                ),
            )
            run = bench.run(name, options, f"run-{name}")
            shares = _last(run["hooks"]["knapsack"]["steps"])
            dense, tuned = run["result"]["dense"], run["result"]["finetuned"]
            rows.append(
                (title, f"{target}, R = {reuse}, {bits} bits", f"{100 * (1 - shares['dsp']):.1f}",
                 f"{100 * (1 - shares['bram']):.1f}", f"{dense['test_accuracy']:.2f}", f"{tuned['test_accuracy']:.2f}")
            )  # fmt: skip
    bench.table(
        "Knapsack: DSPs and block RAM saved",
        ("network", "structures", "DSP saved %", "BRAM saved %", "dense test %", "pruned test %"),
        rows,
        [
            f"{steps} steps of {every} epochs; the last with at least {RTOL:.0%} of the dense validation accuracy.",
            "counts are of the weights' multipliers and memory by the paper's formulas, not of a synthesis.",
            "paper, abstract: 55 % to 92 % fewer DSPs, up to 81 % less block RAM, on other data.",
        ],
    )


def _last(steps: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of the last accepted step; everything where none was."""
    accepted = [step["shares"] for step in steps if step["accepted"]]
    return accepted[-1] if accepted else {"dsp": 1.0, "bram": 1.0}
