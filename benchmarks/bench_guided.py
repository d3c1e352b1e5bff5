"""Guided and binary weights against dense ones: cycles of the 3×3 layers, bytes of weights and of DDR, predicted."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.bench_pruned import ARRAY, quantised
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.isa import WORD_BYTES
from proprune_cli.accel.timing import Memory, estimate
from proprune_cli.compile.pipeline import lower
from proprune_cli.nets.models import build_model

NETWORKS = (("resnet20", 32, 10), ("resnet18", 224, 1000))
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


def main() -> None:
    array = load_array(ARRAY)
    board = next(b for b in map(load_board, board_names()) if b.part == array.part)
    memory = Memory.of(board, array)
    print(f"{'network':26}{'cycles':>10}{'3x3':>10}{'slowest':>9}{'weight MB':>11}{'DDR MB':>8}{'program MB':>12}")
    for spec, size, classes in NETWORKS:
        dense: list[int] = []
        for name, (guided, binary) in KINDS.items():
            torch.manual_seed(0)
            model = changed(build_model(spec, 3, classes, size), guided=guided, binary=binary)
            program, layers = lower(quantised(model, size), array, memory)
            timing = estimate(program, array, memory)
            wanted = [i for i, t in enumerate(layers) if t.layer.kind == "dense" and t.layer.window.kernel == (3, 3)]
            cycles = [timing.layers[i].cycles for i in wanted]
            dense = dense or cycles
            slowest = min(d / c for d, c in zip(dense, cycles, strict=True))
            words = sum(int(np.sum(layers[i].tiling.steps.weight_words)) for i in wanted)
            sizes = [n / 1e6 for n in (words * WORD_BYTES, timing.ddr_bytes, len(program.image) * WORD_BYTES)]
            print(
                f"{spec + ', ' + name:26}{timing.cycles:10}{sum(dense) / sum(cycles):9.2f}x{slowest:8.2f}x"
                f"{sizes[0]:11.2f}{sizes[1]:8.2f}{sizes[2]:12.2f}"
            )


if __name__ == "__main__":
    main()
