"""What one size and one magnitude of image does not show: numbers made of shapes, borders, clamps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.channels.surgery import SurgeryError
from proprune_cli.channels.zeroed import remove_zeroed
from proprune_cli.modules.probe import at_another_size, example_input, probes
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network


class Counting(nn.Module):
    """Two convolutions, with arithmetic of the user's between them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 16, 3), nn.Linear(16, 4)
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        count = x.shape[1]
        if self.how == "clamp":
            x = x.clamp(max=count)
        elif self.how == "clamp far away":
            x = x.clamp(min=-(count**3), max=count**3)
        elif self.how == "scale":
            x = x / count**0.5
        elif self.how == "gate":
            x = x * (x * count).sigmoid()
        elif self.how == "reversed":
            x = count - x
        elif self.how == "constant":
            x = x / 32**0.5
        elif self.how == "size":
            x = x.reshape(-1, count, x.shape[2] * x.shape[3]).reshape(-1, count, *x.shape[2:])
        return self.fc(self.b(nnf.relu(x)).mean((2, 3)))


OPTIONS = PruneOptions("module", "-", method="l1", budget=Budget("ops", 0.5), multiple=4, exclude=("b",))


@pytest.mark.parametrize("how", ["clamp", "clamp far away", "scale", "gate", "reversed"])
@pytest.mark.parametrize("size", [(12, 12), (40, 33)])
def test_numbers_of_channels_in_arithmetic_are_refused_by_name(how: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    with pytest.raises(SurgeryError) as caught:
        prune_network(Counting(how), 3, size, OPTIONS)
    assert "computes with a number of channels" in caught.value.what or "differs" in caught.value.what
    if how == "clamp far away":
        assert "clamp with -32768, 32768, in the pruned network with" in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("how", ["constant", "size"])
def test_sizes_and_constants_are_no_such_numbers(how: str) -> None:
    torch.manual_seed(0)
    assert prune_network(Counting(how), 3, (12, 12), OPTIONS).error < 1e-4


class BesideOnePixel(nn.Module):
    """At 16 pixels the second layer's map is one pixel wide: its border is all of it, and a constant."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.a, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 16, stride=16)
        self.layer, self.out = layer, nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layer(self.down(nnf.relu(self.a(x))))).mean((2, 3))


LAYERS = [
    nn.Conv2d(8, 8, 3, padding=1, groups=8),
    nn.AvgPool2d(3, 1, 1),
    nn.AvgPool2d(3, 1, 1, count_include_pad=False),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("size", [16, 48])
def test_constants_that_one_size_makes_are_none(layer: nn.Module, size: int) -> None:
    torch.manual_seed(0)
    model = BesideOnePixel(layer).eval()
    with torch.no_grad():
        model.down.weight[2:6] = 0
    smaller = remove_zeroed(model, example_input(3, (size, size))).model
    for pixels in (16, 32, 80):
        for x in (probes(3, (pixels, pixels)), 100 * example_input(3, (pixels, pixels))):
            with torch.no_grad():
                expected = model(x)
                assert float((smaller(x) - expected).abs().max() / expected.abs().max()) < 1e-4


def test_networks_of_one_size_have_no_other() -> None:
    fixed = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    assert at_another_size(fixed, example_input(1, (16, 16))) is None
    open_ = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1))
    for size, other in ((16, 48), (64, 32)):
        found = at_another_size(open_, example_input(1, (size, size)))
        assert found is not None and tuple(found.shape) == (1, 1, other, other)


def test_a_network_of_one_size_is_said_to_be_compared_at_that_alone() -> None:
    torch.manual_seed(0)
    fixed = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 16, 3), nn.Flatten(), nn.Linear(16 * 8 * 8, 3))
    options = PruneOptions("module", "-", method="l1", budget=Budget("ops", 0.5), multiple=4)
    assert any("one image size" in note for note in prune_network(fixed, 3, (12, 12), options).notes)
    assert not any("one image size" in note for note in prune_network(Counting("size"), 3, (12, 12), OPTIONS).notes)
