"""Structures of designs with one circuit per layer, as hls4ml makes them: DSP blocks and words of block RAM.

With a reuse factor R, a multiplier (one DSP) works through R consecutive weights of the layer's weight matrix, output
by output; so those R weights go together and save one DSP. Their P-bit words lie side by side in block RAM of 36 bits:
the smallest number C of consecutive multipliers with C·P a multiple of 36 fills whole columns, and saves C DSPs and
C·P/36 blocks (Ramhorst et al. 2023, DSP-aware and BRAM-aware structures; C = 36/P where P divides 36).
"""

from __future__ import annotations

import math

import numpy as np

from proprune_cli.prune.knapsack.structures import Layer, LayerStructures, Structures

BRAM_BITS = 36
"""Width of one block's word."""
DSP_BITS = 9
"""Narrower products are made of look-up tables, and removing them saves no DSP."""


def consecutive(bits: int) -> int:
    """C, multipliers whose weights fill whole 36-bit words."""
    return BRAM_BITS // math.gcd(BRAM_BITS, bits)


def unrolled_structures(layers: list[tuple[str, Layer]], reuse: int, bits: int, per_bram: bool) -> Structures:
    """Structures of every layer; resources are DSPs and blocks of RAM.

    Args:
        reuse: R, weights per multiplier. With R = 1 weights are constants of the circuit and need no RAM.
        per_bram: whole RAM words go together, C multipliers each; otherwise single multipliers, which save RAM by
            shares of a word.
    """
    found: list[LayerStructures] = []
    group = reuse * (consecutive(bits) if per_bram else 1)
    for name, module in layers:
        shape = tuple(module.weight.shape)
        count = module.weight.numel()
        order = np.arange(count, dtype=np.int64)
        if len(shape) == 4:
            # The matrix's rows are output channels, its columns run over (row, column, input channel).
            outs, ins, rows, columns = shape
            order = order.reshape(outs, rows, columns, ins).transpose(0, 3, 1, 2)
        labels = order.reshape(shape) // group
        structures = -(-count // group)
        multipliers = np.full(structures, group // reuse, dtype=np.float64)
        multipliers[-1] = -(-(count - (structures - 1) * group) // reuse)
        dsp = multipliers if bits >= DSP_BITS else np.zeros(structures)
        bram = multipliers * bits / BRAM_BITS if reuse > 1 else np.zeros(structures)
        found.append(LayerStructures(f"{name}.weight", labels, np.stack([dsp, bram], axis=1), np.zeros(2)))
    return Structures(("dsp", "bram"), tuple(found))
