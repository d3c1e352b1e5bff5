"""CPU seconds of dependency analysis and surgery, beside Torch-Pruning where it is installed, in one run."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.sweep_networks import INSTALL, build
from proprune_cli.channels.dependencies import map_channels
from proprune_cli.channels.surgery import all_tensors, cuts_for, shrink
from proprune_cli.channels.trace import trace
from proprune_cli.modules.probe import example_input

NETWORKS = (
    "resnet:resnet18@224", "resnet:resnet50@224", "densenet:densenet121@224", "mobilenetv2:mobilenetv2_w1@224",
    "vgg:vgg16@224",
)  # fmt: skip
ZOO = ("zoo:resnet18@64", "zoo:resnet50@64", "zoo:densenet121@64", "zoo:mobilenetv2@64", "zoo:vgg16@64")
REPEATS = 2


def ours(model: nn.Module, size: int, residual: Any) -> None:
    """Half of the channels of every group, those with the smallest norms."""
    channels = map_channels(model, trace(model, example_input(3, (size, size))), residual=residual)
    tensors = dict(all_tensors(model))
    kept: dict[int, np.ndarray[Any, np.dtype[np.int64]]] = {}
    for place, group in enumerate(channels.groups):
        if group.prunable:
            norm = np.zeros(group.channels)
            for member in group.members:
                if member.maker:
                    rows = tensors[member.tensor].detach().movedim(member.dim, 0).flatten(1).norm(dim=1).numpy()
                    norm += rows[member.index].sum(axis=1)
            kept[place] = np.sort(np.argsort(-norm, kind="stable")[: max(1, group.channels // 2)])
    shrink(model, cuts_for(channels, kept, tensors))


def torch_pruning(model: nn.Module, size: int) -> None:
    """The same with Torch-Pruning's own pruner."""
    import torch_pruning as tp  # pyright: ignore[reportMissingImports]

    library: Any = tp
    last = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
    pruner = library.pruner.MetaPruner(
        model, example_input(3, (size, size), batch=1), importance=library.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.5, ignored_layers=[last],
    )  # fmt: skip
    pruner.step()


def seconds(name: str, run: Callable[[nn.Module, int], None]) -> float:
    """Least CPU seconds of a few runs, each on a fresh network."""
    found: list[float] = []
    for _ in range(REPEATS):
        model, size = build(name, settled=False)
        start = time.process_time()
        run(model, size)
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    torch.set_num_threads(1)
    theirs = importlib.util.find_spec("torch_pruning") is not None
    print(f"{'network':32} {'coupled':>8} {'free':>8} {'Torch-Pruning':>14}   CPU seconds, analysis and surgery")
    for name in NETWORKS if importlib.util.find_spec("pytorchcv") else ZOO:
        row = [seconds(name, lambda m, s, r=r: ours(m, s, r)) for r in ("coupled", "free")]
        other = f"{seconds(name, torch_pruning):14.2f}" if theirs else f"{'-':>14}"
        print(f"{name:32} {row[0]:8.2f} {row[1]:8.2f} {other}", flush=True)
    if not theirs:
        print(f"without Torch-Pruning, ours alone: {INSTALL}")


if __name__ == "__main__":
    main()
