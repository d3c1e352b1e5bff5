"""Growing by 16, 32 and more, by every way that networks do it, up to heads of 256 x 256 pixels."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random, refused

FIRST = node("Conv", ["x", "w"], ["c"])


def assert_right(source: onnx.ModelProto, x: np.ndarray, array: str, decibels: float = 25.0) -> None:
    """Like the file's own function, byte for byte on every executor, and no step of the host."""
    session = open_session(source.SerializeToString(), optimise=False)
    wanted = np.concatenate([np.asarray(session.run(None, {"x": image[None]})[0]) for image in x])
    graph = canonicalise(import_onnx(source))
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-4)
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array(array), MEMORY)
    assert not program.host_steps
    assert not any(differing_bytes(quantised, program, x).values())
    plane = program.outputs[0].plane
    codes = np.stack([interpret.run(program, image).outputs[0] for image in program.codes(x)])
    noise = np.ldexp(codes.astype(np.float32), plane.exponent).reshape(wanted.shape) - wanted
    assert 10 * np.log10(np.square(wanted).sum() / np.square(noise).sum()) > decibels


RESIZES = (
    ("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "asymmetric"), ("linear", "align_corners"),
)  # fmt: skip


@pytest.mark.parametrize(("factor", "size", "array"), [(16, 3, "z7020-384"), (21, 2, "zu-1024"), (32, 2, "z7020-256")])
@pytest.mark.parametrize(("mode", "places"), RESIZES)
def test_resize(mode: str, places: str, factor: int, size: int, array: str) -> None:
    x = random(1, 3, size, size + 1)
    # With corners aligned, gaps between pixels grow, not pixels.
    sizes = [(n - 1) * factor + 1 if places == "align_corners" else n * factor for n in (size, size + 1)]
    weights = {"w": random(3, 3, 1, 1), "sizes": np.asarray([1, 3, *sizes], np.int64)}
    how = {"mode": mode, "coordinate_transformation_mode": places, "nearest_mode": "floor"}
    resize = node("Resize", ["c", "", "", "sizes"], ["y"], **how)
    assert_right(model(FIRST, resize, weights=weights, image=(3, size, size + 1)), x, array)


@pytest.mark.parametrize("seed", range(6))
def test_transposed_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strides = [(16, 16), (32, 16), (20, 1), (2, 24), (25, 18), (16, 32)][seed]
    groups = (1, 3, 1, 6, 3, 2)[seed]
    kernel = [int(rng.integers(max(s // 2, 1), 2 * s + 2)) for s in strides]
    dilations = [1, 2] if seed % 2 else [1, 1]
    attributes: dict[str, Any] = {"strides": strides, "group": groups, "dilations": dilations}
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes["pads"] = [int(rng.integers(0, r // 2 + 1)) for r in (*reach, *reach)]
    attributes["output_padding"] = [int(rng.integers(0, s)) for s in strides]
    weights = {"w": random(6, 3, 1, 1), "t": random(6, 6 // groups, *kernel), "b": random(6)}
    source = model(
        FIRST, node("ConvTranspose", ["c", "t", "b"], ["r"], **attributes), node("Relu", ["r"], ["y"]),
        weights=weights, image=(3, 2, 3),
    )  # fmt: skip
    assert_right(source, random(1, 3, 2, 3), ("z7020-256", "z7020-384", "zu-1024")[seed % 3], 20.0)


@pytest.mark.parametrize("target", [(16, 17), (31, 64)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_pixel_for_the_whole_image(mode: str, target: tuple[int, int]) -> None:
    """The branch of global context in PSPNet and DeepLab."""
    weights = {"w": random(3, 3, 1, 1), "sizes": np.asarray([1, 3, *target], np.int64), "v": random(2, 3, 1, 1)}
    source = model(
        node("GlobalAveragePool", ["x"], ["g"]), node("Conv", ["g", "w"], ["c"]),
        node("Resize", ["c", "", "", "sizes"], ["r"], mode=mode), node("Conv", ["r", "v"], ["y"]),
        weights=weights, image=(3, 4, 5),
    )  # fmt: skip
    assert_right(source, random(2, 3, 4, 5), "z7020-256")


def block(source: int, filters: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(source, filters, 3, stride, 1), nn.ReLU())


class Fcn(nn.Module):
    """A trunk of stride 32, scores, and a transposed convolution of 64 x 64 with a stride of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(block(3 if n == 0 else 4, 4, 2) for n in range(5)), nn.Conv2d(4, 3, 1))
        self.up = nn.ConvTranspose2d(3, 3, 64, 32, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.trunk(x))


class PyramidPooling(nn.Module):
    """PSPNet: means over 1, 2 and 4 parts, brought back to the map's size, and the scores to the image's."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(block(3 if n == 0 else 4, 4, 2) for n in range(4)))
        self.parts = nn.ModuleList(nn.Conv2d(4, 2, 1) for _ in range(3))
        self.score = nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.trunk(x)
        parts = [y]
        for size, layer in zip((16, 8, 4), self.parts, strict=True):
            part = torch.relu(layer(nnf.avg_pool2d(y, size)))
            parts.append(nnf.interpolate(part, size=(16, 16), mode="bilinear", align_corners=False))
        return nnf.interpolate(self.score(torch.cat(parts, 1)), size=(256, 256), mode="bilinear", align_corners=False)


class AtrousPyramid(nn.Module):
    """DeepLab: convolutions of several dilations and the mean of all pixels beside one another, then 16 x bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(block(3 if n == 0 else 4, 4, 2) for n in range(4)))
        self.near = nn.ModuleList(nn.Conv2d(4, 2, 3, padding=d, dilation=d) for d in (1, 3, 6))
        self.all = nn.Conv2d(4, 2, 1)
        self.score = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.trunk(x)
        mean = torch.relu(self.all(nnf.adaptive_avg_pool2d(y, 1)))
        mean = nnf.interpolate(mean, size=(16, 16), mode="bilinear", align_corners=False)
        y = torch.cat([*(torch.relu(layer(y)) for layer in self.near), mean], 1)
        return nnf.interpolate(self.score(y), scale_factor=16, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("head", [Fcn, PyramidPooling, AtrousPyramid])
def test_heads_of_256_pixels(head: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network, file = head().eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, 256, 256),), file, dynamo=False, opset_version=17, verbose=False,
            input_names=["x"],
        )  # fmt: skip
    assert_right(onnx.load_model_from_string(file.getvalue()), random(1, 3, 256, 256), "z7020-256", 15.0)


@pytest.mark.parametrize("stride", [17, 19, 226])
def test_strides_out_of_reach_are_for_the_host_where_it_can(stride: int) -> None:
    weights = {"w": random(3, 3, 1, 1), "t": random(3, 3, 1, 1), "v": random(64, 3, 3, 3)}
    transposed = node("ConvTranspose", ["c", "t"], ["y"], strides=[stride, 1])
    graph = import_onnx(model(FIRST, transposed, weights=weights))
    assert graph.host_tail is not None and graph.host_tail.operators == ("ConvTranspose",)
    # What follows would make the host multiply more than the engine does.
    nodes = (FIRST, node("ConvTranspose", ["c", "t"], ["u"], strides=[stride, 1]), node("Conv", ["u", "v"], ["y"]))
    refused(
        UnsupportedError, model(*nodes, weights=weights), "product of two numbers up to 15", f"strides [{stride}, 1]"
    )
