"""CPU time of back-propagation by the share of frozen neurons, side by side: what `--freeze neq` saves."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.nets.models import build_model
from proprune_cli.train.partial_backward import partial_forward, saves_time

NETWORKS = (("resnet18", 32), ("vgg16", 32), ("resnet20?width=4", 32), ("resnet20", 32))
SHARES = (0.0, 0.3, 0.6, 0.9)
BATCH, REPEATS = 32, 5


def freeze(model: nn.Module, share: float) -> None:
    """Leave out the gradients of ``share`` of each layer's neurons, as the hook of ``--freeze neq`` does."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.__dict__.pop("forward", None)
            active = (torch.rand(module.weight.shape[0], generator=generator) >= share).nonzero().flatten()
            if share and len(active) and saves_time(module, len(active)):
                module.__dict__["forward"] = partial_forward(module, active)


def backward_seconds(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """CPU seconds of one backward pass."""
    loss = nnf.cross_entropy(model(images), labels)
    start = time.process_time()
    loss.backward()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'network':20}" + "".join(f"{share:>9.0%}" for share in SHARES) + "   frozen; time against none, best of 5")
    for name, size in NETWORKS:
        model = build_model(name, 3, 10, (size, size)).train()
        images, labels = torch.randn(BATCH, 3, size, size), torch.arange(BATCH) % 10
        best = [float("inf")] * len(SHARES)
        for _ in range(REPEATS):
            for place, share in enumerate(SHARES):
                freeze(model, share)
                best[place] = min(best[place], backward_seconds(model, images, labels))
        print(f"{name:20}" + "".join(f"{seconds / best[0]:9.2f}" for seconds in best), flush=True)


if __name__ == "__main__":
    main()
