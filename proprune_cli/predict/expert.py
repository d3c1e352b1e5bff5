"""The expert model: cycles, products and memory traffic of a network from its layers' loops, as smooth functions.

The loop model (`proprune_cli.accel.timing`) walks the steps of a schedule, and has a figure for whole numbers of
channels alone. Here a layer's cycles are the longest of what its processes need side by side, and what every layer pays
besides, in closed form; numbers of channels and of taps may be fractions, and the result has gradients. With A×P×O
lanes and pixels (``ic``, ``px``, ``oc``), P the kernel's positions, c and o the channels, and ⌈·⌉ a ceiling of which
the temperature decides how steep it is (`soft_ceiling`):

- compute: max(pixels / px, min_beats) beats for each of P · ⌈c/8⌉·8/ic taps of ⌈o/oc⌉ blocks; where the
  last groups of channels can't fill the lanes by repeating, these idle;
- weights: the words of those taps over the words that the port gives in a cycle;
- fetch and fill: a cell for each pixel of ⌈c/8⌉ groups; store: a word for each pixel of ⌈o/8⌉ groups;
- besides: descriptors, tables, the first read and the pipeline.

What the closed form cannot know (tiles, lanes that idle, what overlaps, layers that are on chip) is a factor for each
layer, and what passes without weights cost is a constant: `SoftNetwork.anchor` takes both from the loop model of the
network at given whole sizes. There the two agree exactly; the form is asked for slopes alone. This is the usual split
of an analytic model and a correction (roofline, Williams et al. 2009; ANNETTE, Wess et al. 2021, mixed models).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.step_costs import STEP_RESTART
from proprune_cli.compile.estimate import Estimate
from proprune_cli.work.layer import LayerWork

MODEL = "proprune expert model 1"
"""Name under which its figures are reported."""

Tensor = torch.Tensor

_EXPONENT = 12.0
"""Of the mean that stands for the longest of several: at most 4^(1/12), 12 %, above it, and smooth."""

Attributed = Callable[[Sequence[LayerWork]], tuple[Estimate, NDArray[np.int64]]]
"""Layers → what the network around them asks for, by pass, and which layer each pass is; -1: none."""


@dataclass(frozen=True)
class Weights:
    """A figure as a sum: what a cycle, an issued product and a byte of DDR traffic count."""

    cycle: float
    product: float = 0.0
    byte: float = 0.0


def soft_ceiling(x: torch.Tensor, temperature: float) -> torch.Tensor:
    """Between x (temperature 1) and ⌈x⌉ (towards 0): beyond each whole number a ramp of length ``temperature`` to the
    next one. Whole numbers stay what they are, whatever the temperature."""
    below = x.detach().floor()
    return below + ((x - below) / max(temperature, 1e-9)).clamp(max=1.0)


class SoftNetwork:
    """A figure of one network as a function of the shares of its layers' sizes. Satisfies `SoftCost` of pruning."""

    def __init__(
        self, works: Sequence[LayerWork], array: Array, memory: Memory, weights: Weights, estimate: Attributed
    ) -> None:
        """``works``: the layers at full size, at which it is anchored first."""

        def column(values: Sequence[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float64)

        self._works, self._array, self._weights, self._estimate = tuple(works), array, weights, estimate
        self._inputs = column([w.in_channels for w in works])
        self._outputs = column([w.out_channels for w in works])
        self._positions = column([1.0 if w.kind == "linear" else float(prod(w.kernel)) for w in works])
        pixels = [float(prod(w.out_size)) for w in works]
        transposed = [w.kind == "conv_transpose" for w in works]
        strides = [float(prod(w.stride)) if t else 1.0 for w, t in zip(works, transposed, strict=True)]
        self._pixels = column(pixels)
        # A transposed convolution has a pass for each phase of its stride, with a share of pixels and positions each.
        self._beats = column([max(p / array.px, array.min_beats * s) for p, s in zip(pixels, strides, strict=True)])
        self._positions /= column(strides)
        self._cells = column([float(prod(w.in_size)) for w in works])
        self._diagonal = column([float(w.unit == "diagonal") for w in works]) > 0
        # Groups whose lanes the last chunk takes: where they can't repeat over all parts, some of these idle.
        parts, most = array.ic // isa.GROUP, -(-max(w.in_channels for w in works) // isa.GROUP) + 2
        last = [g % parts for g in range(most)]
        self._filled = column(
            [g - r + (parts / (parts // r) if r else 0) for g, r in zip(range(most), last, strict=True)]
        )
        step = isa.StepDescriptor.WORDS + isa.LayerDescriptor.WORDS
        self._besides = STEP_RESTART + 4 * memory.latency + step
        self._scale = torch.zeros((3, len(works)), dtype=torch.float64)
        self._rest = torch.zeros(3, dtype=torch.float64)
        self._coefficients = column([weights.cycle, weights.product, weights.byte])
        self.anchor(works)

    def anchor(self, layers: Sequence[LayerWork]) -> None:
        """Agree with the loop model where the network has these layers.

        Raises:
            DoesNotFitError: one fits no tile of the array.
        """
        estimate, owners = self._estimate(layers)
        shares = [
            torch.tensor(
                [getattr(w, name) / getattr(f, name) for w, f in zip(layers, self._works, strict=True)],
                dtype=torch.float64,
            )
            for name in ("in_channels", "out_channels")
        ]
        hard = np.zeros((3, len(layers) + 1))
        for row, of in enumerate((estimate.cycles, estimate.issued_of, estimate.ddr_bytes_of)):
            np.add.at(hard[row], owners, of)  # -1: the last column
        analytic = self.parts(shares[0], shares[1], torch.ones_like(shares[0]), 0.0)
        self._scale = torch.from_numpy(hard[:, :-1]) / analytic
        self._rest = torch.from_numpy(hard[:, -1].copy())

    def parts(
        self, inputs: torch.Tensor, outputs: torch.Tensor, taps: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        """The closed form itself: cycles, issued products and bytes of each layer, float64 [3, layers]."""
        array = self._array
        c, o = self._inputs * inputs, self._outputs * outputs
        groups = soft_ceiling(c / isa.GROUP, temperature)
        below = groups.detach().floor().long()
        filled = self._filled[below] + (groups - below) * (self._filled[below + 1] - self._filled[below])
        blocks = soft_ceiling(o / array.oc, temperature)
        # Of one group single channels are dealt to lanes, of more whole groups.
        lanes = torch.where(c <= isa.GROUP, c, filled * isa.GROUP) / array.ic
        dense = (self._positions * lanes * taps).clamp(min=1.0) * blocks
        each = self._positions * taps * soft_ceiling(c / array.oc, temperature)
        walked = torch.where(self._diagonal, each, dense)
        words = walked * array.tap_words
        fetch = self._cells * groups
        store = self._pixels * soft_ceiling(o / isa.GROUP, temperature)
        processes = torch.stack([self._beats * walked, words / array.weight_port_words, fetch, store])
        # A power mean of values that are first divided by the largest: no power overflows.
        top = processes.detach().amax(dim=0)
        longest = top * ((processes / top) ** _EXPONENT).sum(dim=0) ** (1 / _EXPONENT)
        issued = self._pixels * self._positions * taps * o * torch.where(self._diagonal, 1.0, c)
        return torch.stack([longest + self._besides, issued, (words + fetch + store) * isa.WORD_BYTES])

    def __call__(
        self,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        taps: torch.Tensor,
        temperature: float,
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `SoftCost`."""
        layers = self.parts(inputs, outputs, taps, temperature) * self._scale
        amounts = (layers if present is None else layers * present).sum(dim=1) + self._rest
        return amounts @ self._coefficients


def soft_figure(network: SoftNetwork, shares: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Figure [] of layers with these shares of inputs, outputs and taps, [] each, with their graphs.

    Single channels count, and where every share is 1 it is the network's figure.
    """
    inputs, outputs, taps = (torch.stack([share.double() for share in of]) for of in zip(*shares, strict=True))
    ones = torch.ones_like(taps)
    with torch.no_grad():
        ratio = network(ones, ones, ones, 0.0) / network(ones, ones, ones, 1.0)
    return network(inputs, outputs, taps, 1.0) * ratio
