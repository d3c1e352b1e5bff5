"""Networks of the zoo with random weights, in ONNX: for figures that do not depend on what weights are."""

from __future__ import annotations

import torch

from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model


def random_network(spec: str, channels: int, size: tuple[int, int], seed: int = 0) -> bytes:
    """The network ``spec`` for images of ``channels`` and ``size``, ten classes; the same bytes for the same ``seed``.

    Raises:
        InputError: there is no such network, or not for this size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(spec, channels, 10, size, gives="anything")
    return to_onnx(model, example_input(channels, size), spec, quick=True)
