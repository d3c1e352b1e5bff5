"""A transposed convolution as ordinary ones: each fills every s-th pixel of the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.quantized import QConvTranspose


@dataclass(frozen=True)
class AxisPhase:
    """One phase along one axis: y[step * j + first] = sum over k of w[taps[k]] * x[j - pad + k * dilation].

    ``taps`` is empty where no weight reaches the phase.
    """

    first: int
    count: int
    taps: tuple[int, ...]
    pad: int
    dilation: int


def axis_phases(kernel: int, stride: int, dilation: int, pad: int, out: int) -> Iterator[AxisPhase]:
    """Phases of a transposed convolution along one axis; those without an output pixel are left out.

    Output o gathers x[i] * w[k] with i * stride + k * dilation - pad = o.
    """
    spacing = dilation // gcd(stride, dilation)
    for first in range(min(stride, out)):
        # Input offsets i - j for each weight that reaches the phase, smallest first: weights come out reversed.
        reach = sorted(
            ((first + pad - k * dilation) // stride, k)
            for k in range(kernel)
            if (first + pad - k * dilation) % stride == 0
        )
        count = -(-(out - first) // stride)
        taps = tuple(k for _, k in reach)
        yield AxisPhase(first, count, taps, -reach[0][0] if reach else 0, spacing if len(reach) > 1 else 1)


@dataclass(frozen=True)
class ConvPhase:
    """One phase of a transposed convolution as an ordinary convolution: weight int8 [out, in, kernel_h, kernel_w]."""

    first: tuple[int, int]
    size: tuple[int, int]
    weight: NDArray[np.int8]
    pads: tuple[int, int]
    dilation: tuple[int, int]


def conv_phases(layer: QConvTranspose, size: tuple[int, int], *, diagonal: bool) -> Iterator[ConvPhase]:
    """The phases of ``layer`` with an output of ``size``; grouped weights are expanded with zeros.

    Args:
        diagonal: the layer is depthwise, and its weights stay as they are: int8 [channels, 1, kernel_h, kernel_w].
    """
    weight = layer.weight if diagonal else _expand(layer.weight, layer.groups)
    window = layer.window
    axes = [
        list(axis_phases(window.kernel[a], window.stride[a], window.dilation[a], window.pads[a], size[a]))
        for a in range(2)
    ]
    for y, x in product(*axes):
        if y.taps and x.taps:
            part = weight[:, :, y.taps][:, :, :, x.taps]
        else:
            part = np.zeros((*weight.shape[:2], 1, 1), dtype=np.int8)
        yield ConvPhase((y.first, x.first), (y.count, x.count), part, (y.pad, x.pad), (y.dilation, x.dilation))


def _expand(weight: NDArray[np.int8], groups: int) -> NDArray[np.int8]:
    """[in, out / groups, kh, kw] → [out, in, kh, kw]."""
    in_channels, per_group = weight.shape[:2]
    share = in_channels // groups
    full = np.zeros((per_group * groups, in_channels, *weight.shape[2:]), dtype=np.int8)
    for g in range(groups):
        part = weight[g * share : (g + 1) * share]
        full[g * per_group : (g + 1) * per_group, g * share : (g + 1) * share] = part.swapaxes(0, 1)
    return full
