"""Reductions of DSPs and block RAM by the knapsack method (Ramhorst et al. 2023), on an MLP and a LeNet."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Any

from torch import nn

from benchmarks.reproduce.common import Bench
from benchmarks.reproduce.networks import JET_WIDTHS, LENET_WIDTHS, jet_like
from proprune_cli.nets.models import build_model
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.knapsack.unrolled import unrolled_structures

RTOL = 0.98
"""A step counts while accuracy is at least this share of the dense network's, as in hls4ml's examples."""


_SIZES = 400
"""Widths that are tried for a thin network: shares of the dense one's, evenly spaced."""


def resources(model: nn.Module, target: str, reuse: int, bits: int) -> dict[str, float]:
    """DSPs and blocks of RAM of a network whose every weight stays."""
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    structures = unrolled_structures(layers, reuse, bits, target == "bram")
    return dict(zip(structures.resources, map(float, structures.totals()), strict=True))


def thin_twin(
    model: str, shape: tuple[int, int, int], classes: int, target: str, reuse: int, bits: int, limit: float
) -> str:
    """The widest plainly narrower network that costs no more of the resource ``target``; empty where there is none.

    Args:
        model: of the dense network. shape: channels, height and width of an image. limit: DSPs or blocks of RAM.
    """
    full = JET_WIDTHS if "jet_mlp" in model else LENET_WIDTHS

    def spec(size: int) -> str:
        return f"{model}?widths=" + ",".join(str(max(1, width * size // _SIZES)) for width in full)

    def too_much(size: int) -> bool:
        network = build_model(spec(size), shape[0], classes, shape[1:])
        return resources(network, target, reuse, bits)[target] > limit

    # Widths never fall as sizes rise, and neither do costs.
    fits = bisect_left(range(1, _SIZES + 1), True, key=too_much)
    return spec(fits) if fits else ""


def main(bench: Bench) -> None:
    """Tighten the budget in steps until accuracy falls; what the last accepted step uses is the result."""
    steps = bench.pick(20, 8, 4)
    every = bench.pick(10, 2, 1)
    jets = str(jet_like(bench.out / "jet-like.npz", bench.pick(100000, 20000, 2000)))
    networks = {
        "jet-tagging MLP 16-64-32-32-5, synthetic data": (
            "benchmarks.reproduce.networks:jet_mlp", jets, 4, (16, 1, 1), 5
        ),
        f"LeNet-5, {bench.label}": ("lenet5", bench.fashion(), 32, (1, 28, 28), 10),
    }  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for title, (model, data, reuse, shape, classes) in networks.items():
        for target, bits in (("dsp", 16), ("bram", 18)):
            method = f"knapsack?target={target}&dsp=0.03&bram=0.03&reuse={reuse}&bits={bits}&steps={steps}&rtol={RTOL}"
            name = f"{'mlp' if 'mlp' in model else 'lenet'}-{target}"
            options = PruneOptions(
                model=model,
                data=data,
                data_dir=bench.data_dir,
                method=method,
                min_keep=0.0,
                epochs=bench.pick(50, 6, 4),
                finetune_epochs=steps * every,
                thin=False,
                train=TrainOptions(
                    batch=128, threads=bench.threads, device=bench.device, schedule="constant", augment="none"
                ),
            )
            run = bench.run(name, options, f"run-{name}")
            history = run["hooks"]["knapsack"]["steps"]
            shares = _last(history)
            dense, tuned = run["result"]["dense"], run["result"]["finetuned"]
            whole = resources(build_model(model, shape[0], classes, shape[1:]), target, reuse, bits)
            twin = thin_twin(model, shape, classes, target, reuse, bits, shares[target] * whole[target])
            beside = ("none as small", "", "")
            if twin:
                # Every weight stays: its accuracy is that of dense training, for as many epochs as the other had.
                plain = f"knapsack?target={target}&dsp=1&bram=1&reuse={reuse}&bits={bits}"
                epochs = options.dense_epochs + len(history) * every
                thin = replace(options, model=twin, method=plain, epochs=epochs, finetune_epochs=0)
                found = bench.run(f"{name}-thin", thin, f"run-{name}-thin")["result"]["dense"]
                cost = resources(build_model(twin, shape[0], classes, shape[1:]), target, reuse, bits)[target]
                beside = (
                    twin.partition("widths=")[2].replace(",", "-"),
                    f"{100 * (1 - cost / whole[target]):.1f}",
                    f"{found['test_accuracy']:.2f}",
                )
            rows.append(
                (title, f"{target}, R = {reuse}, {bits} bits", f"{100 * (1 - shares['dsp']):.1f}",
                 f"{100 * (1 - shares['bram']):.1f}", f"{dense['test_accuracy']:.2f}", f"{tuned['test_accuracy']:.2f}",
                 *beside)
            )  # fmt: skip
    bench.table(
        "Knapsack: DSPs and block RAM saved",
        ("network", "structures", "DSP saved %", "BRAM saved %", "dense test %", "pruned test %", "thin network",
         "thin saves %", "thin test %"),
        rows,
        [
            f"{steps} steps of {every} epochs; the last with at least {RTOL:.0%} of the dense validation accuracy.",
            "thin: the widest plainly narrower network with no more of the resource that the structures are made for, "
            "from fresh weights, for the epochs that dense training and steps took together.",
            "counts are of the weights' multipliers and memory by the paper's formulas, not of a synthesis.",
            "paper, abstract: 55 % to 92 % fewer DSPs, up to 81 % less block RAM, on other data.",
        ],
    )  # fmt: skip


def _last(steps: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of the last accepted step; everything where none was."""
    accepted = [step["shares"] for step in steps if step["accepted"]]
    return accepted[-1] if accepted else {"dsp": 1.0, "bram": 1.0}
