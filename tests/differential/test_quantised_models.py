"""Models that other tools quantised: compiled from their float function, within int8's error of what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random, refused

IMAGE = (3, 12, 10)


class Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._rest = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._rest, None)
        return None if image is None else {"x": image[None]}


def float_model() -> onnx.ModelProto:
    """ReLU, ReLU6, a residual addition, poolings, a grouped convolution and a fully connected end."""
    weights: dict[str, Any] = {
        "w": random(8, 3, 3, 3) / 3, "b": random(8), "v": random(8, 2, 3, 3, seed=1) / 3,
        "u": random(8, 8, 1, 1, seed=2) / 2, "d": random(8, 5, seed=3), "e": random(5),
        "low": np.float32(0), "high": np.float32(1.5),
    }  # fmt: skip
    return model(
        node("Conv", ["x", "w", "b"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        node("Relu", ["c1"], ["r1"], name="relu"),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        node("Conv", ["p1", "v"], ["c2"], pads=[1, 1, 1, 1], group=4, name="grouped"),
        node("Clip", ["c2", "low", "high"], ["r2"], name="relu6"), node("Add", ["r2", "p1"], ["a"], name="add"),
        node("Conv", ["a", "u"], ["c3"], name="last"), node("GlobalAveragePool", ["c3"], ["g"], name="mean"),
        node("Flatten", ["g"], ["f"], name="flat"), node("Gemm", ["f", "d", "e"], ["y"], name="dense"),
        weights=weights, image=IMAGE,
    )  # fmt: skip


def static(tmp_path: Path, **options: Any) -> onnx.ModelProto:
    onnx.save(float_model(), tmp_path / "float.onnx")
    images = Images(random(16, *IMAGE, seed=9))
    quantize_static(str(tmp_path / "float.onnx"), str(tmp_path / "quantised.onnx"), images, **options)
    return onnx.load(tmp_path / "quantised.onnx")


def run(source: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = open_session(source.SerializeToString(), optimise=False)
    return np.concatenate([np.asarray(session.run(None, {"x": image[None]})[0]) for image in x])


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(got.reshape(wanted.shape) - wanted).sum()))


def compiled(source: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Outputs in float and in int8, and the note; every executor agrees."""
    graph = canonicalise(import_onnx(source))
    real = calibrate(graph, x).outputs[0]
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert not program.host_steps and not any(differing_bytes(quantised, program, x).values())
    codes = np.stack([interpret.run(program, image).outputs[0] for image in program.codes(x)])
    return real, np.ldexp(codes.astype(np.float32), program.outputs[0].plane.exponent), graph.note


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "int8", "symmetric"])
def test_quantize_static(kind: str, per_channel: bool, tmp_path: Path) -> None:
    activations = QuantType.QUInt8 if kind == "uint8" else QuantType.QInt8
    source = static(
        tmp_path, quant_format=QuantFormat.QDQ, activation_type=activations, weight_type=QuantType.QInt8,
        per_channel=per_channel, extra_options={"ActivationSymmetric": kind == "symmetric"},
    )  # fmt: skip
    x = random(4, *IMAGE, seed=9)
    if kind == "uint8":  # the tool has dropped what the ranges imply
        assert not any(proto.op_type == "Relu" for proto in source.graph.node)
    wanted, original = run(source, x), run(float_model(), x)
    real, codes, note = compiled(source, x)
    # The float function lacks the model's own rounding, and may be no further from it than the original is.
    assert decibels(wanted, real) > min(decibels(wanted, original), 25.0) - 3.0
    assert decibels(original, codes) > decibels(original, wanted) - 6.0
    assert decibels(original, codes) > 20.0
    assert "constants" in note and "quantisations of activations" in note


@pytest.mark.filterwarnings("ignore")
def test_operators_on_integers_are_refused(tmp_path: Path) -> None:
    refused(UnsupportedError, static(tmp_path, quant_format=QuantFormat.QOperator), "QLinear", "QuantFormat.QDQ")


def trained(opset: int, *, axis: int, narrow: bool, block: int = 0) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """As quantisation-aware training exports it: float weights through both operators; and the float model of that."""
    rng = np.random.default_rng(axis + opset)
    weight = random(8, 4, 3, 3, seed=opset)
    shape = [1] * 4
    if block:
        shape = [n // block if i == axis else n for i, n in enumerate(weight.shape)]
    else:
        shape[axis] = weight.shape[axis]
    scale = rng.uniform(0.01, 0.03, shape).astype(np.float32)
    zero = rng.integers(-3, 4, shape).astype(np.int8)
    low, high = (-64, 63) if narrow else (-128, 127)
    spread = [np.repeat(p, block, axis) if block else p for p in (scale, zero)]
    codes = np.clip(np.clip(np.rint(weight / spread[0]) + spread[1], -128, 127), low, high)
    real = ((codes - spread[1]) * spread[0]).astype(np.float32)
    parts = {"scale": scale if block else scale.reshape(-1), "zero": zero if block else zero.reshape(-1)}
    numbers = {"s": np.float32(0.05), "z": np.uint8(0), "low": np.int8(low), "high": np.int8(high)}
    along: dict[str, Any] = {"axis": axis} | ({"block_size": block} if block else {})
    between = [node("Clip", ["q", "low", "high"], ["k"])] if narrow else []
    first = node("Conv", ["x", "first"], ["c"])
    source = model(
        node("QuantizeLinear", ["w", "scale", "zero"], ["q"], **along), *between,
        node("DequantizeLinear", ["k" if narrow else "q", "scale", "zero"], ["d"], **along),
        first, node("QuantizeLinear", ["c", "s", "z"], ["cq"]), node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
        node("Conv", ["cd", "d"], ["y"]),
        weights={"w": weight, "first": random(4, 3, 1, 1), **parts, **numbers}, image=IMAGE, opset=opset,
    )  # fmt: skip
    source.ir_version = 10
    plain = model(
        first, node("Clip", ["c", "zero", "most"], ["cd"]), node("Conv", ["cd", "w"], ["y"]),
        weights={"w": real, "first": random(4, 3, 1, 1), "zero": np.float32(0), "most": np.float32(0.05) * 255},
        image=IMAGE,
    )  # fmt: skip
    return source, plain


@pytest.mark.parametrize(
    ("opset", "axis", "narrow", "block"),
    [(13, 0, False, 0), (13, 1, False, 0), (17, 0, True, 0), (21, 1, False, 2), (24, 0, False, 0)],
)
def test_quantisation_aware_training(opset: int, axis: int, narrow: bool, block: int) -> None:
    source, plain = trained(opset, axis=axis, narrow=narrow, block=block)
    x = random(2, *IMAGE)
    real, codes, note = compiled(source, x)
    wanted = run(plain, x)
    np.testing.assert_allclose(real.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)
    assert decibels(run(source, x), codes) > 25.0 and note


FORMS = {
    "an output of integers": (
        [node("Conv", ["x", "w"], ["c"]), node("QuantizeLinear", ["c", "s", "z"], ["y"])],
        ("the model gives integers",),
    ),
    "another scale": (
        [
            node("Conv", ["x", "w"], ["c"]),
            node("QuantizeLinear", ["c", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "t", "z"], ["y"]),
        ],
        ("another scale",),
    ),
    "a scale for each channel": (
        [
            node("Conv", ["x", "w"], ["c"]),
            node("QuantizeLinear", ["c", "ss", "zz"], ["q"], axis=1),
            node("DequantizeLinear", ["q", "ss", "zz"], ["y"], axis=1),
        ],
        ("scale for each channel",),
    ),
    "integers between": (
        [
            node("Conv", ["x", "w"], ["c"]),
            node("QuantizeLinear", ["c", "s", "z"], ["q"]),
            node("Flatten", ["q"], ["f"]),
            node("DequantizeLinear", ["f", "s", "z"], ["y"]),
        ],
        ("computes with the integers",),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_not_taken(form: str) -> None:
    nodes, words = FORMS[form]
    weights = {"w": random(2, 3, 1, 1), "s": np.float32(0.1), "t": np.float32(0.2), "z": np.int8(0)}
    weights |= {"ss": np.asarray([0.1, 0.2], np.float32), "zz": np.zeros(2, np.int8)}
    refused(UnsupportedError, model(*nodes, weights=weights), *words, "float model from before")


@pytest.mark.parametrize("block", [-1, 1, 4, 2**42])
def test_blocks_that_do_not_fit_are_refused(block: int) -> None:
    source, _ = trained(21, axis=1, narrow=False, block=2)
    for proto in source.graph.node:
        for attribute in proto.attribute:
            if attribute.name == "block_size":
                attribute.i = block
    refused(UnsupportedError, source, "scales of [8, 2, 3, 3] along axis 1 of [8, 4, 3, 3]")
