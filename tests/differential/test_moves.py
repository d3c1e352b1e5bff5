"""Operators that move pixels, or fill them in phases: the same bytes on every executor, and the values of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.compile.calibration import calibrate, open_session
from proprune_cli.compile.frontend import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise import quantise
from proprune_cli.ir.graph import Host
from tests.executors import MEMORY, differing_bytes
from tests.unit.onnx_nets import model, node, random

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}
CONV = node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
WEIGHT = {"w": random(9, 3, 3, 3)}


def check_on_the_engine(source: onnx.ModelProto) -> None:
    """Nothing of it runs on the host, its float graph is the model, and all executors agree on its bytes."""
    x = random(3, 3, 6, 5) * 3
    graph = canonicalise(import_onnx(source))
    assert not any(isinstance(n, Host) for n in graph.nodes) and graph.host_tail is None
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).output.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
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
