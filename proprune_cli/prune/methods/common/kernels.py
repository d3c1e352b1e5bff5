"""Which layers of a network a weight-wise method acts on, in the order in which they run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Layer = nn.Conv2d | nn.Linear


def layers_in_order(model: nn.Module, example: torch.Tensor) -> list[tuple[str, Layer]]:
    """Convolutions and fully connected layers with their names, as the forward pass for ``example`` meets them."""
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, Layer] = {}

    def meet(module: nn.Module, *_: Any) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.setdefault(names[module], module)

    handles = [m.register_forward_hook(meet) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        model.eval()
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.items())


def is_depthwise(layer: nn.Conv2d) -> bool:
    """True where every output channel reads one input channel of its own."""
    return layer.groups > 1 and layer.groups == layer.in_channels


def spatial_kernels(model: nn.Module, example: torch.Tensor, first: str = "auto") -> list[tuple[str, nn.Conv2d]]:
    """Convolutions with a kernel larger than 1×1, depthwise ones left out.

    Args:
        first: the network's first layer belongs to them (``prune``), or not (``keep``), or only where it has at least
            as many input channels as kernel positions (``auto``).
    """
    order = layers_in_order(model, example)
    found: list[tuple[str, nn.Conv2d]] = []
    for position, (name, layer) in enumerate(order):
        if not isinstance(layer, nn.Conv2d) or is_depthwise(layer):
            continue
        positions = layer.kernel_size[0] * layer.kernel_size[1]
        if positions == 1:
            continue
        if position == 0 and (first == "keep" or (first == "auto" and layer.in_channels < positions)):
            continue
        found.append((name, layer))
    return found
