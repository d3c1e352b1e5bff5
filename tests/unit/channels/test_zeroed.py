"""Zero filters are removed without losing the constants that they leave."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.channels.surgery import shrink
from proprune_cli.channels.zeroed import remove_zeroed
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.prune.saved import Architecture
from proprune_cli.train.tensors import restore, state


def zero_filters(model: nn.Module, share: float = 0.5, least: int = 11) -> nn.Module:
    """Random statistics and biases, and zero weights (but not biases) in some filters of all but narrow layers."""
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            if module.bias is not None:
                nn.init.normal_(module.bias)
            if module.weight.shape[0] >= least:
                module.weight.data[torch.rand(module.weight.shape[0]) < share] = 0.0
    return model.eval()


@pytest.mark.parametrize("residual", ["coupled", "free"])
@pytest.mark.parametrize(
    ("spec", "size"), [("lenet5", 28), ("resnet8", 16), ("vgg16?width=0.25", 32), ("densenet40", 16)]
)
def test_the_smaller_network_computes_the_same(spec: str, size: int, residual: str) -> None:
    model = zero_filters(build_model(spec, 3, 10, size))
    found = remove_zeroed(model, example_input(3, (size, size)), residual=residual)
    assert found.error <= 1e-4
    assert found.params < 0.7 * found.dense_params
    x = example_input(3, (size, size), batch=3, seed=11)
    with torch.no_grad():
        expected = model(x)
        assert float((found.model(x) - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    again = remove_zeroed(found.model, example_input(3, (size, size)), residual=residual)
    assert again.error <= 1e-4


def test_the_cuts_and_the_weights_build_the_same_network_again() -> None:
    model = zero_filters(build_model("resnet8", 3, 10, 16))
    found = remove_zeroed(model, example_input(3, (16, 16)))
    assert any(key.endswith(":bias") for key in found.cuts)
    stored = Architecture.from_json(Architecture("resnet8", 3, 10, (16, 16), found.cuts).to_json(), "here").cuts
    loaded = shrink(build_model("resnet8", 3, 10, 16), stored)
    restore(loaded, state(found.model), "here")
    x = example_input(3, (16, 16), seed=4)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x), found.model(x))


def padded(zero: list[int]) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 4)
    )
    model[0].weight.data[zero] = 0.0
    return model.eval()


def test_one_constant_channel_serves_all_through_padding() -> None:
    found = remove_zeroed(padded([1, 2, 5, 6]), example_input(3, (8, 8)))
    assert found.model[0].out_channels == 5
    assert found.error <= 1e-6


def test_filters_whose_weights_cancel_out_stay() -> None:
    model = padded([])
    model[0].weight.data[3] = torch.tensor([1.0, -1.0, 0.0])[:, None, None]
    assert remove_zeroed(model, example_input(3, (8, 8))).model[0].out_channels == 8


def test_the_output_layer_and_the_last_filter_stay() -> None:
    model = padded(list(range(8)))
    model[4].weight.data[2] = 0.0
    found = remove_zeroed(model, example_input(3, (8, 8)))
    assert (found.model[0].out_channels, found.model[4].out_features) == (1, 4)


def test_a_depthwise_layer_with_padding_keeps_what_is_no_constant() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.d, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(nnf.relu(self.d(self.a(x)))).mean((2, 3))

    torch.manual_seed(1)
    model = Net().eval()
    model.a.weight.data[:4] = 0.0
    found = remove_zeroed(model, example_input(3, (8, 8)))
    assert found.error <= 1e-6
    # Two see 0 after the ReLU everywhere, and go; the others differ at the border.
    assert found.model.a.out_channels == 6
    assert "2 zeroed channels stay" in found.notes[0]


class ReadTwice(nn.Module):
    """A padded convolution reads each channel at two places, of which the first holds the constant 0."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.after, self.fc = after, nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(nnf.relu(self.stem(x)))
        return self.fc(nnf.relu(self.after(torch.cat([y, torch.sigmoid(y), nnf.relu(y - 1)], 1))).mean((2, 3)))


@pytest.mark.parametrize("dead", [slice(0, 3), slice(0, 8)], ids=["some", "all"])
@pytest.mark.parametrize(
    "after",
    [nn.Conv2d(24, 8, 3, padding=1), nn.ConvTranspose2d(24, 8, 2, 2), nn.Conv2d(24, 8, 1)],
    ids=["padded", "transposed", "folded"],
)
def test_a_channel_that_is_read_at_several_places_leaves_each_place_its_constant(after: nn.Module, dead: slice) -> None:
    torch.manual_seed(0)
    model = ReadTwice(after).eval()
    model.a.weight.data[dead] = 0
    found = remove_zeroed(model, example_input(3, (10, 10)))
    assert found.model.a.out_channels == (
        6 if dead.stop == 3 and after.kernel_size != (1, 1) else max(1, 8 - dead.stop)
    )
    for size in (10, 17):
        x = example_input(3, (size, size), batch=3, seed=2)
        with torch.no_grad():
            expected = model(x)
            assert float((found.model(x) - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("residual", ["coupled", "free"])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("layers", [["conv1"], ["layer1.0.conv2"], ["layer1.0.conv1", "layer2.0.conv1"], None])
def test_layers_whose_filters_are_all_zero_keep_a_channel_or_go(
    layers: list[str] | None, biases: bool, residual: str
) -> None:
    model = zero_filters(build_model("resnet8?width=4", 3, 10, 16), share=0)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) and (layers is None or name in layers):
            module.weight.data.zero_()
            if not biases and module.bias is not None:
                module.bias.data.zero_()
    found = remove_zeroed(model, example_input(3, (16, 16)), residual=residual)
    assert all(p.numel() for p in found.model.parameters())
    x = example_input(3, (16, 16), batch=3, seed=11)
    with torch.no_grad():
        expected = model(x)
        assert float((found.model(x) - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
