"""Padding in all its forms: negative pads, SAME, sizes that a transposed convolution is told; drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.quantized import QGraph
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random, refused

X = random(2, 3, 9, 8)
WEIGHTS = {"w": random(4, 3, 3, 3), "v": random(5, 4, 1, 1)}


def onnxruntimes(source: onnx.ModelProto) -> np.ndarray | None:
    """The file's own function; None where ONNX Runtime refuses it."""
    try:
        return np.asarray(open_session(source.SerializeToString(), optimise=False).run(None, {"x": X})[0])
    except Exception:  # noqa: BLE001 - its own, unrelated classes
        return None


def assert_like(wanted: np.ndarray, source: onnx.ModelProto, case: object = "") -> QGraph:
    graph = canonicalise(import_onnx(source))
    assert (2, *graph.outputs[0].shape) == wanted.shape, case
    got = calibrate(graph, X).outputs[0].reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4, err_msg=str(case))
    quantised, _ = quantise(graph, X)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert not any(differing_bytes(quantised, program, X).values()), case
    return quantised


def pair(rng: np.random.Generator, low: int, high: int) -> list[int]:
    return rng.integers(low, high + 1, 2).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_transposed_convolutions_of_a_given_size(seed: int) -> None:
    rng, compared = np.random.default_rng(seed), 0
    while compared < 8:
        kernel, stride, dilation = pair(rng, 1, 4), pair(rng, 1, 3), pair(rng, 1, 2)
        attributes: dict[str, Any] = {"strides": stride, "dilations": dilation}
        mode = rng.choice(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
        if rng.random() < 0.7 or mode == "NOTSET":
            full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip((9, 8), stride, kernel, dilation, strict=True)]
            attributes["output_shape"] = [max(n - int(rng.integers(-2, 4)), 1) for n in full]
        if rng.random() < 0.3:
            attributes["output_padding"] = pair(rng, 0, 2)
        source = model(
            node("ConvTranspose", ["x", "t"], ["c"], auto_pad=mode, **attributes),
            node("Conv", ["c", "v"], ["y"]),
            weights={"t": random(3, 4, *kernel), "v": WEIGHTS["v"]}, image=(3, 9, 8),
        )  # fmt: skip
        wanted = onnxruntimes(source)
        if wanted is None:
            continue
        compared += 1
        if wanted.shape[2:] == unlike_onnx(wanted.shape[2:], mode, attributes):
            refused(UnsupportedError, source, f"auto_pad {mode}")
        else:
            assert_like(wanted, source, (kernel, mode, attributes))


def unlike_onnx(size: tuple[int, ...], mode: str, attributes: dict[str, Any]) -> tuple[int, ...] | None:
    """``size`` where SAME, by the words of ONNX, makes strides times the input of it, and ONNX Runtime does not."""
    same = mode.startswith("SAME") and "output_shape" not in attributes
    by_onnx = tuple(n * s for n, s in zip((9, 8), attributes["strides"], strict=True))
    return size if same and size != by_onnx else None


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads_that_crop_and_pad(mode: str) -> None:
    rng = np.random.default_rng(len(mode))
    for number in range(7):
        pads = rng.integers(-3, 4, 4).tolist()
        channels = rng.integers(-1, 2 if mode == "constant" and number % 2 else 1, 2).tolist()
        values = np.asarray([0, channels[0], *pads[:2], 0, channels[1], *pads[2:]], np.int64)
        value = np.float32(0 if max(channels) > 0 else 0.5)
        last = random(5, 4 + sum(channels), 1, 1)
        source = model(
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Pad", ["c", "pads", "value"] if mode == "constant" else ["c", "pads"], ["p"], mode=mode),
            node("Conv", ["p", "v"], ["y"]),
            weights={"w": WEIGHTS["w"], "v": last, "pads": values, "value": value}, image=(3, 9, 8), opset=19,
        )  # fmt: skip
        wanted = onnxruntimes(source)
        assert wanted is not None
        quantised = assert_like(wanted, source, (pads, channels))
        assert not any(type(layer).__name__ == "Host" for layer in quantised.layers), (pads, channels)


@pytest.mark.parametrize("pads", [(-1, 0, 0, -2), (1, -1, -1, 2), (-2, -2, -2, -2)])
def test_a_convolution_whose_pads_crop(pads: tuple[int, int, int, int]) -> None:
    """ONNX and ONNX Runtime want pads of 0 or more; PyTorch says what a crop gives."""
    top, left, bottom, right = pads
    padded = torch.nn.functional.pad(torch.from_numpy(X), (left, right, top, bottom))
    wanted = torch.nn.functional.conv2d(padded, torch.from_numpy(WEIGHTS["w"]), stride=2).numpy()
    source = node("Conv", ["x", "w"], ["y"], pads=list(pads), strides=[2, 2])
    assert_like(wanted, model(source, weights=WEIGHTS, image=(3, 9, 8)))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_partial_windows_count_where_they_start_in_the_image(op: str) -> None:
    rng, compared = np.random.default_rng(len(op)), 0
    for _ in range(10):
        kernel, stride = pair(rng, 1, 4), pair(rng, 1, 4)
        pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": pads, "ceil_mode": 1}
        weights = {"l": random(5, 3, 1, 1)}
        source = model(
            node(op, ["x"], ["p"], **attributes), node("Conv", ["p", "l"], ["y"]), weights=weights, image=(3, 9, 8)
        )
        wanted = onnxruntimes(source)
        if wanted is not None and np.isfinite(wanted).all():  # a mean of nothing is not a number
            assert_like(wanted, source, attributes)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_follows_from_the_size(op: str, mode: str) -> None:
    """With dilation ONNX Runtime refuses a SAME convolution, and pads a pooling as if there were none: it runs it."""
    rng = np.random.default_rng(len(op) + len(mode))
    for number in range(6):
        kernel, stride = pair(rng, 2, 4), pair(rng, 1, 3)
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "auto_pad": mode}
        if number > 3 and op != "AveragePool" and not (op == "Conv" and mode != "VALID"):
            attributes["dilations"] = [1, 2]
        inputs = ["x", "k"] if op == "Conv" else ["x"]
        weights = {"k": random(3, 3, *kernel), "l": random(5, 3, 1, 1)}
        source = model(
            node(op, inputs, ["p"], **attributes), node("Conv", ["p", "l"], ["y"]), weights=weights, image=(3, 9, 8)
        )
        wanted = onnxruntimes(source)
        if wanted is None:  # a SAME pooling with gaps between its windows
            assert op == "AveragePool" and any(k < s for k, s in zip(kernel, stride, strict=True)), attributes
        else:
            assert_like(wanted, source, attributes)


def test_a_padding_as_large_as_the_pooling_behind_it_stays_apart() -> None:
    pad = node("Pad", ["x", "p"], ["q"])
    pool = node(
        "AveragePool", ["q"], ["a"], kernel_shape=[4, 2], pads=[3, 1, 0, 1], strides=[3, 2], count_include_pad=1
    )
    weights = {"p": np.asarray([0, 0, 0, 1, 0, 0, 2, 0], np.int64), "l": random(5, 3, 1, 1)}
    source = model(pad, pool, node("Conv", ["a", "l"], ["y"]), weights=weights, image=(3, 9, 8))
    x = random(2, 3, 9, 8)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(canonicalise(import_onnx(source)), x).outputs[0], wanted, rtol=1e-4, atol=1e-5)
