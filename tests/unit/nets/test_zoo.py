"""The built-in networks have the sizes that their papers state and run on small and large images."""

from __future__ import annotations

import pytest
import torch

from proprune_cli.errors import InputError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.nets.zoo import ZOO

PAPERS = {
    # Millions of parameters for 1000 classes at 224 pixels, batch norm included.
    "resnet18": 11.69,
    "resnet34": 21.80,
    "resnet50": 25.56,
    "vgg16": 138.4,
    "vgg19": 143.7,
    "densenet121": 7.98,
    "mobilenetv1": 4.23,
    "mobilenetv2": 3.50,
    "squeezenet": 1.24,
    "shufflenetv2": 2.28,
    "efficientnet-lite0": 4.65,
}

WIDER = {
    # The same for the other widths that the papers name.
    ("shufflenetv2", 0.5): 1.4,
    ("shufflenetv2", 1.5): 3.5,
    ("shufflenetv2", 2.0): 7.4,
    ("mobilenetv1", 0.75): 2.6,
    ("mobilenetv1", 0.5): 1.3,
}

SMALL = {
    # Millions for 10 classes at 32 pixels.
    "resnet20": 0.27,
    "densenet40": 1.02,
    "unet": 31.04,
    "segnet": 29.44,
}

PER_PIXEL = ("unet", "segnet")


def millions(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


def on_meta(name: str, classes: int, size: int, **arguments: float) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """The network without memory for its weights, and its output's shape for two images."""
    with torch.device("meta"):
        model = ZOO[name](3, classes, (size, size), **arguments).eval()
        return model, tuple(model(torch.empty(2, 3, size, size)).shape)


@pytest.mark.parametrize("name", PAPERS)
def test_parameters_are_those_of_the_paper(name: str) -> None:
    model, shape = on_meta(name, 1000, 224)
    assert millions(model) == pytest.approx(PAPERS[name], rel=0.005)
    assert shape == (2, 1000)


@pytest.mark.parametrize(("name", "width"), WIDER)
def test_other_widths_are_those_of_the_paper(name: str, width: float) -> None:
    model, _ = on_meta(name, 1000, 224, width=width)
    assert millions(model) == pytest.approx(WIDER[name, width], rel=0.03)


@pytest.mark.parametrize("name", SMALL)
def test_parameters_for_small_images(name: str) -> None:
    assert millions(on_meta(name, 10, 32)[0]) == pytest.approx(SMALL[name], rel=0.01)


@pytest.mark.parametrize("name", ZOO)
def test_runs_on_small_images(name: str) -> None:
    width = "?width=0.5" if name != "lenet5" else ""
    per_pixel = name in PER_PIXEL
    model = build_model(name + width, 3, 7, 32, gives="pixels" if per_pixel else "classes")
    output = model(example_input(3, (32, 32)))
    assert output.shape == ((2, 7, 32, 32) if per_pixel else (2, 7))
    assert torch.isfinite(output).all()
    assert output.std() > 0


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"lenet5", "resnet8", "resnet20"}))
def test_runs_on_large_images(name: str) -> None:
    assert on_meta(name, 21, 224)[1] == ((2, 21, 224, 224) if name in PER_PIXEL else (2, 21))


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "mobilenetv2", "shufflenetv2", "squeezenet"])
def test_small_images_are_halved_twice_less(name: str) -> None:
    stem = {"resnet50": "7x7"}.get(name, "large")

    def rows(**arguments: str) -> int:
        heights: list[int] = []
        with torch.device("meta"):
            model = ZOO[name](3, 10, (64, 64), **arguments)
            for module in model.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.register_forward_hook(lambda _m, _x, y: heights.append(int(y.shape[2])))
            model.eval()(torch.empty(1, 3, 64, 64))
        return min(heights)

    assert rows() >= 3.5 * rows(stem=stem)


@pytest.mark.parametrize("name", PER_PIXEL)
def test_a_network_with_a_class_for_every_pixel_is_no_classifier(name: str) -> None:
    with pytest.raises(InputError, match=r"\[2, 10, 32, 32\], not one tensor \[batch, classes\]"):
        build_model(f"{name}?width=0.1", 3, 10, 32)


@pytest.mark.parametrize(
    ("spec", "size", "what"),
    [
        ("unet", 40, "unet cannot take images of 40×40"),
        ("segnet", 48, "segnet cannot take images of 48×48"),
        ("vgg19", 31, "vgg19 cannot take images of 31×31"),
        ("shufflenetv2?width=0.7", 32, "no width 0.7"),
        ("mobilenetv2?width=-1", 32, "width multiplier of -1"),
        ("densenet40?stem=huge", 32, "'huge' is no stem"),
        ("resnet50?stem=huge", 32, "'huge' is no stem of resnet50"),
    ],
)
def test_what_a_network_cannot_do_is_refused(spec: str, size: int, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        build_model(spec, 3, 10, size, gives="anything")
    assert caught.value.remedy
