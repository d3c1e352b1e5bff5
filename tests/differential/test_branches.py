"""``If`` with a condition that constants and shapes decide: the network of the branch that is taken."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import InputError, UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random, refused


def branch(*nodes: onnx.NodeProto, y: str, weights: dict[str, Any] | None = None) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    result = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), "branch", [], [result], tensors)


def choice(condition: str, then: onnx.GraphProto, other: onnx.GraphProto, y: str) -> onnx.NodeProto:
    return node("If", [condition], [y], name=f"choose {y}", then_branch=then, else_branch=other)


WEIGHTS = {"w": random(4, 3, 3, 3), "v": random(5, 4, 1, 1), "four": np.asarray(4, np.int64)}
FIRST = node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
LAST = node("Conv", ["h", "v"], ["y"])
# The same names inside both branches, and in those of other Ifs.
STEEP = branch(node("Mul", ["c", "k"], ["s"]), node("Tanh", ["s"], ["t"]), y="t", weights={"k": np.float32(3)})
FLAT = branch(node("Relu", ["c"], ["t"]), y="t")
AS_IT_IS = branch(node("Identity", ["c"], ["t"]), y="t")
WIDE = (
    node("Shape", ["c"], ["shape"]),
    node("Gather", ["shape", "four"], ["width"], axis=0),
    node("Greater", ["width", "limit"], ["cond"]),
)


def wide(limit: int) -> tuple[tuple[onnx.NodeProto, ...], dict[str, Any]]:
    """Nodes that make ``cond``: whether the images are wider than ``limit``."""
    return WIDE, {"four": np.asarray(3, np.int64), "limit": np.asarray(limit, np.int64)}


def nested(y: str) -> onnx.GraphProto:
    inner = branch(node("Sigmoid", ["n"], ["t"]), y="t")
    other = branch(node("Neg", ["n"], ["t"]), y="t")
    return branch(
        node("Mul", ["c", "k"], ["n"]),
        node("If", ["no"], ["s"], then_branch=inner, else_branch=other),
        node("Tanh", ["s"], [y]),
        y=y,
        weights={"k": np.float32(2), "no": np.asarray(False)},
    )


CASES: dict[str, tuple[tuple[onnx.NodeProto, ...], dict[str, Any]]] = {}
for _taken in (False, True):
    _fixed = {"cond": np.asarray(_taken)}
    CASES[f"a constant, {_taken}"] = ((choice("cond", STEEP, FLAT, "h"),), _fixed)
    CASES[f"as it is, {_taken}"] = ((choice("cond", AS_IT_IS, STEEP, "h"),), _fixed)
    CASES[f"nested, {_taken}"] = ((choice("cond", nested("t"), STEEP, "h"),), _fixed)
    _nodes, _weights = wide(4 if _taken else 5)
    CASES[f"by the width, {_taken}"] = ((*_nodes, choice("cond", FLAT, STEEP, "h")), _weights)
    _two = (choice("cond", STEEP, FLAT, "a"), choice("cond", FLAT, STEEP, "b"), node("Add", ["a", "b"], ["h"]))
    CASES[f"two of them, {_taken}"] = (_two, _fixed)


def assert_same(source: onnx.ModelProto, x: np.ndarray) -> None:
    """The imported network is the file's own function, and all executors agree on it."""
    session = open_session(source.SerializeToString(), optimise=False)
    name = session.get_inputs()[0].name
    wanted = np.concatenate([np.asarray(session.run(None, {name: image[None]})[0]) for image in x])
    graph = canonicalise(import_onnx(source))
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert not program.host_steps and not any(differing_bytes(quantised, program, x).values())


@pytest.mark.parametrize("case", CASES)
def test_the_branch_that_is_taken(case: str) -> None:
    nodes, weights = CASES[case]
    assert_same(model(FIRST, *nodes, LAST, weights=WEIGHTS | weights, opset=16), random(2, 3, 6, 5))


class Scripted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if y.shape[2] > 5:
            y = torch.nn.functional.max_pool2d(y, 2)
        if y.shape[3] != 3:
            y = torch.relu(y)
        else:
            y = torch.tanh(y)
        return self.second(y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(6, 5), (9, 8)])
def test_a_scripted_module(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scripted, file = torch.jit.script(Scripted().eval()), io.BytesIO()
    torch.onnx.export(
        scripted, (torch.zeros(1, 3, *size),), file, dynamo=False, opset_version=17, verbose=False,
        input_names=["x"], dynamic_axes={"x": {2: "height", 3: "width"}},
    )  # fmt: skip
    source = onnx.load_model_from_string(file.getvalue())
    for number, length in enumerate(size):
        source.graph.input[0].type.tensor_type.shape.dim[2 + number].dim_value = length
    assert any(proto.op_type == "If" for proto in source.graph.node)
    assert_same(source, random(2, 3, *size))


def test_a_condition_on_the_image_is_refused() -> None:
    nodes = (
        node("ReduceMax", ["c"], ["most"], keepdims=0),
        node("Greater", ["most", "limit"], ["cond"]),
        choice("cond", STEEP, FLAT, "h"),
    )
    source = model(FIRST, *nodes, LAST, weights=WEIGHTS | {"limit": np.float32(1)}, opset=16)
    refused(UnsupportedError, source, "'choose h' (If)")


def test_names_inside_branches_that_are_no_text() -> None:
    nodes, weights = CASES["a constant, True"]
    source = model(FIRST, *nodes, LAST, weights=WEIGHTS | weights, opset=16)
    data = source.SerializeToString().replace(b"\x0a\x01s\x0a\x01k", b"\x0a\x01s\x0a\x01\xf9")
    data = data.replace(b"\x0a\x01c\x0a\x01k", b"\x0a\x01c\x0a\x01\xf9")
    assert b"\xf9" in data
    refused(InputError, onnx.load_model_from_string(data), "names that are not text")
