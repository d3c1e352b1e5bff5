"""Operators that move pixels, or fill them in phases: the same bytes on every executor, and the values of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.numpy_helper import to_array

from proprune_cli.accel.array import load_array
from proprune_cli.accel.program import to_codes
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.nodes import Host
from proprune_cli.ops.reference import run_reference
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random

GROWING = [(2, 2), (3, 2), (4, 4), (1, 2), (5, 5), (8, 8)]
SHRINKING = [(0.5, 0.5), (1 / 3, 0.5), (1, 0.2)]
MODES = ["half_pixel", "pytorch_half_pixel", "asymmetric"]
AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}
CONV = node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
WEIGHT = {"w": random(9, 3, 3, 3)}


def check_on_the_engine(source: onnx.ModelProto) -> None:
    """Nothing of it runs on the host, its float graph is the model, and all executors agree on its bytes."""
    x = random(3, 3, 6, 5) * 3
    graph = canonicalise(import_onnx(source))
    assert not any(isinstance(n, Host) for n in graph.nodes) and graph.host_tail is None
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert differing_bytes(quantised, program, x) == AGREE


@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (2, 0, 1, 3), (4, 4, 4, 4)])
@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_padding_by_pixels_of_the_image(mode: str, pads: tuple[int, int, int, int]) -> None:
    full = np.asarray([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
    pad = node("Pad", ["c", "p"], ["d"], mode=mode)
    last = node("Sigmoid", ["d"], ["y"])
    check_on_the_engine(model(CONV, pad, last, weights={**WEIGHT, "p": full}, opset=19 if mode == "wrap" else 13))


@pytest.mark.parametrize("axis", [2, -1])
def test_rows_and_columns_one_after_the_other(axis: int) -> None:
    relu = node("Relu", ["c"], ["d"])
    check_on_the_engine(model(CONV, relu, node("Concat", ["d", "c", "d"], ["y"], axis=axis), weights=WEIGHT))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("groups", [1, 9])
def test_an_operand_of_what_is_filled_in_phases(op: str, groups: int) -> None:
    """Every phase reads the pixels of the operand that it fills."""
    window: dict[str, Any] = {"group": groups, "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = (
        CONV,
        node("ConvTranspose", ["c", "u"], ["a"], **window),
        node("ConvTranspose", ["c", "v"], ["b"], **window),
        node(op, ["a", "b"], ["y"]),
    )
    shape = (9, 9 // groups, 4, 4)
    check_on_the_engine(model(*nodes, weights={**WEIGHT, "u": random(*shape), "v": random(*shape, seed=1)}))


def smooth(scales: NDArray[Any], mode: str, inputs: tuple[str, ...]) -> onnx.ModelProto:
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": mode}
    return model(CONV, node("Resize", ["c", *inputs], ["y"], **how), weights={**WEIGHT, "s": scales}, batch=3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factors", GROWING + SHRINKING)
def test_smooth_resizing(factors: tuple[float, float], mode: str) -> None:
    source = smooth(np.asarray([1, 1, *factors], np.float32), mode, ("", "s"))
    check_on_the_engine(source)
    check_rounding(source, 1.0 if max(factors) > 4 else 0.505)


@pytest.mark.parametrize("size", [(11, 9), (16, 5), (6, 13), (2, 3)])
def test_smooth_resizing_between_the_corners(size: tuple[int, int]) -> None:
    """Corner to corner is a fixed kernel where one size less 1 divides the other less 1."""
    source = smooth(np.asarray([3, 9, *size], np.int64), "align_corners", ("", "", "s"))
    check_on_the_engine(source)
    check_rounding(source, 0.505)


def check_rounding(source: onnx.ModelProto, most: float) -> None:
    """The codes are the float operator's values for the codes before it, but for rounding (once, or for each axis)."""
    x = random(3, 3, 6, 5) * 3
    quantised, _ = quantise(canonicalise(import_onnx(source)), x)
    codes = run_reference(quantised, to_codes(x, quantised.tensors["x"].exponent))
    before, after = (2.0 ** quantised.tensors[name].exponent for name in ("c", quantised.outputs[0].tensor))
    alone = model(source.graph.node[1], weights={"s": to_array(source.graph.initializer[1])}, image=(9, 6, 5), batch=3)
    alone.graph.node[0].input[0] = "x"
    session = open_session(alone.SerializeToString())
    wanted = np.asarray(session.run(None, {"x": (codes["c"] * before).astype(np.float32)})[0]) / after
    assert np.abs(codes[quantised.outputs[0].tensor] - np.clip(wanted, -128, 127)).max() <= most
