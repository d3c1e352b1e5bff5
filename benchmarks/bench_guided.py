"""Guided and binary weights against dense ones, predicted: 3×3 layers, whole networks, bytes of weights and of DDR.

The weights are random and untrained: the pattern of zeros alone decides the cycles.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from benchmarks.bench_pruned import quantised
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.isa import WORD_BYTES
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.pipeline import lower
from proprune_cli.nets.models import build_model
from proprune_cli.work.macs import utilisation

NETWORKS = (("resnet20", 32, 10), ("resnet18", 32, 10), ("resnet18", 224, 1000))
KINDS = {"dense": (False, False), "guided": (True, False), "binary": (False, True), "guided binary": (True, True)}


def changed(model: nn.Module, *, guided: bool, binary: bool) -> nn.Module:
    """``model`` with one position in each 3×3 kernel (equation 1 of Boukli Hacene et al. 2018), or with signs alone."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            weight = layer.weight.data
            if binary:
                scale = weight.abs().mean(dim=(1, 2, 3), keepdim=True)
                weight.copy_(torch.where(weight >= 0, scale, -scale))
            if guided:
                channel = torch.arange(weight.shape[1])
                mask = torch.zeros_like(weight)
                mask[:, channel, channel % 9 % 3, channel % 9 // 3] = 1
                weight.mul_(mask)
    return model


def show(spec: str, size: int, classes: int, arrays: Sequence[str]) -> None:
    """Print a network's rows: how many times faster its 3×3 layers are together, the slowest of them, and all of it."""
    dense: dict[str, tuple[list[int], int]] = {}
    for name, (guided, binary) in KINDS.items():
        torch.manual_seed(0)
        graph = quantised(changed(build_model(spec, 3, classes, size), guided=guided, binary=binary), size)
        for array in map(load_array, arrays):
            board = next(b for b in map(load_board, board_names()) if b.part == array.part)
            memory = Memory.of(board, array)
            program, layers = lower(graph, array, memory)
            timing = estimate(program, array, memory)
            wanted = [i for i, t in enumerate(layers) if t.layer.kind == "dense" and t.layer.window.kernel == (3, 3)]
            cycles = [timing.layers[i].cycles for i in wanted]
            before, whole = dense.setdefault(array.name, (cycles, timing.cycles))
            slowest = min(d / c for d, c in zip(before, cycles, strict=True))
            used = utilisation(sum(array_macs(t, array).useful for t in layers), timing.cycles, array.macs_per_cycle)
            words = sum(int(np.sum(layers[i].tiling.steps.weight_words)) for i in wanted)
            sizes = [n / 1e6 for n in (words * WORD_BYTES, timing.ddr_bytes, len(program.image) * WORD_BYTES)]
            print(
                f"{f'{spec}-{size}, {name}':28}{array.name:10}{timing.cycles:10}{sum(before) / sum(cycles):8.2f}x"
                f"{slowest:8.2f}x{whole / timing.cycles:8.2f}x{used:8.1%}"
                f"{sizes[0]:11.2f}{sizes[1]:8.2f}{sizes[2]:12.2f}",
                flush=True,
            )


def main(names: Sequence[str] = (), arrays: Sequence[str] = ()) -> None:
    """``names``: such as resnet20-32; none: all networks, on all arrays."""
    print(
        f"{'network':28}{'array':10}{'cycles':>10}{'3x3':>9}{'slowest':>9}{'whole':>9}{'useful':>8}{'weight MB':>11}"
        f"{'DDR MB':>8}{'program MB':>12}"
    )
    for spec, size, classes in NETWORKS:
        if not names or f"{spec}-{size}" in names:
            show(spec, size, classes, arrays or array_names())


if __name__ == "__main__":
    known = array_names()
    main([a for a in sys.argv[1:] if a not in known], [a for a in sys.argv[1:] if a in known])
