"""What users write between layers is pruned rightly, or stays and is named; the oracle shares no code with pruning."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.channels.spread import SPREADABLE, spread
from proprune_cli.errors import ProPruneError
from proprune_cli.modules.probe import probes
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network
from tests.strategies.modules import STEPS, Steps, modules, trained

SIZE = 8


def cut(model: nn.Module, residual: str = "coupled", seed: int = 0, size: int = SIZE) -> Shrunk:
    options = PruneOptions(
        "module", "-", method="random", budget=Budget("ratio", 0.5), multiple=1, residual=residual, seed=seed
    )
    return prune_network(model, 3, (size, size), options)


def among_zeros(model: nn.Module, shrunk: Shrunk) -> nn.Module:
    """``model`` with the weights of the pruned network at their places, and zeros elsewhere."""
    twin, small = copy.deepcopy(model), shrunk.model.state_dict()
    for name, tensor in twin.state_dict().items():
        if name in shrunk.cuts:
            kept = [shrunk.cuts[name].get(d, range(n)) for d, n in enumerate(tensor.shape)]
            tensor.zero_()
            tensor[np.ix_(*map(list, kept))] = small[name]
    return twin


def difference(model: nn.Module, shrunk: Shrunk, size: int = SIZE) -> float:
    twin, worst = among_zeros(model, shrunk), 0.0
    for pixels in (size, size + 5):
        for image in probes(3, (pixels, pixels), seed=11).split(1):
            with torch.no_grad():
                expected, found = twin(image), shrunk.model(image)
            worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
    return worst


@pytest.mark.parametrize("step", STEPS)
def test_a_step_follows_its_channels_or_keeps_them(step: str) -> None:
    torch.manual_seed(4)
    model = trained(Steps([step], [False], "mean"))
    shrunk = cut(model)
    group = next(g for g in shrunk.groups if "blocks.0.conv" in g.layers)
    assert (group.kept < group.channels) == STEPS[step][3], group
    assert group.kept < group.channels or group.reason
    assert shrunk.model.fuse.out_channels == 4
    assert difference(model, shrunk) < 2e-5


@settings(max_examples=25, deadline=None)
@given(modules(), st.booleans(), st.integers(0, 99))
def test_modules_that_mix_them_are_pruned_or_refused_by_name(model: nn.Module, free: bool, seed: int) -> None:
    try:
        shrunk = cut(model, "free" if free else "coupled", seed)
    except ProPruneError as error:
        assert "no group of channels can" in error.what, error
        return
    assert difference(model, shrunk) < 1e-4


class Checked(nn.Module):
    """A check of the user's own in the second of three layers."""

    def __init__(self, check: str) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(n, 16, 3, padding=1) for n in (3, 16, 16))
        self.fc = nn.Linear(16, 4)
        self.check = check

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(nnf.relu(self.first(x)))
        if self.check == "assert":
            assert x.shape[1] == 16
        elif self.check == "KeyError":
            x = x * {16: 1.0}[x.shape[1]]
        elif self.check == "ZeroDivisionError":
            x = x * (1 / (x.shape[1] // 16))
        elif self.check == "TorchScript":
            x = scripted(x)
        elif self.check == "expected sixteen" and x.shape[1] != 16:
            raise NotImplementedError("expected sixteen channels")
        elif self.check == "view":
            x = x.view(-1, 16 * x.shape[2], x.shape[3]).view(-1, 16, *x.shape[2:])
        return self.fc(self.third(x).mean((2, 3)))


@torch.jit.script
def scripted(x: torch.Tensor) -> torch.Tensor:
    assert x.shape[1] == 16
    return x * 2.0


@pytest.mark.parametrize("check", ["assert", "KeyError", "ZeroDivisionError", "TorchScript", "expected sixteen"])
def test_code_that_stops_with_fewer_channels_is_named_and_its_layer_stays(check: str) -> None:
    torch.manual_seed(7)
    model = Checked(check).eval()
    shrunk = cut(model)
    widths = (shrunk.model.first.out_channels, shrunk.model.second.out_channels, shrunk.model.third.out_channels)
    assert widths == (8, 16, 8)
    (note,) = shrunk.notes
    assert note.startswith("the channels of second were left alone: with fewer the network's code does not run: ")
    assert {"assert": "AssertionError", "TorchScript": "AssertionError"}.get(check, check) in note
    assert f"{__name__.rpartition('.')[2]}.py, line" in note
    assert difference(model, shrunk) < 1e-5


def test_branches_that_stop_the_code_together_alone_stay_together() -> None:
    torch.manual_seed(0)
    model = trained(Steps(["relu", "relu", "ones of a number"], [False, False, True], "mean"))
    for seed in range(4):
        shrunk = cut(model, "free", seed)
        assert shrunk.model.blocks[0].conv.out_channels == 4
        assert difference(model, shrunk) < 1e-5


def test_so_are_numbers_in_a_view() -> None:
    torch.manual_seed(7)
    shrunk = cut(Checked("view").eval())
    assert (shrunk.model.first.out_channels, shrunk.model.second.out_channels) == (8, 16)
    assert shrunk.notes


def test_where_nothing_else_can_go_the_refusal_names_the_check() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 16, 3), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            assert x.shape[1] == 16, "sixteen"
            return self.fc(x.mean((2, 3)))

    with pytest.raises(ProPruneError) as caught:
        cut(Alone().eval())
    assert "AssertionError: sixteen" in caught.value.what and "shape[1]" in caught.value.remedy


class OptionA(nn.Module):
    """The shortcut of the first ResNets for CIFAR: every other pixel, and channels of zeros on both sides."""

    def __init__(self, computed: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.second = nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.fc, self.computed = nn.Linear(16, 4), computed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nnf.relu(self.stem(x))
        y = self.second(nnf.relu(self.first(x)))
        more = (y.shape[1] - x.shape[1]) // 2 if self.computed else 4
        return self.fc(nnf.relu(y + nnf.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))).mean((2, 3)))


@pytest.mark.parametrize("computed", [True, False])
@pytest.mark.parametrize("residual", ["coupled", "free"])
def test_a_shortcut_that_adds_channels_of_zeros_lets_the_others_go(computed: bool, residual: str) -> None:
    torch.manual_seed(7)
    model = OptionA(computed).eval()
    shrunk = cut(model, residual)
    assert shrunk.model.stem.out_channels == 4 and shrunk.model.first.out_channels == 8
    assert shrunk.model.second.out_channels == (12 if residual == "coupled" else 8)
    assert difference(model, shrunk) < 1e-5


def test_a_recurrent_layer_reads_what_stays_and_knows_how_much() -> None:
    torch.manual_seed(7)
    model = trained(Steps(["relu"], [False], "lstm"))
    shrunk = cut(model)
    assert (shrunk.model.rnn.input_size, shrunk.model.rnn.hidden_size) == (4, 6)
    assert difference(model, shrunk) < 1e-5


@pytest.mark.parametrize("kind", SPREADABLE, ids=lambda kind: kind.__name__)
def test_a_spread_layer_is_saved_copied_and_scripted(kind: type[nn.Module]) -> None:
    torch.manual_seed(7)
    name, rank = kind.__name__, next((int(c) for c in kind.__name__ if c.isdigit()), 2)
    x = torch.randn(2, 4, *[5] * rank) if name != "Linear" else torch.randn(2, 4)
    sizes = {"Linear": (4, 4), "GroupNorm": (2, 4), "PReLU": (4,)}
    layer = kind(*sizes.get(name, (4,) if "Norm" in name else (4, 4, 1)))
    network = nn.Sequential(spread(layer, [0, 4, 1, 2, 5, 3], torch.tensor([0.0, 0.5]))).eval()
    with torch.no_grad():
        expected = network(x)
        assert expected.shape[1] == 6
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        for other in (torch.load(file, weights_only=False), copy.deepcopy(network), torch.jit.script(network)):
            assert torch.equal(other(x), expected)
