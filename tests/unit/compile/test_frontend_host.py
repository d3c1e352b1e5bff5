"""The part of a network that runs on the host: where it begins, and that both parts together are the model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.ir.nodes import Host
from tests.unit.compile.onnx_nets import model, node, random

HEAD = (
    node("Conv", ["x", "w"], ["c"], name="c"),
    node("GlobalAveragePool", ["c"], ["g"]),
    node("Flatten", ["g"], ["f"]),
)
TAILS: dict[str, tuple[tuple[onnx.NodeProto, ...], int]] = {
    "softmax": ((node("Softmax", ["f"], ["y"], axis=1),), 1),
    "class": ((node("Softmax", ["f"], ["s"], axis=1), node("ArgMax", ["s"], ["y"], axis=1, keepdims=0)), 2),
    "scaled logits stay on the engine": (
        (node("Mul", ["f", "k"], ["m"]), node("Sigmoid", ["m"], ["p"]), node("LogSoftmax", ["p"], ["y"], axis=1)),
        1,
    ),
    "arithmetic after it goes along": (
        (node("Softmax", ["f"], ["s"], axis=1), node("Mul", ["s", "k"], ["m"]), node("Sub", ["m", "s"], ["y"])),
        3,
    ),
    "channels last": ((node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),), 1),
}


@pytest.mark.parametrize("case", TAILS)
def test_engine_part_and_host_part_together_are_the_model(case: str) -> None:
    nodes, hosted = TAILS[case]
    weights = {"w": random(4, 3, 3, 3), "k": np.asarray([3.0], np.float32)}
    source = model(*HEAD, *nodes, weights=weights)
    if case == "class":
        source.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph = canonicalise(import_onnx(source))
    assert graph.host_tail is not None and len(graph.host_tail.operators) == hosted
    tail = onnx.load_model_from_string(graph.host_tail.model)
    x = random(3, 3, 6, 5)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    real = calibrate(graph, x).outputs[0].reshape(3, *graph.outputs[0].shape)
    (got,) = open_session(tail.SerializeToString()).run(None, {tail.graph.input[0].name: real})
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-4, atol=1e-6)


def test_a_network_without_such_an_end_has_no_host_part() -> None:
    shuffle = (
        node("Reshape", ["c", "a"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "b"], ["y"]),
    )
    shapes = {"a": np.asarray([0, 2, 2, 4, 3], np.int64), "b": np.asarray([0, 4, 4, 3], np.int64)}
    graph = import_onnx(model(HEAD[0], *shuffle, weights={"w": random(4, 3, 3, 3), **shapes}))
    assert graph.host_tail is None and [o.name for o in graph.outputs] == ["y"]


DETECTOR = (
    # Two heads in SSD's manner, side by side at the end; the first head and what it is made of are outputs too.
    node("Conv", ["x", "w"], ["c"], name="body", pads=[1, 1, 1, 1]),
    node("Relu", ["c"], ["f"], name="relu"),
    node("Conv", ["f", "p"], ["near"], name="near"),
    node("MaxPool", ["f"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    node("Conv", ["m", "q"], ["far"], name="far"),
    node("Transpose", ["near"], ["nt"], perm=[0, 2, 3, 1]),
    node("Reshape", ["nt", "rows"], ["nr"]),
    node("Transpose", ["far"], ["ft"], perm=[0, 2, 3, 1]),
    node("Reshape", ["ft", "rows"], ["fr"]),
    node("Concat", ["nr", "fr"], ["all"], axis=1),
    node("Softmax", ["all"], ["shares"], axis=2),
)
DETECTOR_WEIGHTS = {
    "w": random(4, 3, 3, 3),
    "p": random(5, 4, 1, 1),
    "q": random(5, 4, 1, 1, seed=1),
    "rows": np.asarray([0, -1, 5], np.int64),
}


def test_the_hosts_part_reads_several_tensors_beside_outputs_of_the_engine() -> None:
    names = ("f", "shares", "near", "all")
    source = model(*DETECTOR, weights=DETECTOR_WEIGHTS, outputs=names)
    graph = canonicalise(import_onnx(source))
    assert graph.host_tail is not None and graph.results == names
    tail = onnx.load_model_from_string(graph.host_tail.model)
    assert [output.name for output in graph.outputs] == ["f", "near", "far"]
    assert [value.name for value in tail.graph.input] == ["near", "far"]
    x = random(3, 3, 6, 5)
    wanted = run_session(open_session(source.SerializeToString()), list(names), {"x": x})
    given = {output.name: y for output, y in zip(graph.outputs, calibrate(graph, x).outputs, strict=True)}
    made = [value.name for value in tail.graph.output]
    answers = run_session(open_session(tail.SerializeToString()), made, {n: given[n] for n in ("near", "far")})
    results = given | dict(zip(made, answers, strict=True))
    for name, value in zip(names, wanted, strict=True):
        np.testing.assert_allclose(results[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


BETWEEN: dict[str, tuple[tuple[onnx.NodeProto, ...], tuple[str, ...]]] = {
    "normalisation over channels": ((node("LRN", ["c"], ["h"], size=3),), ("LRN",)),
    "smooth upsampling between the corners": (
        (node("Resize", ["c", "", "s"], ["h"], mode="linear", coordinate_transformation_mode="align_corners"),),
        ("Resize",),
    ),
    "growing one way and shrinking the other": ((node("Resize", ["c", "", "o"], ["h"], mode="linear"),), ("Resize",)),
    "sizes of another batch": ((node("Resize", ["c", "", "", "z"], ["h"], mode="linear"),), ("Resize",)),
    "upsampling by a fraction": ((node("Resize", ["c", "", "f"], ["h"]),), ("Resize",)),
    "upsampling off the grid": ((node("Resize", ["c", "", "s"], ["h"], nearest_mode="floor"),), ("Resize",)),
    "softmax over channels": ((node("Softmax", ["c"], ["h"], axis=1),), ("Softmax",)),
    "unpooling": (
        (
            node("MaxPool", ["c"], ["p", "i"], kernel_shape=[2, 1], strides=[2, 1]),
            node("Relu", ["p"], ["r"]),
            node("MaxUnpool", ["r", "i"], ["h"], kernel_shape=[2, 1], strides=[2, 1]),
        ),
        ("MaxPool", "MaxUnpool"),
    ),
    "a softmax that another tensor is multiplied with": (
        (node("Softmax", ["c"], ["m"], axis=1), node("Sigmoid", ["c"], ["g"]), node("Mul", ["m", "g"], ["h"])),
        ("Softmax",),
    ),
}


def _between(case: str, opset: int = 13) -> onnx.ModelProto:
    nodes, _ = BETWEEN[case]
    constants = {
        "w": random(4, 3, 3, 3),
        "v": random(2, 4, 1, 1),
        "s": np.asarray([1, 1, 2, 2], np.float32),
        "f": np.asarray([1, 1, 1.5, 2], np.float32),
        "o": np.asarray([1, 1, 2, 1 / 3], np.float32),
        "z": np.asarray([5, 4, 7, 9], np.int64),
    }
    used = {"w", "v", *(name for n in nodes for name in n.input)}
    weights = {name: value for name, value in constants.items() if name in used}
    last = node("Conv", ["h", "v"], ["y"])
    return model(HEAD[0], *nodes, last, weights=weights, opset=opset)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("case", BETWEEN)
def test_what_the_engine_cannot_runs_on_the_host_in_between(case: str, opset: int) -> None:
    source = _between(case, opset)
    if case.endswith("another batch"):  # ONNX Runtime takes the sizes as they are
        source.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.asarray([3, 4, 7, 9], np.int64), "z"))
    graph = canonicalise(import_onnx(source))
    hosted = [n for n in graph.nodes if isinstance(n, Host)]
    assert [n.operators for n in hosted] == [BETWEEN[case][1]] and graph.host_tail is None
    x = random(3, 3, 6, 5)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0], wanted, rtol=1e-4, atol=1e-5)


def test_old_operators_are_converted() -> None:
    """Softmax before opset 13 is over all axes from its own on, and smooth Upsample became Resize."""
    scales = np.asarray([1, 1, 2.5, 2], np.float32)
    source = model(
        HEAD[0],
        node("Upsample", ["c", "s"], ["u"], mode="linear"),
        node("Softmax", ["u"], ["m"], axis=1),
        node("Conv", ["m", "v"], ["y"]),
        weights={"w": random(4, 3, 3, 3), "v": random(2, 4, 1, 1), "s": scales},
        opset=9,
    )
    graph = canonicalise(import_onnx(source))
    assert sum(isinstance(n, Host) for n in graph.nodes) == 2
    x = random(3, 3, 6, 5)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_shapes_that_are_read_from_a_tensor_do_not_mix_the_images(batch: int | str) -> None:
    """The host flattens with a shape that was evaluated on import, for one image."""
    source = model(
        HEAD[0],
        node("Shape", ["c"], ["s"]),
        node("Slice", ["s", "from", "to"], ["n"]),
        node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Reshape", ["c", "t"], ["f"]),
        node("Slice", ["f", "last", "first", "axis", "back"], ["y"]),
        weights={
            "w": random(4, 3, 3, 3),
            **{
                name: np.asarray([value], np.int64)
                for name, value in (("from", 0), ("to", 1), ("rest", -1), ("last", -1), ("first", -(2**31)))
            },
            **{name: np.asarray([value], np.int64) for name, value in (("axis", 1), ("back", -1))},
        },
        batch=batch,
    )
    imported = import_onnx(source)
    assert imported.host_tail is not None and imported.host_tail.operators == ("Reshape", "Slice")
    x = random(3, 3, 6, 5)
    session = open_session(source.SerializeToString())
    step = 1 if batch == 1 else 3
    wanted = np.concatenate([np.asarray(session.run(None, {"x": x[i : i + step]})[0]) for i in range(0, 3, step)])
    real = calibrate(canonicalise(imported), x).outputs[0].reshape(3, *imported.outputs[0].shape)
    tail = open_session(imported.host_tail.model)
    got = [np.asarray(tail.run(None, {tail.get_inputs()[0].name: real[i : i + 1]})[0]) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(got), wanted, rtol=1e-4, atol=1e-5)
